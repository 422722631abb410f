"""The matrix: what each kind of scalar field makes of each kind of object."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from p4p_trio.data import Type, Value, scalar
from p4p_trio.data.coerce import coerce

BIG = 1 << 64
MIN64 = -(1 << 63)

# object: what "?", "i", "B", "l", "L", "d", "s" make of it without strictness. An exception class: refused.
V, T, O = ValueError, TypeError, OverflowError  # noqa: E741
MATRIX: list[tuple[Any, Any, Any, Any, Any, Any, Any, Any]] = [
    (True, True, 1, 1, 1, 1, 1.0, "true"),
    (False, False, 0, 0, 0, 0, 0.0, "false"),
    (5, True, 5, 5, 5, 5, 5.0, "5"),
    (300, True, 300, 44, 300, 300, 300.0, "300"),
    (-1, True, -1, 255, -1, BIG - 1, -1.0, "-1"),
    (1 << 31, True, -(1 << 31), 0, 1 << 31, 1 << 31, 2147483648.0, "2147483648"),
    (1 << 32, True, 0, 0, 1 << 32, 1 << 32, 4294967296.0, "4294967296"),
    (1 << 63, True, 0, 0, MIN64, 1 << 63, 2.0**63, "9223372036854775808"),
    (BIG - 1, True, -1, 255, -1, BIG - 1, 2.0**64, "18446744073709551615"),
    (BIG, O, O, O, O, O, O, O),
    (MIN64, True, 0, 0, MIN64, 1 << 63, -(2.0**63), "-9223372036854775808"),
    (MIN64 - 1, O, O, O, O, O, O, O),
    (1.9, V, 1, 1, 1, 1, 1.9, "1.9"),
    (-1.9, V, -1, 255, -1, BIG - 1, -1.9, "-1.9"),
    (0.1 + 0.2, V, 0, 0, 0, 0, 0.1 + 0.2, "0.30000000000000004"),
    (1.0, V, 1, 1, 1, 1, 1.0, "1.0"),
    (3e9, V, -1294967296, 0, 3000000000, 3000000000, 3e9, "3000000000.0"),
    (1e19, V, 0, 0, MIN64, 10**19, 1e19, "1e+19"),
    (1e30, V, 0, 0, MIN64, 0, 1e30, "1e+30"),
    (-1e30, V, 0, 0, MIN64, 1 << 63, -1e30, "-1e+30"),
    (math.inf, V, 0, 0, MIN64, 0, math.inf, "inf"),
    (math.nan, V, 0, 0, MIN64, 1 << 63, math.nan, "nan"),
    ("true", True, V, V, V, V, V, "true"),
    ("false", False, V, V, V, V, V, "false"),
    ("True", V, V, V, V, V, V, "True"),
    ("5", V, 5, 5, 5, 5, 5.0, "5"),
    (" 5 ", V, 5, 5, 5, 5, 5.0, " 5 "),
    ("+5", V, 5, 5, 5, 5, 5.0, "+5"),
    ("0x10", V, 16, 16, 16, 16, 16.0, "0x10"),
    ("010", V, 8, 8, 8, 8, 10.0, "010"),
    ("08", V, V, V, V, V, 8.0, "08"),
    ("0", V, 0, 0, 0, 0, 0.0, "0"),
    ("-5", V, -5, 251, -5, BIG - 5, -5.0, "-5"),
    ("300", V, 300, 44, 300, 300, 300.0, "300"),
    ("9223372036854775808", V, V, 0, V, 1 << 63, 2.0**63, "9223372036854775808"),
    ("18446744073709551616", V, V, V, V, V, 2.0**64, "18446744073709551616"),
    ("5.5", V, V, V, V, V, 5.5, "5.5"),
    ("1_0", V, V, V, V, V, V, "1_0"),
    ("- 5", V, V, V, V, V, V, "- 5"),
    ("0x1p3", V, V, V, V, V, 8.0, "0x1p3"),
    ("-inf", V, V, V, V, V, -math.inf, "-inf"),
    ("1e400", V, V, V, V, V, V, "1e400"),
    ("0x1p9999", V, V, V, V, V, V, "0x1p9999"),
    ("abc", V, V, V, V, V, V, "abc"),
    ("", V, V, V, V, V, V, ""),
    (b"7", V, 7, 7, 7, 7, 7.0, "7"),
    (b"\xff", V, V, V, V, V, V, "\udcff"),
    ("µ", V, V, V, V, V, V, "µ"),
    (None, T, T, T, T, T, T, T),
    ([1], T, T, T, T, T, T, T),
    ((1,), T, T, T, T, T, T, T),
    ({}, T, T, T, T, T, T, T),
    (1j, T, T, T, T, T, T, T),
    (object(), T, T, T, T, T, T, T),
    (np.array(5), T, T, T, T, T, T, T),
    (np.array([5]), T, T, T, T, T, T, T),
    (Type([])(), V, V, V, V, V, V, V),
    (np.int32(4), True, 4, 4, 4, 4, 4.0, "4"),
    (np.uint64(1 << 63), True, 0, 0, MIN64, 1 << 63, 2.0**63, "9223372036854775808"),
    (np.float32(1.5), V, 1, 1, 1, 1, 1.5, "1.5"),
    (np.float32(0.1), V, 0, 0, 0, 0, float(np.float32(0.1)), "0.1"),
    (np.float64(0.1), V, 0, 0, 0, 0, 0.1, "0.1"),
    (np.bool_(True), True, 1, 1, 1, 1, 1.0, "true"),
    (np.str_("3"), V, 3, 3, 3, 3, 3.0, "3"),
]
CELLS = [
    pytest.param(code, row[0], row[n], id=f"{code}-{type(row[0]).__name__}-{str(row[0])[:24]}")
    for row in MATRIX
    for n, code in enumerate("?iBlLds", 1)
]


def _is(expected: Any, item: Any) -> bool:
    return type(item) is type(expected) and (item == expected or (item != item and expected != expected))


@pytest.mark.parametrize(("code", "given", "expected"), CELLS)
def test_without_strictness(code: str, given: Any, expected: Any) -> None:
    if isinstance(expected, type):
        with pytest.raises(expected, match=r"field 'the\.field': "):
            coerce(scalar(code), given, False, "the.field")
    else:
        assert _is(expected, coerce(scalar(code), given, False, "the.field"))


@pytest.mark.parametrize(("code", "given", "expected"), CELLS)
def test_strictly_the_same_or_refused(code: str, given: Any, expected: Any) -> None:
    """Strictness only refuses, and only where an integer field would hold another number."""
    if isinstance(expected, type):
        with pytest.raises((expected, ValueError)):
            coerce(scalar(code), given, True, "the.field")
        return
    number = given
    if code in "iBlL" and isinstance(given, str | bytes):
        number = coerce(scalar("L" if b"-" not in str(given).encode() else "l"), given, True, "")
    if code in "iBlL" and (math.isnan(number) or number != expected):
        with pytest.raises(ValueError, match=r"field 'the\.field': .*(out of range|no integer)"):
            coerce(scalar(code), given, True, "the.field")
    else:
        assert _is(expected, coerce(scalar(code), given, True, "the.field"))


@pytest.mark.parametrize(
    ("code", "low", "high"),
    [
        ("b", -128, 127),
        ("B", 0, 255),
        ("h", -32768, 32767),
        ("H", 0, 65535),
        ("i", -(1 << 31), (1 << 31) - 1),
        ("I", 0, (1 << 32) - 1),
        ("l", MIN64, (1 << 63) - 1),
        ("L", 0, BIG - 1),
    ],
)
def test_ranges_of_integers(code: str, low: int, high: int) -> None:
    strict, lenient = Type([("x", code)]), Type([("x", code)], strict=False)
    for good in (low, high, str(low), str(high), np.int64(low)):
        assert strict({"x": good}).x == lenient({"x": good}).x == int(good)
    for bad in (low - 1, high + 1):
        with pytest.raises(ValueError, match=rf"field 'x': {bad} is out of range of \w+ \({low} to {high}\)"):
            strict({"x": bad})
        with pytest.raises(OverflowError):
            strict({"x": bad})
    if high < BIG - 1:
        assert lenient({"x": high + 1}).x == low
    if low > MIN64:
        assert lenient({"x": low - 1}).x == high


def test_whole_floats_are_integers() -> None:
    assert Type([("x", "i")])({"x": 3.0}).x == 3
    with pytest.raises(ValueError, match=r"3\.5 is no integer, so int32_t cannot hold it"):
        Type([("x", "i")])({"x": 3.5})
    with pytest.raises(ValueError, match="out of range"):
        Type([("x", "i")])({"x": 1e10})


@pytest.mark.parametrize(
    ("given", "held"),
    [
        (0.1, 0.10000000149011612),
        (1e39, math.inf),
        (-1e39, -math.inf),
        (1e-50, 0.0),
        (math.inf, math.inf),
        (16777217, 16777216.0),
        ("0.1", 0.10000000149011612),
    ],
)
def test_float32_is_rounded_at_once(given: Any, held: float) -> None:
    assert Type([("x", "f")])({"x": given}).x == held


def test_subclasses_become_plain() -> None:
    class Number(int):
        pass

    class Text(str):
        __slots__ = ()

        def __str__(self) -> str:
            return "something else"

    value = Type([("i", "i"), ("s", "s"), ("d", "d")])({"i": Number(3), "s": Text("kept"), "d": np.float64(2.5)})
    assert [type(item) for item in value._slots[1:]] == [int, str, float]
    assert value.s == "kept"


def test_text_that_cannot_be_encoded() -> None:
    with pytest.raises(ValueError, match=r"field 's': .* cannot be encoded"):
        Type([("s", "s")])({"s": "\ud800"})
    assert Type([("s", "s")])({"s": b"\xff\xfe"}).s == "\udcff\udcfe"


def test_the_short_cut_of_assignment_comes_to_the_same() -> None:
    """`Value._put` stores exact classes without asking; the table is its slow twin."""
    for code in "?bBhHiIlLfds":
        for given in (True, 0, 1, 255, -1, 1 << 40, 1.0, -0.0, math.pi, "", "a", "µ", "true"):
            for strict in (True, False):
                value = Value(Type([("x", code)], strict=strict))
                try:
                    expected = coerce(scalar(code), given, strict, "x")
                except (ValueError, TypeError) as exc:
                    with pytest.raises(type(exc)):
                        value["x"] = given
                else:
                    value["x"] = given
                    assert _is(expected, value["x"])

"""The texts, to the letter."""

from __future__ import annotations

import math
from textwrap import dedent
from typing import Any

import pytest

from p4p_trio.data import Selected, Type, Value, Variant, scalar

INNER = Type([("x", "i")])
T = Type(
    [
        ("i", "i"),
        ("s", ("S", "foo_t", [("b", "d"), ("c", "as")])),
        (
            "u",
            ("U", "uid", [("x", "i"), ("st", INNER), ("arr", "ad"), ("any", "v"), ("un", ("U", "in", [("p", "?")]))]),
        ),
        ("v", "v"),
        ("as_", ("aS", "sid", [("e", "i"), ("k", ("S", None, [("m", "i")]))])),
        ("au", ("aU", "uid", [("p", "i"), ("q", "s"), ("e", ("S", "eid", []))])),
        ("av", "av"),
        ("ad", "ad"),
        ("abool", "a?"),
        ("text", "s"),
        ("strings", "as"),
        ("empty", ("S", None, [])),
        ("nothing", ("U", None, [])),
    ],
    id="my:id",
)

FRESH = """\
struct "my:id" {
    int32_t i = 0
    struct "foo_t" {
        double b = 0
        string[] c = {?}[]
    } s
    union "uid" u null
    any v null
    struct[] as_ = {0}[]
    union[] au = {0}[]
    any[] av = {0}[]
    double[] ad = {?}[]
    bool[] abool = {?}[]
    string text = ""
    string[] strings = {?}[]
    struct {} empty
    union nothing null
}
"""

FILLED = """\
struct "my:id" {
    int32_t i = 5
    struct "foo_t" {
        double b = 7
        string[] c = {1}["x"]
    } s
    union "uid" u.st struct {
        int32_t x = 1
    }
    any v struct "foo_t" {
        double b = 0
        string[] c = {?}[]
    }
    struct[] as_ = {3}[
        struct "sid" {
            int32_t e = 1
            struct {
                int32_t m = 0
            } k
        }
        null
        struct "sid" {
            int32_t e = 0
            struct {
                int32_t m = 4
            } k
        }
    ]
    union[] au = {4}[
        union "uid".p int32_t = 1
        union "uid".q string = "hello"
        null
        union "uid".e struct "eid" {}
    ]
    any[] av = {6}[
        int64_t = 1
        string = "x"
        double = 2.5
        int32_t[] = {2}[1, 2]
        struct {
            int32_t x = 0
        }
        null
    ]
    double[] ad = {3}[0.333333, 1e+30, -2]
    bool[] abool = {2}[1, 0]
    string text = "a\\"b"
    string[] strings = {2}["x", "y\\n"]
    struct {} empty
    union nothing null
}
"""

TYPE = """\
struct "my:id" {
    int32_t i
    struct "foo_t" {
        double b
        string[] c
    } s
    union "uid" {
        int32_t x
        struct {
            int32_t x
        } st
        double[] arr
        any any
        union "in" {
            bool p
        } un
    } u
    any v
    struct[] {
        int32_t e
        struct {
            int32_t m
        } k
    } as_
    union[] {
        int32_t p
        string q
        struct "eid" {} e
    } au
    any[] av
    double[] ad
    bool[] abool
    string text
    string[] strings
    struct {} empty
    union {} nothing
}
"""


def filled() -> Value:
    return T(
        {
            "i": 5,
            "s": {"b": 7, "c": ["x"]},
            "u": ("st", {"x": 1}),
            "v": T["s"](),
            "as_": [{"e": 1}, None, {"k.m": 4}],
            "au": [("p", 1), ("q", "hello"), None, ("e", {})],
            "av": [1, "x", 2.5, ("ai", [1, 2]), INNER(), None],
            "ad": [1 / 3, 1e30, -2],
            "abool": [True, False],
            "text": 'a"b',
            "strings": ["x", "y\n"],
        }
    )


def test_values() -> None:
    assert T().tostr() == str(T()) == f"{T()}" == FRESH
    assert filled().tostr() == FILLED


def test_types() -> None:
    assert T.tostr() == TYPE
    assert T().type("u").tostr().startswith('union "uid" {\n    int32_t x\n')
    assert T().type("as_").tostr() == dedent("""\
        struct[] {
            int32_t e
            struct {
                int32_t m
            } k
        }
        """)
    assert T().type("ad").tostr() == "double[]\n"
    assert T().type("nothing").tostr() == "union {}\n"


def test_parts() -> None:
    assert T().s.tostr() == 'struct "foo_t" {\n    double b = 0\n    string[] c = {?}[]\n}\n'
    assert T().empty.tostr() == "struct {}\n"
    assert filled()["as_[2].k"].tostr() == "struct {\n    int32_t m = 4\n}\n"


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (("x", 5), 'union "uid" u.x int32_t = 5'),
        (("arr", [1.5, 2]), 'union "uid" u.arr double[] = {2}[1.5, 2]'),
        (("any", 5), 'union "uid" u.any any int64_t = 5'),
        (("any", None), 'union "uid" u.any any null'),
        (("un", ("p", True)), 'union "uid" u.un union "in".p bool = true'),
        (("un", None), 'union "uid" u.un union "in" null'),
    ],
)
def test_unions(given: Any, line: str) -> None:
    assert f"\n    {line}\n" in T({"u": given}).tostr()


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (True, "any v bool = true"),
        (["a"], 'any v string[] = {1}["a"]'),
        (("ai", [0, 1, 2]), "any v int32_t[] = {3}[0, 1, 2]"),
        (("ai", []), "any v int32_t[] = {?}[]"),
        (Type([], id="k")(), 'any v struct "k" {}'),
    ],
)
def test_anys(given: Any, line: str) -> None:
    assert f"\n    {line}\n" in T({"v": given}).tostr()


def test_items_that_only_peers_send() -> None:
    value = T()
    layout = T._field.layout
    value._slots[layout.position["au"]] = (Selected(-1, None),)
    value._slots[layout.position["av"]] = (Variant(None, None),)
    value._slots[layout.position["v"]] = Variant(None, None)
    value._slots[layout.position["u"]] = Selected(-1, None)
    text = value.tostr()
    assert '    union[] au = {1}[\n        union "uid" null\n    ]\n' in text
    assert "    any[] av = {1}[\n        null\n    ]\n" in text
    assert "    any v null\n" in text
    assert '    union "uid" u null\n' in text
    assert (value.u, value.v, value.au, value.av) == (None, None, [None], [None])
    assert value.todict("au") == value.todict("av") == [None]
    value._slots[layout.position["v"]] = Variant(scalar("av"), (None,))
    assert "    any v any[] = {1}[\n        null\n    ]\n" in value.tostr()


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.0, "0"),
        (1.0, "1"),
        (1 / 3, "0.333333"),
        (100000.0, "100000"),
        (1e6, "1e+06"),
        (123456789.123, "1.23457e+08"),
        (1e300, "1e+300"),
        (-1e-7, "-1e-07"),
        (math.nan, "nan"),
        (-math.inf, "-inf"),
    ],
)
def test_floats_have_six_digits(number: float, text: str) -> None:
    assert T({"s.b": number}).s.tostr().split("\n")[1] == f"    double b = {text}"
    assert f"    double[] ad = {{1}}[{text}]\n" in T({"ad": [number]}).tostr()


@pytest.mark.parametrize(
    ("text", "literal"),
    [
        ("\a\b\f\n\r\t\v", r"\a\b\f\n\r\t\v"),
        ("\\ ' \"", r"\\ \' \""),
        ("\x00\x1b\x7f", r"\x00\x1b\x7f"),
        ("é€", r"\xc3\xa9\xe2\x82\xac"),
        ("\udcff", r"\xff"),
        ("? ~ plain", "? ~ plain"),
    ],
)
def test_strings_are_c_literals(text: str, literal: str) -> None:
    assert f'    string text = "{literal}"\n' in T({"text": text}).tostr()


def test_integers_and_bools() -> None:
    value = Type([("b", "b"), ("L", "L"), ("t", "?"), ("ab", "ab")])({"b": 65, "L": (1 << 64) - 1, "t": 1, "ab": [65]})
    assert value.tostr() == (
        "struct {\n    int8_t b = 65\n    uint64_t L = 18446744073709551615\n    bool t = true\n"
        "    int8_t[] ab = {1}[65]\n}\n"
    )


@pytest.mark.parametrize("limit", [0, -1, -5, 29, 1000])
def test_no_limit(limit: int) -> None:
    assert len(Type([("a", "i")])().tostr(limit)) == 29


@pytest.mark.parametrize(
    ("limit", "text"), [(1, "s..."), (19, "struct {\n    int32_..."), (28, "struct {\n    int32_t a = 0\n}...")]
)
def test_limits(limit: int, text: str) -> None:
    assert Type([("a", "i")])().tostr(limit) == text

"""Values as text and as JSON."""

from __future__ import annotations

import io
import json
import math
from typing import Any

import numpy as np
import pytest

from p4p_trio import Type, Value
from p4p_trio.cli.jsonlines import content, dumps
from p4p_trio.cli.lines import line
from p4p_trio.cli.output import Output
from p4p_trio.cli.spelling import escaped, number, quoted, stamp
from p4p_trio.cli.text import delta, tree
from p4p_trio.nt import NTScalar
from tests.cli.pvs import enum, everything, table


def test_the_tree_is_what_tostr_prints() -> None:
    """But for arrays of bool, which it prints as numbers, and for letters beyond ASCII, which it escapes."""
    value = everything()
    value["scalar_11"] = 'a"b\n'
    text = value.tostr().replace("{3}[0, 0, 0]", "{3}[false, false, false]")
    assert "\n".join(tree(value)) + "\n" == text


@pytest.mark.parametrize(
    ("value", "code", "text"),
    [
        (5.0, "d", "5"),
        (123.456, "d", "123.456"),
        (1234567.875, "d", "1234567.875"),
        (1e22, "d", "1e+22"),
        (-0.0, "d", "-0"),
        (math.nan, "d", "nan"),
        (-math.inf, "d", "-inf"),
        (0.10000000149011612, "f", "0.1"),
        (np.float32(0.3), "af", "0.3"),
        (np.int8(-3), "ab", "-3"),
        (True, "?", "true"),
        (np.False_, "a?", "false"),
    ],
)
def test_numbers(value: Any, code: str, text: str) -> None:
    assert number(value, code) == text
    if code == "d":
        assert repr(float(text)) == repr(value)


def test_what_strangers_write_cannot_steer_a_terminal() -> None:
    assert escaped("a\x1b[2Jb\nc\x9b°") == "a\\x1b[2Jb\\nc\\xc2\\x9b°"
    assert quoted('say "°"\\') == '"say \\"°\\"\\\\"'
    assert escaped(b"\xff".decode("utf-8", "surrogateescape")) == "\\xff"


def test_stamps(utc: None) -> None:
    assert stamp(0, 0) == "<undefined>"
    assert stamp(1_000_000_000, 36_000_001, 3) == "2001-09-09 01:46:40.036"
    assert stamp(1 << 62, 0) == f"<{1 << 62} s>"


def test_delta_has_what_changed() -> None:
    value = NTScalar("d").wrap(5, severity=1)
    assert list(delta(value)) == ["value double = 5", "alarm.severity int32_t = 1"]
    value.unmark()
    assert list(delta(value)) == []
    value.mark()
    assert len(list(delta(value))) == 7
    value.unmark()
    value.mark("alarm")
    assert [text.split()[0] for text in delta(value)] == ["alarm.severity", "alarm.status", "alarm.message"]


def test_every_field_of_delta_is_a_path() -> None:
    value = everything()
    for text in delta(value):
        path = text.split()[0]
        assert path.startswith("structs[1]") or path.endswith("nothing->") or value.type(path) is not None


@pytest.mark.parametrize("value", [None, 5, 2.5, "text", True, [1.0, 2.0, 3.0], ["a"], np.arange(3)])
def test_answers_that_are_no_structures(value: Any) -> None:
    assert list(delta(value, 2)) == list(tree(value, 2))
    made, cut = content(value, 2)
    assert json.loads(dumps({"value": made})) == {"value": made}
    assert cut == ({"": 3} if isinstance(value, list | np.ndarray) and len(value) == 3 else {})
    assert next(line("name", value, 2)).startswith("name ")


def test_lines() -> None:
    assert next(line("mode", enum(9))).endswith("(9)")
    assert list(line("t", table(), 1))[1:] == ["name value count", "   a     1    10", " ...   ..."]
    assert list(line("e", Value(Type([]))))[1] == "struct {}"
    union = Type([("value", ("U", None, [("x", "ai"), ("y", "d")]))])
    assert list(line("u", Value(union, {"value": ("x", [1, 2, 3])}), 2)) == ["u <undefined>             [1,2,...]"]
    assert list(line("u", Value(union))) == ["u <undefined>             null"]
    alarmed = NTScalar("d").wrap(1, severity=9, message="odd")
    assert list(line("a", alarmed)) == ["a <undefined>             1 9 odd"]


def test_a_terminal_that_cannot_show_it() -> None:
    raw = io.BytesIO()
    out = Output("get", "nt", stdout=io.TextIOWrapper(raw, encoding="ascii"), stderr=io.StringIO())
    out.value("temp", NTScalar("s").wrap("21 °C"))
    assert raw.getvalue().endswith(b"21 \\xb0C\n")


def test_nobody_reads_any_more() -> None:
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    gone = []
    out = Output("get", stdout=Closed(), stderr=io.StringIO())
    out.on_gone = lambda: gone.append(True)
    out.lines(["one"])
    out.lines(["two"])
    assert gone == [True]
    assert not out.failed

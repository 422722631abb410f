"""Interning and flat numbering."""

from __future__ import annotations

import gc
import pickle
import weakref

import pytest

from p4p_trio.data import Field, bits, scalar, struct

ALARM = struct({"severity": scalar("i"), "status": scalar("i"), "message": scalar("s")}, "alarm_t")
TIME = struct({"secondsPastEpoch": scalar("l"), "nanoseconds": scalar("i"), "userTag": scalar("i")}, "time_t")
NTSCALAR = struct({"value": scalar("d"), "alarm": ALARM, "timeStamp": TIME, "arr": scalar("ad")})


def test_equal_descriptions_are_one_object() -> None:
    assert struct({"a": scalar("i")}, "x") is struct({"a": scalar("i")}, "x")
    assert struct({"a": scalar("i")}, "x") is not struct({"a": scalar("i")}, "y")
    assert struct({"a": scalar("i")}) is not struct({"b": scalar("i")})
    assert pickle.loads(pickle.dumps(NTSCALAR)) is NTSCALAR


def test_fields_that_nobody_holds_go_away() -> None:
    gone = weakref.ref(struct({"nobody_else_has_this": scalar("i")}))
    gc.collect()
    assert gone() is None


def test_numbering_is_the_one_of_the_wire() -> None:
    """The example of the protocol's text: value 1, alarm 2 (3, 4, 5), timeStamp 6 (7, 8, 9), arr 10."""
    layout = NTSCALAR.layout
    assert layout.position["value"] == 1
    assert layout.position["alarm"] == 2
    assert layout.position["alarm.message"] == 5
    assert layout.position["timeStamp"] == 6
    assert layout.position["timeStamp.userTag"] == 9
    assert layout.position["arr"] == 10
    assert len(layout) == 11
    assert layout.subtree[2] == 0b111100
    assert layout.parents[4] == 0b101
    assert layout.leaves == 0b11110111010
    assert layout.expand(0b100) == 0b111000
    assert layout.expand(1) == layout.leaves


def test_unions_and_arrays_are_one_position_each() -> None:
    inner = struct({"x": scalar("i"), "y": scalar("i")})
    union = Field.make("U", "", ("x", "s"), (scalar("i"), inner))
    field = struct({"u": union, "a": Field.make("aS", element=inner), "v": scalar("v"), "n": scalar("i")})
    assert len(field.layout) == 5
    assert field.layout.compound == (1, 2, 3)


def test_depth_and_nodes() -> None:
    assert scalar("d").depth == 1
    assert ALARM.depth == 2
    assert NTSCALAR.depth == 3
    assert Field.make("aS", element=ALARM).depth == 3
    assert ALARM.nodes == 4
    assert Field.make("aS", element=ALARM).nodes == 5


def test_refusals() -> None:
    with pytest.raises(ValueError, match="unknown type code 'x'"):
        Field.make("x")
    with pytest.raises(ValueError, match="duplicate field name 'a'"):
        Field.make("S", "", ("a", "a"), (scalar("i"), scalar("i")))
    with pytest.raises(KeyError):
        scalar("S")
    with pytest.raises(KeyError, match="zz"):
        ALARM.member("zz")


def test_repr_names_members() -> None:
    assert repr(ALARM) == "Field('S', 'alarm_t', [severity, status, message])"
    assert repr(scalar("d")) == "Field('d')"


def test_bits() -> None:
    assert list(bits(0)) == []
    assert list(bits(0b10010 | 1 << 100)) == [1, 4, 100]

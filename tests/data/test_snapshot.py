"""Frozen items share nothing that can change."""

from __future__ import annotations

import numpy as np

from p4p_trio.data import Field, Selected, Type, Value, Variant, freeze, scalar

POINT = Type([("x", "i")])


def test_immutable_items_are_kept() -> None:
    array = np.arange(3.0)
    array.flags.writeable = False
    for code, item in [("d", 1.5), ("s", "x"), ("as", ("a",)), ("ad", array), ("u", None)]:
        if code != "u":
            assert freeze(scalar(code), item) is item


def test_writable_arrays_are_copied() -> None:
    array = np.arange(3.0)
    kept = freeze(scalar("ad"), array)
    array[0] = 9
    assert kept.tolist() == [0, 1, 2]
    assert not kept.flags.writeable


def test_values_inside_are_copied() -> None:
    inner = POINT({"x": 1})
    union = Field.make("U", "", ("n", "st"), (scalar("i"), POINT._field))
    kept: list[Value] = [
        freeze(POINT._field, inner),
        freeze(union, Selected(1, inner)).item,
        freeze(scalar("v"), Variant(POINT._field, inner)).item,
        freeze(Field.make("aS", element=POINT._field), (None, inner))[1],
        freeze(Field.make("aU", element=union), (None, Selected(1, inner)))[1].item,
        freeze(scalar("av"), (None, Variant(POINT._field, inner)))[1].item,
    ]
    inner.x = 2
    assert [each.x for each in kept] == [1] * 6
    assert len({id(each._slots) for each in kept}) == 6


def test_what_holds_no_value_is_kept() -> None:
    union = Field.make("U", "", ("n",), (scalar("i"),))
    for field, item in [
        (union, Selected(0, 5)),
        (union, Selected(-1, None)),
        (scalar("v"), Variant(scalar("i"), 5)),
        (scalar("v"), Variant(None, None)),
        (scalar("v"), None),
    ]:
        assert freeze(field, item) is item

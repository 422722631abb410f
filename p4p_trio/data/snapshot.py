"""Private copies of items, for whoever keeps them after the program that made them has gone on."""

from __future__ import annotations

from typing import Any

import numpy as np

from p4p_trio.data.field import Field, Selected, Variant

__all__ = ["freeze"]


def freeze(field: Field, item: Any) -> Any:
    """A copy of *item* that shares nothing which can change; immutable by agreement.

    Scalars, strings and read-only arrays are kept: an array gets into a value only if nobody else can
    write to it. Writable arrays, and the Values inside unions, anys and arrays of them, are copied.
    """
    if item.__class__ is np.ndarray:
        if not item.flags.writeable:
            return item
        copied = item.copy()
        copied.flags.writeable = False
        return copied
    if item is None:
        return None
    code = field.code
    if code == "S":
        return item._detached()
    if code == "U":
        return _selected(field, item)
    if code == "v":
        return _variant(item)
    if code == "aS":
        return tuple([None if each is None else each._detached() for each in item])
    if code == "aU":
        union = field.element
        assert union is not None
        return tuple([None if each is None else _selected(union, each) for each in item])
    if code == "av":
        return tuple([None if each is None else _variant(each) for each in item])
    return item


def _selected(field: Field, item: Selected) -> Selected:
    if item.index < 0:
        return item
    kept = freeze(field.members[item.index], item.item)
    return item if kept is item.item else Selected(item.index, kept)


def _variant(item: Variant) -> Variant:
    if item.field is None:
        return item
    kept = freeze(item.field, item.item)
    return item if kept is item.item else Variant(item.field, kept)

"""From items to the Python objects that readers get."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from p4p_trio.data.field import Field, scalar
from p4p_trio.data.marks import Link

if TYPE_CHECKING:
    from p4p_trio.data.type import Type
    from p4p_trio.data.value import Value

__all__ = ["expose", "plain", "tree"]

_ANY: Final = scalar("v")

Wrapper: TypeAlias = Callable[[list[tuple[str, Any]]], Any]


def expose(field: Field, item: Any, type: Type, link: Link | None) -> Any:
    """The Python object for an item, structures being handles.

    Args:
        type: the type of the value that the item is a part of; handles get its class and strictness.
        link: what changes through such a handle mark.
    """
    if item.__class__ is np.ndarray:
        return item.view()
    code = field.code
    if code == "as":
        return list(item)
    if code == "S":
        return None if item is None else item._linked(type._child(field), link)
    if item is None:
        return None
    if code == "U":
        return expose(field.members[item.index], item.item, type, link) if item.index >= 0 else None
    if code == "v":
        return expose(item.field, item.item, type, link) if item.field is not None else None
    if code in ("aS", "aU", "av"):
        element = field.element or _ANY
        return [None if each is None else expose(element, each, type, link) for each in item]
    return item


def plain(field: Field, item: Any, wrapper: Wrapper) -> Any:
    """The Python object for an item, structures being what *wrapper* makes of their `(name, value)` tuples."""
    if item.__class__ is np.ndarray:
        return item.view()
    code = field.code
    if code == "as":
        return list(item)
    if item is None:
        return None
    if code == "S":
        return tree(item, wrapper)
    if code == "U":
        return plain(field.members[item.index], item.item, wrapper) if item.index >= 0 else None
    if code == "v":
        return plain(item.field, item.item, wrapper) if item.field is not None else None
    if code in ("aS", "aU", "av"):
        element = field.element or _ANY
        return [None if each is None else plain(element, each, wrapper) for each in item]
    return item


def tree(value: Value, wrapper: Wrapper) -> Any:
    """All of a structure by *wrapper*."""
    return _branch(value._type._field, value._slots, value._offset, wrapper)[0]


def _branch(field: Field, slots: list[Any], position: int, wrapper: Wrapper) -> tuple[Any, int]:
    """The structure at *position*, and the position after it."""
    pairs: list[tuple[str, Any]] = []
    position += 1
    for name, member in zip(field.names, field.members, strict=True):
        if member.code == "S":
            inside, position = _branch(member, slots, position, wrapper)
            pairs.append((name, inside))
        else:
            pairs.append((name, plain(member, slots[position], wrapper)))
            position += 1
    return wrapper(pairs), position

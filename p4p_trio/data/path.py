"""Paths into types and values: `a.b`, `array[3].x`, `union->member`, `any->x`.

Plain dotted names are one dictionary look-up in a layout and never come here. This is the slow twin
that also walks through the places which hold values of their own: elements, unions, variants.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from p4p_trio.data import coerce as _coerce
from p4p_trio.data.field import Field, Selected, Variant
from p4p_trio.data.marks import Link

if TYPE_CHECKING:
    from p4p_trio.data.type import Type
    from p4p_trio.data.value import Value

__all__ = ["Place", "exists", "field_at", "resolve", "split"]

_STEP: Final = re.compile(r"(?P<glue>\.|->|)(?P<name>[A-Za-z0-9_]+)|\[(?P<index>[0-9]+)\]|(?P<through>->)")

MEMBER: Final = "."
THROUGH: Final = "->"
ELEMENT: Final = "[]"


@lru_cache(maxsize=1024)
def split(path: str) -> tuple[tuple[str, str | int], ...]:
    """The steps of *path*: (MEMBER, name), (THROUGH, name or ""), (ELEMENT, index).

    Raises:
        KeyError: where it does not parse; its text names the whole path.
    """
    steps: list[tuple[str, str | int]] = []
    pos = 0
    while pos < len(path):
        found = _STEP.match(path, pos)
        if found is None:
            raise KeyError(f"syntax error at {path[pos:]!r} in {path!r}")
        if found["index"] is not None:
            steps.append((ELEMENT, int(found["index"])))
        elif found["through"] is not None:
            steps.append((THROUGH, ""))
        elif found["glue"] == "->":
            steps.append((THROUGH, found["name"]))
        elif (found["glue"] == ".") is (pos > 0):
            steps.append((MEMBER, found["name"]))
        else:
            raise KeyError(f"no such member field {path!r}")
        pos = found.end()
    if steps and steps[0][0] != MEMBER:
        raise KeyError(f"no such member field {path!r}")
    return tuple(steps)


def field_at(field: Field, path: str) -> Field | None:
    """The field that *path* leads to as far as the type alone can tell, or None if there is none."""
    try:
        steps = split(path)
    except KeyError:
        return None
    return _follow(field, steps)


def _follow(field: Field, steps: tuple[tuple[str, str | int], ...]) -> Field | None:
    for kind, name in steps:
        if (kind == MEMBER and field.code == "S") or (kind == THROUGH and field.code == "U"):
            try:
                field = field.member(str(name))
            except KeyError:
                return None
        else:
            return None
    return field


class Place:
    """One spot of a value: what may stand there, what does, and how to put something else there.

    Attributes:
        type: of the value that the path starts from; handles further down are of its class.
        field: what may stand there.
        item: what does; None for a structure.
        handle: the Value of a structure that is there, else None.
        store: puts another item there and marks what has to be marked.
        link: what a change further down has to mark, None at the top.
    """

    __slots__ = ("field", "handle", "item", "link", "store", "type")

    def __init__(
        self,
        type: Type,
        field: Field,
        item: Any,
        handle: Value | None,
        store: Callable[[Any], None],
        link: Link | None,
    ) -> None:
        self.type = type
        self.field = field
        self.item = item
        self.handle = handle
        self.store = store
        self.link = link


def exists(value: Value, path: str) -> bool:
    """Whether *path* leads anywhere; a union's member exists whether it is selected or not."""
    try:
        steps = split(path)
    except KeyError:
        return False
    place = _top(value)
    for n, step in enumerate(steps):
        try:
            place = _step(place, step, path, False)
        except KeyError:
            return step[0] == THROUGH and place.field.code == "U" and _follow(place.field, steps[n:]) is not None
    return True


def resolve(value: Value, path: str, *, select: bool = False, prefix: str = "") -> Place:
    """The place that *path* leads to from *value*.

    Args:
        select: a union on the way that holds another member is made to hold the named one.
        prefix: goes before the path in error texts.

    Raises:
        KeyError: where there is no such place now; its text names the path.
    """
    place = _top(value)
    shown = prefix + path
    for step in split(path):
        place = _step(place, step, shown, select)
    return place


def _top(value: Value) -> Place:
    return Place(value._type, value._type._field, None, value, _refuse, None)


def _refuse(item: Any) -> None:
    raise TypeError("a structure is assigned member by member")  # pragma: no cover


def _step(place: Place, step: tuple[str, str | int], path: str, select: bool) -> Place:
    kind, name = step
    if kind == ELEMENT:
        return _element(place, int(name), path)
    if kind == THROUGH:
        return _through(place, str(name), path, select)
    return _member(place, str(name), path)


def _member(place: Place, name: str, path: str) -> Place:
    handle = place.handle
    at = handle._type._position.get(name) if handle is not None and name else None
    if handle is None or at is None:
        raise KeyError(f"no such member field {path!r}")
    field = handle._type._fields[at]
    if field.code == "S":
        return Place(place.type, field, None, handle._sub(at), _refuse, None)
    slots, position = handle._slots, handle._offset + at

    def store(item: Any) -> None:
        slots[position] = item
        handle._touch(1 << position)

    return Place(place.type, field, slots[position], None, store, handle._link(at))


def _element(place: Place, index: int, path: str) -> Place:
    if place.field.code not in ("aS", "aU", "av"):
        raise KeyError(f"not an array of structures, unions or any in {path!r}")
    if index >= len(place.item):
        raise KeyError(f"index out of range in {path!r}: there are {len(place.item)} elements")

    def store(item: Any) -> None:
        changed = list(place.item)
        changed[index] = item
        place.item = tuple(changed)
        place.store(place.item)

    return _inner(place, place.field.element or _coerce.ANY, place.item[index], store)


def _through(place: Place, name: str, path: str, select: bool) -> Place:
    if place.field.code == "v":
        return _inside_any(place, name, path)
    if place.field.code != "U":
        raise KeyError(f"neither a union nor any in {path!r}")
    held = place.item if isinstance(place.item, Selected) and place.item.index >= 0 else None
    if not name:
        if held is None:
            raise KeyError(f"can't deref. empty Union {path!r}")
        index = held.index
    elif name in place.field.names:
        index = place.field.names.index(name)
    else:
        raise KeyError(f"no such member field {path!r}")
    member = place.field.members[index]
    if held is None or held.index != index:
        if not select:
            raise KeyError(f"{name!r} is not what the union holds in {path!r}; select() it first")
        held = place.item = Selected(index, _coerce.blank(member, place.type))
        place.store(held)

    def store(item: Any) -> None:
        place.item = Selected(index, item)
        place.store(place.item)

    return _inner(place, member, held.item, store)


def _inside_any(place: Place, name: str, path: str) -> Place:
    held = place.item
    if not isinstance(held, Variant) or held.field is None:
        raise KeyError(f"nothing is held in {path!r}")
    field = held.field

    def store(item: Any) -> None:
        place.item = Variant(field, item)
        place.store(place.item)

    inner = _inner(place, field, held.item, store)
    return _member(inner, name, path) if name else inner


def _inner(place: Place, field: Field, item: Any, store: Callable[[Any], None]) -> Place:
    """The place of *item*, which lies inside the item of *place*."""
    handle = None
    if field.code == "S" and item is not None:
        handle = item._linked(place.type._child(field), place.link)
    return Place(place.type, field, item if handle is None else None, handle, store, place.link)

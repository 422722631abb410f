"""Values: the data of one structure, and which parts of it have changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from p4p_trio.data import coerce as _coerce
from p4p_trio.data import path as _path
from p4p_trio.data import type as _types
from p4p_trio.data.convert import expose, plain, tree
from p4p_trio.data.field import Variant
from p4p_trio.data.format import value_text
from p4p_trio.data.marks import Link, mark_outside, marked_outside, names
from p4p_trio.data.snapshot import freeze
from p4p_trio.data.spelling import spelled

if TYPE_CHECKING:
    from p4p_trio.data.type import Type

__all__ = ["Value"]

_DIRECT: Final = frozenset({bool, int, float, str})
_NORMATIVE: Final = ("value", "alarm", "timeStamp", "severity", "status", "message", "secondsPastEpoch", "nanoseconds")


class Value:
    """The data of one structure. Fields are attributes, or items by dotted path.

        >>> point = Type([("x", "d"), ("y", "d"), ("label", ("S", None, [("text", "s")]))])
        >>> here = Value(point, {"x": 1.5, "label.text": "here"})
        >>> here.x, here["label.text"], here.changedSet()
        (1.5, 'here', {'x', 'label.text'})

    Assigning marks a field as changed, even where the value stays the same; marks decide what travels.
    `value.label` is a handle that shares data and marks with *value*. Arrays are read as read-only numpy
    arrays and copied when assigned (unless they are read-only and own their data); everything else that
    is assigned is copied too. Methods win over fields of the same name: use `value["items"]` for those.

    Paths: `a.b`; `array[3].x` for an element of an array of structures or unions; `union->member`;
    `any->x` for a member of the structure that an any holds.

    Args:
        type: the structure.
        value: initial contents: a dict or `(path, value)` tuples, or another Value (its marked fields).
        clone: a Value to copy, contents and marks, in place of *type*.

    Raises:
        KeyError: for an unknown field.
        TypeError: for an object that a field cannot take.
        ValueError: for a value that a field cannot take; errors name the field.
    """

    __slots__ = ("__weakref__", "_offset", "_outer", "_slots", "_type")

    _type: Type
    _slots: list[Any]
    _offset: int
    # None for a value of its own; for a handle (mask of the structures above it, link of what holds the whole).
    _outer: tuple[int, Link | None] | None

    def __init__(self, type: Type | None = None, value: Any = None, clone: Value | None = None) -> None:
        if clone is not None:
            if not isinstance(clone, Value):
                raise TypeError(f"clone= must be a Value, not {clone.__class__.__name__}")
            type = clone._type
            slots = clone._copied()
        elif type is None:
            raise ValueError("type= or clone= required")
        elif not isinstance(type, _types.Type):
            raise TypeError(f"type= must be a Type, not {type.__class__.__name__}")
        elif type._field.code != "S":
            raise TypeError(f"a Value is a structure; {type!r} is none")
        else:
            slots = type._layout.defaults.copy()
        _set_type(self, type)
        _set_slots(self, slots)
        _set_offset(self, 0)
        _set_outer(self, None)
        if value is not None:
            self._assign(value)

    @classmethod
    def _make(cls, type: Type, slots: list[Any]) -> Value:
        """A value that adopts *slots*, which nobody else may hold."""
        return cls._handle(type, slots, 0, None)

    @classmethod
    def _handle(cls, type: Type, slots: list[Any], offset: int, outer: tuple[int, Link | None] | None) -> Value:
        made = object.__new__(cls)
        _set_type(made, type)
        _set_slots(made, slots)
        _set_offset(made, offset)
        _set_outer(made, outer)
        return made

    # -- reading ------------------------------------------------------------------------------------------

    def __getitem__(self, path: str | bytes | None) -> Any:
        """What the field holds, as a Python object; None, or "" for a handle on this structure."""
        try:
            at = self._type._position[path]  # type: ignore[index]  # anything else takes the slow way
        except (KeyError, TypeError):
            return self._exposed(self._find(path))
        item = self._slots[self._offset + at]
        # Position 0 is this structure itself, and its slot the change mask.
        if item.__class__ in _DIRECT and at:
            return item
        return self._read(at, item)

    def __getattr__(self, name: str) -> Any:
        # Only called for what is no method; never for our own slots, unless they were never set.
        if name == "_type":
            raise AttributeError(name)
        at = self._type._position.get(name)
        if not at:
            raise AttributeError(name)
        item = self._slots[self._offset + at]
        if item.__class__ in _DIRECT:
            return item
        return self._read(at, item)

    def get(self, path: str | None, default: Any = None) -> Any:
        """What the field holds, or *default* where there is no such field now."""
        try:
            return self[path]
        except KeyError:
            return default

    def has(self, path: str) -> bool:
        """Whether there is such a field; any member of a union counts, whatever is selected."""
        if not isinstance(path, str):
            raise TypeError(f"a field name must be str, not {path.__class__.__name__}")
        return path in self._type._position or _path.exists(self, path)

    __contains__ = has

    def keys(self) -> list[str]:
        """Names of the immediate members, as declared."""
        return list(self._type._field.names)

    def __iter__(self) -> Iterator[str]:
        return iter(self._type._field.names)

    def items(self, path: str | None = None) -> Any:
        """`(name, value)` of each member of this structure, or of the one at *path*.

        Sub-structures are Values, what unions, anys and arrays of structures hold is converted as `tolist`
        does. At a field that is no structure: what it holds.
        """
        place = self._find(path)
        handle = place.handle
        if handle is None:
            return self._exposed(place)
        found: list[tuple[str, Any]] = []
        position = handle._type._position
        for name, field in zip(handle._type._field.names, handle._type._field.members, strict=True):
            at = position[name]
            if field.code == "S":
                found.append((name, handle._sub(at)))
            else:
                found.append((name, plain(field, handle._slots[handle._offset + at], list)))
        return found

    def todict(self, name: str | None = None, wrapper: Callable[[list[tuple[str, Any]]], Any] = dict) -> Any:
        """This structure, or the field *name*, with everything below it as plain objects.

        Args:
            name: a path; None for this structure.
            wrapper: makes the object for each structure from its `(name, value)` tuples.

        Raises:
            AttributeError: if there is no such field.
        """
        try:
            place = self._find(name)
        except KeyError:
            raise AttributeError(name) from None
        if place.handle is None:
            return plain(place.field, place.item, wrapper)
        return tree(place.handle, wrapper)

    def tolist(self, name: str | None = None) -> Any:
        """As `todict`, each structure being a list of `(name, value)` tuples."""
        return self.todict(name, list)

    def type(self, name: str | None = None) -> Type:
        """The type of this structure, or of the field at path *name*; KeyError if there is none."""
        if name is None:
            return self._type
        place = self._find(name)
        return self._type._child(place.field) if place.handle is None else place.handle._type

    def getID(self) -> str:
        """The type id, "structure" where there is none."""
        return self._type._field.id or "structure"

    # -- writing ------------------------------------------------------------------------------------------

    def __setitem__(self, path: str | bytes | None, value: Any) -> None:
        """Converts *value* for the field and marks it; None or "" assigns to this structure."""
        self._put(path, value, False, "")

    def __setattr__(self, name: str, value: Any) -> None:
        if not self._type._position.get(name):
            raise AttributeError(name)
        self._put(name, value, False, "")

    def select(self, name: str, selector: Any = None) -> None:
        """Chooses what a union or an any holds, and marks it.

        Args:
            name: path of the union or any.
            selector: a union's member, whose present contents stay if it is selected already; for an any
                a type code or a `Type`. None: nothing, clears it.

        Raises:
            KeyError: for an unknown field or member.
            TypeError: if the field is neither.
        """
        place = self._find(name)
        if place.field.code == "U" and selector is not None:
            inside = _path.resolve(self, f"{spelled(name)}->{selector}", select=True)
            if inside.handle is not None:
                place.store(_path.resolve(self, spelled(name)).item)
            else:
                inside.store(inside.item)
        elif place.field.code == "v" and selector is not None:
            field = selector._field if isinstance(selector, _types.Type) else _coerce.plain_field(selector, name)
            place.store(Variant(field, _coerce.blank(field, self._type)))
        elif place.field.code in ("U", "v"):
            place.store(None)
        else:
            raise TypeError(f"field {name!r}: only a union or an any can be selected")

    def _put(self, path: Any, value: Any, select: bool, prefix: str) -> None:
        """Assigns *value* to the field at *path*; *prefix* goes before it in error texts."""
        type_ = self._type
        try:
            at, code, native, low, high = type_._entries[path]
        except (KeyError, TypeError):
            self._put_place(path, value, select, prefix)
            return
        position = self._offset + at
        slots = self._slots
        # An exact class, in range, needs no conversion; `coerce` would come to the same.
        kind = value.__class__
        if kind is native and (
            kind is float or (low <= value <= high if kind is int else kind is bool or value.isascii())
        ):
            slots[position] = value
        elif code == "S":
            self._put_structure(at, spelled(path), value, prefix)
            return
        else:
            name = f"{prefix}{spelled(path)}" if prefix else spelled(path)
            field = type_._fields[at]
            slots[position] = _coerce.coerce(field, value, type_.strict, name, slots[position], type_)
        slots[0] |= 1 << position
        outer = self._outer
        if outer is not None:
            mark_outside(outer[1])

    def _put_structure(self, at: int, path: str, value: Any, prefix: str) -> None:
        if value.__class__ is dict and path and all(value):
            # Dotted names need no handle: a structure's members have positions here too.
            for name, item in value.items():
                self._put(f"{path}.{spelled(name)}", item, True, prefix)
        else:
            self._sub(at)._assign(value, f"{prefix}{path}." if path else prefix)

    def _put_place(self, path: Any, value: Any, select: bool, prefix: str) -> None:
        text = spelled(path)
        if not text:
            self._assign(value, prefix)
            return
        place = _path.resolve(self, text, select=select, prefix=prefix)
        name = prefix + text
        if place.handle is not None:
            place.handle._assign(value, f"{name}.")
        else:
            type_ = self._type
            place.store(_coerce.coerce(place.field, value, type_.strict, name, place.item, type_))

    def _assign(self, value: Any, prefix: str = "") -> None:
        """Assigns to this structure: what a dict, `(path, value)` tuples or a Value's marked fields say."""
        if value.__class__ is dict:
            for path, item in value.items():
                self._put(path, item, True, prefix)
        else:
            _coerce.assign(self, value, prefix)

    # -- marks --------------------------------------------------------------------------------------------

    def changed(self, *paths: str | None) -> bool:
        """Whether any of *paths* (none: this structure) is marked, or anything above or below it is.

        Raises:
            KeyError: for an unknown field.
        """
        return any(self._changed(path) for path in paths) if paths else self._changed(None)

    def mark(self, path: str | None = None, val: bool = True) -> None:
        """Marks the field at *path* (None: this structure) as changed, or takes its own mark away."""
        position = self._type._position.get(path or "")
        if position is not None:
            handle, bit = self, 1 << (self._offset + position)
        else:
            place = self._find(path)
            if place.handle is None:
                slots, bit, _, outside = place.link or ([0], 0, 0, None)
                if val:
                    slots[0] |= bit
                    mark_outside(outside)
                else:
                    slots[0] &= ~bit
                return
            handle, bit = place.handle, 1 << place.handle._offset
        if val:
            handle._touch(bit)
        else:
            handle._slots[0] &= ~bit

    def unmark(self) -> None:
        """Takes all marks away: of this structure, of everything below it and of the structures above it."""
        above = self._outer[0] if self._outer is not None else 0
        self._slots[0] &= ~(self._type._layout.all << self._offset | above)

    def clear(self) -> None:
        """Takes this structure's own mark away; marks of its members stay."""
        self.mark(None, False)

    def changedSet(self, expand: bool = False, parents: bool = False) -> set[str]:
        """Dotted names of the marked fields.

        A marked sub-structure contributes itself and everything below it. A mark on this structure itself
        has no name and contributes nothing: `changed()` tells.

        Args:
            expand: makes no difference; accepted because p4p has it.
            parents: also the structures that contain the marked fields.
        """
        layout = self._type._layout
        return names(layout, self._slots[0] >> self._offset & layout.all, parents=parents)

    asSet = changedSet

    def _changed(self, path: str | None) -> bool:
        at = self._type._position.get(path or "")
        if at is None:
            place = self._find(path)
            if place.handle is None:
                return marked_outside(place.link)
            return place.handle._changed(None)
        layout = self._type._layout
        cover = (layout.subtree[at] | layout.parents[at]) << self._offset
        if self._outer is None:
            return bool(self._slots[0] & cover)
        above, link = self._outer
        return bool(self._slots[0] & (cover | above)) or marked_outside(link)

    # -- text, copies -------------------------------------------------------------------------------------

    def tostr(self, limit: int = 0) -> str:
        """The value as text over several lines, cut after *limit* characters unless that is 0."""
        return value_text(self, limit)

    __str__ = tostr

    def __repr__(self) -> str:
        names = self._type._field.names
        parts = [f"id:{self._type._field.id}"] if self._type._field.id else []
        if names:
            parts.append(repr(self["value" if "value" in names else names[0]]))
        return f"Value({', '.join(parts)})"

    def __copy__(self) -> Value:
        return self._detached()

    def __deepcopy__(self, memo: object) -> Value:
        return self._detached()

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (self._type, self._copied())

    def _detached(self) -> Value:
        """A value of its own with the same contents and marks, which shares nothing that can change."""
        return self._make(self._type, self._copied())

    def _copied(self) -> list[Any]:
        slots = self._shallow()
        layout = self._type._layout
        for n in layout.compound:
            slots[n] = freeze(layout.fields[n], slots[n])
        return slots

    def _shallow(self) -> list[Any]:
        """A list of its own with the same slots and marks; the structures in unions, anys and arrays are shared."""
        offset = self._offset
        if not offset:
            return self._slots.copy()
        layout = self._type._layout
        slots = self._slots[offset : offset + len(layout)]
        slots[0] = (self._slots[0] >> offset) & layout.all
        return slots

    # -- inside the room ----------------------------------------------------------------------------------

    def _find(self, path: Any) -> _path.Place:
        return _path.resolve(self, spelled(path))

    def _sub(self, at: int) -> Value:
        """The handle on the structure at position *at* of this one."""
        offset, outer = self._offset, self._outer
        if not at:
            return self._handle(self._type, self._slots, offset, outer)
        child, inside = self._type._inside(at)
        if outer is not None:
            inside = inside[0] << offset | outer[0], outer[1]
        return self._handle(child, self._slots, offset + at, inside)

    def _link(self, at: int) -> Link:
        """What a change inside the item at position *at* has to mark."""
        position = self._offset + at
        above, link = self._outer if self._outer is not None else (0, None)
        cover = 1 << position | self._type._layout.parents[at] << self._offset | above
        return self._slots, 1 << position, cover, link

    def _linked(self, type: Type, link: Link | None) -> Value:
        """The same value, seen as a part of what *link* says, *type* being another handle on the same field."""
        return self._handle(type, self._slots, self._offset, (0, link))

    def _touch(self, bit: int) -> None:
        """Sets *bit* in the change mask, and the marks of everything this value is a part of."""
        self._slots[0] |= bit
        if self._outer is not None:
            mark_outside(self._outer[1])

    def _read(self, at: int, item: Any) -> Any:
        """The Python object for *item*, the slot at position *at*."""
        if item.__class__ is np.ndarray:
            # A view: what callers do to its shape or flags stays theirs.
            return item.view()
        field = self._type._fields[at]
        if field.code == "S":
            return self._sub(at)
        if field.code == "as":
            return list(item)
        return expose(field, item, self._type, self._link(at))

    def _exposed(self, place: _path.Place) -> Any:
        if place.handle is not None:
            return place.handle
        return expose(place.field, place.item, self._type, place.link)


def _reader(name: str) -> property:
    def read(self: Value) -> Any:
        at = self._type._position.get(name)
        if not at:
            raise AttributeError(name)
        item = self._slots[self._offset + at]
        if item.__class__ in _DIRECT:
            return item
        return self._read(at, item)

    return property(read, doc=f"The field {name!r}; AttributeError where there is none.")


# As properties, the fields of most PVs read three times faster: Python 3.11 makes an exception before
# it calls __getattr__. The list is fixed, because other names come from peers.
for _name in _NORMATIVE:
    setattr(Value, _name, _reader(_name))

# Our own slots are set through their descriptors, because Value.__setattr__ sets fields.
_set_type: Final = Value.__dict__["_type"].__set__
_set_slots: Final = Value.__dict__["_slots"].__set__
_set_offset: Final = Value.__dict__["_offset"].__set__
_set_outer: Final = Value.__dict__["_outer"].__set__


def _restore(type: Type, slots: list[Any]) -> Value:
    """Unpickles: arrays come back writable, so every item is frozen again."""
    layout = type._layout
    for n, field in enumerate(layout.fields):
        if field.code != "S":
            slots[n] = freeze(field, slots[n])
    return Value._make(type, slots)

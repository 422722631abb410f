"""The public handle on a structure's description."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

from p4p_trio.data import path as _path
from p4p_trio.data import value as _value
from p4p_trio.data.field import INTEGERS, Field, Layout
from p4p_trio.data.format import type_text
from p4p_trio.data.scalars import RANGES
from p4p_trio.data.spec import extend, members, parse, spec_of

if TYPE_CHECKING:
    from p4p_trio.data.marks import Link

__all__ = ["Struct", "StructArray", "Type", "Union", "UnionArray"]

_NATIVE: Final[dict[str, type]] = {"?": bool, **dict.fromkeys(INTEGERS, int), "d": float, "s": str}


class _Entries(dict[str, tuple[int, str, object, int, int]]):
    """What an assignment needs to know, by dotted path, made when first asked for.

    That is position, code, the class whose objects need no conversion (None: there is none), and the
    least and greatest integer.
    """

    def __init__(self, position: dict[str, int], fields: tuple[Field, ...]) -> None:
        self._position = position
        self._fields = fields

    def __missing__(self, path: str) -> tuple[int, str, object, int, int]:
        at = self._position[path]
        code = self._fields[at].code
        low, high = RANGES.get(code, (0, 0))
        found = self[path] = at, code, _NATIVE.get(code), low, high
        return found


class Type:
    """What a `Value` holds: names, types and an optional type id.

        >>> point = Type([("x", "d"), ("y", "d")], id="point_t")
        >>> frame = Type([("value", "ad"), ("origin", point), ("mode", ("U", None, [("n", "i"), ("text", "s")]))])
        >>> frame["origin.x"]
        'd'

    Codes: `?` bool; `b h i l` signed and `B H I L` unsigned integers of 8, 16, 32, 64 bits; `f d` float32 and
    float64; `s` str; `v` any; each with `a` in front for an array of it. `("S", id, spec)` is a sub-structure,
    `("U", id, spec)` a union, `("aS", …)` and `("aU", …)` arrays of them.

    Types are immutable. Two types that describe the same thing are equal and have the same hash.

    Args:
        spec: list of `(name, type)` tuples.
        id: the type id, such as "epics:nt/NTScalar:1.0".
        base: begin with the members and the id of this type; members of *spec* that it has already replace
            its own, structures are merged.
        strict: True refuses integers that are out of range and fractions assigned to integer fields; False
            wraps and truncates them silently, as p4p does. No part of equality. None: what the class says.

    Attributes:
        strict: as above.
        from_client: whether this is the type of a value that a client sent; no part of equality either.
            What a client says about alarm and time is not what the server says.

    Raises:
        ValueError: for an unknown code, a bad or repeated name, both `id` and `base`, too deep nesting.
        TypeError: where *spec* is not made of such tuples.
    """

    __slots__ = (
        "__dict__",
        "__weakref__",
        "_children",
        "_entries",
        "_field",
        "_fields",
        "_layout",
        "_position",
        "_structures",
    )

    _field: Field
    _fields: tuple[Field, ...]
    _layout: Layout
    _position: dict[str, int]
    _children: dict[Field, Type]
    _entries: _Entries
    _structures: dict[int, tuple[Type, tuple[int, Link | None]]]

    strict: bool = True
    from_client: bool = False

    def __init__(
        self,
        spec: Iterable[tuple[str, Any]],
        id: str | None = None,
        base: Type | None = None,
        *,
        strict: bool | None = None,
    ) -> None:
        lenient = (type(self).strict if strict is None else strict) is False
        if base is None:
            field = parse(spec, id, strict=not lenient)
        elif not isinstance(base, Type):
            raise TypeError(f"base= must be a Type, not {type(base).__name__}")
        elif id is not None:
            raise ValueError("only pass one of id= or base=")
        elif base._field.code != "S":
            raise TypeError(f"base= must be a structure, not {base!r}")
        else:
            field = extend(base._field, members(spec, strict=not lenient))
        self._adopt(field, strict)

    @classmethod
    def _of(cls, field: Field, strict: bool | None = None, from_client: bool = False) -> Type:
        """The handle on *field*; `strict` None is the class's own."""
        made = object.__new__(cls)
        made._adopt(field, strict, from_client)
        return made

    def _adopt(self, field: Field, strict: bool | None, from_client: bool = False) -> None:
        put = object.__setattr__
        put(self, "_field", field)
        layout = field.layout
        put(self, "_layout", layout)
        put(self, "_fields", layout.fields)
        put(self, "_position", layout.position)
        put(self, "_children", {})
        put(self, "_entries", _Entries(layout.position, layout.fields))
        put(self, "_structures", {})
        if strict is not None and strict is not type(self).strict:
            # Only the odd one out carries its own flag; the class attribute serves the rest.
            put(self, "strict", strict)
        if from_client:
            put(self, "from_client", True)

    def _twin(self, from_client: bool) -> Type:
        """Another handle on the same field, for values that did or did not come from a client."""
        return type(self)._of(self._field, self.strict, from_client)

    def _child(self, field: Field) -> Type:
        """The handle on a field below this one: the same class, equally strict."""
        found = self._children.get(field)
        if found is None:
            found = self._children[field] = type(self)._of(field, self.strict, self.from_client)
        return found

    def _inside(self, at: int) -> tuple[Type, tuple[int, Link | None]]:
        """What a handle on the structure at position *at* needs: its type, and (the structures above it, None)."""
        found = self._structures.get(at)
        if found is None:
            found = self._child(self._fields[at]), (self._layout.parents[at], None)
            self._structures[at] = found
        return found

    # -- reading ------------------------------------------------------------------------------------------

    def getID(self) -> str:
        """The type id, "structure" where there is none."""
        return self._field.id or "structure"

    def keys(self) -> list[str]:
        """Names of the immediate members, as declared."""
        return list(self._field.names)

    def values(self) -> list[Any]:
        """What `type[name]` gives for each member."""
        return [self._element(member) for member in self._field.members]

    def items(self) -> list[tuple[str, Any]]:
        """`(name, type[name])` for each member."""
        return list(zip(self.keys(), self.values(), strict=True))

    def has(self, name: str) -> bool:
        """Whether there is such a member; *name* may be a path: "alarm.severity", "choice->text"."""
        if not isinstance(name, str):
            raise TypeError(f"a field name must be str, not {type(name).__name__}")
        return name in self._position or _path.field_at(self._field, name) is not None

    __contains__ = has

    def __getitem__(self, name: str) -> Any:
        """A `Type` for a structure, otherwise the specification: a code or a tuple; KeyError if missing."""
        return self._element(self._at(name))

    def aspy(self, name: str | None = None) -> Any:
        """The specification of this type, or of its member *name*, as plain tuples and lists."""
        return spec_of(self._field if name is None else self._at(name))

    def tostr(self, limit: int = 0) -> str:
        """The type as text over several lines, cut after *limit* characters unless that is 0."""
        return type_text(self._field, limit)

    def _at(self, name: str) -> Field:
        if not isinstance(name, str):
            raise TypeError(f"a field name must be str, not {type(name).__name__}")
        found = _path.field_at(self._field, name)
        if found is None:
            raise KeyError(f"no such member field {name!r}")
        return found

    def _element(self, field: Field) -> Any:
        return self._child(field) if field.code == "S" else spec_of(field)

    # -- the object protocol ------------------------------------------------------------------------------

    def __call__(self, initial: Any = None) -> _value.Value:
        """A new value of this type; *initial* as for `Value`."""
        return _value.Value(self, initial)

    def __iter__(self) -> Iterator[str]:
        return iter(self._field.names)

    def __len__(self) -> int:
        return len(self._field.names)

    def __bool__(self) -> bool:
        return True

    def __eq__(self, other: object) -> bool:
        return self._field is other._field if isinstance(other, Type) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._field)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Type cannot be changed: {name!r}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a Type cannot be changed: {name!r}")

    def __copy__(self) -> Type:
        return self

    def __deepcopy__(self, memo: object) -> Type:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self)._of, (self._field, self.strict, self.from_client)

    def __repr__(self) -> str:
        if self._field.code != "S":
            return f"<Type {spec_of(self._field)!r}>"
        _, id, inside = spec_of(self._field)
        return f'Type({inside}, id="{id}")'


def Struct(spec: Any = None, id: str | None = None) -> tuple[str, str | None, Any]:
    """The specification of a sub-structure."""
    return "S", id, spec


def Union(spec: Any = None, id: str | None = None) -> tuple[str, str | None, Any]:
    """The specification of a union."""
    return "U", id, spec


def StructArray(spec: Any = None, id: str | None = None) -> tuple[str, str | None, Any]:
    """The specification of an array of structures."""
    return "aS", id, spec


def UnionArray(spec: Any = None, id: str | None = None) -> tuple[str, str | None, Any]:
    """The specification of an array of unions."""
    return "aU", id, spec

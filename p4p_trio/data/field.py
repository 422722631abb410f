"""The structure of a value: immutable, interned descriptions, and their flat numbering.

A `Field` says what one place in a structure holds. Fields are interned: two descriptions that are
equal are the same object while both are alive, so equality is identity and caches can be keyed by it.

A structure's `Layout` numbers it depth first, as the wire does: position 0 is the structure itself,
then each member; only *nested plain structures* contribute further positions. Struct arrays, unions,
variants and their arrays are one position each. A Value keeps one flat list with a slot per position:

    code                    slot
    "?"                     bool
    "b" "B" "h" … "L"       int
    "f" "d"                 float
    "s"                     str (bytes that are not UTF-8 are kept by surrogateescape)
    "a?" "ab" … "ad"        numpy array: 1-d, native order, C-contiguous, read-only, dtype `DTYPES[code]`
    "as"                    tuple of str
    "S" (nested)            None; slot 0 of the list is the change mask (int), bit n for position n
    "U"                     None (nothing selected) or Selected(index, item)
    "v"                     None (empty) or Variant(field, item)
    "aS"                    tuple of Value or None
    "aU"                    tuple of Selected or None; Selected(-1, None) is a present but empty union
    "av"                    tuple of Variant or None; Variant(None, None) is a present but empty variant

An *item* (in Selected and Variant) is what the slot of a field with that code would hold; for "S" it
is a Value of its own.

A nested structure at absolute position p occupies p … p + its own layout's size - 1, in the same
order, so a view of it needs only the list and the offset p.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final
from weakref import WeakValueDictionary

import attrs
import numpy as np
import numpy.typing as npt

__all__ = ["DTYPES", "SCALARS", "Field", "Layout", "Selected", "Variant", "bits", "scalar", "struct"]

INTEGERS: Final = "bBhHiIlL"
SCALARS: Final = "?" + INTEGERS + "fds"

DTYPES: Final[dict[str, np.dtype[Any]]] = {
    "a?": np.dtype(np.bool_),
    "ab": np.dtype(np.int8),
    "aB": np.dtype(np.uint8),
    "ah": np.dtype(np.int16),
    "aH": np.dtype(np.uint16),
    "ai": np.dtype(np.int32),
    "aI": np.dtype(np.uint32),
    "al": np.dtype(np.int64),
    "aL": np.dtype(np.uint64),
    "af": np.dtype(np.float32),
    "ad": np.dtype(np.float64),
}


def _empty(code: str) -> npt.NDArray[Any]:
    array: npt.NDArray[Any] = np.empty(0, DTYPES[code])
    array.flags.writeable = False
    return array


_DEFAULTS: Final[dict[str, Any]] = {
    "?": False,
    **dict.fromkeys(INTEGERS, 0),
    "f": 0.0,
    "d": 0.0,
    "s": "",
    **{code: _empty(code) for code in DTYPES},
    "as": (),
    "S": None,
    "U": None,
    "v": None,
    "aS": (),
    "aU": (),
    "av": (),
}
CODES: Final = frozenset(_DEFAULTS)
COMPOUND: Final = frozenset({"U", "v", "aS", "aU", "av"})


def bits(mask: int) -> Iterator[int]:
    """The positions of the set bits of *mask*, lowest first."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


@attrs.frozen(slots=True)
class Selected:
    """A union's choice: *index* of the member, and the item it holds."""

    index: int
    item: Any


@attrs.frozen(slots=True)
class Variant:
    """What a variant union ("any") holds: its own type and the item."""

    field: Field | None
    item: Any


class Field:
    """What one place holds. Made by `scalar`, `struct` and `Field.make`, never directly.

    Attributes:
        code: p4p's type code: a scalar ("d"), an array ("ad"), "v", "av", "S", "U", "aS" or "aU".
        id: the type id of a structure or union, "" for none.
        names: names of the direct members of a structure or union, in order.
        members: their fields.
        element: for "aS" and "aU" the "S" or "U" field of one element, else None.
        depth: 1 for a scalar, one more for each level of structures and unions round it.
    """

    __slots__ = ("__weakref__", "_layout", "_nodes", "code", "depth", "element", "id", "members", "names")

    code: str
    id: str
    names: tuple[str, ...]
    members: tuple[Field, ...]
    element: Field | None
    depth: int
    _layout: Layout | None
    _nodes: int | None

    @staticmethod
    def make(
        code: str,
        id: str = "",
        names: tuple[str, ...] = (),
        members: tuple[Field, ...] = (),
        element: Field | None = None,
    ) -> Field:
        """The one field with this description.

        Raises:
            ValueError: for an unknown code or a duplicate member name.
        """
        if code not in CODES:
            raise ValueError(f"unknown type code {code!r}")
        if len(set(names)) != len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"duplicate field name {twice!r}")
        key = (code, id, names, members, element)
        found = _interned.get(key)
        if found is None:
            found = object.__new__(Field)
            found.code, found.id, found.names, found.members, found.element = key
            found._layout = None
            found._nodes = None
            below = members if element is None else (*members, element)
            found.depth = 1 + max((field.depth for field in below), default=0)
            _interned[key] = found
        return found

    @property
    def layout(self) -> Layout:
        """The flat numbering of a structure (of any other field: the one position 0)."""
        if self._layout is None:
            self._layout = Layout(self)
        return self._layout

    @property
    def default(self) -> Any:
        """The slot of a field to which nothing was assigned."""
        return _DEFAULTS[self.code]

    @property
    def nodes(self) -> int:
        """How many descriptions this one contains, itself and everything below it counted."""
        if self._nodes is None:
            below = sum(member.nodes for member in self.members)
            self._nodes = 1 + below + (self.element.nodes if self.element is not None else 0)
        return self._nodes

    def member(self, name: str) -> Field:
        """The direct member *name*; KeyError if there is none."""
        try:
            return self.members[self.names.index(name)]
        except ValueError:
            raise KeyError(f"no such member field {name!r}") from None

    def __repr__(self) -> str:
        inside = ", ".join(self.names)
        return f"Field({self.code!r}{', ' + repr(self.id) if self.id else ''}{', [' + inside + ']' if inside else ''})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Field.make, (self.code, self.id, self.names, self.members, self.element)


_interned: WeakValueDictionary[tuple[Any, ...], Field] = WeakValueDictionary()
_SCALAR: Final = {code: Field.make(code) for code in CODES if code not in ("S", "U", "aS", "aU")}


def scalar(code: str) -> Field:
    """The field of a scalar, a scalar array, "v" or "av"; KeyError for any other code."""
    return _SCALAR[code]


def struct(members: dict[str, Field], id: str = "") -> Field:
    """A structure of *members*, in the dict's order."""
    return Field.make("S", id, tuple(members), tuple(members.values()))


class Layout:
    """A structure flattened depth first; everything here is indexed by position.

    Attributes:
        fields: the field at each position, `fields[0]` being the structure itself.
        paths: its dotted path, "" for position 0.
        subtree: mask of the position and everything below it.
        parents: mask of the structures above it, bit 0 included (0 for position 0).
        position: dotted path -> position.
        leaves: mask of all positions that hold data: everything but structures.
        compound: positions whose items may hold Values of their own (unions, variants and arrays of structures).
        all: mask of every position.
        defaults: one slot per position for a fresh value, slot 0 (the change mask) being 0. Copy it.
    """

    __slots__ = ("all", "compound", "defaults", "fields", "leaves", "parents", "paths", "position", "subtree")

    def __init__(self, root: Field) -> None:
        fields: list[Field] = []
        paths: list[str] = []
        parents: list[int] = []
        subtree: list[int] = []

        # Depth is bounded where types enter (a spec, the wire), so recursion here cannot run away.
        def visit(field: Field, path: str, above: int) -> None:
            here = len(fields)
            fields.append(field)
            paths.append(path)
            parents.append(above)
            subtree.append(0)
            if field.code == "S":
                for name, member in zip(field.names, field.members, strict=True):
                    visit(member, f"{path}.{name}" if path else name, above | 1 << here)
            subtree[here] = (1 << len(fields)) - (1 << here)

        visit(root, "", 0)
        self.fields = tuple(fields)
        self.paths = tuple(paths)
        self.parents = tuple(parents)
        self.subtree = tuple(subtree)
        self.position = {path: n for n, path in enumerate(paths)}
        self.all = subtree[0]
        self.leaves = sum(1 << n for n, field in enumerate(fields) if field.code != "S")
        self.compound = tuple(n for n, field in enumerate(fields) if field.code in COMPOUND)
        self.defaults = [field.default for field in fields]
        if root.code == "S":
            self.defaults[0] = 0

    def __len__(self) -> int:
        return len(self.fields)

    def expand(self, mask: int) -> int:
        """The leaves that *mask* covers: a set structure bit stands for its whole subtree."""
        covered = 0
        for n in bits(mask & ~self.leaves):
            covered |= self.subtree[n]
        return (mask | covered) & self.leaves

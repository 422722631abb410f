"""Hypothesis strategies for what PVs hold, and a comparison that knows nan.

    fields()           any structure Field: nested structures, unions, anys, arrays of all of them
    items(field)       any item that a slot of that field may hold
    values()           a Value of any such structure, with random marks
    values_of(field)   a Value of this structure

Sizes are small on purpose: what breaks a codec at five members breaks it at two.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Any

import numpy as np
from hypothesis import strategies as st

from p4p_trio.data import Field, Selected, Type, Value, Variant, scalar
from p4p_trio.data.field import DTYPES, SCALARS

__all__ = [
    "fields",
    "items",
    "leaf_fields",
    "names",
    "requests",
    "same_item",
    "same_value",
    "texts",
    "values",
    "values_of",
]

DEPTH = 4
_LETTERS = "abcxyzABC_"
_BITS = {"b": 8, "h": 16, "i": 32, "l": 64}


@cache
def names() -> st.SearchStrategy[str]:
    """Field names."""
    return st.builds(str.__add__, st.sampled_from(_LETTERS), st.text(_LETTERS + "059", max_size=5))


@cache
def texts() -> st.SearchStrategy[str]:
    """Strings as fields hold them: any Unicode, and bytes that are not UTF-8."""
    return st.one_of(
        st.text(max_size=12),
        st.binary(max_size=6).map(lambda raw: raw.decode("utf-8", "surrogateescape")),
        st.sampled_from(["", "x" * 253, "x" * 254, "µ" * 150]),
    )


@cache
def leaf_fields() -> st.SearchStrategy[Field]:
    """Scalars, scalar arrays, any, any[]."""
    return st.sampled_from([*SCALARS, *DTYPES, "as", "v", "av"]).map(scalar)


def fields(depth: int = DEPTH) -> st.SearchStrategy[Field]:
    """Any structure of at most *depth* levels."""
    return _compounds("S", depth)


@cache
def _compounds(code: str, depth: int) -> st.SearchStrategy[Field]:
    member = leaf_fields() if depth <= 1 else st.one_of(leaf_fields(), _members(depth - 1))
    ids = st.one_of(st.just(""), st.just("epics:nt/NTScalar:1.0"), st.text(max_size=8))
    return st.builds(
        lambda pairs, id: Field.make(code, id, tuple(pairs), tuple(pairs.values())),
        st.dictionaries(names(), member, max_size=4),
        ids,
    )


@cache
def _members(depth: int) -> st.SearchStrategy[Field]:
    structure, union = st.deferred(lambda: _compounds("S", depth)), st.deferred(lambda: _compounds("U", depth))
    return st.one_of(
        structure,
        union,
        structure.map(lambda element: Field.make("aS", element=element)),
        union.map(lambda element: Field.make("aU", element=element)),
    )


@lru_cache(maxsize=512)
def items(field: Field) -> st.SearchStrategy[Any]:
    """Any item of *field*; for a structure a Value."""
    code = field.code
    if code in SCALARS:
        return _scalars(code)
    if code in DTYPES:
        return st.lists(_scalars(code[1:]), max_size=5).map(lambda each: _array(code, each))
    if code == "as":
        return st.lists(texts(), max_size=4).map(tuple)
    if code == "S":
        return values_of(field)
    if code == "U":
        return st.none() | _selected(field)
    if code == "v":
        return st.none() | _variants()
    if code == "av":
        return _tuples(_variants() | st.just(Variant(None, None)))
    assert field.element is not None
    if code == "aS":
        return _tuples(values_of(field.element))
    return _tuples(_selected(field.element) | st.just(Selected(-1, None)))


@lru_cache(maxsize=512)
def values_of(field: Field) -> st.SearchStrategy[Value]:
    """A Value of the structure *field*, any leaf of it assigned, any position of it marked."""

    @st.composite
    def build(draw: st.DrawFn) -> Value:
        layout = field.layout
        slots = layout.defaults.copy()
        for n, each in enumerate(layout.fields):
            if each.code != "S" and draw(st.booleans()):
                slots[n] = draw(items(each))
        slots[0] = draw(st.integers(0, layout.all))
        return Value._make(Type._of(field), slots)

    return build()


def values(depth: int = DEPTH) -> st.SearchStrategy[Value]:
    """A Value of any structure."""
    return fields(depth).flatmap(values_of)


def requests(field: Field) -> st.SearchStrategy[str]:
    """The text of a pvRequest for any paths of *field*, known and unknown."""
    known = [path for path in field.layout.paths if path]
    path = st.sampled_from(known) | names() if known else names()
    return st.lists(path, max_size=4).map(lambda chosen: f"field({','.join(chosen)})")


def same_item(field: Field, left: Any, right: Any) -> bool:
    """Whether two items are the same to the last bit of every number (any nan is any nan), marks included."""
    code = field.code
    if left is None or right is None:
        return left is right
    if code in DTYPES:
        return left.dtype == right.dtype and np.array_equal(left, right, equal_nan=code in ("af", "ad"))
    if code in ("f", "d"):
        return type(left) is type(right) is float and repr(left) == repr(right)
    if code == "S":
        return same_value(left, right)
    if code == "U":
        inside = left.index == right.index
        return inside and (left.index < 0 or same_item(field.members[left.index], left.item, right.item))
    if code == "v":
        return left.field is right.field and (left.field is None or same_item(left.field, left.item, right.item))
    if code in ("aS", "aU", "av"):
        element = scalar("v") if field.element is None else field.element
        return len(left) == len(right) and all(same_item(element, *pair) for pair in zip(left, right, strict=True))
    return type(left) is type(right) and bool(left == right)


def same_value(left: Value, right: Value, *, marks: bool = True) -> bool:
    """Whether two whole values are the same, with or without their own marks."""
    layout = left._type._field.layout
    if left._type._field is not right._type._field or (marks and left._slots[0] != right._slots[0]):
        return False
    return all(
        same_item(field, left._slots[n], right._slots[n]) for n, field in enumerate(layout.fields) if field.code != "S"
    )


@cache
def _scalars(code: str) -> st.SearchStrategy[Any]:
    if code == "?":
        return st.booleans()
    if code == "s":
        return texts()
    if code in "fd":
        return st.floats(width=32 if code == "f" else 64)
    bits = _BITS[code.lower()]
    return st.integers(-(1 << bits - 1), (1 << bits - 1) - 1) if code.islower() else st.integers(0, (1 << bits) - 1)


def _array(code: str, elements: list[Any]) -> Any:
    array = np.array(elements, DTYPES[code])
    array.flags.writeable = False
    return array


def _selected(field: Field) -> st.SearchStrategy[Selected]:
    if not field.members:
        return st.just(Selected(-1, None)) if field.names else st.nothing()
    return st.integers(0, len(field.members) - 1).flatmap(
        lambda index: st.builds(Selected, st.just(index), items(field.members[index]))
    )


@cache
def _variants() -> st.SearchStrategy[Variant]:
    # What an any holds is no any itself: the wire would allow it, no peer does.
    inside = st.sampled_from([*SCALARS, *DTYPES, "as", "av"]).map(scalar) | st.deferred(lambda: fields(1))
    return inside.flatmap(lambda field: st.builds(Variant, st.just(field), items(field)))


def _tuples(element: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(st.none() | element, max_size=3).map(tuple)

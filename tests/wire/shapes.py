"""Strategies for types, values and messages, and an equality for what slots hold."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import strategies as st

from p4p_trio.config import Limits
from p4p_trio.data import Field, Selected, Type, Value, Variant, bits, scalar
from p4p_trio.data.field import DTYPES, SCALARS
from p4p_trio.wire import BIG, LITTLE, Buffers, Order, Reader

LIMITS = Limits()
orders = st.sampled_from([LITTLE, BIG])
_ranges = {code: (int(np.iinfo(DTYPES["a" + code]).min), int(np.iinfo(DTYPES["a" + code]).max)) for code in "bBhHiIlL"}

names = st.text(st.characters(codec="utf-8", categories=("L", "N")), min_size=1, max_size=6)
ids = st.one_of(st.just(""), st.text(max_size=8))
texts = st.one_of(
    st.text(max_size=12),
    st.binary(max_size=6).map(lambda raw: raw.decode("utf-8", "surrogateescape")),
    st.integers(250, 300).map(lambda n: "x" * n),
)
simple = st.sampled_from([*SCALARS, *("a" + code for code in SCALARS), "v", "av"]).map(scalar)


def _compound(inner: st.SearchStrategy[Field]) -> st.SearchStrategy[Field]:
    members = st.dictionaries(names, inner, max_size=4)
    plain = st.builds(
        lambda code, id, parts: Field.make(code, id, tuple(parts), tuple(parts.values())),
        st.sampled_from("SSU"),
        ids,
        members,
    )
    arrays = plain.map(lambda field: Field.make("a" + field.code, element=field))
    return st.one_of(plain, arrays)


fields = st.recursive(simple, _compound, max_leaves=10)
structs = st.builds(
    lambda id, parts: Field.make("S", id, tuple(parts), tuple(parts.values())),
    ids,
    st.dictionaries(names, fields, max_size=6),
)


def array(code: str, values: Any) -> np.ndarray[Any, Any]:
    """An array as a slot holds it."""
    made = np.array(values, DTYPES[code])
    made.flags.writeable = False
    return made


@st.composite
def items(draw: st.DrawFn, field: Field) -> Any:
    """What a slot of *field* holds."""
    code = field.code
    if code == "?":
        return draw(st.booleans())
    if code in _ranges:
        return draw(st.integers(*_ranges[code]))
    if code == "d":
        return draw(st.floats())
    if code == "f":
        return draw(st.floats(width=32))
    if code == "s":
        return draw(texts)
    if code == "as":
        return tuple(draw(st.lists(texts, max_size=3)))
    if code in DTYPES:
        width = DTYPES[code].itemsize
        count = draw(st.one_of(st.integers(0, 4), st.integers(250, 260)))
        raw = draw(st.binary(min_size=min(count, 4) * width, max_size=min(count, 4) * width))
        made = np.resize(np.frombuffer(raw, np.uint8), count * width) if count else np.empty(0, np.uint8)
        if code == "a?":
            made = (made & 1).astype(np.uint8)
        made = made.view(DTYPES[code])
        made.flags.writeable = False
        return made
    if code == "S":
        return Value._make(Type._of(field), draw(slots(field)))
    if code == "U":
        if not field.members or draw(st.booleans()):
            return None
        index = draw(st.integers(0, len(field.members) - 1))
        return Selected(index, draw(items(field.members[index])))
    if code == "v":
        inner = draw(st.one_of(st.none(), simple.filter(lambda f: f.code not in ("v", "av")), structs))
        return None if inner is None else Variant(inner, draw(items(inner)))
    element = field.element or scalar("v")
    empty: Any = {"S": None, "U": Selected(-1, None), "v": Variant(None, None)}[element.code]
    found = []
    for _ in range(draw(st.integers(0, 3))):
        present = draw(st.booleans())
        item = draw(items(element)) if present else None
        found.append(empty if present and item is None else item)
    return tuple(found)


@st.composite
def slots(draw: st.DrawFn, field: Field) -> list[Any]:
    """The slots of a structure."""
    made = field.layout.defaults.copy()
    for n in bits(field.layout.leaves):
        made[n] = draw(items(field.layout.fields[n]))
    return made


def same(a: Any, b: Any) -> bool:
    """Whether two items, or two lists of slots, are equal to the last bit; marks and payloads of NaNs do not count."""
    if isinstance(a, Value):
        return isinstance(b, Value) and a._type._field is b._type._field and same(a._slots[1:], b._slots[1:])
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and a.dtype == b.dtype and a.tobytes() == b.tobytes()
    if type(a) is not type(b):
        return False
    if isinstance(a, float):
        return (math.isnan(a) and math.isnan(b)) or (a == b and math.copysign(1, a) == math.copysign(1, b))
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, Selected):
        return a.index == b.index and same(a.item, b.item)
    if isinstance(a, Variant):
        return a.field is b.field and same(a.item, b.item)
    return bool(a == b)


def written(write: Any, *arguments: Any) -> bytes:
    """What `write(out, *arguments)` appends."""
    out = Buffers()
    write(out, *arguments)
    return joined(out)


def joined(out: Buffers) -> bytes:
    """All of *out* in one piece."""
    whole = b"".join(out.freeze())
    assert len(whole) == len(out)
    return whole


def reading(data: bytes, order: Order = LITTLE, **more: Any) -> Reader:
    """A reader of *data*."""
    return Reader(data, 0, len(data), order, more.pop("limits", LIMITS), **more)


def raw(text: str) -> bytes:
    """Hex with comments: everything behind `#` is for the reader."""
    return bytes.fromhex("".join(line.split("#")[0] for line in text.splitlines()))

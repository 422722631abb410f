"""The reference codec: values to and from bytes, by looking at the type of each field.

It serves strangers' types and every odd case, and it defines what the generated codecs (generate.py)
have to do: they call it for whatever does not go fast, and the tests hold them to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from p4p_trio.data import Selected, Type, Value, Variant, bits
from p4p_trio.data.field import DTYPES, INTEGERS, Field, Layout, scalar
from p4p_trio.errors import ProtocolError
from p4p_trio.wire.bitset import write_bitset
from p4p_trio.wire.buffers import ATTACH, Buffers
from p4p_trio.wire.order import Order
from p4p_trio.wire.reader import Reader
from p4p_trio.wire.text import write_size, write_string
from p4p_trio.wire.typedesc import read_type, write_type

__all__ = [
    "read_item",
    "read_leaf",
    "read_leaves",
    "read_partial",
    "read_slots",
    "read_typed",
    "write_item",
    "write_leaves",
    "write_partial",
    "write_slots",
    "write_typed",
]

_NO_UNION: Final = Selected(-1, None)
_NO_VARIANT: Final = Variant(None, None)


# Writing. Slots are valid by construction (data/ makes them), so nothing is checked here.


def write_item(out: Buffers, order: Order, field: Field, item: Any) -> None:
    """Append what a slot of *field* holds."""
    _WRITE[field.code](out, order, field, item)


def write_slots(out: Buffers, order: Order, field: Field, slots: list[Any]) -> None:
    """Append a whole structure, without a BitSet."""
    for n, leaf in enumerate(field.layout.fields):
        if leaf.code != "S":
            _WRITE[leaf.code](out, order, leaf, slots[n])


def write_leaves(out: Buffers, order: Order, field: Field, slots: list[Any], leaves: Iterable[int]) -> None:
    """Append the leaves at the positions *leaves*."""
    fields = field.layout.fields
    for n in leaves:
        leaf = fields[n]
        _WRITE[leaf.code](out, order, leaf, slots[n])


def write_partial(out: Buffers, order: Order, field: Field, slots: list[Any], mask: int) -> None:
    """Append *mask* as a BitSet, and the leaves that it covers.

    A structure's bit stands for its whole subtree and is sent as it is; a mask of leaves goes out as leaf bits.
    """
    write_bitset(out.tail, order, mask)
    write_leaves(out, order, field, slots, bits(field.layout.expand(mask)))


def write_typed(out: Buffers, order: Order, field: Field | None, item: Any) -> None:
    """Append a type and a value of it; the null type, and nothing more, for None."""
    write_type(out.tail, order, field)
    if field is not None:
        _WRITE[field.code](out, order, field, item)


def _write_string(out: Buffers, order: Order, field: Field, item: Any) -> None:
    write_string(out.tail, order, item)


def _write_number(out: Buffers, order: Order, field: Field, item: Any) -> None:
    out.tail += order.scalars[field.code].pack(item)


def _write_array(out: Buffers, order: Order, field: Field, item: Any) -> None:
    write_size(out.tail, order, item.size)
    if order.swapped and item.itemsize > 1:
        item = item.byteswap()
    if item.nbytes >= ATTACH:
        out.attach(memoryview(item).cast("B"))
    else:
        out.tail += item.data


def _write_strings(out: Buffers, order: Order, field: Field, item: Any) -> None:
    tail = out.tail
    write_size(tail, order, len(item))
    for text in item:
        write_string(tail, order, text)


def _write_value(out: Buffers, order: Order, field: Field, item: Any) -> None:
    write_slots(out, order, field, item._slots)


def _write_union(out: Buffers, order: Order, field: Field, item: Any) -> None:
    if item is None or item.index < 0:
        out.tail.append(0xFF)
        return
    write_size(out.tail, order, item.index)
    member = field.members[item.index]
    _WRITE[member.code](out, order, member, item.item)


def _write_variant(out: Buffers, order: Order, field: Field, item: Any) -> None:
    if item is None:
        out.tail.append(0xFF)
    else:
        write_typed(out, order, item.field, item.item)


def _write_elements(out: Buffers, order: Order, field: Field, item: Any) -> None:
    element = field.element or _VARIANT
    write = _WRITE[element.code]
    write_size(out.tail, order, len(item))
    for each in item:
        if each is None:
            out.tail.append(0)
        else:
            out.tail.append(1)
            write(out, order, element, each)


_VARIANT: Final = scalar("v")
_WRITE: Final[dict[str, Callable[[Buffers, Order, Field, Any], None]]] = {
    **dict.fromkeys("?fd" + INTEGERS, _write_number),
    **dict.fromkeys(DTYPES, _write_array),
    "s": _write_string,
    "as": _write_strings,
    "S": _write_value,
    "U": _write_union,
    "v": _write_variant,
    **dict.fromkeys(("aS", "aU", "av"), _write_elements),
}


# Reading.


def read_item(reader: Reader, field: Field) -> Any:
    """What a slot of *field* holds.

    Raises:
        ProtocolError: with offset and path below *field*.
    """
    return _READ[field.code](reader, field)


def read_slots(reader: Reader, field: Field) -> list[Any]:
    """A whole structure, without a BitSet, as fresh slots with an empty change mask."""
    layout = field.layout
    slots = layout.defaults.copy()
    read_leaves(reader, layout, slots, range(1, len(layout)))
    return slots


def read_leaves(reader: Reader, layout: Layout, slots: list[Any], positions: Iterable[int]) -> None:
    """The leaves among *positions*, into *slots*."""
    fields = layout.fields
    n = 0
    try:
        for n in positions:
            leaf = fields[n]
            if leaf.code != "S":
                slots[n] = _READ[leaf.code](reader, leaf)
    except ProtocolError as error:
        raise error.inside(layout.paths[n]) from None


def read_leaf(reader: Reader, layout: Layout, n: int) -> Any:
    """The leaf at position *n*."""
    leaf = layout.fields[n]
    try:
        return _READ[leaf.code](reader, leaf)
    except ProtocolError as error:
        raise error.inside(layout.paths[n]) from None


def read_partial(reader: Reader, field: Field, slots: list[Any]) -> int:
    """A BitSet and the leaves that it covers, into *slots*; returns the mask of these leaves.

    `slots[0]` is left alone.
    """
    layout = field.layout
    covered = layout.expand(reader.bitset(len(layout)))
    read_leaves(reader, layout, slots, bits(covered))
    return covered


def read_typed(reader: Reader) -> tuple[Field | None, Any]:
    """A type and a value of it; None and None for the null type."""
    field = read_type(reader)
    return field, None if field is None else _READ[field.code](reader, field)


def _read_number(reader: Reader, field: Field) -> Any:
    return reader.number(field.code)


def _read_string(reader: Reader, field: Field) -> str:
    return reader.string()


def _read_array(reader: Reader, field: Field) -> Any:
    return reader.array(field.code)


def _read_strings(reader: Reader, field: Field) -> tuple[str, ...]:
    return reader.strings()


def _read_value(reader: Reader, field: Field) -> Value:
    return _read_one(reader, field, _empty_parts(field), _handle(reader, field))


def _read_one(reader: Reader, field: Field, empty: int, type_: Type) -> Value:
    # A slot costs memory whether bytes arrive for it or not.
    reader.charge(len(field.layout) + 1)
    if empty:
        reader.charge_empty(empty)
    return Value._make(type_, read_slots(reader, field))


def _handle(reader: Reader, field: Field) -> Type:
    """The public handle on *field*; all values of one message share it."""
    handle = reader.handles.get(field)
    if handle is None:
        handle = reader.handles[field] = Type._of(field)
    return handle


def _empty_parts(field: Field) -> int:
    return [part.names for part in field.layout.fields if part.code == "S"].count(())


def _read_union(reader: Reader, field: Field) -> Selected | None:
    at = reader.pos
    index = reader.size_or_null()
    if index < 0:
        return None
    if index >= len(field.members):
        raise reader.error(f"union selector {index} of {len(field.members)} members", at)
    reader.charge(2)
    reader.enter()
    member = field.members[index]
    try:
        item = _READ[member.code](reader, member)
    except ProtocolError as error:
        raise error.inside(field.names[index]) from None
    reader.leave()
    return Selected(index, item)


def _read_variant(reader: Reader, field: Field) -> Variant | None:
    reader.enter()
    reader.charge(2)
    inner, item = read_typed(reader)
    reader.leave()
    return None if inner is None else Variant(inner, item)


def _read_structs(reader: Reader, field: Field) -> tuple[Value | None, ...]:
    element = field.element
    assert element is not None
    empty = _empty_parts(element)
    type_ = _handle(reader, element)
    return _read_elements(reader, lambda: _read_one(reader, element, empty, type_))


def _read_unions(reader: Reader, field: Field) -> tuple[Selected | None, ...]:
    element = field.element
    assert element is not None
    return _read_elements(reader, lambda: _read_union(reader, element) or _NO_UNION)


def _read_variants(reader: Reader, field: Field) -> tuple[Variant | None, ...]:
    return _read_elements(reader, lambda: _read_variant(reader, field) or _NO_VARIANT)


def _read_elements(reader: Reader, read: Callable[[], Any]) -> tuple[Any, ...]:
    """Elements that each have a byte in front that says whether they are there."""
    count = reader.count(1)
    reader.charge(count)
    reader.enter()
    found: list[Any] = []
    try:
        for _ in range(count):
            found.append(read() if reader.u8() else None)  # noqa: PERF401 - the error wants to know how far it came
    except ProtocolError as error:
        raise error.inside(f"[{len(found)}]") from None
    reader.leave()
    return tuple(found)


_READ: Final[dict[str, Callable[[Reader, Field], Any]]] = {
    **dict.fromkeys("?fd" + INTEGERS, _read_number),
    **dict.fromkeys(DTYPES, _read_array),
    "s": _read_string,
    "as": _read_strings,
    "S": _read_value,
    "U": _read_union,
    "v": _read_variant,
    "aS": _read_structs,
    "aU": _read_unions,
    "av": _read_variants,
}

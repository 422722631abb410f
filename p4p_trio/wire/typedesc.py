"""Type descriptions ("introspection") to and from fields.

We send plain forms only. We read plain forms, definitions (`FD id type`) and references (`FE id`),
because pvAccessCPP, core-pva and spvirit send them everywhere, even before the validation is complete.
A definition overwrites an older one with the same id (specification and pvAccessCPP; pvxs keeps the
first). Refused: tagged types (`FC`, sent by nobody), and bounded or fixed arrays and bounded strings,
as pvxs refuses them.

References make a few bytes stand for an arbitrarily large type, so depth and number of nodes are
counted as if every reference were written out.
"""

from __future__ import annotations

import re
from typing import Final
from weakref import WeakKeyDictionary

from p4p_trio.config.limits import Limits
from p4p_trio.data.field import Field, scalar
from p4p_trio.errors import ProtocolError
from p4p_trio.wire.order import BIG, LITTLE, Order
from p4p_trio.wire.reader import Reader
from p4p_trio.wire.text import write_size, write_string

__all__ = ["MAX_NAME", "TypeCache", "read_type", "type_bytes", "write_type"]

# Longer names of fields and longer type ids are refused; pvAccessCPP has the same bound for channels.
MAX_NAME: Final = 500

_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f]")

_NULL: Final = 0xFF
_REFERENCE: Final = 0xFE
_DEFINITION: Final = 0xFD
_STRUCT: Final = 0x80
_UNION: Final = 0x81
_ARRAY: Final = 0x08

_SCALAR_CODES: Final = {
    0x00: "?",
    0x20: "b",
    0x21: "h",
    0x22: "i",
    0x23: "l",
    0x24: "B",
    0x25: "H",
    0x26: "I",
    0x27: "L",
    0x42: "f",
    0x43: "d",
    0x60: "s",
    0x82: "v",
}
_CODES: Final = {
    **{byte: scalar(code) for byte, code in _SCALAR_CODES.items()},
    **{byte | _ARRAY: scalar("a" + code) for byte, code in _SCALAR_CODES.items()},
}
_BYTES: Final = {field.code: byte for byte, field in _CODES.items()} | {
    "S": _STRUCT,
    "U": _UNION,
    "aS": _STRUCT | _ARRAY,
    "aU": _UNION | _ARRAY,
}


class TypeCache:
    """The type ids that one peer has defined on one connection.

    Args:
        limits: `max_cached_types` and `max_cached_nodes` bound it. Names count too: 64 bytes of
            description weigh as much as a node.
    """

    __slots__ = ("_limits", "_types", "_weight")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._types: dict[int, tuple[Field, int, int]] = {}
        self._weight = 0

    def __len__(self) -> int:
        return len(self._types)

    def find(self, id: int) -> tuple[Field, int] | None:
        """The type and its height, or None for an id that is not, or not completely, defined."""
        known = self._types.get(id)
        return known and known[:2]

    def forget(self, id: int) -> None:
        """Drop an id, because a new definition of it begins."""
        known = self._types.pop(id, None)
        if known is not None:
            self._weight -= known[2]

    def define(self, id: int, field: Field, height: int, nbytes: int) -> str:
        """Remember a complete definition, whose description took *nbytes*; returns what is wrong with it, or ""."""
        weight = field.nodes + nbytes // 64
        limits = self._limits
        if limits.max_cached_types is not None and len(self._types) >= limits.max_cached_types:
            return f"more than {limits.max_cached_types} type ids defined"
        if limits.max_cached_nodes is not None and self._weight + weight > limits.max_cached_nodes:
            return f"the defined types hold more than {limits.max_cached_nodes} descriptions"
        self._types[id] = (field, height, weight)
        self._weight += weight
        return ""


def read_type(reader: Reader) -> Field | None:
    """The type at the reader's position, None for the null type.

    Raises:
        ProtocolError: for anything that is not a type, and for one beyond the limits. An enclosing
            variant counts as depth.
    """
    reader.nodes = 1
    return _read(reader, reader.depth)[0]


def _read(reader: Reader, depth: int) -> tuple[Field | None, int]:
    """A type and its height: how many structures, unions and their arrays lie on its longest path."""
    at = reader.pos
    code = reader.u8()
    plain = _CODES.get(code)
    if plain is not None:
        return plain, 0
    if code == _NULL:
        return None, 0
    if code == _REFERENCE:
        return _reference(reader, depth, at)
    if code == _DEFINITION:
        return _definition(reader, depth, at)
    if code & ~_ARRAY not in (_STRUCT, _UNION):
        raise reader.error(f"unknown type code 0x{code:02X}", at)
    if depth > reader.limits.max_depth:
        raise reader.error(f"types nested deeper than {reader.limits.max_depth}", at)
    if code & _ARRAY:
        return _array(reader, depth, code)
    return _members(reader, depth, "SU"[code & 1])


def _count(reader: Reader, nodes: int, at: int) -> None:
    """Count descriptions before they are read: each one counts those that it contains."""
    reader.nodes += nodes
    limit = reader.limits.max_type_nodes
    if limit is not None and reader.nodes > limit:
        raise reader.error(f"a type of more than {limit} descriptions", at)


def _reference(reader: Reader, depth: int, at: int) -> tuple[Field, int]:
    id = reader.u16()
    known = reader.types.find(id) if reader.types is not None else None
    if known is None:
        raise reader.error(f"type id {id} is not defined", at)
    field, height = known
    _count(reader, field.nodes - 1, at)
    if height and depth + height - 1 > reader.limits.max_depth:
        raise reader.error(f"types nested deeper than {reader.limits.max_depth}", at)
    return field, height


def _definition(reader: Reader, depth: int, at: int) -> tuple[Field, int]:
    id = reader.u16()
    if reader.types is None:
        reader.types = TypeCache(reader.limits)
    # While a definition is incomplete its id means nothing, not even what it meant before.
    reader.types.forget(id)
    # A definition of a definition could go on for ever without nesting anything.
    if reader.remaining and reader.buf[reader.pos] == _DEFINITION:
        raise reader.error("a type with two ids", at)
    field, height = _read(reader, depth)
    if field is None:
        raise reader.error(f"type id {id} is defined as null", at)
    wrong = reader.types.define(id, field, height, reader.pos - at)
    if wrong:
        raise reader.error(wrong, at)
    return field, height


def _array(reader: Reader, depth: int, code: int) -> tuple[Field, int]:
    kind = "SU"[code & 1]
    at = reader.pos
    _count(reader, 1, at)
    element, height = _read(reader, depth + 1)
    if element is None or element.code != kind:
        raise reader.error(f"array of {'structures' if kind == 'S' else 'unions'} of something else", at)
    reader.charge(2)
    return Field.make("a" + kind, element=element), height + 1


def _members(reader: Reader, depth: int, kind: str) -> tuple[Field, int]:
    at = reader.pos
    id = reader.string()
    if len(id) > MAX_NAME:
        raise reader.error(f"type id of {len(id)} characters", at)
    # A member is at least one byte of size, one of name and one of type.
    count = reader.count(3)
    _count(reader, count, at)
    reader.charge(4 + 2 * count)
    buf, end = reader.buf, reader.end
    members: dict[str, Field] = {}
    highest = 0
    for _ in range(count):
        at = reader.pos
        name = reader.string()
        if not name or len(name) > MAX_NAME or (not name.isprintable() and _CONTROL.search(name)):
            raise reader.error(_bad_name(name), at)
        if name in members:
            raise reader.error(f"two members named {name!r}", at)
        at = reader.pos
        # Most members are scalars or arrays of them: one byte.
        plain = _CODES.get(buf[at]) if at < end else None
        if plain is not None:
            members[name] = plain
            reader.pos = at + 1
            continue
        try:
            member, height = _read(reader, depth + 1)
            if member is None:
                raise reader.error("null type of a member", at)
        except ProtocolError as error:
            raise error.inside(name) from None
        members[name] = member
        if height > highest:
            highest = height
    return Field.make(kind, id, tuple(members), tuple(members.values())), highest + 1


def _bad_name(name: str) -> str:
    if not name:
        return "member without a name"
    if len(name) > MAX_NAME:
        return f"member name of {len(name)} characters"
    return f"member name {name!r}"


def type_bytes(field: Field | None, order: Order) -> bytes:
    """The description of a type; computed once per field."""
    if field is None:
        return b"\xff"
    known = _described[order.name].get(field)
    if known is None:
        out = bytearray()
        _write(out, order, field)
        known = _described[order.name][field] = bytes(out)
    return known


def write_type(out: bytearray, order: Order, field: Field | None) -> None:
    """Append the description of a type, in the plain form, which every peer understands."""
    out += type_bytes(field, order)


def _write(out: bytearray, order: Order, field: Field) -> None:
    out.append(_BYTES[field.code])
    if field.element is not None:
        _write(out, order, field.element)
    elif field.code in ("S", "U"):
        write_string(out, order, field.id)
        write_size(out, order, len(field.names))
        for name, member in zip(field.names, field.members, strict=True):
            write_string(out, order, name)
            _write(out, order, member)


_described: Final[dict[str, WeakKeyDictionary[Field, bytes]]] = {
    LITTLE.name: WeakKeyDictionary(),
    BIG.name: WeakKeyDictionary(),
}

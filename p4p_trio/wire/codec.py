"""Codecs: the reader and the writer of one structure in one byte order.

Types that this process declares get generated code at once. A stranger's type is interpreted until it
was used `PATIENCE` times: generating takes hundreds of times longer than interpreting once, so nobody
may make us do it per message. The same holds for each set of fields of a partial value, because peers
choose these too. Types of more than `LARGEST` descriptions are always interpreted.

Everything that is kept is bounded: strangers' codecs by number and by size, functions per codec by number.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final, TypeVar

from p4p_trio.data import Type, Value, bits
from p4p_trio.data.field import Field
from p4p_trio.wire import interpret
from p4p_trio.wire.bitset import bitset_bytes
from p4p_trio.wire.buffers import Buffers
from p4p_trio.wire.generate import Read, ReadInto, Write, discard, reader_into, reader_of, writer_of
from p4p_trio.wire.order import Order
from p4p_trio.wire.reader import Reader

__all__ = ["Codec", "codec_for"]

PATIENCE: Final = 32
LARGEST: Final = 256
# Generated functions for partial values, per codec and direction.
MASKS: Final = 64
TRUSTED: Final = 1024
STRANGERS: Final = 256
# Descriptions that all the strangers' codecs may hold together.
STRANGERS_NODES: Final = 16_384

_Key = TypeVar("_Key", int, bytes)


class Codec:
    """Reads and writes values of one type in one byte order. Get one from `codec_for`.

    Attributes:
        field: the type.
        order: the byte order.
        write_slots: `write_slots(out, slots)` appends a whole structure, without a BitSet.
        read_slots: `read_slots(reader)` returns a whole structure as fresh slots.
    """

    __slots__ = (
        "_generated",
        "_read_uses",
        "_readers",
        "_uses",
        "_write_uses",
        "_writers",
        "field",
        "order",
        "read_slots",
        "write_slots",
    )

    write_slots: Write
    read_slots: Read

    def __init__(self, field: Field, order: Order, trusted: bool) -> None:
        self.field = field
        self.order = order
        self._generated = False
        self._uses = 0
        self._writers: dict[int, Write] = {}
        self._write_uses: dict[int, int] = {}
        # By the bytes of the BitSet, which are cheaper to look up than to decode.
        self._readers: dict[bytes, tuple[int, ReadInto]] = {}
        self._read_uses: dict[bytes, int] = {}
        self.write_slots = self._interpret_write
        self.read_slots = self._interpret_read
        if trusted:
            self._generate()

    # A part of a structure.

    def write_partial(self, out: Buffers, slots: list[Any], mask: int) -> None:
        """Append *mask* as a BitSet, and the leaves that it covers (a structure's bit covers its subtree)."""
        write = self._writers.get(mask)
        if write is not None:
            write(out, slots)
            return
        if self._frequent(self._write_uses, mask):
            leaves = list(bits(self.field.layout.expand(mask)))
            _make_room(self._writers, discard)
            self._writers[mask] = writer_of(self.field, self.order, leaves, bitset_bytes(self.order, mask))
        interpret.write_partial(out, self.order, self.field, slots, mask)

    def read_partial(self, reader: Reader, slots: list[Any]) -> int:
        """Read a BitSet and the leaves that it covers into *slots*; returns the mask of these leaves.

        `slots[0]` is left alone.

        Raises:
            ProtocolError: some of *slots* may have been assigned.
        """
        at = reader.pos
        if at < reader.end and not reader.owned:
            after = at + 1 + reader.buf[at]
            known = self._readers.get(reader.buf[at:after])  # type: ignore[arg-type]  # bytes: not owned
            if known is not None and after <= reader.end:
                reader.pos = after
                covered: int
                covered, read = known
                read(reader, slots)
                return covered
        layout = self.field.layout
        covered = layout.expand(reader.bitset(len(layout)))
        raw = bytes(reader.buf[at : reader.pos])
        if self._frequent(self._read_uses, raw):
            _make_room(self._readers, lambda old: discard(old[1]))
            self._readers[raw] = covered, reader_into(self.field, self.order, list(bits(covered)))
        interpret.read_leaves(reader, layout, slots, bits(covered))
        return covered

    # A value of any type.

    def write_full(self, out: Buffers, item: Any) -> None:
        """Append a whole value; *item* is what a slot of the field would hold (a Value for a structure)."""
        if self.field.code == "S":
            self.write_slots(out, item._slots)
        else:
            interpret.write_item(out, self.order, self.field, item)

    def read_full(self, reader: Reader) -> Any:
        """Read a whole value."""
        if self.field.code == "S":
            return Value._make(Type._of(self.field), self.read_slots(reader))
        return interpret.read_item(reader, self.field)

    # Growing from interpreted to generated.

    def _interpret_write(self, out: Buffers, slots: list[Any]) -> None:
        self._used()
        interpret.write_slots(out, self.order, self.field, slots)

    def _interpret_read(self, reader: Reader) -> list[Any]:
        self._used()
        return interpret.read_slots(reader, self.field)

    def _used(self) -> None:
        self._uses += 1
        if self._uses >= PATIENCE and not self._generated:
            self._generate()

    def _frequent(self, uses: dict[_Key, int], mask: _Key) -> bool:
        """Count one use of *mask*; whether it deserves a function of its own now."""
        if not self._generated:
            self._used()
            return False
        uses[mask] = n = uses.get(mask, 0) + 1
        if n >= PATIENCE:
            del uses[mask]
            return True
        if len(uses) > 4 * MASKS:
            uses.clear()
        return False

    def _generate(self) -> None:
        field = self.field
        if field.code != "S" or field.nodes > LARGEST:
            return
        layout = field.layout
        self._generated = True
        self.write_slots = writer_of(field, self.order, list(bits(layout.leaves)))
        self.read_slots = reader_of(field, self.order)

    def close(self) -> None:
        """Forget the sources of the generated functions; the codec itself goes on working."""
        if self._generated:
            discard(self.write_slots)
            discard(self.read_slots)
        for write in self._writers.values():
            discard(write)
        for _, read in self._readers.values():
            discard(read)


def _make_room(functions: dict[Any, Any], drop: Callable[[Any], None]) -> None:
    """Drop the oldest function if there are too many. A mask that is still in use earns a new one."""
    if len(functions) >= MASKS:
        drop(functions.pop(next(iter(functions))))


_trusted: Final[dict[tuple[Field, Order], Codec]] = {}
_strangers: Final[OrderedDict[tuple[Field, Order], Codec]] = OrderedDict()
_strangers_nodes = 0


def codec_for(field: Field, order: Order, *, trusted: bool = False) -> Codec:
    """The codec of a type. Keep it if you need it often; it stays valid when others take its place here.

    Args:
        field: the type.
        order: the byte order.
        trusted: the type was declared by this process, not by a peer.
    """
    key = (field, order)
    codec = _trusted.get(key)
    if codec is not None:
        return codec
    if trusted:
        codec = _trusted[key] = Codec(field, order, True)
        if len(_trusted) > TRUSTED:
            _trusted.pop(next(iter(_trusted))).close()
        return codec
    codec = _strangers.get(key)
    if codec is not None:
        _strangers.move_to_end(key)
        return codec
    codec = Codec(field, order, False)
    _adopt(key, codec)
    return codec


def _adopt(key: tuple[Field, Order], codec: Codec) -> None:
    """Keep a stranger's codec, in place of those that were not used for the longest time."""
    global _strangers_nodes
    nodes = codec.field.nodes
    # A large one is never generated, and the walk over it costs much more than making its codec.
    if nodes > LARGEST:
        return
    _strangers[key] = codec
    _strangers_nodes += nodes
    while len(_strangers) > STRANGERS or _strangers_nodes > STRANGERS_NODES:
        _, oldest = _strangers.popitem(last=False)
        _strangers_nodes -= oldest.field.nodes
        oldest.close()

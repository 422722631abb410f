"""Reading primitives: a position in a received message that cannot leave it.

A `Reader` is the only thing that touches received bytes outside generated code. It makes the promise
that everything above relies on: any input gives a value or one `ProtocolError` with an offset. It also
keeps the accounts that bound what one message may cost: a count is believed only if the bytes that are
left could hold it, objects are counted, nesting is counted.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from p4p_trio.config.limits import Limits
from p4p_trio.data.field import DTYPES, Field, scalar
from p4p_trio.errors import ProtocolError
from p4p_trio.wire.bitset import read_bits
from p4p_trio.wire.order import LITTLE, Order
from p4p_trio.wire.status import Status, read_status

if TYPE_CHECKING:
    from p4p_trio.data import Type
    from p4p_trio.wire.typedesc import TypeCache

__all__ = ["Buffer", "Reader"]

Buffer = bytes | bytearray | memoryview

# How each array arrives: element width and dtype, per order.
_WIDTHS: Final = {code: dtype.itemsize for code, dtype in DTYPES.items()}
_SWAPPED: Final = {code: dtype.newbyteorder() for code, dtype in DTYPES.items()}
_EMPTY: Final = {code: scalar(code).default for code in DTYPES}


class Reader:
    """Decodes one message payload, `buf[pos:end]`.

    Args:
        buf: may be larger than the message, and may be reused at once: it is copied unless it is `bytes`
            or *owned*.
        pos: where the payload begins. Offsets in errors count from here.
        end: where it ends.
        order: how it is written.
        limits: what it may cost.
        types: the ids that this peer has defined on this connection; ids last one message without it.
        owned: the buffer holds only this message and nobody will write to it again, so an array that
            fills more than half of it is returned as a view.

    Attributes:
        buf, pos, end: where the rest of the message is. Positions may differ from those given.
        handles: public handles made for this message.
        nodes: descriptions in the type that is being read.
        depth: how many unions, variants and struct arrays surround the position.
    """

    __slots__ = (
        "_objects",
        "_spare",
        "_start",
        "buf",
        "depth",
        "end",
        "handles",
        "limits",
        "nodes",
        "order",
        "owned",
        "pos",
        "types",
    )

    def __init__(
        self,
        buf: Buffer,
        pos: int,
        end: int,
        order: Order,
        limits: Limits,
        types: TypeCache | None = None,
        owned: bool = False,
    ) -> None:
        # Slices of bytes are bytes: one copy of a message saves one per string and array in it.
        if not owned and buf.__class__ is not bytes:
            buf = bytes(buf[pos:end])
            end -= pos
            pos = 0
        self.buf = buf
        self.pos = self._start = pos
        self.end = end
        self.order = order
        self.limits = limits
        self.types = types
        self.owned = owned
        self.handles: dict[Field, Type] = {}
        self.depth = 0
        self.nodes = 0
        self._objects = limits.max_objects
        self._spare = end - pos

    @property
    def remaining(self) -> int:
        """How many bytes of the message are left."""
        return self.end - self.pos

    def error(self, reason: str, at: int | None = None) -> ProtocolError:
        """A `ProtocolError` for the current position, or for an earlier `pos` *at*."""
        return ProtocolError(reason, offset=(self.pos if at is None else at) - self._start)

    # What a message may cost.

    def charge(self, objects: int) -> None:
        """Count *objects* against what one message may make.

        Raises:
            ProtocolError: when that is too many.
        """
        if self._objects is not None:
            self._objects -= objects
            if self._objects < 0:
                raise self.error(f"more than {self.limits.max_objects} objects in one message")

    def charge_empty(self, parts: int) -> None:
        """Count *parts* of a value that take no bytes as one byte each; a message cannot hold more than its length.

        Raises:
            ProtocolError: when it does.
        """
        self._spare -= parts
        if self._spare < 0:
            raise self.error("more empty structures than the message has bytes")

    def enter(self) -> None:
        """Go one level down, into a union, a variant or a struct array. A failed reader is not climbed out of.

        Raises:
            ProtocolError: when that is too deep.
        """
        self.depth += 1
        if self.depth > self.limits.max_depth:
            raise self.error(f"values nested deeper than {self.limits.max_depth}")

    def leave(self) -> None:
        """Come back up."""
        self.depth -= 1

    # Numbers.

    def unpack(self, fields: Struct) -> tuple[Any, ...]:
        """The next fixed-size fields."""
        pos = self.pos
        after = pos + fields.size
        if after > self.end:
            raise self.error(f"{fields.size} bytes wanted, {self.end - pos} left")
        self.pos = after
        return fields.unpack_from(self.buf, pos)

    def u8(self) -> int:
        """The next byte."""
        pos = self.pos
        if pos >= self.end:
            raise self.error("1 byte wanted, 0 left")
        self.pos = pos + 1
        return self.buf[pos]

    def u16(self) -> int:
        """The next 16 bits, unsigned."""
        value: int = self.unpack(self.order.u16)[0]
        return value

    def u32(self) -> int:
        """The next 32 bits, unsigned."""
        value: int = self.unpack(self.order.u32)[0]
        return value

    def u64(self) -> int:
        """The next 64 bits, unsigned."""
        value: int = self.unpack(self.order.u64)[0]
        return value

    def take(self, count: int) -> bytes:
        """A copy of the next *count* bytes."""
        pos = self.pos
        after = pos + count
        if after > self.end:
            raise self.error(f"{count} bytes wanted, {self.end - pos} left")
        self.pos = after
        return bytes(self.buf[pos:after])

    # Sizes, strings, statuses, BitSets.

    def size_or_null(self) -> int:
        """A size, or -1 for the null size `FF`. Longer forms than necessary are accepted, as pvxs does."""
        size = self.u8()
        if size < 254:
            return size
        return self.u32() if size == 254 else -1

    def size(self) -> int:
        """A size.

        Raises:
            ProtocolError: also for the null size.
        """
        at = self.pos
        size = self.size_or_null()
        if size < 0:
            raise self.error("null size where a size is needed", at)
        return size

    def count(self, width: int) -> int:
        """A size that announces elements of at least *width* bytes each.

        Raises:
            ProtocolError: when the bytes that are left cannot hold that many. Nothing was allocated.
        """
        at = self.pos
        count = self.size()
        if count * width > self.end - self.pos:
            raise self.error(f"{count} elements announced, only {self.end - self.pos} bytes left", at)
        return count

    def string(self) -> str:
        """A string. `FF` is "", as in pvxs; bytes that are not UTF-8 are kept by surrogateescape."""
        at = pos = self.pos
        size = self.buf[pos] if pos < self.end else 255
        if size < 254:
            pos += 1
        else:
            size = self.size_or_null()
            if size < 0:
                return ""
            pos = self.pos
        after = pos + size
        if after > self.end:
            raise self.error(f"string of {size} bytes, {self.end - pos} left", at)
        self.pos = after
        return str(self.buf[pos:after], "utf-8", "surrogateescape") if size else ""

    def status(self) -> Status:
        """A status."""
        return read_status(self)

    def bitset(self, nbits: int | None = None) -> int:
        """The mask of a BitSet.

        Args:
            nbits: how many positions the structure has, None when it is not known.

        Raises:
            ProtocolError: also for bits from *nbits* on. pvxs cuts them off silently; but a peer that
                sets them believes in another structure than we do, so its data would be misread.
        """
        at = self.pos
        size = self.size()
        pos = self.pos
        after = pos + size
        if after > self.end:
            raise self.error(f"BitSet of {size} bytes, {self.end - pos} left", at)
        if nbits is not None and size > (nbits + 63 >> 6) * 8:
            raise self.error(f"BitSet of {size} bytes for {nbits} fields", at)
        self.pos = after
        if size < 8 or self.order is LITTLE:
            mask = int.from_bytes(self.buf[pos:after], "little")
        else:
            mask = read_bits(self.order, bytes(self.buf[pos:after]))
        if nbits is not None and mask >> nbits:
            raise self.error(f"bit {mask.bit_length() - 1} set in a BitSet for {nbits} fields", at)
        return mask

    def type(self) -> Field | None:
        """A type description; None for the null type."""
        from p4p_trio.wire.typedesc import read_type

        return read_type(self)

    # Values.

    def number(self, code: str) -> Any:
        """A bool, integer or float."""
        layout = self.order.scalars[code]
        pos = self.pos
        after = pos + layout.size
        if after > self.end:
            raise self.error(f"{layout.size} bytes wanted, {self.end - pos} left")
        self.pos = after
        return layout.unpack_from(self.buf, pos)[0]

    def array(self, code: str) -> npt.NDArray[Any]:
        """A numeric array as a slot wants it: native order, read-only."""
        width = _WIDTHS[code]
        count = self.count(width)
        if not count:
            empty: npt.NDArray[Any] = _EMPTY[code]
            return empty
        pos = self.pos
        nbytes = count * width
        self.pos = pos + nbytes
        if self.order.swapped and width > 1:
            return _frozen(np.frombuffer(self.buf, _SWAPPED[code], count, pos).astype(DTYPES[code]))
        if code == "a?":
            # Any other byte than 0 is true on the wire, but numpy's bools must be 0 or 1.
            return _frozen(np.frombuffer(self.buf, np.uint8, count, pos) != 0)
        if self.owned and nbytes * 2 > self.end - self._start:
            return _frozen(np.frombuffer(self.buf, DTYPES[code], count, pos))
        # Over bytes an array is read-only by itself, and as immutable as one that owns its memory.
        return np.frombuffer(bytes(self.buf[pos : self.pos]), DTYPES[code])

    def strings(self) -> tuple[str, ...]:
        """A string array."""
        count = self.count(1)
        self.charge(count)
        found: list[str] = []
        try:
            for _ in range(count):
                found.append(self.string())  # noqa: PERF401 - the error wants to know how far it came
        except ProtocolError as error:
            raise error.inside(f"[{len(found)}]") from None
        return tuple(found)


def _frozen(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    array.flags.writeable = False
    return array

"""Cutting a byte stream into messages.

This loop runs for every message there is, so it is written for the common case: whole application
messages of one byte order, several of them in one piece of received data. Per message that costs one
header unpack, three comparisons and the call of the message's function; no object, no copy. Everything
else (control messages, segments, another byte order, a header that is wrong) leaves the fast path.

An unfinished message is kept in a copy of our own. One of more than 64 KiB gets a buffer for itself that
grows with the bytes that have arrived, never with those that a header promises, and the transport may
receive straight into it. Only a peer that has once sent a message of some size is believed when it
announces another one: fresh memory costs more than the bytes that go into it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from p4p_trio.errors import ProtocolError
from p4p_trio.wire.commands import CONTROL, FROM_SERVER, SEGMENT, SEGMENT_FIRST, SEGMENT_LAST
from p4p_trio.wire.order import MAGIC, NATIVE, Order
from p4p_trio.wire.reader import Buffer

__all__ = ["Control", "Framer", "Handler", "split_datagram"]

Handler = Callable[[Buffer, int, int, Order], object]
Control = Callable[[int, int, Order], object]

HEADER: Final = 8
# Messages up to here are collected by copying, larger ones in their own buffer.
SMALL: Final = 64 * 1024
# By doubling, the allocator would give back and fetch again what one message needs.
GROWTH: Final = 4
# u32 is all that a header can say.
UNLIMITED: Final = 1 << 32
# No flags have this value, so every message is looked at closely.
CLOSELY: Final = -1


class Framer:
    """The receiving end of one connection.

    Args:
        from_server: whether the messages that arrive here must come from a server.
        max_message: bytes of one message, its segments added up; None for no limit.
        dispatch: 256 functions or None, by command; called with the buffer, the start and end of the
            payload in it, and its byte order. What the buffer holds is only valid during the call,
            unless `owned` says otherwise. Commands without a function are skipped.
        control: called with command, value and byte order of each control message.

    Attributes:
        owned: during a dispatch: the buffer belongs to this message alone and is never written again.
        finished: grows with every call that completes a message; while it stands, the unfinished one that is
            kept is the same.
        enough: set by a dispatched function that took long: nothing more is handed on in this call.
    """

    __slots__ = (
        "_big",
        "_control",
        "_direction",
        "_dispatch",
        "_expect",
        "_filled",
        "_kept",
        "_largest",
        "_limit",
        "_need",
        "_order",
        "_pos",
        "_run",
        "_run_command",
        "_run_order",
        "_size",
        "enough",
        "finished",
        "owned",
    )

    def __init__(
        self,
        *,
        from_server: bool,
        max_message: int | None,
        dispatch: Sequence[Handler | None],
        control: Control,
    ) -> None:
        self._direction = FROM_SERVER if from_server else 0
        self._dispatch = dispatch
        self._control = control
        self._limit = UNLIMITED
        self.max_message = max_message
        self.owned = False
        self.finished = 0
        self.enough = False
        # The order of the last message is the guess for the next one.
        self._order = NATIVE
        self._expect = self._direction | NATIVE.flag
        # What is kept: bytes from _pos on, useless before there are _need of them.
        self._kept = bytearray()
        self._pos = 0
        self._need = 0
        # A message of its own buffer: _filled of _size bytes have arrived, header included.
        self._big: bytearray | None = None
        self._filled = 0
        self._size = 0
        # The largest message that was ever complete.
        self._largest = 0
        # Segments collected so far.
        self._run: bytearray | None = None
        self._run_command = 0
        self._run_order = NATIVE

    @property
    def max_message(self) -> int | None:
        """The largest message that is accepted; may be changed at any time, also by a dispatched function."""
        return self._limit if self._limit != UNLIMITED else None

    @max_message.setter
    def max_message(self, limit: int | None) -> None:
        self._limit = UNLIMITED if limit is None else limit

    @property
    def partial(self) -> bool:
        """Whether an unfinished message is kept."""
        return self._big is not None or self._run is not None or len(self._kept) > self._pos

    def feed(self, data: Buffer, budget: int) -> bool:
        """Hand on the complete messages of *data* and of what was kept, at most *budget* of them.

        Exceptions of dispatched functions come out; after one, as after a `ProtocolError`, nothing more
        can be fed.

        Returns:
            True if complete messages still wait: call `feed(b"", budget)` when there is time.

        Raises:
            ProtocolError: for bytes that are no message, and for a message above the limit.
        """
        if self._big is not None:
            data = self._fill(data)
            if self._big is not None:
                return False
            budget -= 1
        if data.__class__ is bytearray:
            data = memoryview(data)  # not ours; only what we kept is handed on as a bytearray
        kept = self._kept
        if kept:
            kept += data
            if len(kept) - self._pos < self._need:
                return False
            # Handed on as one piece; what remains of it is copied into a new one.
            self._kept = bytearray()
            pos, self._pos, self._need = self._pos, 0, 0
            return self._parse(kept, pos, len(kept), budget)
        return self._parse(data, 0, len(data), budget)

    def _parse(self, data: Buffer, pos: int, end: int, budget: int) -> bool:
        self.enough = False
        begun = pos
        more = False
        dispatch = self._dispatch
        limit = self._limit
        order = self._order
        unpack = order.header.unpack_from
        expect = self._expect
        while end - pos >= HEADER:
            if budget <= 0 or self.enough:
                self._keep(data, pos, end, 0)
                more = True
                break
            magic, version, flags, command, size = unpack(data, pos)
            if flags != expect or magic != MAGIC or not version:
                pos, moved = self._unusual(data, pos, end)
                if not moved:
                    break
                order = self._order
                unpack = order.header.unpack_from
                expect = self._expect
                limit = self._limit
                budget -= 1
                continue
            start = pos + HEADER
            stop = start + size
            if size > limit:
                # The limit may have been raised by a message before this one.
                limit = self._limit
                if size > limit:
                    raise _too_long(size, limit)
            if stop > end:
                self._wait(data, pos, end, size)
                break
            function = dispatch[command]
            if function is not None:
                function(data, start, stop, order)
            pos = stop
            budget -= 1
        else:
            if pos < end:
                self._keep(data, pos, end, HEADER)
        if pos > begun and self._run is None:
            self.finished += 1
        return more

    def _unusual(self, data: Buffer, pos: int, end: int) -> tuple[int, bool]:
        """One message off the fast path; the position behind it, and False if it is not complete."""
        buf = data[pos : pos + 4]
        magic, version, flags, command = buf[0], buf[1], buf[2], buf[3]
        if magic != MAGIC:
            raise ProtocolError(f"a message begins with 0x{magic:02X}, not 0x{MAGIC:02X}")
        if not version:
            raise ProtocolError("a message of protocol version 0")
        if flags & FROM_SERVER != self._direction:
            raise ProtocolError(f"a message from a {'client' if self._direction else 'server'}")
        order = Order.of_flags(flags)
        size: int = order.u32.unpack_from(data, pos + 4)[0]
        start = pos + HEADER
        if flags & CONTROL:
            self._control(command, size, order)
            return start, True
        stop = start + size
        if size > self._limit:
            raise _too_long(size, self._limit)
        if stop > end:
            self._wait(data, pos, end, size)
            return pos, False
        if flags & SEGMENT or self._run is not None:
            self._segment(flags, command, order, data, start, stop)
        else:
            # Unused flags are ignored, as by all peers.
            self._order = order
            self._expect = self._direction | order.flag
            function = self._dispatch[command]
            if function is not None:
                function(data, start, stop, order)
        return stop, True

    def _segment(self, flags: int, command: int, order: Order, data: Buffer, start: int, stop: int) -> None:
        """Collect one segment. Only control messages may stand between two of them."""
        kind = flags & SEGMENT
        run = self._run
        if run is None:
            if kind != SEGMENT_FIRST:
                raise ProtocolError("a segment that continues no message")
            self._run = bytearray(data[start:stop])
            self._run_command = command
            self._run_order = order
            self._expect = CLOSELY
            return
        if kind in (0, SEGMENT_FIRST):
            raise ProtocolError("a new message inside a segmented one")
        if command != self._run_command or order is not self._run_order:
            raise ProtocolError("a segment of another message inside a segmented one")
        if len(run) + stop - start > self._limit:
            raise _too_long(len(run) + stop - start, self._limit)
        run += data[start:stop]
        if kind != SEGMENT_LAST:
            return
        self._run = None
        self.finished += 1
        self._order = order
        self._expect = self._direction | order.flag
        self._dispatch_owned(run, 0, len(run), command, order)

    def _dispatch_owned(self, data: bytearray, start: int, stop: int, command: int, order: Order) -> None:
        function = self._dispatch[command]
        if function is not None:
            self.owned = True
            try:
                function(memoryview(data), start, stop, order)
            finally:
                self.owned = False

    def close(self) -> None:
        """The stream is over: give back what was kept of it, without waiting for the garbage collector."""
        self._kept = bytearray()
        self._pos = self._need = 0
        self._big = self._run = None

    # What is not complete.

    def _keep(self, data: Buffer, pos: int, end: int, need: int) -> None:
        self._need = need
        if isinstance(data, bytearray) and end - pos > pos:
            # It is ours already (it was kept before), and most of it is still needed.
            self._kept = data
            self._pos = pos
            return
        self._kept = bytearray(data[pos:end])
        self._pos = 0

    def _wait(self, data: Buffer, pos: int, end: int, size: int) -> None:
        """Keep the beginning of a message whose header is known and whose end is not there yet."""
        if size <= SMALL:
            self._keep(data, pos, end, HEADER + size)
            return
        self._filled = end - pos
        self._size = HEADER + size
        self._big = bytearray(min(self._size, max(SMALL, GROWTH * self._filled, self._largest)))
        memoryview(self._big)[: self._filled] = data[pos:end]

    def target(self) -> memoryview | None:
        """Where the transport should receive next, or None for its own scratch buffer.

        Ask again after each `received`: an older view may be of memory that is no longer used.
        """
        if self._big is None:
            return None
        if self._filled == len(self._big):
            self._grow(GROWTH * self._filled)
        return memoryview(self._big)[self._filled :]

    def received(self, n: int, budget: int) -> bool:
        """*n* bytes were put into `target()`; hands the message on if that completes it.

        Returns:
            As `feed`: whether complete messages still wait. A target never reaches beyond its message,
            so none do.
        """
        self._filled += n
        if self._filled == self._size:
            self._finish()
        return False

    def _fill(self, data: Buffer) -> Buffer:
        """Move *data* into the buffer of the unfinished large message; returns what lies behind it."""
        big = self._big
        assert big is not None
        n = min(len(data), self._size - self._filled)
        if self._filled + n > len(big):
            big = self._grow(max(self._filled + n, GROWTH * len(big)))
        memoryview(big)[self._filled : self._filled + n] = data[:n]
        self._filled += n
        if self._filled == self._size:
            self._finish()
        return data[n:]

    def _grow(self, size: int) -> bytearray:
        # Not resized in place, which fails while somebody still has a view of it.
        big = bytearray(min(self._size, size))
        assert self._big is not None
        # Through views: assigning to a slice of a bytearray makes another copy first, slowly.
        memoryview(big)[: self._filled] = memoryview(self._big)[: self._filled]
        self._big = big
        return big

    def _finish(self) -> None:
        big, stop = self._big, self._size
        assert big is not None
        self._big = None
        self._largest = max(self._largest, stop)
        flags, command = big[2], big[3]
        order = Order.of_flags(flags)
        if flags & SEGMENT or self._run is not None:
            self._segment(flags, command, order, big, HEADER, stop)
        else:
            self.finished += 1
            self._dispatch_owned(big, HEADER, stop, command, order)


def _too_long(size: int, limit: int) -> ProtocolError:
    return ProtocolError(f"a message of {size} bytes; max_message is {limit}")


def split_datagram(datagram: Buffer) -> Iterator[tuple[int, int, int, int, Order]]:
    """The messages of a UDP datagram, as flags, command, start and end of the payload, byte order.

    Ends without a word at the first thing that is no whole application message: datagrams come from
    anybody, and a broken one is not worth more than that.
    """
    pos, end = 0, len(datagram)
    while end - pos >= HEADER:
        magic, version, flags, command = datagram[pos : pos + 4]
        order = Order.of_flags(flags)
        start = pos + HEADER
        pos = start + order.u32.unpack_from(datagram, pos + 4)[0]
        if magic != MAGIC or not version or flags & (CONTROL | SEGMENT) or pos > end:
            return
        yield flags, command, start, pos, order

"""TCP in memory: two transports joined by two pipes, whose plumbing a test can squeeze, block and cut."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import trio

from p4p_trio.net.transport import Address, Bytes, remainder

__all__ = ["MemoryConnection", "MemoryTransport"]

_CLOSED = "this connection was closed here"
_RESET = "the connection was reset"


class MemoryConnection:
    """One TCP connection, seen from above; `MemoryNetwork.connections` lists those that live.

    Attributes:
        client: the transport that `connect` returned.
        server: the transport that `accept` returned.
        capacity: bytes that may be under way in one direction; what is beyond waits at the sender. None: any number.
        chunk: bytes that one `receive` returns at most, e.g. 1. None: what there is.
        send_now_limit: bytes that one `send_now` takes at most; 0 makes it a transport that cannot send without
            waiting, as over a stream. None: what the capacity allows.
        latency: seconds that bytes take.
    """

    def __init__(
        self,
        client: Address,
        server: Address,
        *,
        capacity: int | None,
        chunk: int | None,
        send_now_limit: int | None,
        latency: float,
    ) -> None:
        self._capacity = capacity
        self.chunk = chunk
        self.send_now_limit = send_now_limit
        self.latency = latency
        self._stalled = False
        self._change = trio.lowlevel.ParkingLot()
        up, down = _Pipe(self), _Pipe(self)
        self.client = MemoryTransport(self, incoming=down, outgoing=up, local=client, peer=server)
        self.server = MemoryTransport(self, incoming=up, outgoing=down, local=server, peer=client)

    @property
    def capacity(self) -> int | None:
        """See the class; a change counts at once."""
        return self._capacity

    @capacity.setter
    def capacity(self, capacity: int | None) -> None:
        self._capacity = capacity
        self._wake()

    @property
    def alive(self) -> bool:
        """Whether at least one side has not closed."""
        return not (self.client.closed and self.server.closed)

    def stall(self) -> None:
        """Nothing passes any more, not even that a side closed: the cable is out (a half-open connection)."""
        self._stalled = True

    def resume(self) -> None:
        """What `stall` held back passes now."""
        self._stalled = False
        self._wake()

    def reset(self) -> None:
        """Cut it: both sides get `trio.BrokenResourceError` at once, and what was under way is lost."""
        self.client._incoming.broken = self.server._incoming.broken = True
        self._wake()

    def _wake(self) -> None:
        self._change.unpark_all()


class _Pipe:
    """One direction. Chunks carry the time from which they may be read."""

    __slots__ = ("broken", "chunks", "connection", "ended", "reader_gone", "size")

    def __init__(self, connection: MemoryConnection) -> None:
        self.connection = connection
        self.chunks: deque[tuple[float, bytes]] = deque()
        self.size = 0
        self.ended = False
        self.reader_gone = False
        self.broken = False

    def write(self, buffers: Sequence[Bytes], limit: int | None) -> int:
        """Take what there is room for. Raises OSError where a socket would."""
        if self.broken:
            raise ConnectionResetError(_RESET)
        if self.reader_gone and not self.connection._stalled:
            raise BrokenPipeError("the peer has closed")
        data = b"".join(buffers)
        room = len(data)
        if self.connection.capacity is not None:
            room = min(room, self.connection.capacity - self.size)
        if limit is not None:
            room = min(room, limit)
        if room <= 0:
            return 0
        self.chunks.append((trio.current_time() + self.connection.latency, data[:room]))
        self.size += room
        self.connection._wake()
        return room

    def read(self, most: int) -> bytes | None:
        """The next bytes, b"" at the end, None for later. Raises OSError where a socket would."""
        if self.broken:
            raise ConnectionResetError(_RESET)
        if self.connection._stalled:
            return None
        if not self.chunks:
            return b"" if self.ended else None
        due, chunk = self.chunks[0]
        if due > trio.current_time():
            return None
        if len(chunk) > most:
            self.chunks[0] = (due, chunk[most:])
            chunk = chunk[:most]
        else:
            self.chunks.popleft()
        self.size -= len(chunk)
        self.connection._wake()
        return chunk

    async def change(self) -> None:
        """Wait until `read` may say something else."""
        due = self.chunks[0][0] if self.chunks and not self.connection._stalled else float("inf")
        with trio.move_on_at(due):
            await self.connection._change.park()


class MemoryTransport:
    """One side of a `MemoryConnection`, as a `p4p_trio.net.transport.Transport`."""

    def __init__(
        self, connection: MemoryConnection, *, incoming: _Pipe, outgoing: _Pipe, local: Address, peer: Address
    ) -> None:
        self.connection = connection
        self._incoming = incoming
        self._outgoing = outgoing
        self.local = local
        self.peer = peer
        self.error: Exception | None = None
        self.sent = 0
        self.received = 0

    @property
    def closed(self) -> bool:
        return isinstance(self.error, trio.ClosedResourceError)

    async def receive(self, into: memoryview | None = None) -> memoryview:
        view = self.receive_nowait(into)
        while view is None:
            await self._incoming.change()
            view = self.receive_nowait(into)
        return view

    def receive_nowait(self, into: memoryview | None = None) -> memoryview | None:
        if self.closed:
            raise trio.ClosedResourceError(_CLOSED)
        most = 65_536 if into is None else len(into)
        if self.connection.chunk is not None:
            most = min(most, self.connection.chunk)
        try:
            data = self._incoming.read(most)
        except OSError as exc:
            raise trio.BrokenResourceError(f"receiving failed: {exc}") from exc
        if data is None:
            return None
        self.received += len(data)
        if into is None:
            return memoryview(data)
        into[: len(data)] = data
        return into[: len(data)]

    def send_now(self, buffers: Sequence[Bytes]) -> int:
        return self._send(buffers, self.connection.send_now_limit)

    def _send(self, buffers: Sequence[Bytes], limit: int | None) -> int:
        if self.error is not None:
            return 0
        try:
            count = self._outgoing.write(buffers, limit)
        except OSError as exc:
            self.error = exc
            return 0
        self.sent += count
        return count

    async def send_rest(self, buffers: Sequence[Bytes]) -> None:
        await trio.lowlevel.checkpoint()
        rest = buffers
        while True:
            count = self._send(rest, None)
            if self.closed:
                raise trio.ClosedResourceError(_CLOSED)
            if self.error is not None:
                raise trio.BrokenResourceError(f"sending failed: {self.error}") from self.error
            rest = remainder(rest, count)
            if not rest:
                return
            await self.connection._change.park()

    def abort(self) -> None:
        if self.closed:
            return
        self.error = trio.ClosedResourceError(_CLOSED)
        self._outgoing.ended = True
        self._incoming.reader_gone = True
        self.connection._wake()

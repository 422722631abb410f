"""How the bytes of one TCP connection travel: the seam between the pump and the operating system.

The pump (one reader task per connection) wants to do many small things per wake-up: receive, parse every complete
message, send once. A stream API that checkpoints in every call would cost more than the parsing, so a transport splits
each direction into a part that never waits and a part that may:

    receiving   receive_nowait()  then  await receive()       only the connection's reader
    sending     send_now()        then  await send_rest()     send_now: whoever flushes; send_rest: the one writer

`SocketTransport` is the fast path over a plain non-blocking socket. `StreamTransport` runs on any `trio.abc.Stream`
(memory streams, TLS); there nothing can be sent without waiting, so `send_now` is always 0 and everything goes
through `send_rest`. The pump has to work on both, which is what its tests do.

**Checkpoints.** `receive` is *not* a checkpoint while data is there. That is deliberate: the pump has a budget per turn
(messages or time), and itself calls `trio.lowlevel.checkpoint()` when it is used up. A pump without a budget lets one
busy peer starve the rest.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import NoReturn, Protocol, TypeAlias

import trio

__all__ = [
    "SCRATCH_SIZE",
    "Address",
    "Bytes",
    "SocketTransport",
    "StreamTransport",
    "Transport",
    "plain_address",
    "remainder",
]

Bytes: TypeAlias = bytes | bytearray | memoryview
Address: TypeAlias = tuple[str, int]

_log = logging.getLogger("p4p_trio.net")
SCRATCH_SIZE = 64 * 1024
_CLOSED = "this connection was closed here"
_SEND_FLAGS: int = getattr(socket, "MSG_NOSIGNAL", 0)  # programs that restored SIGPIPE must survive a closed peer
_HAS_SENDMSG = hasattr(socket.socket, "sendmsg")


def _iov_limit() -> int:
    try:
        limit = os.sysconf("SC_IOV_MAX")
    except (AttributeError, ValueError, OSError):
        return 16  # what POSIX promises at least
    return limit if limit > 0 else 1024


_IOV_LIMIT = _iov_limit()


class Transport(Protocol):
    """One connection's bytes, in both directions. Made by `Network.connect` and `Listener.accept`.

    Attributes:
        peer: the other side's numeric address and port (an IPv4 peer of a dual-stack socket reads as IPv4).
        local: our numeric address and port of this connection.
        error: why nothing can be sent any more, or None. Set by a failed send and by `abort`.
        sent: bytes handed to the operating system so far; that it grows is how progress is seen.
        received: bytes received so far.
    """

    peer: Address
    local: Address
    error: Exception | None
    sent: int
    received: int

    async def receive(self, into: memoryview | None = None) -> memoryview:
        """The next bytes, as soon as there are any.

        Not a checkpoint while data is there (see the module's text); otherwise it waits.

        Args:
            into: where to put them (not empty, writable, bytes). None: a buffer of the transport's choice, on sockets
                the scratch buffer that all connections of the network share.

        Returns:
            The filled part, empty at the end of the stream. With `into=None` it is only valid **until the next
            await**: whatever should outlive it has to be copied.

        Cancellation: nothing was received, nothing is lost.

        Raises:
            trio.BrokenResourceError: the connection was reset or failed.
            trio.ClosedResourceError: `abort` was called, before or meanwhile.
        """

    def receive_nowait(self, into: memoryview | None = None) -> memoryview | None:
        """As `receive`, but None where that would wait."""

    def send_now(self, buffers: Sequence[Bytes]) -> int:
        """Send what fits without waiting; never raises for what the peer or the network did.

        Only call it while nothing is left over from before, and no `send_rest` runs: it would overtake.

        Args:
            buffers: contiguous bytes, sent in this order. They are read during the call and not kept.

        Returns:
            How many bytes were taken: any number from 0 to all of them. 0 also when the connection is dead,
            which `error` tells.
        """

    async def send_rest(self, buffers: Sequence[Bytes]) -> None:
        """Send everything; always a checkpoint. Only the connection's one writer task may call it.

        The buffers must not change until it returns.

        Cancellation: part of it may have been sent, so the connection cannot be used any more: `abort` it.

        Raises:
            trio.BrokenResourceError: the connection was reset or failed; `error` is set.
            trio.ClosedResourceError: `abort` was called, before or meanwhile.
        """

    def abort(self) -> None:
        """Close at once; what waits in `receive` or `send_rest` gets `trio.ClosedResourceError`. May be repeated."""


def remainder(buffers: Sequence[Bytes], sent: int) -> list[Bytes]:
    """What is left of *buffers* after their first *sent* bytes; nothing is copied."""
    for index, buffer in enumerate(buffers):
        size = buffer.nbytes if isinstance(buffer, memoryview) else len(buffer)
        if sent < size:
            rest = list(buffers[index:])
            if sent:
                rest[0] = memoryview(buffer).cast("B")[sent:]
            return rest
        sent -= size
    return []


class SocketTransport:
    """A transport over a connected, stdlib TCP socket, which it makes non-blocking and owns.

    Args:
        sock: the connected socket.
        scratch: the receive buffer shared by all connections of one trio run. That is safe because between a
            `receive` and the end of its parsing nobody awaits; it saves 64 KiB per connection.
        peer: the peer's address if the caller knows it already (accept tells it).
    """

    __slots__ = ("_scratch", "_socket", "error", "local", "peer", "received", "sent")

    def __init__(self, sock: socket.socket, scratch: memoryview, peer: Address | None = None) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._scratch = scratch
        self.peer = peer or plain_address(_name_of(sock.getpeername))
        self.local = plain_address(_name_of(sock.getsockname))
        self.error: Exception | None = None
        self.sent = 0
        self.received = 0

    async def receive(self, into: memoryview | None = None) -> memoryview:
        view = self.receive_nowait(into)
        while view is None:
            await trio.lowlevel.wait_readable(self._socket)
            view = self.receive_nowait(into)
        return view

    def receive_nowait(self, into: memoryview | None = None) -> memoryview | None:
        if into is None:
            into = self._scratch
        try:
            count = self._socket.recv_into(into)
        except BlockingIOError:
            return None
        except OSError as exc:
            if isinstance(self.error, trio.ClosedResourceError):
                raise trio.ClosedResourceError(_CLOSED) from None
            raise trio.BrokenResourceError(f"receiving failed: {exc}") from exc
        self.received += count
        return into[:count]

    def send_now(self, buffers: Sequence[Bytes]) -> int:
        if self.error is not None or not buffers:
            return 0
        try:
            if len(buffers) == 1:
                count = self._socket.send(buffers[0], _SEND_FLAGS)
            elif not _HAS_SENDMSG:
                count = self._socket.send(b"".join(buffers), _SEND_FLAGS)
            else:
                # Beyond the limit of one call the rest stays for the next: the caller sees a partial send.
                count = self._socket.sendmsg(buffers[:_IOV_LIMIT], (), _SEND_FLAGS)
        except BlockingIOError:
            return 0
        except OSError as exc:
            self.error = exc
            return 0
        self.sent += count
        return count

    async def send_rest(self, buffers: Sequence[Bytes]) -> None:
        await trio.lowlevel.checkpoint()
        rest = buffers
        while True:
            count = self.send_now(rest)
            if self.error is not None:
                _raise_dead(self.error)
            rest = remainder(rest, count)
            if not rest:
                return
            if not count or len(rest) <= _IOV_LIMIT:
                await trio.lowlevel.wait_writable(self._socket)

    def abort(self) -> None:
        if self._socket.fileno() < 0:
            return
        if not isinstance(self.error, trio.ClosedResourceError):
            self.error = trio.ClosedResourceError(_CLOSED)
        trio.lowlevel.notify_closing(self._socket)  # or a task in wait_readable would hang for ever
        self._socket.close()


class StreamTransport:
    """A transport over any bidirectional `trio.abc.Stream`, which it owns.

    Args:
        stream: the stream.
        peer: what to show as the peer's address.
        local: what to show as our own.
    """

    __slots__ = ("_stream", "error", "local", "peer", "received", "sent")

    def __init__(self, stream: trio.abc.Stream, peer: Address = ("", 0), local: Address = ("", 0)) -> None:
        self._stream = stream
        self.peer = peer
        self.local = local
        self.error: Exception | None = None
        self.sent = 0
        self.received = 0

    async def receive(self, into: memoryview | None = None) -> memoryview:
        if isinstance(self.error, trio.ClosedResourceError):
            raise trio.ClosedResourceError(_CLOSED)
        data = await self._stream.receive_some(SCRATCH_SIZE if into is None else len(into))
        self.received += len(data)
        if into is None:
            return memoryview(data)
        into[: len(data)] = data
        return into[: len(data)]

    def receive_nowait(self, into: memoryview | None = None) -> memoryview | None:
        if isinstance(self.error, trio.ClosedResourceError):
            raise trio.ClosedResourceError(_CLOSED)
        return None

    def send_now(self, buffers: Sequence[Bytes]) -> int:
        return 0

    async def send_rest(self, buffers: Sequence[Bytes]) -> None:
        if self.error is not None:
            _raise_dead(self.error)
        try:
            for piece in _pieces(buffers):
                await self._stream.send_all(piece)
                self.sent += len(piece)
        except trio.BrokenResourceError as exc:
            self.error = exc
            raise
        if not buffers:
            await trio.lowlevel.checkpoint()

    def abort(self) -> None:
        if isinstance(self.error, trio.ClosedResourceError):
            return
        self.error = trio.ClosedResourceError(_CLOSED)
        # A stream can only be closed by awaiting. Forcefully means without waiting, so this task lives for one step;
        # it has no parent because whoever aborts may itself be ending.
        trio.lowlevel.spawn_system_task(_close_stream, self._stream)


async def _close_stream(stream: trio.abc.Stream) -> None:
    try:
        await trio.aclose_forcefully(stream)
    except Exception:
        _log.warning("closing a stream failed", exc_info=True)


def _pieces(buffers: Sequence[Bytes]) -> Iterator[memoryview]:
    """All of *buffers* in pieces that are small enough for progress to show in `sent`."""
    for buffer in buffers:
        view = memoryview(buffer).cast("B")
        for start in range(0, len(view), SCRATCH_SIZE):
            yield view[start : start + SCRATCH_SIZE]


def _raise_dead(error: Exception) -> NoReturn:
    if isinstance(error, trio.ClosedResourceError):
        raise trio.ClosedResourceError(_CLOSED)
    raise trio.BrokenResourceError(f"sending failed: {error}") from error


def plain_address(name: tuple[object, ...]) -> Address:
    """A socket name as (host, port): the scope as host%scope, IPv4 peers of a dual-stack socket as IPv4."""
    if len(name) < 2:
        return ("", 0)
    host, port = str(name[0]), int(str(name[1]))
    if host.startswith("::ffff:") and "." in host:
        host = host[7:]
    elif len(name) == 4 and name[3] and "%" not in host:
        host = f"{host}%{name[3]}"
    return (host, port)


def _name_of(ask: Callable[[], tuple[object, ...]]) -> tuple[object, ...]:
    """What getpeername or getsockname says, or () when the connection is gone already."""
    try:
        return ask()
    except OSError:
        return ()

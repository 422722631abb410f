"""One TCP client: its socket, its tasks, and the protocol machine between them."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any, Final

import trio

from p4p_trio.errors import ProtocolError, RemoteError
from p4p_trio.net import Sender, Transport
from p4p_trio.protocol.channel import Channel
from p4p_trio.protocol.peer import Peer
from p4p_trio.protocol.request import Operation
from p4p_trio.protocol.server_connection import ServerConnection
from p4p_trio.protocol.tables import CancelReason, ConnectionState
from p4p_trio.server.operation import ServerOperation
from p4p_trio.server.running import ChannelScope, parted, run_inline, single_error
from p4p_trio.wire import Command, Order

if TYPE_CHECKING:
    from p4p_trio.server.server import Server
    from p4p_trio.server.shared_pv import SharedPV
    from p4p_trio.server.source import Source

__all__ = ["Session"]

_log = logging.getLogger("p4p_trio.server.session")

BUDGET: Final = 64
"""Messages handled before other tasks get a turn."""
TURN: Final = 0.001
"""Seconds in plain-function handlers after which others get a turn, too."""
RATE: Final = 1_000
"""Bytes per second at which a message may take longer than `Limits.message_timeout`."""
LINGER: Final = 1.0
"""Seconds given to a last answer (a refused login, a stopping server) before the socket closes."""


class Session:
    """The server's side of one connection.

    Its nursery holds the reader, a writer only while the socket is full, and one nursery per channel that
    has run a handler. When the connection ends, for whatever reason, its socket, ids and counters are
    released first; then its handlers are cancelled and waited for.

    Attributes:
        reason: what its handlers are told when it ends.
        context: the context variables that its tasks begin with, whoever starts them: what one client's
            handler has set is not for another's.
    """

    def __init__(self, server: Server, transport: Transport) -> None:
        self.server = server
        self.transport = transport
        address, port = transport.peer[:2]
        self.connection = ServerConnection(self, Peer(address, port), server.limits)
        self.nursery: trio.Nursery
        self.context: Context
        self.begun = self.heard = self.message_begun = trio.current_time()
        self.ended = False
        self._reading = trio.CancelScope()
        self.reason = CancelReason.DISCONNECT
        self._feeding = False
        self._marked = False
        self._sender: Sender | None = None
        self._resumed = trio.Event()
        self._waiting = False
        self._spent = 0.0
        # What the sweeper saw when it last looked: messages received, and bytes received then.
        self._finished = self._received = 0

    # ---- the connection's life

    async def run(self) -> None:
        """Serve this client until it goes. Never raises for what a peer or a handler did."""
        self.context = copy_context()
        try:
            async with trio.open_nursery() as self.nursery:
                output = self.connection.output
                self._sender = Sender(self.transport, output, self.nursery, self._reading.cancel, self._took)
                try:
                    with self._reading:
                        self.connection.start()
                        self.flush()
                        await self._read()
                except ProtocolError as exc:
                    self.server.refusals.note(self.connection.peer.address, f"{self.connection.peer}: {exc}; closing")
                    if self.connection.closing:
                        await self._linger()
                except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
                    _log.debug("%s: %s", self.connection.peer, exc)
                finally:
                    self._release()
                    self.nursery.cancel_scope.cancel()
        except Exception:
            _log.exception("%s: a bug in this server; closing the connection", self.connection.peer)
        finally:
            self._release()

    def _release(self) -> None:
        if not self.ended:
            self.ended = True
            self.transport.abort()
            self.connection.lost(self.reason)
            self.server.session_ended(self)

    def start_soon(self, function: Callable[..., Awaitable[object]], *args: object) -> None:
        """Start a task that lives no longer than the connection."""
        self.context.run(self.nursery.start_soon, function, *args)

    def end(self, reason: CancelReason, why: str = "") -> None:
        """Close the connection from our side."""
        if why:
            self.server.refusals.note(self.connection.peer.address, f"{self.connection.peer}: {why}; closing")
        if not self.ended:
            self.reason = reason
            self._reading.cancel()

    async def _linger(self) -> None:
        """Let a last answer go out, so that the client learns why it is closed."""
        with trio.move_on_after(LINGER):
            await self.emptied()

    # ---- receiving

    async def _read(self) -> None:
        connection, transport, framer = self.connection, self.transport, self.connection.framer
        while True:
            target = framer.target()
            data = await transport.receive(target)
            if not data:
                return
            self.heard = trio.current_time()
            self._feeding = True
            self._spent = 0.0
            try:
                if target is None:
                    more = connection.feed(data, BUDGET)
                else:
                    size = len(data)
                    del data, target  # views of the framer's buffer, which could not grow under them
                    more = framer.received(size, BUDGET)
            finally:
                self._feeding = False
            while True:
                self.flush()
                if connection.state is ConnectionState.CLOSED:
                    return
                if connection.paused:
                    await self._room()
                await trio.lowlevel.checkpoint()
                if not more:
                    break
                self._feeding = True
                self._spent = 0.0
                try:
                    more = connection.feed(b"", BUDGET)
                finally:
                    self._feeding = False

    async def _room(self) -> None:
        """Read nothing until the client has read more of its answers."""
        self._waiting = True
        while self.connection.paused:
            self._resumed = trio.Event()
            await self._resumed.wait()
        self._waiting = False
        self.heard = trio.current_time()

    # ---- sending

    def dirty(self) -> None:
        """There is output: the reader sends it at the end of its batch, else the flusher does."""
        if not self._feeding and not self._marked and self._sender is not None and not self._sender.writing:
            self._marked = True
            self.server.flusher.mark(self)

    def flush(self) -> None:
        """Send what there is, and go on with what was put off while there was no room. Never waits or raises."""
        self._marked = False
        if self.send() and self.connection.put_off:
            self._go_on()
        if not self.connection.paused:
            self._resumed.set()

    def _go_on(self) -> None:
        """Do what was put off. Whichever task noticed the room is not to suffer for what a peer sent long ago."""
        if self._reading.cancel_called or self.ended:
            return
        try:
            self.connection.drained()
            self.dirty()  # the rest in another turn
        except Exception:
            _log.exception("%s: a bug in this server; closing the connection", self.connection.peer)
            self.end(CancelReason.DISCONNECT)

    def send(self) -> bool:
        """Give the socket what it takes; whether nothing is left."""
        return not self.ended and self._sender is not None and self._sender.send()

    def _took(self) -> None:
        """The writer has made room."""
        if self.connection.put_off:
            self._go_on()
        if not self.connection.paused:
            self._resumed.set()

    async def emptied(self) -> None:
        """Wait until everything is sent, or cannot be."""
        self.flush()
        if self._sender is not None:
            await self._sender.emptied()

    def sweep(self, now: float) -> None:
        """Called once a second: end the connection if one of its deadlines has passed."""
        limits = self.server.limits
        self._look(now)
        if self.connection.state is ConnectionState.VALIDATING and _late(now, self.begun, limits.login_timeout):
            self.end(CancelReason.DISCONNECT, f"no login within {limits.login_timeout} s")
        elif not self._waiting and _late(now, self.heard, self.server.idle_timeout):
            self.end(CancelReason.DISCONNECT, f"silent for {self.server.idle_timeout:.0f} s")
        elif self._dribbles(now) and _late(now, self.message_begun, limits.message_timeout):
            self.end(CancelReason.DISCONNECT, f"a message did not end within {limits.message_timeout} s")
        elif self._sender is not None and self._sender.stuck(now, limits.send_timeout):
            self.end(CancelReason.DISCONNECT, f"it took nothing of what we sent for {limits.send_timeout} s")

    def _look(self, now: float) -> None:
        """Note what has moved since the last look. While we do not read, no message can be late."""
        framer = self.connection.framer
        if self._waiting or not framer.partial or framer.finished != self._finished:
            self._finished = framer.finished
            self._received = self.transport.received
            self.message_begun = now

    def _dribbles(self, now: float) -> bool:
        """Whether less than `RATE` has come of the unfinished message."""
        return self.transport.received - self._received < RATE * (now - self.message_begun)

    # ---- what the protocol machine asks

    @property
    def stopping(self) -> bool:
        """Whether new operations are refused."""
        return self.server.stopping

    def log(self, level: int, text: str) -> None:
        peer = self.connection.peer
        self.server.refusals.note(peer.address, f"{peer}: {text}", "remarks about a client", level)

    def search(self, buf: Any, start: int, end: int, order: Order) -> None:
        self.server.answer_tcp_search(self.connection, buf, start, end, order)

    def find(self, channel: Channel) -> None:
        try:
            found = self.server.sources.find_now(channel.name)
        except Exception:
            _log.exception("looking for %r failed", channel.name)
            self.connection.channel_refused(channel, "the provider failed")
            return
        if found is None:
            limit = self.server.limits.max_handlers
            if limit is not None and self.server.making >= limit:
                self.connection.channel_refused(channel, f"busy: this server is making {limit} channels already")
                return
            self.server.making += 1
            self.start_soon(self._make_channel, channel)
        elif isinstance(found, str):
            self.connection.channel_refused(channel, found)
        else:
            self._found(channel, *found)

    def _found(self, channel: Channel, source: Source, pv: SharedPV) -> None:
        try:
            self.server.adopt(pv, channel.name)
        except RuntimeError as exc:
            _log.error("%s", exc)
            self.connection.channel_refused(channel, str(exc))
        else:
            channel.source = source
            self.connection.channel_found(channel, pv._core)

    async def _make_channel(self, channel: Channel) -> None:
        """Ask the providers that may have to wait, in order."""
        try:
            await self._ask_providers(channel)
        finally:
            self.server.making -= 1

    async def _ask_providers(self, channel: Channel) -> None:
        timeout = self.server.limits.create_timeout
        text = f"no provider has a PV of the name {channel.name!r}"
        try:
            with trio.move_on_after(timeout if timeout is not None else float("inf")) as scope:
                found = await self.server.sources.find(channel.name, self.connection.peer)
                if found is not None:
                    self._found(channel, *found)
                    return
            if scope.cancelled_caught:
                text = f"the provider did not make {channel.name!r} within {timeout} s"
        except BaseException as exc:
            cancelled, failure = parted(exc)
            if not isinstance(failure, Exception):
                raise
            reason = single_error(failure)
            text = str(reason)
            if not isinstance(reason, RemoteError):
                _log.error("make_channel(%r) failed", channel.name, exc_info=failure)
                text = f"the provider of {channel.name!r} failed"
            if cancelled is not None:
                raise cancelled from None
        self.connection.channel_refused(channel, text)

    def channel_ended(self, channel: Channel, reason: CancelReason) -> None:
        if channel.scope is not None:
            channel.scope.close()

    def execute(self, operation: Operation) -> None:
        pv: SharedPV = operation.request.pv.owner  # type: ignore[assignment]  # every core here was made by one
        hook = pv._hook(operation.command)
        assert hook is not None  # asked before: Owner.handles
        op = operation.context = ServerOperation(operation, pv, self)
        if hook.inline:
            self._spent += run_inline(op, hook)
            self.connection.framer.enough = self._spent > TURN
            operation.context = None
            return
        channel = operation.request.channel
        busy = self.server.busy(channel)
        if busy:
            operation.refuse(busy)
            return
        channel.running += 1
        self.server.running.add(op)
        if pv._policy is None or operation.command is Command.RPC or operation.command is Command.PROCESS:
            self.start(op)
        else:
            op.policy = pv._policy
            op.policy.submit(op)

    def start(self, op: ServerOperation) -> None:
        """Run the handler of *op* in a task of its channel."""
        channel = op._operation.request.channel
        if channel.scope is None:
            channel.scope = ChannelScope(self)
        hook = op._pv._hook(op._operation.command)
        assert hook is not None
        channel.scope.start(op, hook)

    def uncount(self, op: ServerOperation) -> None:
        """The handler of *op* has ended, or will never run."""
        op._operation.context = None
        op._operation.request.channel.running -= 1
        self.server.running.discard(op)
        self.server.handler_ended()
        if op.policy is not None:
            op.policy.ended(op)

    def cancel(self, operation: Operation, reason: CancelReason) -> None:
        op: ServerOperation | None = operation.context
        if op is None:
            return  # its handler has ended, or is a plain function
        if op.cancelled_because is None:
            op.cancelled_because = reason
        if op.policy is not None and op.policy.discard(op):
            self.uncount(op)
        else:
            op.cancel_scope.cancel()


def _late(now: float, since: float, timeout: float | None) -> bool:
    return timeout is not None and now - since > timeout

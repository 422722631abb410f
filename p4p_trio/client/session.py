"""One TCP server: its socket, its tasks, and the protocol machine between them and the channels."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

import trio

from p4p_trio.errors import ProtocolError
from p4p_trio.net import Sender, Transport
from p4p_trio.protocol.client_channel import ClientChannel
from p4p_trio.protocol.client_connection import ClientConnection
from p4p_trio.protocol.client_monitor import ClientMonitor
from p4p_trio.protocol.client_request import ClientRequest
from p4p_trio.wire import Status
from p4p_trio.wire.messages import SearchResponse

if TYPE_CHECKING:
    from p4p_trio.client.channel import Channel
    from p4p_trio.client.runtime import Runtime

__all__ = ["Session", "spelled"]

_log = logging.getLogger("p4p_trio.client")

BUDGET: Final = 64
"""Messages handled before other tasks get a turn."""
TURNS: Final = 4
"""Receptions after which they get one even if all messages are handled: mostly the next one waits anyway."""
LONGEST: Final = 1_000
"""Characters of a server's words that are logged."""
REMARKS: Final = 10.0
"""Seconds during which further remarks of one server are not logged."""
_LEVELS = (logging.DEBUG, logging.WARNING, logging.WARNING, logging.ERROR)


def spelled(address: tuple[str, int]) -> str:
    """An address as people write it."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Session:
    """The client's side of one connection; the `Host` of its protocol machine.

    Its nursery holds the reader, and a writer only while the socket is full. However it ends, its channels are
    told and look for a server again.

    Attributes:
        address: numeric address and port.
        connection: the protocol machine; channels may be asked for at once, and are created after the login.
        fixed: a name server, which is not dropped for want of channels.
        seeking: a server that was lost is tried again; if it cannot be reached that says nothing new.
        trouble: why it ended, "" while it lives.
        broken: it ended because the server broke the protocol.
        repeats: the server sends everything again when a GET is executed again.
        idle: sweeps that found it without channels.
    """

    def __init__(self, runtime: Runtime, address: tuple[str, int]) -> None:
        self.runtime = runtime
        self.address = address
        self.connection = ClientConnection(self, runtime.limits, user=runtime.user, hostname=runtime.hostname)
        self.fixed = False
        self.seeking = False
        self.broken = False
        self.repeats = True
        self.trouble = ""
        self.idle = 0
        self.ended = False
        self.closed = trio.Event()
        self.closed_or_ready = trio.Event()
        self._transport: Transport | None = None
        self._sender: Sender | None = None
        self._scope = trio.CancelScope()
        self._feeding = False
        self._marked = False
        self._begun = self._heard = self._echoed = trio.current_time()
        self._ready_at: float | None = None
        self._quiet_until = float("-inf")

    def __str__(self) -> str:
        return spelled(self.address)

    @property
    def ready(self) -> bool:
        """Whether the server has accepted our login."""
        return self._ready_at is not None and not self.ended

    def phase(self) -> str:
        """What it waits for, until it is ready."""
        if self._transport is None:
            return f"connecting to {self}"
        return f"waiting for {self} to accept the login"

    # ---- the connection's life

    async def run(self) -> None:
        """Connect and talk until either side ends it. Never raises for what a server did."""
        try:
            with self._scope:
                await self._run()
        except Exception:
            self.trouble = f"{self}: a bug in this client"
            _log.exception("%s", self.trouble)
        finally:
            self._release()

    async def _run(self) -> None:
        timeout = self.runtime.limits.login_timeout
        with trio.move_on_after(float("inf") if timeout is None else timeout) as patience:
            try:
                self._transport = await self.runtime.network.connect(*self.address)
            except OSError as exc:
                self.trouble = f"connecting to {self} failed: {exc.strerror or exc}"
                return
        if patience.cancelled_caught:
            self.trouble = f"connecting to {self} failed: no answer within {timeout:g} s"
            return
        assert self._transport is not None
        self._begun = self._heard = self._echoed = trio.current_time()
        async with trio.open_nursery() as nursery:
            self._sender = Sender(self._transport, self.connection.output, nursery, self._failed)
            try:
                await self._read()
                self.trouble = self.trouble or f"{self} closed the connection"
            except ProtocolError as exc:
                self.broken = True
                self.trouble = f"{self} broke the protocol: {exc}"
                _log.error("%s; closing the connection", self.trouble)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
                self.trouble = self.trouble or f"the connection to {self} broke: {exc.__cause__ or exc}"
            finally:
                self._release()
                nursery.cancel_scope.cancel()

    def end(self, why: str) -> None:
        """Close the connection from our side, at once."""
        if not self.ended:
            self.trouble = self.trouble or why
            self._scope.cancel()
            self._release()

    def _release(self) -> None:
        if self.ended:
            return
        self.ended = True
        if self._transport is not None:
            self._transport.abort()
        lived = None if self._ready_at is None else trio.current_time() - self._ready_at
        self.runtime.session_ended(self, lived)
        self.connection.lost()
        self.closed.set()
        self.closed_or_ready.set()

    def _failed(self) -> None:
        error = None if self._transport is None else self._transport.error
        self.end(f"the connection to {self} broke: {error}")

    async def _read(self) -> None:
        connection, transport, framer = self.connection, self._transport, self.connection.framer
        assert transport is not None
        turns = 0
        while True:
            target = framer.target()
            data = await transport.receive(target)
            if not data:
                return
            self._heard = trio.current_time()
            self._feeding = True
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
                if self.ended:
                    return
                turns += 1
                if more or not turns % TURNS:
                    await trio.lowlevel.checkpoint()
                if not more:
                    break
                self._feeding = True
                try:
                    more = connection.feed(b"", BUDGET)
                finally:
                    self._feeding = False

    # ---- sending

    def dirty(self) -> None:
        """There is output: the reader sends it at the end of its batch, else the flusher does."""
        if not self._feeding and not self._marked and self._sender is not None and not self._sender.writing:
            self._marked = True
            self.runtime.mark(self)

    def flush(self) -> None:
        """Send what there is. Never waits or raises."""
        self._marked = False
        if self._sender is not None and not self.ended:
            self._sender.send()

    # ---- deadlines

    def sweep(self, now: float, *, punctual: bool) -> None:
        """Called once a second: a sign of life to the server, and the end if there was none of it.

        Args:
            punctual: whether this program has been running freely; if not, what the server said may be waiting
                to be read.
        """
        if self._transport is None:
            return
        limits = self.runtime.limits
        timeout = self.runtime.config.idle_timeout
        if self._ready_at is None:
            if limits.login_timeout is not None and now - self._begun > limits.login_timeout:
                self.end(f"{self} did not accept the login within {limits.login_timeout:g} s")
        elif punctual and now - self._heard > timeout:
            self.end(f"{self} was silent for {timeout:.0f} s")
        elif self._sender is not None and self._sender.stuck(now, limits.send_timeout):
            self.end(f"{self} took nothing of what we sent for {limits.send_timeout:g} s")
        # However busy the connection is: the other side may be counting our messages, not its own.
        elif now - self._echoed >= max(1.0, min(15.0, timeout * 3 / 8)):
            self._echoed = now
            self.connection.echo()

    # ---- what the protocol machine tells

    def validated(self, status: Status) -> None:
        self._ready_at = self._echoed = trio.current_time()
        if not status.success:
            self._remark(logging.WARNING, f"{self} refused the login and goes on with a stranger: {status.message}")
        self.closed_or_ready.set()
        self.runtime.session_ready(self)

    def channel_created(self, channel: ClientChannel) -> None:
        owner: Channel = channel.context
        owner.created()

    def channel_refused(self, channel: ClientChannel, status: Status) -> None:
        owner: Channel = channel.context
        owner.refused(status.message)

    def channel_lost(self, channel: ClientChannel) -> None:
        owner: Channel = channel.context
        owner.lost(self.trouble or f"{self} closed the channel", gone=self.ended)

    def init_done(self, request: ClientRequest | ClientMonitor) -> None:
        request.context.inited()

    def init_failed(self, request: ClientRequest | ClientMonitor, status: Status) -> None:
        request.context.refused(status.message)

    def reply(self, request: ClientRequest, status: Status, value: Any) -> None:
        request.context.replied(status, value)

    def update(self, monitor: ClientMonitor) -> None:
        monitor.context.updated()

    def finished(self, monitor: ClientMonitor, status: Status) -> None:
        monitor.context.finished(status)

    def request_lost(self, request: ClientRequest | ClientMonitor) -> None:
        if request.context is not None:  # else it was idle
            request.context.lost(self.trouble or f"{self} closed the channel")

    def message(self, request: ClientRequest | ClientMonitor | None, severity: int, text: str) -> None:
        about = f" about {request.channel.name!r}" if request is not None else ""
        self._remark(_LEVELS[severity], f"{self} says{about}: {text}")

    def search_response(self, response: SearchResponse) -> None:
        self.runtime.searching.answered(response, self.address)

    def _remark(self, level: int, text: str) -> None:
        """Log a server's words; one that talks much is not listened to for a while."""
        now = trio.current_time()
        if level > logging.DEBUG:
            if now < self._quiet_until:
                return
            self._quiet_until = now + REMARKS
        _log.log(level, "%s", text if len(text) <= LONGEST else text[:LONGEST] + "...")

"""The server: what runs, in which nursery, and how it stops."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import Any, Final

import trio

from p4p_trio.config import Limits, ServerConfig
from p4p_trio.config.variables import DEFAULT_TIMEOUT
from p4p_trio.errors import ConfigError
from p4p_trio.net import Flusher, Inlet, Network, SystemNetwork, Transport, service_nursery
from p4p_trio.protocol.beacon import Beacons
from p4p_trio.protocol.channel import Channel
from p4p_trio.protocol.search import SearchResponder
from p4p_trio.protocol.server_connection import ServerConnection
from p4p_trio.protocol.tables import CancelReason, ConnectionState
from p4p_trio.server.builtin import builtin_provider
from p4p_trio.server.listening import Ports
from p4p_trio.server.operation import ServerOperation
from p4p_trio.server.refusals import Refusals
from p4p_trio.server.session import Session
from p4p_trio.server.shared_pv import SharedPV
from p4p_trio.server.source import Listed, Source, Sources, providers_of
from p4p_trio.wire import Order

__all__ = ["Server"]

_log = logging.getLogger("p4p_trio.server")

GRACE: Final = 5.0
"""Seconds that running handlers have when the server stops."""
LAST_REPLIES: Final = 1.0
"""Seconds for sending what handlers answered at the end."""
NAG: Final = 5.0
"""Seconds between the log lines about a handler that does not end."""


class Server:
    """Serves the PVs of its providers.

        async with Server([{"demo:pv": pv}]) as server:
            ...                                          # it serves while the body runs

        server = await nursery.start(Server([...]).serve)   # or as a task
        trio.run(Server.forever, [{"demo:pv": pv}])         # or as the whole program

    Leaving the body, the signals of `forever` and `stop` end it gracefully: no search, beacon or new client;
    new operations are refused; running handlers have `grace` seconds and are then cancelled; replies
    are sent; sockets close. An exception in the body or a cancellation from outside ends it at once.

    Args:
        providers: StaticProviders, DynamicProviders, objects with the same methods, dicts of name and SharedPV,
            names of installed providers, or tuples (any of these, order). Lower orders are asked first.
        conf: settings, with EPICS_PVAS_* and EPICS_PVA_* names; they win over the environment.
        useenv: whether `os.environ` counts.
        isolate: instead of `conf` and the environment: loopback and free ports. `conf()` tells which.
        limits: what clients may cost.
        network: where to serve; by default the system's. `p4p_trio.testing` has one that lives in memory.

    Raises:
        ConfigError: a provider or setting cannot be used. What only binding can tell is raised on entry.
    """

    def __init__(
        self,
        providers: Iterable[Any],
        *,
        conf: Mapping[str, str] | None = None,
        useenv: bool = True,
        isolate: bool = False,
        limits: Limits | None = None,
        network: Network | None = None,
    ) -> None:
        if isolate:
            if conf is not None:
                raise ConfigError("isolate=True chooses the settings itself; leave conf= out")
            self._config = ServerConfig.isolated()
        else:
            base = ServerConfig.from_env(os.environ) if useenv else ServerConfig()
            self._config = ServerConfig.from_dict(conf or {}, base)
        if limits is not None and not isinstance(limits, Limits):
            raise ConfigError(f"limits must be a Limits(...), not {limits!r}")
        self.limits = limits if limits is not None else Limits()
        self.guid = os.urandom(12)
        self.sources = Sources()
        self.stopping = False
        self.running: set[ServerOperation] = set()
        self.making = 0  # channels that providers are being asked for
        self.sessions: dict[Session, None] = {}
        self.flusher = Flusher()
        self.refusals = Refusals()
        self._providers = [*providers_of([(builtin_provider(self.sources.names), -1)]), *providers_of(providers)]
        self._network = network
        self._unvalidated: dict[Session, None] = {}
        self._addresses: Counter[str] = Counter()
        self._ports: Ports | None = None
        self._responder: SearchResponder | None = None
        self._beacons: Beacons | None = None
        self._nursery: trio.Nursery | None = None
        self._home: tuple[int, Inlet] | None = None
        self._quiet: trio.Event | None = None
        self._stopped = trio.Event()
        self._stop_asked = trio.Event()
        self._starting = trio.CancelScope()
        self._coming: list[Source] = []
        self._grace = GRACE
        self._context: AbstractAsyncContextManager[Server] | None = None

    # ---- running it

    async def __aenter__(self) -> Server:
        """Bind, start the providers, and serve.

        Raises:
            ConfigError: an address or port cannot be used.
        """
        if self._context is not None:
            raise RuntimeError("a Server runs once; make another one")
        self._context = self._run()
        return await self._context.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        """Stop: gracefully after a normal body, at once after an exception."""
        assert self._context is not None
        return await self._context.__aexit__(kind, exc, trace)

    async def serve(self, *, task_status: trio.TaskStatus[Server] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until `stop` is called or the task is cancelled; `started` gives the server once it serves."""
        async with self:
            task_status.started(self)
            await self._stop_asked.wait()

    @classmethod
    async def forever(cls, providers: Iterable[Any], *, grace: float = GRACE, **kwargs: Any) -> None:
        """Serve until SIGINT (Ctrl-C) or SIGTERM, then stop gracefully; a second signal stops at once.

        Outside the main thread, where signals cannot be caught, until cancelled.

        Args:
            providers: as for the class, and so are the further keyword arguments.
            grace: seconds that running handlers have at the end.
        """
        server = cls(providers, **kwargs)
        if threading.current_thread() is not threading.main_thread():
            await server.serve()
            return
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals, trio.CancelScope() as scope:

            async def watch() -> None:
                async for _ in signals:
                    if server._stop_asked.is_set() or server._ports is None:  # a provider is still starting
                        scope.cancel()
                    server._grace = grace
                    server._stop_asked.set()

            async with service_nursery() as nursery:
                nursery.start_soon(watch)
                await server.serve()

    async def stop(self, grace: float = GRACE) -> None:
        """Stop serving, and wait for the end of it. May be repeated.

        If a provider is still starting, who enters the server gets a RuntimeError that says so.

        Args:
            grace: seconds that running handlers have.

        Cancellation: the server goes on stopping.
        """
        self._grace = grace
        self._stop_asked.set()
        if self._ports is None:
            self._starting.cancel()
        if self._nursery is not None:
            await self._stopped.wait()
        else:
            await trio.lowlevel.checkpoint()

    @asynccontextmanager
    async def _run(self) -> AsyncIterator[Server]:
        self._home = (threading.get_ident(), Inlet.current())
        network = self._network if self._network is not None else SystemNetwork()
        try:
            async with service_nursery() as nursery:
                self._nursery = nursery
                nursery.start_soon(self._watch_the_end)
                with self._starting:
                    for listed in self._providers:
                        await self._start(listed)
                    self._ports = await Ports.open(network, self._config)
                if self._ports is None:
                    raise RuntimeError("the server was stopped while it was starting")
                try:
                    self._open(nursery, self._ports)
                    nursery.start_soon(self._stop_when_asked)
                    yield self
                    self._stop_asked.set()
                    await self._stopped.wait()
                finally:
                    self.stopping = True
                    self._ports.close()
                    for session in list(self.sessions):
                        session.end(CancelReason.SERVER_STOP)
        finally:
            self._nursery = None
            self._stopped.set()

    def _open(self, nursery: trio.Nursery, ports: Ports) -> None:
        self._responder = ports.responder(self)
        self._beacons = Beacons(self.guid, ports.config.server_port)
        nursery.start_soon(self.flusher.run)
        nursery.start_soon(self._sweep)
        nursery.start_soon(ports.send_beacons, self._beacons)
        for udp in ports.search.sockets:
            nursery.start_soon(ports.answer_searches, udp, self._responder, nursery)
        for listener in ports.listeners:
            nursery.start_soon(ports.accept, listener, self)

    async def _start(self, listed: Listed) -> None:
        assert self._nursery is not None
        source = Source(self, listed)
        self._coming.append(source)
        try:
            await self._nursery.start(source.run)
        finally:
            self._coming.remove(source)
        self.sources.add(source)

    async def _sweep(self) -> None:
        """Once a second, look at the deadlines of all connections."""
        while True:
            await trio.sleep(1)
            self._sweep_once(trio.current_time())

    def _sweep_once(self, now: float) -> None:
        # Not part of the loop above, whose variables would keep the last connection alive.
        for session in list(self.sessions):
            session.sweep(now)

    # ---- stopping it

    async def _stop_when_asked(self) -> None:
        await self._stop_asked.wait()
        assert self._ports is not None
        self.stopping = True
        self._ports.close()
        with trio.move_on_after(self._grace):
            while self.running:
                self._quiet = trio.Event()
                await self._quiet.wait()
        for op in list(self.running):
            op.drop("server is stopping", CancelReason.SERVER_STOP)
        with trio.move_on_after(LAST_REPLIES):
            async with trio.open_nursery() as nursery:
                for session in self.sessions:
                    nursery.start_soon(session.emptied)
        for session in list(self.sessions):
            session.end(CancelReason.SERVER_STOP)
        await self._handlers_end()
        self._stopped.set()

    async def _handlers_end(self) -> None:
        """Wait until all handlers have ended, and name those that do not."""
        while self.running or self.sessions:
            with trio.move_on_after(NAG):
                self._quiet = trio.Event()
                await self._quiet.wait()
                continue
            for op in self.running:
                _log.warning("stopping waits for the handler of %r: %r does not end", op.name(), op)

    async def _watch_the_end(self) -> None:
        """When everything is cancelled at once, tell the handlers why, and name those that do not end."""

        def tell(_: object) -> trio.lowlevel.Abort:
            # trio asks this of all that wait while `cancel()` still runs: before any handler sees its Cancelled.
            self.stopping = True
            for session in self.sessions:
                session.reason = CancelReason.SERVER_STOP
            for op in self.running:
                if op.cancelled_because is None:
                    op.cancelled_because = CancelReason.SERVER_STOP
            return trio.lowlevel.Abort.SUCCEEDED

        try:
            await trio.lowlevel.wait_task_rescheduled(tell)
        finally:
            with trio.CancelScope(shield=True):  # it waits for nothing that the nursery would not wait for
                await self._handlers_end()

    def handler_ended(self) -> None:
        """A handler has ended."""
        if self._quiet is not None:
            self._quiet.set()

    # ---- clients

    def admit(self, transport: Transport) -> None:
        """A client has connected; refused beyond the limits."""
        limits = self.limits
        address = transport.peer[0]
        if limits.max_connections is not None and len(self.sessions) >= limits.max_connections:
            self.refusals.note(address, f"{address}: refused, {limits.max_connections} clients are connected")
            transport.abort()
            return
        if limits.max_per_address is not None and self._addresses[address] >= limits.max_per_address:
            self.refusals.note(address, f"{address}: refused, it has {limits.max_per_address} connections already")
            transport.abort()
            return
        session = Session(self, transport)
        self._unvalidated[session] = None
        if limits.max_unvalidated is not None and len(self._unvalidated) > limits.max_unvalidated:
            self._drop_oldest_stranger()
        self.sessions[session] = None
        self._addresses[address] += 1
        assert self._nursery is not None
        self._nursery.start_soon(session.run)

    def _drop_oldest_stranger(self) -> None:
        for session in list(self._unvalidated):
            if session.connection.state is not ConnectionState.VALIDATING:
                del self._unvalidated[session]
        if self.limits.max_unvalidated is not None and len(self._unvalidated) > self.limits.max_unvalidated:
            oldest = next(iter(self._unvalidated))
            del self._unvalidated[oldest]
            oldest.end(CancelReason.DISCONNECT, "too many clients that have not logged in")

    def session_ended(self, session: Session) -> None:
        """The connection is closed; its handlers may still be ending."""
        self.sessions.pop(session, None)
        self._unvalidated.pop(session, None)
        address = session.connection.peer.address
        self._addresses[address] -= 1
        if self._addresses[address] <= 0:
            del self._addresses[address]
        self.handler_ended()

    def busy(self, channel: Channel) -> str:
        """Why no further handler may start for *channel*, or ""."""
        limits = self.limits
        if limits.max_handlers is not None and len(self.running) >= limits.max_handlers:
            return f"busy: this server is running {limits.max_handlers} operations already"
        if limits.max_handlers_per_channel is not None and channel.running >= limits.max_handlers_per_channel:
            return f"busy: {limits.max_handlers_per_channel} operations of this channel are running already"
        return ""

    def answer_tcp_search(self, connection: ServerConnection, buf: Any, start: int, end: int, order: Order) -> None:
        """A SEARCH came over TCP: answer it there."""
        if self._responder is not None and not self.stopping:
            reply = self._responder.message(buf, start, end, order)
            if reply is not None:
                connection.out.tail += reply

    # ---- providers and PVs

    async def add_provider(self, provider: Any, order: int | None = None) -> None:
        """Serve another provider, too; returns when its `run` has started.

        Raises:
            ConfigError: it is none, or this server has it already.
            RuntimeError: the server is not running.
        """
        if self._nursery is None:
            raise RuntimeError("the server is not running; give the provider to its constructor")
        (listed,) = providers_of([provider if order is None else (provider, order)])
        known = [*self.sources, *self._coming]
        if any(source.serves(listed.provider) or source.serves(listed.given) for source in known):
            raise ConfigError(f"this server has {listed.given!r} already")
        await self._start(listed)
        self.names_changed()

    async def remove_provider(self, provider: Any) -> None:
        """Stop serving a provider: its channels close, its tasks are cancelled.

        Args:
            provider: what was given to the constructor or to `add_provider`, without the order.

        Raises:
            ConfigError: this server does not have it.
        """
        source = self.sources.remove(provider)
        for session in self.sessions:
            for channel in list(session.connection.channels.values()):
                if channel.source is source:
                    session.connection.close_channel(channel)
        source.close()
        self.names_changed()
        await trio.lowlevel.checkpoint()

    def adopt(self, pv: SharedPV, name: str) -> None:
        """Tie a PV to this trio run.

        Raises:
            RuntimeError: another trio run serves it.
        """
        home = self._home
        if home is None or pv._home is home:
            return
        if pv._home is not None and pv._home[1] is not home[1]:
            try:
                pv._home[1].put(_nothing)
            except trio.RunFinishedError:
                pass
            else:
                raise RuntimeError(f"PV {name!r} is served by another trio run already; make a second SharedPV")
        pv._home = home

    def names_changed(self) -> None:
        """PVs were added or removed: the next beacon says so."""
        if self._beacons is not None:
            self._beacons.changed()

    # ---- telling

    def conf(self) -> dict[str, str]:
        """The settings in force, with the ports that were bound; usable as `conf=` of a client or another server.

        Raises:
            RuntimeError: the server is not running yet.
        """
        if self._ports is None:
            raise RuntimeError("the ports are known once the server runs: enter it first")
        return self._ports.config.as_dict()

    @property
    def idle_timeout(self) -> float | None:
        """Seconds of silence after which a client is taken for dead."""
        if self.limits.idle_timeout is None or self._config.conn_timeout == DEFAULT_TIMEOUT:
            return self.limits.idle_timeout
        return self._config.idle_timeout

    def report(self) -> dict[str, Any]:
        """What is going on: numbers of clients, channels, requests and running handlers, and what was refused."""
        connections = [session.connection for session in self.sessions]
        responder = self._responder
        return {
            "connections": len(connections),
            "channels": sum(len(connection.channels) for connection in connections),
            "requests": sum(len(connection.requests) for connection in connections),
            "handlers": len(self.running),
            "unsent bytes": sum(connection.output.size for connection in connections),
            "searches answered": responder.answered if responder else 0,
            "searches refused": responder.refused if responder else 0,
            "refused": dict(self.refusals.counts),
        }

    def __repr__(self) -> str:
        state = "stopping" if self.stopping else "running" if self._nursery is not None else "not running"
        return f"<Server, {state}, {len(self.sessions)} clients>"


def _nothing() -> None:
    """Asks an inlet whether its run is still there."""

"""A subscription: the values of one PV, for as long as the caller wants them."""

from __future__ import annotations

import logging
from types import TracebackType
from typing import Any, Final

import trio

from p4p_trio.client.channel import Channel
from p4p_trio.client.operation import PVRequest
from p4p_trio.client.runtime import Runtime
from p4p_trio.client.slow import explain
from p4p_trio.errors import Disconnected, RemoteError
from p4p_trio.protocol.client_monitor import ClientMonitor
from p4p_trio.protocol.tables import ClientMonitorState
from p4p_trio.wire import Status

__all__ = ["Subscription"]

_log = logging.getLogger("p4p_trio.client")

TURN: Final = 32
"""Updates that are taken before other tasks get a turn."""


class Subscription:
    """The updates of one PV. Made by `Context.monitor`.

        async with context.monitor("demo:pv") as updates:
            async for value in updates:
                ...

    Every value is complete, with what has changed marked (`value.raw` of an unwrapped one). The first is what the PV
    holds now. At most `queue_size` updates wait to be taken; what comes then is merged into the newest, so the
    last value is never lost. When the server is lost the subscription waits for it, and goes on with what
    the PV holds then. The loop ends when the server ends the subscription.

    One task at a time may iterate.

    Attributes:
        name: the PV's name.
        overrun: updates so far in which something was overwritten before it could be taken, here or at the server.
    """

    def __init__(self, runtime: Runtime, name: str, pv_request: PVRequest, *, notify_disconnect: bool) -> None:
        self.name = name
        self.overrun = 0
        self._runtime = runtime
        self._pv_request = pv_request
        self._notify = notify_disconnect
        self._channel: Channel | None = None
        self._monitor: ClientMonitor | None = None
        self._before: ClientMonitor | None = None  # of the last connection, if it has something to be taken
        self._notice: Disconnected | None = None
        self._over: Exception | None = None
        self._woken: trio.Event | None = None
        self._asking = False  # the caller's task is in __anext__: what comes is taken in its next turn
        self._taken = 0

    async def __aenter__(self) -> Subscription:
        """Subscribe. Does not wait for the PV."""
        if self._channel is not None:
            raise RuntimeError("a subscription can be entered once; call monitor() again")
        await trio.lowlevel.checkpoint()
        if self._runtime.closed:
            raise RuntimeError("the context was closed")
        self._channel = self._runtime.channel(self.name)
        self._channel.join(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Tell the server that nobody listens any more. Never waits."""
        assert self._channel is not None
        monitor, self._monitor = self._monitor, None
        self._before = None
        if monitor is not None:
            monitor.destroy()
        self._end(StopAsyncIteration())
        self._channel.leave(self, trio.current_time())

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Any:
        """The next update: an unwrapped value, or `Disconnected` where `notify_disconnect` asks for it.

        Cancellation: nothing is lost.

        Raises:
            RemoteError: the server refuses the subscription, or ended it with an error.
            Disconnected: the context was closed.
        """
        if self._channel is None:
            raise RuntimeError("enter the subscription first: async with context.monitor(...) as updates")
        self._asking = True
        try:
            if self._ready():
                self._taken += 1
                if self._taken % TURN:
                    await trio.lowlevel.checkpoint_if_cancelled()
                else:
                    await trio.lowlevel.checkpoint()
            while not self._ready():
                self._woken = trio.Event()
                try:
                    await self._woken.wait()
                except trio.Cancelled:
                    explain(iter((self._phase,)))
                    raise
        finally:
            self._asking = False
        if self._before is not None and len(self._before):
            return self._pop(self._before)
        if self._notice is not None:
            notice, self._notice = self._notice, None
            return notice
        if self._monitor is not None and len(self._monitor):
            return self._pop(self._monitor)
        assert self._over is not None
        over, self._over = self._over, StopAsyncIteration()
        raise over

    def _ready(self) -> bool:
        if self._before is not None and not len(self._before):
            self._before = None
        return bool(
            self._before is not None
            or self._notice is not None
            or (self._monitor is not None and len(self._monitor))
            or self._over is not None
        )

    def _pop(self, monitor: ClientMonitor) -> Any:
        popped = monitor.pop()
        assert popped is not None
        assert self._channel is not None
        value, overrun = popped
        if overrun:
            self.overrun += 1
        return self._channel.unwrapper.unwrap(value)

    def _wake(self) -> None:
        if self._woken is not None:
            self._woken.set()

    def _end(self, over: Exception) -> None:
        if self._over is None:
            self._over = over
            self._wake()

    def _phase(self) -> str:
        assert self._channel is not None
        if self._monitor is None:
            return self._channel.phase()
        session = self._channel.session
        if self._monitor.state is ClientMonitorState.CREATING:
            return f"waiting for {session} to begin the monitor of {self.name!r}"
        return f"waiting for {session} to send an update of {self.name!r}"

    # ---- what the channel and the session tell

    def begin(self) -> None:
        """The channel is active."""
        assert self._channel is not None
        assert self._channel.wire is not None
        self._monitor = self._channel.wire.monitor(self._pv_request.value)
        self._monitor.context = self

    def unavailable(self, text: str, *, answered: bool) -> None:
        """The channel cannot be had now: a subscription waits."""
        if self._runtime.closed:
            self._end(Disconnected(f"monitor of {self.name!r}: {text}"))
        else:
            _log.debug("monitor of %r: %s", self.name, text)

    def inited(self) -> None:
        """Updates can come."""
        assert self._monitor is not None
        self._monitor.start()

    def refused(self, text: str) -> None:
        """The server does not take the subscription."""
        self._monitor = None
        self._end(RemoteError(text, operation=f"monitor of {self.name!r}"))

    def updated(self) -> None:
        """An update has come."""
        self._wake()
        monitor = self._monitor
        if self._asking and monitor is not None and len(monitor) >= monitor.limit - 1:
            # Servers send in bursts, and a caller that is quick enough should have all of one: it gets its turn before
            # anything is merged. One entry is left free because in that turn the reader may be the first to run.
            monitor.connection.framer.enough = True

    def finished(self, status: Status) -> None:
        """The server has ended the subscription; what waits can still be taken."""
        if status.success:
            self._end(StopAsyncIteration())
        else:
            self._end(RemoteError(status.message, operation=f"monitor of {self.name!r}"))

    def lost(self, why: str) -> None:
        """The channel is gone: what came can be taken, and then comes what the PV holds when it is back."""
        monitor, self._monitor = self._monitor, None
        if monitor is not None and len(monitor):
            if self._before is None or not len(self._before):
                self._before = monitor
            else:  # lost twice while nobody took anything: the first value after the next connection has it all
                self.overrun += len(monitor)
        if self._notify and monitor is not None and monitor.type is not None:
            self._notice = Disconnected(f"{self.name!r}: {why}")
        assert self._channel is not None
        self._channel.waiting[self] = None
        self._wake()

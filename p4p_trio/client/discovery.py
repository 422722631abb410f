"""Which servers come and go."""

from __future__ import annotations

from collections import deque
from types import TracebackType

import trio

from p4p_trio.client.runtime import Runtime
from p4p_trio.protocol.client_servers import MOST, ServerEvent

__all__ = ["Discovery"]


class Discovery:
    """The servers that are there, and from then on those that come and go. Made by `Context.discover`.

        async with context.discover() as events:
            async for event in events:
                print(event)

    At first every server that is known, and those that answer within the first seconds, come as online. A server is
    offline when another one has taken its place, or when it has not been heard for 360 s.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._events: deque[ServerEvent] = deque(maxlen=2 * MOST)
        self._woken: trio.Event | None = None
        self._begun = self._ended = False

    async def __aenter__(self) -> Discovery:
        """Ask who is there. Does not wait for answers."""
        await trio.lowlevel.checkpoint()
        self._begin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Listen no longer. Never waits."""
        self.end()

    def __aiter__(self) -> Discovery:
        return self

    async def __anext__(self) -> ServerEvent:
        """The next event. Ends when the context is closed.

        Cancellation: nothing is lost.
        """
        self._begin()
        await trio.lowlevel.checkpoint()
        while not self._events:
            if self._ended:
                raise StopAsyncIteration
            self._woken = trio.Event()
            await self._woken.wait()
        return self._events.popleft()

    def _begin(self) -> None:
        if not self._begun:
            if self._runtime.closed:
                raise RuntimeError("the context was closed")
            self._begun = True
            searching = self._runtime.searching
            self._events.extend(searching.servers.online())
            searching.listeners[self] = None
            searching.ping()

    def put(self, event: ServerEvent) -> None:
        """A server has come or gone."""
        self._events.append(event)
        if self._woken is not None:
            self._woken.set()

    def end(self) -> None:
        """No more events."""
        self._ended = True
        self._runtime.searching.listeners.pop(self, None)
        if self._woken is not None:
            self._woken.set()

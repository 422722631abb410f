"""One task that sends what others wrote.

A post to a thousand PVs must not send a thousand times, and a handler must not touch a socket. They
mark connections; the flusher, rescheduled once per loop turn, flushes each marked one once.
"""

from __future__ import annotations

from typing import Final, Protocol

import trio

__all__ = ["Flushable", "Flusher"]

TURN: Final = 64
"""Connections flushed before other tasks get a turn."""


class Flushable(Protocol):
    """Something with output."""

    def flush(self) -> None:
        """Send what can be sent without waiting; never raises."""


class Flusher:
    """Flushes what was marked since the last turn of the loop. Use it within one trio run."""

    __slots__ = ("_marked", "_task")

    def __init__(self) -> None:
        self._marked: list[Flushable] = []
        self._task: trio.lowlevel.Task | None = None

    def mark(self, connection: Flushable) -> None:
        """Flush *connection* soon. The caller sees to it that one is not marked twice."""
        self._marked.append(connection)
        if self._task is not None:
            trio.lowlevel.reschedule(self._task)
            self._task = None

    async def run(self) -> None:
        """Flush for ever; ends by cancellation, between two flushes."""
        while True:
            if not self._marked:
                await self._park()
            await self._flush_marked()  # a call of its own, or its variables would keep the last connection alive
            await trio.lowlevel.checkpoint()

    async def _flush_marked(self) -> None:
        marked, self._marked = self._marked, []
        for n, connection in enumerate(marked, 1):
            connection.flush()
            if n % TURN == 0:
                await trio.lowlevel.checkpoint()

    async def _park(self) -> None:
        def wake_for_cancel(_: object) -> trio.lowlevel.Abort:
            self._task = None
            return trio.lowlevel.Abort.SUCCEEDED

        self._task = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(wake_for_cancel)

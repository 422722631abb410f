"""The door through which other threads reach a trio run.

There is one per run, and it is a queue: what a thread puts in first happens first, whatever it is (a post, an open, a
portal call). Waking trio is the expensive part, so a batch costs one wake-up: only the put that finds the door
quiet rings.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Any

import trio

__all__ = ["Inlet"]

_log = logging.getLogger("p4p_trio.net")
_TURN = 256
"""Calls in one turn of the loop; the rest waits for the next, so that connections get theirs."""


class Inlet:
    """Runs calls from any thread in one trio run, in the order in which they came.

    Made inside the run, or outside with its token.

    Args:
        token: the run; default: the current one.
    """

    __slots__ = ("_calls", "_rung", "_token")

    _of_run: trio.lowlevel.RunVar[Inlet] = trio.lowlevel.RunVar("p4p_trio inlet")

    def __init__(self, token: trio.lowlevel.TrioToken | None = None) -> None:
        self._token = token or trio.lowlevel.current_trio_token()
        self._calls: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._rung = False

    @classmethod
    def current(cls) -> Inlet:
        """The inlet of the current trio run."""
        try:
            return cls._of_run.get()
        except LookupError:
            inlet = cls()
            cls._of_run.set(inlet)
            return inlet

    def put(self, call: Callable[..., object], *args: Any) -> None:
        """Have `call(*args)` run in the trio run, soon, after everything that was put before.

        It may be called from any thread, from a signal handler and from `__del__`. *call* must not wait; an exception
        in it is logged.

        Raises:
            trio.RunFinishedError: the run is over; nothing will happen any more.
        """
        self._calls.append((call, args))
        # Append first, then look: the drain lowers the flag first, then looks. So no call is left behind, and at worst
        # two threads ring for the same batch.
        if not self._rung:
            self._rung = True
            try:
                self._token.run_sync_soon(self._drain)
            except trio.RunFinishedError:
                self._rung = False
                self._calls.clear()
                raise

    def _drain(self) -> None:
        self._rung = False
        calls = self._calls
        for _ in range(min(len(calls), _TURN)):
            call, args = calls.popleft()
            try:
                call(*args)
            except Exception:
                _log.exception("a call from another thread failed: %r", call)
        if calls and not self._rung:
            self._rung = True
            self._token.run_sync_soon(self._drain)

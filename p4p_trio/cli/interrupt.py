"""Ctrl-C: ends a tool at once and silently.

The first one cancels everything, which closes the connections and lets `serve` and `monitor` end as they should; the
second one, and one that comes before the tool runs, ends the process by the signal itself.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

import trio

__all__ = ["Interrupt"]


class Interrupt:
    """While it is entered, inside a trio run, Ctrl-C cancels *scope*.

    Attributes:
        happened: whether there was one.
    """

    def __init__(self, scope: trio.CancelScope) -> None:
        self.happened = False
        self._scope = scope
        self._token = trio.lowlevel.current_trio_token()
        self._before: Any = None
        self._mine = threading.current_thread() is threading.main_thread()

    def __enter__(self) -> Interrupt:
        if self._mine:
            self._before = signal.signal(signal.SIGINT, self._come)
        return self

    def _come(self, number: int, frame: FrameType | None) -> None:
        self.happened = True
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        self._token.run_sync_soon(self._scope.cancel)

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._mine:
            signal.signal(signal.SIGINT, self._before)

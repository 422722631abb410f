"""Time-outs that say what was waited for.

`fail_after` is trio's, with one more thing: every request that waits under it knows it, in child tasks too, and when
it is cancelled because the time is up it leaves word of what it was waiting for. That has to be written down at
the moment of the cancellation: once the scope is left, the request has been taken apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

import trio

from p4p_trio.errors import PVAError

__all__ = ["TooSlowError", "explain", "fail_after"]

SHOWN: Final = 3
"""Requests that an error names; of more it tells the number."""


class TooSlowError(trio.TooSlowError, PVAError):
    """The time was up before a request was done; the text names the PV and what was waited for, and from whom.

    Attributes:
        phases: what each unfinished request was waiting for, at most the first few.
        unfinished: how many requests were unfinished.
    """

    def __init__(self, text: str = "", phases: tuple[str, ...] = (), unfinished: int = 0) -> None:
        super().__init__(text)
        self.phases = phases
        self.unfinished = unfinished


class _Frame:
    """One `fail_after` that is being run."""

    __slots__ = ("phases", "scope", "unfinished")

    def __init__(self, scope: trio.CancelScope) -> None:
        self.scope = scope
        self.phases: list[str] = []
        self.unfinished = 0


_frames: ContextVar[tuple[_Frame, ...]] = ContextVar("p4p_trio.client.frames", default=())


@contextmanager
def fail_after(seconds: float) -> Iterator[trio.CancelScope]:
    """As `trio.fail_after`, but what it raises says which request was waiting for what.

    Raises:
        TooSlowError: the time was up, and this scope caught the cancellation.
        ValueError: *seconds* is negative or no number.
    """
    with trio.move_on_after(seconds) as scope:
        frame = _Frame(scope)
        token = _frames.set((*_frames.get(), frame))
        try:
            yield scope
        finally:
            _frames.reset(token)
    if scope.cancelled_caught:
        raise TooSlowError(_text(frame, seconds), tuple(frame.phases), frame.unfinished)


def explain(phases: Iterator[Callable[[], str]]) -> None:
    """The current task was cancelled: tell every `fail_after` whose time is up what was waited for.

    Args:
        phases: for each unfinished request, what says it.
    """
    frames = [frame for frame in _frames.get() if frame.scope.cancel_called]
    if not frames:
        return
    for phase in phases:
        text = None
        for frame in frames:
            frame.unfinished += 1
            if len(frame.phases) < SHOWN:
                text = text or phase()
                frame.phases.append(text)


def _text(frame: _Frame, seconds: float) -> str:
    if not frame.phases:
        return f"not done within {seconds:g} s"
    more = frame.unfinished - len(frame.phases)
    return "; ".join(frame.phases) + (f"; and {more} more requests" if more else "")

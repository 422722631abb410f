"""Running a coroutine up to where it first waits, in the task that will go on with it.

A trio task costs ten times as much as a call. Many coroutines never wait, and which ones do is only known by
trying: `begin` runs the first step at once. If it ends there, no task was needed. If it waits, it has tied
itself to the *current* task (wait queues, cancel scopes), so only this task may go on with it: `go_on`.

To trio this is the same as `await coroutine`: it sees what is yielded, and gets its answers back.
"""

from __future__ import annotations

import types
from collections.abc import Awaitable, Coroutine, Generator
from typing import Any, Final, cast

__all__ = ["WAITS", "begin", "go_on"]


class _Waits:
    """The result of a first step that did not reach the end; what it waits for is in `trap`."""

    __slots__ = ()


WAITS: Final = _Waits()


def begin(coroutine: Coroutine[Any, Any, Any]) -> tuple[object, Any]:
    """Run the first step.

    Returns:
        (None, the result) if it ended, (WAITS, what it yielded) if it waits: then `await go_on(...)` must
        follow, in this task, before anything else is awaited.
    """
    try:
        trap = coroutine.send(None)
    except StopIteration as stop:
        return None, stop.value
    return WAITS, trap


def go_on(coroutine: Coroutine[Any, Any, Any], trap: Any) -> Awaitable[Any]:
    """Await the rest of a coroutine that has begun, and get its result."""
    return cast("Awaitable[Any]", _go_on(coroutine, trap))


@types.coroutine
def _go_on(coroutine: Coroutine[Any, Any, Any], trap: Any) -> Generator[Any, Any, Any]:
    try:
        while True:
            try:
                answer = yield trap
            except GeneratorExit:
                raise
            except BaseException as exc:  # thrown in by the event loop: it is the coroutine's
                trap = coroutine.throw(exc)
            else:
                trap = coroutine.send(answer)
    except StopIteration as stop:
        return stop.value
    finally:
        coroutine.close()

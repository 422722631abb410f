"""The nursery that a service opens round its caller's body."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

__all__ = ["service_nursery"]


@asynccontextmanager
async def service_nursery() -> AsyncIterator[trio.Nursery]:
    """A nursery for a service's own tasks, cancelled on exit; the caller's exception comes out bare.

    A plain nursery would wrap the caller's `ValueError` into an ExceptionGroup. So the body's exception is kept,
    the nursery ends first, and then it is raised again, unchanged. This is the one place of the package that
    catches BaseException from a body, and it always raises it again.

    Raises:
        BaseExceptionGroup: one of the service's own tasks crashed. That is our bug, so it is louder than the
            caller's error, which becomes its cause.
    """
    failure: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            try:
                yield nursery
            except BaseException as exc:
                failure = exc
            nursery.cancel_scope.cancel()
    except trio.Cancelled:
        if isinstance(failure, Exception):  # it came first; whoever cancels us meanwhile will do so again
            raise failure from None
        raise
    except BaseExceptionGroup as crash:
        if isinstance(failure, Exception):
            if crash.split(trio.Cancelled)[1] is None:
                raise failure from None
            raise crash from failure
        raise
    if failure is not None:
        raise failure

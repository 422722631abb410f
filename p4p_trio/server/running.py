"""Running handlers: every EXEC is answered exactly once, whatever its handler does."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Awaitable
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Final

import trio

from p4p_trio.data import Value
from p4p_trio.errors import RemoteError
from p4p_trio.nt import NTScalar
from p4p_trio.protocol.serving import handling
from p4p_trio.server.operation import ServerOperation, current_operation
from p4p_trio.server.puts import Serial
from p4p_trio.wire import Command

if TYPE_CHECKING:
    from p4p_trio.server.hooks import Hook
    from p4p_trio.server.session import Session

__all__ = ["ChannelScope", "run_async", "run_inline"]

_log = logging.getLogger("p4p_trio.server")
SLOW: Final = 0.050
"""Seconds in a plain-function handler above which a warning is logged, once per handler."""

_warned: set[int] = set()


def run_inline(op: ServerOperation, hook: Hook) -> None:
    """Call a plain-function handler, in the task that read the request, and answer."""
    begun = time.perf_counter()
    try:
        result = copy_context().run(_call, op, hook)
    except Exception as exc:
        refuse(op, exc)
    else:
        answer(op, result)
    taken = time.perf_counter() - begun
    if taken > SLOW and id(hook) not in _warned:
        _warned.add(id(hook))
        _log.warning(
            "the handler of %r is a plain function and took %.0f ms, during which nobody was served; "
            "make it an async function",
            op.name(),
            taken * 1e3,
        )


def _call(op: ServerOperation, hook: Hook) -> Any:
    current_operation.set(op)
    return hook.function(op._pv, op)


async def run_async(op: ServerOperation, hook: Hook) -> None:
    """Run an async handler in the operation's scope, and answer."""
    current_operation.set(op)
    if isinstance(op.policy, Serial):
        handling.set(handling.get() | {(op._session.server.guid, op.name())})
    result = None
    try:
        with op.cancel_scope:
            awaitable: Awaitable[Any] = hook.function(op._pv, op)
            result = await awaitable
    except Exception as exc:
        refuse(op, exc)
        return
    if not op._operation.alive:
        return  # cancelled, or answered by close()
    if op.cancel_scope.cancelled_caught:
        # nobody cancelled the operation, so the handler's own cancellation escaped: never silence
        refuse(op, RemoteError("the handler was cancelled"))
    else:
        answer(op, result)


def answer(op: ServerOperation, result: Any) -> None:
    """The handler returned."""
    operation = op._operation
    if operation.command is not Command.RPC:
        operation.acknowledge()
        return
    try:
        value = _wrapped(op, result)
    except Exception as exc:
        refuse(op, exc)
    else:
        operation.answer(value)


def _wrapped(op: ServerOperation, result: Any) -> Value | None:
    raw = getattr(result, "raw", result)
    if raw is None or isinstance(raw, Value):
        return raw
    nt = op._pv.nt
    if nt is not None:
        wrapped: Value = nt.wrap(result)
        return wrapped
    return NTScalar(_code_of(result)).wrap(result)


def _code_of(result: Any) -> str:
    for code, kind in (("?", bool), ("l", int), ("d", float), ("s", str)):
        if isinstance(result, kind):
            return code
    if isinstance(result, list | tuple) and result and all(isinstance(item, str) for item in result):
        return "as"
    char = getattr(getattr(result, "dtype", None), "char", "")
    code = {"q": "l", "Q": "L"}.get(char, char)
    if code in tuple("?bBhHiIlLfd"):
        return "a" + code
    raise TypeError(f"the result of an RPC must be a Value, a scalar or an array, not {type(result).__name__}")


def refuse(op: ServerOperation, exc: BaseException) -> None:
    """The handler raised: say why, and log what is not a refusal on purpose."""
    reason = _single(exc)
    if not isinstance(reason, RemoteError):
        _log.error("the handler of %r failed: %r", op.name(), op, exc_info=exc)
    op._operation.refuse(str(reason) or type(reason).__name__)


def _single(exc: BaseException) -> BaseException:
    """The error itself, out of the groups that nurseries wrap it in; a RemoteError before others."""
    if not isinstance(exc, BaseExceptionGroup):
        return exc
    parts = [_single(part) for part in exc.exceptions]
    return next((part for part in parts if isinstance(part, RemoteError)), parts[0])


class ChannelScope:
    """The nursery of one channel: opened by its first async handler, closed with the channel.

    An idle or read-only channel has none, and costs no task.
    """

    __slots__ = ("_nursery", "_pending", "_scope", "_session")

    def __init__(self, session: Session) -> None:
        self._session = session
        self._nursery: trio.Nursery | None = None
        self._pending: deque[tuple[ServerOperation, Hook]] = deque()
        self._scope = trio.CancelScope()
        session.nursery.start_soon(self._main)

    def start(self, op: ServerOperation, hook: Hook) -> None:
        """Run a handler. trio starts a batch of tasks in no promised order, so each takes the oldest entry."""
        self._pending.append((op, hook))
        if self._nursery is not None:
            self._nursery.start_soon(self._run_next)

    def close(self) -> None:
        """The channel is gone: cancel what still runs."""
        self._scope.cancel()

    async def _main(self) -> None:
        with self._scope:
            async with trio.open_nursery() as nursery:
                for _ in self._pending:
                    nursery.start_soon(self._run_next)
                self._nursery = nursery
                await trio.sleep_forever()

    async def _run_next(self) -> None:
        op, hook = self._pending.popleft()
        try:
            if op._operation.alive:
                await run_async(op, hook)
        finally:
            self._session.uncount(op)

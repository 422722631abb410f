"""Running handlers: every EXEC is answered exactly once, whatever its handler does."""

from __future__ import annotations

import inspect
import logging
import time
from collections import deque
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any, Final

import trio

from p4p_trio.data import Value
from p4p_trio.errors import RemoteError
from p4p_trio.net import WAITS, begin, go_on
from p4p_trio.nt import NTScalar
from p4p_trio.protocol.serving import handling
from p4p_trio.server.operation import ServerOperation, current_operation
from p4p_trio.wire import Command

if TYPE_CHECKING:
    from p4p_trio.server.hooks import Hook
    from p4p_trio.server.session import Session

__all__ = ["ChannelScope", "parted", "run_inline", "single_error"]

_log = logging.getLogger("p4p_trio.server")
SLOW: Final = 0.050
"""Seconds in a plain-function handler above which a warning is logged, once per handler."""

_RPC: Final = Command.RPC

_warned: set[int] = set()


def run_inline(op: ServerOperation, hook: Hook) -> float:
    """Call a plain-function handler, in the task that read the request, and answer; the seconds that it took."""
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
    return taken


def _call(op: ServerOperation, hook: Hook) -> Any:
    current_operation.set(op)
    result = hook.function(op._pv, op)
    if inspect.iscoroutine(result):
        result.close()
        raise TypeError("a plain function returned a coroutine, which nobody awaits; make the handler an async def")
    return result


def answer(op: ServerOperation, result: Any) -> None:
    """The handler returned."""
    operation = op._operation
    if operation.command is not _RPC:
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
    reason = single_error(exc)
    if not isinstance(reason, RemoteError):
        _log.error("the handler of %r failed: %r", op.name(), op, exc_info=exc)
    op._operation.refuse(str(reason) or type(reason).__name__)


def parted(exc: BaseException) -> tuple[BaseException | None, BaseException | None]:
    """The cancellations in it and the rest: a nursery whose clean-up fails while it is cancelled raises both."""
    if isinstance(exc, BaseExceptionGroup):
        return exc.split(trio.Cancelled)
    return (exc, None) if isinstance(exc, trio.Cancelled) else (None, exc)


def single_error(exc: BaseException) -> BaseException:
    """The error itself, out of the groups that nurseries wrap it in; a RemoteError before others."""
    if not isinstance(exc, BaseExceptionGroup):
        return exc
    parts = [single_error(part) for part in exc.exceptions]
    return next((part for part in parts if isinstance(part, RemoteError)), parts[0])


class ChannelScope:
    """The nursery of one channel: opened by its first async handler, closed with the channel.

    An idle or read-only channel has none, and costs no task.

    Each operation runs in a task and a cancel scope that nobody shares while it waits. But most handlers
    never wait, and a task with its scope costs far more than they do. So a task takes the operations of its
    channel one after the other, in arrival order, until the first of them waits: that one keeps task
    and scope, and another task goes on with the rest. A scope that somebody looked at, and a context in which
    a handler has left something, are not used again either.
    """

    __slots__ = ("_coming", "_nursery", "_pending", "_scope", "_session")

    def __init__(self, session: Session) -> None:
        self._session = session
        self._nursery: trio.Nursery | None = None
        self._pending: deque[tuple[ServerOperation, Hook]] = deque()
        self._scope = trio.CancelScope()
        self._coming = True  # a task that will take the pending operations has been started
        session.start_soon(self._main)

    def start(self, op: ServerOperation, hook: Hook) -> None:
        """Run a handler."""
        self._pending.append((op, hook))
        if not self._coming:
            self._take_over()

    def close(self) -> None:
        """The channel is gone: cancel what still runs."""
        self._scope.cancel()

    async def _main(self) -> None:
        try:
            with self._scope:
                async with trio.open_nursery() as self._nursery:
                    self._take_over()
                    await trio.sleep_forever()
        finally:
            while self._pending:
                self._session.uncount(self._pending.popleft()[0])

    def _take_over(self) -> None:
        assert self._nursery is not None
        self._coming = True
        self._session.context.run(self._nursery.start_soon, self._run)

    async def _run(self) -> None:
        self._coming = False
        clean = copy_context()
        free = True
        while free and self._pending:
            with trio.CancelScope() as scope:
                while free and self._pending:
                    op, hook = self._pending.popleft()
                    free = await self._run_one(op, hook, scope, clean)
                    if op._scope is not None:
                        break
            if scope.cancelled_caught:
                free = False
                if op._operation.alive:
                    # nobody cancelled the operation, so the handler's own cancellation escaped: never silence
                    refuse(op, RemoteError("the handler was cancelled"))
        if self._pending and not self._coming:
            self._take_over()

    async def _run_one(self, op: ServerOperation, hook: Hook, scope: trio.CancelScope, clean: Context) -> bool:
        """Run one operation; whether this task may run another one after it."""
        if not op._operation.alive:
            self._session.uncount(op)
            return True
        op._lent = scope
        before = current_operation.set(op)
        nested = handling.set(handling.get() | {(self._session.server.guid, op.name())}) if op.serial else None
        waited = False
        try:
            coroutine = hook.function(op._pv, op)
            waits, result = begin(coroutine)
            if waits is WAITS:
                waited = True
                op._scope = scope
                if self._pending and not self._coming:
                    self._take_over()
                result = await go_on(coroutine, result)
        except Exception as exc:
            refuse(op, exc)
        except BaseException as exc:
            cancelled, rest = parted(exc)
            if isinstance(rest, Exception):
                refuse(op, rest)  # its clean-up failed, which is this operation's affair and nobody else's
            elif rest is not None:
                raise
            if trio.current_effective_deadline() == float("-inf") and cancelled is not None:
                raise cancelled from None
            # Else nothing around the handler asked for it: it comes from a scope that the handler has left.
            refuse(op, RemoteError("the handler was cancelled"))
        else:
            if op._operation.alive:
                answer(op, result)
        finally:
            if nested is not None:
                handling.reset(nested)
            current_operation.reset(before)
            self._session.uncount(op)
        return not waited and copy_context() == clean

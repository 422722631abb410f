"""The handlers of a PV: what the user gave, as one flat object that is quick to ask."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import attrs
import trio

if TYPE_CHECKING:
    from p4p_trio.server.operation import ServerOperation
    from p4p_trio.server.shared_pv import SharedPV

__all__ = ["NO_HOOKS", "Handler", "Hook", "Hooks"]

Operate = Callable[["SharedPV", "ServerOperation"], Any]
While = Callable[["SharedPV"], Awaitable[None]]


class Handler(Protocol):
    """What a handler object may have; every method may be missing, and `put`, `rpc`, `process` may be plain functions.

    An `async def` runs in a task and a cancel scope of its own. A plain `def` runs at once and must not
    block. Returning acknowledges, raising refuses: a `RemoteError` with its text, verbatim.
    """

    async def put(self, pv: SharedPV, op: ServerOperation) -> None:
        """A client wants to write. Nothing changes unless this posts it."""

    async def rpc(self, pv: SharedPV, op: ServerOperation) -> Any:
        """A client calls. The result is a Value, anything that the PV's `nt` wraps, a plain scalar, or None."""

    async def process(self, pv: SharedPV, op: ServerOperation) -> None:
        """A client asks for processing without data."""

    async def while_connected(self, pv: SharedPV) -> None:
        """Runs while at least one client has the channel, and is cancelled when the last one goes."""

    async def while_monitored(self, pv: SharedPV) -> None:
        """Runs while at least one client has a started subscription."""


@attrs.frozen
class Hook:
    """One function that answers operations.

    Attributes:
        function: called with the PV and the operation.
        inline: it is a plain function: run at once, in the connection's own task.
    """

    function: Operate
    inline: bool

    @staticmethod
    def of(function: Operate) -> Hook:
        """A hook for a plain or an async function."""
        if not callable(function):
            raise TypeError(f"a handler must be a function, not {type(function).__name__}")
        return Hook(function, inline=not _is_async(function))


@attrs.define
class Hooks:
    """All that one PV has been given; an absent one is None."""

    put: Hook | None = None
    rpc: Hook | None = None
    process: Hook | None = None
    while_connected: While | None = None
    while_monitored: While | None = None

    @staticmethod
    def of(handler: Any) -> Hooks:
        """The hooks of a handler object, or of a list of them that work as one.

        In a list, the puts are asked in order and the first that raises refuses; a call goes to the first that
        has `rpc`; the `while_` methods of all run side by side.
        """
        if isinstance(handler, Sequence):
            return _composed([Hooks.of(one) for one in handler])
        hooks = Hooks()
        for name in ("put", "rpc", "process"):
            method = getattr(handler, name, None)
            if method is not None:
                setattr(hooks, name, Hook.of(method))
        for name in ("while_connected", "while_monitored"):
            method = getattr(handler, name, None)
            if method is not None:
                setattr(hooks, name, checked_while(name, method))
        if hooks == NO_HOOKS:
            raise TypeError(
                f"{handler!r} is no handler: it has none of put, rpc, process, while_connected, while_monitored"
            )
        return hooks


NO_HOOKS = Hooks()
"""Shared by all PVs without handlers. Never changed: a PV that gets its first hook gets its own object."""


def checked_while(name: str, function: Any) -> While:
    """*function*, if it is an async function as `while_connected` and `while_monitored` must be."""
    if not _is_async(function):
        raise TypeError(f"{name} must be an async function, not {function!r}")
    return function  # type: ignore[no-any-return]  # just checked


def _is_async(function: Any) -> bool:
    while isinstance(function, partial):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004  # its kind is wanted


def _composed(parts: list[Hooks]) -> Hooks:
    hooks = Hooks()
    hooks.put = _in_order([part.put for part in parts if part.put is not None])
    hooks.process = _in_order([part.process for part in parts if part.process is not None])
    hooks.rpc = next((part.rpc for part in parts if part.rpc is not None), None)
    for name in ("while_connected", "while_monitored"):
        functions = [getattr(part, name) for part in parts if getattr(part, name) is not None]
        if functions:
            setattr(hooks, name, _side_by_side(functions))
    return hooks


def _in_order(hooks: list[Hook]) -> Hook | None:
    if not hooks:
        return None
    if len(hooks) == 1:
        return hooks[0]
    if all(hook.inline for hook in hooks):

        def each_now(pv: SharedPV, op: ServerOperation) -> None:
            for hook in hooks:
                hook.function(pv, op)

        return Hook(each_now, inline=True)

    async def each(pv: SharedPV, op: ServerOperation) -> None:
        for hook in hooks:
            result = hook.function(pv, op)
            if not hook.inline:
                await result

    return Hook(each, inline=False)


def _side_by_side(functions: list[While]) -> While:
    if len(functions) == 1:
        return functions[0]

    async def all_of_them(pv: SharedPV) -> None:
        async with trio.open_nursery() as nursery:
            for function in functions:
                nursery.start_soon(function, pv)

    return all_of_them

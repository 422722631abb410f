"""Handlers that remember what happened to them."""

from __future__ import annotations

from typing import Any

import trio
import trio.testing

from p4p_trio import CancelReason, ServerOperation, SharedPV
from p4p_trio.nt import NTScalar

__all__ = ["Slow", "scalar", "settle"]


def scalar(initial: float | None = 0.0, **kwargs: Any) -> SharedPV:
    """A PV of one float."""
    return SharedPV(nt=NTScalar("d"), initial=initial, **kwargs)


async def settle() -> None:
    """Let everything happen that can happen now, without time passing."""
    await trio.testing.wait_all_tasks_blocked()


class Slow:
    """A handler whose operations wait until they are let go.

    Attributes:
        started: what was put or called for, in the order in which the handlers started.
        ops: the operations themselves.
        ended: the same with the reason of the cancellation, in the order in which `finally` ran.
        clean_up: seconds that clean-up takes, shielded.
    """

    def __init__(self, clean_up: float = 0.0) -> None:
        self.started: list[float] = []
        self.ended: list[tuple[float, CancelReason | None]] = []
        self.ops: list[ServerOperation] = []
        self.clean_up = clean_up
        self._go = trio.Event()

    def go(self) -> None:
        """Let all that wait return."""
        self._go.set()
        self._go = trio.Event()

    def forget(self) -> None:
        """Remember nothing."""
        for memory in (self.started, self.ended, self.ops):
            memory.clear()

    async def put(self, pv: SharedPV, op: ServerOperation) -> None:
        await self._run(op, float(op.value()))
        pv.post(op.value())

    async def rpc(self, pv: SharedPV, op: ServerOperation) -> None:
        await self._run(op, -1.0)

    async def process(self, pv: SharedPV, op: ServerOperation) -> None:
        await self._run(op, -2.0)

    async def _run(self, op: ServerOperation, what: float) -> None:
        self.started.append(what)
        self.ops.append(op)
        try:
            await self._go.wait()
        finally:
            if self.clean_up:
                with trio.CancelScope(shield=True):
                    await trio.sleep(self.clean_up)
            self.ended.append((what, op.cancelled_because))

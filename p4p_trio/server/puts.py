"""When the next put of one PV may start: the policies `puts="serial"` and `puts="latest"`.

They hold across clients and across servers, because the queue belongs to the PV. (`"concurrent"`, the
default, is the absence of a policy: every put starts at once, in arrival order.)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

from p4p_trio.protocol.tables import CancelReason

if TYPE_CHECKING:
    from p4p_trio.server.operation import ServerOperation

__all__ = ["POLICIES", "Latest", "Policy", "Serial"]

SUPERSEDED: Final = "superseded by a newer put"


class Policy(Protocol):
    """Who may run now."""

    def submit(self, op: ServerOperation) -> None:
        """A put arrived: start it, or keep it for later."""

    def ended(self, op: ServerOperation) -> None:
        """The handler of a started put has ended, clean-up included."""

    def discard(self, op: ServerOperation) -> bool:
        """The put was cancelled; True if it was still waiting, so that its handler will never run."""


class Serial:
    """One put at a time, in arrival order."""

    __slots__ = ("_running", "_waiting")

    def __init__(self) -> None:
        self._running: ServerOperation | None = None
        self._waiting: deque[ServerOperation] = deque()

    def submit(self, op: ServerOperation) -> None:
        if self._running is None:
            self._running = op
            op.start()
        else:
            self._waiting.append(op)

    def ended(self, op: ServerOperation) -> None:
        if op is self._running:
            self._running = None
            if self._waiting:
                self.submit(self._waiting.popleft())

    def discard(self, op: ServerOperation) -> bool:
        if op not in self._waiting:
            return False
        self._waiting.remove(op)
        return True


class Latest:
    """A newer put cancels the running one, and starts when that one's clean-up has ended.

    Of those that wait only the newest stays; the clients of all others are told that they were superseded.
    """

    __slots__ = ("_running", "_waiting")

    def __init__(self) -> None:
        self._running: ServerOperation | None = None
        self._waiting: ServerOperation | None = None

    def submit(self, op: ServerOperation) -> None:
        if self._running is None:
            self._running = op
            op.start()
            return
        if self._waiting is not None:
            self._waiting.supersede(SUPERSEDED, CancelReason.SUPERSEDED)
            self._waiting.never_started()
        else:
            self._running.supersede(SUPERSEDED, CancelReason.SUPERSEDED)
        self._waiting = op

    def ended(self, op: ServerOperation) -> None:
        if op is self._running:
            self._running = None
            following, self._waiting = self._waiting, None
            if following is not None:
                self.submit(following)

    def discard(self, op: ServerOperation) -> bool:
        if op is not self._waiting:
            return False
        self._waiting = None
        return True


POLICIES: Final[dict[str, Callable[[], Policy] | None]] = {"concurrent": None, "serial": Serial, "latest": Latest}

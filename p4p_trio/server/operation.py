"""What a handler is given: one put, call or process request of one client."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import trio

from p4p_trio.data import Value
from p4p_trio.protocol.peer import Peer
from p4p_trio.protocol.tables import CancelReason
from p4p_trio.server.puts import Serial
from p4p_trio.server.roles import roles_of
from p4p_trio.wire import Command

if TYPE_CHECKING:
    from p4p_trio.protocol.request import Operation
    from p4p_trio.server.session import Session
    from p4p_trio.server.shared_pv import SharedPV

__all__ = ["ServerOperation", "current_operation"]

current_operation: ContextVar[ServerOperation | None] = ContextVar("current_operation", default=None)
"""The operation whose handler runs here; inherited by the tasks that it starts."""


class ServerOperation:
    """One operation of one client, as its handler sees it.

    The handler answers by returning (acknowledged; for RPC: the result) or by raising (refused). When the
    client cancels, closes or disappears, the handler is cancelled: it sees trio's `Cancelled` at its next
    checkpoint, and its `finally` blocks run.

    Attributes:
        cancelled_because: why it was cancelled, or None.
    """

    __slots__ = ("_lent", "_operation", "_pv", "_scope", "_session", "cancelled_because", "policy")

    def __init__(self, operation: Operation, pv: SharedPV, session: Session) -> None:
        self._operation = operation
        self._pv = pv
        self._session = session
        self._lent: trio.CancelScope | None = None
        self._scope: trio.CancelScope | None = None
        self.cancelled_because: CancelReason | None = None
        self.policy: Any = None

    @property
    def cancel_scope(self) -> trio.CancelScope:
        """The scope that the handler runs in. (A plain function cannot be cancelled: there it does nothing.)"""
        if self._scope is None:
            self._scope = self._lent or trio.CancelScope()
        return self._scope

    def value(self) -> Any:
        """What the client sent.

        For PUT: the value, unwrapped by the PV's `nt` if it has one (`.raw` is the structure then); only the
        fields that the client sent are marked as changed. For RPC: the argument as the client sent it, a
        `Value` or a plain Python value, None for none. For PROCESS: None.
        """
        sent = self._operation.value
        nt = self._pv.nt
        if nt is not None and self._operation.command is not Command.RPC and isinstance(sent, Value):
            return nt.unwrap(sent)
        return sent

    def raw(self) -> Any:
        """What the client sent, never unwrapped."""
        return self._operation.value

    def pv_request(self) -> Value | None:
        """The pvRequest that the client gave at INIT; its options are `record._options`."""
        return self._operation.request.pv_request

    def name(self) -> str:
        """The PV name that the client used."""
        return self._operation.request.channel.name

    def peer(self) -> Peer:
        """The client: address, port, login method and claimed account."""
        return self._session.connection.peer

    def account(self) -> str:
        """The account that the client claims. Plain PVAccess proves nothing about it."""
        return self._session.connection.peer.account

    async def roles(self) -> frozenset[str]:
        """The groups of this host's user database that the claimed account belongs to.

        Looked up in a thread, then kept for a minute. Cancellation: the look-up goes on in its thread.
        """
        return await roles_of(self.account())

    def info(self, text: str) -> None:
        """Send a message for the client's log; it completes nothing."""
        self._operation.notice(0, text)

    def warn(self, text: str) -> None:
        """Send a warning for the client's log; it completes nothing."""
        self._operation.notice(1, text)

    # ---- for the server: how it runs. _lent is the scope that it would run in; it is its own (_scope) once
    # anybody looked at it, or once the handler waits.

    @property
    def serial(self) -> bool:
        """Whether it is one of a PV that takes one put at a time."""
        return isinstance(self.policy, Serial)

    def start(self) -> None:
        """Run the handler, in a task of the channel."""
        self._session.start(self)

    def supersede(self, text: str, reason: CancelReason) -> None:
        """Refuse the operation and cancel its handler, for a reason that is not the client's."""
        self._operation.refuse(text)
        if self.cancelled_because is None:
            self.cancelled_because = reason
        self.cancel_scope.cancel()

    def drop(self, text: str, reason: CancelReason) -> None:
        """As `supersede`; and if it waits for its turn, it does so no longer."""
        self.supersede(text, reason)
        if self.policy is not None and self.policy.discard(self):
            self.never_started()

    def never_started(self) -> None:
        """The operation was dropped while it waited for its turn."""
        self._session.uncount(self)

    def __repr__(self) -> str:
        return f"<ServerOperation {self._operation.command.name} {self.name()!r} from {self.peer()}>"

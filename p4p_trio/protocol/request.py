"""A request (one ioid, from INIT to DESTROY) and its operations (one EXEC each)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from p4p_trio.wire import Command

from .tables import CancelReason, RequestState

if TYPE_CHECKING:
    from p4p_trio.data import Value

    from .channel import Channel
    from .encoded import Encoded
    from .pv import PV

__all__ = ["Deferred", "Operation", "Request"]

# Members of an Enum cost ten times as much to name as a global.
_IDLE = RequestState.IDLE

LAST = 0x10
"""Sub-command bit: answer, then forget the request."""


class Request:
    """One GET, PUT, PUT_GET, RPC or PROCESS request.

    Attributes:
        ioid: the client's id of it, unique in its connection while it lives.
        command: what it was INITed for.
        sub: sub-command byte of the INIT, which the reply repeats.
        mask: the positions that it asked for.
        reply, version: the last reply that was sent, and the PV's version that it shows.
        operation: the one EXEC that runs, if any.
        size: bytes of its INIT that count against its connection.
    """

    __slots__ = (
        "channel",
        "command",
        "connection",
        "ioid",
        "mask",
        "operation",
        "pv",
        "pv_request",
        "reply",
        "sid",
        "size",
        "state",
        "sub",
        "version",
    )

    def __init__(
        self, channel: Channel, pv: PV, ioid: int, command: Command, sub: int, pv_request: Value | None
    ) -> None:
        self.channel = channel
        self.pv = pv
        self.connection = channel.connection
        self.sid = channel.sid
        self.ioid = ioid
        self.command = command
        self.sub = sub
        self.pv_request = pv_request
        self.mask = 0
        self.size = 0
        self.reply: Encoded | None = None
        self.version = -1
        self.operation: Operation | Deferred | None = None
        self.state = RequestState.WAITING

    def pv_opened(self) -> None:
        """The PV has a value: the INIT that waited for it is answered."""
        self.connection.init_request(self)

    def cancel(self, reason: CancelReason) -> None:
        """End the running operation, if there is one; nothing more is said about it."""
        operation, self.operation = self.operation, None
        if operation is not None:
            self.state = RequestState.IDLE
            operation.alive = False
            if isinstance(operation, Operation):
                self.connection.host.cancel(operation, reason)


class Deferred:
    """An EXEC that waits until the client has read more of its answers.

    Attributes:
        operand: what it carries, decoded.
        size: the bytes that this took in the message.
    """

    __slots__ = ("alive", "operand", "request", "size", "sub")

    def __init__(self, request: Request, sub: int, operand: Any, size: int) -> None:
        self.request = request
        self.sub = sub
        self.operand = operand
        self.size = size
        self.alive = True


class Operation:
    """One EXEC that a handler must answer: exactly once, by one of the verbs below.

    After a cancellation `alive` is False and every answer is dropped.

    Attributes:
        value: what the client sent: for PUT the structure with only the sent leaves marked, for RPC the
            argument (None for a null one), for PROCESS None.
        context: whatever the server attaches: the task's scope, the policy that it waits in.
    """

    __slots__ = ("alive", "command", "context", "request", "sub", "value")

    def __init__(self, request: Request, sub: int, value: Any) -> None:
        self.request = request
        self.command = request.command
        self.sub = sub
        self.value = value
        self.alive = True
        self.context: Any = None

    def acknowledge(self) -> None:
        """PUT, PUT_GET or PROCESS is done."""
        if self._end():
            request = self.request
            request.connection.acknowledged(request, self.sub)

    def answer(self, value: Value | None) -> None:
        """RPC is done, with this result; None is the null value."""
        if self._end():
            self.request.connection.answered(self.request, self.sub, value)

    def refuse(self, text: str) -> None:
        """The operation failed; *text* is the client's error message."""
        if self._end():
            self.request.connection.refused(self.request.command, self.request.ioid, self.sub, text)

    def notice(self, severity: int, text: str) -> None:
        """A message for the client's log (0 info, 1 warning); it completes nothing."""
        if self.alive:
            self.request.connection.notice(self.request.ioid, severity, text)

    def _end(self) -> bool:
        if not self.alive:
            return False
        self.alive = False
        request = self.request
        request.operation = None
        if self.sub & LAST:
            request.connection.forget(request)
        else:
            request.state = _IDLE
        return True

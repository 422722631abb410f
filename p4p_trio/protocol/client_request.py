"""A request, seen from the client: INITed once, then executed as often as is wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from p4p_trio.data import Type, Value, Variant
from p4p_trio.errors import Disconnected
from p4p_trio.wire import Command, codec_for, messages
from p4p_trio.wire.commands import DESTROY, GET, GET_PUT

from .tables import ClientRequestState

if TYPE_CHECKING:
    from .client_channel import ClientChannel

__all__ = ["ClientRequest"]


# Members of an Enum cost ten times as much to name as a global.
_PUT = Command.PUT
_PUT_GET = Command.PUT_GET
_RPC = Command.RPC
_IDLE = ClientRequestState.IDLE
_EXECUTING = ClientRequestState.EXECUTING


class ClientRequest:
    """One GET, PUT, PUT_GET, RPC, PROCESS or GET_FIELD request.

    After `Host.init_done` it is IDLE and can be executed; `Host.reply` makes it IDLE again. There is one
    EXEC at a time, because pvxs servers never answer a second.

    Attributes:
        ioid: our id of it (requestID).
        command: what it is for.
        state: see `CLIENT_REQUEST`.
        sub: sub-command of the EXEC that runs or ran last.
        last: that EXEC ends the request.
        type: what GET reads and PUT writes, as the server described it; None before that, and for RPC and PROCESS.
        reply_type: what PUT_GET reads; the same as `type` for the others.
        strays: replies that may still come for cancelled EXECs.
        covered: GET: the leaves that the latest reply brought; left to whoever executes it again.
        context: whatever the caller attaches.
    """

    __slots__ = (
        "channel",
        "command",
        "connection",
        "context",
        "covered",
        "ioid",
        "last",
        "reply_type",
        "sid",
        "state",
        "strays",
        "sub",
        "type",
    )

    def __init__(self, channel: ClientChannel, ioid: int, command: Command) -> None:
        self.channel = channel
        self.connection = channel.connection
        self.sid = channel.sid
        self.ioid = ioid
        self.command = command
        self.state = ClientRequestState.CREATING
        self.sub = 0
        self.last = False
        self.type: Type | None = None
        self.reply_type: Type | None = None
        self.strays = 0
        self.covered = 0
        self.context: Any = None

    @property
    def result_type(self) -> Type | None:
        """What the reply to the EXEC that runs or ran last carries, where it carries fields."""
        return self.type if self.sub & GET_PUT else self.reply_type

    def execute(self, value: Value | Variant | None = None, *, last: bool = False) -> None:
        """Do it: read, write, call or process; `Host.reply` tells how it went.

        Args:
            value: PUT and PUT_GET: a value of `type`, of which the marked fields are written. RPC: the
                argument, a structure, or as Variant anything else; None is the null value.
            last: the server is to forget the request after its answer, as this side does.

        Raises:
            Disconnected: the request has ended.
            RuntimeError: it is not initialised, or it is executing.
            TypeError: *value* is no value of `type`.
        """
        command = self.command
        if command is _PUT or command is _PUT_GET:
            self._write(value, last)
            return
        if value is not None and command is not _RPC:
            raise TypeError(f"{command.name} takes no value")
        self._begin(DESTROY if last else 0)
        out, order = self.connection.out, self.connection.order
        if command is _RPC:
            field, item = _argument(value)
            messages.write_full_request(out, order, command, self.sid, self.ioid, self.sub, field, item)
        else:
            messages.write_simple(out, order, command, self.sid, self.ioid, self.sub)
        self.connection.host.dirty()

    def read(self, *, last: bool = False) -> None:
        """PUT: read what a write would change. PUT_GET: read without writing. Raises as `execute`."""
        self._read(GET, last, _PUT, _PUT_GET)

    def read_put(self, *, last: bool = False) -> None:
        """PUT_GET: read what a write would change. Raises as `execute`."""
        self._read(GET_PUT, last, _PUT_GET)

    def cancel(self) -> None:
        """Stop what runs; there is no reply (one that is on its way is dropped), and it can be executed again.

        pvAccessCPP servers may answer all the same: if it must be executed again at once there, `destroy`
        it and make a new one, or the old answer will be taken for the new one's.
        """
        if self.state is _EXECUTING and self.command is not Command.GET_FIELD:
            self.state = _IDLE
            self.strays += 1
            messages.write_cancel_request(self.connection.out, self.connection.order, self.sid, self.ioid)
            self.connection.host.dirty()

    def destroy(self) -> None:
        """End the request, whatever it does; nothing more will be heard of it."""
        self.connection.destroy_request(self)

    def _write(self, value: Value | Variant | None, last: bool) -> None:
        self._begin(0, check_only=True)
        type_ = self.type
        assert type_ is not None
        if not isinstance(value, Value) or value._type._field is not type_._field:
            raise TypeError(f"{self.command.name} of {self.channel.name!r} takes a value of the request's own type")
        if value._offset:
            value = value._detached()
        self._begin(DESTROY if last else 0)
        out, order = self.connection.out, self.connection.order
        # Leaves only: what a structure's bit means is not left to the server's opinion.
        mask = type_._field.layout.expand(value._slots[0])
        codec = codec_for(type_._field, order)
        messages.write_partial_request(
            out, order, self.command, self.sid, self.ioid, self.sub, codec, value._slots, mask
        )
        self.connection.host.dirty()

    def _read(self, sub: int, last: bool, *commands: Command) -> None:
        if self.command not in commands:
            raise TypeError(f"{self.command.name} cannot do that; {' or '.join(c.name for c in commands)} can")
        self._begin(sub | (DESTROY if last else 0))
        messages.write_simple(self.connection.out, self.connection.order, self.command, self.sid, self.ioid, self.sub)
        self.connection.host.dirty()

    def _begin(self, sub: int, *, check_only: bool = False) -> None:
        if self.state is not _IDLE:
            what = f"{self.command.name} of {self.channel.name!r}"
            if self.state is ClientRequestState.DEAD:
                raise Disconnected(f"{what} has ended")
            # pvxs servers close the connection at the one and never answer the other.
            waits = self.state is ClientRequestState.CREATING
            raise RuntimeError(f"{what} is {'not initialised yet' if waits else 'executing already'}")
        if not check_only:
            self.state = _EXECUTING
            self.sub = sub
            self.last = bool(sub & DESTROY)


def _argument(value: Value | Variant | None) -> tuple[Any, Any]:
    if value is None:
        return None, None
    if isinstance(value, Variant):
        return value.field, value.item
    return value._type._field, value._detached() if value._offset else value

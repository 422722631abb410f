"""The server's replies, on the client: one function per message, in the order of the commands.

Each takes the connection and the payload (`buf[start:end]`, in byte order `order`). A reply for a request
that has ended is a legal race and ignored. One that comes in the wrong state or for another command means
that the two sides no longer agree, so it raises ProtocolError and thereby ends the connection, as in pvxs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from struct import Struct
from typing import TYPE_CHECKING, Any, Final

from p4p_trio.data import Field, Type, Value, Variant
from p4p_trio.errors import ProtocolError
from p4p_trio.wire import Command, Order, Reader, Status, codec_for, messages
from p4p_trio.wire.commands import DESTROY, GET, GET_PUT, INIT

from .client_monitor import ClientMonitor
from .client_request import ClientRequest
from .tables import ClientMonitorState, ClientRequestState

if TYPE_CHECKING:
    from .client_connection import ClientConnection

__all__ = ["TABLE"]

Handler = Callable[["ClientConnection", Any, int, int, Order], None]

_IDS: Final = {"<": Struct("<IB"), ">": Struct(">IB")}

# Members of an Enum cost ten times as much to name as a global.
_PUT: Final = Command.PUT
_PUT_GET: Final = Command.PUT_GET
_MONITOR: Final = Command.MONITOR
_PROCESS: Final = Command.PROCESS
_RPC: Final = Command.RPC
_IDLE: Final = ClientRequestState.IDLE
_EXECUTING: Final = ClientRequestState.EXECUTING
_UNOPENED: Final = ClientMonitorState.CREATING
READ: Final = GET | GET_PUT
_ONE_TYPE: Final = (Command.GET, Command.PUT, Command.MONITOR)


def _ids(buf: Any, start: int, end: int, order: Order) -> tuple[int, int]:
    if end - start < 5:
        raise ProtocolError(f"a reply needs 5 bytes of ids, this one has {end - start}", offset=0)
    ids: tuple[int, int] = _IDS[order.prefix].unpack_from(buf, start)
    return ids


# ---- GET, PUT, PUT_GET, PROCESS, RPC


def _replies(command: Command) -> Handler:
    """The function for the replies to *command*."""

    def on_reply(connection: ClientConnection, buf: Any, start: int, end: int, order: Order) -> None:
        ioid, sub = _ids(buf, start, end, order)
        request = connection.requests.get(ioid)
        if request is None:
            _late(connection, command, ioid, sub, buf, start, end, order)
            return
        if request.command is not command:
            raise _mixed(command, request)
        assert isinstance(request, ClientRequest)
        reader = connection.reader(buf, start, end, order)
        reader.pos += 5
        if sub & INIT:
            _inited(connection, request, reader)
        elif request.state is _EXECUTING and _answers(request, sub):
            status, value = _read_reply(request, reader, order)
            if request.last or sub & DESTROY:
                connection.forget(request)
            else:
                request.state = _IDLE
            connection.host.reply(request, status, value)
        elif request.strays:  # it was cancelled, and is answered all the same
            request.strays -= 1
            type_ = request.result_type
            _discard(command, None if type_ is None else type_._field, sub, reader, order)
        else:
            state = request.state.name.lower()
            raise ProtocolError(f"{command.name} reply {sub:#04x} for request {ioid}, which is {state}", offset=4)

    return on_reply


def _answers(request: ClientRequest, sub: int) -> bool:
    """Whether a reply with *sub* can be the answer to what was sent."""
    # A GET may be answered with 00, 10 or 40: core-pva says 00 whatever it was asked, others repeat the bits.
    command = request.command
    return not ((command is _PUT or command is _PUT_GET) and (sub ^ request.sub) & READ)


def _read_reply(request: ClientRequest, reader: Reader, order: Order) -> tuple[Status, Any]:
    """Status and result; None after a failure, and where there is no result."""
    status = reader.status()
    command = request.command
    if not status.success or command is _PROCESS or (command is _PUT and not request.sub & GET):
        return status, None
    if command is _RPC:
        field, item = messages.read_full(reader)
        return status, item if field is None or field.code == "S" else Variant(field, item)
    type_ = request.result_type
    assert type_ is not None
    # What is not sent was never assigned there: pvxs may even send no field at all.
    slots = type_._field.layout.defaults.copy()
    slots[0] = codec_for(type_._field, order).read_partial(reader, slots)
    return status, Value._make(type_, slots)


def _inited(connection: ClientConnection, request: ClientRequest | ClientMonitor, reader: Reader) -> None:
    """The reply to an INIT: from now on the server's type decides, not what was asked for."""
    if request.state not in (ClientRequestState.CREATING, ClientMonitorState.CREATING):
        raise ProtocolError(f"a second INIT reply for request {request.ioid}", offset=4)
    command = request.command
    status, types = _described(connection, reader, command)
    if not status.success:
        connection.forget(request)
        connection.host.init_failed(request, status)
        return
    if isinstance(request, ClientMonitor):
        request.opened(types[0])
    else:
        if types:
            request.type, request.reply_type = types[0], types[-1]
        request.state = ClientRequestState.IDLE
    connection.host.init_done(request)


def _described(connection: ClientConnection, reader: Reader, command: Command) -> tuple[Status, Sequence[Type]]:
    """What an INIT reply says. Most PVs of a server are of the same few types, so these are known by their bytes."""
    start = reader.pos
    status = reader.status()
    if not status.success:
        return status, ()
    at = reader.pos
    if command in _ONE_TYPE:
        for raw, known in connection.described:
            after = at + len(raw)
            if after <= reader.end and reader.buf[at:after] == raw:
                reader.pos = after
                return status, known
    reader.pos = start
    status, fields = messages.read_init_reply(reader, command)
    for field in fields:
        if field is None or field.code != "S":
            raise ProtocolError(f"{command.name} of something that is no structure", offset=5)
    types = tuple(Type._of(field) for field in fields if field is not None)
    raw = bytes(reader.buf[at : reader.pos])
    # Ids of types (FD, FE) can mean something else the next time, long sizes (FE) in the other order. No text has them.
    if len(types) == 1 and b"\xfd" not in raw and b"\xfe" not in raw:
        connection.described.appendleft((raw, types))
    return status, types


def _mixed(command: Command, request: ClientRequest | ClientMonitor) -> ProtocolError:
    return ProtocolError(f"{command.name} reply for request {request.ioid}, a {request.command.name}", offset=0)


def _late(
    connection: ClientConnection, command: Command, ioid: int, sub: int, buf: Any, start: int, end: int, order: Order
) -> None:
    """A reply to what has ended."""
    grave = connection.graves.get(ioid)
    if grave is not None and grave[0] is command:
        reader = connection.reader(buf, start, end, order)
        reader.pos += 5
        _discard(command, grave[1], sub, reader, order)


def _discard(command: Command, field: Field | None, sub: int, reader: Reader, order: Order) -> None:
    """Ignore a reply. It is read all the same: pvAccessCPP may define types in it that it refers to later."""
    with suppress(ProtocolError):
        if sub & INIT:
            messages.read_init_reply(reader, command)
            return
        if (command is not _MONITOR or sub & DESTROY) and not reader.status().success:
            return
        if command is _RPC:
            messages.read_full(reader)
        elif field is not None and reader.remaining:
            codec_for(field, order).read_partial(reader, field.layout.defaults.copy())


# ---- MONITOR


def on_monitor(connection: ClientConnection, buf: Any, start: int, end: int, order: Order) -> None:
    """MONITOR: the INIT reply, updates, and the finish (with a last update in it, or without)."""
    ioid, sub = _ids(buf, start, end, order)
    monitor = connection.requests.get(ioid)
    if monitor is None:
        _late(connection, _MONITOR, ioid, sub, buf, start, end, order)
        return
    if not isinstance(monitor, ClientMonitor):
        raise _mixed(_MONITOR, monitor)
    reader = connection.reader(buf, start, end, order)
    reader.pos += 5
    if sub & INIT:
        _inited(connection, monitor, reader)
    elif monitor.state is _UNOPENED:
        raise ProtocolError(f"an update for request {ioid}, which is not initialised", offset=4)
    elif sub & DESTROY:
        status = reader.status()
        last = status.success and reader.remaining > 0
        if last:
            monitor.receive(reader, order)
        connection.forget(monitor)
        if last:
            connection.host.update(monitor)
        connection.host.finished(monitor, status)
    else:
        monitor.receive(reader, order)
        connection.host.update(monitor)


# ---- one-shot messages


def on_get_field(connection: ClientConnection, buf: Any, start: int, end: int, order: Order) -> None:
    """GET_FIELD: the type of the PV, or of one of its fields."""
    ioid, status, field = messages.read_field_reply(connection.reader(buf, start, end, order))
    request = connection.requests.get(ioid)
    if request is None:
        return
    if request.command is not Command.GET_FIELD:
        raise _mixed(Command.GET_FIELD, request)
    assert isinstance(request, ClientRequest)
    connection.forget(request)
    connection.host.reply(request, status, None if field is None else Type._of(field))


def on_message(connection: ClientConnection, buf: Any, start: int, end: int, order: Order) -> None:
    """MESSAGE: a remark about a request; it completes nothing and may come before the reply."""
    ioid, severity, text = messages.read_message(connection.reader(buf, start, end, order))
    connection.host.message(connection.requests.get(ioid), min(severity, 3), text)


TABLE: Final[dict[Command, Handler]] = {
    Command.GET: _replies(Command.GET),
    Command.PUT: _replies(Command.PUT),
    Command.PUT_GET: _replies(Command.PUT_GET),
    Command.MONITOR: on_monitor,
    Command.PROCESS: _replies(Command.PROCESS),
    Command.GET_FIELD: on_get_field,
    Command.MESSAGE: on_message,
    Command.RPC: _replies(Command.RPC),
}

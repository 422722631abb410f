"""The requests of a client, on the server: one function per message, in the order of the commands.

Each takes the connection and the payload (`buf[start:end]`, in byte order `order`). What is illegal but
decodes is answered with an error status wherever the command has a reply; only what does not decode
raises ProtocolError, and thereby ends the connection.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Any, Final

from p4p_trio.data import Field, Type, Value, request_options, select_fields
from p4p_trio.data.convert import expose
from p4p_trio.errors import ProtocolError
from p4p_trio.wire import NATIVE, OK, Command, Order, Status, StatusKind, codec_for, messages
from p4p_trio.wire.commands import ACK, DESTROY, GET, GET_PUT, INIT, PIPELINE, START, STOP

from .monitor import Monitor
from .request import Operation, Request
from .tables import CancelReason, MonitorState, RequestState

if TYPE_CHECKING:
    from .channel import Channel
    from .pv import PV
    from .server_connection import ServerConnection

__all__ = ["TABLE", "execute", "init_monitor", "init_request", "send_reply"]

_IDS: Final = {"<": Struct("<IIB"), ">": Struct(">IIB")}
_TAG: Final = {"<": Struct("<IB"), ">": Struct(">IB")}
_NATIVE_IDS: Final = _IDS[NATIVE.prefix]

# Members of an Enum cost ten times as much to name as a global.
_GET: Final = Command.GET
_PUT: Final = Command.PUT
_PUT_GET: Final = Command.PUT_GET
_PROCESS: Final = Command.PROCESS
_RPC: Final = Command.RPC
_WAITING: Final = RequestState.WAITING
_IDLE: Final = RequestState.IDLE
_EXECUTING: Final = RequestState.EXECUTING

_ANYTHING: Final = Type([])
READ: Final = GET | GET_PUT
KEPT: Final = 512
"""Bytes of a reply that each request may keep. There may be many requests, each with the reply of another version."""
MUCH: Final = 4 << 20
SMALL: Final = 128
"""What the pvRequests of one connection may take together, not counting the first 128 bytes of each."""
SHOWN: Final = 200
"""Characters of a client's text that come back in an error message."""
NAMES: Final = {Command.PUT: "Put", Command.PUT_GET: "Put", Command.RPC: "RPC", Command.PROCESS: "Process"}


# ---- GET, PUT, PUT_GET, PROCESS, RPC


def on_get(connection: ServerConnection, buf: Any, start: int, end: int, order: Order) -> None:
    """GET; the plain EXEC of an idle request is the most frequent message there is."""
    if end - start == 9 and order is connection.order:
        ids = _NATIVE_IDS if order is NATIVE else _IDS[order.prefix]
        sid, ioid, sub = ids.unpack_from(buf, start)
        request = connection.requests.get(ioid)
        if (
            isinstance(request, Request)
            and sub == 0
            and request.state is _IDLE
            and request.sid == sid
            and request.command is _GET
            and not connection.deferred
        ):
            pv = request.pv
            reply = request.reply
            if reply is None or request.version != pv.version or reply.order is not order:
                reply = pv.reply(request.mask, order)
                if reply.body is not None and reply.size <= KEPT:
                    request.reply = reply
                    request.version = pv.version
            tail = connection.out.tail
            if reply.body is not None and len(tail) + connection.output.backlog < connection.max_output:
                tail += reply.head
                tail += buf[start + 4 : end]  # ioid and sub, as they came
                tail += reply.body
                return
    _on_operation(connection, _GET, buf, start, end, order)


def on_put(connection: ServerConnection, buf: Any, start: int, end: int, order: Order) -> None:
    _on_operation(connection, _PUT, buf, start, end, order)


def on_put_get(connection: ServerConnection, buf: Any, start: int, end: int, order: Order) -> None:
    _on_operation(connection, _PUT_GET, buf, start, end, order)


def on_array(connection: ServerConnection, buf: Any, start: int, end: int, order: Order) -> None:
    _on_operation(connection, Command.ARRAY, buf, start, end, order)


def on_process(connection: ServerConnection, buf: Any, start: int, end: int, order: Order) -> None:
    _on_operation(connection, _PROCESS, buf, start, end, order)


def on_rpc(connection: ServerConnection, buf: Any, start: int, end: int, order: Order) -> None:
    _on_operation(connection, _RPC, buf, start, end, order)


def _ids(buf: Any, start: int, end: int, order: Order) -> tuple[int, int, int]:
    if end - start < 9:
        raise ProtocolError(f"an operation needs 9 bytes of ids, this one has {end - start}", offset=0)
    ids: tuple[int, int, int] = _IDS[order.prefix].unpack_from(buf, start)
    return ids


def _on_operation(connection: ServerConnection, command: Command, buf: Any, start: int, end: int, order: Order) -> None:
    sid, ioid, sub = _ids(buf, start, end, order)
    if sub & INIT:
        _init(connection, command, sid, ioid, sub, buf, start + 9, end, order)
        return
    request = connection.requests.get(ioid)
    problem = ""
    if request is None:
        if ioid in connection.graves:
            return  # a legal race: it was sent before the client knew
        problem = "no such request: INIT comes first"
    elif not isinstance(request, Request) or request.command is not command:
        problem = "the request is for another command"
    elif request.sid != sid:
        problem = "the request belongs to another channel"
    elif request.state is _WAITING:
        problem = "the request is not initialised yet"
    elif request.state is _EXECUTING:
        problem = "busy: the request is executing already"
    else:
        # Decoded now even if it has to wait: it may define type ids, and what does not decode ends the connection.
        operand = _operand(connection, request, sub, buf, start + 9, end, order)
        if connection.congested:
            connection.defer(request, sub, operand, end - start - 9)
        else:
            execute(connection, request, sub, operand)
        return
    connection.refused(command, ioid, sub, problem)


def _operand(
    connection: ServerConnection, request: Request, sub: int, buf: Any, start: int, end: int, order: Order
) -> Any:
    """What an EXEC carries in `buf[start:end]`, behind its ids: the argument of a call, the fields of a put."""
    command = request.command
    if command is _PUT or command is _PUT_GET:
        if sub & READ:
            return None
        type = request.pv.sent_type
        slots = type._field.layout.defaults.copy()
        reader = connection.reader(buf, start, end, order)
        slots[0] = codec_for(type._field, order, trusted=True).read_partial(reader, slots)
        return Value._make(type, slots)
    if command is not _RPC:
        return None
    field, value = messages.read_full(connection.reader(buf, start, end, order))
    if field is not None and field.code != "S":
        return expose(field, value, _ANYTHING, None)
    return value


def execute(connection: ServerConnection, request: Request, sub: int, operand: Any) -> None:
    """EXEC of an idle request."""
    command = request.command
    writes = command is _PUT or command is _PUT_GET
    if command is _GET or (writes and sub & READ):
        send_reply(connection, request, sub)
        return
    pv = request.pv
    if writes:
        refused = operand._slots[0] & ~pv.writable
        if refused:
            path = pv.type._field.layout.paths[(refused & -refused).bit_length() - 1]
            connection.refused(command, request.ioid, sub, f"field {path!r} cannot be written")
            return
    handled = _PUT if command is _PUT_GET else command
    if not pv.owner.handles(handled):
        connection.refused(command, request.ioid, sub, f"{NAMES[command]} not supported")
        return
    if connection.host.stopping:
        connection.refused(command, request.ioid, sub, "server is stopping")
        return
    request.state = _EXECUTING
    request.operation = operation = Operation(request, sub, operand)
    connection.host.execute(operation)


def send_reply(connection: ServerConnection, request: Request, sub: int) -> None:
    """The current value, as the request asked for it."""
    order = connection.order
    mask, head = request.mask, None
    if request.command is not _GET:
        # pvxs's client gives up a PUT whose read shows it an empty union; left out, it is empty just the same.
        mask &= ~request.pv.empty_unions()
    reply = request.pv.reply(mask, order)
    if request.command is not _GET:
        head = reply.header(request.command)
    reply.append(connection.out, _TAG[order.prefix].pack(request.ioid, sub), head)
    if sub & DESTROY:
        connection.forget(request)


def _init(
    connection: ServerConnection,
    command: Command,
    sid: int,
    ioid: int,
    sub: int,
    buf: Any,
    start: int,
    end: int,
    order: Order,
) -> None:
    reader = connection.reader(buf, start, end, order)
    _, item = messages.read_full(reader)
    pv_request = item if isinstance(item, Value) else None
    channel = connection.channels.get(sid)
    if channel is None or channel.pv is None:
        problem = "bad channel id"
    elif no_room := _no_room(connection, ioid, end - start):
        problem = no_room
    elif command is Command.ARRAY:
        problem = "Array not supported"
    elif command is _PROCESS and not channel.pv.owner.handles(command):
        problem = "Process not supported"
    elif connection.host.stopping:
        problem = "server is stopping"
    else:
        pv = channel.pv
        request: Request | Monitor
        if command is Command.MONITOR:
            request = monitor = Monitor(channel, pv, ioid, pv_request)
            if sub & PIPELINE:
                monitor.window = reader.u32() if reader.remaining >= 4 else 0
        else:
            request = Request(channel, pv, ioid, command, sub, pv_request)
        _begin(connection, request, end - start)
        if pv.is_open or command in (_RPC, _PROCESS):
            request.pv_opened()
        else:
            _wait(pv, request)
        return
    connection.refused(command, ioid, INIT if command is Command.MONITOR else sub, problem)


def _no_room(connection: ServerConnection, ioid: int, size: int) -> str:
    """Why no further request can be kept, of which *size* bytes are the client's own words; or ""."""
    limit = connection.limits.max_operations
    if ioid in connection.requests:
        return "the request id is in use"
    if limit is not None and len(connection.requests) >= limit:
        return f"busy: this connection has {limit} requests already"
    if connection.kept_size + size > MUCH + SMALL:
        return f"busy: the pvRequests of this connection take more than {MUCH >> 20} MiB"
    return ""


def _begin(connection: ServerConnection, request: Request | Monitor, size: int) -> None:
    request.size = max(0, size - SMALL)
    connection.kept_size += request.size
    connection.graves.pop(request.ioid, None)
    connection.requests[request.ioid] = request.channel.requests[request.ioid] = request


def _wait(pv: PV, request: Request | Monitor) -> None:
    if pv.waiting is None:
        pv.waiting = {}
    pv.waiting[request] = None


def init_request(connection: ServerConnection, request: Request) -> None:
    """Answer an INIT: the type, or why not."""
    order = connection.order
    command = request.command
    fields: tuple[Field, ...] = ()
    if command not in (_RPC, _PROCESS):
        field = request.pv.type._field
        try:
            request.mask = select_fields(field, request.pv_request)
        except ValueError as problem:
            connection.forget(request)
            connection.refused(command, request.ioid, request.sub, str(problem))
            return
        fields = (field, field) if command is _PUT_GET else (field,)
    request.state = _IDLE
    messages.write_init_reply(connection.out, order, command, request.ioid, request.sub, OK, *fields)
    connection.host.dirty()


# ---- MONITOR


def on_monitor(connection: ServerConnection, buf: Any, start: int, end: int, order: Order) -> None:
    """MONITOR: INIT, ack, start, stop, destroy; one message may combine the last four, read in this order."""
    sid, ioid, sub = _ids(buf, start, end, order)
    if sub & INIT:
        _init(connection, Command.MONITOR, sid, ioid, sub, buf, start + 9, end, order)
        return
    monitor = connection.requests.get(ioid)
    if not isinstance(monitor, Monitor) or monitor.channel.sid != sid:
        if ioid not in connection.graves:  # these sub-commands have no reply that could carry an error
            connection.host.log(30, f"MONITOR {sub:#04x} for request {ioid}, which is no subscription of that channel")
        return
    if sub & ACK:
        monitor.acknowledge(connection.reader(buf, start + 9, end, order).u32())
    if sub & STOP:
        if sub & START == START:
            monitor.start()
        else:
            monitor.stop()
    if sub & DESTROY:
        connection.forget(monitor)


def init_monitor(connection: ServerConnection, monitor: Monitor) -> None:
    """Answer the INIT of a subscription: the type, or why not."""
    order = connection.order
    pv = monitor.pv
    field = pv.type._field
    try:
        monitor.mask = select_fields(field, monitor.pv_request)
        note = _queue(monitor, connection.limits.max_monitor_queue)
    except ValueError as problem:
        connection.forget(monitor)
        connection.refused(Command.MONITOR, monitor.ioid, INIT, str(problem))
        return
    monitor.state = MonitorState.STOPPED
    if pv.monitors is None:
        pv.monitors = {}
    pv.monitors[monitor] = None
    messages.write_init_reply(connection.out, order, Command.MONITOR, monitor.ioid, INIT, OK, field)
    if note:
        connection.notice(monitor.ioid, 1, note)
    connection.host.dirty()
    if monitor.wanted:
        monitor.start()


def _queue(monitor: Monitor, most: int | None) -> str:
    """Obey the options `pipeline` and `queueSize`; what is wrong with them comes back as a warning."""
    options = request_options(monitor.pv_request)
    pipeline = str(options.get("pipeline", "")).lower() in ("true", "1", "yes")
    if not pipeline:
        monitor.window = None  # without the option a window is read and ignored, as pvxs does
    elif monitor.window is None:
        monitor.window = 0
    asked = options.get("queueSize")
    if asked is None:
        return ""
    try:
        size = int(str(asked), 0)
        if size < 1:
            raise ValueError
    except ValueError:
        text = f"queueSize must be a whole number from 1 on, not {asked!r}"
        if pipeline:
            raise ValueError(text) from None
        return f"{text}; using {monitor.limit}"
    if most is not None and size > most:
        monitor.limit = most
        return f"queueSize {size} is more than this server allows; using {most}"
    monitor.limit = size
    return ""


# ---- one-shot and ending messages


def on_destroy_request(connection: ServerConnection, buf: Any, start: int, end: int, order: Order) -> None:
    """DESTROY_REQUEST: no reply; an unknown one is ignored."""
    request = _named(connection, buf, start, end, order)
    if request is not None:
        connection.forget(request, CancelReason.DESTROY)


def on_get_field(connection: ServerConnection, buf: Any, start: int, end: int, order: Order) -> None:
    """GET_FIELD: the type of the PV, or of one of its fields."""
    sid, ioid, path = messages.read_get_field(connection.reader(buf, start, end, order))
    channel = connection.channels.get(sid)
    if channel is None or channel.pv is None:
        problem = "bad channel id"
    elif no_room := _no_room(connection, ioid, len(path)):
        problem = no_room
    else:
        question = FieldQuestion(channel, channel.pv, ioid, path)
        _begin(connection, question, len(path))
        if channel.pv.is_open:
            question.pv_opened()
        else:
            _wait(channel.pv, question)
        return
    messages.write_field_reply(connection.out, connection.order, ioid, Status(StatusKind.ERROR, problem), None)


class FieldQuestion(Request):
    """A GET_FIELD, which is over with its reply; it waits while its PV is closed."""

    __slots__ = ("path",)

    def __init__(self, channel: Channel, pv: PV, ioid: int, path: str) -> None:
        super().__init__(channel, pv, ioid, Command.GET_FIELD, 0, None)
        self.path = path

    def pv_opened(self) -> None:
        connection = self.connection
        connection.forget(self)
        layout = self.pv.type._field.layout
        position = layout.position.get(self.path)
        if position is None:
            status = Status(StatusKind.ERROR, f"no such field {self.path[:SHOWN]!r}")
            messages.write_field_reply(connection.out, connection.order, self.ioid, status, None)
        else:
            messages.write_field_reply(connection.out, connection.order, self.ioid, OK, layout.fields[position])
        connection.host.dirty()


def on_cancel_request(connection: ServerConnection, buf: Any, start: int, end: int, order: Order) -> None:
    """CANCEL_REQUEST: ends the running operation, or stops a subscription; no reply."""
    request = _named(connection, buf, start, end, order)
    if isinstance(request, Monitor):
        request.stop()
    elif request is not None:
        request.cancel(CancelReason.CANCEL)


def _named(connection: ServerConnection, buf: Any, start: int, end: int, order: Order) -> Request | Monitor | None:
    sid, ioid = messages.read_request_ids(connection.reader(buf, start, end, order))
    request = connection.requests.get(ioid)
    return request if request is not None and request.channel.sid == sid else None


TABLE: Final = {
    Command.GET: on_get,
    Command.PUT: on_put,
    Command.PUT_GET: on_put_get,
    Command.MONITOR: on_monitor,
    Command.ARRAY: on_array,
    Command.DESTROY_REQUEST: on_destroy_request,
    Command.PROCESS: on_process,
    Command.GET_FIELD: on_get_field,
    Command.RPC: on_rpc,
    Command.CANCEL_REQUEST: on_cancel_request,
}

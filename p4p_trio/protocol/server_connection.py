"""One TCP client, seen from the server: what it may say, and what it is told. No socket, no clock.

Bytes go in by `feed`, bytes come out in `output`; what needs the world outside (finding a PV, running
a handler, sending) is asked of the `Host`. A message becomes a call of a method below or of a function
in `server_requests`; its answer is appended to the output before the next message is looked at, so
answers keep the order of questions.

How a client that does not read is kept from costing us memory: above `limits.max_output` unsent bytes
nothing new is executed (`deferred`), while cancels, destroys and acks are still honoured; if even what
was put off becomes too much, `paused` asks the driver to stop reading.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from types import MethodType
from typing import Any, Final, Protocol

import attrs

from p4p_trio.config import Limits
from p4p_trio.data import Value
from p4p_trio.errors import ProtocolError
from p4p_trio.wire import (
    NATIVE,
    OK,
    VERSION,
    Command,
    Control,
    Framer,
    Order,
    Reader,
    Status,
    StatusKind,
    TypeCache,
    messages,
)
from p4p_trio.wire.commands import NO_ID

from . import server_requests
from .channel import Channel
from .monitor import Monitor
from .output import Output
from .peer import Peer
from .pv import PV, Update
from .request import Deferred, Operation, Request
from .tables import CancelReason, ChannelState, ConnectionState, MonitorState, RequestState

__all__ = ["Host", "ServerConnection"]

METHODS: Final = ("anonymous", "ca")
"""What we offer, in increasing preference (pvAccessCPP takes the last one that it knows)."""

BUFFER_SIZE: Final = 0x10000
REGISTRY_SIZE: Final = 0x7FFF
ROOM: Final = 64 * 1024
"""Unsent bytes up to which updates are written without asking the socket."""
DEFERRED: Final = 1_000
OPERANDS: Final = 64 * 1024
"""How many EXECs may be deferred, and how many bytes they may have carried: decoded, each may take a hundred."""
TURN: Final = 64
"""Deferred EXECs that are executed, and subscriptions that are sent, before other tasks get a turn."""
MAX_ECHO: Final = 64 * 1024
MAX_NAME: Final = 500
MAX_CHANNELS: Final = 4_096
MAX_CREDENTIAL: Final = 256

_PUT_GET: Final = Command.PUT_GET

Message = Callable[[Any, int, int, Order], None]


class Host(Protocol):
    """What a connection asks of the server around it. Nothing here may wait or raise."""

    @property
    def stopping(self) -> bool:
        """Whether new operations are refused."""

    def find(self, channel: Channel) -> None:
        """Look for the channel's PV; answer by `channel_found` or `channel_refused`, at once or later."""

    def execute(self, operation: Operation) -> None:
        """Run the handler that answers *operation*."""

    def cancel(self, operation: Operation, reason: CancelReason) -> None:
        """The operation is over for the client: end its handler."""

    def channel_ended(self, channel: Channel, reason: CancelReason) -> None:
        """The channel is gone; its operations were cancelled before."""

    def search(self, buf: Any, start: int, end: int, order: Order) -> None:
        """A SEARCH came over TCP: answer it on this connection."""

    def dirty(self) -> None:
        """There is output; it must be sent before the loop turns much further."""

    def send(self) -> bool:
        """Try to send now, without waiting; whether all is sent."""

    def log(self, level: int, text: str) -> None:
        """One line for the log, about this peer."""


class ServerConnection:
    """The server's half of one TCP connection.

    Attributes:
        peer: who it is; its method and account are set by the login.
        state: VALIDATING until the client has logged in.
        output: what has to be sent.
        framer: feed it what was received.
        channels: by sid.
        requests: all requests of all channels, by ioid.
        closing: the connection must be closed once the output is sent.
        queued_size: about how many bytes the queues of the subscriptions keep alive.
        kept_size: bytes of pvRequests, not counting small ones.
    """

    def __init__(self, host: Host, peer: Peer, limits: Limits, order: Order = NATIVE) -> None:
        self.host = host
        self.peer = peer
        self.limits = limits
        self.order = order
        self.state = ConnectionState.VALIDATING
        self.output = Output()
        self.out = self.output.buffers
        self.types = TypeCache(limits)
        self.channels: dict[int, Channel] = {}
        self.pending: dict[int, Channel] = {}
        self.requests: dict[int, Request | Monitor] = {}
        self.graves: dict[int, None] = {}
        self.deferred: deque[Deferred] = deque()
        self.waiting: OrderedDict[Monitor, None] = OrderedDict()
        self.closing = False
        self.queued_size = 0
        self.kept_size = 0
        self._next_sid = 1
        self.max_output = limits.max_output if limits.max_output is not None else float("inf")
        self._deferred_size = 0
        self._dispatch: list[Message | None] = [self._premature] * 256
        self._dispatch[Command.CONNECTION_VALIDATION] = self._on_validation
        self.framer = Framer(
            from_server=False,
            max_message=limits.max_message_prelogin,
            dispatch=self._dispatch,
            control=self._on_control,
        )

    # ---- life cycle

    def start(self) -> None:
        """The client has connected: announce byte order and login methods."""
        messages.write_set_byte_order(self.out, self.order, True)
        messages.write_validation_request(self.out, self.order, BUFFER_SIZE, REGISTRY_SIZE, METHODS)

    def feed(self, data: bytes | memoryview, budget: int = 64) -> bool:
        """Handle what was received, at most *budget* messages of it.

        Returns:
            Whether complete messages are still waiting: call again with b"".

        Raises:
            ProtocolError: the peer broke the protocol; call `lost` and close.
        """
        return self.framer.feed(data, budget)

    def lost(self, reason: CancelReason = CancelReason.DISCONNECT) -> None:
        """The connection is over: everything that belongs to it ends here."""
        self.state = ConnectionState.CLOSED
        for channel in [*self.channels.values(), *self.pending.values()]:
            self._end_channel(channel, reason)
        self.channels.clear()
        self.pending.clear()
        self.waiting.clear()
        self.deferred.clear()
        self.output.clear()
        self.framer.close()

    @property
    def paused(self) -> bool:
        """Whether reading more would only queue more for a client that does not take its answers."""
        return (
            self.output.size > 2 * self.max_output or len(self.deferred) >= DEFERRED or self._deferred_size > OPERANDS
        )

    @property
    def put_off(self) -> bool:
        """Whether something waits for room in the output."""
        return bool(self.deferred or self.waiting)

    def drained(self) -> None:
        """The socket took bytes: go on with what was put off for lack of room; with some of it, if it is much."""
        self.framer.enough = False
        for _ in range(TURN):
            if not self.deferred or self.output.size >= self.max_output or self.framer.enough:
                break
            late = self.deferred.popleft()
            self._deferred_size -= late.size
            if late.alive:
                request = late.request
                request.operation = None
                request.state = RequestState.IDLE
                server_requests.execute(self, request, late.sub, late.operand)
        for _ in range(TURN):
            if not self.waiting or not self.has_room():
                break
            monitor, _ = self.waiting.popitem(last=False)
            monitor.pump()
            if monitor.queue:
                self.monitor_waits(monitor)

    def defer(self, request: Request, sub: int, operand: Any, size: int) -> None:
        """Put an EXEC off until the client has read more of its answers."""
        request.state = RequestState.EXECUTING
        request.operation = late = Deferred(request, sub, operand, size)
        self.deferred.append(late)
        self._deferred_size += size

    @property
    def congested(self) -> bool:
        """Whether nothing new should be executed, because answers are not being read."""
        return bool(self.deferred) or self.output.size > self.max_output

    # ---- login

    def _premature(self, buf: Any, start: int, end: int, order: Order) -> None:
        raise ProtocolError("message before the connection was validated")

    def _on_control(self, command: int, value: int, order: Order) -> None:
        # pvxs and pvAccessCPP let a client choose the order in which they send; so do we.
        if command == Control.SET_BYTE_ORDER:
            self.order = order
        elif command == Control.ECHO_REQUEST and self.state is ConnectionState.READY:
            self.out.tail += self.order.header.pack(
                0xCA, VERSION, self.order.server | 0x01, Control.ECHO_RESPONSE, value
            )

    def _on_validation(self, buf: Any, start: int, end: int, order: Order) -> None:
        reader = self.reader(buf, start, end, order)
        _, _, _, method, field, item = messages.read_validation_reply(reader)
        problem, account = _credentials(method, field, item)
        if problem:
            self.state = ConnectionState.CLOSED
            self.closing = True
            messages.write_validated(self.out, self.order, Status(StatusKind.ERROR, problem))
            raise ProtocolError(f"login refused: {problem}")
        self.peer = attrs.evolve(self.peer, method=method or "anonymous", account=account)
        self.state = ConnectionState.READY
        self.framer.max_message = self.limits.max_message
        self._open_dispatch()
        messages.write_validated(self.out, self.order, OK)

    def _open_dispatch(self) -> None:
        table = self._dispatch
        table[:] = [self._ignore] * 256  # unknown commands are ignored, as pvxs and pvAccessCPP do
        table[Command.CONNECTION_VALIDATION] = self._second_login
        table[Command.ECHO] = self._on_echo
        table[Command.SEARCH] = self.host.search
        table[Command.CREATE_CHANNEL] = self._on_create_channel
        table[Command.DESTROY_CHANNEL] = self._on_destroy_channel
        table[Command.MESSAGE] = self._on_message
        for command, function in server_requests.TABLE.items():
            table[command] = MethodType(function, self)

    def _ignore(self, buf: Any, start: int, end: int, order: Order) -> None:
        """AUTHNZ, ACL_CHANGE and whatever is not defined."""

    def _second_login(self, buf: Any, start: int, end: int, order: Order) -> None:
        raise ProtocolError("a second login on one connection")

    def _on_echo(self, buf: Any, start: int, end: int, order: Order) -> None:
        if end - start > MAX_ECHO:
            raise ProtocolError(f"an ECHO of {end - start} bytes; {MAX_ECHO} are enough")
        messages.write_echo(self.out, self.order, True, bytes(buf[start:end]))

    def _on_message(self, buf: Any, start: int, end: int, order: Order) -> None:
        ioid, severity, text = messages.read_message(self.reader(buf, start, end, order))
        self.host.log((20, 30, 40, 40)[severity & 3], f"client says of request {ioid}: {text[:MAX_NAME]!r}")

    # ---- channels

    def _on_create_channel(self, buf: Any, start: int, end: int, order: Order) -> None:
        asked = messages.read_create_channel(self.reader(buf, start, end, order))
        if len(asked) > MAX_CHANNELS:  # nobody else gets a turn meanwhile, and no peer sends more than a few
            raise ProtocolError(f"a CREATE_CHANNEL of {len(asked)} names; at most {MAX_CHANNELS} go into one message")
        for cid, name in asked:
            channel = Channel(self, cid, self._next_sid, name)
            problem = self._channel_problem(cid, name)
            if problem:
                self.channel_refused(channel, problem)
                continue
            self._next_sid = self._next_sid % (NO_ID - 1) + 1
            self.pending[channel.sid] = channel
            self.host.find(channel)

    def _channel_problem(self, cid: int, name: str) -> str:
        limit = self.limits.max_channels
        if not name:
            return "a channel needs a name"
        if len(name) > MAX_NAME:
            return f"a channel name has at most {MAX_NAME} characters"
        if not name.isprintable():
            return "a channel name must not contain control characters"
        if limit is not None and len(self.channels) + len(self.pending) >= limit:
            return f"busy: this connection has {limit} channels already"
        if self._next_sid in self.channels or self._next_sid in self.pending:
            return "busy: no channel id is free"
        return ""

    def channel_found(self, channel: Channel, pv: PV) -> None:
        """The answer to `Host.find`."""
        if channel.state is not ChannelState.CREATING:
            return
        channel.state = ChannelState.ACTIVE
        self.pending.pop(channel.sid, None)
        self.channels[channel.sid] = channel
        channel.pv = pv
        if pv.channels is None:
            pv.channels = {}
        pv.channels[channel] = None
        messages.write_channel_created(self.out, self.order, channel.cid, channel.sid, OK)
        pv.owner.channel_added(channel)
        self.host.dirty()

    def channel_refused(self, channel: Channel, text: str) -> None:
        """The other answer to `Host.find`."""
        if channel.state is not ChannelState.CREATING:
            return
        channel.state = ChannelState.CLOSED
        self.pending.pop(channel.sid, None)
        # ERROR or FATAL with this sid: a WARNING would count as success (wire.md 4.3)
        messages.write_channel_created(self.out, self.order, channel.cid, NO_ID, Status(StatusKind.FATAL, text))
        self.host.dirty()

    def _on_destroy_channel(self, buf: Any, start: int, end: int, order: Order) -> None:
        sid, cid = messages.read_destroy_channel(self.reader(buf, start, end, order))
        channel = self.channels.pop(sid, None)
        if channel is not None:  # an unknown one may have crossed our own DESTROY_CHANNEL
            self._end_channel(channel, CancelReason.CHANNEL)
            messages.write_destroy_channel(self.out, self.order, True, sid, cid)

    def close_channel(self, channel: Channel) -> None:
        """End a channel from our side: its PV was closed or is no longer served."""
        if self.channels.pop(channel.sid, None) is not None:
            self._end_channel(channel, CancelReason.PV_CLOSED)
            messages.write_destroy_channel(self.out, self.order, True, channel.sid, channel.cid)
            self.host.dirty()

    def _end_channel(self, channel: Channel, reason: CancelReason) -> None:
        channel.state = ChannelState.CLOSED
        for request in list(channel.requests.values()):
            self.forget(request, reason)
        pv = channel.pv
        if pv is not None and pv.channels is not None:
            pv.channels.pop(channel, None)
            pv.owner.channel_removed(channel)
        self.host.channel_ended(channel, reason)

    # ---- requests

    def reader(self, buf: Any, start: int, end: int, order: Order) -> Reader:
        """A reader of one message's payload."""
        return Reader(buf, start, end, order, self.limits, self.types, self.framer.owned)

    def init_request(self, request: Request) -> None:
        """Answer an INIT whose PV is open (or which needs no value: RPC, PROCESS)."""
        server_requests.init_request(self, request)

    def init_monitor(self, monitor: Monitor) -> None:
        """Answer the INIT of a subscription."""
        server_requests.init_monitor(self, monitor)

    def forget(self, request: Request | Monitor, reason: CancelReason = CancelReason.DESTROY) -> None:
        """The request is over; late messages for its ioid are ignored."""
        if self.requests.pop(request.ioid, None) is not None:
            self.kept_size -= request.size
        request.channel.requests.pop(request.ioid, None)
        self.graves[request.ioid] = None
        if len(self.graves) > 256:
            del self.graves[next(iter(self.graves))]
        pv = request.pv
        if isinstance(request, Monitor):
            if pv.monitors is not None:
                pv.monitors.pop(request, None)
            if request.state is MonitorState.RUNNING:
                pv.owner.monitor_stopped(request)
            request.clear()
            self.waiting.pop(request, None)
            waited, request.state = request.state is MonitorState.WAITING, MonitorState.DEAD
        else:
            waited = request.state is RequestState.WAITING
            request.cancel(reason)
            request.state = RequestState.DEAD
        if waited and pv.waiting is not None:
            pv.waiting.pop(request, None)

    def acknowledged(self, request: Request, sub: int) -> None:
        """Tell the client that its PUT, PUT_GET or PROCESS was done."""
        if request.command is _PUT_GET and request.pv.is_open:
            server_requests.send_reply(self, request, sub)
        else:
            order = self.order
            self.out.tail += order.reply_ok.pack(
                0xCA, VERSION, order.server, request.command, 6, request.ioid, sub, 0xFF
            )
        self.host.dirty()

    def answered(self, request: Request, sub: int, value: Value | None) -> None:
        """Send the result of an RPC."""
        field = None if value is None else value._type._field
        messages.write_full_reply(self.out, self.order, request.command, request.ioid, sub, field, value)
        self.host.dirty()

    def refused(self, command: Command, ioid: int, sub: int, text: str) -> None:
        """Send an error status in place of a reply."""
        status = Status(StatusKind.ERROR, text)
        messages.write_status_reply(self.out, self.order, command, ioid, sub, status)
        self.host.dirty()

    def notice(self, ioid: int, severity: int, text: str) -> None:
        """Send a MESSAGE about a request."""
        messages.write_message(self.out, self.order, True, ioid, severity, text)
        self.host.dirty()

    # ---- updates

    def has_room(self) -> bool:
        """Whether another update may be written now; tries to send before it says no."""
        if self.output.size < ROOM:
            return True
        self.host.send()
        return self.output.size < ROOM

    def send_update(self, monitor: Monitor, update: Update) -> None:
        """Write one update of a subscription."""
        if monitor.window is not None:
            monitor.window -= 1
        order = self.order
        tag = monitor.tag if monitor.tag_order is order else monitor.retag(order)
        update.encoded(monitor.mask, order).append(self.out, tag)
        self.host.dirty()

    def monitor_waits(self, monitor: Monitor) -> None:
        """The subscription has updates that the socket has no room for."""
        if monitor.state is MonitorState.RUNNING and monitor.window != 0:
            self.waiting[monitor] = None


def _credentials(method: str, field: Any, item: Any) -> tuple[str, str]:
    """What is wrong with a login, or "", and the account that it names."""
    if method in ("", "anonymous"):
        return "", "anonymous"
    if method not in METHODS:
        return f"method {method[:MAX_CREDENTIAL]!r} was not offered; use one of {', '.join(METHODS)}", ""
    user = item.get("user") if isinstance(item, Value) else None
    if not isinstance(user, str) or not user:
        return "the ca method needs a structure with a string field 'user'", ""
    if len(user) > MAX_CREDENTIAL or not user.isprintable():
        return f"the account must be printable text of at most {MAX_CREDENTIAL} characters", ""
    return "", user

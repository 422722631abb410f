"""One TCP server, seen from the client: what may be asked of it, and what it answers. No socket, no clock.

Bytes go in by `feed`, bytes come out in `output`. The caller asks by `create_channel` and by the verbs of
the `ClientChannel`, `ClientRequest` and `ClientMonitor` that it gets; what the server answers is told to
the `Host`. A message becomes a call of a method below or of a function in `client_requests`.

Nothing is sent before the server has spoken, and no channel is asked for before it has accepted the login.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from types import MethodType
from typing import Any, Final, Protocol

from p4p_trio.config import Limits
from p4p_trio.data import Field, Type, Value
from p4p_trio.errors import Disconnected, ProtocolError
from p4p_trio.wire import NATIVE, NO_ID, Command, Control, Framer, Order, Reader, Status, TypeCache, messages
from p4p_trio.wire.commands import SEARCH_MUST_REPLY, SEARCH_UNICAST
from p4p_trio.wire.frame import Handler
from p4p_trio.wire.messages import ANY, SearchResponse
from p4p_trio.wire.status import StatusKind

from . import client_requests
from .client_channel import ClientChannel
from .client_monitor import ClientMonitor
from .client_request import ClientRequest
from .output import Output
from .tables import ClientChannelState, ClientConnectionState, ClientMonitorState, ClientRequestState

__all__ = ["ClientConnection", "Host"]

BUFFER_SIZE: Final = 0x10000
REGISTRY_SIZE: Final = 0x7FFF
SEARCH_SEQUENCE: Final = 0x66696E64
"""What pvxs sends. Answers are matched by cid, so it need not count."""
GRAVES: Final = 256
"""Ended requests of which command and type are remembered, so that what arrives late for them can still be read."""

DESCRIBED: Final = 4
"""Types that are recognised by the bytes of their description, which is ten times faster than reading it."""

_CREDENTIALS: Final = Type([("user", "s"), ("host", "s")])


class Host(Protocol):
    """What a connection tells its caller. Nothing here may wait or raise; every verb may be used in it."""

    def validated(self, status: Status) -> None:
        """The login is over and channels are being created; also after a failure, as pvxs servers go on serving."""

    def channel_created(self, channel: ClientChannel) -> None:
        """The channel can be used."""

    def channel_refused(self, channel: ClientChannel, status: Status) -> None:
        """The server does not have it, or does not want us to have it. core-pva servers say nothing instead."""

    def channel_lost(self, channel: ClientChannel) -> None:
        """The server, or the loss of the connection, ended the channel; its requests were lost before."""

    def init_done(self, request: ClientRequest | ClientMonitor) -> None:
        """The request can be executed, the subscription started."""

    def init_failed(self, request: ClientRequest | ClientMonitor, status: Status) -> None:
        """The server refuses the request, which is over."""

    def reply(self, request: ClientRequest, status: Status, value: Any) -> None:
        """An EXEC was answered.

        Args:
            value: None after a failure; else what was read (GET, PUT and PUT_GET) as a Value of which the
                sent fields are marked; RPC: a Value, a Variant for what is no structure, None for null;
                GET_FIELD: a Type; PUT and PROCESS: None.
        """

    def update(self, monitor: ClientMonitor) -> None:
        """An update came: `monitor.pop()` it."""

    def finished(self, monitor: ClientMonitor, status: Status) -> None:
        """No more updates will come. What waits can still be popped."""

    def request_lost(self, request: ClientRequest | ClientMonitor) -> None:
        """The request ended with its channel, without an answer."""

    def message(self, request: ClientRequest | ClientMonitor | None, severity: int, text: str) -> None:
        """A remark of the server for the log, severity 0 (info) to 3 (fatal); request None: of none that is alive."""

    def search_response(self, response: SearchResponse) -> None:
        """The answer to `search`; address "any" and port 0 mean this same server."""

    def dirty(self) -> None:
        """There is output; it must be sent before the loop turns much further."""


class ClientConnection:
    """The client's half of one TCP connection.

    Args:
        host: who is told.
        limits: what the server may cost us; `max_message` and the decoding limits.
        user: the account to claim where the server offers "ca"; "" logs in as anonymous.
        hostname: the name of this machine, which goes with the account.

    Attributes:
        state: READY once the server has accepted the login; see `CLIENT_CONNECTION`.
        method: how we logged in, "" before.
        order: in which we send; the server announces it.
        output: what has to be sent.
        framer: feed it what was received.
        channels: ACTIVE ones by sid.
        creating: those that the server has not answered, by cid.
        requests: all requests of all channels, by ioid.
    """

    def __init__(self, host: Host, limits: Limits, *, user: str = "", hostname: str = "") -> None:
        self.host = host
        self.limits = limits
        self.user = user
        self.hostname = hostname
        self.state = ClientConnectionState.CONNECTED
        self.method = ""
        self.order = NATIVE
        self.output = Output()
        self.out = self.output.buffers
        self.types = TypeCache(limits)
        self.channels: dict[int, ClientChannel] = {}
        self.creating: dict[int, ClientChannel] = {}
        self.requests: dict[int, ClientRequest | ClientMonitor] = {}
        self.graves: dict[int, tuple[Command, Field | None]] = {}
        self.described: deque[tuple[bytes, tuple[Type, ...]]] = deque(maxlen=DESCRIBED)
        self._next_cid = 1
        self._next_ioid = 1
        dispatch: list[Handler | None] = [None] * 256  # ACL_CHANGE, AUTHNZ and unknown commands are ignored
        dispatch[Command.CONNECTION_VALIDATION] = self._on_validation
        dispatch[Command.SEARCH_RESPONSE] = self._on_search_response
        dispatch[Command.CREATE_CHANNEL] = self._on_create_channel
        dispatch[Command.DESTROY_CHANNEL] = self._on_destroy_channel
        dispatch[Command.CONNECTION_VALIDATED] = self._on_validated
        for command, function in client_requests.TABLE.items():
            dispatch[command] = MethodType(function, self)
        self.framer = Framer(
            from_server=True,
            max_message=limits.max_message_prelogin,
            dispatch=dispatch,
            control=self._on_control,
        )

    # ---- life cycle

    def feed(self, data: bytes | memoryview, budget: int = 64) -> bool:
        """Handle what was received, at most *budget* messages of it.

        Returns:
            Whether complete messages are still waiting: call again with b"".

        Raises:
            ProtocolError: the peer broke the protocol; call `lost` and close.
        """
        return self.framer.feed(data, budget)

    def lost(self) -> None:
        """The connection is over: everything that belongs to it ends here. A second call does nothing."""
        if self.state is ClientConnectionState.CLOSED:
            return
        self.state = ClientConnectionState.CLOSED
        ended = [*self.channels.values()]
        for channel in self.creating.values():
            if channel.state is ClientChannelState.ABANDONED:
                channel.state = ClientChannelState.CLOSED
            else:
                ended.append(channel)
        self.creating.clear()
        self.channels.clear()
        self.output.clear()
        self._end_channels(ended)
        self.graves.clear()

    # ---- login

    def _on_control(self, command: int, value: int, order: Order) -> None:
        if command == Control.SET_BYTE_ORDER:
            # What decides is the order of the message itself; nobody looks at its value.
            self.order = order
        elif command == Control.ECHO_REQUEST:
            messages.write_control(self.out, self.order, False, Control.ECHO_RESPONSE, value)

    def _on_validation(self, buf: Any, start: int, end: int, order: Order) -> None:
        offer = messages.read_validation_request(self.reader(buf, start, end, order))
        if self.state is not ClientConnectionState.CONNECTED:
            raise ProtocolError("a second login on one connection")
        self.state = ClientConnectionState.VALIDATING
        item = None
        if self.user and "ca" in offer.methods:
            self.method = "ca"
            item = Value(_CREDENTIALS, {"user": self.user, "host": self.hostname})
        else:  # also where nothing is offered, or nothing that we know
            self.method = "anonymous"
        field = None if item is None else _CREDENTIALS._field
        messages.write_validation_reply(self.out, self.order, BUFFER_SIZE, REGISTRY_SIZE, 0, self.method, field, item)
        self.host.dirty()

    def _on_validated(self, buf: Any, start: int, end: int, order: Order) -> None:
        status = messages.read_validated(self.reader(buf, start, end, order))
        if self.state is not ClientConnectionState.VALIDATING:
            raise ProtocolError("a login was confirmed that nobody asked for")
        self.state = ClientConnectionState.READY
        self.framer.max_message = self.limits.max_message
        for channel in list(self.creating.values()):
            self._ask_for(channel)
        self.host.validated(status)

    def echo(self) -> None:
        """Ask the server for a sign of life."""
        messages.write_echo(self.out, self.order, False, b"")
        self.host.dirty()

    # ---- search

    def search(self, channels: Sequence[tuple[int, str]]) -> None:
        """Ask who has *channels*, given as cid and name; without any: who is there.

        Raises:
            Disconnected: unless the connection is READY.
        """
        if self.state is not ClientConnectionState.READY:
            raise Disconnected(f"the connection is {self.state.name.lower()}, not ready")
        flags = SEARCH_UNICAST if channels else SEARCH_UNICAST | SEARCH_MUST_REPLY
        protocols = ("tcp",) if channels else ()
        messages.write_search(self.out, self.order, SEARCH_SEQUENCE, flags, ANY, 0, protocols, channels)
        self.host.dirty()

    def _on_search_response(self, buf: Any, start: int, end: int, order: Order) -> None:
        self.host.search_response(messages.read_search_response(self.reader(buf, start, end, order)))

    # ---- channels

    def create_channel(self, name: str) -> ClientChannel:
        """Ask for a channel: now, or as soon as the login is done.

        Raises:
            Disconnected: the connection is over.
        """
        if self.state is ClientConnectionState.CLOSED:
            raise Disconnected("the connection is closed")
        cid = self._next_cid
        self._next_cid = cid % (NO_ID - 1) + 1
        channel = self.creating[cid] = ClientChannel(self, cid, name)
        if self.state is ClientConnectionState.READY:
            self._ask_for(channel)
        return channel

    def _ask_for(self, channel: ClientChannel) -> None:
        channel.state = ClientChannelState.CREATING
        messages.write_create_channel(self.out, self.order, [(channel.cid, channel.name)])
        self.host.dirty()

    def _on_create_channel(self, buf: Any, start: int, end: int, order: Order) -> None:
        cid, sid, status = messages.read_channel_created(self.reader(buf, start, end, order))
        channel = self.creating.get(cid)
        if channel is None:
            return
        if channel.state is ClientChannelState.WAITING:
            raise ProtocolError(f"an answer for channel {cid}, which was not asked for", offset=0)
        # spvirit refuses with a warning and sid 0.
        success = status.success and not (status.kind is StatusKind.WARNING and sid in (0, NO_ID))
        if success and sid in self.channels:
            raise ProtocolError(f"two channels with sid {sid}", offset=4)
        del self.creating[cid]
        wanted = channel.state is ClientChannelState.CREATING
        if not success:
            channel.state = ClientChannelState.CLOSED
            if wanted:
                self.host.channel_refused(channel, status)
        elif wanted:
            channel.sid = sid
            channel.state = ClientChannelState.ACTIVE
            self.channels[sid] = channel
            self.host.channel_created(channel)
        else:
            channel.state = ClientChannelState.CLOSED
            messages.write_destroy_channel(self.out, self.order, False, sid, cid)
            self.host.dirty()

    def _on_destroy_channel(self, buf: Any, start: int, end: int, order: Order) -> None:
        sid, _ = messages.read_destroy_channel(self.reader(buf, start, end, order))
        channel = self.channels.pop(sid, None)
        if channel is not None:  # an unknown one is the answer to our own DESTROY_CHANNEL
            self._end_channels([channel])

    def destroy_channel(self, channel: ClientChannel) -> None:
        """See `ClientChannel.destroy`."""
        if channel.state is ClientChannelState.ACTIVE:
            del self.channels[channel.sid]
            messages.write_destroy_channel(self.out, self.order, False, channel.sid, channel.cid)
            self.host.dirty()
            for request in self._close(channel):
                self.host.request_lost(request)
        elif channel.state is ClientChannelState.CREATING:
            channel.state = ClientChannelState.ABANDONED
        elif channel.state is ClientChannelState.WAITING:
            channel.state = ClientChannelState.CLOSED
            del self.creating[channel.cid]

    def _close(self, channel: ClientChannel) -> list[ClientRequest | ClientMonitor]:
        """Close a channel; what was alive of its requests comes back, dead."""
        channel.state = ClientChannelState.CLOSED
        ended = list(channel.requests.values())
        for request in ended:
            self.forget(request)
        return ended

    def _end_channels(self, channels: list[ClientChannel]) -> None:
        # All of them first: the host may do anything when it is told of one.
        for channel, ended in [(channel, self._close(channel)) for channel in channels]:
            for request in ended:
                self.host.request_lost(request)
            self.host.channel_lost(channel)

    # ---- requests

    def reader(self, buf: Any, start: int, end: int, order: Order) -> Reader:
        """A reader of one message's payload."""
        return Reader(buf, start, end, order, self.limits, self.types, self.framer.owned)

    def fresh_ioid(self) -> int:
        """A request id that no living request has."""
        ioid = self._next_ioid
        while ioid in self.requests:
            ioid = ioid % (NO_ID - 1) + 1
        self._next_ioid = ioid % (NO_ID - 1) + 1
        self.graves.pop(ioid, None)
        return ioid

    def destroy_request(self, request: ClientRequest | ClientMonitor) -> None:
        """See `ClientRequest.destroy`."""
        if request.ioid in request.channel.requests:
            self.forget(request)
            messages.write_destroy_request(self.out, self.order, request.sid, request.ioid)
            self.host.dirty()

    def forget(self, request: ClientRequest | ClientMonitor) -> None:
        """The request is over; late messages for its ioid are ignored."""
        self.requests.pop(request.ioid, None)
        request.channel.requests.pop(request.ioid, None)
        type_ = request.result_type
        self.graves[request.ioid] = request.command, None if type_ is None else type_._field
        if len(self.graves) > GRAVES:
            del self.graves[next(iter(self.graves))]
        if isinstance(request, ClientMonitor):
            request.state = ClientMonitorState.DEAD
        else:
            request.state = ClientRequestState.DEAD

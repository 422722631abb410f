"""A channel, seen from the client: one PV of one server, and the requests that are made of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from p4p_trio.data import Value, parse_request
from p4p_trio.errors import Disconnected
from p4p_trio.wire import NO_ID, Command, messages
from p4p_trio.wire.commands import INIT, PIPELINE

from .client_monitor import ClientMonitor
from .client_request import ClientRequest
from .tables import ClientChannelState, ClientRequestState

if TYPE_CHECKING:
    from .client_connection import ClientConnection

__all__ = ["ClientChannel"]

_EVERYTHING = parse_request("")


class ClientChannel:
    """Made by `ClientConnection.create_channel`; usable from `Host.channel_created` on.

    Each verb below sends the INIT of one request. A pvRequest of None asks for everything.

    Attributes:
        cid: our id of it (clientChannelID).
        sid: the server's (serverChannelID), once it is ACTIVE.
        name: the PV's name.
        state: see `CLIENT_CHANNEL`.
        requests: what is alive of the requests made on it, by ioid.
        context: whatever the caller attaches.
    """

    __slots__ = ("cid", "connection", "context", "name", "requests", "sid", "state")

    def __init__(self, connection: ClientConnection, cid: int, name: str) -> None:
        self.connection = connection
        self.cid = cid
        self.sid = NO_ID
        self.name = name
        self.state = ClientChannelState.WAITING
        self.requests: dict[int, ClientRequest | ClientMonitor] = {}
        self.context: Any = None

    def get(self, pv_request: Value | None = None) -> ClientRequest:
        """Ask for a request that reads.

        Raises:
            Disconnected: here as in all the others, unless the channel is ACTIVE.
        """
        return self._request(Command.GET, pv_request)

    def put(self, pv_request: Value | None = None) -> ClientRequest:
        """Ask for a request that writes, and that can read what it is about to change."""
        return self._request(Command.PUT, pv_request)

    def put_get(self, pv_request: Value | None = None) -> ClientRequest:
        """Ask for a request that writes and then reads. pvxs servers never answer."""
        return self._request(Command.PUT_GET, pv_request)

    def monitor(self, pv_request: Value | None = None) -> ClientMonitor:
        """Ask for a subscription; the pvRequest's options `pipeline`, `queueSize` and `ackAny` are obeyed here too."""
        asked = _whole(pv_request)
        monitor = ClientMonitor(self, self._fresh(), asked)
        window = monitor.limit if monitor.pipeline else None
        self._init(monitor, asked, INIT | PIPELINE if monitor.pipeline else INIT, window)
        return monitor

    def process(self, pv_request: Value | None = None) -> ClientRequest:
        """Ask for a request that makes the PV process. pvxs servers never answer."""
        return self._request(Command.PROCESS, pv_request)

    def get_field(self, path: str = "") -> ClientRequest:
        """Ask for the type of the field at *path*: `Host.reply` follows at once. pvxs servers ignore *path*."""
        request = ClientRequest(self, self._fresh(), Command.GET_FIELD)
        request.state = ClientRequestState.EXECUTING
        request.last = True
        connection = self.connection
        connection.requests[request.ioid] = self.requests[request.ioid] = request
        messages.write_get_field(connection.out, connection.order, self.sid, request.ioid, path)
        connection.host.dirty()
        return request

    def rpc(self, pv_request: Value | None = None) -> ClientRequest:
        """Ask for a request that calls."""
        return self._request(Command.RPC, pv_request)

    def destroy(self) -> None:
        """The channel is not wanted any more. Its requests are lost; later messages for it are ignored."""
        self.connection.destroy_channel(self)

    def _request(self, command: Command, pv_request: Value | None) -> ClientRequest:
        request = ClientRequest(self, self._fresh(), command)
        self._init(request, _whole(pv_request), INIT, None)
        return request

    def _init(self, request: ClientRequest | ClientMonitor, asked: Value, sub: int, window: int | None) -> None:
        connection = self.connection
        ioid = request.ioid
        connection.requests[ioid] = self.requests[ioid] = request
        messages.write_init(
            connection.out, connection.order, request.command, self.sid, ioid, sub, asked._type._field, asked, window
        )
        connection.host.dirty()

    def _fresh(self) -> int:
        if self.state is not ClientChannelState.ACTIVE:
            raise Disconnected(f"channel {self.name!r} is {self.state.name.lower()}, not active")
        return self.connection.fresh_ioid()


def _whole(pv_request: Value | None) -> Value:
    """What is sent as pvRequest: never the null type, which crashes pvAccessCPP servers."""
    if pv_request is None:
        return _EVERYTHING
    return pv_request._detached() if pv_request._offset else pv_request

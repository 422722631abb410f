"""When things may be said: the life-cycles, as tables from (state, event) to state.

The tables are the specification that the machines are tested against: a whole-table test walks every
cell and drives the real machine through it. A pair that is not in a table cannot happen or changes
nothing; which of the two, and what the client is told, stands in the machine beside the message.

Exceptions that no table shows:

* a connection that is CLOSED takes its channels and requests with it, from whatever state;
* a request's operation has a short life of its own (`Operation.alive`): CANCEL returns the request to
  IDLE at once, while the cancelled handler may still be cleaning up. Its late answer is dropped.

The tables named Client... are the other end of the same conversation. Their exceptions:

* a channel that ends takes its requests with it, from whatever state, as a connection takes its channels;
* CANCEL returns a request to IDLE at once, but some servers still answer what was cancelled: one reply
  per cancellation is dropped (`ClientRequest.strays`);
* GET_FIELD has no INIT: its request begins as EXECUTING, and its reply is its last.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

__all__ = [
    "CHANNEL",
    "CLIENT_CHANNEL",
    "CLIENT_CONNECTION",
    "CLIENT_MONITOR",
    "CLIENT_REQUEST",
    "CONNECTION",
    "MONITOR",
    "REQUEST",
    "CancelReason",
    "ChannelEvent",
    "ChannelState",
    "ClientChannelEvent",
    "ClientChannelState",
    "ClientConnectionEvent",
    "ClientConnectionState",
    "ClientMonitorEvent",
    "ClientMonitorState",
    "ClientRequestEvent",
    "ClientRequestState",
    "ConnectionEvent",
    "ConnectionState",
    "MonitorEvent",
    "MonitorState",
    "RequestEvent",
    "RequestState",
]


class CancelReason(Enum):
    """Why an operation was cancelled."""

    CANCEL = "the client cancelled the operation"
    DESTROY = "the client destroyed its request"
    CHANNEL = "the client closed the channel"
    DISCONNECT = "the client disconnected"
    PV_CLOSED = "the PV was closed"
    SERVER_STOP = "the server is stopping"
    SUPERSEDED = "superseded by a newer put"


class ConnectionState(Enum):
    """A TCP connection, seen from the server."""

    VALIDATING = auto()
    READY = auto()
    CLOSED = auto()


class ConnectionEvent(Enum):
    ACCEPTED = auto()
    REFUSED = auto()
    LOST = auto()


CONNECTION: Final = {
    (ConnectionState.VALIDATING, ConnectionEvent.ACCEPTED): ConnectionState.READY,
    (ConnectionState.VALIDATING, ConnectionEvent.REFUSED): ConnectionState.CLOSED,
    (ConnectionState.VALIDATING, ConnectionEvent.LOST): ConnectionState.CLOSED,
    (ConnectionState.READY, ConnectionEvent.LOST): ConnectionState.CLOSED,
}


class ChannelState(Enum):
    """A channel: a client's view of one PV."""

    CREATING = auto()
    ACTIVE = auto()
    CLOSED = auto()


class ChannelEvent(Enum):
    CREATED = auto()
    REFUSED = auto()
    DESTROYED = auto()


CHANNEL: Final = {
    (ChannelState.CREATING, ChannelEvent.CREATED): ChannelState.ACTIVE,
    (ChannelState.CREATING, ChannelEvent.REFUSED): ChannelState.CLOSED,
    (ChannelState.CREATING, ChannelEvent.DESTROYED): ChannelState.CLOSED,
    (ChannelState.ACTIVE, ChannelEvent.DESTROYED): ChannelState.CLOSED,
}


class RequestState(Enum):
    """A GET, PUT, PUT_GET, RPC or PROCESS request: from its INIT to its end."""

    WAITING = auto()
    IDLE = auto()
    EXECUTING = auto()
    DEAD = auto()


class RequestEvent(Enum):
    OPENED = auto()
    INIT_FAILED = auto()
    EXEC = auto()
    ANSWERED = auto()
    ANSWERED_LAST = auto()
    CANCEL = auto()
    DESTROY = auto()


REQUEST: Final = {
    (RequestState.WAITING, RequestEvent.OPENED): RequestState.IDLE,
    (RequestState.WAITING, RequestEvent.INIT_FAILED): RequestState.DEAD,
    (RequestState.WAITING, RequestEvent.CANCEL): RequestState.WAITING,
    (RequestState.WAITING, RequestEvent.DESTROY): RequestState.DEAD,
    (RequestState.IDLE, RequestEvent.EXEC): RequestState.EXECUTING,
    (RequestState.IDLE, RequestEvent.CANCEL): RequestState.IDLE,
    (RequestState.IDLE, RequestEvent.DESTROY): RequestState.DEAD,
    (RequestState.EXECUTING, RequestEvent.ANSWERED): RequestState.IDLE,
    (RequestState.EXECUTING, RequestEvent.ANSWERED_LAST): RequestState.DEAD,
    (RequestState.EXECUTING, RequestEvent.CANCEL): RequestState.IDLE,
    (RequestState.EXECUTING, RequestEvent.DESTROY): RequestState.DEAD,
}


class MonitorState(Enum):
    """A MONITOR request. STOPPED keeps its queue; a CANCEL is a STOP; a START while WAITING is obeyed after OPENED."""

    WAITING = auto()
    STOPPED = auto()
    RUNNING = auto()
    DEAD = auto()


class MonitorEvent(Enum):
    OPENED = auto()
    INIT_FAILED = auto()
    START = auto()
    STOP = auto()
    DESTROY = auto()


MONITOR: Final = {
    (MonitorState.WAITING, MonitorEvent.OPENED): MonitorState.STOPPED,
    (MonitorState.WAITING, MonitorEvent.INIT_FAILED): MonitorState.DEAD,
    (MonitorState.WAITING, MonitorEvent.START): MonitorState.WAITING,
    (MonitorState.WAITING, MonitorEvent.STOP): MonitorState.WAITING,
    (MonitorState.WAITING, MonitorEvent.DESTROY): MonitorState.DEAD,
    (MonitorState.STOPPED, MonitorEvent.START): MonitorState.RUNNING,
    (MonitorState.STOPPED, MonitorEvent.STOP): MonitorState.STOPPED,
    (MonitorState.STOPPED, MonitorEvent.DESTROY): MonitorState.DEAD,
    (MonitorState.RUNNING, MonitorEvent.START): MonitorState.RUNNING,
    (MonitorState.RUNNING, MonitorEvent.STOP): MonitorState.STOPPED,
    (MonitorState.RUNNING, MonitorEvent.DESTROY): MonitorState.DEAD,
}


class ClientConnectionState(Enum):
    """A TCP connection, seen from the client. CONNECTED: the server has not yet asked who we are."""

    CONNECTED = auto()
    VALIDATING = auto()
    READY = auto()
    CLOSED = auto()


class ClientConnectionEvent(Enum):
    ASKED = auto()
    VALIDATED = auto()
    LOST = auto()


CLIENT_CONNECTION: Final = {
    (ClientConnectionState.CONNECTED, ClientConnectionEvent.ASKED): ClientConnectionState.VALIDATING,
    (ClientConnectionState.CONNECTED, ClientConnectionEvent.LOST): ClientConnectionState.CLOSED,
    (ClientConnectionState.VALIDATING, ClientConnectionEvent.VALIDATED): ClientConnectionState.READY,
    (ClientConnectionState.VALIDATING, ClientConnectionEvent.LOST): ClientConnectionState.CLOSED,
    (ClientConnectionState.READY, ClientConnectionEvent.LOST): ClientConnectionState.CLOSED,
}


class ClientChannelState(Enum):
    """A channel, seen from the client.

    WAITING: for the login. ABANDONED: not wanted any more, but the server has still to say under which
    sid it can be destroyed.
    """

    WAITING = auto()
    CREATING = auto()
    ABANDONED = auto()
    ACTIVE = auto()
    CLOSED = auto()


class ClientChannelEvent(Enum):
    ASKED = auto()
    CREATED = auto()
    REFUSED = auto()
    DESTROY = auto()
    LOST = auto()


CLIENT_CHANNEL: Final = {
    (ClientChannelState.WAITING, ClientChannelEvent.ASKED): ClientChannelState.CREATING,
    (ClientChannelState.WAITING, ClientChannelEvent.DESTROY): ClientChannelState.CLOSED,
    (ClientChannelState.CREATING, ClientChannelEvent.CREATED): ClientChannelState.ACTIVE,
    (ClientChannelState.CREATING, ClientChannelEvent.REFUSED): ClientChannelState.CLOSED,
    (ClientChannelState.CREATING, ClientChannelEvent.DESTROY): ClientChannelState.ABANDONED,
    (ClientChannelState.ABANDONED, ClientChannelEvent.CREATED): ClientChannelState.CLOSED,
    (ClientChannelState.ABANDONED, ClientChannelEvent.REFUSED): ClientChannelState.CLOSED,
    (ClientChannelState.ABANDONED, ClientChannelEvent.DESTROY): ClientChannelState.ABANDONED,
    (ClientChannelState.ACTIVE, ClientChannelEvent.DESTROY): ClientChannelState.CLOSED,
    (ClientChannelState.ACTIVE, ClientChannelEvent.LOST): ClientChannelState.CLOSED,
}


class ClientRequestState(Enum):
    """A GET, PUT, PUT_GET, RPC, PROCESS or GET_FIELD request, from its INIT to its end."""

    CREATING = auto()
    IDLE = auto()
    EXECUTING = auto()
    DEAD = auto()


class ClientRequestEvent(Enum):
    INITED = auto()
    INIT_FAILED = auto()
    EXEC = auto()
    REPLIED = auto()
    REPLIED_LAST = auto()
    CANCEL = auto()
    DESTROY = auto()


CLIENT_REQUEST: Final = {
    (ClientRequestState.CREATING, ClientRequestEvent.INITED): ClientRequestState.IDLE,
    (ClientRequestState.CREATING, ClientRequestEvent.INIT_FAILED): ClientRequestState.DEAD,
    (ClientRequestState.CREATING, ClientRequestEvent.CANCEL): ClientRequestState.CREATING,
    (ClientRequestState.CREATING, ClientRequestEvent.DESTROY): ClientRequestState.DEAD,
    (ClientRequestState.IDLE, ClientRequestEvent.EXEC): ClientRequestState.EXECUTING,
    (ClientRequestState.IDLE, ClientRequestEvent.CANCEL): ClientRequestState.IDLE,
    (ClientRequestState.IDLE, ClientRequestEvent.DESTROY): ClientRequestState.DEAD,
    (ClientRequestState.EXECUTING, ClientRequestEvent.REPLIED): ClientRequestState.IDLE,
    (ClientRequestState.EXECUTING, ClientRequestEvent.REPLIED_LAST): ClientRequestState.DEAD,
    (ClientRequestState.EXECUTING, ClientRequestEvent.CANCEL): ClientRequestState.IDLE,
    (ClientRequestState.EXECUTING, ClientRequestEvent.DESTROY): ClientRequestState.DEAD,
}


class ClientMonitorState(Enum):
    """A subscription, seen from the client. Updates that come while it is STOPPED crossed the stop."""

    CREATING = auto()
    STOPPED = auto()
    RUNNING = auto()
    DEAD = auto()


class ClientMonitorEvent(Enum):
    INITED = auto()
    INIT_FAILED = auto()
    START = auto()
    STOP = auto()
    FINISHED = auto()
    DESTROY = auto()


CLIENT_MONITOR: Final = {
    (ClientMonitorState.CREATING, ClientMonitorEvent.INITED): ClientMonitorState.STOPPED,
    (ClientMonitorState.CREATING, ClientMonitorEvent.INIT_FAILED): ClientMonitorState.DEAD,
    (ClientMonitorState.CREATING, ClientMonitorEvent.DESTROY): ClientMonitorState.DEAD,
    (ClientMonitorState.STOPPED, ClientMonitorEvent.START): ClientMonitorState.RUNNING,
    (ClientMonitorState.STOPPED, ClientMonitorEvent.STOP): ClientMonitorState.STOPPED,
    (ClientMonitorState.STOPPED, ClientMonitorEvent.FINISHED): ClientMonitorState.DEAD,
    (ClientMonitorState.STOPPED, ClientMonitorEvent.DESTROY): ClientMonitorState.DEAD,
    (ClientMonitorState.RUNNING, ClientMonitorEvent.START): ClientMonitorState.RUNNING,
    (ClientMonitorState.RUNNING, ClientMonitorEvent.STOP): ClientMonitorState.STOPPED,
    (ClientMonitorState.RUNNING, ClientMonitorEvent.FINISHED): ClientMonitorState.DEAD,
    (ClientMonitorState.RUNNING, ClientMonitorEvent.DESTROY): ClientMonitorState.DEAD,
}

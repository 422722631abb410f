"""A channel: one client's view of one PV."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .tables import ChannelState

if TYPE_CHECKING:
    from .monitor import Monitor
    from .pv import PV
    from .request import Request
    from .server_connection import ServerConnection

__all__ = ["Channel"]


class Channel:
    """Made by CREATE_CHANNEL, ended by DESTROY_CHANNEL from either side or with its connection.

    Attributes:
        cid: the client's id of it (clientChannelID).
        sid: ours (serverChannelID); both are unique in one connection only.
        name: the PV name that the client used.
        pv: the PV behind it, once found.
        requests: the requests made on it, by ioid.
        running: handlers that run for it.
        scope, source: whatever the server hangs its running handlers and its provider on.
    """

    __slots__ = ("cid", "connection", "name", "pv", "requests", "running", "scope", "sid", "source", "state")

    def __init__(self, connection: ServerConnection, cid: int, sid: int, name: str) -> None:
        self.connection = connection
        self.cid = cid
        self.sid = sid
        self.name = name
        self.state = ChannelState.CREATING
        self.pv: PV | None = None
        self.requests: dict[int, Request | Monitor] = {}
        self.running = 0
        self.scope: Any = None
        self.source: Any = None

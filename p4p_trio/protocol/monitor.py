"""A subscription: what one client has been told, and what it has still to be told.

The policy, in the order in which it is asked:

1. not started, or stopped: an update waits in the queue (before the first START nothing is queued at
   all: the first update is the whole value of that moment);
2. a pipelined client has no window left: it waits in the queue;
3. the connection's output is full even after trying to send: it waits in the queue;
4. the queue is full, by entries or by the bytes that all queues of the connection keep alive: it is
   merged into the newest waiting update, changed bits united, overrun bits set for what changed twice.
   Nothing but the newest value survives a squash, and never an older one after it.

So an update is squashed only because the client does not take it, never because our loop has not turned.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from .tables import MonitorState

if TYPE_CHECKING:
    from p4p_trio.data import Value
    from p4p_trio.wire import Order

    from .channel import Channel
    from .pv import PV, Update

__all__ = ["Monitor"]

# Members of an Enum cost ten times as much to name as a global.
_RUNNING = MonitorState.RUNNING

QUEUED_BYTES = 4 << 20
"""What the queues of one connection may keep alive. The newest update of each is not counted: all queues share it."""


class Monitor:
    """One MONITOR request.

    Attributes:
        ioid: the client's id of the request.
        tag: the ioid and sub-command 00 as they stand in each update in the byte order `tag_order`.
        mask: the positions that it asked for.
        limit: entries that the queue may hold.
        window: updates that a pipelined client can still take; None without pipeline.
        queue: updates waiting, oldest first; None while there is none.
        weight: about how many bytes they keep alive, the newest not counted.
        size: bytes of the INIT that count against the connection.
    """

    __slots__ = (
        "channel",
        "connection",
        "fresh",
        "ioid",
        "limit",
        "mask",
        "pv",
        "pv_request",
        "queue",
        "size",
        "state",
        "tag",
        "tag_order",
        "wanted",
        "weight",
        "window",
    )

    def __init__(self, channel: Channel, pv: PV, ioid: int, pv_request: Value | None) -> None:
        self.channel = channel
        self.pv = pv
        self.connection = channel.connection
        self.ioid = ioid
        self.pv_request = pv_request
        self.tag = b""
        self.tag_order: Order | None = None
        self.mask = 0
        self.limit = 4
        self.window: int | None = None
        self.queue: deque[Update] | None = None
        self.weight = 0
        self.size = 0
        self.fresh = True
        self.wanted = False
        self.state = MonitorState.WAITING

    def pv_opened(self) -> None:
        """The PV has a value: the INIT that waited for it is answered."""
        self.connection.init_monitor(self)

    def retag(self, order: Order) -> bytes:
        """The tag, in a byte order that the connection has only just chosen."""
        self.tag_order = order
        self.tag = order.u32.pack(self.ioid) + b"\x00"
        return self.tag

    def start(self) -> None:
        """START: from now on updates may be sent."""
        if self.state is MonitorState.WAITING:
            self.wanted = True  # sent right behind the INIT, which waits for the PV to open
        if self.state is not MonitorState.STOPPED:
            return
        self.state = MonitorState.RUNNING
        if self.fresh:
            self.fresh = False
            self._accept(self.pv.whole())  # also when the mask leaves nothing of it: a client waits for it
        else:
            self.pump()
        self.pv.owner.monitor_started(self)

    def stop(self) -> None:
        """STOP (and CANCEL): the queue is kept, and goes on squashing."""
        self.wanted = False
        if self.state is not MonitorState.RUNNING:
            return
        self.state = MonitorState.STOPPED
        self.pv.owner.monitor_stopped(self)

    def acknowledge(self, n: int) -> None:
        """The client can take *n* more updates."""
        if self.window is not None:
            self.window += n
            self.pump()

    def push(self, update: Update) -> None:
        """A post happened. Called for every subscriber of every post: nothing may wait or fail here."""
        if update.mask & self.mask and not self.fresh:
            self._accept(update)

    def _accept(self, update: Update) -> None:
        if self.queue is not None:
            self.pump()
        if self.queue is None:
            if self.state is _RUNNING and self.window != 0 and self.connection.has_room():
                self.connection.send_update(self, update)
                return
            self.queue = deque((update,))
        elif len(self.queue) >= self.limit or not self._add(update):
            self.squash(update)
        self.connection.monitor_waits(self)

    def _add(self, update: Update) -> bool:
        """Queue it behind the others, if the connection may keep that much."""
        queue, connection = self.queue, self.connection
        assert queue is not None
        weight = queue[-1].weight(self.mask)
        if connection.queued_size + weight > QUEUED_BYTES:
            return False
        queue.append(update)
        self.weight += weight
        connection.queued_size += weight
        return True

    def squash(self, update: Update) -> None:
        """Merge *update* into the newest one that waits."""
        assert self.queue is not None
        self.queue[-1] = self.pv.merge(self.queue[-1], update)

    def clear(self) -> None:
        """Nothing waits any more."""
        self.queue = None
        self.connection.queued_size -= self.weight
        self.weight = 0

    def pump(self) -> None:
        """Send what waits, as far as window and socket allow."""
        queue = self.queue
        while queue and self.state is _RUNNING and self.window != 0 and self.connection.has_room():
            update = queue.popleft()
            if queue:
                weight = update.weight(self.mask)
                self.weight -= weight
                self.connection.queued_size -= weight
            self.connection.send_update(self, update)
        if queue:
            self.connection.monitor_waits(self)  # an ack or a START may come while the socket is full
        else:
            self.clear()

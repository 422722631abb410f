"""A subscription: what one client has been told, and what it has still to be told.

The policy, in the order in which it is asked:

1. not started, or stopped: an update waits in the queue (before the first START nothing is queued at
   all: the first update is the whole value of that moment);
2. a pipelined client has no window left: it waits in the queue;
3. the connection's output is full even after trying to send: it waits in the queue;
4. the queue is full: it is merged into the newest waiting update, changed bits united, overrun bits
   set for what changed twice. Nothing but the newest value survives a squash, and never an older one
   after it.

So an update is squashed only because the client does not take it, never because our loop has not turned.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from .tables import MonitorState

if TYPE_CHECKING:
    from p4p_trio.data import Value

    from .channel import Channel
    from .pv import PV, Update

__all__ = ["Monitor"]

# Members of an Enum cost ten times as much to name as a global.
_RUNNING = MonitorState.RUNNING

QUEUED_BYTES = 4 << 20
"""A queue whose updates keep more than this alive squashes, however many entries it may have."""


class Monitor:
    """One MONITOR request.

    Attributes:
        ioid: the client's id of the request.
        tag: the ioid and sub-command 00 as they stand in each update.
        mask: the positions that it asked for.
        limit: entries that the queue may hold.
        window: updates that a pipelined client can still take; None without pipeline.
        queue: updates waiting, oldest first; None while there is none.
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
        "state",
        "tag",
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
        self.mask = 0
        self.limit = 4
        self.window: int | None = None
        self.queue: deque[Update] | None = None
        self.weight = 0
        self.fresh = True
        self.state = MonitorState.WAITING

    def pv_opened(self) -> None:
        """The PV has a value: the INIT that waited for it is answered."""
        self.connection.init_monitor(self)

    def retag(self) -> None:
        """The connection's byte order is known, or changed."""
        order = self.connection.order
        self.tag = order.u32.pack(self.ioid) + b"\x00"

    def start(self) -> None:
        """START: from now on updates may be sent."""
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
            self.weight = update.weight(self.mask)
        else:
            weight = update.weight(self.mask)
            if len(self.queue) < self.limit and self.weight + weight <= QUEUED_BYTES:
                self.queue.append(update)
                self.weight += weight
            else:
                self.squash(update)
        self.connection.monitor_waits(self)

    def squash(self, update: Update) -> None:
        """Merge *update* into the newest one that waits."""
        assert self.queue is not None
        last = self.queue[-1]
        merged = self.pv.merge(last, update)
        self.queue[-1] = merged
        self.weight += merged.weight(self.mask) - last.weight(self.mask)

    def pump(self) -> None:
        """Send what waits, as far as window and socket allow."""
        queue = self.queue
        while queue and self.state is _RUNNING and self.window != 0 and self.connection.has_room():
            update = queue.popleft()
            self.weight -= update.weight(self.mask)
            self.connection.send_update(self, update)
        if not queue:
            self.queue = None
            self.weight = 0

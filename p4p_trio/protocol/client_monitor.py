"""A subscription, seen from the client: what came, and what the server may still send.

The server sends what changed; here it is laid over the last full value, so that whoever takes an update
gets the whole. Updates that are not taken wait in a queue of `limit` entries. When that is full a new one
is merged into the newest that waits: changed fields united, overrun set for what changed twice.

With `pipeline` the server counts too: it sends `limit` updates, and one more for each that it is told was
taken. We tell it when `ack_any` of them were, in a message of its own: pvAccessCPP servers do not read
on after an ack.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from p4p_trio.data import Type, Value, request_options
from p4p_trio.errors import Disconnected
from p4p_trio.wire import Codec, Command, Order, Reader, codec_for, messages
from p4p_trio.wire.commands import START, STOP

from .tables import ClientMonitorState

if TYPE_CHECKING:
    from .client_channel import ClientChannel

__all__ = ["ClientMonitor"]

_DEAD = ClientMonitorState.DEAD  # members of an Enum cost ten times as much to name as a global

QUEUE = 4
"""Entries of a queue for which no queueSize was given; pvxs has the same."""


class ClientMonitor:
    """One MONITOR request.

    Attributes:
        ioid: our id of it (requestID).
        state: see `CLIENT_MONITOR`.
        limit: updates that may wait here.
        pipeline: whether the server waits for acks.
        ack_any: updates that are taken before an ack is sent.
        type: what the updates are, once the server has described it.
        context: whatever the caller attaches.
    """

    __slots__ = (
        "_codec",
        "_queue",
        "_slots",
        "_taken",
        "ack_any",
        "channel",
        "connection",
        "context",
        "ioid",
        "limit",
        "pipeline",
        "sid",
        "state",
        "type",
    )

    command = Command.MONITOR

    def __init__(self, channel: ClientChannel, ioid: int, pv_request: Value) -> None:
        self.channel = channel
        self.connection = channel.connection
        self.sid = channel.sid
        self.ioid = ioid
        self.state = ClientMonitorState.CREATING
        options = request_options(pv_request)
        self.pipeline = str(options.get("pipeline", "")).lower() in ("true", "1", "yes")
        self.limit = _size(options.get("queueSize"), channel.connection.limits.max_monitor_queue)
        self.ack_any = _ack_any(options.get("ackAny"), self.limit)
        self.type: Type | None = None
        self.context: Any = None
        self._codec: Codec | None = None
        self._slots: list[Any] = []
        self._queue: deque[_Entry] = deque()
        self._taken = 0

    def __len__(self) -> int:
        """How many updates wait."""
        return len(self._queue)

    def __bool__(self) -> bool:
        return True

    @property
    def result_type(self) -> Type | None:
        """What updates carry: `type`, named as for a request."""
        return self.type

    def start(self) -> None:
        """Let updates come; the first is the whole value.

        Raises:
            Disconnected: the subscription has ended.
            RuntimeError: it is not initialised yet.
        """
        self._say(START, ClientMonitorState.RUNNING)

    def stop(self) -> None:
        """Let no more updates come until `start`. Raises as `start`."""
        self._say(STOP, ClientMonitorState.STOPPED)

    def pop(self) -> tuple[Value, int] | None:
        """Take the oldest update: the whole value with what changed marked, and the mask of what was overrun.

        The value is the caller's own. None where nothing waits; what waits when the subscription ends
        can still be taken, unless it was destroyed.
        """
        if not self._queue:
            return None
        entry = self._queue.popleft()
        assert self.type is not None
        # The next update is laid over the newest slots, so those are not handed out.
        slots = entry.slots.copy() if entry.slots is self._slots else entry.slots
        slots[0] = entry.mask
        value = Value._make(self.type, slots)
        if self.type._field.layout.compound:  # leaves that can be changed are shared by all updates that carry them
            value = value._detached()
        if self.pipeline and self.state is not _DEAD:
            self._taken += entry.count
            if self._taken >= self.ack_any:
                taken, self._taken = self._taken, 0
                connection = self.connection
                messages.write_ack(connection.out, connection.order, self.sid, self.ioid, taken)
                connection.host.dirty()
        return value, entry.overrun

    def destroy(self) -> None:
        """End the subscription; nothing more will be heard of it, and what waits is dropped."""
        self._queue.clear()
        self.connection.destroy_request(self)

    def opened(self, type: Type) -> None:
        """The INIT was answered."""
        self.type = type
        self._slots = type._field.layout.defaults.copy()
        self.state = ClientMonitorState.STOPPED

    def receive(self, reader: Reader, order: Order) -> None:
        """Read one update."""
        codec = self._codec
        if codec is None or codec.order is not order:
            assert self.type is not None
            codec = self._codec = codec_for(self.type._field, order)
        if len(self._queue) < self.limit:
            slots = self._slots.copy()
            mask, overrun = messages.read_update(reader, codec, slots)
            entry = _Entry(slots, mask)
            self._queue.append(entry)
            self._slots = slots
        else:  # the newest entry's slots are self._slots: nobody else has seen them yet
            entry = self._queue[-1]
            mask, overrun = messages.read_update(reader, codec, entry.slots)
            entry.overrun |= entry.mask & mask
            entry.mask |= mask
            entry.count += 1
        if overrun:
            entry.overrun |= codec.field.layout.expand(overrun)

    def _say(self, sub: int, state: ClientMonitorState) -> None:
        if self.state in (ClientMonitorState.CREATING, _DEAD):
            what = f"the subscription to {self.channel.name!r}"
            if self.state is _DEAD:
                raise Disconnected(f"{what} has ended")
            raise RuntimeError(f"{what} is not initialised yet")
        if self.state is not state:
            self.state = state
            connection = self.connection
            messages.write_simple(connection.out, connection.order, Command.MONITOR, self.sid, self.ioid, sub)
            connection.host.dirty()


class _Entry:
    """An update that waits: the whole value, what changed, what changed twice, and how many updates it was."""

    __slots__ = ("count", "mask", "overrun", "slots")

    def __init__(self, slots: list[Any], mask: int) -> None:
        self.slots = slots
        self.mask = mask
        self.overrun = 0
        self.count = 1


def _size(asked: Any, most: int | None) -> int:
    """The option queueSize. What cannot be understood is left to the server to refuse."""
    try:
        size = int(str(asked), 0)
    except ValueError:
        size = 0
    if size < 1:
        size = QUEUE
    return size if most is None else min(size, most)


def _ack_any(asked: Any, limit: int) -> int:
    """The option ackAny, a number or a percentage of the queue; half of it unless told otherwise, as pvxs."""
    text = str(asked).strip()
    try:
        n = int(float(text[:-1]) * limit / 100) if text.endswith("%") else int(text, 0)
    except (ValueError, OverflowError):
        n = limit // 2
    return max(1, min(n, limit))

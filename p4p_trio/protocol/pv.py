"""The PV core: one value, its version, and everybody who waits for the next one.

A post replaces the list of slots instead of changing it, so whoever holds an older list (an update in
a queue, a reply that is being sent) keeps seeing the value of that moment. Leaves are immutable by
agreement (`data.freeze`).

Each post makes one immutable `Update`. Its encoding is made late, when a subscriber can really send,
and once for all subscribers that asked for the same fields. Two updates that a slow subscriber could
not take are merged into a new one; equally slow subscribers of one post share that too.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Protocol

from p4p_trio.data import Type, Value, bits, freeze
from p4p_trio.wire import Buffers, Command, Order, codec_for, write_bitset

from .encoded import Encoded

if TYPE_CHECKING:
    from .channel import Channel
    from .monitor import Monitor
    from .request import Request

__all__ = ["PV", "Owner", "PVState", "Update"]

ENTRY = 256
"""Bytes that an update takes without its leaves."""
MANY = 64
"""Replies kept per version: field masks come from clients, so their number must be bounded."""


class PVState(Enum):
    """Whether there is a value."""

    CLOSED = auto()
    OPEN = auto()


_OPEN = PVState.OPEN  # members of an Enum cost ten times as much to name as a global


class Owner(Protocol):
    """What a PV core asks of the object that owns it."""

    def handles(self, command: Command) -> bool:
        """Whether there is a handler for PUT, RPC or PROCESS."""

    def channel_added(self, channel: Channel) -> None: ...
    def channel_removed(self, channel: Channel) -> None: ...
    def monitor_started(self, monitor: Monitor) -> None: ...
    def monitor_stopped(self, monitor: Monitor) -> None: ...


class Update:
    """One post, or several merged: which leaves changed, and the value at its end. Immutable.

    Attributes:
        slots: the whole value, the changed leaves among it.
        mask: the changed leaves.
        overrun: the leaves that changed more than once.
        first, last: the versions of the PV that it spans.
    """

    __slots__ = ("_encoded", "first", "last", "mask", "overrun", "pv", "slots")

    def __init__(self, pv: PV, slots: list[object], mask: int, overrun: int, first: int, last: int) -> None:
        self.pv = pv
        self.slots = slots
        self.mask = mask
        self.overrun = overrun
        self.first = first
        self.last = last
        self._encoded: dict[tuple[int, Order], Encoded] = {}

    def encoded(self, mask: int, order: Order) -> Encoded:
        """The update of a subscriber who asked for *mask*."""
        key = (mask, order)
        found = self._encoded.get(key)
        if found is None:
            out = Buffers()
            codec_for(self.pv.type._field, order, trusted=True).write_partial(out, self.slots, self.mask & mask)
            write_bitset(out.tail, order, self.overrun & mask)
            if len(self._encoded) >= MANY:
                self._encoded.clear()
            found = self._encoded[key] = Encoded(out, Command.MONITOR, order)
        return found

    def weight(self, mask: int) -> int:
        """About how many bytes it keeps alive, of the leaves in *mask* and by being there."""
        total = ENTRY + 8 * len(self.slots)
        for n in bits(self.mask & mask):
            slot = self.slots[n]
            total += getattr(slot, "nbytes", 0) or (len(slot) if isinstance(slot, str | tuple) else 8)
        return total


class PV:
    """The state that all clients of one PV share. Knows no thread, no task, no socket and no name.

    Attributes:
        type: the type of the open value; that of the last one while closed.
        slots: the current value. Never changed in place.
        assigned: the leaves that were ever given a value.
        version: counts opens and posts.
        writable: the leaves that clients may change.
        owner: whom to tell about clients, and who runs the handlers.
    """

    __slots__ = (
        "_gets",
        "_merged",
        "_sent_type",
        "_whole",
        "assigned",
        "channels",
        "monitors",
        "owner",
        "slots",
        "state",
        "type",
        "version",
        "waiting",
        "writable",
    )

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self.state = PVState.CLOSED
        self.type: Type = _NOTHING
        self.slots: list[object] = []
        self.assigned = 0
        self.writable = 0
        self.version = 0
        self.channels: dict[Channel, None] | None = None
        self.monitors: dict[Monitor, None] | None = None
        self.waiting: dict[Request | Monitor, None] | None = None
        self._gets: dict[tuple[int, Order], Encoded] | None = None
        self._merged: dict[Update, Update] | None = None
        self._whole: Update | None = None
        self._sent_type: Type | None = None

    @property
    def is_open(self) -> bool:
        return self.state is _OPEN

    def open(self, value: Value, writable: int | None = None) -> None:
        """Give the first value; requests that came before it are answered now.

        Args:
            value: a standalone Value; its marked leaves count as assigned.
            writable: the leaves that clients may change; None: all.
        """
        if self.is_open:
            raise RuntimeError("the PV is open already; post() changes its value")
        layout = value._type._field.layout
        self.type = value._type
        self._sent_type = None
        self.assigned = layout.expand(value._slots[0])
        self.writable = layout.leaves if writable is None else writable
        self.slots = value._slots.copy()
        self.slots[0] = 0
        for n in layout.compound:
            self.slots[n] = freeze(layout.fields[n], self.slots[n])
        self.state = PVState.OPEN
        self._new_version()
        waiting, self.waiting = self.waiting, None
        for request in waiting or ():
            request.pv_opened()

    def post(self, value: Value, marked: int) -> None:
        """Change the leaves *marked* to what they are in *value*, and tell every subscriber."""
        if not marked:
            return
        layout = self.type._field.layout
        slots = self.slots.copy()
        news = value._slots
        for n in bits(marked):
            slots[n] = news[n]
        for n in layout.compound:
            if marked >> n & 1:
                slots[n] = freeze(layout.fields[n], news[n])
        self.slots = slots
        self.assigned |= marked
        self._new_version()
        if self.monitors:
            update = Update(self, slots, marked, 0, self.version, self.version)
            for monitor in self.monitors:
                monitor.push(update)

    def close(self) -> None:
        """End every channel. The name stays claimed: clients come back and wait for the next open."""
        if not self.is_open:
            return
        self.state = PVState.CLOSED
        self._new_version()
        self.slots = []
        for channel in list(self.channels or ()):
            channel.connection.close_channel(channel)

    @property
    def sent_type(self) -> Type:
        """The type of what clients send: the same structure, marked as theirs."""
        if self._sent_type is None:
            self._sent_type = self.type._twin(from_client=True)
        return self._sent_type

    def served(self) -> int:
        """The leaves that a GET carries: all of a strict type, else those ever assigned."""
        return self.type._field.layout.leaves if self.type.strict else self.assigned

    def empty_unions(self) -> int:
        """The leaves that are unions and hold nothing."""
        layout = self.type._field.layout
        return sum(1 << n for n in layout.compound if layout.fields[n].code == "U" and self.slots[n] is None)

    def current(self) -> Value:
        """The whole value now, as a private copy with the assigned leaves marked."""
        value = Value._make(self.type, self.slots.copy())
        value._slots[0] = self.assigned
        return value._detached()

    def reply(self, mask: int, order: Order) -> Encoded:
        """The current value as a client gets it that asked for *mask*."""
        gets = self._gets
        if gets is None:
            gets = self._gets = {}
        found = gets.get((mask, order))
        if found is None:
            out = Buffers()
            out.tail += b"\xff"  # status OK
            codec_for(self.type._field, order, trusted=True).write_partial(out, self.slots, self.served() & mask)
            if len(gets) >= MANY:
                gets.clear()
            found = gets[mask, order] = Encoded(out, Command.GET, order)
        return found

    def whole(self) -> Update:
        """The first update of a subscription: everything that a GET carries."""
        if self._whole is None:
            self._whole = Update(self, self.slots, self.served(), 0, self.version, self.version)
        return self._whole

    def merge(self, old: Update, new: Update) -> Update:
        """*old* followed by *new*, as one update: the union of changes, the newest values."""
        if self._merged is None:
            self._merged = {}
        merged = self._merged.get(old)
        if merged is None or merged.last != new.last:
            overrun = old.overrun | new.overrun | (old.mask & new.mask)
            merged = Update(self, new.slots, old.mask | new.mask, overrun, old.first, new.last)
            self._merged[old] = merged
        return merged

    def _new_version(self) -> None:
        self.version += 1
        self._gets = None
        self._merged = None
        self._whole = None


_NOTHING = Type([])

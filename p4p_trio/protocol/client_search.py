"""A client's side of the search: which names to ask for now, in which datagrams. No socket, no clock.

All missing names of a client are in one schedule. A name is asked for at once, then after 1, 2, 3 … 30 s,
and from then on every 30 s. Names that are due together share datagrams, and no destination gets more
than `RATE` of them in any second: 10,000 missing PVs are a few datagrams per second in the long run, and the
first round of them takes five seconds. What has never been asked for goes before what is asked for again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from math import ceil
from typing import Final

from p4p_trio.config import Limits
from p4p_trio.errors import ProtocolError
from p4p_trio.wire import BIG, Buffers, Command, Order, Reader, messages
from p4p_trio.wire.commands import CONTROL, SEARCH_MUST_REPLY, SEARCH_UNICAST, SEGMENT
from p4p_trio.wire.messages import ANY, Beacon, SearchResponse
from p4p_trio.wire.order import FROM_SERVER, MAGIC

__all__ = ["POKE", "RATE", "SearchSchedule", "encode_ping", "encode_search", "read_answers"]

RATE: Final = 50
"""Datagrams in any second to one destination."""
WINDOW: Final = 1.25
"""Seconds over which they are counted: a little more, because sending takes time, too."""
POKE: Final = 30.0
"""Seconds between two pokes, at least."""
BUDGET: Final = 1400
"""Bytes of a datagram, as pvxs; a single name that is longer goes alone."""
LONGEST: Final = 30
"""Seconds between two questions, at most."""
STEP: Final = 0.25
"""Seconds that share a tick."""
SEQUENCE: Final = 0x66696E64
"""What pvxs sends. Answers are matched by cid, so it need not count."""

_OVERHEAD = 8 + 4 + 4 + 16 + 2 + 1 + 4 + 2
_MAX_MESSAGES = 16  # of one datagram
_TCP = ("tcp",)

Names = list[tuple[int, str]]


class _Wanted:
    __slots__ = ("asked", "name", "size", "tick")

    def __init__(self, name: str, tick: int | None) -> None:
        self.name = name
        self.size = 5 + len(name.encode())
        self.asked = 0
        self.tick = tick


class SearchSchedule:
    """When to ask for what.

    Args:
        phase: seconds, below `STEP`, by which this client's ticks differ from other clients'.
        rate: datagrams per second.
    """

    def __init__(self, phase: float = 0.0, rate: int = RATE) -> None:
        self._phase = phase
        self._rate = rate
        self._wanted: dict[int, _Wanted] = {}
        self._fresh: dict[int, None] = {}  # to be asked for at once
        self._ticks: dict[int, dict[int, None]] = {}
        self._sent: deque[float] = deque()
        self._poked = float("-inf")
        self._deferred = False

    def __len__(self) -> int:
        """How many names are missing."""
        return len(self._wanted)

    def __contains__(self, cid: int) -> bool:
        return cid in self._wanted

    @property
    def names(self) -> Names:
        """Everything that is missing."""
        return [(cid, wanted.name) for cid, wanted in self._wanted.items()]

    @property
    def due(self) -> float:
        """When `take` will have something; infinity: not before something is added."""
        if self._fresh:
            first = float("-inf")
        elif self._ticks:
            first = min(self._ticks) * STEP + self._phase
        else:
            return float("inf")
        if len(self._sent) >= self._rate:
            return max(first, self._sent[0] + WINDOW)
        return first

    def asked(self, cid: int) -> int:
        """How often this name was asked for since it was added."""
        wanted = self._wanted.get(cid)
        return wanted.asked if wanted is not None else 0

    def add(self, cid: int, name: str, now: float, delay: float = 0.0, asked: int = 0) -> None:
        """Look for a name, under an id that no other name has.

        Args:
            delay: seconds before it is asked for first.
            asked: begin with the pause that follows after so many questions; 0 asks now.
        """
        self.remove(cid)
        if not delay and not asked:
            self._wanted[cid] = _Wanted(name, None)
            self._fresh[cid] = None
            return
        wanted = self._wanted[cid] = _Wanted(name, None)
        wanted.asked = asked
        self._put(cid, wanted, now + max(delay, min(asked, LONGEST)))

    def remove(self, cid: int) -> int:
        """Look for it no longer; returns how often it was asked for."""
        wanted = self._wanted.pop(cid, None)
        if wanted is None:
            return 0
        if wanted.tick is None:
            self._fresh.pop(cid, None)
        else:
            self._unput(cid, wanted)
        return wanted.asked

    def poke(self, now: float, spread: float) -> None:
        """A server has appeared or changed: ask for everything once more, within *spread* seconds.

        Twice within `POKE` seconds it is put off until these are over.
        """
        waiting = [(cid, wanted) for cid, wanted in self._wanted.items() if wanted.tick is not None]
        if not waiting:
            return
        begin = now
        if now < self._poked + POKE:
            if self._deferred:
                return
            self._deferred = True
            begin = self._poked + POKE
        else:
            self._deferred = False
            self._poked = now
        for n, (cid, wanted) in enumerate(waiting, 1):
            when = begin + spread * n / len(waiting)
            assert wanted.tick is not None
            if self._tick(when) < wanted.tick:
                self._unput(cid, wanted)
                self._put(cid, wanted, when)

    def hurry_up(self) -> None:
        """Somebody wants it: ask for everything once more, now."""
        for cid, wanted in self._wanted.items():
            if wanted.tick is not None:
                self._unput(cid, wanted)
                wanted.tick = None
                self._fresh[cid] = None

    def take(self, now: float, jitter: float = 0.0) -> list[Names]:
        """What to ask now, one list of (cid, name) per datagram; each goes to all destinations.

        Args:
            jitter: the pauses that begin now are longer by this part of them, e.g. -0.1 … 0.1.
        """
        sent = self._sent
        while sent and sent[0] + WINDOW <= now:  # the same sum as in `due`
            sent.popleft()
        if self._deferred and now >= self._poked + POKE:
            self._deferred = False
            self._poked = now
        taken: list[Names] = []
        size = BUDGET + 1
        for cid in self._due(now):
            wanted = self._wanted[cid]
            if size + wanted.size > BUDGET:
                if len(sent) >= self._rate:
                    break
                sent.append(now)
                taken.append([])
                size = _OVERHEAD
            taken[-1].append((cid, wanted.name))
            size += wanted.size
            if wanted.tick is None:
                del self._fresh[cid]
            else:
                self._unput(cid, wanted)
            wanted.asked += 1
            self._put(cid, wanted, now + min(wanted.asked, LONGEST) * (1.0 + jitter))
        return taken

    def _due(self, now: float) -> Iterator[int]:
        yield from list(self._fresh)
        for tick in sorted(self._ticks):
            if tick * STEP + self._phase > now:
                return
            yield from list(self._ticks[tick])

    def _tick(self, when: float) -> int:
        # Rounding errors must not make it a whole step later.
        return ceil((when - self._phase) / STEP - 1e-6)

    def _put(self, cid: int, wanted: _Wanted, when: float) -> None:
        tick = wanted.tick = self._tick(when)
        self._ticks.setdefault(tick, {})[cid] = None

    def _unput(self, cid: int, wanted: _Wanted) -> None:
        assert wanted.tick is not None
        here = self._ticks[wanted.tick]
        del here[cid]
        if not here:
            del self._ticks[wanted.tick]


def encode_search(names: Sequence[tuple[int, str]], port: int, unicast: bool) -> bytes:
    """The datagram that asks for *names*; answers go to our UDP *port*."""
    out = Buffers()
    messages.write_search(out, BIG, SEQUENCE, SEARCH_UNICAST if unicast else 0, ANY, port, _TCP, names)
    return b"".join(out.freeze())


def encode_ping(port: int, unicast: bool) -> bytes:
    """The datagram that asks who is there; every server answers."""
    out = Buffers()
    flags = SEARCH_MUST_REPLY | (SEARCH_UNICAST if unicast else 0)
    messages.write_search(out, BIG, SEQUENCE, flags, ANY, port, (), ())
    return b"".join(out.freeze())


def read_answers(data: bytes, limits: Limits) -> Iterator[SearchResponse | Beacon]:
    """The answers and beacons in a datagram. What does not decode, and what follows it, is ignored."""
    pos, length = 0, len(data)
    for _ in range(_MAX_MESSAGES):
        if length - pos < 8:
            return
        order = Order.of_flags(data[pos + 2])
        magic, version, flags, command, size = order.header.unpack_from(data, pos)
        if magic != MAGIC or not version:
            return
        if flags & CONTROL:  # no payload: the last field is a value
            pos += 8
            continue
        start, pos = pos + 8, pos + 8 + size
        if pos > length:
            return
        if flags & SEGMENT or not flags & FROM_SERVER:
            continue
        try:
            if command == Command.SEARCH_RESPONSE:
                yield messages.read_search_response(Reader(data, start, pos, order, limits))
            elif command == Command.BEACON:
                yield messages.read_beacon(Reader(data, start, pos, order, limits))
        except ProtocolError:
            return

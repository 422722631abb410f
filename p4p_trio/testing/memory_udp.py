"""UDP in memory, and the weather that datagrams travel through."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, TypeAlias

import trio

from p4p_trio.net.transport import Address
from p4p_trio.net.udp import BATCH, Datagram

if TYPE_CHECKING:
    from .memory import MemoryNetwork

__all__ = ["MemoryUDPSocket", "Weather", "fair", "storm"]

Weather: TypeAlias = Callable[[bytes, Address, Address], Sequence[float]]
"""(data, from, to) -> the delays in seconds of all copies that arrive: () is a loss, (0, 0) a duplicate."""

_QUEUE = 4_096  # datagrams that wait at one socket; as in a kernel, the rest is dropped


def fair(_data: bytes, _source: Address, _to: Address) -> Sequence[float]:
    """Everything arrives once, at once."""
    return (0.0,)


def storm(seed: int, *, loss: float = 0.1, duplicates: float = 0.05, delay: float = 0.0) -> Weather:
    """Weather that loses and repeats datagrams with these probabilities, and delays by up to *delay* seconds.

    The same seed and the same traffic give the same weather. Delays differ, so datagrams overtake each other.
    """
    dice = random.Random(seed)

    def weather(_data: bytes, _source: Address, _to: Address) -> Sequence[float]:
        if dice.random() < loss:
            return ()
        copies = 2 if dice.random() < duplicates else 1
        return tuple(dice.uniform(0.0, delay) for _ in range(copies))

    return weather


class MemoryUDPSocket:
    """A datagram socket on one host of a memory network, as a `p4p_trio.net.udp.UDPSocket`.

    Attributes:
        dropped: datagrams that came while the queue was full.
    """

    def __init__(self, network: MemoryNetwork, address: Address, *, share: bool) -> None:
        self.network = network
        self.address = address
        self.share = share
        self.error: OSError | None = None
        self.dropped = 0
        self.groups: set[tuple[str, bool]] = set()  # (group, whether on loopback)
        self.closed = False
        self._queue: list[tuple[float, int, Datagram]] = []
        self._order = count()
        self._change = trio.lowlevel.ParkingLot()

    async def receive(self) -> list[Datagram]:
        await trio.lowlevel.checkpoint()
        while True:
            if self.closed:
                raise trio.ClosedResourceError("this socket was closed")
            found: list[Datagram] = []
            now = trio.current_time()
            while self._queue and self._queue[0][0] <= now and len(found) < BATCH:
                found.append(heappop(self._queue)[2])
            if found:
                return found
            with trio.move_on_at(self._queue[0][0] if self._queue else float("inf")):
                await self._change.park()

    def send(
        self,
        data: bytes,
        to: Address,
        *,
        source: str | None = None,
        ttl: int | None = None,
        interface: str | None = None,
    ) -> bool:
        self.error = None
        if self.closed:
            self.error = OSError("this socket was closed")
            return False
        try:
            self.network._carry(self, bytes(data), to, source, interface)
        except OSError as exc:
            self.error = exc
            return False
        return True

    def join(self, group: str, interface: str | None = None) -> None:
        self.groups.add((group, self.network._is_loopback(interface)))

    def close(self) -> None:
        self.closed = True
        self.network._forget(self)
        self._change.unpark_all()

    def deliver(self, datagram: Datagram, delay: float) -> None:
        """Put *datagram* into the queue, to be seen after *delay* seconds."""
        if len(self._queue) >= _QUEUE:
            self.dropped += 1
            return
        heappush(self._queue, (trio.current_time() + delay, next(self._order), datagram))
        self._change.unpark_all()

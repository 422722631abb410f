"""Beacons: the datagrams by which clients notice that a server has started, changed or gone.

At the start, then every 15 s ten times, then every 180 s, as pvxs and pvAccessCPP do; clients forget a server
after 360 s.
"""

from __future__ import annotations

from p4p_trio.wire.buffers import Buffers
from p4p_trio.wire.messages.udp import address16, write_beacon
from p4p_trio.wire.order import BIG

__all__ = ["Beacons"]

_FAST, _SLOW = 15.0, 180.0
_BURST = 10


class Beacons:
    """When a server's beacons go out, and what they say.

    Args:
        guid: the 12 bytes that tell this run of the server from its others.
        port: the TCP port.
        address: the TCP address; "" leaves it to the source of the datagram.

    Attributes:
        change_count: how often the list of channels changed, modulo 65,536.
    """

    def __init__(self, guid: bytes, port: int, address: str = "") -> None:
        self.change_count = 0
        self._guid = guid
        self._port = port
        self._address = address16(address)
        self._sent = 0
        self._due = float("-inf")

    def changed(self) -> None:
        """Channels were added or removed; the next beacon says so. It does not come any earlier."""
        self.change_count = (self.change_count + 1) & 0xFFFF

    @property
    def due(self) -> float:
        """When the next beacon should go out, in the time of `next`; at first: at once (minus infinity)."""
        return self._due

    def next(self, now: float) -> bytes | None:
        """The datagram for all destinations if one is due, else None. After a long sleep there is one, not many."""
        if now < self._due:
            return None
        self._due = now + (_FAST if self._sent < _BURST else _SLOW)
        out = Buffers()
        write_beacon(out, BIG, self._guid, self._sent, self.change_count, self._address, self._port)
        self._sent += 1
        return b"".join(out.freeze())

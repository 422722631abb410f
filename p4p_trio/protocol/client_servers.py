"""Which servers there are, as beacons and answers to pings tell. No socket, no clock."""

from __future__ import annotations

from typing import Final

import attrs

__all__ = ["FORGET", "MOST", "KnownServers", "ServerEvent"]

FORGET: Final = 360.0
"""Seconds without a sign of life after which a server counts as gone: two periods of its beacons."""
MOST: Final = 20_000
"""Servers that are remembered, as in pvxs."""

Address = tuple[str, int]


@attrs.frozen
class ServerEvent:
    """A server has come or gone.

    Attributes:
        online: whether it has come.
        guid: the 12 bytes that tell one run of a server from its others.
        address: numeric TCP address and port.
        protocol: "tcp" or "tls".
    """

    online: bool
    guid: bytes
    address: Address
    protocol: str = "tcp"

    def __str__(self) -> str:
        host, port = self.address
        where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        return f"{'online' if self.online else 'offline'} {where} {self.protocol} {self.guid.hex()}"


class _Known:
    __slots__ = ("change_count", "event", "heard")

    def __init__(self, event: ServerEvent, change_count: int | None, heard: float) -> None:
        self.event = event
        self.change_count = change_count
        self.heard = heard


class KnownServers:
    """A table of servers by address and protocol."""

    def __init__(self) -> None:
        self._known: dict[tuple[Address, str], _Known] = {}

    def online(self) -> list[ServerEvent]:
        """Those that are there, each as the event of its coming."""
        return [known.event for known in self._known.values()]

    def heard(
        self, guid: bytes, address: Address, protocol: str, now: float, change_count: int | None = None
    ) -> tuple[list[ServerEvent], bool]:
        """A sign of life.

        Args:
            change_count: what a beacon says of the server's list of channels; None: it was no beacon.

        Returns:
            What has changed, and whether missing names are worth another question.
        """
        key = address, protocol
        known = self._known.get(key)
        if known is not None and known.event.guid == guid:
            known.heard = now
            changed = change_count is not None and known.change_count not in (None, change_count)
            if change_count is not None:
                known.change_count = change_count
            return [], changed
        events = []
        if known is not None:
            events.append(attrs.evolve(known.event, online=False))
        elif len(self._known) >= MOST:
            return [], False
        event = ServerEvent(True, guid, address, protocol)
        self._known[key] = _Known(event, change_count, now)
        return [*events, event], True

    def expire(self, now: float) -> list[ServerEvent]:
        """Forget those that have been silent for too long."""
        gone = [key for key, known in self._known.items() if now - known.heard > FORGET]
        return [attrs.evolve(self._known.pop(key).event, online=False) for key in gone]

"""What was refused, counted for the report and logged without flooding the log."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Final

import trio

__all__ = ["Refusals"]

_log = logging.getLogger("p4p_trio.server")
PERIOD: Final = 10.0
"""Seconds during which further refusals of one peer are only counted."""
PEERS: Final = 1_024


class Refusals:
    """Counts by reason; the first of a peer is logged at once, the rest at most every ten seconds."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._logged: dict[str, tuple[float, int]] = {}

    def note(self, peer: str, text: str, kind: str = "connections closed for a peer's fault") -> None:
        """Something was refused to *peer*, an address."""
        self.counts[kind] += 1
        now = trio.current_time()
        until, quiet = self._logged.get(peer, (float("-inf"), 0))
        if now < until:
            self._logged[peer] = (until, quiet + 1)
            return
        if len(self._logged) >= PEERS:
            self._logged.clear()
        self._logged[peer] = (now + PERIOD, 0)
        more = f" (and {quiet} more refusals of {peer} that were not logged)" if quiet else ""
        _log.warning("%s%s", text, more)

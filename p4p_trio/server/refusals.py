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
LONGEST: Final = 1_000


class Refusals:
    """Counts by reason; the first of a peer and a kind is logged at once, the rest at most every ten seconds."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._logged: dict[tuple[str, str], tuple[float, int]] = {}

    def note(
        self, peer: str, text: str, kind: str = "connections closed for a peer's fault", level: int = logging.WARNING
    ) -> None:
        """Something was refused to *peer*, an address. *kind* is what is counted; *text* may contain a peer's words."""
        self.counts[kind] += 1
        now = trio.current_time()
        key = (peer, kind)
        until, quiet = self._logged.get(key, (float("-inf"), 0))
        if now < until:
            self._logged[key] = (until, quiet + 1)
            return
        if len(self._logged) >= PEERS:
            self._logged.clear()
        self._logged[key] = (now + PERIOD, 0)
        more = f" (and {quiet} more of {peer} that were not logged)" if quiet else ""
        _log.log(level, "%s%s", text if len(text) <= LONGEST else text[:LONGEST] + "...", more)

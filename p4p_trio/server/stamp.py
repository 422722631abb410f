"""Time stamps and alarms of what is posted."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final
from weakref import WeakKeyDictionary

from p4p_trio.data import Field

__all__ = ["NOW", "clock", "stamp_now", "stamp_places"]

NOW: Final[Any] = object()
"""The default of `timestamp=`: the time of the post."""

clock: Callable[[], int] = time.time_ns
"""Wall time in nanoseconds since 1970. Tests replace it; it is not the clock of time-outs."""

_places: WeakKeyDictionary[Field, tuple[int, int, int]] = WeakKeyDictionary()


def stamp_places(field: Field) -> tuple[int, int, int]:
    """Positions of the seconds and the nanoseconds of `timeStamp`, and the mask of all of it; zeros without one."""
    found = _places.get(field)
    if found is None:
        layout = field.layout
        seconds = layout.position.get("timeStamp.secondsPastEpoch", 0)
        nanoseconds = layout.position.get("timeStamp.nanoseconds", 0)
        mask = layout.subtree[layout.position["timeStamp"]] if seconds and nanoseconds else 0
        found = _places[field] = (seconds, nanoseconds, mask)
    return found


def stamp_now(slots: list[Any], seconds: int, nanoseconds: int) -> None:
    """Write the present time into *slots*, and mark it."""
    now = clock()
    slots[seconds], slots[nanoseconds] = divmod(now, 1_000_000_000)
    slots[0] |= 1 << seconds | 1 << nanoseconds

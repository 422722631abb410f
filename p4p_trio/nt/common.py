"""What the normative types share: their time and alarm structures, and how these are filled in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from typing import TypeAlias

import numpy as np

from p4p_trio.data import Type, Value

__all__ = ["Timestamp", "alarm", "annotate", "seconds_and_nanoseconds", "timeStamp"]

Timestamp: TypeAlias = "float | datetime | Sequence[int] | np.generic"
"""Seconds since 1970 UTC, a datetime (naive: local time), or (seconds, nanoseconds)."""

timeStamp = Type([("secondsPastEpoch", "l"), ("nanoseconds", "i"), ("userTag", "i")], id="time_t")
alarm = Type([("severity", "i"), ("status", "i"), ("message", "s")], id="alarm_t")


def annotate(
    value: Value, timestamp: Timestamp | None = None, severity: int | None = None, message: str | None = None
) -> Value:
    """Fills in alarm and time of *value*, which it returns; what is None stays as it is.

    Raises:
        KeyError: if the value has no such field.
    """
    if severity is not None:
        value["alarm.severity"] = severity
    if message is not None:
        value["alarm.message"] = message
    if timestamp is not None:
        seconds, nanoseconds = seconds_and_nanoseconds(timestamp)
        value["timeStamp.secondsPastEpoch"] = seconds
        value["timeStamp.nanoseconds"] = nanoseconds
    return value


def seconds_and_nanoseconds(timestamp: Timestamp) -> tuple[int, int]:
    """*timestamp* as EPICS keeps it; before 1970 the seconds are negative, the nanoseconds never.

    Whole seconds, datetimes, numpy datetimes and pairs are exact, fractions as exact as their float.

    Raises:
        TypeError: for anything that is no time.
        ValueError: for nan and infinity.
    """
    if isinstance(timestamp, datetime):
        # Not timestamp.timestamp(): as a float, today's microseconds have lost their last digits.
        return math.floor(timestamp.replace(microsecond=0).timestamp()), timestamp.microsecond * 1000
    if isinstance(timestamp, np.datetime64):
        if np.isnat(timestamp):
            raise ValueError("timestamp= must be a time, not NaT")
        return divmod(int(timestamp.astype("datetime64[ns]").astype(np.int64)), 1_000_000_000)
    if isinstance(timestamp, int | np.integer):
        return int(timestamp), 0
    if isinstance(timestamp, float | np.floating):
        if not math.isfinite(timestamp):
            raise ValueError(f"timestamp= must be a time, not {float(timestamp)}")
        seconds, fraction = divmod(float(timestamp), 1.0)
        return int(seconds), int(fraction * 1e9)
    if isinstance(timestamp, Sequence | np.ndarray) and not isinstance(timestamp, str | bytes) and len(timestamp) == 2:
        return int(timestamp[0]), int(timestamp[1])
    raise TypeError(
        f"timestamp= must be seconds since 1970, a datetime or (seconds, nanoseconds), not {timestamp!r:.80}"
    )

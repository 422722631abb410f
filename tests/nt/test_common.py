"""Alarm and time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest

from p4p_trio.data import Type
from p4p_trio.nt import alarm, timeStamp
from p4p_trio.nt.common import annotate, seconds_and_nanoseconds

T = Type([("alarm", alarm), ("timeStamp", timeStamp)])


def test_layouts() -> None:
    assert timeStamp.aspy() == ("S", "time_t", [("secondsPastEpoch", "l"), ("nanoseconds", "i"), ("userTag", "i")])
    assert alarm.aspy() == ("S", "alarm_t", [("severity", "i"), ("status", "i"), ("message", "s")])


@pytest.mark.parametrize(
    ("given", "stamp"),
    [
        (100, (100, 0)),
        (-1, (-1, 0)),
        (100.25, (100, 250_000_000)),
        (-0.5, (-1, 500_000_000)),
        (np.int64(100), (100, 0)),
        (np.float32(0.5), (0, 500_000_000)),
        (np.float64(100.5), (100, 500_000_000)),
        ((100, 5), (100, 5)),
        ([100, 5], (100, 5)),
        (np.array([100, 5]), (100, 5)),
        (np.datetime64("2024-01-02T03:04:05.123456789"), (1704164645, 123456789)),
        (np.datetime64("1969-12-31T23:59:59.5"), (-1, 500_000_000)),
        (datetime(2024, 1, 2, 3, 4, 5, 123457, tzinfo=UTC), (1704164645, 123_457_000)),
        (datetime(2024, 1, 2, 4, 4, 5, 1, tzinfo=timezone(timedelta(hours=1))), (1704164645, 1000)),
        (datetime(1969, 12, 31, 23, 59, 59, 500_000, tzinfo=UTC), (-1, 500_000_000)),
    ],
)
def test_times(given: Any, stamp: tuple[int, int]) -> None:
    assert seconds_and_nanoseconds(given) == stamp
    value = annotate(T(), timestamp=given)
    assert (value["timeStamp.secondsPastEpoch"], value["timeStamp.nanoseconds"]) == stamp
    assert value.changedSet() == {"timeStamp.secondsPastEpoch", "timeStamp.nanoseconds"}


def test_naive_datetimes_are_local() -> None:
    now = datetime.now().replace(microsecond=5)
    assert seconds_and_nanoseconds(now) == (int(now.replace(microsecond=0).timestamp()), 5000)


@pytest.mark.parametrize("thing", ["now", b"ab", object(), (1,), (1, 2, 3), {"a": 1, "b": 2}])
def test_what_is_no_time(thing: Any) -> None:
    with pytest.raises(TypeError, match="timestamp= must be seconds"):
        annotate(T(), timestamp=thing)


@pytest.mark.parametrize("thing", [float("nan"), float("inf"), np.datetime64("NaT")])
def test_times_that_never_come(thing: Any) -> None:
    with pytest.raises(ValueError, match="timestamp= must be a time"):
        annotate(T(), timestamp=thing)


def test_alarm() -> None:
    value = T()
    assert annotate(value, severity=2, message="too hot") is value
    assert (value.alarm.severity, value.alarm.message) == (2, "too hot")
    assert value.changedSet() == {"alarm.severity", "alarm.message"}
    annotate(value, severity=0, message="")
    assert (value.alarm.severity, value.alarm.message) == (0, "")


def test_a_value_without_such_fields() -> None:
    for arguments in ({"timestamp": 1}, {"severity": 1}, {"message": ""}):
        with pytest.raises(KeyError, match=r"alarm|timeStamp"):
            annotate(Type([("value", "d")])(), **arguments)  # type: ignore[arg-type]

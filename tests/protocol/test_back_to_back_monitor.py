"""Subscriptions through both machines."""

from __future__ import annotations

from typing import Any

import pytest

from p4p_trio.config import Limits
from p4p_trio.data import Type, Value, parse_request
from p4p_trio.errors import Disconnected
from p4p_trio.protocol.tables import (
    ClientMonitorState,
)
from tests.protocol.link import EVERYTHING, FIRST, POINT, FakePV, Link, fake, paths, point


def popped(link: Link, monitor: Any) -> list[tuple[float, set[str], set[str]]]:
    """What waits: the value field, what changed, what was overrun."""
    link.settle()
    found = []
    while (update := monitor.pop()) is not None:
        found.append((update[0].value, update[0].changedSet(), paths(POINT, update[1])))
    return found


def test_monitor(link: Link) -> None:
    channel = link.created("x")
    monitor = channel.monitor()
    with pytest.raises(RuntimeError, match="not initialised"):
        monitor.start()
    assert link.heard() == [("init_done", monitor.ioid)]
    fake(link).post(value=2.0)
    assert link.heard() == []
    monitor.start()
    monitor.start()
    first = {**FIRST, "value": 2.0}
    assert link.heard() == [("update", monitor.ioid, (first, EVERYTHING), 0)]
    assert fake(link).running == 1
    fake(link).post(value=3.0)
    fake(link).post(label="there")
    assert link.heard() == [
        ("update", monitor.ioid, ({**first, "value": 3.0}, {"value"}), 0),
        ("update", monitor.ioid, ({**first, "value": 3.0, "label": "there"}, {"label"}), 0),
    ]
    monitor.stop()
    monitor.stop()
    link.settle()
    assert fake(link).running == 0
    fake(link).post(value=4.0)
    fake(link).post(value=5.0)
    assert link.heard() == []
    monitor.start()
    assert [told[2][0]["value"] for told in link.heard()] == [4.0, 5.0]
    monitor.destroy()
    fake(link).post(value=6.0)
    assert link.heard() == []
    assert fake(link).running == 0
    assert not link.server.requests
    with pytest.raises(Disconnected):
        monitor.start()


def test_monitor_of_some_fields(link: Link) -> None:
    monitor = link.created("x").monitor(parse_request("field(label)"))
    link.settle()
    monitor.start()
    link.heard()
    fake(link).post(value=3.0)
    assert link.heard() == []
    fake(link).post(value=4.0, label="there")
    assert link.heard()[0][2] == ({"value": 0.0, "alarm": {"severity": 0, "message": ""}, "label": "there"}, {"label"})


def test_monitor_of_no_field(link: Link) -> None:
    monitor = link.created("x").monitor(parse_request("field(nonsense)"))
    assert link.heard() == [("init_failed", monitor.ioid, "pvRequest must select at least one field")]
    assert monitor.state is ClientMonitorState.DEAD


def test_updates_that_cross_a_stop_and_a_destroy(link: Link) -> None:
    monitor = link.created("x").monitor()
    link.settle()
    monitor.start()
    link.heard()
    fake(link).post(value=3.0)
    monitor.stop()
    assert [told[0] for told in link.heard()] == ["update"]
    monitor.start()
    link.settle()
    fake(link).post(value=4.0)
    monitor.destroy()
    assert link.heard() == []


def test_updates_that_nobody_takes(link: Link) -> None:
    link.listener.take = False
    monitor = link.created("x").monitor(parse_request("record[queueSize=3]"))
    link.settle()
    monitor.start()
    link.settle()
    for n in range(5):
        fake(link).post(value=float(n))
    fake(link).post(label="there")
    link.settle()
    assert len(monitor) == 3
    assert popped(link, monitor) == [
        (1.5, EVERYTHING, set()),
        (0.0, {"value"}, set()),
        (4.0, {"value", "label"}, {"value"}),
    ]
    fake(link).post(value=9.0)
    assert popped(link, monitor) == [(9.0, {"value"}, set())]


def test_taken_values_are_the_takers_own(link: Link) -> None:
    tagged = Type([("tags", ("aS", None, [("name", "s")])), ("n", "i")])
    holder = FakePV(Value(tagged, {"tags": [{"name": "a"}], "n": 1}))
    link = Link({"x": holder})
    link.login()
    link.listener.take = False
    monitor = link.created("x").monitor()
    link.settle()
    monitor.start()
    link.settle()
    holder.post(n=2)
    link.settle()
    update = monitor.pop()
    assert update is not None
    update[0].tags[0].name = "changed"
    update[0].n = 77
    update = monitor.pop()
    assert update is not None
    assert update[0].todict() == {"tags": [{"name": "a"}], "n": 2}
    assert update[0].changedSet() == {"n"}


def test_pipeline(link: Link) -> None:
    link.listener.take = False
    monitor = link.created("x").monitor(parse_request("record[pipeline=true,queueSize=4]"))
    link.settle()
    assert (monitor.pipeline, monitor.limit, monitor.ack_any) == (True, 4, 2)
    monitor.start()
    link.settle()
    for n in range(10):
        fake(link).post(value=float(n))
    link.settle()
    assert len(monitor) == 4  # the rest waits, and is squashed, at the server
    before = len(link.to_server)
    assert monitor.pop() is not None
    link.settle()
    assert len(link.to_server) == before
    assert monitor.pop() is not None
    link.settle()
    ack = link.to_server[before:]
    assert len(ack) == 8 + 13  # alone
    assert ack[16] == 0x80
    assert int.from_bytes(ack[17:], link.client.order.name) == 2  # type: ignore[arg-type]  # "little" or "big"
    assert len(monitor) == 4
    # Six updates and the first were taken or wait here; of the rest the last four entries squashed.
    assert [update[0] for update in popped(link, monitor)] == [1.0, 2.0, 3.0, 4.0]
    assert [(u[0], u[2]) for u in popped(link, monitor)] == [(5.0, set()), (9.0, {"value"})]


@pytest.mark.parametrize(
    ("options", "limit", "ack_any"),
    [
        ("", 4, 2),
        ("queueSize=10", 10, 5),
        ("queueSize=1", 1, 1),
        ("queueSize=0", 4, 2),
        ("queueSize=lots", 4, 2),
        ("queueSize=5000", 1024, 512),
        ("queueSize=10,ackAny=1", 10, 1),
        ("queueSize=10,ackAny=99", 10, 10),
        ("queueSize=10,ackAny=0", 10, 1),
        ("queueSize=10,ackAny=20%", 10, 2),
        ("queueSize=10,ackAny=1e999%", 10, 5),
        ("queueSize=10,ackAny=some", 10, 5),
    ],
)
def test_options_of_a_monitor(link: Link, options: str, limit: int, ack_any: int) -> None:
    monitor = link.created("x").monitor(parse_request(f"record[{options}]"))
    assert (monitor.pipeline, monitor.limit, monitor.ack_any) == (False, limit, ack_any)


def test_unlimited_queue() -> None:
    link = Link({"x": FakePV(point())}, limits=Limits(max_monitor_queue=None))
    link.login()
    monitor = link.created("x").monitor(parse_request("record[queueSize=5000]"))
    assert monitor.limit == 5000
    assert link.heard() == [("init_done", monitor.ioid)]


def test_queue_that_the_server_refuses(link: Link) -> None:
    monitor = link.created("x").monitor(parse_request("record[pipeline=true,queueSize=lots]"))
    (told,) = link.heard()
    assert told[:2] == ("init_failed", monitor.ioid)
    assert "queueSize" in told[2]


def test_queue_that_the_server_cuts(link: Link) -> None:
    monitor = link.created("x").monitor(parse_request("record[queueSize=5000]"))
    told = link.heard()
    assert told[0] == ("init_done", monitor.ioid)
    assert told[1][:3] == ("message", monitor.ioid, 1)
    assert "1024" in told[1][3]


def test_what_waits_survives_the_channel(link: Link) -> None:
    link.listener.take = False
    monitor = link.created("x").monitor(parse_request("record[pipeline=true]"))
    link.settle()
    monitor.start()
    link.settle()
    fake(link).pv.close()
    link.settle()
    assert monitor.state is ClientMonitorState.DEAD
    assert monitor.pop() is not None
    assert monitor.pop() is None

"""Every request but the subscription, through both machines."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from p4p_trio.data import Type, Value, Variant, parse_request, scalar
from p4p_trio.errors import Disconnected
from p4p_trio.protocol.tables import (
    CancelReason,
    ClientRequestState,
)
from tests.protocol.link import EVERYTHING, FIRST, POINT, FakePV, Link, fake, point

# ---- GET


def test_get(link: Link) -> None:
    channel = link.created("x")
    get = channel.get()
    with pytest.raises(RuntimeError, match="not initialised"):
        get.execute()
    assert link.heard() == [("init_done", get.ioid)]
    assert get.type == POINT
    for _ in range(2):
        get.execute()
        with pytest.raises(RuntimeError, match="executing already"):
            get.execute()
        assert link.heard() == [("reply", get.ioid, "", (FIRST, EVERYTHING))]
    fake(link).post(value=7.0)
    get.execute()
    assert link.heard() == [("reply", get.ioid, "", ({**FIRST, "value": 7.0}, EVERYTHING))]
    get.destroy()
    assert link.heard() == []
    assert not link.server.requests
    with pytest.raises(Disconnected):
        get.execute()


def test_get_of_some_fields(link: Link) -> None:
    channel = link.created("x")
    get = link.idle(channel.get(parse_request("field(alarm.severity,label)")))
    get.execute()
    # What was not asked for is what the type begins with.
    expected = {"value": 0.0, "alarm": {"severity": 2, "message": ""}, "label": "here"}
    assert link.heard() == [("reply", get.ioid, "", (expected, {"alarm.severity", "label"}))]


def test_get_of_no_field(link: Link) -> None:
    channel = link.created("x")
    get = channel.get(parse_request("field(nonsense)"))
    assert link.heard() == [("init_failed", get.ioid, "pvRequest must select at least one field")]
    assert get.state is ClientRequestState.DEAD
    assert not link.server.requests
    assert not link.client.requests


def test_last_get(link: Link) -> None:
    channel = link.created("x")
    get = link.idle(channel.get())
    get.execute(last=True)
    assert link.heard() == [("reply", get.ioid, "", (FIRST, EVERYTHING))]
    assert get.state is ClientRequestState.DEAD
    assert not link.server.requests
    assert not channel.requests


def test_get_takes_no_value(link: Link) -> None:
    get = link.idle(link.created("x").get())
    with pytest.raises(TypeError, match="GET takes no value"):
        get.execute(point())
    with pytest.raises(TypeError, match="PUT or PUT_GET can"):
        get.read()
    assert get.state is ClientRequestState.IDLE


def test_request_with_a_part_of_a_value_as_pvrequest(link: Link) -> None:
    holder = Value(
        Type([("pad", "i"), ("request", ("S", None, [("field", ("S", None, [("label", ("S", None, []))]))]))])
    )
    get = link.idle(link.created("x").get(holder.request))
    get.execute()
    assert link.heard()[0][3][1] == {"label"}


def test_init_waits_for_a_closed_pv(link: Link) -> None:
    channel = link.created("closed")
    get, put, monitor = channel.get(), channel.put(), channel.monitor()
    dropped, info = channel.get(), channel.get_field("alarm")
    rpc = channel.rpc()
    dropped.destroy()
    assert link.heard() == [("init_done", rpc.ioid)]
    fake(link, "closed").pv.open(point())
    told = link.heard()
    assert told == [
        ("init_done", get.ioid),
        ("init_done", put.ioid),
        ("init_done", monitor.ioid),
        ("reply", info.ioid, "", POINT["alarm"]),
    ]


# ---- PUT


def test_put(link: Link) -> None:
    channel = link.created("x")
    put = link.idle(channel.put())
    put.read()
    assert link.heard() == [("reply", put.ioid, "", (FIRST, EVERYTHING))]
    assert put.type is not None
    put.execute(Value(put.type, {"alarm.message": "low", "value": -1.0}))
    assert link.heard() == []
    (operation,) = link.fake.operations
    assert operation.value.changedSet() == {"value", "alarm.message"}
    assert (operation.value.value, operation.value.alarm.message) == (-1.0, "low")
    operation.acknowledge()
    operation.acknowledge()
    assert link.heard() == [("reply", put.ioid, "", None)]
    put.execute(point(label="there"))
    link.settle()
    link.fake.operations[1].notice(1, "no processing")
    link.fake.operations[1].refuse("must stay within ±10 mm")
    assert link.heard() == [
        ("message", put.ioid, 1, "no processing"),
        ("reply", put.ioid, "must stay within ±10 mm", None),
    ]
    assert put.state is ClientRequestState.IDLE


def test_put_marks_whole_structures(link: Link) -> None:
    put = link.idle(link.created("x").put())
    value = Value(POINT)
    value.mark("alarm")
    put.execute(value)
    link.settle()
    assert link.fake.operations[0].value.changedSet() == {"alarm.severity", "alarm.message"}


def test_empty_put(link: Link) -> None:
    put = link.idle(link.created("x").put())
    put.execute(Value(POINT))
    link.settle()
    link.fake.operations[0].acknowledge()
    assert link.heard() == [("reply", put.ioid, "", None)]


def test_put_of_a_part_of_a_value(link: Link) -> None:
    holder = Value(Type([("pad", "i"), ("inner", POINT)]), {"inner": {"label": "there"}})
    put = link.idle(link.created("x").put())
    put.execute(holder.inner)
    link.settle()
    assert link.fake.operations[0].value.changedSet() == {"label"}
    assert link.fake.operations[0].value.label == "there"


def test_put_of_another_type(link: Link) -> None:
    put = link.idle(link.created("x").put())
    for wrong in (None, Value(Type([("value", "d")]), {"value": 1.0})):
        with pytest.raises(TypeError, match="own type"):
            put.execute(wrong)
    assert put.state is ClientRequestState.IDLE
    with pytest.raises(TypeError, match="PUT_GET can"):
        put.read_put()


def test_put_without_a_handler(link: Link) -> None:
    put = link.idle(link.created("read-only").put())
    put.read()
    assert link.heard()[0][3] == (FIRST, EVERYTHING)
    put.execute(point(value=2.0))
    assert link.heard() == [("reply", put.ioid, "Put not supported", None)]


def test_put_of_what_must_not_be_written() -> None:
    only_value = FakePV()
    only_value.pv.open(point(), writable=1 << 1)
    link = Link({"x": only_value})
    link.login()
    put = link.idle(link.created("x").put())
    put.execute(point(value=2.0, label="no"))
    assert link.heard() == [("reply", put.ioid, "field 'label' cannot be written", None)]


def test_last_put(link: Link) -> None:
    put = link.idle(link.created("x").put())
    put.execute(point(value=2.0), last=True)
    link.settle()
    link.fake.operations[0].acknowledge()
    assert link.heard() == [("reply", put.ioid, "", None)]
    assert put.state is ClientRequestState.DEAD
    assert not link.server.requests


def test_cancelled_put(link: Link) -> None:
    put = link.idle(link.created("x").put())
    put.execute(point(value=2.0))
    link.settle()
    put.cancel()
    put.cancel()
    assert put.state is ClientRequestState.IDLE
    assert link.heard() == []
    assert link.fake.cancelled == [(link.fake.operations[0], CancelReason.CANCEL)]
    link.fake.operations[0].acknowledge()
    assert link.heard() == []
    put.execute(point(value=3.0))
    link.settle()
    link.fake.operations[1].acknowledge()
    assert link.heard() == [("reply", put.ioid, "", None)]


def test_cancel_that_crosses_its_answer(link: Link) -> None:
    put = link.idle(link.created("x").put())
    put.execute(point(value=2.0))
    link.settle()
    link.fake.operations[0].acknowledge()
    put.cancel()
    assert link.heard() == []
    assert put.strays == 0
    assert put.state is ClientRequestState.IDLE


def test_destroyed_put(link: Link) -> None:
    put = link.idle(link.created("x").put())
    put.execute(point(value=2.0))
    link.settle()
    put.destroy()
    link.settle()
    assert link.fake.cancelled == [(link.fake.operations[0], CancelReason.DESTROY)]
    link.fake.operations[0].refuse("too late")
    assert link.heard() == []


def test_destroy_that_crosses_its_answer(link: Link) -> None:
    put = link.idle(link.created("x").put())
    put.execute(point(value=2.0))
    link.settle()
    link.fake.operations[0].acknowledge()
    put.destroy()
    assert link.heard() == []


# ---- PUT_GET


def test_put_get(link: Link) -> None:
    channel = link.created("x")
    request = link.idle(channel.put_get())
    assert request.type == request.reply_type == POINT
    request.read()
    assert link.heard() == [("reply", request.ioid, "", (FIRST, EVERYTHING))]
    request.read_put()
    assert link.heard() == [("reply", request.ioid, "", (FIRST, EVERYTHING))]
    request.execute(point(value=9.0))
    link.settle()
    (operation,) = link.fake.operations
    assert operation.value.value == 9.0
    fake(link).post(value=9.0)
    operation.acknowledge()
    assert link.heard() == [("reply", request.ioid, "", ({**FIRST, "value": 9.0}, EVERYTHING))]
    request.execute(point(value=9.0), last=True)
    link.settle()
    link.fake.operations[1].acknowledge()
    assert link.heard() == [("reply", request.ioid, "", ({**FIRST, "value": 9.0}, EVERYTHING))]
    assert not link.server.requests


# ---- PROCESS, GET_FIELD, RPC


def test_process(link: Link) -> None:
    process = link.idle(link.created("x").process())
    process.execute()
    link.settle()
    link.fake.operations[0].acknowledge()
    assert link.heard() == [("reply", process.ioid, "", None)]
    refused = link.created("read-only").process()
    assert link.heard() == [("init_failed", refused.ioid, "Process not supported")]


def test_get_field(link: Link) -> None:
    channel = link.created("x")
    whole, part, leaf, wrong = (channel.get_field(path) for path in ("", "alarm", "value", "nonsense"))
    assert link.heard() == [
        ("reply", whole.ioid, "", POINT),
        ("reply", part.ioid, "", POINT["alarm"]),
        ("reply", leaf.ioid, "", Type._of(scalar("d"))),
        ("reply", wrong.ioid, "no such field 'nonsense'", None),
    ]
    assert not link.client.requests
    dropped = channel.get_field()
    dropped.cancel()
    dropped.destroy()
    assert link.heard() == []


NUMBERS = np.arange(3.0)


@pytest.mark.parametrize(
    ("argument", "received"),
    [
        (point(), point().todict()),
        (None, None),
        (Variant(scalar("i"), 5), 5),
        (Variant(scalar("s"), "text"), "text"),
    ],
)
def test_rpc_arguments(link: Link, argument: Any, received: Any) -> None:
    rpc = link.idle(link.created("x").rpc())
    rpc.execute(argument)
    link.settle()
    value = link.fake.operations[0].value
    assert (value.todict() if isinstance(value, Value) else value) == received


def test_rpc(link: Link) -> None:
    rpc = link.idle(link.created("x").rpc())
    holder = Value(Type([("pad", "i"), ("inner", POINT)]), {"inner": FIRST})
    rpc.execute(holder.inner)
    link.settle()
    assert link.fake.operations[0].value.todict() == FIRST
    link.fake.operations[0].answer(point())
    ((what, ioid, text, (contents, _)),) = link.heard()
    assert (what, ioid, text, contents) == ("reply", rpc.ioid, "", FIRST)
    rpc.execute()
    link.settle()
    link.fake.operations[1].answer(None)
    assert link.heard() == [("reply", rpc.ioid, "", None)]
    rpc.execute(last=True)
    link.settle()
    link.fake.operations[2].refuse("told to fail")
    assert link.heard() == [("reply", rpc.ioid, "told to fail", None)]
    assert not link.server.requests


def test_stopping_server(link: Link) -> None:
    channel = link.created("x")
    put = link.idle(channel.put())
    link.fake.stopping = True
    put.execute(point(value=2.0))
    get = channel.get()
    assert link.heard() == [
        ("reply", put.ioid, "server is stopping", None),
        ("init_failed", get.ioid, "server is stopping"),
    ]

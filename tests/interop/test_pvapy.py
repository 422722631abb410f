"""pvapy's client (pvAccessCPP) against our server: get, put, put-get, monitor, RPC, introspection."""

from __future__ import annotations

import pytest

from tests.interop.processes import Child, DriverError


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("?", True),
        ("B", 250),
        ("h", -3),
        ("H", 65535),
        ("i", -(2**31)),
        ("I", 2**32 - 1),
        ("l", -(2**62)),
        ("L", 2**64 - 1),
        ("f", 0.5),
        ("d", 1e300),
        ("s", "grüße"),
    ],
)
def test_put_and_get(pvapy_client: Child, code: str, value: object) -> None:
    pvapy_client.call("put", name=f"t:{code}", value=value, code=code)
    assert pvapy_client.call("get", name=f"t:{code}", request="field(value)")["value"] == value
    pvapy_client.call("put_array", name=f"t:a{code}", values=[value, value], code=code)
    assert pvapy_client.call("get", name=f"t:a{code}", request="field(value)")["value"] == [value, value]


def test_empty_array(pvapy_client: Child) -> None:
    pvapy_client.call("put_array", name="t:ad", values=[], code="d")
    assert pvapy_client.call("get", name="t:ad", request="field(value)")["value"] == []


def test_get_of_everything(pvapy_client: Child) -> None:
    got = pvapy_client.call("get", name="mailbox")
    assert {"value", "alarm", "timeStamp", "display", "control", "valueAlarm"} <= set(got)


def test_put_is_refused_with_the_handlers_text(pvapy_client: Child) -> None:
    with pytest.raises(DriverError, match="setpoint must stay within ±10 mm"):
        pvapy_client.call("put", name="refuse", value=20.0)


def test_put_get(pvapy_client: Child) -> None:
    """PUT_GET is one request: the value that is read is the one after the put."""
    assert pvapy_client.call("put_get", name="mailbox", value=6.25)["value"] == 6.25
    assert pvapy_client.call("get", name="mailbox", request="field(value)")["value"] == 6.25


def test_get_put(pvapy_client: Child) -> None:
    """The read half of PUT (sub-command 40) is answered without the handler."""
    assert pvapy_client.call("get_put", name="noput")["value"] == 1.5


def test_monitor(server: Child, pvapy_client: Child) -> None:
    server.send(do="post", name="mailbox", values=[0.25])
    pvapy_client.call("monitor", name="mailbox", tag="m")
    mark = 0
    for value in (0.25, 7.0, 8.0, 9.0):
        if value != 0.25:
            server.send(do="post", name="mailbox", values=[value])
        pvapy_client.wait_for(lambda r, v=value: r.get("value", {}).get("value") == v, since=mark)
        mark = pvapy_client.mark()
    pvapy_client.call("unsubscribe", name="mailbox")


NTURI = {"scheme": "s", "path": "s", "query": {"lhs": "d", "rhs": "d"}}


def test_rpc(pvapy_client: Child) -> None:
    content = {"scheme": "pva", "path": "adder", "query": {"lhs": 1.0, "rhs": 2.0}}
    assert pvapy_client.call("rpc", name="adder", spec=NTURI, content=content)["value"] == 3.0


def test_rpc_is_refused_with_the_handlers_text(pvapy_client: Child) -> None:
    content = {"scheme": "pva", "path": "adder", "query": {"lhs": float("inf"), "rhs": 2.0}}
    with pytest.raises(DriverError, match="lhs must be finite"):
        pvapy_client.call("rpc", name="adder", spec=NTURI, content=content)


def test_introspection(pvapy_client: Child) -> None:
    assert pvapy_client.call("introspection", name="mailbox")["value"] == "DOUBLE"

"""p4p's client against our server: refusals, RPC, monitors, PVs that come and go, discovery by UDP and TCP."""

from __future__ import annotations

import getpass
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.interop.processes import Child, DriverError, Record


def updates(client: Child, tag: str, since: int) -> list[Any]:
    return [r["value"]["value"] for r in client.since(since) if r.get("monitor") == tag and "value" in r]


def update(tag: str, value: Any) -> Callable[[Record], bool]:
    return lambda record: record.get("monitor") == tag and record.get("value", {}).get("value") == value


def disconnected(tag: str) -> Callable[[Record], bool]:
    return lambda record: record.get("monitor") == tag and record.get("event") == "Disconnected"


# -- answers of handlers


def test_put_is_refused_with_the_handlers_text(p4p_client: Child) -> None:
    p4p_client.call("put", name="refuse", value=10.0)
    with pytest.raises(DriverError) as refusal:
        p4p_client.call("put", name="refuse", value=11.0)
    assert refusal.value.kind == "RemoteError"
    assert str(refusal.value) == "setpoint must stay within ±10 mm"
    assert p4p_client.call("get", name="refuse")["value"]["value"] == 10.0


def test_a_bug_in_a_handler_is_answered(p4p_client: Child) -> None:
    with pytest.raises(DriverError, match="the handler has a bug") as answer:
        p4p_client.call("put", name="broken", value=1.0)
    assert answer.value.kind == "RemoteError"


def test_put_without_a_handler(p4p_client: Child) -> None:
    with pytest.raises(DriverError, match="Put not supported"):
        p4p_client.call("put", name="noput", value=2.0)
    assert p4p_client.call("get", name="noput")["value"]["value"] == 1.5


def test_rpc_with_nturi(p4p_client: Child) -> None:
    assert p4p_client.call("rpc", name="adder", arguments={"lhs": ["d", 1.5], "rhs": ["d", 2]})["value"] == 3.5


def test_rpc_is_refused_with_the_handlers_text(p4p_client: Child) -> None:
    with pytest.raises(DriverError, match=r"^lhs must be finite$"):
        p4p_client.call("rpc", name="adder", arguments={"lhs": ["d", float("inf")], "rhs": ["d", 2]})


def test_rpc_argument_and_result_of_any_type(p4p_client: Child) -> None:
    content = {"x": 1.5, "names": ["a", "b"], "points": [{"x": 1}, {"x": 2}]}
    spec = [["x", "d"], ["names", "as"], ["points", ["aS", None, [["x", "i"]]]]]
    assert p4p_client.call("rpc_value", name="echo", spec=spec, content=content) == content


def test_rpc_knows_the_account(p4p_client: Child) -> None:
    assert p4p_client.call("rpc", name="whoami", arguments={})["value"] == getpass.getuser()


# -- monitors


@pytest.mark.parametrize(
    "request_text", [None, "record[queueSize=4]", "record[pipeline=true,queueSize=4]", "field(value)"]
)
def test_paced_updates_all_arrive(server: Child, p4p_client: Child, request_text: str | None) -> None:
    server.send(do="post", name="mailbox", values=[-1.0])
    p4p_client.call("monitor", name="mailbox", tag="m", request=request_text)
    p4p_client.wait_for(update("m", -1.0))
    mark = p4p_client.mark()
    for number in range(20):
        server.send(do="post", name="mailbox", values=[float(number)])
        p4p_client.wait_for(update("m", float(number)), since=mark)
    assert updates(p4p_client, "m", mark) == [float(number) for number in range(20)]


@pytest.mark.parametrize("request_text", [None, "record[queueSize=2]", "record[queueSize=50]"])
def test_a_burst_is_squashed_but_its_end_arrives(server: Child, p4p_client: Child, request_text: str | None) -> None:
    p4p_client.call("monitor", name="t:d", tag="m", request=request_text)
    p4p_client.wait_for(lambda record: "value" in record)
    mark = p4p_client.mark()
    server.send(do="post", name="t:d", values=[float(number) for number in range(1, 1001)])
    p4p_client.wait_for(update("m", 1000.0), since=mark)
    got = updates(p4p_client, "m", mark)
    assert got == sorted(set(got))


def test_a_burst_through_a_pipeline_stays_in_order(server: Child, p4p_client: Child) -> None:
    """p4p's client acknowledges only every second update, so a burst's end may wait for the next post."""
    p4p_client.call("monitor", name="t:i", tag="m", request="record[pipeline=true,queueSize=4]")
    p4p_client.wait_for(lambda record: "value" in record)
    mark = p4p_client.mark()
    server.send(do="post", name="t:i", values=list(range(1, 21)))
    for number in range(100, 120):
        server.send(do="post", name="t:i", values=[number])
        time.sleep(0.02)
    p4p_client.wait_for(update("m", 119), since=mark)
    got = updates(p4p_client, "m", mark)
    assert got == sorted(set(got))


def test_a_monitor_carries_only_what_changed(server: Child, p4p_client: Child) -> None:
    p4p_client.call("put", name="partial", value={"a": 0, "b": 0}, get=False)
    p4p_client.call("monitor", name="partial", tag="m")
    first = p4p_client.wait_for(lambda record: record.get("monitor") == "m" and "value" in record)
    assert {"a", "b"} <= set(first["changed"])
    mark = p4p_client.mark()
    p4p_client.call("put", name="partial", value={"a": 7}, request="field(a)", get=False)
    second = p4p_client.wait_for(lambda record: record.get("monitor") == "m" and "value" in record, since=mark)
    assert second["changed"] == ["a"]
    assert second["value"]["a"] == 7


def test_an_unsubscribed_monitor_is_silent(server: Child, p4p_client: Child) -> None:
    p4p_client.call("monitor", name="mailbox", tag="m")
    p4p_client.wait_for(lambda record: "value" in record)
    p4p_client.call("unsubscribe", tag="m")
    p4p_client.call("get", name="mailbox")
    mark = p4p_client.mark()
    server.send(do="post", name="mailbox", values=[5.0])
    assert p4p_client.call("get", name="mailbox")["value"]["value"] == 5.0
    assert updates(p4p_client, "m", mark) == []


# -- PVs that come and go


def test_a_pv_that_opens_after_the_client_asked(server: Child, p4p_client: Child) -> None:
    get = p4p_client.start("get", name="late")
    p4p_client.call("monitor", name="late", tag="m")
    time.sleep(0.5)
    mark = p4p_client.mark()
    assert not [r for r in p4p_client.since(0) if r.get("id") == get or "value" in r]
    server.send(do="open", name="late", value=5.5)
    assert p4p_client.answer(get)["value"]["value"] == 5.5
    p4p_client.wait_for(update("m", 5.5), since=mark)
    server.send(do="close", name="late")
    p4p_client.wait_for(disconnected("m"), since=mark)


def test_a_pv_that_closes_under_its_monitors(server: Child, p4p_client: Child) -> None:
    server.send(do="open", name="late", value=1.0)
    p4p_client.call("monitor", name="late", tag="m")
    p4p_client.call("monitor", name="mailbox", tag="other")
    p4p_client.wait_for(update("m", 1.0))
    p4p_client.wait_for(lambda record: record.get("monitor") == "other" and "value" in record)
    mark = p4p_client.mark()
    server.send(do="close", name="late")
    p4p_client.wait_for(disconnected("m"), since=mark)
    server.send(do="open", name="late", value=2.0)
    p4p_client.wait_for(update("m", 2.0), since=mark, timeout=30)
    assert not any(disconnected("other")(record) for record in p4p_client.since(mark))
    server.send(do="close", name="late")


def test_a_pv_that_is_added_and_removed(server: Child, p4p_client: Child) -> None:
    get = p4p_client.start("get", name="added", timeout=30)
    time.sleep(0.2)
    server.send(do="add", name="added", value=3.0)
    assert p4p_client.answer(get, timeout=35)["value"]["value"] == 3.0
    p4p_client.call("monitor", name="added", tag="m")
    p4p_client.wait_for(update("m", 3.0))
    mark = p4p_client.mark()
    server.send(do="remove", name="added")
    p4p_client.wait_for(disconnected("m"), since=mark)
    with pytest.raises(DriverError) as answer:
        p4p_client.call("get", name="added", timeout=1.0)
    assert answer.value.kind == "TimeoutError"


# -- how the server is found


def test_udp_search_of_a_name_that_nobody_has(p4p_client: Child) -> None:
    with pytest.raises(DriverError) as answer:
        p4p_client.call("get", name="nosuch", timeout=1.0)
    assert answer.value.kind == "TimeoutError"


def test_tcp_search_through_name_servers(start_driver: Callable[..., Child], conf: dict[str, str]) -> None:
    by_tcp_only = conf | {
        "EPICS_PVA_ADDR_LIST": "",
        "EPICS_PVA_AUTO_ADDR_LIST": "NO",
        "EPICS_PVA_NAME_SERVERS": f"127.0.0.1:{conf['EPICS_PVA_SERVER_PORT']}",
    }
    client = start_driver("p4p", by_tcp_only)
    assert client.call("get", name="noput")["value"]["value"] == 1.5
    client.call("monitor", name="noput", tag="m")
    client.wait_for(update("m", 1.5))

"""spvirit's command line tools against our server: get, put, monitor, list, info."""

from __future__ import annotations

import json

import pytest

from tests.interop.peers import Spvirit
from tests.interop.processes import Child
from tests.interop.raw import RawClient


def test_put_and_get(spvirit: Spvirit) -> None:
    assert spvirit.output("spput", "mailbox", "2.5").split() == ["mailbox", "OK"]
    assert spvirit.output("spget", "mailbox").split()[-1] == "2.5"
    assert spvirit.output("spput", "mailbox=-3").split() == ["mailbox", "OK"]
    assert spvirit.output("spget", "mailbox").split()[-1] == "-3"


def test_put_by_its_minimal_flow(spvirit: Spvirit) -> None:
    assert spvirit.output("spput", "mailbox", "4.5", "--simple-flow").split() == ["mailbox", "OK"]
    assert spvirit.output("spget", "mailbox").split()[-1] == "4.5"


def test_array_and_string(spvirit: Spvirit) -> None:
    spvirit.output("spput", "t:ai", "--json", "[1,2,3]")
    assert spvirit.output("spget", "t:ai").rstrip().endswith("[1, 2, 3]")
    spvirit.output("spput", "t:s", "hello")
    assert spvirit.output("spget", "t:s").split()[-1] == "hello"


def test_get_as_json(spvirit: Spvirit) -> None:
    answer = json.loads(spvirit.output("spget", "--json", "noput"))
    assert answer["pv"] == "noput"
    assert "1.5" in answer["value"]


def test_get_of_one_field(spvirit: Spvirit) -> None:
    assert spvirit.output("spget", "-F", "value", "noput").split()[-1] == "1.5"


def test_put_is_refused_with_the_handlers_text(spvirit: Spvirit) -> None:
    refused = spvirit.run("spput", "refuse", "20")
    assert refused.returncode != 0
    assert "setpoint must stay within ±10 mm" in refused.stdout + refused.stderr


def test_a_name_that_nobody_has(spvirit: Spvirit) -> None:
    assert spvirit.run("spget", "-w", "1", "nosuch").returncode != 0


@pytest.mark.parametrize("pipeline", ["0", "4"])
def test_monitor(server: Child, spvirit: Spvirit, pipeline: str) -> None:
    server.send(do="post", name="t:i", values=[41])
    tool = spvirit.start("spmonitor", "--pipeline", pipeline, "t:i")
    try:
        mark = 0
        for value in range(41, 61):
            if value != 41:
                server.send(do="post", name="t:i", values=[value])
            tool.wait_for(lambda r, v=value: r.get("text", "").split()[-1:] == [str(v)], since=mark)
            mark = tool.mark()
    finally:
        tool.close()


def test_info(spvirit: Spvirit) -> None:
    lines = [line.strip() for line in spvirit.output("spinfo", "mailbox").splitlines()]
    assert lines[1] == "struct epics:nt/NTScalar:1.0"
    assert {"value: double", "alarm: structure", "severity: int", "secondsPastEpoch: long"} <= set(lines)


def test_info_of_a_field(spvirit: Spvirit) -> None:
    assert "int" in spvirit.output("spinfo", "-f", "alarm.severity", "mailbox")


def test_discovery_lists_the_server(spvirit: Spvirit, conf: dict[str, str]) -> None:
    assert f"127.0.0.1:{conf['EPICS_PVA_SERVER_PORT']}" in spvirit.output("splist", "-w", "1")


def test_list_of_names(spvirit: Spvirit, conf: dict[str, str]) -> None:
    names = spvirit.output("splist", "-w", "2", f"127.0.0.1:{conf['EPICS_PVA_SERVER_PORT']}").split()
    assert {"mailbox", "adder", "t:?", "t:as"} <= set(names)
    assert names == sorted(names)


def test_get_through_a_name_server(spvirit: Spvirit, conf: dict[str, str]) -> None:
    spvirit.search = ["--no-broadcast", "--name-server", f"127.0.0.1:{conf['EPICS_PVA_SERVER_PORT']}"]
    assert spvirit.output("spget", "noput").split()[-1] == "1.5"


def test_server_channel_channels(conf: dict[str, str]) -> None:
    """What `pvlist ADDRESS` asks, byte for byte: an RPC to the channel named `server`."""
    with RawClient(int(conf["EPICS_PVA_SERVER_PORT"]), "server") as client:
        reply = client.call(op="channels")
    assert b"epics:nt/NTScalarArray:1.0" in reply
    assert b"\x07mailbox" in reply


def test_server_channel_info(conf: dict[str, str]) -> None:
    with RawClient(int(conf["EPICS_PVA_SERVER_PORT"]), "server") as client:
        reply = client.call(op="info")
    for name in ("version", "implLang"):
        assert name.encode() in reply

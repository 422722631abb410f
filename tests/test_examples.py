"""Every example is started as a user starts it, used by a real client, and ended with Ctrl-C."""

from __future__ import annotations

import math
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.interop.peers import Spvirit, start_client
from tests.interop.processes import Child, DriverError, our_environment

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"

pytestmark = pytest.mark.interop


def free_udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Running:
    """An example that runs, and p4p's client that sees only it, as every program that is `started` next to it."""

    def __init__(self, name: str) -> None:
        self.conf = conf = {
            "EPICS_PVA_ADDR_LIST": "127.0.0.1",
            "EPICS_PVA_AUTO_ADDR_LIST": "NO",
            "EPICS_PVA_INTF_ADDR_LIST": "127.0.0.1",
            "EPICS_PVA_BROADCAST_PORT": str(free_udp_port()),
            "EPICS_PVA_SERVER_PORT": "5075",  # or clients would complain about the servers' 0
        }
        served = {
            "EPICS_PVAS_INTF_ADDR_LIST": "127.0.0.1",
            "EPICS_PVAS_BEACON_ADDR_LIST": "127.0.0.1",
            "EPICS_PVAS_AUTO_BEACON_ADDR_LIST": "NO",
            "EPICS_PVAS_SERVER_PORT": "0",
        }
        self.environ = our_environment(conf) | served
        self.others: list[Child] = []
        self.program = Child([sys.executable, EXAMPLES / name], environ=self.environ, name=name)
        try:
            self.client = start_client("p4p", conf)
        except BaseException:
            self.program.close()
            raise

    def close(self) -> None:
        for other in self.others:
            other.close()
        self.client.close()
        self.program.close()

    def start(self, name: str) -> Child:
        """Another example beside this one."""
        self.others.append(Child([sys.executable, EXAMPLES / name], environ=self.environ, name=name))
        return self.others[-1]

    def value(self, name: str) -> Any:
        return self.client.call("get", name=name)["value"]["value"]

    def monitor(self, name: str) -> None:
        self.client.call("monitor", name=name, tag=name)

    def update(self, name: str, wanted: Callable[[Any], bool], since: int = 0) -> Any:
        """The first update of a monitored value that is *wanted*."""
        record = self.client.wait_for(
            lambda record: record.get("monitor") == name and "value" in record and wanted(record["value"]["value"]),
            since=since,
        )
        return record["value"]

    def printed(self, text: str) -> None:
        says(self.program, text)

    def ctrl_c(self) -> None:
        ctrl_c(self.program)


def says(program: Child, text: str) -> None:
    program.wait_for(lambda record: text in record.get("text", ""))


def ctrl_c(program: Child) -> None:
    """It ends at once and cleanly: no traceback, exit code 0."""
    assert program.interrupt(timeout=3) == 0, program.transcript()
    assert program.errors == [], program.transcript()


@pytest.fixture
def run() -> Iterator[Callable[[str], Running]]:
    running: list[Running] = []

    def start(name: str) -> Running:
        running.append(Running(name))
        return running[-1]

    yield start
    for one in running:
        one.close()


def test_mailbox(run: Callable[[str], Running]) -> None:
    example = run("mailbox.py")
    assert example.value("demo:mailbox") == 0.0
    example.client.call("put", name="demo:mailbox", value=4.2)
    assert example.value("demo:mailbox") == 4.2
    example.ctrl_c()


def test_refuse(run: Callable[[str], Running]) -> None:
    example = run("refuse.py")
    example.client.call("put", name="demo:setpoint", value=-10)
    with pytest.raises(DriverError, match=r"^setpoint must stay within ±10 mm$"):
        example.client.call("put", name="demo:setpoint", value=11)
    assert example.value("demo:setpoint") == -10
    example.ctrl_c()


def test_dynamic(run: Callable[[str], Running]) -> None:
    example = run("dynamic.py")
    assert example.value("square:12") == 144
    with pytest.raises(DriverError):
        example.client.call("get", name="cube:12", timeout=1)
    example.ctrl_c()


def test_provider_tasks(run: Callable[[str], Running]) -> None:
    example = run("provider_tasks.py")
    example.monitor("demo:ticks")
    last = example.update("demo:ticks", lambda ticks: ticks % 10 == 0 and ticks > 0)
    assert last["alarm"]["severity"] == 1
    example.ctrl_c()


def test_rpc(run: Callable[[str], Running]) -> None:
    example = run("rpc.py")
    assert example.client.call("rpc", name="demo:add", arguments={"lhs": ["s", "1"], "rhs": ["s", "2"]})["value"] == 3
    with pytest.raises(DriverError, match="two numbers"):
        example.client.call("rpc", name="demo:add", arguments={"lhs": ["s", "one"], "rhs": ["s", "2"]})
    with pytest.raises(DriverError, match="two numbers"):
        example.client.call("rpc", name="demo:add", arguments={"lhs": ["d", 1]})
    example.ctrl_c()


def test_while_monitored(run: Callable[[str], Running]) -> None:
    example = run("while_monitored.py")
    assert example.value("demo:wave")["data"] == [0.0] * 64
    example.monitor("demo:wave")
    example.update("demo:wave", lambda wave: any(wave["data"]))
    example.printed("somebody watches")
    example.client.call("unsubscribe", tag="demo:wave")
    example.printed("nobody watches")
    example.ctrl_c()


def test_stop_put(run: Callable[[str], Running]) -> None:
    example = run("stop_put.py")
    example.monitor("demo:motor")
    first = example.client.start("put", name="demo:motor", value=100, timeout=30, get=False)
    example.update("demo:motor", lambda position: position > 1)
    example.client.call("put", name="demo:motor", value=0, timeout=30, get=False)
    with pytest.raises(DriverError, match="superseded"):
        example.client.answer(first)
    assert example.value("demo:motor") == 0
    example.client.start("put", name="demo:motor", value=100, timeout=30, get=False)
    mark = example.client.mark()
    example.update("demo:motor", lambda position: position > 0, since=mark)
    since = example.program.mark()
    example.client.kill()
    example.program.wait_for(lambda record: "stands at" in record.get("text", ""), since=since, timeout=1)
    example.ctrl_c()


def test_client(run: Callable[[str], Running]) -> None:
    server = run("mailbox.py")
    server.client.call("put", name="demo:mailbox", value=4)
    client = server.start("client.py")
    says(client, "demo:mailbox is 5")
    server.client.call("put", name="demo:mailbox", value=4.25)
    says(client, "demo:mailbox is 4.25")
    ctrl_c(client)
    assert server.value("demo:mailbox") == 4.25
    server.ctrl_c()


def test_gather(run: Callable[[str], Running]) -> None:
    server = run("dynamic.py")
    client = server.start("gather.py")
    assert client.wait(timeout=20) == 0, client.transcript()
    says(client, "100 squares, 328350 in all")
    says(client, "searching for 'cube:3' at 127.0.0.1:")
    assert client.errors == [], client.transcript()
    server.ctrl_c()


def test_computed(run: Callable[[str], Running]) -> None:
    example = run("computed.py")
    assert example.value("demo:watts") == 6
    example.monitor("demo:watts")
    example.client.call("put", name="demo:volts", value=24)
    example.update("demo:watts", lambda watts: watts == 12)
    example.client.call("put", name="demo:amperes", value=2)
    example.update("demo:watts", lambda watts: watts == 48)
    example.ctrl_c()


def test_demo_with_every_peer(run: Callable[[str], Running]) -> None:
    example = run("demo.py")
    pvapy = start_client("pvapy", example.conf)
    try:
        pvapy.call("put", name="demo:mailbox", value=4.25)
        assert pvapy.call("get", name="demo:mailbox")["value"] == 4.25
        pvapy.call("monitor", name="demo:counter", tag="counter")
        pvapy.wait_for(lambda record: record.get("value", {}).get("value", 0) > 5)
        uri = {"scheme": "s", "path": "s", "query": {"lhs": "d", "rhs": "d"}}
        content = {"scheme": "pva", "path": "demo:adder", "query": {"lhs": 1.0, "rhs": 2.0}}
        assert pvapy.call("rpc", name="demo:adder", spec=uri, content=content)["value"] == 3.0
    finally:
        pvapy.close()
    spvirit = Spvirit(example.conf)
    assert spvirit.output("spget", "demo:mailbox").split()[-1] == "4.25"
    spvirit.output("spput", "demo:mailbox", "4.5")
    assert example.value("demo:mailbox") == 4.5
    assert "value: long" in spvirit.output("spinfo", "demo:counter")
    monitor = spvirit.start("spmonitor", "demo:counter")
    try:
        monitor.wait_for(lambda record: "demo:counter" in record["text"])
    finally:
        monitor.close()
    example.ctrl_c()


def test_demo(run: Callable[[str], Running]) -> None:
    example = run("demo.py")
    example.printed("Ctrl-C ends it")
    for name in ("mailbox", "counter", "waveform", "slow", "adder"):
        example.printed(f"demo:{name}")

    example.client.call("put", name="demo:mailbox", value=4.2)
    assert example.value("demo:mailbox") == 4.2

    example.monitor("demo:counter")
    started = example.update("demo:counter", lambda count: count > 0)
    later = example.update("demo:counter", lambda count: count >= started["value"] + 10)
    stamps = [one["timeStamp"]["secondsPastEpoch"] + one["timeStamp"]["nanoseconds"] / 1e9 for one in (started, later)]
    assert stamps[1] == pytest.approx(time.time(), abs=5)
    assert stamps[1] - stamps[0] == pytest.approx((later["value"] - started["value"]) / 10, rel=0.5)

    wave = example.value("demo:waveform")["data"]
    assert len(wave) == 512
    assert max(wave) == pytest.approx(1, abs=0.01)
    assert math.isclose(sum(wave), 0, abs_tol=2)

    call = {"lhs": ["d", 1.5], "rhs": ["d", 2]}
    assert example.client.call("rpc", name="demo:adder", arguments=call)["value"] == 3.5

    example.monitor("demo:slow")
    example.client.call("cancelled_put", name="demo:slow", value=100, after=1.0)
    stopped = example.client.wait_for(
        lambda record: record.get("value", {}).get("alarm", {}).get("message") == "stopped on the way"
    )["value"]
    assert 0 < stopped["value"] < 100
    assert example.value("demo:slow") == stopped["value"]

    example.client.start("put", name="demo:slow", value=100, timeout=30, get=False)
    example.update("demo:slow", lambda position: position > stopped["value"])
    example.ctrl_c()  # at once, although a put runs
    example.printed("has ended")

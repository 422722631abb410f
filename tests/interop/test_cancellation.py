"""A handler is cancelled within 100 ms of the client's cancel, destroy, disconnect or kill -9; `finally` runs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import pytest

from tests.interop.peers import Spvirit
from tests.interop.processes import Child
from tests.interop.raw import RawClient

WITHIN = 0.1
# The same tests can be pointed at another server to judge the tests; only ours tells why it cancelled.
OURS = "P4P_TRIO_INTEROP_SERVER" not in os.environ


def ended(server: Child, what: str, since: int, at: float, because: str) -> None:
    record = server.event(what, phase="ended", since=since)
    assert record["t"] - at < WITHIN, f"{record['t'] - at:.3f} s"
    if OURS:
        assert record["because"] == because


@pytest.mark.parametrize("what", ["slow", "slowcall"])
def test_kill_9_of_p4p(server: Child, p4p_client: Child, what: str) -> None:
    mark = server.mark()
    if what == "slow":
        p4p_client.start("put", name="slow", value=1.0, get=False, timeout=30)
    else:
        p4p_client.start("rpc", name="slowcall", arguments={}, timeout=30)
    server.event(what, phase="started", since=mark)
    ended(server, what, mark, p4p_client.kill(), "DISCONNECT")


def test_kill_9_of_pvapy(server: Child, pvapy_client: Child) -> None:
    mark = server.mark()
    pvapy_client.start("put", name="slow", value=1.0)
    server.event("slow", phase="started", since=mark)
    ended(server, "slow", mark, pvapy_client.kill(), "DISCONNECT")


def test_kill_9_of_spput(server: Child, spvirit: Spvirit) -> None:
    mark = server.mark()
    tool = spvirit.start("spput", "slow", "1", "--simple-flow", "-w", "30")
    try:
        server.event("slow", phase="started", since=mark)
        ended(server, "slow", mark, tool.kill(), "DISCONNECT")
    finally:
        tool.close()


def test_p4p_gives_up_on_a_put(server: Child, p4p_client: Child) -> None:
    mark = server.mark()
    gave_up = p4p_client.call("cancelled_put", name="slow", value=1.0, after=0.5)["t"]
    ended(server, "slow", mark, gave_up, "DESTROY")
    assert p4p_client.call("get", name="noput")["value"]["value"] == 1.5  # the connection lives on


@pytest.mark.parametrize(
    ("how", "because"),
    [
        (RawClient.cancel_request, "CANCEL"),
        (RawClient.destroy_request, "DESTROY"),
        (RawClient.destroy_channel, "CHANNEL"),
        (RawClient.close, "DISCONNECT"),
        (RawClient.reset, "DISCONNECT"),
    ],
)
def test_each_way_of_leaving(
    server: Child, conf: dict[str, str], how: Callable[[RawClient], None], because: str
) -> None:
    client = RawClient(int(conf["EPICS_PVA_SERVER_PORT"]), "slow")
    try:
        mark = server.mark()
        client.execute_put(4.5)
        server.event("slow", phase="started", since=mark)
        before = time.monotonic()
        how(client)
        ended(server, "slow", mark, before, because)
    finally:
        client.close()


def test_pv_closed_under_its_handler(server: Child, p4p_client: Child) -> None:
    mark = server.mark()
    p4p_client.start("put", name="slow", value=1.0, get=False, timeout=2)
    server.event("slow", phase="started", since=mark)
    server.send(do="close", name="slow")
    closed = server.event("done", do="close", since=mark)["t"]
    ended(server, "slow", mark, closed, "PV_CLOSED")
    server.send(do="open", name="slow", value=0.0)

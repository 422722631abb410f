"""A network in memory on which the tools work: the same stamps, ports and output in every run."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from p4p_trio import Server
from p4p_trio.testing import MemoryNetwork
from p4p_trio.testing.fixtures import virtual_time, wall_clock  # noqa: F401  # fixtures
from tests.cli.pvs import served
from tests.cli.tool import Tools

LOOPBACK = {
    "EPICS_PVA_ADDR_LIST": "127.0.0.1",
    "EPICS_PVA_AUTO_ADDR_LIST": "NO",
    "EPICS_PVA_INTF_ADDR_LIST": "127.0.0.1",
    "EPICS_PVAS_INTF_ADDR_LIST": "127.0.0.1",
}

Serve = Callable[[], AbstractAsyncContextManager[Server]]


@pytest.fixture
def utc() -> Iterator[None]:
    """Local time is UTC."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = "UTC"
    time.tzset()
    yield
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


@pytest.fixture
def tools(
    request: pytest.FixtureRequest,
    wall_clock: object,  # noqa: F811
    utc: None,
    monkeypatch: pytest.MonkeyPatch,
) -> Tools:
    """Tools that find the servers of their own network; waiting takes no time, and stamps stand still."""
    # pytest-trio takes the clock from the test's own arguments, not from what its fixtures use.
    assert "virtual_time" in request.node._fixtureinfo.argnames, "add virtual_time to the arguments of the test"
    for key, text in LOOPBACK.items():
        monkeypatch.setenv(key, text)
    monkeypatch.setenv("LOGNAME", "operator")
    monkeypatch.setattr("p4p_trio.cli.output.clock", lambda: "2001-09-09 01:46:40.000000000")
    monkeypatch.setattr("p4p_trio.cli.listing.clock", lambda: "2001-09-09 01:46:40.000000000")
    return Tools(MemoryNetwork())


@pytest.fixture
def serve(tools: Tools) -> Serve:
    """`async with serve() as server`: the PVs of `tests/cli/pvs.py` on port 5075."""

    @asynccontextmanager
    async def make() -> AsyncIterator[Server]:
        server = Server([served()], network=tools.network)
        server.guid = bytes(range(12))
        async with server:
            yield server

    return make

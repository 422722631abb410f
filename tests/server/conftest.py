"""Servers and clients in memory, on virtual time: every test that asks for `serve` and `connect`."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from p4p_trio import Server
from p4p_trio.testing import MemoryNetwork, memory_server
from p4p_trio.testing.fixtures import virtual_time, wall_clock  # noqa: F401  # fixtures
from tests.server.wire_client import WireClient

Connect = Callable[..., Awaitable[WireClient]]


@pytest.fixture
def network(request: pytest.FixtureRequest) -> MemoryNetwork:
    # pytest-trio takes the clock from the test's own arguments, not from what its fixtures use.
    assert "virtual_time" in request.node._fixtureinfo.argnames, "add virtual_time to the arguments of the test"
    return MemoryNetwork()


@pytest.fixture
def serve(network: MemoryNetwork) -> Callable[..., Server]:
    """`async with serve({"pv": pv}) as server`: a server of these providers on the memory network."""

    def make(*providers: Any, **kwargs: Any) -> Server:
        return memory_server(providers, network, **kwargs)

    return make


@pytest.fixture
def connect(network: MemoryNetwork) -> Connect:
    """`client = await connect(server)`: a client that has logged in."""

    async def make(server: Server, **kwargs: Any) -> WireClient:
        return await WireClient.connect(network, server, **kwargs)

    async def dial(server: Server, **kwargs: Any) -> WireClient:
        return await WireClient.dial(network, server, **kwargs)

    make.dial = dial  # type: ignore[attr-defined]  # a client that has not logged in
    return make


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """What the server has logged from WARNING on, as a list of texts."""
    caplog.set_level(logging.WARNING, logger="p4p_trio")
    return lambda: [record.getMessage() for record in caplog.records if record.name.startswith("p4p_trio")]

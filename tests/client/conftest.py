"""Clients, servers and fakes in memory, on virtual time."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from p4p_trio import Server
from p4p_trio.client import Context
from p4p_trio.testing import MemoryNetwork, memory_server
from p4p_trio.testing.fixtures import virtual_time  # noqa: F401  # a fixture
from tests.client.fake_server import FakeServer


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
def client(network: MemoryNetwork) -> Callable[..., Context]:
    """`async with client(server) as context`: a client of this server, of a fake, or of who else has a conf."""

    def make(server: Any, **kwargs: Any) -> Context:
        conf = server.conf() if callable(server.conf) else server.conf
        return Context(
            conf=conf | kwargs.pop("conf", {}), useenv=False, network=kwargs.pop("network", network), **kwargs
        )

    return make


@pytest.fixture
def faked(network: MemoryNetwork, client: Callable[..., Context]) -> Callable[..., Any]:
    """`async with faked() as (context, server, nursery)`: a client, and a fake server that claims every name."""

    @asynccontextmanager
    async def make(**kwargs: Any) -> AsyncIterator[tuple[Context, FakeServer, trio.Nursery]]:
        server = FakeServer(network)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.answer_searches)
            async with client(server, **kwargs) as context:
                yield context, server, nursery
                nursery.cancel_scope.cancel()
                await trio.lowlevel.checkpoint()

    return make


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """What was logged from WARNING on, as a list of texts."""
    caplog.set_level(logging.WARNING, logger="p4p_trio")
    return lambda: [record.getMessage() for record in caplog.records if record.name.startswith("p4p_trio")]

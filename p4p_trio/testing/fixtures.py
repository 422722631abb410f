"""Fixtures for pytest with pytest-trio. In your conftest.py: `pytest_plugins = ["p4p_trio.testing.fixtures"]`.

async def test_silence(virtual_time, network):
    async with memory_server([{"demo:pv": pv}], network) as server:
        client = await network.connect("127.0.0.1", int(server.conf()["EPICS_PVA_SERVER_PORT"]))
        await trio.sleep(60)             # takes no time
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import trio.testing

from p4p_trio.testing import clocks
from p4p_trio.testing.memory import MemoryNetwork

__all__ = ["network", "virtual_time", "wall_clock"]


@pytest.fixture
def virtual_time() -> Iterator[trio.testing.MockClock]:
    """The test runs on a clock that jumps; real sockets, threads and name look-ups are refused."""
    with clocks.virtual_time() as clock:
        yield clock


@pytest.fixture
def wall_clock() -> Iterator[clocks.WallClock]:
    """Stamps come from this clock, which stands still at 1,000,000,000 s until the test sets `now`."""
    with clocks.wall_clock() as clock:
        yield clock


@pytest.fixture
def network() -> MemoryNetwork:
    """A network in memory."""
    return MemoryNetwork()

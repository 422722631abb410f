"""What tests of servers and clients need: a network in memory, time that does not pass, stamps that are known.

async def test_mailbox(virtual_time):                       # a fixture of p4p_trio.testing.fixtures
    async with memory_server([{"demo:pv": pv}], MemoryNetwork()) as server:  # no socket is opened
        ...

memory        MemoryNetwork: hosts, TCP and UDP in memory, with weather and faults on demand
servers       isolated servers, on real loopback sockets or in memory
clocks        virtual time that refuses what it cannot serve; a wall clock for time stamps
fixtures      the same for pytest; import it where you use it, it needs pytest-trio
"""

from p4p_trio.testing.clocks import WallClock, virtual_time, wall_clock
from p4p_trio.testing.memory import MemoryConnection, MemoryNetwork, MemoryTransport, fair, storm
from p4p_trio.testing.servers import isolated_server, memory_server

__all__ = [
    "MemoryConnection",
    "MemoryNetwork",
    "MemoryTransport",
    "WallClock",
    "fair",
    "isolated_server",
    "memory_server",
    "storm",
    "virtual_time",
    "wall_clock",
]

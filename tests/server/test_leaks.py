"""After a thousand clients nothing is left of them: no task, no descriptor, no object."""

from __future__ import annotations

import gc
from collections import Counter

import psutil
import pytest
import trio

from p4p_trio.net import SystemNetwork
from p4p_trio.protocol.channel import Channel
from p4p_trio.protocol.monitor import Monitor
from p4p_trio.protocol.request import Operation, Request
from p4p_trio.protocol.server_connection import ServerConnection
from p4p_trio.server.operation import ServerOperation
from p4p_trio.server.session import Session
from p4p_trio.testing import isolated_server, memory_server
from tests.server.handlers import Slow, scalar, settle
from tests.server.wire_client import WireClient

OURS = (Session, ServerConnection, Channel, Request, Monitor, Operation, ServerOperation)


def living() -> dict[str, int]:
    """How many objects of the server's own kinds there are, and of all kinds together."""
    gc.collect()
    counts = Counter(type(thing).__name__ for thing in gc.get_objects() if isinstance(thing, OURS))
    return {kind.__name__: counts[kind.__name__] for kind in OURS}


def everything() -> int:
    """How many objects there are, but for time-outs that trio has not swept up yet."""
    return sum(not isinstance(thing, tuple | trio.CancelScope) for thing in gc.get_objects())


async def one_client(network, server, how):
    client = await WireClient.connect(network, server, account="eve")
    if how == "quick":
        await client.put("quick", 1.0)
        await client.monitor("quick")
    else:
        await client.start_put(how, 1.0)
        await client.monitor("quick", "record[pipeline=true]", 0)
        await client.echo()
    client.close()


@pytest.mark.parametrize("how", ["quick", "slow", "serial", "latest"])
async def test_each_kind_of_client(virtual_time, network, how):
    slow = Slow()
    quick = scalar()
    quick.put(lambda pv, op: pv.post(op.value()))
    pvs = {"quick": quick, "slow": scalar(handler=slow)}
    pvs |= {puts: scalar(handler=slow, puts=puts) for puts in ("serial", "latest")}
    async with memory_server([pvs], network) as server:
        for _ in range(20):
            await one_client(network, server, how)
        await settle()
        slow.forget()
        before = living(), everything(), trio.lowlevel.current_statistics().tasks_living
        for _ in range(150):
            await one_client(network, server, how)
        await settle()
        slow.forget()
        after = living(), everything(), trio.lowlevel.current_statistics().tasks_living
        assert after[0] == before[0] == dict.fromkeys(before[0], 0)
        assert after[2] == before[2]
        assert after[1] - before[1] < 200
        assert len(server.running) == len(server.sessions) == len(server._addresses) == len(server._unvalidated) == 0


async def test_thousand_clients_over_sockets():
    process = psutil.Process()
    slow = Slow()
    network = SystemNetwork()
    quick = scalar()
    quick.put(lambda pv, op: pv.post(op.value()))
    async with isolated_server([{"quick": quick, "slow": scalar(handler=slow)}]) as server:

        async def some(number):
            for n in range(number):
                await one_client(network, server, "slow" if n % 10 == 0 else "quick")
            while server.report()["connections"]:  # noqa: ASYNC110  # nothing tells
                await trio.sleep(0.01)
            await settle()
            slow.forget()
            return living(), process.num_fds(), trio.lowlevel.current_statistics().tasks_living, everything()

        *before, objects_before = await some(20)
        *after, objects_after = await some(1_000)
        assert after == before
        assert objects_after - objects_before < 200

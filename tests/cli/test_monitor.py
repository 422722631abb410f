"""monitor, when the server ends the subscription, refuses it, or says what it should not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from p4p_trio.nt import NTScalar
from p4p_trio.testing import MemoryNetwork
from p4p_trio.wire import OK, Command, Status
from p4p_trio.wire.status import StatusKind
from tests.cli.tool import Printed, Tools
from tests.client.fake_server import FakePeer, FakeServer

NUMBER = NTScalar("d")


@asynccontextmanager
async def fake(network: MemoryNetwork) -> AsyncIterator[FakeServer]:
    server = FakeServer(network, port=5075, udp_port=5076)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.answer_searches)
        yield server
        nursery.cancel_scope.cancel()


async def subscribed(server: FakeServer, status: Status = OK) -> tuple[FakePeer, int]:
    peer = await server.logged_in()
    await peer.create()
    return peer, await peer.init(Command.MONITOR, NUMBER.type, status)


async def watched(tools: Tools, line: str, error: Status) -> Printed:
    """What is printed when the server sends one update, and then ends the subscription."""
    printed = []
    async with fake(tools.network) as server, trio.open_nursery() as inner:

        async def tool() -> None:
            printed.append(await tools(line))

        inner.start_soon(tool)
        peer, ioid = await subscribed(server)
        await peer.update(ioid, NUMBER.wrap(5))
        await peer.finish(ioid, error)
    return printed[0]


async def test_finished(virtual_time: object, tools: Tools) -> None:
    printed = await watched(tools, "monitor -F nt demo:pv", OK)
    assert printed.out == "demo:pv <undefined>             5\n"
    assert [line[30:] for line in printed.err.splitlines()] == [
        "demo:pv Connected to 127.0.0.1:5075",
        "demo:pv Finished",
    ]
    assert printed.code == 0


async def test_ended_with_an_error(virtual_time: object, tools: Tools) -> None:
    printed = await watched(tools, "monitor -F json -r value demo:pv", Status(StatusKind.ERROR, "on \x1b[31mfire"))
    assert printed.code == 1
    assert printed.err.splitlines() == ["p4p-trio monitor: monitor of 'demo:pv': on \\x1b[31mfire"]
    assert '"event": "finished"' not in printed.out


async def test_refused(virtual_time: object, tools: Tools) -> None:
    async with fake(tools.network) as server, trio.open_nursery() as nursery:
        printed = []

        async def tool() -> None:
            printed.append(await tools("monitor demo:pv"))

        nursery.start_soon(tool)
        await subscribed(server, Status(StatusKind.ERROR, "not today"))
    assert printed == [Printed(1, "", "p4p-trio monitor: monitor of 'demo:pv': not today\n")]

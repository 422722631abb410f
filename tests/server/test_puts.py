"""puts=: when the next put of one PV may start, across clients and across servers."""

from __future__ import annotations

import pytest
import trio

from p4p_trio import CancelReason, SharedPV
from p4p_trio.errors import ConfigError
from p4p_trio.protocol.serving import refuse_nested_put
from p4p_trio.wire import Command
from tests.server.handlers import Slow, scalar, settle

SUPERSEDED = "superseded by a newer put"


@pytest.fixture(params=["one server", "two servers"])
async def clients(request, serve, connect, pv):
    """Two clients of one PV."""
    async with serve({"pv": pv}) as one, serve({"pv": pv}) as other:
        yield [await connect(one), await connect(one if request.param == "one server" else other)]


@pytest.fixture
def handler():
    return Slow()


@pytest.fixture
def pv(handler, puts):
    return scalar(handler=handler, puts=puts)


async def answers(*puts):
    return [(await client.answer(request))[0].message for client, request in puts]


@pytest.mark.parametrize("puts", ["concurrent"])
async def test_concurrent(virtual_time, network, clients, handler):
    puts = [(client, await client.start_put("pv", float(n))) for n, client in enumerate(clients * 2)]
    await settle()
    assert sorted(handler.started) == [0.0, 1.0, 2.0, 3.0]
    handler.go()
    assert await answers(*puts) == [""] * 4


@pytest.mark.parametrize("puts", ["serial"])
class TestSerial:
    async def test_one_at_a_time_in_arrival_order(self, virtual_time, network, clients, handler):
        puts = []
        for n, client in enumerate(clients * 3):
            puts.append((client, await client.start_put("pv", float(n))))
            await settle()
        for n in range(6):
            assert handler.started == [float(i) for i in range(n + 1)]
            handler.go()
            await settle()
        assert await answers(*puts) == [""] * 6

    async def test_clean_up_counts(self, virtual_time, network, clients, handler):
        handler.clean_up = 3.0
        first, second = clients
        put = await first.start_put("pv", 1.0)
        await settle()
        await second.start_put("pv", 2.0)
        await first.cancel(put)
        await trio.sleep(2.9)
        assert handler.started == [1.0]
        await trio.sleep(0.2)
        assert handler.started == [1.0, 2.0]

    async def test_one_that_waits_is_cancelled(self, virtual_time, network, clients, handler):
        first, second = clients
        puts = [(first, await first.start_put("pv", 1.0))]
        await settle()
        cancelled = await second.start_put("pv", 2.0)
        await settle()
        puts.append((first, await first.start_put("pv", 3.0)))
        await settle()
        await second.cancel(cancelled)
        await settle()
        handler.go()
        await settle()
        handler.go()
        assert await answers(*puts) == ["", ""]
        assert handler.started == [1.0, 3.0]
        assert await second.quiet() == []
        again = await second.start_put("pv", 4.0)
        await settle()
        handler.go()
        assert await answers((second, again)) == [""]

    async def test_their_client_leaves(self, virtual_time, network, clients, handler):
        first, second = clients
        await first.start_put("pv", 1.0)
        await settle()
        await first.start_put("pv", 2.0)
        await settle()
        put = await second.start_put("pv", 3.0)
        first.close()
        await settle()
        assert handler.started == [1.0, 3.0]
        assert handler.ended == [(1.0, CancelReason.DISCONNECT)]
        handler.go()
        assert await answers((second, put)) == [""]

    async def test_close_ends_those_that_wait(self, virtual_time, network, clients, handler, pv):
        for client in clients:
            await client.start_put("pv", 1.0)
        await settle()
        pv.close()
        await settle()
        assert handler.ended == [(1.0, CancelReason.PV_CLOSED)]
        assert handler.started == [1.0]
        pv.open(0.0)
        clients[0].sids.clear()
        put = await clients[0].start_put("pv", 2.0)
        await settle()
        handler.go()
        assert await answers((clients[0], put)) == [""]

    async def test_calls_are_not_puts(self, virtual_time, network, clients, handler):
        for client in clients:
            await client.exec(await client.init(Command.RPC, "pv"))
            await client.start_put("pv", 1.0)
        await settle()
        assert sorted(handler.started) == [-1.0, -1.0, 1.0]


@pytest.mark.parametrize("puts", ["serial"])
async def test_a_put_to_itself_is_refused_before_it_is_sent(virtual_time, serve, connect, handler, puts):
    pv, other = scalar(puts=puts), scalar(puts="concurrent")
    refused = []

    async def nest(pv, op):
        for name in ("pv", "other"):
            try:
                refuse_nested_put(server.guid, name)  # what a client of ours asks before it sends
            except RuntimeError as exc:
                refused.append((op.name(), name, "from inside its own put handler" in str(exc)))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(handler.put, pv, op)

    pv.put(nest)
    other.put(nest)
    async with serve({"pv": pv, "other": other}) as server:
        client = await connect(server)
        for name in ("pv", "other"):
            await client.start_put(name, 1.0)
        await settle()
        assert refused == [("pv", "pv", True)]
    refuse_nested_put(server.guid, "pv")


@pytest.mark.parametrize("puts", ["latest"])
class TestLatest:
    async def test_the_newest_wins(self, virtual_time, network, clients, handler):
        handler.clean_up = 1.0
        puts = []
        for n, client in enumerate(clients * 2):
            puts.append((client, await client.start_put("pv", float(n))))
            await settle()
        assert await answers(*puts[:3]) == [SUPERSEDED] * 3  # at once
        assert handler.started == [0.0]
        await trio.sleep(0.9)
        assert handler.started == [0.0]  # not before the clean-up has ended
        await trio.sleep(0.2)
        assert handler.started == [0.0, 3.0]  # those between never ran
        handler.go()
        assert await answers(puts[3]) == [""]
        assert handler.ended == [(0.0, CancelReason.SUPERSEDED), (3.0, None)]

    async def test_the_one_that_waits_is_cancelled(self, virtual_time, network, clients, handler):
        handler.clean_up = 1.0
        first, second = clients
        put = await first.start_put("pv", 1.0)
        await settle()
        newer = await second.start_put("pv", 2.0)
        await settle()
        await second.cancel(newer)
        assert await answers((first, put)) == [SUPERSEDED]
        await trio.sleep(2)
        assert handler.started == [1.0]
        third = await first.start_put("pv", 3.0)
        await settle()
        handler.go()
        assert await answers((first, third)) == [""]
        assert await second.quiet() == []

    async def test_the_running_one_was_cancelled_before(self, virtual_time, network, clients, handler):
        handler.clean_up = 1.0
        first, second = clients
        put = await first.start_put("pv", 1.0)
        await settle()
        await first.destroy(put)
        await settle()
        newer = await second.start_put("pv", 2.0)
        await trio.sleep(2)
        handler.go()
        assert await answers((second, newer)) == [""]
        assert handler.ended[0] == (1.0, CancelReason.DESTROY)  # the first reason counts
        assert await first.quiet() == []

    async def test_a_client_that_leaves_takes_its_puts_along(self, virtual_time, network, clients, handler):
        handler.clean_up = 1.0
        first, second = clients
        await second.start_put("pv", 1.0)
        await settle()
        await first.start_put("pv", 2.0)
        await settle()
        first.close()
        await trio.sleep(3)
        assert handler.started == [1.0]
        put = await second.start_put("pv", 3.0)
        await settle()
        handler.go()
        assert await answers((second, put)) == [""]


async def test_many_clients_and_serial_lose_nothing(virtual_time, serve, connect):
    pv = scalar(puts="serial")
    running = 0
    done = []

    @pv.put
    async def put(pv, op):
        nonlocal running
        running += 1
        assert running == 1
        await trio.sleep(0.01)
        done.append(op.value())
        running -= 1

    async with serve({"pv": pv, "alias": pv}) as server, trio.open_nursery() as nursery:

        async def one(number):
            client = await connect(server)
            for n in range(10):
                await client.put("alias" if number % 2 else "pv", float(number * 10 + n))

        for number in range(10):
            nursery.start_soon(one, number)
    assert sorted(done) == [float(n) for n in range(100)]


def test_an_unknown_policy():
    with pytest.raises(ConfigError, match="puts must be one of concurrent, serial, latest"):
        SharedPV(puts="queue")

"""Subscriptions, against our own server and against one that does as it is told."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest
import trio

from p4p_trio import RemoteError, Server, SharedPV, Type, Value
from p4p_trio.client import Disconnected
from p4p_trio.nt import NTScalar
from p4p_trio.wire import Command, Status
from p4p_trio.wire.status import StatusKind

PAIR = Type([("x", "d"), ("y", "d")])


def pv_of(initial=0.0) -> SharedPV:
    return SharedPV(nt=NTScalar("d"), initial=initial)


async def settled() -> None:
    await trio.testing.wait_all_tasks_blocked()


async def test_updates_come_in_order(serve, client, virtual_time):
    pv = pv_of(0.0)
    async with serve({"pv": pv}) as server, client(server) as context, context.monitor("pv") as updates:
        seen = []
        async for value in updates:
            seen.append(value)
            if value == 100:
                break
            pv.post(value + 1)
        assert seen == list(range(101))
        assert updates.overrun == 0
        assert value.raw.changedSet() >= {"value"}


async def test_the_last_value_is_kept_when_nobody_takes(serve, client, virtual_time):
    pv = pv_of(0.0)
    async with serve({"pv": pv}) as server, client(server) as context, context.monitor("pv") as updates:
        assert await anext(updates) == 0.0
        for n in range(1, 21):
            pv.post(float(n))
            await settled()
        assert [await anext(updates) for _ in range(4)] == [1.0, 2.0, 3.0, 20.0]
        assert updates.overrun == 1
        with trio.move_on_after(1) as scope:
            await anext(updates)
        assert scope.cancelled_caught


@pytest.mark.parametrize("kwargs", [{"queue_size": 10}, {"request": "record[queueSize=10]"}])
async def test_the_queue_can_be_longer(serve, client, virtual_time, kwargs):
    pv = pv_of(0.0)
    async with serve({"pv": pv}) as server, client(server) as context, context.monitor("pv", **kwargs) as updates:
        await settled()
        for n in range(1, 12):
            pv.post(float(n))
            await settled()
        assert [await anext(updates) for _ in range(10)] == [*range(9), 11.0]


async def test_pipeline(serve, client, virtual_time):
    pv = pv_of(0.0)
    async with serve({"pv": pv}) as server, client(server) as context:
        async with context.monitor("pv", "record[pipeline=true,queueSize=4]") as updates:
            await settled()
            for n in range(1, 50):
                pv.post(float(n))
                await settled()
            seen = []
            while not seen or seen[-1] != 49.0:
                seen.append(await anext(updates))
            assert seen[:4] == [0.0, 1.0, 2.0, 3.0]
            for n in range(50, 60):  # and it goes on
                pv.post(float(n))
                assert await anext(updates) == n
        await settled()
        assert not context._runtime.channels["pv", None].wire.requests


async def test_the_window_of_a_pipeline_is_obeyed(faked, virtual_time):
    async with (
        faked(nt=False) as (context, server, _nursery),
        context.monitor("pv", "record[pipeline=true,queueSize=4]") as updates,
    ):
        peer = await server.logged_in()
        await peer.create()
        ioid = await peer.init(Command.MONITOR, PAIR)
        await peer.expect(Command.MONITOR)
        for n in range(4):
            await peer.update(ioid, Value(PAIR, {"x": n}))
        assert await peer.heard() == []
        assert [(await anext(updates)).x for _ in range(2)] == [0, 1]
        assert await peer.heard() == [Command.MONITOR]
        reader = await peer.expect(Command.MONITOR)
        reader.pos += 9
        assert reader.u32() == 2


async def test_every_value_is_whole_and_marked(faked, virtual_time):
    async with faked(nt=False) as (context, server, _nursery), context.monitor("pv") as updates:
        peer = await server.logged_in()
        await peer.create()
        ioid = await peer.init(Command.MONITOR, PAIR)
        await peer.update(ioid, Value(PAIR, {"x": 1, "y": 2}))
        await peer.update(ioid, Value(PAIR, {"y": 3}))
        await peer.update(ioid, Value(PAIR, {"x": 4}), overrun=1 << 1)
        first, second, third = [await anext(updates) for _ in range(3)]
        assert (first.todict(), first.changedSet()) == ({"x": 1, "y": 2}, {"x", "y"})
        assert (second.todict(), second.changedSet()) == ({"x": 1, "y": 3}, {"y"})
        assert (third.todict(), third.changedSet()) == ({"x": 4, "y": 3}, {"x"})
        assert updates.overrun == 1


async def burst(peer, ioid: int, count: int) -> None:
    """So many updates in one piece, as servers send them."""
    flush, peer.flush = peer.flush, trio.lowlevel.checkpoint
    for n in range(count):
        await peer.update(ioid, Value(PAIR, {"x": n}))
    peer.flush = flush
    await peer.flush()


async def test_a_caller_that_waits_gets_all_of_a_burst(faked, virtual_time):
    async with faked(nt=False) as (context, server, nursery), context.monitor("pv") as updates:
        peer = await server.logged_in()
        await peer.create()
        ioid = await peer.init(Command.MONITOR, PAIR)
        await burst(peer, ioid, 1_000)
        await settled()
        assert [(await anext(updates)).x for _ in range(4)] == [0, 1, 2, 999]  # nobody waited
        nursery.start_soon(burst, peer, ioid, 1_000)
        assert [(await anext(updates)).x for _ in range(1_000)] == [*range(1_000)]
        assert updates.overrun == 1


async def test_the_servers_end_ends_the_loop(faked, virtual_time):
    async with faked(nt=False) as (context, server, _nursery), context.monitor("pv") as updates:
        peer = await server.logged_in()
        await peer.create()
        ioid = await peer.init(Command.MONITOR, PAIR)
        await peer.update(ioid, Value(PAIR, {"x": 1}))
        await peer.finish(ioid)
        assert [value.x async for value in updates] == [1]
        assert [value async for value in updates] == []
    assert Command.DESTROY_REQUEST not in await peer.heard()


async def test_an_error_ends_it_loudly(faked, virtual_time):
    async with faked(nt=False) as (context, server, _nursery), context.monitor("pv") as updates:
        peer = await server.logged_in()
        await peer.create()
        ioid = await peer.init(Command.MONITOR, PAIR)
        await peer.update(ioid, Value(PAIR, {"x": 1}))
        await peer.finish(ioid, Status(StatusKind.ERROR, "the crate is on fire"))
        assert (await anext(updates)).x == 1
        with pytest.raises(RemoteError, match="monitor of 'pv': the crate is on fire"):
            await anext(updates)
        with pytest.raises(StopAsyncIteration):
            await anext(updates)


async def test_a_refused_subscription(serve, client, virtual_time):
    async with (
        serve({"pv": pv_of()}) as server,
        client(server) as context,
        context.monitor("pv", "nothing") as updates,
    ):
        with pytest.raises(RemoteError, match="monitor of 'pv': pvRequest must select at least one field"):
            await anext(updates)


@pytest.mark.parametrize("notify", [False, True])
async def test_it_comes_back_after_a_restart(serve, client, virtual_time, notify):
    first = serve({"pv": pv_of(1.0)})
    async with first:
        conf = first.conf()
        async with client(first) as context, context.monitor("pv", notify_disconnect=notify) as updates:
            assert await anext(updates) == 1.0
            await first.stop()
            if notify:
                gone = await anext(updates)
                assert isinstance(gone, Disconnected)
                assert "closed the connection" in str(gone)
            async with Server([{"pv": pv_of(2.0)}], conf=conf, useenv=False, network=context._network):
                assert await anext(updates) == 2.0


async def test_what_came_before_the_loss_is_taken_first(faked, virtual_time):
    async with (
        faked(nt=False) as (context, server, _nursery),
        context.monitor("pv", notify_disconnect=True) as updates,
    ):
        for attempt in range(3):  # nobody takes anything: what is kept is bounded
            peer = await server.logged_in()
            await peer.create()
            ioid = await peer.init(Command.MONITOR, PAIR)
            await peer.update(ioid, Value(PAIR, {"x": attempt, "y": 1}))
            await peer.update(ioid, Value(PAIR, {"x": attempt + 0.5}))
            await settled()
            if attempt < 2:
                peer.close()
        seen = [await anext(updates) for _ in range(5)]
        assert [seen[0].x, seen[1].x, type(seen[2]), seen[3].x, seen[4].x] == [0, 0.5, Disconnected, 2, 2.5]
        assert seen[3].changedSet() == {"x", "y"}


async def test_it_waits_for_a_pv_that_is_closed_and_opened_again(serve, client, virtual_time):
    pv = pv_of(1.0)
    async with serve({"pv": pv}) as server, client(server) as context, context.monitor("pv") as updates:
        assert await anext(updates) == 1.0
        pv.close()
        await trio.sleep(1)
        pv.open(5.0)
        assert await anext(updates) == 5.0


async def test_the_server_is_told_when_nobody_listens_any_more(serve, client, virtual_time):
    running = []
    pv = pv_of(1.0)

    @pv.while_monitored
    async def watch(pv):
        running.append(True)
        try:
            await trio.sleep_forever()
        finally:
            running.clear()

    async with serve({"pv": pv}) as server, client(server) as context:
        async with context.monitor("pv") as updates:
            await anext(updates)
            await settled()
            assert running
        await settled()
        assert not running


async def test_cancelling_loses_nothing(serve, client, virtual_time):
    pv = pv_of(0.0)
    async with serve({"pv": pv}) as server, client(server) as context, context.monitor("pv") as updates:
        assert await anext(updates) == 0.0
        pv.post(1.0)
        await settled()
        with trio.CancelScope() as scope:
            scope.cancel()
            await anext(updates)
        assert scope.cancelled_caught
        assert await anext(updates) == 1.0


async def test_the_loop_lets_others_run(serve, client, virtual_time):
    pv = pv_of(0.0)
    async with (
        serve({"pv": pv}) as server,
        client(server) as context,
        context.monitor("pv", queue_size=200) as updates,
    ):
        await settled()
        for n in range(100):
            pv.post(float(n))
            await settled()
        turns = []

        async def other():
            while True:
                turns.append(1)
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(other)
            for _ in range(100):
                await anext(updates)
            nursery.cancel_scope.cancel()
        assert len(turns) >= 2


async def test_it_is_entered_once_and_before_it_is_used(serve, client, virtual_time):
    async with serve({"pv": pv_of()}) as server, client(server) as context:
        updates = context.monitor("pv")
        with pytest.raises(RuntimeError, match="enter"):
            await anext(updates)
        async with updates:
            pass
        with pytest.raises(RuntimeError, match="once"):
            async with updates:
                pass


async def test_leaving_the_context_ends_it(serve, client, virtual_time):
    ended = []
    async with serve({"pv": pv_of()}) as server:

        async def watch(context):
            async with context.monitor("pv") as updates:
                with pytest.raises(Disconnected, match="context was closed"):
                    async for _ in updates:
                        pass
                ended.append(True)

        async with trio.open_nursery() as nursery, client(server) as context:
            nursery.start_soon(watch, context)
            await trio.sleep(1)
    assert ended


async def test_thousands_of_subscriptions_on_one_connection(network, serve, client, virtual_time):
    pvs = {f"pv:{n}": pv_of(n) for n in range(1_000)}
    async with serve(pvs) as server, client(server) as context, AsyncExitStack() as stack:
        subscriptions = [await stack.enter_async_context(context.monitor(name)) for name in pvs]
        assert [await anext(updates) for updates in subscriptions] == list(range(1_000))
        assert len(network.connections) == 1

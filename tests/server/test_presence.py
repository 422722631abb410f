"""while_connected and while_monitored: one instance of each per PV, as long as somebody is there."""

from __future__ import annotations

import pytest
import trio

from p4p_trio import DynamicProvider, StaticProvider
from p4p_trio.wire import Command, messages
from p4p_trio.wire.commands import START, STOP
from tests.server.handlers import scalar, settle


class Watch:
    """Two `while_` functions that remember when they began and ended."""

    def __init__(self, clean_up: float = 0.0) -> None:
        self.clean_up = clean_up
        self.log: list[str] = []
        self.error: Exception | None = None
        self.ends: float | None = None

    async def while_connected(self, pv):
        await self._run("connected")

    async def while_monitored(self, pv):
        await self._run("monitored")

    async def _run(self, what):
        self.log.append(f"+{what}")
        try:
            if self.error is not None:
                raise self.error
            await trio.sleep(float("inf") if self.ends is None else self.ends)
        finally:
            if self.clean_up:
                with trio.CancelScope(shield=True):
                    await trio.sleep(self.clean_up)
            self.log.append(f"-{what}")


@pytest.fixture
def watch():
    return Watch()


@pytest.fixture
def pv(watch):
    return scalar(handler=watch)


async def test_from_the_first_channel_to_the_last(virtual_time, serve, connect, pv, watch):
    async with serve({"pv": pv, "alias": pv}) as server:
        first, second = await connect(server), await connect(server)
        await settle()
        assert watch.log == []
        await first.channel("pv")
        await settle()
        assert watch.log == ["+connected"]
        await second.channel("alias")
        await first.destroy_channel("pv")
        await settle()
        assert watch.log == ["+connected"]
        second.close()
        await settle()
        assert watch.log == ["+connected", "-connected"]


async def test_from_the_first_start_to_the_last_stop(virtual_time, serve, connect, pv, watch):
    async with serve({"pv": pv}) as server:
        client = await connect(server)
        monitors = [await client.monitor("pv") for _ in range(2)]
        await settle()
        assert watch.log == ["+connected", "+monitored"]
        await client.start(monitors[0])  # a second START counts once
        await client.stop(monitors[0])
        await client.cancel(monitors[0])
        await settle()
        assert watch.log[2:] == []
        await client.end(monitors[1])
        await settle()
        assert watch.log[2:] == ["-monitored"]
        await client.start(monitors[0])
        await settle()
        assert watch.log[3:] == ["+monitored"]
        await client.destroy_channel("pv")
        await settle()
        assert sorted(watch.log[4:]) == ["-connected", "-monitored"]


async def test_closing_the_pv_ends_both(virtual_time, serve, connect, pv, watch):
    async with serve({"pv": pv}) as server:
        client = await connect(server)
        await client.monitor("pv")
        await settle()
        pv.close()
        await settle()
        assert sorted(watch.log[2:]) == ["-connected", "-monitored"]
        client.sids.clear()
        await client.channel("pv")  # a closed PV claims its name, and its client is one
        await settle()
        assert watch.log[4:] == ["+connected"]


async def test_a_new_one_only_after_the_old_ones_clean_up(virtual_time, serve, connect, pv, watch):
    watch.clean_up = 2.0
    async with serve({"pv": pv}) as server:
        client = await connect(server)
        for _ in range(3):
            await client.channel("pv")
            await settle()
            await client.destroy_channel("pv")
            await settle()
        await client.channel("pv")
        await trio.sleep(1.9)
        assert watch.log == ["+connected"]
        await trio.sleep(0.2)
        assert watch.log == ["+connected", "-connected", "+connected"]


async def test_gone_before_it_began(virtual_time, serve, connect, pv, watch):
    async with serve({"pv": pv}) as server:
        client = await connect(server)
        sid = await client.channel("pv")
        await client.destroy_channel("pv")
        await settle()
        assert watch.log in ([], ["+connected", "-connected"])
        assert sid


async def test_gone_for_a_moment_before_it_began(virtual_time, serve, connect, pv, watch):
    async with serve({"pv": pv}) as server:
        client = await connect(server)
        monitor = await client.init(Command.MONITOR, "pv")
        for sub in (START, STOP, START):  # in one turn of the loop
            messages.write_simple(client.out, client.order, Command.MONITOR, monitor.sid, monitor.ioid, sub)
        await client.flush()
        await settle()
        assert watch.log == ["+connected", "+monitored"]


async def test_clean_up_that_fails_with_the_stop(virtual_time, serve, connect, caplog):
    """Out of a nursery it comes as a group with a Cancelled; still it is logged, and does not end the server badly."""
    pv = scalar()

    async def clean_up_badly():
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("no clean-up")

    @pv.while_connected
    async def nurse(pv):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            nursery.start_soon(clean_up_badly)

    async with serve({"pv": pv}) as server:
        client = await connect(server)
        await client.channel("pv")
        await client.destroy_channel("pv")
        await settle()
        await client.channel("pv")
        await settle()
    assert len(caplog.records) == 2


async def test_an_exception_is_logged_and_waits_for_the_next_first_client(
    virtual_time, serve, connect, pv, watch, caplog
):
    watch.error = ValueError("broken")
    async with serve({"pv": pv}) as server:
        first, second = await connect(server), await connect(server)
        await first.channel("pv")
        await settle()
        assert watch.log == ["+connected", "-connected"]
        (record,) = caplog.records
        assert record.exc_info
        assert "while_connected" in record.getMessage()
        watch.error = None
        await second.channel("pv")  # not the first
        await settle()
        assert len(watch.log) == 2
        assert (await second.get("pv")).value == 0.0
        for client in (first, second):
            await client.destroy_channel("pv")
        await first.channel("pv")
        await settle()
        assert watch.log[2:] == ["+connected"]


async def test_one_that_returns_is_not_begun_again(virtual_time, serve, connect, pv, watch):
    watch.ends = 1.0
    async with serve({"pv": pv}) as server:
        client = await connect(server)
        await client.channel("pv")
        await trio.sleep(10)
        assert watch.log == ["+connected", "-connected"]


class TestTwoServers:
    @pytest.mark.parametrize("how", ["stop", "cancel"])
    async def test_it_moves_when_its_server_stops(self, virtual_time, serve, connect, pv, watch, how):
        async with serve({"pv": pv}) as other, trio.open_nursery() as nursery:
            first = await nursery.start(serve({"pv": pv}, {"alias": pv}).serve)
            here = await connect(first)
            await here.channel("pv")
            await here.channel("alias")
            there = await connect(other)
            await there.channel("pv")
            await settle()
            assert watch.log == ["+connected"]
            if how == "stop":
                await first.stop()
            else:
                nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                await settle()
                assert watch.log == ["+connected", "-connected", "+connected"]
                await there.destroy_channel("pv")
                await settle()
                assert watch.log == ["+connected", "-connected", "+connected", "-connected"]

    async def test_one_that_has_returned_does_not_move(self, virtual_time, serve, connect, pv, watch):
        watch.ends = 1.0
        async with serve({"pv": pv}) as other:
            async with serve({"pv": pv}) as first:
                here, there = await connect(first), await connect(other)
                await here.channel("pv")
                await there.channel("pv")
                await trio.sleep(2)
            await settle()
            assert watch.log == ["+connected", "-connected"]

    async def test_it_stays_while_its_server_runs(self, virtual_time, serve, connect, pv, watch):
        async with serve({"pv": pv}) as first, serve({"pv": pv}) as other:
            here, there = await connect(first), await connect(other)
            await here.channel("pv")
            await there.channel("pv")
            await here.destroy_channel("pv")
            await settle()
            assert watch.log == ["+connected"]
            await there.destroy_channel("pv")
            await settle()
            assert watch.log == ["+connected", "-connected"]

    async def test_it_moves_when_its_provider_is_removed(self, virtual_time, serve, connect, pv, watch):
        provider = StaticProvider()
        provider.add("pv", pv)
        async with serve(provider) as first, serve({"pv": pv}) as other:
            here, there = await connect(first), await connect(other)
            await here.channel("pv")
            await there.channel("pv")
            await settle()
            await first.remove_provider(provider)
            await settle()
            assert watch.log == ["+connected", "-connected", "+connected"]


async def test_for_a_pv_made_on_demand(virtual_time, serve, connect, pv, watch):
    class Maker:
        def test_channel(self, name):
            return name == "pv"

        async def make_channel(self, name, peer):
            return pv

    async with serve(DynamicProvider("maker", Maker())) as server:
        client = await connect(server)
        await client.channel("pv")
        await settle()
        assert watch.log == ["+connected"]
    assert watch.log == ["+connected", "-connected"]


async def test_several_handlers_run_side_by_side(virtual_time, serve, connect):
    watches = [Watch(), Watch()]
    async with serve({"pv": scalar(handler=watches)}) as server:
        client = await connect(server)
        await client.channel("pv")
        await settle()
        assert [watch.log for watch in watches] == [["+connected"]] * 2
    assert [watch.log for watch in watches] == [["+connected", "-connected"]] * 2


def test_plain_functions_are_refused():
    with pytest.raises(TypeError, match="while_connected must be an async function"):
        scalar().while_connected(lambda pv: None)
    with pytest.raises(TypeError, match="while_monitored must be an async function"):
        scalar().while_monitored(lambda pv: None)

"""Time-outs say what was waited for: in every phase, and in the right scope."""

from __future__ import annotations

import pytest
import trio

from p4p_trio import PVAError, Type
from p4p_trio.client import TooSlowError
from p4p_trio.wire import Command, Status
from p4p_trio.wire.status import StatusKind

PAIR = Type([("x", "d"), ("y", "d")])


async def text_of(context, function, *args, seconds=5, **kwargs) -> str:
    """What the time-out of this call says."""
    with pytest.raises(TooSlowError) as failure, context.fail_after(seconds):
        await function(*args, **kwargs)
    assert isinstance(failure.value, trio.TooSlowError)
    assert isinstance(failure.value, PVAError)
    assert failure.value.phases
    return str(failure.value)


async def test_searching(faked, virtual_time):
    async with faked() as (context, server, _nursery):
        server.claims = lambda name: False
        port = server.udp.address[1]
        text = await text_of(context, context.get, "x:y", seconds=7)
        assert text == f"searching for 'x:y' at 127.0.0.1:{port}: no answer to 4 requests"
        text = await text_of(context, context.put, "x:y", 1, seconds=0.5)
        assert text == f"searching for 'x:y' at 127.0.0.1:{port}: no answer to 1 request"


async def test_searching_at_name_servers(faked, virtual_time):
    conf = {"EPICS_PVA_ADDR_LIST": "", "EPICS_PVA_NAME_SERVERS": "127.0.0.1:1 127.0.0.1:2"}
    async with faked(conf=conf) as (context, _server, _nursery):
        text = await text_of(context, context.get, "x:y")
        one, other = "name server 127.0.0.1:1 (not connected)", "name server 127.0.0.1:2 (not connected)"
        assert text.startswith(f"searching for 'x:y' at {one}, {other}: no answer to ")


async def test_searching_nowhere(faked, virtual_time):
    async with faked(conf={"EPICS_PVA_ADDR_LIST": ""}) as (context, _server, _nursery):
        text = await text_of(context, context.get, "x:y")
        assert text.startswith("searching for 'x:y' nowhere: EPICS_PVA_ADDR_LIST and EPICS_PVA_NAME_SERVERS are empty")


async def test_a_server_that_cannot_be_reached(faked, virtual_time):
    async with faked() as (context, server, _nursery):
        server.listener.close()
        text = await text_of(context, context.get, "x:y")
        assert text.startswith("searching for 'x:y' at 127.0.0.1:")
        assert f"since connecting to 127.0.0.1:{server.port} failed: Connection refused" in text


async def test_connecting(faked, network, virtual_time):
    async with faked() as (context, server, _nursery):
        far = network.host("10.0.0.2")
        network.partition("10.0.0.2")
        server.says_host = far.address
        text = await text_of(context, context.get, "x:y", seconds=4)
        assert text == f"connecting to 10.0.0.2:{server.port} for 'x:y'"


async def test_every_phase_of_a_put(faked, virtual_time):
    async with faked() as (context, server, nursery):
        here = f"127.0.0.1:{server.port}"
        peers = []

        async def be_slow(*steps):
            """Do so much and no more."""
            peer = peers[0] if peers else await server.accept()
            peers[:] = [peer]
            for step in steps:
                await step(peer)

        async def put(**kwargs):
            return await text_of(context, context.put, "x:y", {"x": 1}, seconds=3, **kwargs)

        assert await put() == f"waiting for {here} to accept the login for 'x:y'"
        nursery.start_soon(be_slow, lambda peer: peer.login())
        assert await put() == f"waiting for {here} to create the channel 'x:y'"
        nursery.start_soon(be_slow, lambda peer: peer.create())
        assert await put() == f"waiting for {here} to begin the put to 'x:y'"
        await peers[0].expect(Command.PUT)
        nursery.start_soon(be_slow, lambda peer: peer.init(Command.PUT, PAIR))
        assert await put() == f"waiting for {here} to read 'x:y' before the put to 'x:y'"
        await peers[0].expect(Command.PUT)
        nursery.start_soon(be_slow, lambda peer: peer.init(Command.PUT, PAIR))
        assert await put(get=False) == f"waiting for {here} to answer the put to 'x:y'"


async def test_a_monitor(faked, virtual_time):
    async with faked() as (context, server, _nursery):
        here = f"127.0.0.1:{server.port}"
        async with context.monitor("x:y") as updates:
            peer = await server.logged_in()
            await peer.create()
            assert await text_of(context, anext, updates) == f"waiting for {here} to begin the monitor of 'x:y'"
            await peer.init(Command.MONITOR, PAIR)
            assert await text_of(context, anext, updates) == f"waiting for {here} to send an update of 'x:y'"


async def test_a_refusing_server_is_named(faked, virtual_time):
    async with faked() as (context, server, nursery), context.monitor("x:y") as updates:

        async def refuse():
            peer = await server.logged_in()
            while True:
                await peer.create(Status(StatusKind.FATAL, "not for you"), sid=0xFFFFFFFF)

        nursery.start_soon(refuse)
        text = await text_of(context, anext, updates, seconds=9)
        assert f"since 127.0.0.1:{server.port} refused the channel: not for you" in text


async def test_many(faked, virtual_time):
    async with faked() as (context, server, _nursery):
        server.claims = lambda name: False
        with pytest.raises(TooSlowError) as failure, context.fail_after(0.5):
            await context.get([f"pv:{n}" for n in range(10)])
        assert failure.value.unfinished == 10
        assert len(failure.value.phases) == 3
        assert str(failure.value).endswith("; and 7 more requests")


async def test_child_tasks_count(faked, virtual_time):
    async with faked() as (context, server, _nursery):
        server.claims = lambda name: False

        async def both():
            async with trio.open_nursery() as inner:
                inner.start_soon(context.get, "one")
                inner.start_soon(context.get, "two")

        text = await text_of(context, both)
        assert "'one'" in text
        assert "'two'" in text


async def test_it_reports_only_what_it_caught(faked, virtual_time):
    async with faked() as (context, server, _nursery):
        server.claims = lambda name: False

        async def two():
            with trio.move_on_after(0.5):
                await context.get("inner")
            await context.get("outer")

        text = await text_of(context, two)
        assert "'outer'" in text
        assert "'inner'" not in text

        with trio.move_on_after(0.5) as scope:
            with context.fail_after(1):
                await context.get("pv")
        assert scope.cancelled_caught


async def test_both_frames_are_told_whose_time_is_up(faked, virtual_time):
    async with faked() as (context, server, _nursery):
        server.claims = lambda name: False
        with pytest.raises(TooSlowError, match="'pv'"), context.fail_after(0.5), context.fail_after(0.5):
            await context.get("pv")


async def test_no_request_was_waiting(faked, virtual_time):
    async with faked() as (context, _server, _nursery):
        with pytest.raises(TooSlowError, match=r"not done within 0\.5 s"), context.fail_after(0.5):
            await trio.sleep(1)
        with context.fail_after(0.5):
            pass


async def test_an_error_in_time_is_not_a_time_out(faked, virtual_time):
    async with faked() as (context, _server, _nursery):
        with pytest.raises(LookupError), context.fail_after(0.5):
            raise LookupError

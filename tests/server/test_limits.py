"""Limits are refusals, not queues: beyond them a client is told "busy" at once. (Connections: test_hostile.py.)"""

from __future__ import annotations

import pytest

from p4p_trio import Limits, RemoteError, Server
from p4p_trio.wire import Command, messages
from tests.server.handlers import Slow, scalar, settle
from tests.server.wire_client import WireClient, port_of


async def test_handlers_of_one_channel(virtual_time, serve, connect):
    handler = Slow()
    async with serve({"pv": scalar(handler=handler)}, limits=Limits(max_handlers_per_channel=3)) as server:
        client, other = await connect(server), await connect(server)
        running = [await client.start_put("pv", float(n)) for n in range(3)]
        await settle()
        refused = await client.start_put("pv", 9.0)
        status, _ = await client.answer(refused)
        assert status.message == "busy: 3 operations of this channel are running already"
        await other.start_put("pv", 4.0)  # another channel of the same PV
        await settle()
        assert handler.started == [0.0, 1.0, 2.0, 4.0]
        await client.cancel(running[0])
        await settle()
        await client.exec(refused, {"value": 5.0})  # the refused request is idle again, and there is room
        await settle()
        assert handler.started[4:] == [5.0]
        handler.go()


async def test_one_that_cleans_up_still_counts(virtual_time, serve, connect):
    handler = Slow(clean_up=5.0)
    async with serve({"pv": scalar(handler=handler)}, limits=Limits(max_handlers_per_channel=1)) as server:
        client = await connect(server)
        put = await client.start_put("pv", 1.0)
        await settle()
        await client.cancel(put)
        with pytest.raises(RemoteError, match="busy"):
            await client.put("pv", 2.0)


@pytest.mark.parametrize("puts", ["concurrent", "serial"])
async def test_handlers_of_the_server(virtual_time, serve, connect, puts):
    """A put that waits for its turn counts, too."""
    handler = Slow()
    async with serve(
        {"a": scalar(handler=handler, puts=puts), "b": scalar(handler=handler)}, limits=Limits(max_handlers=2)
    ) as server:
        client, other = await connect(server), await connect(server)
        for n in range(2):
            await client.start_put("a", float(n))
        await settle()
        with pytest.raises(RemoteError, match=r"^busy: this server is running 2 operations already$"):
            await other.put("b", 2.0)
        assert (await other.get("b")).value == 0.0  # what needs no handler goes on
        client.close()
        await settle()
        await other.start_put("b", 3.0)
        await settle()
        assert handler.started[-1] == 3.0
        assert server.report()["handlers"] == 1


async def test_latest_counts_only_what_lives(virtual_time, serve, connect):
    handler = Slow()
    async with serve({"pv": scalar(handler=handler, puts="latest")}, limits=Limits(max_handlers=2)) as server:
        client = await connect(server)
        for n in range(50):
            await client.start_put("pv", float(n))
            await settle()
        assert server.report()["handlers"] == 1
        assert handler.started == [float(n) for n in range(50)]


async def test_channels(virtual_time, serve, connect):
    async with serve({f"pv{n}": scalar() for n in range(5)}, limits=Limits(max_channels=3)) as server:
        client, other = await connect(server), await connect(server)
        for n in range(3):
            await client.channel(f"pv{n}")
        with pytest.raises(RemoteError, match=r"^busy: this connection has 3 channels already$"):
            await client.channel("pv3")
        await other.channel("pv3")
        await client.destroy_channel("pv0")
        await client.channel("pv3")


async def test_requests(virtual_time, serve, connect):
    async with serve({"pv": scalar()}, limits=Limits(max_operations=3)) as server:
        client = await connect(server)
        kept = [await client.init(command, "pv") for command in (Command.GET, Command.PUT, Command.MONITOR)]
        for command in (Command.GET, Command.MONITOR, Command.RPC):
            with pytest.raises(RemoteError, match=r"^busy: this connection has 3 requests already$"):
                await client.init(command, "pv")
        await client.destroy(kept[2])
        assert (await client.get("pv")).value == 0.0


async def test_connections(virtual_time, serve, connect, network, log):
    async with serve({"pv": scalar()}, limits=Limits(max_connections=2, max_per_address=None)) as server:
        clients = [await connect(server) for _ in range(2)]
        third = await network.connect("127.0.0.1", clients[0].transport.peer[1])
        assert len(await third.receive()) == 0
        assert await clients[0].echo() == b""
        clients[1].close()
        await settle()
        await connect(server)
        assert server.report()["refused"]
    (text,) = log()
    assert "refused, 2 clients are connected" in text


async def test_connections_of_one_address(virtual_time, connect, network, log):
    outside = network.host("10.0.0.2")
    network = network.host("10.0.0.1")
    conf = {"EPICS_PVAS_INTF_ADDR_LIST": "0.0.0.0"}
    limits = Limits(max_per_address=1)
    async with Server([{"pv": scalar()}], conf=conf, useenv=False, network=network, limits=limits) as server:
        first = await WireClient.connect(outside, server, host="10.0.0.1")
        second = await outside.connect("10.0.0.1", port_of(server))
        assert len(await second.receive()) == 0
        await WireClient.connect(network, server)  # from 127.0.0.1
        first.close()
        await settle()
        await WireClient.connect(outside, server, host="10.0.0.1")
    (text,) = log()
    assert "10.0.0.2: refused, it has 1 connections already" in text


async def test_a_message_that_is_too_long_names_the_limit(virtual_time, serve, connect, log):
    async with serve({"pv": scalar()}, limits=Limits(max_message=1_000)) as server:
        client = await connect(server)
        await client.send(Command.ECHO, bytes(1_000))
        await client.expect(Command.ECHO)
        await client.raw(client.order.header.pack(0xCA, 2, 0, Command.ECHO, 1_001))  # the header is enough
        assert await client.gone()
    assert "a message of 1001 bytes; max_message is 1000; closing" in log()[0]


async def test_longer_ones_only_after_the_login(virtual_time, serve, connect, network, log):
    async with serve({"pv": scalar()}, limits=Limits(max_message_prelogin=100)) as server:
        client = await connect(server, account="x" * 20)
        await client.send(Command.ECHO, bytes(5_000))
        await client.expect(Command.ECHO)
        stranger = await connect.dial(server)
        await stranger.raw(client.order.header.pack(0xCA, 2, 0, Command.CONNECTION_VALIDATION, 101))
        assert await stranger.gone()
    assert "max_message is 100" in log()[0]


def test_no_limit_is_none_and_none_is_zero():
    with pytest.raises(ValueError, match="max_handlers must be above zero, or None to switch it off"):
        Limits(max_handlers=0)
    Limits(max_handlers=None)


async def test_all_off(virtual_time, serve, connect):
    off = {field.name: None for field in Limits.__attrs_attrs__ if field.name not in ("max_depth",)}
    handler = Slow()
    async with serve({"pv": scalar(handler=handler)}, limits=Limits(**off)) as server:
        client = await connect(server)
        for n in range(100):
            await client.start_put("pv", float(n))
        await settle()
        assert len(handler.started) == 100
        messages.write_echo(client.out, client.order, False, b"")
        await client.flush()
        handler.go()

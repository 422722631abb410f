"""Channels, the server's own channel, and searches: how clients find what there is."""

from __future__ import annotations

import contextlib
import errno

import pytest
import trio

from p4p_trio import RemoteError, SharedPV, Type, Value
from p4p_trio.errors import ConfigError
from p4p_trio.net import SystemNetwork
from p4p_trio.server import Server
from p4p_trio.server.listening import LEARN
from p4p_trio.wire import BIG, LITTLE, NO_ID, Buffers, Command, Reader, StatusKind, messages, split_datagram
from p4p_trio.wire.commands import SEARCH_MUST_REPLY, SEARCH_UNICAST
from tests.server.handlers import scalar, settle
from tests.server.test_providers import search
from tests.server.wire_client import LIMITS, WireClient


class TestCreating:
    async def test_several_names_get_one_reply_each(self, virtual_time, serve, connect):
        async with serve({"a": scalar(), "b": scalar()}) as server:
            client = await connect(server)
            messages.write_create_channel(client.out, client.order, [(7, "a"), (8, "nobody"), (9, "b"), (10, "a")])
            await client.flush()
            replies = [messages.read_channel_created(await client.expect(Command.CREATE_CHANNEL)) for _ in range(4)]
            assert [reply.cid for reply in replies] == [7, 8, 9, 10]
            assert [reply.status.success for reply in replies] == [True, False, True, True]
            assert replies[1].sid == NO_ID
            assert replies[1].status.kind is StatusKind.FATAL
            assert len({reply.sid for reply in replies}) == 4  # two channels to one PV are two
            assert await client.quiet() == []

    @pytest.mark.parametrize(
        ("name", "text"),
        [
            ("", "a channel needs a name"),
            ("x" * 501, "at most 500 characters"),
            ("new\nline", "must not contain control characters"),
            ("x" * 500, "no provider has a PV of the name"),
            ("\udcff\udcfe", "must not contain control characters"),
        ],
    )
    async def test_names_that_nobody_has(self, virtual_time, serve, connect, name, text):
        async with serve({"a": scalar()}) as server:
            client = await connect(server)
            with pytest.raises(RemoteError, match=text):
                await client.channel(name)
            await client.channel("a")

    async def test_destroying(self, virtual_time, serve, connect):
        async with serve({"a": scalar()}) as server:
            client = await connect(server)
            sid = await client.channel("a")
            messages.write_destroy_channel(client.out, client.order, False, sid, 0x55)  # whatever cid is echoed
            await client.flush()
            assert messages.read_destroy_channel(await client.expect(Command.DESTROY_CHANNEL)) == (sid, 0x55)
            messages.write_destroy_channel(client.out, client.order, False, sid, 1)
            await client.flush()
            assert await client.quiet() == []
            assert server.report()["channels"] == 0

    async def test_many_come_and_go(self, virtual_time, serve, connect):
        pv = scalar()
        async with serve({"a": pv}) as server:
            client = await connect(server)
            for _ in range(300):
                await client.channel("a")
                await client.monitor("a")
                await client.destroy_channel("a")
            await client.echo()
            assert server.report()["requests"] == 0
            assert not pv._core.channels
            assert not pv._core.monitors


class TestTheServersOwnChannel:
    @pytest.mark.parametrize("uri", [True, False])
    async def test_what_it_answers(self, virtual_time, serve, connect, uri):
        async with serve({"b": scalar(), "a": scalar()}, {"c": SharedPV()}) as server:
            client = await connect(server)

            async def ask(op):
                if uri:
                    kind = Type(
                        [("scheme", "s"), ("path", "s"), ("query", ("S", None, [("op", "s")]))], id="epics:nt/NTURI:1.0"
                    )
                    return await client.rpc("server", Value(kind, {"query.op": op}))
                return await client.rpc("server", Value(Type([("op", "s")]), {"op": op}))

            assert (await ask("channels")).value == ["a", "b", "c", "server"]
            info = await ask("info")
            assert info.version.startswith("p4p_trio")
            assert info.implLang.startswith("python")
            assert {"process", "startTime", "host"} < set(info)
            assert "op=channels" in (await ask("help")).value
            with pytest.raises(RemoteError, match="unknown op 'shutdown'"):
                await ask("shutdown")
            with pytest.raises(RemoteError, match="no string 'op'"):
                await client.rpc("server")

    async def test_it_comes_before_a_providers(self, virtual_time, serve, connect):
        async with serve({"server": scalar(1.0)}, ({"server": scalar(2.0)}, -2)) as server:
            assert (await (await connect(server)).get("server")).value == 2.0


class TestTcpSearch:
    async def test_it_answers_for_what_it_has(self, virtual_time, serve, connect):
        async with serve({"a": scalar(), "b": scalar()}) as server:
            client = await connect(server)
            assert await search(client, "a", "nobody", "b") == ["a", "b"]
            assert await search(client, "nobody") == []  # no reply that nobody asked for
            assert await search(client) == []

    @pytest.mark.parametrize("order", [LITTLE, BIG])
    async def test_a_ping_must_be_answered(self, virtual_time, serve, connect, order):
        async with serve({"a": scalar()}) as server:
            client = await connect(server, order=order)
            messages.write_search(client.out, order, 7, SEARCH_MUST_REPLY, bytes(16), 0, ["tcp"], [])
            await client.flush()
            found = messages.read_search_response(await client.expect(Command.SEARCH_RESPONSE))
            assert (found.guid, found.seq, found.found, list(found.cids)) == (server.guid, 7, False, [])
            assert found.port == int(server.conf()["EPICS_PVAS_SERVER_PORT"])


class TestUdpSearch:
    async def test_by_unicast(self, virtual_time, serve, network):
        async with serve({"a": scalar()}) as server:
            udp = network.open_udp("127.0.0.1")
            out = Buffers()
            there = ("127.0.0.1", int(server.conf()["EPICS_PVAS_BROADCAST_PORT"]))
            names = [(1, "a"), (2, "nobody")]
            here = messages.address16("127.0.0.1")
            messages.write_search(out, LITTLE, 3, SEARCH_UNICAST, here, udp.address[1], ["tcp"], names)
            udp.send(b"".join(out.freeze()), there)
            with trio.fail_after(1):
                (reply,) = await udp.receive()
            ((_, command, start, end, order),) = split_datagram(reply.data)
            found = messages.read_search_response(Reader(reply.data, start, end, order, LIMITS))
            assert command == Command.SEARCH_RESPONSE
            assert (found.seq, found.protocol, list(found.cids)) == (3, "tcp", [1])
            assert found.port == int(server.conf()["EPICS_PVAS_SERVER_PORT"])
            assert server.report()["searches answered"] == 1

    async def test_not_while_stopping(self, virtual_time, serve, connect, network):
        pv = scalar()

        @pv.put
        async def put(pv, op):
            await trio.sleep(3)

        async with trio.open_nursery() as nursery:
            server = await nursery.start(serve({"a": pv}).serve)
            client = await connect(server)
            await client.start_put("a", 1.0)
            await settle()
            nursery.start_soon(server.stop)
            await settle()
            assert await search(client, "a") == []
            assert network._sockets == []

    async def test_beacons(self, virtual_time, network):
        heard = network.open_udp("127.0.0.1", 6000)
        conf = {"EPICS_PVAS_INTF_ADDR_LIST": "127.0.0.1", "EPICS_PVAS_BEACON_ADDR_LIST": "127.0.0.1:6000"}
        async with Server([], conf=conf, useenv=False, network=network) as server:
            await trio.sleep(31)
            beacons = await heard.receive()
        assert len(beacons) == 3  # 0, 15, 30 s
        ((_, _, start, end, order),) = split_datagram(beacons[0].data)
        beacon = messages.read_beacon(Reader(beacons[0].data, start, end, order, LIMITS))
        assert (beacon.guid, beacon.port) == (server.guid, 5075)
        assert server.guid != Server([], isolate=True).guid


async def test_an_address_that_is_not_here(virtual_time, network):
    for conf, text in (
        ({"EPICS_PVAS_INTF_ADDR_LIST": "10.9.9.9"}, "cannot listen for TCP on 10.9.9.9"),
        ({"EPICS_PVAS_INTF_ADDR_LIST": "no.such.host"}, "unknown host 'no.such.host'"),
    ):
        with pytest.raises(ConfigError, match=text):
            async with Server([], conf=conf, useenv=False, network=network):
                pass
    taken = network.open_udp("127.0.0.1", 5076)
    with pytest.raises(ConfigError, match=r"UDP port 5076 .* program holds it without sharing it"):
        async with Server([], conf={"EPICS_PVAS_INTF_ADDR_LIST": "127.0.0.1"}, useenv=False, network=network):
            pass
    assert network._listeners == []
    taken.close()


async def test_out_of_descriptors_while_it_looks_for_new_interfaces(
    virtual_time, serve, connect, network, log, monkeypatch
):
    """It is the clients who use them up: no reason for the server to end."""

    def exhausted():
        raise OSError(errno.EMFILE, "Too many open files")

    async with serve({"pv": scalar()}) as server:
        await trio.sleep(LEARN + 1)
        monkeypatch.setattr(network, "interfaces", exhausted)
        udp = network.open_udp("127.0.0.1", 0)
        udp.send(b"\xca\x02\x80\x03" + bytes(4), ("127.0.0.1", int(server.conf()["EPICS_PVAS_BROADCAST_PORT"])))
        await settle()
        assert (await (await connect(server)).get("pv")).value == 0.0
    assert log() == ["cannot look at the interfaces of this host: [Errno 24] Too many open files"]


async def test_search_and_get_over_ipv6():
    network = SystemNetwork()
    try:
        udp = network.open_udp("::1", 0)
    except OSError:
        pytest.skip("no IPv6 here")
    conf = {"EPICS_PVAS_INTF_ADDR_LIST": "::1", "EPICS_PVAS_AUTO_BEACON_ADDR_LIST": "NO"}
    free = {"EPICS_PVAS_SERVER_PORT": "0", "EPICS_PVAS_BROADCAST_PORT": "0"}
    with contextlib.closing(udp):
        async with Server([{"pv": scalar(2.5)}], conf=conf | free, useenv=False) as server:
            out = Buffers()
            messages.write_search(out, BIG, 7, SEARCH_UNICAST, bytes(16), udp.address[1], ["tcp"], [(1, "pv")])
            port = int(server.conf()["EPICS_PVAS_BROADCAST_PORT"])
            assert udp.send(b"".join(out.freeze()), ("::1", port))
            with trio.fail_after(5):
                (found,) = await udp.receive()
            ((_, _, start, end, order),) = split_datagram(found.data)
            response = messages.read_search_response(Reader(found.data, start, end, order, LIMITS))
            assert response.cids == (1,)
            client = await WireClient.connect(network, response.port, host=found.source[0])
            assert (await client.get("pv")).value == 2.5
            client.close()

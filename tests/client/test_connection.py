"""Connections: shared, ended when unused, kept alive, and made again; and what a bad server can do."""

from __future__ import annotations

import itertools
import statistics
from contextlib import suppress

import pytest
import trio

from p4p_trio import Limits, RemoteError, Server, SharedPV, Type, Value
from p4p_trio.client import Context, Disconnected
from p4p_trio.nt import NTScalar
from p4p_trio.testing import MemoryNetwork
from p4p_trio.wire import LITTLE, Command, Status, messages
from p4p_trio.wire.status import StatusKind
from tests.client.fake_server import FakeServer

PAIR = Type([("x", "d"), ("y", "d")])


def pv_of(initial=0.0) -> SharedPV:
    return SharedPV(nt=NTScalar("d"), initial=initial)


class Reader:
    """A get in a task of its own."""

    def __init__(self, nursery, context, name="pv"):
        self.result = None
        self.done = trio.Event()
        nursery.start_soon(self._run, context, name)

    async def _run(self, context, name):
        try:
            self.result = await context.get(name)
        except Exception as exc:
            self.result = exc
        self.done.set()


async def answer_get(peer, x, ioid=None):
    if ioid is None:
        ioid = await peer.init(Command.GET, PAIR)
    await peer.execution(Command.GET)
    await peer.reply(Command.GET, ioid, Value(PAIR, {"x": x}))
    return ioid


# ---- one connection per server


async def test_all_channels_share_one(network, serve, client, virtual_time):
    async with serve({f"pv:{n}": pv_of(n) for n in range(50)}) as server, client(server) as context:
        async with trio.open_nursery() as nursery:
            for n in range(50):
                nursery.start_soon(context.get, f"pv:{n}")
        await context.list("127.0.0.1")
        assert len(network.connections) == 1


async def test_it_is_closed_when_it_is_not_used(network, serve, client, virtual_time):
    async with serve({"pv": pv_of()}) as server, client(server) as context:
        await context.get("pv")
        await trio.sleep(9)
        assert len(network.connections) == 1
        await trio.sleep(25)
        assert not network.connections
        assert not context._runtime.channels
        assert await context.get("pv") == 0.0
        async with context.monitor("pv"):
            await trio.sleep(100)
            assert len(network.connections) == 1


async def test_a_channel_that_is_used_again_is_kept(network, serve, client, virtual_time):
    async with serve({"pv": pv_of()}) as server, client(server) as context:
        for _ in range(10):
            await context.get("pv")
            channel = context._runtime.channels["pv", None]
            await trio.sleep(8)
        assert context._runtime.channels["pv", None] is channel


async def test_forgetting(network, serve, client, virtual_time):
    async with serve({"pv": pv_of(), "other": pv_of()}) as server, client(server) as context:
        async with context.monitor("pv"):
            await context.get(["pv", "other"])
            context.disconnect()
            assert list(context._runtime.channels) == [("pv", None)]
        context.disconnect("nothing")
        assert list(context._runtime.channels) == [("pv", None)]
        context.disconnect("pv")
        assert not context._runtime.channels


async def test_who_we_are(serve, client, virtual_time, monkeypatch):
    peers = []
    pv = SharedPV()

    @pv.rpc
    def call(pv, op):
        peers.append(op.peer())

    async with serve({"pv": pv}) as server:
        for user in ("operator", ""):
            monkeypatch.setattr("p4p_trio.client.runtime._user", lambda user=user: user)
            async with client(server) as context:
                assert await context.rpc("pv") is None
    assert [(peer.method, peer.account) for peer in peers] == [("ca", "operator"), ("anonymous", "anonymous")]


# ---- signs of life


async def test_the_server_is_asked_for_signs_of_life(faked, virtual_time):
    async with faked() as (context, server, nursery):
        Reader(nursery, context)
        peer = await server.logged_in()
        await peer.create()
        nursery.start_soon(peer.ended)
        await trio.sleep(151)
        assert peer.echoes == 10
        assert context._runtime.sessions


async def test_a_silent_server_is_left(faked, virtual_time):
    async with faked() as (context, server, nursery):
        reader = Reader(nursery, context)
        peer = await server.logged_in()
        await peer.create()
        peer.answers_echo = False
        nursery.start_soon(peer.ended)
        await trio.sleep(39)
        assert context._runtime.sessions
        again = await server.logged_in()
        await again.create()
        await answer_get(again, 3)
        await reader.done.wait()
        assert reader.result.x == 3
        assert trio.current_time() < 45


async def test_the_time_out_can_be_set(faked, virtual_time):
    async with faked(conf={"EPICS_PVA_CONN_TMO": "3"}) as (context, server, nursery):
        Reader(nursery, context)
        peer = await server.logged_in()
        nursery.start_soon(peer.ended)
        await trio.sleep(10.5)
        assert peer.echoes in (5, 6)  # every 1.5 s, seen once a second
        peer.answers_echo = False
        await server.logged_in()
        assert trio.current_time() < 17


async def test_a_server_that_does_not_read_is_left(network, faked, virtual_time):
    network.capacity = 1_000
    async with faked(nt=False) as (context, server, nursery):
        big = Type([("value", "ad")])
        failures = []

        async def put():
            try:
                await context.put("pv", {"value": [1.0] * 10_000}, get=False)
            except Disconnected as exc:
                failures.append(str(exc))

        nursery.start_soon(put)
        peer = await server.logged_in()
        await peer.create()
        await peer.init(Command.PUT, big)
        for _ in range(35):
            await trio.sleep(1)
            if failures:
                break
            messages.write_echo(peer.out, LITTLE, True, b"")  # it speaks, but it does not read
            with suppress(trio.BrokenResourceError):
                await peer.flush()
        assert "took nothing of what we sent for 30 s" in failures[0]
        assert "whether it was done is not known" in failures[0]


# ---- again


@pytest.mark.parametrize("outage", [0.0, 1.0, 3.0, 20.0, 200.0])
async def test_reconnecting_after_a_restart(virtual_time, outage):
    """With beacons: a median of at most 2 s, and never more than 5."""
    home = MemoryNetwork("10.0.0.1")
    far = home.host("10.0.0.2")
    conf = {"EPICS_PVA_ADDR_LIST": "10.0.0.2", "EPICS_PVA_AUTO_ADDR_LIST": "NO"}
    times = []
    for attempt in range(11):
        async with Context(conf=conf, useenv=False, network=home) as context, context.monitor("pv") as updates:
            async with Server([{"pv": pv_of(1.0)}], useenv=False, network=far):
                assert await anext(updates) == 1.0
                await trio.sleep(20 + attempt * 0.37)
            await trio.sleep(outage)
            async with Server([{"pv": pv_of(2.0)}], useenv=False, network=far):
                begun = trio.current_time()
                assert await anext(updates) == 2.0
                times.append(trio.current_time() - begun)
    assert statistics.median(times) <= 2.0
    assert max(times) <= 5.0


@pytest.mark.parametrize("outage", [0.0, 2.0, 5.0, 20.0])
async def test_reconnecting_without_beacons(network, virtual_time, outage):
    """Then the server that was lost is tried directly, so that nobody else is disturbed."""
    served = {"EPICS_PVAS_INTF_ADDR_LIST": "127.0.0.1", "EPICS_PVAS_AUTO_BEACON_ADDR_LIST": "NO"}
    conf = {"EPICS_PVA_ADDR_LIST": "127.0.0.1", "EPICS_PVA_AUTO_ADDR_LIST": "NO"}
    times = []
    for attempt in range(11):
        async with Context(conf=conf, useenv=False, network=network) as context, context.monitor("pv") as updates:
            async with Server([{"pv": pv_of(1.0)}], conf=served, useenv=False, network=network):
                assert await anext(updates) == 1.0
                await trio.sleep(20 + attempt * 0.37)
            await trio.sleep(outage)
            async with Server([{"pv": pv_of(2.0)}], conf=served, useenv=False, network=network):
                begun = trio.current_time()
                assert await anext(updates) == 2.0
                times.append(trio.current_time() - begun)
    assert statistics.median(times) <= 2.0
    assert max(times) <= 5.0


async def test_a_refused_connection_backs_off(faked, network, virtual_time):
    async with faked() as (context, server, nursery):
        attempts = []
        connect = network.connect

        async def counted(host, port):
            attempts.append(trio.current_time())
            return await connect(host, port)

        network.connect = counted
        server.listener.close()
        Reader(nursery, context)
        await trio.sleep(300)
        pauses = [later - earlier for earlier, later in itertools.pairwise(attempts)]
        assert min(pauses) >= 1.0
        assert pauses[4] > 10.0
        assert max(pauses) <= 65.0  # thirty, and the next question
        assert len(attempts) <= 18


@pytest.mark.parametrize("phase", ["at once", "greeting", "login", "channel", "init", "execution"])
async def test_a_server_that_closes_in_every_phase(faked, virtual_time, phase):
    async with faked(nt=False) as (context, server, nursery):
        reader = Reader(nursery, context)
        for _ in range(3):
            peer = await server.accept()
            if phase != "at once":
                await peer.hello()
            if phase not in ("at once", "greeting"):
                await peer.expect(Command.CONNECTION_VALIDATION)
            if phase not in ("at once", "greeting", "login"):
                messages.write_validated(peer.out, LITTLE, Status(StatusKind.OK))
                await peer.flush()
                await peer.expect(Command.CREATE_CHANNEL) if phase == "channel" else await peer.create()
            if phase == "init":
                await peer.expect(Command.GET)
            if phase == "execution":
                await peer.init(Command.GET, PAIR)
                await peer.execution(Command.GET)
            peer.close()
        peer = await server.logged_in()
        await peer.create()
        await answer_get(peer, 7)
        await reader.done.wait()
        assert reader.result.x == 7
        assert 1.0 < trio.current_time() < 30.0


@pytest.mark.parametrize("call", ["put", "rpc"])
async def test_what_does_something_is_not_done_twice(faked, virtual_time, call):
    async with faked() as (context, server, nursery):
        command = Command.PUT if call == "put" else Command.RPC
        failures = []

        async def run():
            try:
                await (context.put("pv", {"x": 1}) if call == "put" else context.rpc("pv"))
            except Disconnected as exc:
                failures.append(str(exc))

        nursery.start_soon(run)
        for last in (False, True):  # before it was sent it is begun again
            peer = await server.logged_in()
            await peer.create()
            ioid = await peer.init(command, PAIR if call == "put" else None)
            if call == "put":
                await peer.execution(command)
                if last:
                    await peer.reply(command, ioid, Value(PAIR, {"x": 0}), sub=0x40)
                    await peer.execution(command)
            elif last:
                await peer.execution(command)
            if call == "put" or last:
                peer.close()
            else:
                break
        if call == "rpc":
            await peer.execution(command)
            peer.close()
        await trio.sleep(1)
        assert failures == [
            f"{call} to 'pv': 127.0.0.1:{server.port} closed the connection before it answered; "
            "whether it was done is not known"
        ]


async def test_the_server_drops_one_channel(faked, virtual_time):
    async with (
        faked(nt=False) as (context, server, _nursery),
        context.monitor("pv", notify_disconnect=True) as updates,
    ):
        peer = await server.logged_in()
        sid = await peer.create()
        ioid = await peer.init(Command.MONITOR, PAIR)
        await peer.execution(Command.MONITOR)
        await peer.update(ioid, Value(PAIR, {"x": 1}))
        assert (await anext(updates)).x == 1
        await peer.destroy_channel(sid)
        assert "closed the channel" in str(await anext(updates))
        await peer.create(sid=77)
        ioid = await peer.init(Command.MONITOR, PAIR)
        await peer.update(ioid, Value(PAIR, {"x": 2}))
        assert (await anext(updates)).x == 2


async def test_a_server_that_gives_channels_and_takes_them_away(faked, virtual_time):
    async with faked() as (context, server, _nursery), context.monitor("pv"):
        count = 0
        with trio.move_on_after(60):
            peer = await server.logged_in()
            while True:
                try:
                    await peer.destroy_channel(await peer.create(sid=count))
                    count += 1
                except EOFError:  # it had no channel for so long
                    peer = await server.logged_in()
        assert 3 < count < 15


async def test_a_server_that_claims_and_refuses(faked, virtual_time, log):
    async with faked(nt=False) as (context, server, nursery):
        reader = Reader(nursery, context)
        peer = await server.logged_in()
        await peer.create(Status(StatusKind.FATAL, "not for you"), sid=0xFFFFFFFF)
        await reader.done.wait()
        assert isinstance(reader.result, RemoteError)
        assert str(reader.result) == "get of 'pv': not for you"
        assert not context._runtime.channels

        async with context.monitor("pv") as updates:
            begun = trio.current_time()
            for _ in range(3):
                await peer.create(Status(StatusKind.FATAL, "not for you"), sid=0xFFFFFFFF)
            assert trio.current_time() - begun > 2.0
            await peer.create()
            ioid = await peer.init(Command.MONITOR, PAIR)
            await peer.update(ioid, Value(PAIR, {"x": 1}))
            assert (await anext(updates)).x == 1


# ---- bad servers


BAD = {
    "no PVA at all": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "version 0": bytes.fromhex("CA00400900000000"),
    "direction": bytes.fromhex("CA02000900000000"),
    "unasked login": bytes.fromhex("CA02400901000000FF"),
    "too big": bytes.fromhex("CA024001FFFFFF7F"),
}


@pytest.mark.parametrize("kind", BAD)
async def test_nonsense_closes_that_connection_only(faked, serve, network, virtual_time, log, kind):
    async with faked(nt=False) as (context, server, nursery):
        reader = Reader(nursery, context)
        for _ in range(2):
            peer = await server.accept()
            await peer.raw(BAD[kind])
            assert await peer.ended()
        peer = await server.logged_in()
        await peer.create()
        await answer_get(peer, 7)
        await reader.done.wait()
        assert reader.result.x == 7
        broken = [text for text in log() if "broke the protocol" in text]
        assert len(broken) == 2  # once each
        assert broken[0].startswith(f"127.0.0.1:{server.port} broke the protocol")


async def test_a_message_beyond_the_limit(faked, virtual_time, log):
    async with faked(nt=False, limits=Limits(max_message=100_000)) as (context, server, nursery):
        Reader(nursery, context)
        peer = await server.logged_in()
        await peer.create()
        await peer.raw(bytes.fromhex("CA02400AA1860100"))
        assert await peer.ended()
        assert any("100001" in text for text in log())


async def test_a_reply_that_does_not_decode(faked, virtual_time, log):
    async with faked(nt=False) as (context, server, nursery):
        one, other = Reader(nursery, context), Reader(nursery, context, "other")
        peer = await server.logged_in()
        await peer.create()
        await peer.create()
        ioid, _ = await peer.init(Command.GET, PAIR), await peer.init(Command.GET, PAIR)
        await peer.execution(Command.GET)
        payload = LITTLE.u32.pack(ioid) + bytes.fromhex("00 FF 01 FF 00")
        await peer.raw(LITTLE.header.pack(0xCA, 2, 0x40, 0x0A, len(payload)) + payload)
        assert await peer.ended()
        peer = await server.logged_in()
        await peer.create()
        await peer.create()
        ioids = await peer.init(Command.GET, PAIR), await peer.init(Command.GET, PAIR)
        await answer_get(peer, 1, ioids[0])
        await answer_get(peer, 2, ioids[1])
        await one.done.wait()
        await other.done.wait()
        assert {one.result.x, other.result.x} == {1, 2}
        assert len(log()) == 1


async def test_a_server_that_never_accepts_the_login(faked, virtual_time):
    async with faked() as (context, server, nursery):
        Reader(nursery, context)
        begun = trio.current_time()
        peer = await server.accept()
        assert await peer.ended()
        assert 5.0 <= trio.current_time() - begun <= 7.0


async def test_a_refused_login_is_no_end(faked, virtual_time, log):
    async with faked(nt=False) as (context, server, nursery):
        reader = Reader(nursery, context)
        peer = await server.accept()
        await peer.hello()
        await peer.expect(Command.CONNECTION_VALIDATION)
        messages.write_validated(peer.out, LITTLE, Status(StatusKind.ERROR, "who are you"))
        await peer.flush()
        await peer.create()
        await answer_get(peer, 7)
        await reader.done.wait()
        assert reader.result.x == 7
        assert any("who are you" in text for text in log())


async def test_a_talkative_server_does_not_fill_the_log(faked, virtual_time, log):
    async with faked() as (context, server, nursery):
        Reader(nursery, context)
        peer = await server.logged_in()
        await peer.create()
        for n in range(100):
            messages.write_message(peer.out, LITTLE, True, 1, 2, f"remark {n} " + "x" * 5_000)
        await peer.flush()
        await trio.sleep(1)
        assert len(log()) == 1
        assert len(log()[0]) < 1_100


async def test_one_bad_server_does_not_touch_another(network, serve, client, virtual_time):
    bad = FakeServer(network)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bad.answer_searches)
        bad.claims = lambda name: name == "bad"

        async def be_bad():
            while True:
                peer = await bad.logged_in()
                await peer.create()
                await peer.raw(b"\xca" + bytes(100))

        nursery.start_soon(be_bad)
        async with serve({"pv": pv_of(1.0)}) as server:
            ports = f"127.0.0.1:{bad.udp.address[1]} 127.0.0.1"
            async with (
                client(server, conf={"EPICS_PVA_ADDR_LIST": ports}) as context,
                context.monitor("bad"),
                context.monitor("pv") as updates,
            ):
                assert await anext(updates) == 1.0
                for _ in range(30):
                    await trio.sleep(1)
                    assert await context.get("pv") == 1.0
                assert sum(1 for connection in network.connections if connection.client.peer[1] != bad.port) == 1
        nursery.cancel_scope.cancel()

"""How servers are found: UDP, name servers, beacons; and that looking for them costs little."""

from __future__ import annotations

import itertools

import pytest
import trio

from p4p_trio import Disconnected, Limits, Server, SharedPV
from p4p_trio.client import Context
from p4p_trio.errors import ConfigError
from p4p_trio.nt import NTScalar
from p4p_trio.protocol.client_search import RATE, read_answers
from p4p_trio.testing import MemoryNetwork, storm
from p4p_trio.wire import LITTLE, Buffers, messages
from tests.client.fake_server import FakeServer


def pv_of(initial=0.0) -> SharedPV:
    return SharedPV(nt=NTScalar("d"), initial=initial)


async def test_pauses_between_searches(faked, virtual_time):
    async with faked() as (context, server, _nursery):
        server.claims = lambda name: False
        with trio.move_on_after(300):
            await context.get("missing")
        times = [time for time, _ in server.asked]
        pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
        for expected, pause in enumerate(pauses, 1):
            expected = min(expected, 30)
            assert 0.9 * expected <= pause <= 1.1 * expected + 0.25
        assert len(times) == pytest.approx(25, abs=2)


async def test_ten_thousand_missing_pvs(faked, virtual_time):
    async with faked() as (context, server, _nursery):
        server.claims = lambda name: False
        begun = trio.current_time()
        with trio.move_on_after(120):
            await context.get([f"some:missing:device:{n}" for n in range(10_000)])
        times = [time for time, _ in server.asked]
        for second in range(120):
            assert sum(1 for time in times if second <= time - begun < second + 1) <= RATE
        asked = {name for _, names in server.asked for name in names}
        assert len(asked) == 10_000
        assert sum(1 for time in times if time - begun > 90) < 30 * 20


@pytest.mark.parametrize("loss", [0.3, 0.6])
async def test_lost_and_repeated_datagrams(network, serve, client, virtual_time, loss):
    network.weather = storm(seed=3, loss=loss, duplicates=0.3, delay=0.2)
    pvs = {f"pv:{n}": pv_of(n) for n in range(200)}
    async with serve(pvs) as server, client(server) as context:
        with trio.fail_after(120):
            assert await context.get(list(pvs)) == list(range(200))
        assert len(network.connections) == 1


async def test_the_first_answer_wins_and_a_duplicate_is_warned_about(faked, network, virtual_time, log):
    async with faked() as (context, server, nursery):
        second = FakeServer(network)
        second.guid = b"a fake srv 2"
        original = server.udp.send

        def both(data, to, **kwargs):
            original(data, to, **kwargs)
            original(data, to, **kwargs)  # pvxs on a single address answers twice: no duplicate PV
            search = [*messages_cids(data)]
            second.udp.send(second.response(search), to)
            second.udp.send(second.response(search), to)

        server.udp.send = both
        nursery.start_soon(context.get, "pv")
        peer = await server.logged_in()
        await peer.create()
        await trio.sleep(1)
        assert [text for text in log() if "served twice" in text] == [
            f"'pv' is served twice: by 127.0.0.1:{server.port}, which is used, and by 127.0.0.1:{second.port} "
            f"(GUID {second.guid.hex()})"
        ]


def messages_cids(data: bytes):
    for answer in read_answers(data, Limits()):
        yield from answer.cids


async def test_garbage_and_forged_answers_are_ignored(faked, virtual_time):
    async with faked() as (context, server, nursery):
        server.claims = lambda name: False
        nursery.start_soon(context.get, "pv")
        await trio.sleep(0.1)
        (udp,) = context._runtime.searching._sockets.values()
        for data in (
            b"",
            b"\xca",
            b"\xca" * 100,
            server.response([1, 2, 3]),
            server.response([]),
            server.response(list(context._runtime._by_cid), port=0),
            server.response(list(context._runtime._by_cid))[:-1],
        ):
            server.udp.send(data, ("127.0.0.1", udp.address[1]))
        await trio.sleep(0.1)
        assert not context._runtime.sessions
        server.claims = lambda name: True
        await (await server.logged_in()).create()


# ---- where to


async def served_at(network: MemoryNetwork, conf: dict, client_conf: dict, home: MemoryNetwork) -> float:
    base = {"EPICS_PVA_AUTO_ADDR_LIST": "NO", "EPICS_PVA_BROADCAST_PORT": "5076"}
    async with (
        Server([{"pv": pv_of(7.0)}], conf=conf, useenv=False, network=network),
        Context(conf=base | client_conf, useenv=False, network=home) as context,
    ):
        with trio.fail_after(5):
            return await context.get("pv")


async def test_broadcast(virtual_time):
    home = MemoryNetwork("10.0.0.1")
    assert await served_at(home.host("10.0.0.2"), {}, {"EPICS_PVA_AUTO_ADDR_LIST": "YES"}, home) == 7.0


async def test_unicast(virtual_time):
    home = MemoryNetwork("10.0.0.1")
    assert await served_at(home.host("10.0.0.2"), {}, {"EPICS_PVA_ADDR_LIST": "10.0.0.2"}, home) == 7.0


async def test_multicast(virtual_time):
    home = MemoryNetwork("10.0.0.1")
    conf = {"EPICS_PVAS_INTF_ADDR_LIST": "0.0.0.0 224.1.1.1,3@10.0.0.2"}
    assert await served_at(home.host("10.0.0.2"), conf, {"EPICS_PVA_ADDR_LIST": "224.1.1.1,3@10.0.0.1"}, home) == 7.0


async def test_names_of_hosts(virtual_time):
    home = MemoryNetwork("10.0.0.1", names={"ioc": "10.0.0.2"})
    assert await served_at(home.host("10.0.0.2"), {}, {"EPICS_PVA_ADDR_LIST": "ioc"}, home) == 7.0


async def test_unknown_hosts(virtual_time):
    with pytest.raises(ConfigError, match=r"EPICS_PVA_ADDR_LIST.*unknown host"):
        async with Context(conf={"EPICS_PVA_ADDR_LIST": "nobody"}, useenv=False, network=MemoryNetwork()):
            pass


async def test_several_servers_and_a_client_share_the_port(virtual_time):
    """Unicast searches reach only the newest socket: if that is a client's, it passes them on."""
    here = MemoryNetwork("10.0.0.2")
    conf = {"EPICS_PVA_ADDR_LIST": "10.0.0.2", "EPICS_PVA_AUTO_ADDR_LIST": "NO"}
    async with (
        Server([{"one": pv_of(1.0)}], useenv=False, network=here),
        Server([{"two": pv_of(2.0)}], conf={"EPICS_PVAS_SERVER_PORT": "0"}, useenv=False, network=here),
        Context(conf=conf, useenv=False, network=here) as neighbour,
        Context(conf=conf, useenv=False, network=here.host("10.0.0.1")) as far,
    ):
        with trio.fail_after(3):
            assert await neighbour.get(["one", "two"]) == [1.0, 2.0]
            assert await far.get(["one", "two"]) == [1.0, 2.0]


# ---- name servers


async def test_a_name_server(virtual_time):
    home = MemoryNetwork("10.0.0.1")
    conf = {"EPICS_PVA_NAME_SERVERS": "10.0.0.2"}
    network = home.host("10.0.0.2")
    assert await served_at(network, {}, conf, home) == 7.0


async def test_a_name_server_that_comes_later(virtual_time, log):
    home = MemoryNetwork("10.0.0.1")
    conf = {"EPICS_PVA_NAME_SERVERS": "10.0.0.2", "EPICS_PVA_AUTO_ADDR_LIST": "NO"}
    async with Context(conf=conf, useenv=False, network=home) as context, trio.open_nursery() as nursery:
        found = []

        async def read():
            found.append(await context.get("pv"))

        nursery.start_soon(read)
        await trio.sleep(35)
        assert len(log()) == 1  # it is tried every 10 s, and complained about once
        assert "name server: connecting to 10.0.0.2:5075 failed" in log()[0]
        far = home.host("10.0.0.2")
        async with Server([{"pv": pv_of(7.0)}], useenv=False, network=far):
            await trio.sleep(11.5)
            assert found == [7.0]
            assert len(home.connections) == 1
        await trio.sleep(100)
        async with Server([{"pv": pv_of(8.0)}], useenv=False, network=far):
            with trio.fail_after(11.5):
                assert await context.get("pv") == 8.0


async def test_a_name_server_is_not_dropped_for_want_of_channels(virtual_time):
    home = MemoryNetwork("10.0.0.1")
    conf = {"EPICS_PVA_NAME_SERVERS": "10.0.0.2", "EPICS_PVA_AUTO_ADDR_LIST": "NO"}
    async with (
        Server([{"pv": pv_of(7.0)}], useenv=False, network=home.host("10.0.0.2")),
        Context(conf=conf, useenv=False, network=home),
    ):
        await trio.sleep(300)
        assert len(home.connections) == 1


# ---- beacons


def beacon(port: int, guid: bytes, *, changes: int = 0) -> bytes:
    out = Buffers()
    messages.write_beacon(out, LITTLE, guid, 0, changes, messages.ANY, port)
    return b"".join(out.freeze())


async def test_a_beacon_pokes_the_search(virtual_time):
    home = MemoryNetwork("10.0.0.1")
    far = home.host("10.0.0.2")
    conf = {"EPICS_PVA_ADDR_LIST": "10.0.0.2", "EPICS_PVA_AUTO_ADDR_LIST": "NO"}
    async with Context(conf=conf, useenv=False, network=home) as context, trio.open_nursery() as nursery:
        found = []

        async def read():
            found.append(await context.get("pv"))

        nursery.start_soon(read)
        await trio.sleep(400)  # the pauses are 30 s by now
        async with Server([{"pv": pv_of(7.0)}], useenv=False, network=far):
            await trio.sleep(1.6)
            assert found == [7.0]


async def test_beacons_poke_at_most_every_thirty_seconds(virtual_time):
    home = MemoryNetwork("10.0.0.1")
    far = home.host("10.0.0.2")
    udp = far.open_udp("0.0.0.0", 5076)
    conf = {"EPICS_PVA_ADDR_LIST": "10.0.0.2", "EPICS_PVA_AUTO_ADDR_LIST": "NO"}
    async with Context(conf=conf, useenv=False, network=home) as context, trio.open_nursery() as nursery:
        nursery.start_soon(context.get, "pv")
        await trio.sleep(500)
        with trio.move_on_after(0.1):
            while True:
                await udp.receive()
        for n in range(300):  # thirty changes each second
            udp.send(beacon(5075, b"%012d" % n), ("10.0.0.1", 5076))
            await trio.sleep(0.1)
        with trio.move_on_after(0.1):
            assert len(await udp.receive()) <= 3
        nursery.cancel_scope.cancel()


# ---- who is there


async def test_discover(virtual_time):
    home = MemoryNetwork("10.0.0.1")
    far = home.host("10.0.0.2")
    conf = {"EPICS_PVA_ADDR_LIST": "10.0.0.2", "EPICS_PVA_AUTO_ADDR_LIST": "NO"}
    async with Context(conf=conf, useenv=False, network=home) as context:
        first = Server([{"pv": pv_of()}], useenv=False, network=far)
        async with first:
            with trio.fail_after(1):
                async with context.discover() as events:
                    event = await anext(events)
            assert (event.online, event.guid, event.address, event.protocol) == (
                True,
                first.guid,
                ("10.0.0.2", 5075),
                "tcp",
            )
        async with context.discover() as events:
            assert await anext(events) == event
            second = Server([{"pv": pv_of()}], useenv=False, network=far)
            async with second:
                with trio.fail_after(5):
                    gone, came = await anext(events), await anext(events)
                assert (gone.online, gone.guid) == (False, first.guid)
                assert (came.online, came.guid) == (True, second.guid)
                with trio.move_on_after(500) as scope:
                    await anext(events)
                assert scope.cancelled_caught  # it is alive, and known to be
            with trio.fail_after(400):
                gone = await anext(events)
            assert (gone.online, gone.guid) == (False, second.guid)


async def test_discover_ends_with_the_context(serve, client, virtual_time):
    async with serve({"pv": pv_of()}) as server, trio.open_nursery() as nursery:
        seen = []

        async def watch(context):
            seen.extend([event async for event in context.discover()])

        async with client(server) as context:
            nursery.start_soon(watch, context)
            await trio.sleep(1)
    assert len(seen) == 1


async def test_list(serve, client, virtual_time):
    async with serve({"b": pv_of(), "a": pv_of()}) as server, client(server) as context:
        port = int(server.conf()["EPICS_PVA_SERVER_PORT"])
        assert await context.list(f"127.0.0.1:{port}") == ["a", "b", "server"]
        assert await context.list("127.0.0.1") == ["a", "b", "server"]  # the port of the settings
        assert await context.list(("127.0.0.1", port)) == ["a", "b", "server"]
        async with context.discover() as events:
            assert await context.list(await anext(events)) == ["a", "b", "server"]


async def test_list_of_nobody(serve, client, virtual_time):
    async with serve({"b": pv_of()}) as server, client(server) as context:
        with pytest.raises(Disconnected, match=r"connecting to 127\.0\.0\.1:9 failed: Connection refused"):
            await context.list("127.0.0.1:9")
        with pytest.raises(Disconnected, match=r"connecting to 127\.0\.0\.1:9 failed: Connection refused"):
            await context.list("127.0.0.1:9")


async def test_hurry_up(faked, virtual_time):
    async with faked() as (context, server, nursery):
        server.claims = lambda name: False
        nursery.start_soon(context.get, "pv")
        await trio.sleep(100)
        before = len(server.asked)
        context.hurry_up()
        await trio.sleep(0.1)
        assert len(server.asked) == before + 1

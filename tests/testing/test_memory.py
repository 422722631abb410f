"""The memory network's own powers: time, weather, faults and more than one host."""

import pytest
import trio

from p4p_trio.testing.memory import MemoryNetwork, fair, storm


async def joined(network, server=None, host="127.0.0.1"):
    listener = (server or network).listen("0.0.0.0", 0)
    client = await network.connect(host, listener.address[1])
    return client, await listener.accept()


async def test_latency(autojump_clock):
    one, other = await joined(MemoryNetwork(latency=0.25))
    one.send_now([b"x"])
    assert other.receive_nowait() is None
    await other.receive()
    assert trio.current_time() == pytest.approx(0.25)


async def test_capacity_and_progress():
    network = MemoryNetwork(capacity=10)
    one, other = await joined(network)
    assert one.send_now([b"0123", b"456789abc"]) == 10
    assert one.send_now([b"x"]) == 0
    await other.receive(memoryview(bytearray(4)))
    assert one.send_now([b"abcdef"]) == 4
    network.connections[0].capacity = None
    assert one.send_now([b"x" * 1000]) == 1000


async def test_send_now_limit():
    network = MemoryNetwork(send_now_limit=3)
    one, _ = await joined(network)
    assert one.send_now([b"0123456"]) == 3
    network.connections[0].send_now_limit = 0
    assert one.send_now([b"x"]) == 0
    await one.send_rest([b"yes"])


async def test_chunks():
    network = MemoryNetwork(chunk=1)
    one, other = await joined(network)
    one.send_now([b"abc"])
    assert [bytes(await other.receive()) for _ in range(3)] == [b"a", b"b", b"c"]


async def test_stall_is_silence(autojump_clock):
    network = MemoryNetwork()
    one, other = await joined(network)
    (connection,) = network.connections
    connection.stall()
    assert one.send_now([b"x"]) == 1
    one.abort()
    with trio.move_on_after(1000) as scope:
        await other.receive()
    assert scope.cancelled_caught
    assert other.send_now([b"y"]) == 1  # nobody told it
    connection.resume()
    assert bytes(await other.receive()) == b"x"
    assert len(await other.receive()) == 0
    assert other.send_now([b"y"]) == 0
    assert isinstance(other.error, BrokenPipeError)
    other.abort()
    assert network.connections == []


async def test_reset():
    network = MemoryNetwork()
    one, other = await joined(network)
    one.send_now([b"lost"])

    async def waits():
        with pytest.raises(trio.BrokenResourceError):
            await one.receive()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(waits)
        await trio.testing.wait_all_tasks_blocked()
        network.connections[0].reset()
    with pytest.raises(trio.BrokenResourceError):
        await other.receive()
    with pytest.raises(trio.BrokenResourceError):
        await other.send_rest([b"x"])


async def test_closing_a_listener_resets_who_waits():
    network = MemoryNetwork()
    listener = network.listen("127.0.0.1", 0)
    client = await network.connect(*listener.address)
    listener.close()
    with pytest.raises(trio.BrokenResourceError):
        await client.receive()


class TestHosts:
    async def test_tcp(self):
        here = MemoryNetwork("10.0.0.1")
        there = here.host("10.0.0.2")
        assert here.host("10.0.0.2") is there
        one, other = await joined(here, there, "10.0.0.2")
        assert (one.local[0], one.peer[0]) == ("10.0.0.1", "10.0.0.2") == (other.peer[0], other.local[0])
        with pytest.raises(ConnectionRefusedError):
            await here.connect("127.0.0.1", one.peer[1])
        with pytest.raises(OSError, match="No route"):
            await here.connect("10.0.0.3", one.peer[1])

    async def test_broadcast_reaches_every_host_and_loopback_none(self):
        here = MemoryNetwork("10.0.0.1")
        there = here.host("10.0.0.2")
        sockets = [host.open_udp("0.0.0.0", 5076, share=True) for host in (here, here, there)]
        sender = here.open_udp()
        for to in ("10.0.0.255", "255.255.255.255"):
            assert sender.send(b"x", (to, 5076))
            for udp in sockets:
                (datagram,) = await udp.receive()
                assert (datagram.source[0], datagram.destination) == ("10.0.0.1", to)
        sender.send(b"x", ("127.0.0.1", 5076))
        (datagram,) = await sockets[1].receive()
        assert datagram.source[0] == "127.0.0.1"
        assert not sockets[0]._queue
        assert not sockets[2]._queue
        assert not sender.send(b"x", ("10.0.0.3", 5076))
        assert sender.error is not None

    async def test_groups(self):
        here = MemoryNetwork("10.0.0.1")
        there = here.host("10.0.0.2")
        one, other = (host.open_udp("0.0.0.0", 5076) for host in (here, there))
        for udp in (one, other):
            udp.join("224.0.0.128", "127.0.0.1")
            udp.join("224.0.1.1")
        one.send(b"here", ("224.0.0.128", 5076), interface="127.0.0.1")
        one.send(b"everywhere", ("224.0.1.1", 5076))
        assert [d.data for d in await one.receive()] == [b"here", b"everywhere"]
        assert [d.data for d in await other.receive()] == [b"everywhere"]

    async def test_partition(self, autojump_clock):
        here = MemoryNetwork("10.0.0.1")
        there = here.host("10.0.0.2")
        one, other = await joined(here, there, "10.0.0.2")
        udp, heard = here.open_udp(), there.open_udp("0.0.0.0", 5076)
        here.partition("10.0.0.2")
        one.send_now([b"x"])
        udp.send(b"x", ("10.0.0.2", 5076))
        for wait in (other.receive, heard.receive, lambda: here.connect("10.0.0.2", 1)):
            with trio.move_on_after(60) as scope:
                await wait()
            assert scope.cancelled_caught
        here.heal()
        assert bytes(await other.receive()) == b"x"
        udp.send(b"y", ("10.0.0.2", 5076))
        assert [datagram.data for datagram in await heard.receive()] == [b"y"]


class TestWeather:
    async def test_any_function(self, autojump_clock):
        network = MemoryNetwork()
        one, other = network.open_udp(), network.open_udp("127.0.0.1", 5076)
        network.weather = lambda data, source, to: {b"lost": (), b"twice": (0, 0), b"late": (2.0,)}.get(data, (0.5,))
        for data in (b"lost", b"late", b"plain", b"twice"):
            assert one.send(data, ("127.0.0.1", 5076))
        assert [d.data for d in await other.receive()] == [b"twice", b"twice"]
        assert [d.data for d in await other.receive()] == [b"plain"]
        assert [d.data for d in await other.receive()] == [b"late"]
        assert trio.current_time() == pytest.approx(2.0)
        network.weather = fair
        one.send(b"lost", ("127.0.0.1", 5076))
        assert [d.data for d in await other.receive()] == [b"lost"]

    async def test_a_storm_is_the_same_every_time(self, autojump_clock):
        async def run():
            network = MemoryNetwork()
            network.weather = storm(7, loss=0.3, duplicates=0.2, delay=1.0)
            one, other = network.open_udp(), network.open_udp("127.0.0.1", 5076)
            for number in range(100):
                one.send(bytes([number]), ("127.0.0.1", 5076))
            got = []
            with trio.move_on_after(10):
                while True:
                    got += [datagram.data[0] for datagram in await other.receive()]
            return got

        first, second = await run(), await run()
        assert first == second
        assert len(set(first)) < 100
        assert len(first) > len(set(first))
        assert first != sorted(first)

    async def test_queues_are_bounded(self):
        network = MemoryNetwork()
        one, other = network.open_udp(), network.open_udp("127.0.0.1", 5076)
        for _ in range(5000):
            one.send(b"x", ("127.0.0.1", 5076))
        assert other.dropped == 5000 - 4096


async def test_interfaces():
    assert [interface.address for interface in MemoryNetwork().interfaces()] == ["127.0.0.1"]
    _, outside = MemoryNetwork("10.0.0.1").interfaces()
    assert (outside.address, outside.broadcast) == ("10.0.0.1", "10.0.0.255")


async def test_names():
    network = MemoryNetwork(names={"ioc": "10.0.0.2"})
    assert await network.resolve("ioc") == ["10.0.0.2"]
    with pytest.raises(OSError, match="unknown host"):
        await network.resolve("nowhere")

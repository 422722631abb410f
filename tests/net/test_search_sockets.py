"""Which sockets hear the searches, on both networks; and whole conversations of several servers on one host."""

import contextlib
import errno
import logging
import sys

import pytest
import trio

from p4p_trio.config import Endpoint
from p4p_trio.net.interfaces import broadcast_addresses, local_addresses
from p4p_trio.net.network import SystemNetwork
from p4p_trio.net.search_sockets import open_search_sockets
from p4p_trio.protocol.search import FORWARD_GROUP, SearchResponder
from p4p_trio.testing.memory import MemoryNetwork
from p4p_trio.testing.memory_udp import MemoryUDPSocket
from p4p_trio.wire.buffers import Buffers
from p4p_trio.wire.messages.udp import address16, write_search
from p4p_trio.wire.order import BIG

HERE = "10.0.0.1"


def endpoints(text):
    return tuple(Endpoint.parse(word) for word in text.split())


def bound(opened):
    return [udp.address[0] for udp in opened.sockets]


def search(name, flags=0x80, port=0):
    out = Buffers()
    write_search(out, BIG, 1, flags, address16(""), port, ["tcp"], [(7, name)] if name else [])
    return b"".join(out.freeze())


class TestPlan:
    @pytest.mark.parametrize(
        ("interfaces", "hosts"),
        [
            ("", ["0.0.0.0"]),
            ("0.0.0.0", ["0.0.0.0"]),
            (f"0.0.0.0 {HERE}", ["0.0.0.0"]),
            ("127.0.0.1", ["127.0.0.1", FORWARD_GROUP]),
            (HERE, [HERE, "10.0.0.255", FORWARD_GROUP]),
            (f"{HERE} 127.0.0.1", [HERE, "10.0.0.255", "127.0.0.1", FORWARD_GROUP]),
            (f"224.0.1.1 {HERE}", ["224.0.1.1", HERE, "10.0.0.255", FORWARD_GROUP]),
            ("224.0.1.1 0.0.0.0", ["0.0.0.0"]),
        ],
    )
    async def test_linux(self, interfaces, hosts):
        opened = open_search_sockets(MemoryNetwork(HERE), endpoints(interfaces), 5076, per_address=True)
        assert bound(opened) == hosts
        assert opened.port == 5076
        assert opened.forwarding

    @pytest.mark.parametrize("interfaces", ["", HERE, f"{HERE} 224.0.1.1"])
    async def test_elsewhere(self, interfaces):
        opened = open_search_sockets(MemoryNetwork(HERE), endpoints(interfaces), 5076, per_address=False)
        assert bound(opened) == ["0.0.0.0"]
        assert (FORWARD_GROUP, True) in opened.sockets[0].groups

    async def test_groups_are_joined(self):
        network = MemoryNetwork(HERE)
        (wildcard,) = open_search_sockets(network, endpoints("0.0.0.0 224.0.1.1@net"), 5076).sockets
        assert wildcard.groups == {("224.0.1.1", False), (FORWARD_GROUP, True)}

    async def test_ipv6(self):
        network = MemoryNetwork("fd00::1")
        assert bound(open_search_sockets(network, endpoints("fd00::1"), 5076)) == ["fd00::1"]
        assert not open_search_sockets(network, endpoints("fd00::1"), 5077).forwarding
        assert bound(open_search_sockets(network, endpoints(":: ff02::9@net"), 5078)) == ["::"]

    async def test_free_port_is_the_same_for_all(self):
        opened = open_search_sockets(MemoryNetwork(HERE), endpoints(HERE), 0, per_address=True)
        assert {udp.address[1] for udp in opened.sockets} == {opened.port}

    async def test_free_port_that_is_taken_on_another_address(self):
        network = MemoryNetwork(HERE)
        network.open_udp("10.0.0.255", network._next_port + 1)  # without sharing it
        opened = open_search_sockets(network, endpoints(HERE), 0, per_address=True)
        assert {udp.address[1] for udp in opened.sockets} == {opened.port}
        assert len(network._sockets) == 4  # those of the failed attempt are closed

    async def test_taken_port(self):
        network = MemoryNetwork(HERE)
        network.open_udp("0.0.0.0", 5076)
        with pytest.raises(OSError, match="in use") as caught:
            open_search_sockets(network, endpoints(HERE), 5076)
        assert caught.value.errno == errno.EADDRINUSE

    async def test_group_that_cannot_be_joined(self, monkeypatch, caplog):
        def refuse(self, group, interface=None):
            raise OSError(errno.ENODEV, "no such device")

        monkeypatch.setattr(MemoryUDPSocket, "join", refuse)
        with caplog.at_level(logging.WARNING, logger="p4p_trio.net"):
            opened = open_search_sockets(MemoryNetwork(), (), 5076)
        assert not opened.forwarding
        assert "cannot join multicast group 224.0.0.128" in caplog.text

    async def test_close(self):
        opened = open_search_sockets(MemoryNetwork(), (), 5076)
        opened.close()
        with pytest.raises(trio.ClosedResourceError):
            await opened.sockets[0].receive()


async def serve(network, names, interfaces, port, *, guid, task_status=trio.TASK_STATUS_IGNORED):
    """The responder of one server, as a server drives it (without the random delays)."""
    opened = open_search_sockets(network, endpoints(interfaces), port)
    served = [e.host for e in endpoints(interfaces)]
    responder = SearchResponder(
        bytes([guid]) * 12,
        5075,
        lambda asked: [name in names for name in asked],
        udp_port=opened.port,
        served=None if "0.0.0.0" in served else served,
        forwarding=opened.forwarding,
    )
    here = network.interfaces()
    responder.learn(local_addresses(here), broadcast_addresses(here))

    async def listen(udp):
        while True:
            for datagram in await udp.receive():
                answers = responder.datagram(datagram.data, datagram.source, datagram.destination, trio.current_time())
                for out in answers:
                    assert udp.send(out.data, out.to, source=out.source, interface=out.interface), udp.error

    with contextlib.closing(opened):
        async with trio.open_nursery() as nursery:
            for udp in opened.sockets:
                nursery.start_soon(listen, udp)
            task_status.started(opened.port)


async def guids(client):
    """Who answers within a moment, with how many replies each."""
    found = []
    with trio.move_on_after(0.2):
        while True:
            found += [datagram.data[8] for datagram in await client.receive()]
    return sorted(found)


real = pytest.param(SystemNetwork, marks=pytest.mark.skipif(sys.platform != "linux", reason="untried elsewhere"))


@pytest.mark.parametrize("make", [real, MemoryNetwork])
@pytest.mark.parametrize("interfaces", ["127.0.0.1", "0.0.0.0"])
async def test_several_servers_share_a_port(make, interfaces):
    network = make()
    async with trio.open_nursery() as nursery:
        port = await nursery.start(lambda **kw: serve(network, {"A", "C"}, interfaces, 0, guid=1, **kw))
        await nursery.start(lambda **kw: serve(network, {"B", "C"}, interfaces, port, guid=2, **kw))
        client = network.open_udp("127.0.0.1")
        back = client.address[1]
        for name, owners in {"A": [1], "B": [2], "C": [1, 2], "D": []}.items():
            client.send(search(name, port=back), ("127.0.0.1", port))
            assert await guids(client) == owners
        client.send(search("", 0x81, port=back), ("127.0.0.1", port))
        assert await guids(client) == [1, 2]
        client.close()
        nursery.cancel_scope.cancel()


async def test_broadcast_on_a_real_interface():
    network = SystemNetwork()
    outside = [interface for interface in network.interfaces() if interface.broadcast]
    if not outside or sys.platform != "linux":
        pytest.skip("only loopback here")
    address, broadcast = outside[0].address, outside[0].broadcast
    async with trio.open_nursery() as nursery:
        port = await nursery.start(lambda **kw: serve(network, {"A"}, address, 0, guid=1, **kw))
        await nursery.start(lambda **kw: serve(network, {"A"}, "127.0.0.1", port, guid=2, **kw))
        await nursery.start(lambda **kw: serve(network, {"A"}, "0.0.0.0", port, guid=3, **kw))
        client = network.open_udp(address)
        assert client.send(search("A", 0, port=client.address[1]), (broadcast, port))
        assert await guids(client) == [1, 3]
        client.close()
        nursery.cancel_scope.cancel()

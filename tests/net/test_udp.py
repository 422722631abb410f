"""Datagrams on the real loopback, and what the memory network's sockets promise alike."""

import errno
import socket
import sys

import pytest
import trio

from p4p_trio.net import udp as module
from p4p_trio.net.network import SystemNetwork
from p4p_trio.net.udp import BATCH, SystemUDPSocket
from p4p_trio.testing.memory import MemoryNetwork

both = pytest.mark.parametrize("make", [SystemNetwork, MemoryNetwork])
GROUP = "224.0.0.128"
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux binds these")


async def receive(udp):
    with trio.fail_after(5):
        (datagram,) = await udp.receive()
    return datagram


async def nothing(*sockets):
    """Nothing arrives at any of them."""
    for udp in sockets:
        with trio.move_on_after(0.05):
            pytest.fail(f"unexpected {await udp.receive()}")


@both
async def test_there_and_back(make):
    network = make()
    one, other = network.open_udp("127.0.0.1"), network.open_udp("0.0.0.0")
    assert one.send(b"hello", ("127.0.0.1", other.address[1]))
    datagram = await receive(other)
    assert datagram.data == b"hello"
    assert datagram.source == one.address
    assert datagram.destination == "127.0.0.1"
    assert datagram.interface == next(i.index for i in network.interfaces() if i.address == "127.0.0.1")
    assert "5 bytes" in repr(datagram)
    assert other.send(b"back", datagram.source, source="127.0.0.1")
    assert (await receive(one)).source == ("127.0.0.1", other.address[1])
    one.close()
    other.close()


@both
async def test_batches(make):
    network = make()
    one, other = network.open_udp("127.0.0.1"), network.open_udp("127.0.0.1")
    for number in range(BATCH + 10):
        assert one.send(bytes([number]), other.address)
    assert [datagram.data[0] for datagram in await other.receive()] == list(range(BATCH))
    assert [datagram.data[0] for datagram in await other.receive()] == list(range(BATCH, BATCH + 10))
    one.close()
    other.close()


@both
async def test_receive_is_a_checkpoint_and_cancellable(make):
    network = make()
    one = network.open_udp("127.0.0.1")
    with trio.move_on_after(0.01) as scope:
        await one.receive()
    assert scope.cancelled_caught
    one.send(b"x", one.address)
    with trio.testing.assert_checkpoints():
        await one.receive()
    one.close()


@both
async def test_shared_ports(make):
    network = make()
    first = network.open_udp("0.0.0.0", 0, share=True)
    port = first.address[1]
    second = network.open_udp("0.0.0.0", port, share=True)
    for udp in (first, second):
        udp.join(GROUP, "127.0.0.1")
    # The group reaches all sockets, a sender's own included ...
    assert first.send(b"all", (GROUP, port), interface="127.0.0.1")
    for udp in (first, second):
        datagram = await receive(udp)
        assert (datagram.data, datagram.destination) == (b"all", GROUP)
        assert datagram.source[0] == "127.0.0.1"
    # ... a unicast only one.
    sender = network.open_udp("127.0.0.1")
    sender.send(b"one", ("127.0.0.1", port))
    await trio.sleep(0.02)
    got = []
    for udp in (first, second):
        with trio.move_on_after(0.02):
            got += await udp.receive()
    assert len(got) == 1
    for udp in (first, second, sender):
        udp.close()


@both
async def test_only_those_who_joined_get_the_group(make):
    network = make()
    member = network.open_udp("0.0.0.0", 0, share=True)
    other = network.open_udp("0.0.0.0", member.address[1], share=True)
    member.join(GROUP, "127.0.0.1")
    member.send(b"x", (GROUP, member.address[1]), interface="127.0.0.1")
    await receive(member)
    await nothing(other)
    member.close()
    other.close()


@linux
@both
async def test_bound_to_the_group(make):
    network = make()
    group = network.open_udp(GROUP, 0, share=True)
    unicast = network.open_udp("127.0.0.1", group.address[1], share=True)
    group.join(GROUP, "127.0.0.1")
    unicast.send(b"all", (GROUP, group.address[1]), interface="lo")
    assert (await receive(group)).source[0] == "127.0.0.1"
    await nothing(unicast)
    unicast.send(b"one", unicast.address)
    await receive(unicast)
    await nothing(group)
    # An answer comes from the address that was asked for.
    asker = network.open_udp("127.0.0.1")
    group.send(b"answer", asker.address, source="127.0.0.1")
    assert (await receive(asker)).source == ("127.0.0.1", group.address[1])
    for udp in (group, unicast, asker):
        udp.close()


@both
async def test_ports_that_are_not_shared(make):
    network = make()
    owner = network.open_udp("0.0.0.0")
    for share in (False, True):
        with pytest.raises(OSError, match="in use") as caught:
            network.open_udp("0.0.0.0", owner.address[1], share=share)
        assert caught.value.errno == errno.EADDRINUSE
    owner.close()


def test_the_error_tells_who_has_the_port():
    owner = SystemUDPSocket("127.0.0.1")
    with pytest.raises(OSError, match=f"UDP port {owner.address[1]} of 127.0.0.1 is in use by a program that does not"):
        SystemUDPSocket("127.0.0.1", owner.address[1], share=True)
    with pytest.raises(OSError, match="by another program"):
        SystemUDPSocket("127.0.0.1", owner.address[1])
    owner._socket.close()


def test_free_shared_ports_are_really_free():
    sockets = [SystemUDPSocket("127.0.0.1", 0, share=True) for _ in range(50)]
    assert len({udp.address[1] for udp in sockets}) == 50
    for udp in sockets:
        udp._socket.close()


@both
async def test_closing_wakes_receive(make):
    udp = make().open_udp("127.0.0.1")

    async def waits():
        with pytest.raises(trio.ClosedResourceError):
            await udp.receive()

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(waits)
            await trio.testing.wait_all_tasks_blocked()
            udp.close()
            udp.close()
    assert not udp.send(b"x", ("127.0.0.1", 9))
    with pytest.raises(trio.ClosedResourceError):
        await udp.receive()


async def test_what_the_network_refuses_is_told_not_raised():
    udp = SystemUDPSocket("127.0.0.1")
    assert not udp.send(b"x" * 70_000, ("127.0.0.1", 9))
    assert udp.error is not None
    assert udp.error.errno == errno.EMSGSIZE
    assert not udp.send(b"x", (GROUP, 9), interface="no such interface")
    assert not udp.send(b"x", ("127.0.0.1", 9), source="203.0.113.1")
    udp.close()


async def test_nobody_listens():
    udp = SystemUDPSocket("127.0.0.1")
    closed = SystemUDPSocket("127.0.0.1")
    closed.close()
    assert udp.send(b"x", closed.address)
    await nothing(udp)
    udp.close()


async def test_faults_while_receiving_do_not_end_it(monkeypatch):
    udp = SystemUDPSocket("127.0.0.1")
    faults = [ConnectionRefusedError("an ICMP answer")]
    real = udp._receive_batch

    def faulty():
        if faults:
            raise faults.pop()
        return real()

    monkeypatch.setattr(SystemUDPSocket, "_receive_batch", lambda self: faulty())
    udp.send(b"x", udp.address)
    assert (await receive(udp)).data == b"x"
    udp.close()


async def test_where_the_destination_is_not_told(monkeypatch):
    monkeypatch.setattr(module, "_IP_PKTINFO", None)
    udp = SystemUDPSocket("0.0.0.0")
    assert udp.send(b"x", ("127.0.0.1", udp.address[1]), source="127.0.0.1")  # the source is then not chosen
    datagram = await receive(udp)
    assert (datagram.data, datagram.destination, datagram.interface) == (b"x", None, 0)
    for number in range(BATCH):
        udp.send(bytes([number]), ("127.0.0.1", udp.address[1]))
    assert len(await udp.receive()) == BATCH
    udp.close()


async def test_ipv6():
    try:
        udp = SystemUDPSocket("::", 0, share=True)
    except OSError:
        pytest.skip("no IPv6 here")
    assert udp.send(b"x", ("::1", udp.address[1]))
    datagram = await receive(udp)
    assert (datagram.source[0], datagram.destination) == ("::1", "::1")
    assert udp.send(b"y", datagram.source, source="::1")
    assert (await receive(udp)).data == b"y"
    for interface in SystemNetwork().interfaces():
        if interface.address.startswith("fe80:"):
            udp.join("ff02::123", interface.name)
            assert udp.send(b"z", ("ff02::123", udp.address[1]), interface=interface.name)
            datagram = await receive(udp)
            assert datagram.destination == "ff02::123"
            assert datagram.source[0].startswith("fe80:")
            assert udp.send(b"back", datagram.source)  # whose scope says where it is
            assert (await receive(udp)).data == b"back"
    # The same port is still free for IPv4.
    SystemUDPSocket("0.0.0.0", udp.address[1], share=True).close()
    udp.close()


def test_broadcasts_are_allowed():
    udp = SystemUDPSocket("127.0.0.1")
    assert udp._socket.getsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST)
    udp._socket.close()

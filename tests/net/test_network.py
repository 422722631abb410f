"""The real network, on loopback; and what both networks promise alike."""

import errno
import socket

import pytest
import trio

from p4p_trio.config import Endpoint
from p4p_trio.errors import ConfigError
from p4p_trio.net.network import SocketListener, SystemNetwork, resolve_endpoints
from p4p_trio.net.transport import SCRATCH_SIZE
from p4p_trio.testing.memory import MemoryNetwork

both = pytest.mark.parametrize("make", [SystemNetwork, MemoryNetwork])


@both
async def test_taken_port(make):
    network = make()
    listener = network.listen("127.0.0.1", 0)
    for host in ("127.0.0.1", "0.0.0.0"):
        with pytest.raises(OSError, match="in use") as caught:
            network.listen(host, listener.address[1])
        assert caught.value.errno == errno.EADDRINUSE
    listener.close()
    network.listen("127.0.0.1", listener.address[1]).close()


@both
async def test_nobody_listens(make):
    network = make()
    listener = network.listen("127.0.0.1", 0)
    listener.close()
    listener.close()
    with trio.fail_after(5), pytest.raises(ConnectionRefusedError):
        await network.connect(*listener.address)


@both
async def test_any_address(make):
    network = make()
    listener = network.listen("0.0.0.0", 0)
    assert listener.address[0] == "0.0.0.0"
    with trio.fail_after(5):
        client = await network.connect("127.0.0.1", listener.address[1])
        server = await listener.accept()
    assert server.peer == client.local
    assert server.peer[0] == "127.0.0.1"  # not ::ffff:127.0.0.1
    for each in (client, server, listener):
        getattr(each, "abort", getattr(each, "close", None))()


@both
async def test_closing_wakes_accept(make):
    listener = make().listen("127.0.0.1", 0)

    async def waits():
        with pytest.raises(trio.ClosedResourceError):
            await listener.accept()

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(waits)
            await trio.testing.wait_all_tasks_blocked()
            listener.close()
    with pytest.raises(trio.ClosedResourceError):
        await listener.accept()


@both
async def test_accept_is_a_checkpoint(make):
    network = make()
    listener = network.listen("127.0.0.1", 0)
    client = await network.connect(*listener.address)
    with trio.testing.assert_checkpoints():
        server = await listener.accept()
    client.abort()
    server.abort()
    listener.close()


@both
async def test_cancelled_accept_keeps_the_connection(make):
    network = make()
    listener = network.listen("127.0.0.1", 0)
    client = await network.connect(*listener.address)
    with trio.move_on_after(0):
        await listener.accept()
    with trio.fail_after(5):
        server = await listener.accept()
    assert server.peer == client.local
    client.abort()
    server.abort()
    listener.close()


@both
async def test_bad_host(make):
    with pytest.raises(OSError, match="assign"):
        make().listen("203.0.113.1", 0)
    with pytest.raises(OSError, match="assign"):
        make().open_udp("203.0.113.1", 0)


@both
async def test_resolve(make):
    assert await make().resolve("127.0.0.1") == ["127.0.0.1"]
    assert await make().resolve("::1") == ["::1"]


async def test_resolve_endpoints():
    network = MemoryNetwork(names={"ioc": "10.0.0.5"})
    endpoints = (Endpoint("ioc", 5), Endpoint("10.0.0.6"))
    assert await resolve_endpoints(network, endpoints, "EPICS_PVA_ADDR_LIST") == (
        Endpoint("10.0.0.5", 5),
        Endpoint("10.0.0.6"),
    )
    with pytest.raises(ConfigError, match="EPICS_PVA_ADDR_LIST: invalid endpoint 'nowhere:7': unknown host"):
        await resolve_endpoints(network, (Endpoint("nowhere", 7),), "EPICS_PVA_ADDR_LIST")


async def test_connect_by_name():
    network = SystemNetwork()
    listener = network.listen("127.0.0.1", 0)
    with trio.fail_after(5):
        client = await network.connect("localhost", listener.address[1])  # may try ::1 first
    assert client._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    server = await listener.accept()
    assert server._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    client.abort()
    server.abort()
    listener.close()


async def test_any_address_covers_ipv6():
    network = SystemNetwork()
    if not any(":" in interface.address for interface in network.interfaces()):
        pytest.skip("no IPv6 here")
    listener = network.listen("::", 0)
    for host in ("::1", "127.0.0.1"):
        client = await network.connect(host, listener.address[1])
        server = await listener.accept()
        assert server.peer == client.local == (host, client.local[1])
        client.abort()
        server.abort()
    listener.close()


async def test_any_address_without_ipv6(monkeypatch):
    monkeypatch.setattr(socket, "has_ipv6", False)
    network = SystemNetwork()
    listener = network.listen("::", 0)
    client = await network.connect("127.0.0.1", listener.address[1])
    client.abort()
    listener.close()


class FaultySocket:
    """A listening socket whose accept fails as scripted, then blocks."""

    def __init__(self, *errors):
        self.errors = list(errors)
        self.real, self.other = socket.socketpair()
        self.other.send(b"x")

    def setblocking(self, flag):
        pass

    def accept(self):
        if self.errors:
            raise self.errors.pop(0)
        return self.real, ("10.0.0.1", 5)

    def fileno(self):
        return self.real.fileno()


@pytest.mark.parametrize("code", [errno.ECONNABORTED, errno.EPROTO, errno.ENETDOWN])
async def test_accept_survives_vanished_connections(code):
    faulty = FaultySocket(*[OSError(code, "gone")] * 3)
    transport = await SocketListener(faulty, memoryview(bytearray(SCRATCH_SIZE)), ("h", 1)).accept()
    assert transport.peer == ("10.0.0.1", 5)
    transport.abort()
    faulty.other.close()


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS])
async def test_accept_pauses_when_exhausted(code, autojump_clock, caplog):
    faulty = FaultySocket(*[OSError(code, "no more")] * 5)
    transport = await SocketListener(faulty, memoryview(bytearray(SCRATCH_SIZE)), ("h", 1)).accept()
    assert trio.current_time() == pytest.approx(0.5)
    assert caplog.text.count("cannot accept") == 1
    transport.abort()
    faulty.other.close()


async def test_accept_reports_an_unusable_socket():
    faulty = FaultySocket(OSError(errno.EINVAL, "not listening"))
    with pytest.raises(OSError, match="not listening"):
        await SocketListener(faulty, memoryview(bytearray(SCRATCH_SIZE)), ("h", 1)).accept()
    faulty.real.close()
    faulty.other.close()

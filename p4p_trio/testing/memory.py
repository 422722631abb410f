"""A network that lives in memory: for virtual time, bad weather and faults on demand.

    network = MemoryNetwork()                        # one host, 127.0.0.1: give it to a server and to a client
    other = network.host("10.0.0.2")                 # more hosts on the same network
    network.weather = storm(seed=1, loss=0.3)        # UDP
    network.connections[0].stall()                   # TCP

It behaves like Linux where servers can tell: binding to any, to an interface, a broadcast or a group address decides
what a UDP socket receives; sockets that share a port all get broadcasts and groups, but only the newest gets unicasts;
loopback belongs to its host. There are no tasks and no real clock in it, so with `trio.testing.MockClock` a run is
the same every time. Addresses are numeric; `names` says which host names resolve.
"""

from __future__ import annotations

import errno
import ipaddress
import os
from collections import deque

import trio

from p4p_trio.net.interfaces import Interface
from p4p_trio.net.transport import Address
from p4p_trio.net.udp import Datagram

from .memory_stream import MemoryConnection, MemoryTransport
from .memory_udp import MemoryUDPSocket, Weather, fair, storm

__all__ = ["MemoryConnection", "MemoryListener", "MemoryNetwork", "MemoryTransport", "MemoryUDPSocket", "fair", "storm"]

_LOOPBACK, _NETWORK = 1, 2  # interface indices
_ANY = ("0.0.0.0", "::", "")


class _Ether:
    """What all hosts of one memory network have in common."""

    def __init__(self) -> None:
        self.hosts: dict[str, MemoryNetwork] = {}
        self.connections: list[MemoryConnection] = []
        self.weather: Weather = fair
        self.partitions: set[frozenset[str]] = set()


class MemoryListener:
    """An open port of a memory network, as a `p4p_trio.net.network.Listener`."""

    def __init__(self, network: MemoryNetwork, address: Address) -> None:
        self.address = address
        self._network = network
        self._waiting: deque[MemoryTransport] = deque()
        self._change = trio.lowlevel.ParkingLot()
        self._closed = False

    async def accept(self) -> MemoryTransport:
        await trio.lowlevel.checkpoint()
        while not self._closed:
            if self._waiting:
                return self._waiting.popleft()
            await self._change.park()
        raise trio.ClosedResourceError("this listener was closed")

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._network._listeners.remove(self)
        for transport in self._waiting:
            transport.connection.reset()
        self._change.unpark_all()

    def _enqueue(self, transport: MemoryTransport) -> None:
        self._waiting.append(transport)
        self._change.unpark_all()


class MemoryNetwork:
    """One host of a network in memory, as a `p4p_trio.net.network.Network`.

    Args:
        address: the host's address besides 127.0.0.1; by default it has no other.
        capacity, chunk, send_now_limit, latency: what new connections of this host's listeners get, see
            `MemoryConnection`. They are attributes too, and may change at any time.
        names: host names and their addresses, for `resolve`.
    """

    def __init__(
        self,
        address: str = "127.0.0.1",
        *,
        capacity: int | None = 65_536,
        chunk: int | None = None,
        send_now_limit: int | None = None,
        latency: float = 0.0,
        names: dict[str, str] | None = None,
    ) -> None:
        self.address = address
        self.capacity = capacity
        self.chunk = chunk
        self.send_now_limit = send_now_limit
        self.latency = latency
        self.names = {} if names is None else names
        self._ether = _Ether()
        self._ether.hosts[address] = self
        self._listeners: list[MemoryListener] = []
        self._sockets: list[MemoryUDPSocket] = []
        self._next_port = 49_152

    def host(self, address: str) -> MemoryNetwork:
        """Another host of the same network, with the same settings; made when it is first asked for."""
        known = self._ether.hosts.get(address)
        if known is None:
            known = MemoryNetwork(
                address,
                capacity=self.capacity,
                chunk=self.chunk,
                send_now_limit=self.send_now_limit,
                latency=self.latency,
                names=self.names,
            )
            known._ether = self._ether
            self._ether.hosts[address] = known
        return known

    @property
    def weather(self) -> Weather:
        """What happens to each copy of each datagram on the whole network."""
        return self._ether.weather

    @weather.setter
    def weather(self, weather: Weather) -> None:
        self._ether.weather = weather

    @property
    def connections(self) -> list[MemoryConnection]:
        """The TCP connections of the whole network that are not closed on both sides, oldest first."""
        self._ether.connections = [connection for connection in self._ether.connections if connection.alive]
        return self._ether.connections

    def partition(self, *others: str) -> None:
        """Separate this host from *others* (addresses): datagrams are lost, connections stall, connecting hangs."""
        self._ether.partitions.update(frozenset((self.address, other)) for other in others)
        for connection in self.connections:
            if self._apart(connection.client.local[0], connection.server.local[0]):
                connection.stall()

    def heal(self) -> None:
        """End all partitions of the whole network; stalled connections go on where they were."""
        self._ether.partitions.clear()
        for connection in self.connections:
            connection.resume()

    def _apart(self, one: str, other: str) -> bool:
        return frozenset((one, other)) in self._ether.partitions

    # Network

    def interfaces(self) -> tuple[Interface, ...]:
        loopback = Interface("lo", _LOOPBACK, "127.0.0.1", None, loopback=True)
        if self.address == "127.0.0.1":
            return (loopback,)
        return (loopback, Interface("net", _NETWORK, self.address, self._broadcast, loopback=False))

    async def resolve(self, host: str) -> list[str]:
        await trio.lowlevel.checkpoint()
        host = self.names.get(host, host)
        try:
            return [str(ipaddress.ip_address(host))]
        except ValueError:
            raise OSError(errno.ENOENT, f"unknown host {host}") from None

    def listen(self, host: str, port: int, backlog: int = 128) -> MemoryListener:
        self._check_bindable(host)
        if not port:
            port = self._free_port()
        elif any(port == known.address[1] and _overlap(host, known.address[0]) for known in self._listeners):
            raise _os_error(errno.EADDRINUSE)
        listener = MemoryListener(self, (host, port))
        self._listeners.append(listener)
        return listener

    async def connect(self, host: str, port: int) -> MemoryTransport:
        (host, *_) = await self.resolve(host)
        target = self._target(host)
        if self._apart(self.address, host):
            await trio.sleep_forever()
        if target is None:
            raise _os_error(errno.EHOSTUNREACH)
        for listener in target._listeners:
            if listener.address[1] == port and _overlap(listener.address[0], host):
                break
        else:
            raise _os_error(errno.ECONNREFUSED)
        connection = MemoryConnection(
            (self._source_for(host), self._free_port()),
            (host, port),
            capacity=target.capacity,
            chunk=target.chunk,
            send_now_limit=target.send_now_limit,
            latency=target.latency,
        )
        self.connections.append(connection)
        listener._enqueue(connection.server)
        return connection.client

    def open_udp(self, host: str = "0.0.0.0", port: int = 0, *, share: bool = False) -> MemoryUDPSocket:
        self._check_bindable(host, udp=True)
        for known in self._sockets:
            if port and port == known.address[1] and _overlap(host, known.address[0]) and not (share and known.share):
                raise _os_error(errno.EADDRINUSE)
        udp = MemoryUDPSocket(self, (host, port or self._free_port()), share=share)
        self._sockets.append(udp)
        return udp

    # How datagrams find their way

    def _carry(
        self, sender: MemoryUDPSocket, data: bytes, to: Address, source: str | None, interface: str | None
    ) -> None:
        host, port = to
        if source is None:
            bound = sender.address[0]
            loop = self._is_loopback(interface)
            source = bound if self._is_own(bound) else "127.0.0.1" if loop else self._source_for(host)
        origin = (source, sender.address[1])
        for receiver in self._receivers(host, port, interface):
            there = receiver.network.address
            if self._apart(self.address, there):
                continue
            index = _LOOPBACK if source.startswith("127.") else _NETWORK
            for delay in self.weather(data, origin, to):
                receiver.deliver(Datagram(data, origin, host, index), delay)

    def _receivers(self, host: str, port: int, interface: str | None) -> list[MemoryUDPSocket]:
        if ipaddress.ip_address(host).is_multicast:
            loopback = self._is_loopback(interface)
            return [
                udp
                for network in ([self] if loopback else self._ether.hosts.values())
                for udp in network._sockets
                if udp.address[1] == port and (host, loopback) in udp.groups and udp.address[0] in (*_ANY, host)
            ]
        if host in ("255.255.255.255", self._broadcast):
            return [
                udp
                for network in self._ether.hosts.values()
                for udp in network._sockets
                if udp.address[1] == port and udp.address[0] in (*_ANY, host)
            ]
        target = self._target(host)
        if target is None:
            raise _os_error(errno.EHOSTUNREACH)
        candidates = [udp for udp in target._sockets if udp.address[1] == port and udp.address[0] == host]
        candidates = candidates or [udp for udp in target._sockets if udp.address[1] == port and udp.address[0] in _ANY]
        return candidates[-1:]

    @property
    def _broadcast(self) -> str | None:
        if self.address.startswith("127.") or ":" in self.address:
            return None
        return self.address.rpartition(".")[0] + ".255"

    def _target(self, host: str) -> MemoryNetwork | None:
        return self if self._is_own(host) else self._ether.hosts.get(host)

    def _is_own(self, host: str) -> bool:
        return host == self.address or host.startswith("127.") or host == "::1"

    def _is_loopback(self, interface: str | None) -> bool:
        return interface == "lo" or (interface or self.address).startswith("127.")

    def _source_for(self, host: str) -> str:
        return "127.0.0.1" if host.startswith("127.") else self.address

    def _check_bindable(self, host: str, *, udp: bool = False) -> None:
        if host in _ANY or self._is_own(host):
            return
        if udp and (host in ("255.255.255.255", self._broadcast) or ipaddress.ip_address(host).is_multicast):
            return
        raise _os_error(errno.EADDRNOTAVAIL)

    def _free_port(self) -> int:
        self._next_port += 1
        return self._next_port

    def _forget(self, udp: MemoryUDPSocket) -> None:
        if udp in self._sockets:
            self._sockets.remove(udp)


def _overlap(one: str, other: str) -> bool:
    return one == other or one in _ANY or other in _ANY


def _os_error(code: int) -> OSError:
    return OSError(code, os.strerror(code))  # the constructor picks ConnectionRefusedError and the like

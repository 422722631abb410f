"""The one door to the outside: everything that opens a socket goes through a `Network`.

Servers and clients take a network as an argument. `SystemNetwork` is the real one; `p4p_trio.testing.memory`
has one that lives in memory, with weather on demand and virtual time. What they promise is
written at the protocols here.
"""

from __future__ import annotations

import errno
import ipaddress
import logging
import socket
from collections.abc import Iterable
from contextlib import suppress
from typing import Protocol

import attrs
import trio

from p4p_trio.config import Endpoint
from p4p_trio.errors import ConfigError

from .interfaces import Interface, system_interfaces
from .transport import SCRATCH_SIZE, Address, SocketTransport, Transport, plain_address
from .udp import SystemUDPSocket, UDPSocket

__all__ = ["Listener", "Network", "SocketListener", "SystemNetwork", "resolve_endpoints"]

_log = logging.getLogger("p4p_trio.net")

# Out of descriptors or memory: the connection stays in the backlog, so trying again at once would spin.
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS}
_PAUSE = 0.1
# These say that the listening socket itself is unusable; all others are about a connection that is gone already.
_FATAL = {errno.EBADF, errno.EINVAL, errno.ENOTSOCK, errno.EOPNOTSUPP, errno.EFAULT}


class Listener(Protocol):
    """An open TCP port. Made by `Network.listen`.

    Attributes:
        address: the host as it was asked for, and the port that was bound.
    """

    address: Address

    async def accept(self) -> Transport:
        """The next connection. Always a checkpoint, and never waits for a peer.

        It survives connections that vanish before they are accepted, and a process or system that is out of
        descriptors or memory: then it pauses, logs, and goes on.

        Cancellation: no connection is lost.

        Raises:
            trio.ClosedResourceError: the listener was closed, before or meanwhile.
        """

    def close(self) -> None:
        """Close the port at once; accepted connections live on. May be repeated."""


class Network(Protocol):
    """What a server or client needs of the world. Use it within one trio run only."""

    def interfaces(self) -> tuple[Interface, ...]:
        """The addresses that this host has now."""

    async def resolve(self, host: str) -> list[str]:
        """The numeric addresses of a host, the preferred one first; a numeric address is its own.

        Raises:
            OSError: there is no such host.
        """

    def listen(self, host: str, port: int, backlog: int = 128) -> Listener:
        """Open a TCP port.

        Args:
            host: numeric address of an interface. Any-address, 0.0.0.0 or ::, listens for IPv4 and, where the host
                has it, IPv6, as pvxs does.
            port: 0 takes a free one.
            backlog: connections that may wait to be accepted.

        Raises:
            OSError: it cannot be bound, e.g. EADDRINUSE: the port is taken. Nobody falls back to another port here.
        """

    async def connect(self, host: str, port: int) -> Transport:
        """Connect to a numeric address or host name. Always a checkpoint; for a time limit use a trio scope.

        Cancellation: nothing stays open.

        Raises:
            OSError: nobody could be reached there.
        """

    def open_udp(self, host: str = "0.0.0.0", port: int = 0, *, share: bool = False) -> UDPSocket:
        """Open a datagram socket that may broadcast.

        Args:
            host: numeric address to bind, which also decides between IPv4 and IPv6 (`::` is IPv6 only). On Linux
                a socket bound to an interface's address gets no broadcasts: bind a second one to the
                broadcast address.
            port: 0 takes a free one that nobody shares.
            share: let other sockets that share bind the same port, for the search port 5076. A broadcast or multicast
                then reaches all of them, a unicast only one.

        Raises:
            OSError: it cannot be bound; EADDRINUSE with *share*: somebody holds the port without sharing it.
        """


class SocketListener:
    """A listener over a bound, listening, stdlib TCP socket, which it makes non-blocking and owns."""

    __slots__ = ("_quiet_until", "_scratch", "_socket", "address")

    def __init__(self, sock: socket.socket, scratch: memoryview, address: Address) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._scratch = scratch
        self._quiet_until = float("-inf")
        self.address = address

    async def accept(self) -> Transport:
        # The checkpoint comes first, so that no await stands between the system's accept and our return.
        await trio.lowlevel.checkpoint()
        while True:
            try:
                sock, name = self._socket.accept()
            except BlockingIOError:
                await trio.lowlevel.wait_readable(self._socket)
            except OSError as exc:
                if self._socket.fileno() < 0:
                    raise trio.ClosedResourceError("this listener was closed") from None
                if exc.errno in _FATAL:
                    raise
                await self._recover(exc)
            else:
                _no_delay(sock)
                return SocketTransport(sock, self._scratch, plain_address(name))

    async def _recover(self, exc: OSError) -> None:
        if exc.errno not in _EXHAUSTED:
            await trio.lowlevel.checkpoint()
            return
        if trio.current_time() >= self._quiet_until:
            self._quiet_until = trio.current_time() + 60.0
            _log.error(
                "cannot accept a connection on %s, trying again every %s s: %s", self.address, _PAUSE, exc.strerror
            )
        await trio.sleep(_PAUSE)

    def close(self) -> None:
        if self._socket.fileno() < 0:
            return
        trio.lowlevel.notify_closing(self._socket)
        self._socket.close()


class SystemNetwork:
    """The real network. One per trio run: its connections share one receive buffer."""

    def __init__(self) -> None:
        self._scratch = memoryview(bytearray(SCRATCH_SIZE))

    def interfaces(self) -> tuple[Interface, ...]:
        return system_interfaces()

    async def resolve(self, host: str) -> list[str]:
        found = await trio.socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        return list(dict.fromkeys(str(name[0]) for *_, name in found))

    def listen(self, host: str, port: int, backlog: int = 128) -> Listener:
        sock = _bind_stream(host, port)
        try:
            sock.listen(backlog)
            return SocketListener(sock, self._scratch, (host, sock.getsockname()[1]))
        except BaseException:
            sock.close()
            raise

    async def connect(self, host: str, port: int) -> Transport:
        failure: OSError | None = None
        for family, _, _, _, name in await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            with trio.socket.socket(family, socket.SOCK_STREAM) as attempt:
                try:
                    await attempt.connect(name)
                except OSError as exc:
                    failure = exc
                    continue
                sock = socket.socket(fileno=attempt.detach())
            _no_delay(sock)
            return SocketTransport(sock, self._scratch)
        raise failure or OSError(errno.EADDRNOTAVAIL, f"no address for {host}")

    def open_udp(self, host: str = "0.0.0.0", port: int = 0, *, share: bool = False) -> UDPSocket:
        return SystemUDPSocket(host, port, share=share)


async def resolve_endpoints(network: Network, endpoints: Iterable[Endpoint], variable: str) -> tuple[Endpoint, ...]:
    """The same endpoints with numeric hosts; a name gives the first of its addresses, IPv4 before IPv6.

    Args:
        network: who knows the names.
        endpoints: an address list.
        variable: the list's EPICS name, for the error's text.

    Raises:
        ConfigError: a host name is unknown.
    """
    found = []
    for endpoint in endpoints:
        if endpoint.numeric:
            found.append(endpoint)
            continue
        try:
            hosts = await network.resolve(endpoint.host)
        except OSError as exc:
            raise ConfigError(f"{variable}: invalid endpoint '{endpoint}': unknown host {endpoint.host!r}") from exc
        host = min(hosts, key=lambda text: ipaddress.ip_address(text.partition("%")[0]).version)
        found.append(attrs.evolve(endpoint, host=host))
    return tuple(found)


def _bind_stream(host: str, port: int) -> socket.socket:
    if host in ("", "0.0.0.0", "::") and socket.has_ipv6:
        try:
            return _bound(socket.AF_INET6, "::", port, dual=True)
        except OSError as exc:
            if exc.errno == errno.EADDRINUSE:
                raise
        # No IPv6 in this kernel or container.
    if host in ("", "::"):
        host = "0.0.0.0"
    return _bound(socket.AF_INET6 if ":" in host else socket.AF_INET, host, port)


def _bound(family: socket.AddressFamily, host: str, port: int, *, dual: bool = False) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if hasattr(socket, "SO_EXCLUSIVEADDRUSE"):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)  # Windows: REUSEADDR would steal ports
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if dual else 1)
        sock.bind((host, port))
    except BaseException:
        sock.close()
        raise
    return sock


def _no_delay(sock: socket.socket) -> None:
    with suppress(OSError):  # the peer has gone already, which the first receive will tell
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

"""Datagrams: batched receiving with the destination address, and sending from a chosen address.

A PVA server has to know where a search was *sent to* (unicast searches are passed on to the other servers of the host,
broadcasts are not), and a reply should come from that same address. Both travel as ancillary data, `IP_PKTINFO` and
`IPV6_PKTINFO`; where the platform has neither, `Datagram.destination` is None and the search's own flag has to do.

Several servers share port 5076. On Linux and Windows `SO_REUSEADDR` is what allows that; `SO_REUSEPORT` is left alone
there, because for unicast it would spread the datagrams over the sharing sockets. The BSDs (and macOS) need
`SO_REUSEPORT` for the same purpose. libcom's `epicsSocketEnableAddressUseForDatagramFanout` sets both everywhere;
sockets with and without `SO_REUSEPORT` share a port on Linux as long as all have `SO_REUSEADDR`.
"""

from __future__ import annotations

import errno
import logging
import socket
import struct
import sys
from typing import Any, Protocol

import trio

from .transport import Address, plain_address

__all__ = ["BATCH", "Datagram", "SystemUDPSocket", "UDPSocket"]

_log = logging.getLogger("p4p_trio.net")
_LINUX = sys.platform == "linux"
_LARGEST = 65_536
# Bytes that may wait to be received, if the system allows: clients that all search again after a restart, or junk.
_BACKLOG = 1 << 20
BATCH = 64
"""Datagrams that one `receive` returns at most."""

# Python names these only since 3.12 or not at all; the numbers are those of the kernel's headers.
_IP_PKTINFO = getattr(socket, "IP_PKTINFO", {"linux": 8, "darwin": 26}.get(sys.platform))
_IP_MULTICAST_ALL = 49 if _LINUX else None
_IPV6_RECVPKTINFO = getattr(socket, "IPV6_RECVPKTINFO", None)
_IPV6_PKTINFO = getattr(socket, "IPV6_PKTINFO", None)
_PKTINFO4 = struct.Struct("=i4s4s")  # interface index, source for sending, destination as received
_PKTINFO6 = struct.Struct("=16sI")
_MREQN = struct.Struct("=4s4si")
_MREQ6 = struct.Struct("=16sI")


class Datagram:
    """One datagram as received. Treat it as immutable.

    Attributes:
        data: the payload.
        source: the sender's numeric address and port.
        destination: the numeric address it was sent to, unicast, broadcast or group; None if unknown.
        interface: index of the interface it came in by, 0 if unknown.
    """

    __slots__ = ("data", "destination", "interface", "source")

    def __init__(self, data: bytes, source: Address, destination: str | None = None, interface: int = 0) -> None:
        self.data = data
        self.source = source
        self.destination = destination
        self.interface = interface

    def __repr__(self) -> str:
        return f"<Datagram of {len(self.data)} bytes, {self.source} -> {self.destination} @{self.interface}>"


class UDPSocket(Protocol):
    """A bound datagram socket. Made by `Network.open_udp`.

    Attributes:
        address: what it is bound to.
        error: why the latest `send` did not work, or None.
    """

    address: Address
    error: OSError | None

    async def receive(self) -> list[Datagram]:
        """Wait for datagrams, then take what is there: at least one, at most `BATCH`. Always a checkpoint.

        Cancellation: nothing was taken. Raises trio.ClosedResourceError once the socket is closed.
        """

    def send(
        self,
        data: bytes,
        to: Address,
        *,
        source: str | None = None,
        ttl: int | None = None,
        interface: str | None = None,
    ) -> bool:
        """Send one datagram without waiting. What the network refuses is dropped, as UDP may: never raises for it.

        Args:
            data: the payload.
            to: numeric address and port; broadcasts are allowed.
            source: the local numeric address it should come from; None: the system's choice.
            ttl: hops of a multicast, None: 1.
            interface: name or IPv4 address of the interface for a multicast; None: the system's choice.

        Returns:
            Whether the system took it. If not, `error` says why.
        """

    def join(self, group: str, interface: str | None = None) -> None:
        """Receive what is sent to a multicast group, too.

        Args:
            group: the group's numeric address.
            interface: name or IPv4 address; None: the system's choice.

        Raises:
            OSError: the group cannot be joined there.
        """

    def close(self) -> None:
        """Close at once; a task in `receive` gets `trio.ClosedResourceError`. May be repeated."""


class SystemUDPSocket:
    """A real one.

    Args:
        host: numeric address to bind: any, an interface's, or on Linux also a broadcast or group address, in order
            to receive only what is sent there.
        port: 0 takes a free one that nobody shares yet.
        share: whether others may bind the same port, if they share it too.

    Raises:
        OSError: it cannot be bound. With EADDRINUSE the text says that the other program does not share.
    """

    __slots__ = ("_decode", "_multicast", "_recvmsg", "_socket", "_sources", "_texts", "address", "error")

    def __init__(self, host: str = "0.0.0.0", port: int = 0, *, share: bool = False) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BACKLOG)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if share and port:
                _share(sock)
            try:
                sock.bind((host, port))
            except OSError as exc:
                if exc.errno == errno.EADDRINUSE:
                    who = "a program that does not share it" if share else "another program"
                    raise OSError(exc.errno, f"UDP port {port} of {host} is in use by {who}") from exc
                raise
            if share and not port:
                _share(sock)  # only now: the system would give a port that others share already
            told = _ask_destination(sock, family)
        except BaseException:
            sock.close()
            raise
        self._socket = sock
        self._recvmsg = told
        self._decode = _destination6 if family == socket.AF_INET6 else _destination4
        self._texts: dict[bytes, tuple[str | None, int]] = {}
        self._sources: dict[str, list[tuple[int, int, bytes]]] = {}
        self._multicast: tuple[int | None, str | None] | None = None
        self.address: Address = plain_address(sock.getsockname())
        self.error: OSError | None = None

    async def receive(self) -> list[Datagram]:
        while True:
            if self._socket.fileno() < 0:
                await trio.lowlevel.checkpoint()
                raise trio.ClosedResourceError("this socket was closed")
            await trio.lowlevel.wait_readable(self._socket)
            try:
                found = self._receive_batch()
            except OSError as exc:
                # A fault of the network (an ICMP answer, an interface gone down), reported once per datagram.
                _log.debug("receiving on UDP %s failed: %s", self.address, exc)
                await trio.sleep(0.01)  # should it not be: do not spin
                continue
            if found:
                return found

    def _receive_batch(self) -> list[Datagram]:
        found: list[Datagram] = []
        texts = self._texts
        try:
            if not self._recvmsg:
                for _ in range(BATCH):
                    data, name = self._socket.recvfrom(_LARGEST)
                    found.append(Datagram(data, plain_address(name)))
                return found
            recvmsg = self._socket.recvmsg
            for _ in range(BATCH):
                data, control, _, name = recvmsg(_LARGEST, 64)
                destination: str | None = None
                interface = 0
                if control:
                    info = control[0][2]
                    known = texts.get(info)
                    if known is None:
                        known = self._remember(info, control)
                    destination, interface = known
                # IPv4 names are what we want already; IPv6 ones carry a scope.
                source = name if len(name) == 2 else plain_address(name)
                found.append(Datagram(data, source, destination, interface))
        except BlockingIOError:
            pass
        except OSError:
            if not found:
                raise
        return found

    def _remember(self, info: bytes, control: list[Any]) -> tuple[str | None, int]:
        """Decode the ancillary data once per (interface, destination); there are few."""
        if len(self._texts) >= 1024:
            self._texts.clear()
        decoded = self._texts[info] = self._decode(control)
        return decoded

    def send(
        self,
        data: bytes,
        to: Address,
        *,
        source: str | None = None,
        ttl: int | None = None,
        interface: str | None = None,
    ) -> bool:
        try:
            if _is_group(to[0]):
                self._aim(ttl, interface)
            if source is None or not self._recvmsg:
                self._socket.sendto(data, to)
            else:
                control = self._sources.get(source) or self._source_control(source)
                self._socket.sendmsg((data,), control, 0, to)
        except OSError as exc:
            self.error = exc
            return False
        self.error = None
        return True

    def _source_control(self, source: str) -> list[tuple[int, int, bytes]]:
        if len(self._sources) >= 1024:
            self._sources.clear()
        if self._socket.family == socket.AF_INET6:
            info = _PKTINFO6.pack(socket.inet_pton(socket.AF_INET6, source), 0)
            control = [(socket.IPPROTO_IPV6, _IPV6_PKTINFO or 0, info)]
        else:
            info = _PKTINFO4.pack(0, socket.inet_aton(source), b"\0\0\0\0")
            control = [(socket.IPPROTO_IP, _IP_PKTINFO or 0, info)]
        self._sources[source] = control
        return control

    def _aim(self, ttl: int | None, interface: str | None) -> None:
        """Set what a multicast needs, unless the previous one needed the same."""
        if self._multicast == (ttl, interface):
            return
        hops = 1 if ttl is None else ttl
        if self._socket.family == socket.AF_INET6:
            self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, hops)
            self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 1)
            index = socket.if_nametoindex(interface) if interface else 0
            self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        else:
            self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, hops)
            self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
            self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, _mreqn("0.0.0.0", interface))
        self._multicast = (ttl, interface)

    def join(self, group: str, interface: str | None = None) -> None:
        if self._socket.family == socket.AF_INET6:
            index = socket.if_nametoindex(interface) if interface else 0
            membership = _MREQ6.pack(socket.inet_pton(socket.AF_INET6, group), index)
            self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, membership)
        else:
            self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, _mreqn(group, interface))

    def close(self) -> None:
        if self._socket.fileno() < 0:
            return
        trio.lowlevel.notify_closing(self._socket)
        self._socket.close()


def _share(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if not _LINUX and hasattr(socket, "SO_REUSEPORT"):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)


def _ask_destination(sock: socket.socket, family: int) -> bool:
    """Ask for destination addresses; whether they will be told."""
    if family == socket.AF_INET and _IP_MULTICAST_ALL is not None:
        # Else a socket bound to any-address gets the groups that *other* sockets of this host joined.
        sock.setsockopt(socket.IPPROTO_IP, _IP_MULTICAST_ALL, 0)
    if not hasattr(sock, "recvmsg"):
        return False
    if family == socket.AF_INET6:
        if _IPV6_RECVPKTINFO is None or _IPV6_PKTINFO is None:
            return False
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVPKTINFO, 1)
    else:
        if _IP_PKTINFO is None:
            return False
        sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
    return True


def _destination4(control: list[tuple[int, int, bytes]]) -> tuple[str | None, int]:
    for level, kind, info in control:
        if level == socket.IPPROTO_IP and kind == _IP_PKTINFO and len(info) >= _PKTINFO4.size:
            index, _, address = _PKTINFO4.unpack_from(info)
            return socket.inet_ntoa(address), index
    return None, 0


def _destination6(control: list[tuple[int, int, bytes]]) -> tuple[str | None, int]:
    for level, kind, info in control:
        if level == socket.IPPROTO_IPV6 and kind == _IPV6_PKTINFO and len(info) >= _PKTINFO6.size:
            address, index = _PKTINFO6.unpack_from(info)
            return socket.inet_ntop(socket.AF_INET6, address), index
    return None, 0


def _is_group(host: str) -> bool:
    """Whether a numeric address is a multicast group, cheaply: 224.x to 239.x, or ff..:"""
    head = host[:3]
    return ("224" <= head <= "239" and host[3:4] == ".") or head[:2].lower() == "ff"


def _mreqn(group: str, interface: str | None) -> bytes:
    """The membership request for *group* at an interface given by name, by address or not at all."""
    address, index = b"\0\0\0\0", 0
    if interface is not None:
        try:
            address = socket.inet_aton(interface)
        except OSError:
            index = socket.if_nametoindex(interface)
    return _MREQN.pack(socket.inet_aton(group), address, index)

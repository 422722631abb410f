"""Which UDP sockets a server needs to hear every search that is meant for it.

A socket bound to 0.0.0.0 hears all: unicast, broadcast, and the groups it joined. One bound to a single interface's
address hears, on Linux, only what is sent to that very address. Then the interface's broadcast address and each group
need a socket of their own; elsewhere these cannot be bound, so we bind to 0.0.0.0 and the responder drops what
is not for its interfaces.

All of them join 224.0.0.128 on loopback, or one that is bound to it does: through that group the servers of a host
pass unicast searches on to each other, because a unicast reaches only one of the sockets that share a port.
"""

from __future__ import annotations

import errno
import logging
import sys
from collections.abc import Iterable, Sequence

import attrs

from p4p_trio.config import Endpoint

from .interfaces import broadcast_addresses
from .network import Network
from .udp import UDPSocket

__all__ = ["FORWARD_GROUP", "SearchSockets", "open_search_sockets"]

_log = logging.getLogger("p4p_trio.net")

FORWARD_GROUP = "224.0.0.128"
_LOOPBACK = "127.0.0.1"
_ATTEMPTS = 10


@attrs.frozen
class SearchSockets:
    """What `open_search_sockets` opened.

    Attributes:
        sockets: all bound to `port`. A reply goes out by the socket that heard the question.
        port: the UDP port.
        forwarding: whether the loopback group could be joined. If not, nobody passes searches on, and unicast searches
            have to be answered directly.
    """

    sockets: tuple[UDPSocket, ...]
    port: int
    forwarding: bool

    def close(self) -> None:
        for udp in self.sockets:
            udp.close()


def open_search_sockets(
    network: Network, interfaces: Iterable[Endpoint], port: int, *, per_address: bool = sys.platform == "linux"
) -> SearchSockets:
    """Open them.

    Args:
        network: where.
        interfaces: numeric ones, as `ServerConfig.interfaces` after look-up of names; empty is 0.0.0.0.
        port: the same for all; 0 takes a free one.
        per_address: whether a socket can be bound to a broadcast or group address, as on Linux.

    Raises:
        OSError: an address cannot be bound; EADDRINUSE: a program holds the port without sharing it.
    """
    interfaces = tuple(interfaces) or (Endpoint("0.0.0.0"),)
    hosts = _plan(network, interfaces, per_address=per_address)
    for attempt in range(_ATTEMPTS):
        try:
            return _open(network, interfaces, hosts, port)
        except OSError as exc:
            # A free port of the first address need not be free on the others.
            if port or exc.errno != errno.EADDRINUSE or attempt == _ATTEMPTS - 1:
                raise
    raise AssertionError("unreachable")


def _plan(network: Network, interfaces: Sequence[Endpoint], *, per_address: bool) -> list[str]:
    """The addresses to bind, each once."""
    hosts = []
    any4 = any(endpoint.host == "0.0.0.0" for endpoint in interfaces)
    for endpoint in interfaces:
        if endpoint.is_ipv6:
            hosts.append("::" if endpoint.is_multicast else endpoint.host)
        elif any4 or not per_address:
            hosts.append("0.0.0.0")
        else:
            hosts.append(endpoint.host)
            broadcasts = broadcast_addresses(network.interfaces())
            hosts += [broadcast for broadcast, address in broadcasts.items() if address == endpoint.host]
    if "0.0.0.0" not in hosts and any("." in host for host in hosts):
        hosts.append(FORWARD_GROUP)
    if "::" in hosts:
        hosts = [host for host in hosts if ":" not in host or host == "::"]
    return list(dict.fromkeys(hosts))


def _open(network: Network, interfaces: Sequence[Endpoint], hosts: Sequence[str], port: int) -> SearchSockets:
    opened: dict[str, UDPSocket] = {}
    forwarding = False
    try:
        for host in hosts:
            opened[host] = network.open_udp(host, port, share=True)
            port = opened[host].address[1]
        for endpoint in interfaces:
            if endpoint.is_multicast:
                wildcard = "::" if endpoint.is_ipv6 else "0.0.0.0"
                _join(opened.get(endpoint.host) or opened[wildcard], endpoint.host, endpoint.interface)
        listener = opened.get(FORWARD_GROUP) or opened.get("0.0.0.0")
        if listener is not None:
            forwarding = _join(listener, FORWARD_GROUP, _LOOPBACK)
    except BaseException:
        for udp in opened.values():
            udp.close()
        raise
    return SearchSockets(tuple(opened.values()), port, forwarding)


def _join(udp: UDPSocket, group: str, interface: str | None) -> bool:
    try:
        udp.join(group, interface)
    except OSError as exc:
        _log.warning("cannot join multicast group %s on %s: %s", group, interface or "the default interface", exc)
        return False
    return True

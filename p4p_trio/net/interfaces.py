"""The addresses of this host, and what a configuration means on it."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

import attrs
import ifaddr

from p4p_trio.config import Endpoint
from p4p_trio.config.address import unique_endpoints

__all__ = [
    "Interface",
    "beacon_destinations",
    "broadcast_addresses",
    "expand_interfaces",
    "local_addresses",
    "served_addresses",
    "stream_addresses",
    "system_interfaces",
]


@attrs.frozen
class Interface:
    """One address of one network interface.

    Attributes:
        name: the interface's name, as in `@eth0`.
        index: the operating system's number of it, 0 if unknown.
        address: numeric IPv4 or IPv6 address, without scope.
        broadcast: the IPv4 broadcast address; None for IPv6, for loopback and for networks without one.
        loopback: whether packets never leave the host.
    """

    name: str
    index: int
    address: str
    broadcast: str | None
    loopback: bool


def system_interfaces() -> tuple[Interface, ...]:
    """All addresses that this host has now. It takes about 0.1 ms, so ask again rather than remember for long."""
    found = []
    for adapter in ifaddr.get_adapters():
        for ip in adapter.ips:
            host = ip.ip if isinstance(ip.ip, str) else ip.ip[0]
            address = ipaddress.ip_address(host.partition("%")[0])
            broadcast = None
            if address.version == 4 and not address.is_loopback and ip.network_prefix < 31:
                # Computed from the prefix: an administrator's unusual broadcast address is not seen.
                network = ipaddress.ip_network(f"{address}/{ip.network_prefix}", strict=False)
                broadcast = str(network.broadcast_address)
            found.append(
                Interface(adapter.name, adapter.index or 0, str(address), broadcast, loopback=address.is_loopback)
            )
    return tuple(found)


def local_addresses(interfaces: Iterable[Interface]) -> frozenset[str]:
    """The numeric addresses of *interfaces*."""
    return frozenset(interface.address for interface in interfaces)


def broadcast_addresses(interfaces: Iterable[Interface]) -> dict[str, str]:
    """Each IPv4 broadcast address, with the interface address that it belongs to."""
    return {interface.broadcast: interface.address for interface in interfaces if interface.broadcast}


def expand_interfaces(listed: Iterable[Endpoint], interfaces: Iterable[Interface]) -> tuple[Endpoint, ...]:
    """An interface list as pvxs understands it: each multicast group brings the interface it is received by.

    Args:
        listed: numeric endpoints; empty means 0.0.0.0.
        interfaces: what the host has.

    Returns:
        The same, and for each group the address of its interface, or any-address if it names none. At least one
        entry is not a group.
    """
    found = list(listed)
    for endpoint in tuple(found):
        if endpoint.is_multicast:
            here = [
                interface.address
                for interface in interfaces
                if endpoint.interface in (interface.name, interface.address)
                and (":" in interface.address) == endpoint.is_ipv6
            ]
            found.append(Endpoint(here[0] if here else "::" if endpoint.is_ipv6 else "0.0.0.0"))
    return unique_endpoints(found) or (Endpoint("0.0.0.0"),)


def stream_addresses(expanded: Iterable[Endpoint], port: int) -> list[tuple[str, int]]:
    """Where to listen for TCP: (host, port) for each entry that is not a group, once each.

    Any-addresses are merged into one, since listening on one of them covers IPv4 and IPv6.

    Args:
        expanded: what `expand_interfaces` returned.
        port: for entries without a port.
    """
    wildcard, found = None, []
    for endpoint in expanded:
        if endpoint.is_any:
            wildcard = wildcard or endpoint.address(port)
        elif not endpoint.is_multicast:
            found.append(endpoint.address(port))
    return list(dict.fromkeys(found)) if wildcard is None else [wildcard]


def served_addresses(expanded: Iterable[Endpoint]) -> list[str] | None:
    """The interface addresses among what `expand_interfaces` returned; None if any-address is there: all of them."""
    hosts = [endpoint.host for endpoint in expanded if not endpoint.is_multicast]
    return None if any(Endpoint(host).is_any for host in hosts) else hosts


def beacon_destinations(
    listed: Iterable[Endpoint], served: Iterable[Endpoint], interfaces: Iterable[Interface], *, auto: bool
) -> tuple[Endpoint, ...]:
    """Where beacons (or a client's searches) go: what is listed and, if *auto*, every broadcast address we serve.

    Args:
        listed: the address list.
        served: the interface list; an any-address stands for all interfaces.
        interfaces: what the host has.
        auto: whether EPICS_PVA_AUTO_ADDR_LIST or its like says YES.

    Returns:
        Without duplicates, in order; ports stay as listed (None: the default).
    """
    found = list(listed)
    if auto:
        served = tuple(served)
        everywhere = not served or any(endpoint.is_any for endpoint in served)
        hosts = {endpoint.host for endpoint in served}
        found += [
            Endpoint(interface.broadcast)
            for interface in interfaces
            if interface.broadcast and (everywhere or interface.address in hosts)
        ]
    return tuple(dict.fromkeys(found))

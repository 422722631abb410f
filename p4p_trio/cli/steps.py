"""The first steps on the way to a PV: where a client searches, and who answers."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final

import attrs
import trio

from p4p_trio.cli.link import Address, Link, reason
from p4p_trio.config import ClientConfig, Endpoint, Limits
from p4p_trio.errors import PVAError
from p4p_trio.net import Network, UDPSocket, beacon_destinations, broadcast_addresses, resolve_endpoints
from p4p_trio.protocol.client_search import encode_ping, encode_search, read_answers
from p4p_trio.wire.messages import SearchResponse, address_text

__all__ = ["Found", "Route", "look_up", "search"]

Taker = Callable[[SearchResponse, Address], None]

PAUSES: Final = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds after the beginning at which is asked."""
LINGER: Final = 0.4
"""Seconds after the first answer in which a second server may answer."""


@attrs.frozen
class Route:
    """Where a client searches, as its settings and this host's interfaces have it.

    Attributes:
        targets: for UDP; `unicast` are those that are neither broadcast nor multicast.
        name_servers: for TCP.
    """

    targets: tuple[Endpoint, ...]
    unicast: frozenset[Endpoint]
    name_servers: tuple[Address, ...]


@attrs.define
class Found:
    """What came of a search.

    Attributes:
        holders: the servers that have the PV, with their GUIDs.
        servers: all servers that answered anything.
        requests: how often each target was asked.
        troubles: targets that could not be asked, and why.
        seconds: until the first answer; None: there was none.
    """

    holders: dict[Address, bytes] = attrs.Factory(dict)
    servers: dict[Address, None] = attrs.Factory(dict)
    requests: int = 0
    troubles: dict[str, str] = attrs.Factory(dict)
    seconds: float | None = None


async def look_up(network: Network, config: ClientConfig) -> Route:
    """Resolve host names, and add the broadcast addresses of the interfaces.

    Raises:
        ConfigError: a host name is unknown.
    """
    listed = await resolve_endpoints(network, config.addresses, "EPICS_PVA_ADDR_LIST")
    name_servers = await resolve_endpoints(network, config.name_servers, "EPICS_PVA_NAME_SERVERS")
    interfaces = await resolve_endpoints(network, config.interfaces, "EPICS_PVA_INTF_ADDR_LIST")
    here = network.interfaces()
    targets = beacon_destinations(listed, interfaces, here, auto=config.auto_addresses)
    broadcasts = {*broadcast_addresses(here), "255.255.255.255"}
    unicast = frozenset(one for one in targets if not one.is_multicast and one.host not in broadcasts)
    return Route(targets, unicast, tuple(one.address(config.server_port) for one in name_servers))


async def search(network: Network, config: ClientConfig, route: Route, name: str, patience: float) -> Found:
    """Ask for a PV, and who is there at all, until somebody has it.

    Args:
        patience: seconds after which it is given up.
    """
    found = Found()
    cid = random.getrandbits(31)
    begun = trio.current_time()

    def take(answer: SearchResponse, source: Address) -> None:
        address = address_text(answer.address) or source[0], answer.port or source[1]
        found.servers[address] = None
        if answer.found and cid in answer.cids:
            found.holders.setdefault(address, answer.guid)
            if found.seconds is None:
                found.seconds = trio.current_time() - begun
                scope.deadline = min(scope.deadline, trio.current_time() + LINGER)

    sockets: dict[bool, UDPSocket] = {}
    with trio.move_on_after(patience) as scope:
        try:
            async with trio.open_nursery() as nursery:
                for address in route.name_servers:
                    nursery.start_soon(_ask_name_server, network, address, (cid, name), take, found)
                for pause in PAUSES:
                    await trio.sleep_until(begun + pause)
                    found.requests += 1
                    for target in route.targets:
                        udp = sockets.get(target.is_ipv6)
                        if udp is None:
                            udp = sockets[target.is_ipv6] = network.open_udp("::" if target.is_ipv6 else "0.0.0.0")
                            nursery.start_soon(_hear, udp, take)
                        for encode in (partial(encode_search, [(cid, name)]), encode_ping):
                            data = encode(udp.address[1], unicast=target in route.unicast)
                            to = target.address(config.broadcast_port)
                            if not udp.send(data, to, ttl=target.ttl, interface=target.interface) and udp.error:
                                found.troubles[str(target)] = reason(udp.error)
                await trio.sleep_forever()
        finally:
            for udp in sockets.values():
                udp.close()
    return found


async def _hear(udp: UDPSocket, take: Taker) -> None:
    with suppress(trio.ClosedResourceError):
        while True:
            for datagram in await udp.receive():
                for answer in read_answers(datagram.data, Limits()):
                    if isinstance(answer, SearchResponse) and answer.protocol == "tcp" and answer.port:
                        take(answer, datagram.source)


async def _ask_name_server(
    network: Network,
    address: Address,
    wanted: tuple[int, str],
    take: Callable[[SearchResponse, Address], None],
    found: Found,
) -> None:
    link = Link(address)
    link.answered = lambda answer: take(answer, address)
    where = f"name server {address[0]}:{address[1]}"
    found.troubles[where] = "it did not answer"
    try:
        await link.connect(network)
        await link.login()
        del found.troubles[where]
        found.servers[address] = None
        link.connection.search([wanted])
        await link.listen()
    except (OSError, PVAError, trio.BrokenResourceError) as exc:
        found.troubles[where] = reason(exc)
    finally:
        link.close()

"""The client's sockets for the search: UDP, the TCP name servers, and the beacons of servers.

When to ask for what is decided by `SearchSchedule`; here it is sent, and answers are read.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Final

import trio

from p4p_trio.client.session import Session, spelled
from p4p_trio.config import Endpoint
from p4p_trio.errors import Disconnected
from p4p_trio.net import (
    UDPSocket,
    beacon_destinations,
    broadcast_addresses,
    expand_interfaces,
    local_addresses,
    open_search_sockets,
    resolve_endpoints,
)
from p4p_trio.net.search_sockets import SearchSockets
from p4p_trio.net.udp import Datagram
from p4p_trio.protocol.client_search import STEP, SearchSchedule, encode_ping, encode_search, read_answers
from p4p_trio.protocol.client_servers import KnownServers, ServerEvent
from p4p_trio.protocol.search import SearchResponder
from p4p_trio.wire.messages import Beacon, SearchResponse, address_text

if TYPE_CHECKING:
    from p4p_trio.client.channel import Channel
    from p4p_trio.client.discovery import Discovery
    from p4p_trio.client.runtime import Runtime

__all__ = ["Searching"]

_log = logging.getLogger("p4p_trio.client.search")

JITTER: Final = 0.1
"""Part of a pause by which it differs from client to client."""
SPREAD: Final = 1.0
"""Seconds over which the questions after a poke are spread."""
RETRY: Final = 10.0
"""Seconds between two attempts to reach a name server."""
LOOK: Final = 60.0
"""Seconds after which the interfaces of the host are looked at again, and servers are pinged again."""
PINGS: Final = (0.0, 1.0, 4.0)
"""Seconds after the beginning of a discovery at which servers are asked who is there."""
FULL: Final = 64 * 1024
"""Unsent bytes of a name server's connection above which it is not asked."""

Address = tuple[str, int]


class Searching:
    """Looks for channels, and for servers.

    Attributes:
        schedule: what is missing.
        servers: the servers that have been heard.
        listeners: who wants to know of servers that come and go.
    """

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.schedule = SearchSchedule(random.uniform(0.0, STEP))
        self.servers = KnownServers()
        self.listeners: dict[Discovery, None] = {}
        self._sockets: dict[bool, UDPSocket] = {}  # by whether IPv6
        self._beacons: SearchSockets | None = None
        self._forwarder: SearchResponder | None = None
        self._targets: tuple[Endpoint, ...] = ()
        self._broadcasts: frozenset[str] = frozenset()
        self._name_servers: dict[Address, Session | None] = {}
        self._configured: tuple[Endpoint, ...] = ()
        self._interfaces: tuple[Endpoint, ...] = ()
        self._looked = float("-inf")
        self._pings: list[float] = []
        self._woken = trio.Event()
        self._complained: set[Endpoint] = set()

    async def open(self) -> None:
        """Resolve names, open sockets, and begin.

        Raises:
            ConfigError: a host name is unknown.
        """
        runtime = self.runtime
        config, network, nursery = runtime.config, runtime.network, runtime.nursery
        self._configured = await resolve_endpoints(network, config.addresses, "EPICS_PVA_ADDR_LIST")
        name_servers = await resolve_endpoints(network, config.name_servers, "EPICS_PVA_NAME_SERVERS")
        self._name_servers = {one.address(config.server_port): None for one in name_servers}
        self._interfaces = await resolve_endpoints(network, config.interfaces, "EPICS_PVA_INTF_ADDR_LIST")
        self._look(trio.current_time())
        self._listen()
        nursery.start_soon(self._run)
        for address in self._name_servers:
            nursery.start_soon(self._keep, address)

    def close(self) -> None:
        """Close the sockets; the tasks end by cancellation."""
        for udp in self._sockets.values():
            udp.close()
        if self._beacons is not None:
            self._beacons.close()
        for listener in list(self.listeners):
            listener.end()

    # ---- what is looked for

    def want(self, channel: Channel, delay: float, asked: int) -> None:
        """Look for it, from *delay* seconds on; with pauses as if it had been asked for so often."""
        if channel.cid not in self.schedule:
            self.schedule.add(channel.cid, channel.name, trio.current_time(), delay, asked)
            self._woken.set()

    def forget(self, channel: Channel) -> None:
        """Look for it no longer."""
        self.schedule.remove(channel.cid)

    def hurry_up(self) -> None:
        """Ask for everything once more, now."""
        self.schedule.hurry_up()
        self._woken.set()

    def phase(self, channel: Channel) -> str:
        """How the search for it is going."""
        count = self.schedule.asked(channel.cid)
        where = [spelled(target.address(self.runtime.config.broadcast_port)) for target in self._targets]
        for address, session in self._name_servers.items():
            connected = "" if session is not None and session.ready else " (not connected)"
            where.append(f"name server {spelled(address)}{connected}")
        if not where:
            return (
                f"searching for {channel.name!r} nowhere: EPICS_PVA_ADDR_LIST and EPICS_PVA_NAME_SERVERS are empty, "
                "and no interface has a broadcast address"
            )
        requests = "1 request" if count == 1 else f"{count} requests"
        trouble = f" since {channel.trouble}" if channel.trouble else ""
        return f"searching for {channel.name!r} at {', '.join(where)}: no answer to {requests}{trouble}"

    def ping(self) -> None:
        """Ask who is there, now and twice again soon."""
        now = trio.current_time()
        self._pings = [now + pause for pause in PINGS]
        self._woken.set()

    # ---- asking

    async def _run(self) -> None:
        schedule = self.schedule
        while True:
            now = trio.current_time()
            if now - self._looked > LOOK:
                self._look(now)
            for names in schedule.take(now, random.uniform(-JITTER, JITTER)):
                self._ask(names)
            if self._pings and self._pings[0] <= now:
                self._pings.pop(0)
                self._send_ping()
                if not self._pings and self.listeners:
                    self._pings.append(now + LOOK)
            self._woken = trio.Event()
            due = max(min(schedule.due, self._pings[0] if self._pings else float("inf")), now)
            with trio.move_on_at(due):
                await self._woken.wait()

    def _ask(self, names: list[tuple[int, str]]) -> None:
        _log.debug("searching for %d names, the first of them %r", len(names), names[0][1])
        encode = lru_cache(partial(encode_search, names))
        for target in self._targets:
            self._send(target, encode)
        for session in self._name_servers.values():
            if session is not None and session.ready and session.connection.output.size < FULL:
                _ask_over_tcp(session, names)

    def _send_ping(self) -> None:
        for target in self._targets:
            self._send(target, encode_ping)
        for session in self._name_servers.values():
            if session is not None and session.ready:
                _ask_over_tcp(session, [])

    def _unicast(self, target: Endpoint) -> bool:
        return not target.is_multicast and target.host not in self._broadcasts

    def _send(self, target: Endpoint, encode: Callable[[int, bool], bytes]) -> None:
        udp = self._sockets.get(target.is_ipv6)
        if udp is None:
            try:
                udp = self.runtime.network.open_udp("::" if target.is_ipv6 else self._own_address())
            except OSError as exc:
                self._complain(target, exc)
                return
            self._sockets[target.is_ipv6] = udp
            self.runtime.nursery.start_soon(self._hear, udp, self._hear_answer)
        to = target.address(self.runtime.config.broadcast_port)
        data = encode(udp.address[1], self._unicast(target))
        if udp.send(data, to, ttl=target.ttl, interface=target.interface):
            self._complained.discard(target)
        elif udp.error is not None:
            self._complain(target, udp.error)

    def _own_address(self) -> str:
        """Where to search from: the one interface that the settings name, or any."""
        own = [one.host for one in self._interfaces if not one.is_multicast and not one.is_ipv6]
        return own[0] if len(own) == 1 else "0.0.0.0"

    def _complain(self, target: Endpoint, exc: OSError) -> None:
        if target not in self._complained:
            self._complained.add(target)
            _log.warning("cannot search at %s: %s", target, exc.strerror or exc)

    def _look(self, now: float) -> None:
        """See which interfaces the host has now."""
        config, here = self.runtime.config, self.runtime.network.interfaces()
        self._looked = now
        served = [one for one in self._interfaces if not one.is_multicast]
        self._broadcasts = frozenset(broadcast_addresses(here)) | {"255.255.255.255"}
        self._targets = beacon_destinations(self._configured, served, here, auto=config.auto_addresses)
        if self._forwarder is not None:
            self._forwarder.learn(local_addresses(here), broadcast_addresses(here))

    # ---- answers

    async def _hear(self, udp: UDPSocket, take: Callable[[UDPSocket, Datagram], None]) -> None:
        """Receive until the socket is closed. A datagram that trips a bug of ours is logged and costs nobody else."""
        try:
            while True:
                for datagram in await udp.receive():
                    try:
                        take(udp, datagram)
                    except Exception:
                        _log.exception("a datagram of %s tripped a bug in this client", datagram.source)
        except trio.ClosedResourceError:
            return

    def _hear_answer(self, udp: UDPSocket, datagram: Datagram) -> None:
        for answer in read_answers(datagram.data, self.runtime.limits):
            if isinstance(answer, SearchResponse):
                self.answered(answer, datagram.source, tcp=False)

    def answered(self, response: SearchResponse, source: Address, *, tcp: bool = True) -> None:
        """A server answers, from *source*.

        Args:
            tcp: over the connection to that address.
        """
        if response.protocol != "tcp":
            return
        host, port = address_text(response.address) or source[0], response.port
        if not port and tcp:
            port = source[1]
        if not port:
            return
        if not response.cids:
            self._heard(response.guid, (host, port), response.protocol, None)
        elif response.found:
            for cid in response.cids:
                self.runtime.found(cid, response.guid, (host, port))

    # ---- servers

    def _listen(self) -> None:
        """Open the sockets that hear beacons; the search goes on without where that is not possible.

        They share the port of the searches with the servers of this host. The system gives a unicast search to
        only one socket of those: if it is ours we pass it on, as every server does.
        """
        runtime = self.runtime
        network, port = runtime.network, runtime.config.broadcast_port
        expanded = expand_interfaces(self._interfaces, network.interfaces())
        try:
            sockets = open_search_sockets(network, expanded, port)
        except OSError as exc:
            _log.info("beacons cannot be heard: UDP port %d: %s", port, exc.strerror or exc)
            return
        if not sockets.forwarding:
            # A search that we got and could not pass on would be lost for the servers of this host.
            sockets.close()
            return
        self._beacons = sockets
        self._forwarder = SearchResponder(bytes(12), 0, lambda names: [False] * len(names), udp_port=sockets.port)
        here = network.interfaces()
        self._forwarder.learn(local_addresses(here), broadcast_addresses(here))
        for udp in sockets.sockets:
            runtime.nursery.start_soon(self._hear, udp, self._hear_beacon)

    def _hear_beacon(self, udp: UDPSocket, datagram: Datagram) -> None:
        if datagram.destination != "224.0.0.128":
            assert self._forwarder is not None
            now = trio.current_time()
            for each in self._forwarder.datagram(datagram.data, datagram.source, datagram.destination, now):
                if each.interface is not None:  # it is a copy for the neighbours; we have nothing to answer
                    udp.send(each.data, each.to, interface=each.interface)
        for beacon in read_answers(datagram.data, self.runtime.limits):
            if isinstance(beacon, Beacon) and beacon.port:
                host = address_text(beacon.address) or datagram.source[0]
                self._heard(beacon.guid, (host, beacon.port), beacon.protocol, beacon.change_count)

    def _heard(self, guid: bytes, address: Address, protocol: str, change_count: int | None) -> None:
        now = trio.current_time()
        events, news = self.servers.heard(guid, address, protocol, now, change_count)
        if news and len(self.schedule):
            self.schedule.poke(now, random.uniform(STEP, SPREAD))
            self._woken.set()
        self._tell(events)

    def sweep(self, now: float) -> None:
        """Once a second: forget the servers that are not heard any more."""
        self._tell(self.servers.expire(now))

    def _tell(self, events: list[ServerEvent]) -> None:
        for event in events:
            for listener in list(self.listeners):
                listener.put(event)

    # ---- name servers

    async def _keep(self, address: Address) -> None:
        """Stay connected to a name server."""
        complained = False
        while True:
            session = self._name_servers[address] = self.runtime.session(address)
            session.fixed = True
            await session.closed.wait()
            if not complained and not self.runtime.closed:
                complained = True
                _log.warning("name server: %s; trying again every %g s", session.trouble, RETRY)
            await trio.sleep(RETRY * random.uniform(0.9, 1.1))

    def session_ready(self, session: Session) -> None:
        """A connection is ready. A name server is asked for all that is missing, a server that is back for its own."""
        if session.seeking:
            names = self.runtime.lost_at(session.address)
            for n in range(0, len(names), 1_000):
                _ask_over_tcp(session, names[n : n + 1_000])
        if self._name_servers.get(session.address) is session:
            names = self.schedule.names
            for n in range(0, len(names), 1_000):
                _ask_over_tcp(session, names[n : n + 1_000])
            if self.listeners:
                _ask_over_tcp(session, [])


def _ask_over_tcp(session: Session, names: list[tuple[int, str]]) -> None:
    try:
        session.connection.search(names)
    except Disconnected:
        return

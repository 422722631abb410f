"""A server's ports: TCP for its clients, UDP for searches, and the beacons it sends."""

from __future__ import annotations

import errno
import logging
import random
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import attrs
import trio

from p4p_trio.config import Endpoint, ServerConfig
from p4p_trio.errors import ConfigError
from p4p_trio.net import (
    Listener,
    Network,
    SearchSockets,
    UDPSocket,
    beacon_destinations,
    broadcast_addresses,
    expand_interfaces,
    local_addresses,
    open_search_sockets,
    resolve_endpoints,
    served_addresses,
    stream_addresses,
)
from p4p_trio.protocol.beacon import Beacons
from p4p_trio.protocol.search import Outgoing, SearchResponder

if TYPE_CHECKING:
    from p4p_trio.server.server import Server

__all__ = ["Ports"]

_log = logging.getLogger("p4p_trio.server.search")
_log_server = logging.getLogger("p4p_trio.server")

DELAYED: Final = 64
"""Answers to discovery pings that may wait for their random delay; beyond that they go at once."""
LEARN: Final = 60.0
"""Seconds after which the interfaces of the host are looked at again."""
ATTEMPTS: Final = 10
"""How often a free port is looked for that all addresses can have."""


@attrs.define
class Ports:
    """What a server has bound. Made by `Ports.open`; `close` ends its tasks with `trio.ClosedResourceError`.

    Attributes:
        config: the settings, with numeric addresses and the ports that were really bound.
        listeners: the TCP listeners, all on one port unless the settings name several.
        search: the UDP sockets.
        beacons: where beacons go.
    """

    network: Network
    config: ServerConfig
    listeners: list[Listener]
    search: SearchSockets
    beacons: tuple[Endpoint, ...]
    _delayed: int = 0

    @classmethod
    async def open(cls, network: Network, config: ServerConfig) -> Ports:
        """Resolve names and bind. A TCP port that is taken is replaced by a free one, with a warning.

        Raises:
            ConfigError: an address is unknown or not of this host, or the UDP port is held exclusively.
        """
        interfaces = await resolve_endpoints(network, config.interfaces, "EPICS_PVAS_INTF_ADDR_LIST")
        beacons = await resolve_endpoints(network, config.beacon_addresses, "EPICS_PVAS_BEACON_ADDR_LIST")
        ignored = await resolve_endpoints(network, config.ignore_addresses, "EPICS_PVAS_IGNORE_ADDR_LIST")
        here = network.interfaces()
        expanded = expand_interfaces(interfaces, here)
        listeners = _listen(network, stream_addresses(expanded, config.server_port))
        try:
            search = _open_search(network, expanded, config.broadcast_port)
        except BaseException:
            for listener in listeners:
                listener.close()
            raise
        bound = attrs.evolve(
            config,
            interfaces=interfaces,
            beacon_addresses=beacons,
            ignore_addresses=ignored,
            server_port=listeners[0].address[1],
            broadcast_port=search.port,
        )
        targets = beacon_destinations(beacons, expanded, here, auto=config.auto_beacon)
        return cls(network, bound, listeners, search, targets)

    def close(self) -> None:
        """Close every socket; connections that were accepted live on."""
        self.search.close()
        for listener in self.listeners:
            listener.close()

    def responder(self, server: Server) -> SearchResponder:
        """Who answers the searches of this server."""
        expanded = expand_interfaces(self.config.interfaces, self.network.interfaces())
        responder = SearchResponder(
            server.guid,
            self.config.server_port,
            server.sources.claims,
            udp_port=self.config.broadcast_port,
            served=served_addresses(expanded),
            ignore=[(one.host, one.port) for one in self.config.ignore_addresses],
            reply_rate=server.limits.udp_reply_rate,
            forwarding=self.search.forwarding,
        )
        self.learn(responder)
        return responder

    def learn(self, responder: SearchResponder) -> None:
        """Tell the responder which addresses this host has; what it knew stays where the system does not tell."""
        try:
            here = self.network.interfaces()
        except OSError as exc:  # such as out of descriptors, which any client can bring about
            _log.warning("cannot look at the interfaces of this host: %s", exc)
            return
        responder.learn(local_addresses(here), broadcast_addresses(here))

    # ---- tasks; each ends when its socket is closed

    async def accept(self, listener: Listener, server: Server) -> None:
        """Take clients in."""
        try:
            while True:
                server.admit(await listener.accept())
        except trio.ClosedResourceError:
            return

    async def answer_searches(self, udp: UDPSocket, responder: SearchResponder, nursery: trio.Nursery) -> None:
        """Answer what comes by UDP. A datagram that trips a bug of ours is logged and costs nobody else."""
        learnt = trio.current_time()
        try:
            while True:
                datagrams = await udp.receive()
                now = trio.current_time()
                if now - learnt > LEARN:
                    learnt = now
                    self.learn(responder)
                for datagram in datagrams:
                    try:
                        outgoing = responder.datagram(datagram.data, datagram.source, datagram.destination, now)
                    except Exception:
                        _log.exception("answering a search of %s failed", datagram.source)
                        continue
                    for each in outgoing:
                        if each.spread and self._delayed < DELAYED:
                            self._delayed += 1
                            nursery.start_soon(self._send_later, udp, each)
                        else:
                            udp.send(each.data, each.to, source=each.source, interface=each.interface)
        except trio.ClosedResourceError:
            return

    async def _send_later(self, udp: UDPSocket, outgoing: Outgoing) -> None:
        try:
            await trio.sleep(random.uniform(0, outgoing.spread))
            udp.send(outgoing.data, outgoing.to, source=outgoing.source, interface=outgoing.interface)
        finally:
            self._delayed -= 1

    async def send_beacons(self, beacons: Beacons) -> None:
        """Tell the network that this server is here, until cancelled."""
        while True:
            data = beacons.next(trio.current_time())
            if data is not None:
                for target in self.beacons:
                    self._send_beacon(data, target)
            await trio.sleep_until(beacons.due)

    def _send_beacon(self, data: bytes, target: Endpoint) -> None:
        to = target.address(self.config.broadcast_port)
        for udp in self.search.sockets:
            if (":" in udp.address[0]) == target.is_ipv6 and udp.send(
                data, to, ttl=target.ttl, interface=target.interface
            ):
                return


def _listen(network: Network, addresses: Sequence[tuple[str, int]]) -> list[Listener]:
    """Listen on all addresses.

    Those that should have the port of the first one get the same free port if it is taken on any of them, because
    searches are answered with one port. An entry with a port of its own is replaced alone.
    """
    common = addresses[0][1]
    try:
        return _listen_all(network, addresses, common)
    except _Taken as exc:
        taken = str(exc)
    for _ in range(ATTEMPTS):
        with suppress(_Taken):  # what is free on the first address need not be free on the others
            listeners = _listen_all(network, addresses, 0)
            if common:
                bound = listeners[0].address[1]
                _log_server.warning("TCP port %d of %s is taken; using port %d", common, taken, bound)
            return listeners
    raise ConfigError(f"no TCP port is free on all of {', '.join(host for host, _ in addresses)}")


class _Taken(Exception):
    """The port that several addresses should have is taken on the one named."""


def _listen_all(network: Network, addresses: Sequence[tuple[str, int]], port: int) -> list[Listener]:
    """Listen once; *port* is for all that have the port of the first one, 0 for a free one."""
    common = addresses[0][1]
    listeners: list[Listener] = []
    try:
        for host, asked in addresses:
            shared = asked == common
            try:
                listeners.append(network.listen(host, port if shared else asked))
            except OSError as exc:
                if exc.errno != errno.EADDRINUSE:
                    raise ConfigError(
                        f"EPICS_PVAS_INTF_ADDR_LIST: cannot listen for TCP on {host} port {asked}: {exc.strerror}; "
                        "give an address that this host has"
                    ) from exc
                if shared:
                    raise _Taken(host) from exc
                listeners.append(network.listen(host, 0))
                bound = listeners[-1].address[1]
                _log_server.warning("TCP port %d of %s is taken; using port %d", asked, host, bound)
            if shared:
                port = listeners[-1].address[1]
    except BaseException:
        for listener in listeners:
            listener.close()
        raise
    return listeners


def _open_search(network: Network, expanded: Sequence[Endpoint], port: int) -> SearchSockets:
    try:
        return open_search_sockets(network, expanded, port)
    except OSError as exc:
        hosts = " ".join(str(endpoint) for endpoint in expanded)
        if exc.errno == errno.EADDRINUSE:
            why = "another program holds it without sharing it; stop that program or set EPICS_PVAS_BROADCAST_PORT"
        else:
            why = f"{exc.strerror}; check EPICS_PVAS_INTF_ADDR_LIST and EPICS_PVAS_BROADCAST_PORT"
        raise ConfigError(f"cannot listen for searches on UDP port {port} of {hosts}: {why}") from exc

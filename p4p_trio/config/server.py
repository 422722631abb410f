"""What a server is told by EPICS variables or by `conf=`."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from .address import Endpoint, format_endpoints
from .client import ClientConfig
from .variables import (
    DEFAULT_TIMEOUT,
    Variable,
    format_number,
    format_switch,
    idle_timeout,
    parse_list,
    parse_number,
    parse_port,
    parse_switch,
    read,
)

__all__ = ["ServerConfig"]

_VARIABLES: tuple[Variable, ...] = (
    ("server_port", parse_port, ("EPICS_PVAS_SERVER_PORT", "EPICS_PVA_SERVER_PORT")),
    ("broadcast_port", parse_port, ("EPICS_PVAS_BROADCAST_PORT", "EPICS_PVA_BROADCAST_PORT")),
    ("interfaces", parse_list, ("EPICS_PVAS_INTF_ADDR_LIST",)),
    ("ignore_addresses", parse_list, ("EPICS_PVAS_IGNORE_ADDR_LIST",)),
    ("beacon_addresses", parse_list, ("EPICS_PVAS_BEACON_ADDR_LIST", "EPICS_PVA_ADDR_LIST")),
    ("auto_beacon", parse_switch, ("EPICS_PVAS_AUTO_BEACON_ADDR_LIST", "EPICS_PVA_AUTO_ADDR_LIST")),
    ("conn_timeout", parse_number, ("EPICS_PVA_CONN_TMO",)),
)


@attrs.frozen(kw_only=True)
class ServerConfig:
    """A server's settings. Host names are kept as written; they are resolved when the server starts.

    Attributes:
        interfaces: where to listen. A port in an entry is for TCP and overrides `server_port`; a multicast entry
            is a group to join for searches. Empty is the same as 0.0.0.0.
        server_port: TCP; 0: a free one. One that is taken is replaced by a free one, with a warning.
        broadcast_port: UDP, for searches; 0: a free one.
        beacon_addresses: where beacons go; `broadcast_port` is the default port.
        auto_beacon: whether they also go to the broadcast addresses of the interfaces.
        ignore_addresses: whose searches are not answered; without a port, whatever port they come from.
        conn_timeout: seconds, as EPICS_PVA_CONN_TMO has it; what counts is `idle_timeout`.
    """

    interfaces: tuple[Endpoint, ...] = (Endpoint("0.0.0.0"),)
    server_port: int = 5075
    broadcast_port: int = 5076
    beacon_addresses: tuple[Endpoint, ...] = ()
    auto_beacon: bool = True
    ignore_addresses: tuple[Endpoint, ...] = ()
    conn_timeout: float = DEFAULT_TIMEOUT

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> ServerConfig:
        """The settings of an environment, e.g. `os.environ`. What cannot be used is logged and skipped."""
        return cls(**read(_VARIABLES, environ, lenient=True))

    @classmethod
    def from_dict(cls, conf: Mapping[str, str], base: ServerConfig | None = None) -> ServerConfig:
        """*base* with what *conf* sets; keys that do not concern a server are ignored.

        Args:
            conf: EPICS variables, as `conf()` of a server returns them, p4p's too.
            base: default: the defaults.

        Raises:
            ConfigError: naming the key, and what to write.
        """
        return attrs.evolve(base or cls(), **read(_VARIABLES, conf, lenient=False))

    @classmethod
    def isolated(cls) -> ServerConfig:
        """A server that only this host's processes can see, on free ports."""
        loopback = (Endpoint("127.0.0.1"),)
        return cls(interfaces=loopback, server_port=0, broadcast_port=0, beacon_addresses=loopback, auto_beacon=False)

    @property
    def idle_timeout(self) -> float:
        """Seconds of silence after which a client is taken for dead: 40 by default, never below 2."""
        return idle_timeout(self.conn_timeout)

    def as_dict(self) -> dict[str, str]:
        """p4p's 13 keys, sorted. `from_dict` of it gives the same settings, and a client may use it as its `conf`."""
        ports = {"SERVER_PORT": str(self.server_port), "BROADCAST_PORT": str(self.broadcast_port)}
        interfaces = format_endpoints(self.interfaces)
        beacons = format_endpoints(self.beacon_addresses)
        auto = format_switch(self.auto_beacon)
        settings = {
            "EPICS_PVAS_AUTO_BEACON_ADDR_LIST": auto,
            "EPICS_PVAS_BEACON_ADDR_LIST": beacons,
            "EPICS_PVAS_IGNORE_ADDR_LIST": format_endpoints(self.ignore_addresses),
            "EPICS_PVAS_INTF_ADDR_LIST": interfaces,
            "EPICS_PVA_ADDR_LIST": beacons,
            "EPICS_PVA_AUTO_ADDR_LIST": auto,
            "EPICS_PVA_CONN_TMO": format_number(self.conn_timeout),
            "EPICS_PVA_INTF_ADDR_LIST": interfaces,
            "EPICS_PVA_NAME_SERVERS": "",
        }
        for suffix, port in ports.items():
            settings[f"EPICS_PVAS_{suffix}"] = settings[f"EPICS_PVA_{suffix}"] = port
        return dict(sorted(settings.items()))

    def client_conf(self) -> ClientConfig:
        """The settings of a client on this host that finds this server without broadcasting.

        Only for a server that runs: its bound ports have to be filled in. Source: pvxs, `Server::clientConfig`.
        """
        hosts = [endpoint.host for endpoint in self.interfaces if not endpoint.is_multicast and not endpoint.is_any]
        targets = tuple(Endpoint(host) for host in dict.fromkeys(hosts)) or (Endpoint("127.0.0.1"),)
        return ClientConfig(
            addresses=targets,
            auto_addresses=False,
            interfaces=targets,
            broadcast_port=self.broadcast_port,
            server_port=self.server_port,
            conn_timeout=self.conn_timeout,
        )

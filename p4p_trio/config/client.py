"""What a client is told by EPICS variables or by `conf=`."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import attrs

from .address import Endpoint, format_endpoints
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

__all__ = ["ClientConfig"]

_log = logging.getLogger("p4p_trio.config")

_VARIABLES: tuple[Variable, ...] = (
    ("broadcast_port", parse_port, ("EPICS_PVA_BROADCAST_PORT",)),
    ("server_port", parse_port, ("EPICS_PVA_SERVER_PORT", "EPICS_PVAS_SERVER_PORT")),
    ("addresses", parse_list, ("EPICS_PVA_ADDR_LIST",)),
    ("auto_addresses", parse_switch, ("EPICS_PVA_AUTO_ADDR_LIST",)),
    ("name_servers", parse_list, ("EPICS_PVA_NAME_SERVERS",)),
    ("interfaces", parse_list, ("EPICS_PVA_INTF_ADDR_LIST",)),
    ("conn_timeout", parse_number, ("EPICS_PVA_CONN_TMO",)),
)


@attrs.frozen(kw_only=True)
class ClientConfig:
    """A client's settings. Host names are kept as written; they are resolved when the client starts.

    Attributes:
        addresses: where UDP searches go; `broadcast_port` is the default port.
        auto_addresses: whether they also go to the broadcast addresses of the interfaces.
        name_servers: who is asked over TCP; `server_port` is the default port.
        broadcast_port: UDP, never 0; beacons arrive there.
        server_port: TCP, never 0: the default port of name servers and of addresses given for one channel.
        interfaces: which interfaces to use; their ports mean nothing. Empty is the same as 0.0.0.0.
        conn_timeout: seconds, as EPICS_PVA_CONN_TMO has it; what counts is `idle_timeout`.
    """

    addresses: tuple[Endpoint, ...] = ()
    auto_addresses: bool = True
    name_servers: tuple[Endpoint, ...] = ()
    broadcast_port: int = 5076
    server_port: int = 5075
    interfaces: tuple[Endpoint, ...] = (Endpoint("0.0.0.0"),)
    conn_timeout: float = DEFAULT_TIMEOUT

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> ClientConfig:
        """The settings of an environment, e.g. `os.environ`. What cannot be used is logged and skipped."""
        return cls(**_without_zero(read(_VARIABLES, environ, lenient=True)))

    @classmethod
    def from_dict(cls, conf: Mapping[str, str], base: ClientConfig | None = None) -> ClientConfig:
        """*base* with what *conf* sets; keys that do not concern a client are ignored.

        Args:
            conf: EPICS variables, as `conf()` of a client or a running server returns them, p4p's too.
                Port 0 is ignored.
            base: default: the defaults.

        Raises:
            ConfigError: naming the key, and what to write.
        """
        return attrs.evolve(base or cls(), **_without_zero(read(_VARIABLES, conf, lenient=False)))

    @property
    def idle_timeout(self) -> float:
        """Seconds of silence after which a server is taken for dead: 40 by default, never below 2."""
        return idle_timeout(self.conn_timeout)

    def as_dict(self) -> dict[str, str]:
        """p4p's 7 keys, sorted; `from_dict` of it gives the same settings."""
        return {
            "EPICS_PVA_ADDR_LIST": format_endpoints(self.addresses),
            "EPICS_PVA_AUTO_ADDR_LIST": format_switch(self.auto_addresses),
            "EPICS_PVA_BROADCAST_PORT": str(self.broadcast_port),
            "EPICS_PVA_CONN_TMO": format_number(self.conn_timeout),
            "EPICS_PVA_INTF_ADDR_LIST": format_endpoints(self.interfaces),
            "EPICS_PVA_NAME_SERVERS": format_endpoints(self.name_servers),
            "EPICS_PVA_SERVER_PORT": str(self.server_port),
        }


def _without_zero(fields: dict[str, Any]) -> dict[str, Any]:
    """Without ports that are 0: to a server they mean a free one, to a client nothing (pvxs ignores them, too)."""
    for field in ("broadcast_port", "server_port"):
        if fields.get(field) == 0:
            names = " or ".join(next(names for known, _, names in _VARIABLES if known == field))
            _log.warning("port 0 is ignored (%s): a client needs the number; a running server's conf() has it", names)
            del fields[field]
    return fields

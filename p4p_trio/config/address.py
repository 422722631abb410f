"""Addresses as EPICS writes them: `host[:port][,ttl][@interface]`.

IPv6 addresses stand in brackets where a port follows, `[fe80::1]:5076`, or bare where they have several colons.
TTL and interface are for multicast groups: `224.0.2.3,4@eth1`, `224.0.2.3@10.1.2.3`. Source: pvxs,
`config.cpp` (`SockEndpoint`).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

import attrs

from p4p_trio.errors import ConfigError

__all__ = ["Endpoint", "format_endpoints", "unique_endpoints"]

_SHAPE = "write host, host:port, [ipv6]:port or, for a multicast group, address,ttl@interface"
_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_.])?\Z")
_DOTTED = re.compile(r"[0-9.]+\Z")


@attrs.frozen
class Endpoint:
    """One entry of an address list.

    Attributes:
        host: a numeric IPv4 or IPv6 address in its usual spelling, or a host name.
        port: None (or 0 in the text) where the variable's default port is meant.
        ttl: how many hops a multicast may take; None: one.
        interface: name or IPv4 address of the interface for a multicast.
    """

    host: str
    port: int | None = None
    ttl: int | None = None
    interface: str | None = None

    @classmethod
    def parse(cls, text: str) -> Endpoint:
        """Read one entry.

        Raises:
            ConfigError: saying what is wrong and how it is written.
        """
        rest, at, interface = text.partition("@")
        rest, comma, ttl_text = rest.partition(",")
        if "," in interface:
            raise _invalid(text, "the comma has to stand before the @")
        if at and not interface:
            raise _invalid(text, "nothing follows the @")
        ttl = _number(text, "the TTL", ttl_text, 255) if comma else None
        host, port = _split_port(text, rest)
        host, _, zone = host.partition("%")
        return cls(_plain_host(text, host), port or None, ttl, interface or zone or None)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host and self.port is not None else self.host
        port = "" if self.port is None else f":{self.port}"
        ttl = "" if self.ttl is None else f",{self.ttl}"
        return f"{host}{port}{ttl}" + ("" if self.interface is None else f"@{self.interface}")

    @property
    def numeric(self) -> bool:
        """Whether no name look-up is needed."""
        return self._address is not None

    @property
    def is_any(self) -> bool:
        """Whether this is the wildcard address, 0.0.0.0 or ::."""
        return self._address is not None and self._address.is_unspecified

    @property
    def is_multicast(self) -> bool:
        return self._address is not None and self._address.is_multicast

    @property
    def is_ipv6(self) -> bool:
        return ":" in self.host

    def address(self, default_port: int) -> tuple[str, int]:
        """(host, port) with *default_port* where no port was given."""
        return (self.host, default_port if self.port is None else self.port)

    @property
    def _address(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
        try:
            return ipaddress.ip_address(self.host)
        except ValueError:
            return None


def format_endpoints(endpoints: Iterable[Endpoint]) -> str:
    """A list as the EPICS variables have it."""
    return " ".join(str(endpoint) for endpoint in endpoints)


def unique_endpoints(endpoints: Iterable[Endpoint]) -> tuple[Endpoint, ...]:
    """Each (host, port, interface) once, where it came first, with the largest TTL of its copies (as pvxs)."""
    seen: dict[tuple[str, int | None, str | None], Endpoint] = {}
    for endpoint in endpoints:
        key = (endpoint.host, endpoint.port, endpoint.interface)
        known = seen.get(key)
        if known is None or (endpoint.ttl or 0) > (known.ttl or 0):
            seen[key] = endpoint
    return tuple(seen.values())


def _split_port(text: str, rest: str) -> tuple[str, int | None]:
    if rest.startswith("["):
        host, bracket, tail = rest[1:].partition("]")
        if not bracket:
            raise _invalid(text, "the bracket is not closed")
        if ":" not in host:
            raise _invalid(text, "brackets are for IPv6 addresses")
        if tail and not tail.startswith(":"):
            raise _invalid(text, f"{tail!r} follows the bracket")
        return host, _number(text, "the port", tail[1:], 65535) if tail else None
    if rest.count(":") > 1:
        return rest, None
    host, colon, port = rest.partition(":")
    return host, _number(text, "the port", port, 65535) if colon else None


def _plain_host(text: str, host: str) -> str:
    if not host:
        raise _invalid(text, "the host is missing")
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    if ":" in host:
        raise _invalid(text, "this is no IPv6 address")
    if _DOTTED.match(host):
        raise _invalid(text, "this is no IPv4 address")
    if not _NAME.match(host) or ".." in host:
        raise _invalid(text, "this is no host name")
    return host


def _number(text: str, what: str, digits: str, top: int) -> int:
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 9 or int(digits) > top:
        raise _invalid(text, f"{what} must be a number from 0 to {top}, not {digits!r}")
    return int(digits)


def _invalid(text: str, why: str) -> ConfigError:
    return ConfigError(f"invalid endpoint {text!r}: {why}; {_SHAPE}")

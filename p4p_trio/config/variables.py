"""Reading EPICS variables: one text at a time, with errors that name the variable and what to write instead."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias, TypeVar

from p4p_trio.errors import ConfigError

from .address import Endpoint, unique_endpoints

__all__ = [
    "DEFAULT_TIMEOUT",
    "Variable",
    "format_number",
    "format_switch",
    "idle_timeout",
    "parse_list",
    "parse_number",
    "parse_port",
    "parse_switch",
    "read",
]

_log = logging.getLogger("p4p_trio.config")
T = TypeVar("T")

DEFAULT_TIMEOUT = 30.0
_SCALE = 4 / 3  # of EPICS_PVA_CONN_TMO: a peer that sends each 15 s must not be on the edge

_GUARDS = ("interfaces", "ignore_addresses")
"""Lists that keep somebody out: skipping a mistyped entry would let everybody in, so that is an error, as in pvxs."""

Variable: TypeAlias = tuple[str, Callable[[str], Any], tuple[str, ...]]
"""A field's name, the parser of its text, and the variables that may hold it, the first one set counts."""


def read(variables: Iterable[Variable], texts: Mapping[str, str], *, lenient: bool) -> dict[str, Any]:
    """The fields that *texts* sets.

    Args:
        variables: what to look for; anything else in *texts* is ignored.
        texts: variable names and their texts.
        lenient: log and skip what cannot be used, and of an address list only the bad entries. A list of which
            nothing is left is skipped as a whole. The lists that restrict who is served (which interfaces, whom to
            ignore) are never read so.

    Raises:
        ConfigError: not lenient or such a list, and a text cannot be used.
    """
    found: dict[str, Any] = {}
    for field, parse, names in variables:
        name = next((name for name in names if name in texts), None)
        if name is None:
            continue
        text = texts[name]
        try:
            if not isinstance(text, str):
                raise ConfigError(f"must be a str, e.g. {str(text)!r}, not {type(text).__name__} {text!r}")
            if lenient and parse is parse_list and field not in _GUARDS:
                found[field] = _usable(name, text)
            else:
                found[field] = parse(text)
        except ConfigError as exc:
            if not lenient or field in _GUARDS:
                raise ConfigError(f"{name}: {exc}") from None
            _log.error("%s is ignored: %s", name, exc)
    return found


def parse_port(text: str) -> int:
    """A port number, 0 included."""
    stripped = text.strip()
    if not (stripped.isascii() and stripped.isdigit()) or len(stripped) > 9 or int(stripped) > 65535:
        raise ConfigError(f"invalid port {text!r}: write a number from 0 to 65535")
    return int(stripped)


def parse_switch(text: str) -> bool:
    """YES or NO."""
    word = text.strip().upper()
    if word in ("YES", "1", "TRUE"):
        return True
    if word in ("NO", "0", "FALSE"):
        return False
    raise ConfigError(f"invalid switch {text!r}: write YES or NO")


def parse_number(text: str) -> float:
    """Seconds."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or number < 0:
        raise ConfigError(f"invalid time {text!r}: write seconds as a number, e.g. 30")
    return number


def parse_list(text: str) -> tuple[Endpoint, ...]:
    """A blank-separated address list, without its duplicates."""
    return unique_endpoints(Endpoint.parse(word) for word in text.split())


def _usable(name: str, text: str) -> tuple[Endpoint, ...]:
    found, bad = [], None
    for word in text.split():
        try:
            found.append(Endpoint.parse(word))
        except ConfigError as exc:
            bad = exc
            _log.error("%s: an entry is ignored: %s", name, exc)
    if bad is not None and not found:
        raise ConfigError("no entry can be used")
    return unique_endpoints(found)


def format_switch(on: bool) -> str:
    return "YES" if on else "NO"


def format_number(number: float) -> str:
    """As p4p writes it, `30`, and without loss."""
    short = f"{number:g}"
    return short if float(short) == number else repr(number)


def idle_timeout(conn_timeout: float) -> float:
    """Seconds of silence after which a peer is taken for dead, for a value of EPICS_PVA_CONN_TMO.

    Four thirds of it, at least 2; 40 where it is 0 or nonsense. Source: pvxs, `config.cpp` (`enforceTimeout`).
    """
    if not math.isfinite(conn_timeout) or conn_timeout <= 0:
        conn_timeout = DEFAULT_TIMEOUT
    return max(2.0, conn_timeout * _SCALE)

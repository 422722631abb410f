"""What a peer may cost us: every bound on memory, time and work, in one frozen object."""

from __future__ import annotations

from typing import Any

import attrs

from p4p_trio.errors import ConfigError

__all__ = ["Limits"]

KIB = 1024
MIB = 1024 * KIB


def _above_zero(_: Limits, field: attrs.Attribute[Any], value: float | None) -> None:
    if value is not None and (not isinstance(value, int | float) or not value > 0):
        raise ConfigError(f"Limits.{field.name} must be above zero, or None to switch it off; got {value!r}")


@attrs.frozen(kw_only=True)
class Limits:
    """Safe by default; `None` switches one limit off. Sizes are bytes, times are seconds.

    Reaching a limit is a refusal that the peer is told about, or the end of its connection;
    it is never a silent queue.

    Attributes:
        max_message: one message, its segments added up, from a client that has logged in.
        max_message_prelogin: one message from a client that has not.
        max_connections: TCP clients of one server.
        max_per_address: TCP clients from one address.
        max_unvalidated: TCP clients that have not logged in; the oldest is dropped first.
        max_channels: channels of one connection.
        max_operations: requests (GET, PUT, RPC, MONITOR ...) alive on one connection.
        max_handlers: handlers running in one server, and as many calls of make_channel.
        max_handlers_per_channel: handlers running for one channel.
        max_monitor_queue: updates that one subscription may queue, whatever queueSize asks.
        max_output: unsent bytes of one connection above which it executes nothing new.
        max_objects: Python objects that decoding one message may make.
        max_depth: nesting of types and of values.
        max_type_nodes: descriptions in one type, cached parts counted in full.
        max_cached_types: type ids that one peer may define.
        max_cached_nodes: descriptions that these may hold together.
        login_timeout: from accept to the end of the validation.
        idle_timeout: silence after which a client is taken for dead. EPICS_PVA_CONN_TMO, times 4/3, overrides it
            where it is set to something else than its default of 30, but not a None.
        message_timeout: from the first byte of a message to its last, at less than 1 kB/s.
        send_timeout: without progress while a peer's socket is full.
        create_timeout: for a provider's make_channel.
        udp_reply_rate: search replies per second to one address; loopback is exempt.
    """

    max_message: int | None = attrs.field(default=64 * MIB, validator=_above_zero)
    max_message_prelogin: int | None = attrs.field(default=16 * KIB, validator=_above_zero)
    max_connections: int | None = attrs.field(default=10_000, validator=_above_zero)
    max_per_address: int | None = attrs.field(default=None, validator=_above_zero)
    max_unvalidated: int | None = attrs.field(default=1_024, validator=_above_zero)
    max_channels: int | None = attrs.field(default=200_000, validator=_above_zero)
    max_operations: int | None = attrs.field(default=200_000, validator=_above_zero)
    max_handlers: int | None = attrs.field(default=10_000, validator=_above_zero)
    max_handlers_per_channel: int | None = attrs.field(default=64, validator=_above_zero)
    max_monitor_queue: int | None = attrs.field(default=1_024, validator=_above_zero)
    max_output: int | None = attrs.field(default=1 * MIB, validator=_above_zero)
    max_objects: int | None = attrs.field(default=1_000_000, validator=_above_zero)
    max_depth: int = attrs.field(default=20, validator=_above_zero)
    max_type_nodes: int | None = attrs.field(default=4_096, validator=_above_zero)
    max_cached_types: int | None = attrs.field(default=1_024, validator=_above_zero)
    max_cached_nodes: int | None = attrs.field(default=65_536, validator=_above_zero)
    login_timeout: float | None = attrs.field(default=5.0, validator=_above_zero)
    idle_timeout: float | None = attrs.field(default=40.0, validator=_above_zero)
    message_timeout: float | None = attrs.field(default=30.0, validator=_above_zero)
    send_timeout: float | None = attrs.field(default=30.0, validator=_above_zero)
    create_timeout: float | None = attrs.field(default=10.0, validator=_above_zero)
    udp_reply_rate: int | None = attrs.field(default=1_000, validator=_above_zero)

"""The life-cycle tables, each with its states, its events, where its life begins and where it ends."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

import pytest

from p4p_trio.protocol.tables import (
    CHANNEL,
    CLIENT_CHANNEL,
    CLIENT_CONNECTION,
    CLIENT_MONITOR,
    CLIENT_REQUEST,
    CONNECTION,
    MONITOR,
    REQUEST,
    ChannelEvent,
    ChannelState,
    ClientChannelEvent,
    ClientChannelState,
    ClientConnectionEvent,
    ClientConnectionState,
    ClientMonitorEvent,
    ClientMonitorState,
    ClientRequestEvent,
    ClientRequestState,
    ConnectionEvent,
    ConnectionState,
    MonitorEvent,
    MonitorState,
    RequestEvent,
    RequestState,
)

Table = Mapping[Any, Any]

# Every table with its states, its events, where its life begins and where it may end.
TABLES: dict[str, tuple[Table, type[Enum], type[Enum], set[Any], set[Any]]] = {
    "CONNECTION": (
        CONNECTION, ConnectionState, ConnectionEvent, {ConnectionState.VALIDATING}, {ConnectionState.CLOSED},
    ),
    "CHANNEL": (CHANNEL, ChannelState, ChannelEvent, {ChannelState.CREATING}, {ChannelState.CLOSED}),
    "REQUEST": (REQUEST, RequestState, RequestEvent, {RequestState.WAITING}, {RequestState.DEAD}),
    "MONITOR": (MONITOR, MonitorState, MonitorEvent, {MonitorState.WAITING}, {MonitorState.DEAD}),
    "CLIENT_CONNECTION": (
        CLIENT_CONNECTION,
        ClientConnectionState,
        ClientConnectionEvent,
        {ClientConnectionState.CONNECTED},
        {ClientConnectionState.CLOSED},
    ),
    "CLIENT_CHANNEL": (
        CLIENT_CHANNEL,
        ClientChannelState,
        ClientChannelEvent,
        {ClientChannelState.WAITING},
        {ClientChannelState.CLOSED},
    ),
    "CLIENT_REQUEST": (
        CLIENT_REQUEST,
        ClientRequestState,
        ClientRequestEvent,
        {ClientRequestState.CREATING},
        {ClientRequestState.DEAD},
    ),
    "CLIENT_MONITOR": (
        CLIENT_MONITOR,
        ClientMonitorState,
        ClientMonitorEvent,
        {ClientMonitorState.CREATING},
        {ClientMonitorState.DEAD},
    ),
}  # fmt: skip


def cells(name: str) -> pytest.MarkDecorator:
    """Every pair of a state and an event, with what the table says; what it does not contain changes nothing."""
    table, states, events, _, _ = TABLES[name]
    return pytest.mark.parametrize(
        ("state", "event", "after"),
        [
            pytest.param(state, event, table.get((state, event), state), id=f"{state.name}-{event.name}")
            for state in states
            for event in events
        ],
    )

"""What the client's machine really does in every cell of its life-cycle tables."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest

from p4p_trio.data import Value
from p4p_trio.errors import Disconnected, ProtocolError
from p4p_trio.protocol.client_channel import ClientChannel
from p4p_trio.protocol.client_monitor import ClientMonitor
from p4p_trio.protocol.client_request import ClientRequest
from p4p_trio.protocol.tables import (
    CLIENT_MONITOR,
    CLIENT_REQUEST,
    ClientChannelEvent,
    ClientChannelState,
    ClientConnectionEvent,
    ClientConnectionState,
    ClientMonitorEvent,
    ClientMonitorState,
    ClientRequestEvent,
    ClientRequestState,
)
from p4p_trio.wire import Command
from tests.protocol.cells import cells
from tests.protocol.literal import ASKED, CREATED, LOGIN, PAIR, TYPE, VALIDATED, Wire


@cells("CLIENT_CONNECTION")
def test_client_connection(
    state: ClientConnectionState, event: ClientConnectionEvent, after: ClientConnectionState
) -> None:
    script = {ClientConnectionState.VALIDATING: LOGIN, ClientConnectionState.READY: LOGIN + VALIDATED}
    wire = Wire(script.get(state, ""))
    if state is ClientConnectionState.CLOSED:
        wire.client.lost()
    assert wire.client.state is state
    if event is ClientConnectionEvent.LOST:
        wire.client.lost()
    elif state is after:
        with pytest.raises(ProtocolError):
            wire.hear(ASKED if event is ClientConnectionEvent.ASKED else VALIDATED)
    else:
        wire.hear(ASKED if event is ClientConnectionEvent.ASKED else VALIDATED)
    assert wire.client.state is after


def channel_in(state: ClientChannelState) -> tuple[Wire, ClientChannel]:
    wire = Wire(LOGIN if state is ClientChannelState.WAITING else LOGIN + VALIDATED)
    channel = wire.client.create_channel("x")
    if state in (ClientChannelState.ACTIVE, ClientChannelState.CLOSED):
        wire.hear(CREATED)
    if state in (ClientChannelState.ABANDONED, ClientChannelState.CLOSED):
        channel.destroy()
    assert channel.state is state
    wire.listener.told.clear()
    return wire, channel


@cells("CLIENT_CHANNEL")
def test_client_channel(state: ClientChannelState, event: ClientChannelEvent, after: ClientChannelState) -> None:
    wire, channel = channel_in(state)
    with suppress(ProtocolError):
        if event is ClientChannelEvent.DESTROY:
            channel.destroy()
        else:
            wire.hear(
                {
                    ClientChannelEvent.ASKED: VALIDATED,
                    ClientChannelEvent.CREATED: CREATED,
                    ClientChannelEvent.REFUSED: "CA 02 40 07 0B000000 01000000 FFFFFFFF 02 00 00",
                    ClientChannelEvent.LOST: "CA 02 40 08 08000000 05000000 01000000",
                }[event]
            )
    assert channel.state is after
    assert (channel in wire.client.channels.values()) is (after is ClientChannelState.ACTIVE)
    unanswered = {ClientChannelState.WAITING, ClientChannelState.CREATING, ClientChannelState.ABANDONED}
    assert (channel in wire.client.creating.values()) is (after in unanswered)
    told = {each[0] for each in wire.listener.told} - {"validated"}
    expected = {
        (ClientChannelState.CREATING, ClientChannelEvent.CREATED): {"channel_created"},
        (ClientChannelState.CREATING, ClientChannelEvent.REFUSED): {"channel_refused"},
        (ClientChannelState.ACTIVE, ClientChannelEvent.LOST): {"channel_lost"},
    }
    assert told == expected.get((state, event), set())


@pytest.mark.parametrize("state", list(ClientChannelState))
def test_a_lost_connection_takes_channels_from_every_state(state: ClientChannelState) -> None:
    wire, channel = channel_in(state)
    wire.client.lost()
    assert channel.state is ClientChannelState.CLOSED
    wanted = state not in (ClientChannelState.ABANDONED, ClientChannelState.CLOSED)
    assert wire.listener.told == [("channel_lost", "x")] * wanted


def request_in(state: ClientRequestState) -> tuple[Wire, ClientRequest]:
    wire = Wire()
    put = wire.channel().put()
    if state in (ClientRequestState.IDLE, ClientRequestState.EXECUTING):
        wire.reply(Command.PUT, f"01000000 08 FF {TYPE}")
    if state is ClientRequestState.EXECUTING:
        put.execute(Value(PAIR))
    elif state is ClientRequestState.DEAD:
        put.destroy()
    assert put.state is state
    wire.listener.told.clear()
    return wire, put


@cells("CLIENT_REQUEST")
def test_client_request(state: ClientRequestState, event: ClientRequestEvent, after: ClientRequestState) -> None:
    wire, put = request_in(state)
    acts: dict[ClientRequestEvent, Callable[[], object]] = {
        ClientRequestEvent.INITED: lambda: wire.reply(Command.PUT, f"01000000 08 FF {TYPE}"),
        ClientRequestEvent.INIT_FAILED: lambda: wire.reply(Command.PUT, "01000000 08 02 00 00"),
        ClientRequestEvent.EXEC: lambda: put.execute(Value(PAIR)),
        ClientRequestEvent.REPLIED: lambda: wire.reply(Command.PUT, "01000000 00 FF"),
        ClientRequestEvent.REPLIED_LAST: lambda: wire.reply(Command.PUT, "01000000 10 FF"),
        ClientRequestEvent.CANCEL: put.cancel,
        ClientRequestEvent.DESTROY: put.destroy,
    }
    refusal: type[Exception] | None = None
    if (state, event) not in CLIENT_REQUEST:
        if event is ClientRequestEvent.EXEC:
            refusal = Disconnected if state is ClientRequestState.DEAD else RuntimeError
        elif event not in (ClientRequestEvent.CANCEL, ClientRequestEvent.DESTROY):
            refusal = None if state is ClientRequestState.DEAD else ProtocolError
    if refusal is not None:
        with pytest.raises(refusal):
            acts[event]()
        assert not wire.listener.told
    else:
        acts[event]()
    assert put.state is after
    assert (put in wire.client.requests.values()) is (after is not ClientRequestState.DEAD)
    assert (put in put.channel.requests.values()) is (after is not ClientRequestState.DEAD)


def monitor_in(state: ClientMonitorState) -> tuple[Wire, ClientMonitor]:
    wire = Wire()
    monitor = wire.channel().monitor()
    if state in (ClientMonitorState.STOPPED, ClientMonitorState.RUNNING):
        wire.reply(Command.MONITOR, f"01000000 08 FF {TYPE}")
    if state is ClientMonitorState.RUNNING:
        monitor.start()
    elif state is ClientMonitorState.DEAD:
        monitor.destroy()
    assert monitor.state is state
    wire.listener.told.clear()
    return wire, monitor


@cells("CLIENT_MONITOR")
def test_client_monitor(state: ClientMonitorState, event: ClientMonitorEvent, after: ClientMonitorState) -> None:
    wire, monitor = monitor_in(state)
    acts: dict[ClientMonitorEvent, Callable[[], object]] = {
        ClientMonitorEvent.INITED: lambda: wire.reply(Command.MONITOR, f"01000000 08 FF {TYPE}"),
        ClientMonitorEvent.INIT_FAILED: lambda: wire.reply(Command.MONITOR, "01000000 08 02 00 00"),
        ClientMonitorEvent.START: monitor.start,
        ClientMonitorEvent.STOP: monitor.stop,
        ClientMonitorEvent.FINISHED: lambda: wire.reply(Command.MONITOR, "01000000 10 FF"),
        ClientMonitorEvent.DESTROY: monitor.destroy,
    }
    refusal: type[Exception] | None = None
    if (state, event) not in CLIENT_MONITOR:
        if event in (ClientMonitorEvent.START, ClientMonitorEvent.STOP):
            refusal = Disconnected if state is ClientMonitorState.DEAD else RuntimeError
        elif event is not ClientMonitorEvent.DESTROY and state is not ClientMonitorState.DEAD:
            refusal = ProtocolError
    if refusal is not None:
        with pytest.raises(refusal):
            acts[event]()
        assert not wire.listener.told
    else:
        acts[event]()
    assert monitor.state is after
    assert (monitor in wire.client.requests.values()) is (after is not ClientMonitorState.DEAD)


@pytest.mark.parametrize("state", list(ClientRequestState))
def test_a_lost_channel_takes_requests_from_every_state(state: ClientRequestState) -> None:
    wire, put = request_in(state)
    lost = [("request_lost", put.ioid)] * (state is not ClientRequestState.DEAD)
    assert wire.hear("CA 02 40 08 08000000 05000000 01000000") == [*lost, ("channel_lost", "x")]
    assert put.state is ClientRequestState.DEAD


@pytest.mark.parametrize("state", list(ClientMonitorState))
def test_a_lost_channel_takes_subscriptions_from_every_state(state: ClientMonitorState) -> None:
    wire, monitor = monitor_in(state)
    lost = [("request_lost", monitor.ioid)] * (state is not ClientMonitorState.DEAD)
    assert wire.hear("CA 02 40 08 08000000 05000000 01000000") == [*lost, ("channel_lost", "x")]
    assert monitor.state is ClientMonitorState.DEAD

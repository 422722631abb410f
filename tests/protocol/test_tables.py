"""The life-cycle tables: whole by themselves, and what the server's machine really does in every cell."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from p4p_trio.data import Value, parse_request
from p4p_trio.errors import ProtocolError
from p4p_trio.protocol import tables
from p4p_trio.protocol.monitor import Monitor
from p4p_trio.protocol.request import Operation, Request
from p4p_trio.protocol.tables import (
    CancelReason,
    ChannelEvent,
    ChannelState,
    ConnectionEvent,
    ConnectionState,
    MonitorEvent,
    MonitorState,
    RequestEvent,
    RequestState,
)
from p4p_trio.wire import LITTLE, Command, codec_for, messages
from p4p_trio.wire.commands import DESTROY, INIT, START, STOP
from tests.protocol.cells import TABLES, cells
from tests.protocol.link import FakePV, Link, point, sent

every_table = pytest.mark.parametrize("name", TABLES)


def test_no_table_is_missing() -> None:
    assert set(TABLES) == {name for name in tables.__all__ if name.isupper()}


@every_table
def test_every_state_is_reachable(name: str) -> None:
    table, states, _, begin, _ = TABLES[name]
    reached = set(begin)
    while more := {after for (before, _), after in table.items() if before in reached} - reached:
        reached |= more
    assert reached == set(states)


@every_table
def test_terminal_states_have_no_way_out_and_all_others_have_one(name: str) -> None:
    table, states, _, _, end = TABLES[name]
    assert {before for before, _ in table} == set(states) - end


@every_table
def test_every_event_is_used(name: str) -> None:
    table, _, events, _, _ = TABLES[name]
    assert {event for _, event in table} == set(events)


@every_table
def test_every_state_leads_to_the_end(name: str) -> None:
    table, states, _, _, end = TABLES[name]
    ending = set(end)
    while more := {before for (before, _), after in table.items() if after in ending} - ending:
        ending |= more
    assert ending == set(states)


# ---- the server

LOGIN_OK = sent(messages.write_validation_reply, LITTLE, 0, 0, 0, "anonymous", None, None)
LOGIN_BAD = sent(messages.write_validation_reply, LITTLE, 0, 0, 0, "x509", None, None)


@cells("CONNECTION")
def test_server_connection(state: ConnectionState, event: ConnectionEvent, after: ConnectionState) -> None:
    link = Link()
    server = link.server
    server.start()
    if state is ConnectionState.READY:
        server.feed(LOGIN_OK)
    elif state is ConnectionState.CLOSED:
        server.lost()
    assert server.state is state
    if event is ConnectionEvent.LOST:
        server.lost()
    elif state is not ConnectionState.CLOSED:  # a connection that is over is not fed
        with suppress(ProtocolError):
            server.feed(LOGIN_OK if event is ConnectionEvent.ACCEPTED else LOGIN_BAD)
    assert server.state is after


ENDS = ["message", "close_channel", "lost"]


@pytest.mark.parametrize("how", ENDS)
@cells("CHANNEL")
def test_server_channel(state: ChannelState, event: ChannelEvent, after: ChannelState, how: str) -> None:
    fake = FakePV(point())
    link = Link()
    link.login()
    server = link.server
    server.feed(sent(messages.write_create_channel, LITTLE, [(7, "later")]))
    (channel,) = link.fake.wanted
    if state is ChannelState.ACTIVE:
        server.channel_found(channel, fake.pv)
    elif state is ChannelState.CLOSED:
        server.channel_refused(channel, "no")
    elif event is ChannelEvent.DESTROYED and how != "lost":
        after = state  # nobody can name it before it is ACTIVE: only the end of the connection ends it
    assert channel.state is state
    if event is ChannelEvent.CREATED:
        server.channel_found(channel, fake.pv)
    elif event is ChannelEvent.REFUSED:
        server.channel_refused(channel, "no")
    elif how == "message":
        server.feed(sent(messages.write_destroy_channel, LITTLE, False, channel.sid, 7))
    elif how == "close_channel":
        server.close_channel(channel)
    else:
        server.lost()
    assert channel.state is after
    assert fake.channels == (["later"] if channel.state is ChannelState.ACTIVE else [])
    assert (channel in (fake.pv.channels or ())) is (channel.state is ChannelState.ACTIVE)


IOID = 99


class Serving:
    """A server with one channel, to which requests are spoken byte by byte: no client that knows the rules."""

    def __init__(self, command: Command, pv_request: str, *, opened: bool) -> None:
        self.command = command
        self.fake = FakePV(point() if opened else None)
        self.link = Link({"x": self.fake})
        self.link.login()
        self.sid = self.link.created("x").sid
        asked = parse_request(pv_request)
        self.hear(messages.write_init, command, self.sid, IOID, INIT, asked._type._field, asked)
        self.request = self.link.server.requests[IOID]
        self.old: Operation | None = None

    def hear(self, write: Callable[..., None], *args: Any) -> None:
        self.link.server.feed(sent(write, LITTLE, *args))

    def say(self, sub: int) -> None:
        self.hear(messages.write_simple, self.command, self.sid, IOID, sub)

    def open(self) -> None:
        if not self.fake.pv.is_open:
            self.fake.pv.open(point())

    def put(self, last: bool = False) -> None:

        value: Value = point(value=2.0)
        codec = codec_for(value._type._field, LITTLE)
        sub = DESTROY if last else 0
        self.hear(
            messages.write_partial_request, self.command, self.sid, IOID, sub, codec, value._slots, value._slots[0]
        )

    def answer(self) -> None:
        for operation in self.link.fake.operations:
            operation.acknowledge()

    def destroy(self) -> None:
        self.hear(messages.write_destroy_request, self.sid, IOID)

    def cancel(self) -> None:
        self.hear(messages.write_cancel_request, self.sid, IOID)


@pytest.mark.parametrize("command", [Command.PUT, Command.PUT_GET])
@cells("REQUEST")
def test_server_request(state: RequestState, event: RequestEvent, after: RequestState, command: Command) -> None:
    bad = event is RequestEvent.INIT_FAILED and state is RequestState.WAITING
    serving = Serving(command, "field(nonsense)" if bad else "", opened=state is not RequestState.WAITING)
    request = serving.request
    assert isinstance(request, Request)
    if state is RequestState.EXECUTING:
        serving.put(last=event is RequestEvent.ANSWERED_LAST)
    elif state is RequestState.DEAD:
        serving.destroy()
    elif state is RequestState.IDLE and event in (RequestEvent.ANSWERED, RequestEvent.ANSWERED_LAST):
        serving.put(last=event is RequestEvent.ANSWERED_LAST)
        serving.cancel()  # what is answered now was cancelled before
    assert request.state is state
    acts: dict[RequestEvent, Callable[[], None]] = {
        RequestEvent.OPENED: serving.open,
        RequestEvent.INIT_FAILED: serving.open,
        RequestEvent.EXEC: serving.put,
        RequestEvent.ANSWERED: serving.answer,
        RequestEvent.ANSWERED_LAST: serving.answer,
        RequestEvent.CANCEL: serving.cancel,
        RequestEvent.DESTROY: serving.destroy,
    }
    acts[event]()
    assert request.state is after
    alive = after is not RequestState.DEAD
    assert (IOID in serving.link.server.requests) is alive
    assert (request in (serving.fake.pv.waiting or ())) is (after is RequestState.WAITING)
    assert (request.operation is not None) is (after is RequestState.EXECUTING)


@cells("MONITOR")
def test_server_monitor(state: MonitorState, event: MonitorEvent, after: MonitorState) -> None:
    bad = event is MonitorEvent.INIT_FAILED and state is MonitorState.WAITING
    serving = Serving(Command.MONITOR, "field(nonsense)" if bad else "", opened=state is not MonitorState.WAITING)
    monitor = serving.request
    assert isinstance(monitor, Monitor)
    if state is MonitorState.RUNNING:
        serving.say(START)
    elif state is MonitorState.DEAD:
        serving.destroy()
    assert monitor.state is state
    acts: dict[MonitorEvent, Callable[[], None]] = {
        MonitorEvent.OPENED: serving.open,
        MonitorEvent.INIT_FAILED: serving.open,
        MonitorEvent.START: lambda: serving.say(START),
        MonitorEvent.STOP: lambda: serving.say(STOP),
        MonitorEvent.DESTROY: lambda: serving.say(DESTROY),
    }
    acts[event]()
    assert monitor.state is after
    assert (IOID in serving.link.server.requests) is (after is not MonitorState.DEAD)
    assert (monitor in (serving.fake.pv.waiting or ())) is (after is MonitorState.WAITING)
    listening = after in (MonitorState.STOPPED, MonitorState.RUNNING)
    assert (monitor in (serving.fake.pv.monitors or ())) is listening
    assert serving.fake.running == (after is MonitorState.RUNNING)


@pytest.mark.parametrize("stop", [False, True])
def test_a_start_right_behind_the_init_is_obeyed_when_the_pv_opens(stop: bool) -> None:
    serving = Serving(Command.MONITOR, "", opened=False)
    serving.say(START)
    if stop:
        serving.say(STOP)
    serving.open()
    assert serving.request.state is (MonitorState.STOPPED if stop else MonitorState.RUNNING)
    assert serving.fake.running == (not stop)


@pytest.mark.parametrize("state", [MonitorState.STOPPED, MonitorState.RUNNING])
def test_cancel_of_a_monitor_is_a_stop(state: MonitorState) -> None:
    serving = Serving(Command.MONITOR, "", opened=True)
    if state is MonitorState.RUNNING:
        serving.say(START)
    serving.cancel()
    assert serving.request.state is MonitorState.STOPPED


@pytest.mark.parametrize("command", [Command.PUT, Command.MONITOR])
@pytest.mark.parametrize("opened", [True, False])
@pytest.mark.parametrize("busy", [True, False])
def test_a_lost_connection_takes_requests_from_every_state(command: Command, opened: bool, busy: bool) -> None:
    serving = Serving(command, "", opened=opened)
    if busy and command is Command.PUT:
        serving.put()
    elif busy:
        serving.say(START)
    serving.link.server.lost()
    assert serving.request.state.name == "DEAD"
    assert not serving.fake.running
    assert not serving.fake.pv.waiting
    assert not serving.fake.pv.monitors
    executed = busy and opened and command is Command.PUT
    assert [reason for _, reason in serving.link.fake.cancelled] == [CancelReason.DISCONNECT] * executed

"""What a client can do wrong: it is told so wherever a reply exists, and only gibberish ends the connection."""

from __future__ import annotations

import pytest

from p4p_trio.config import Limits
from p4p_trio.data import Type, Value, parse_request
from p4p_trio.errors import ProtocolError
from p4p_trio.protocol.client_channel import ClientChannel
from p4p_trio.protocol.peer import Peer
from p4p_trio.protocol.request import Request
from p4p_trio.protocol.serving import handling, refuse_nested_put
from p4p_trio.protocol.tables import ConnectionState, MonitorState
from p4p_trio.wire import BIG, LITTLE, Command, Control, Status, StatusKind, codec_for, messages
from p4p_trio.wire.commands import ACK, DESTROY, GET, INIT, PIPELINE, START
from tests.protocol.link import POINT, FakePV, Link, drain, fake, point, raw, sent

ASKED = parse_request("")


class Rogue:
    """A client without manners behind a login: sends what it is told, and shows what comes back."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.server = link.server
        self.channel: ClientChannel = link.created("x")
        self.sid = self.channel.sid

    def say(self, data: bytes) -> bytes:
        self.server.feed(data)
        return drain(self.server.output)

    def simple(self, command: Command, ioid: int, sub: int, sid: int | None = None) -> bytes:
        return self.say(sent(messages.write_simple, LITTLE, command, self.sid if sid is None else sid, ioid, sub))

    def init(self, command: Command, ioid: int, sub: int = INIT, sid: int | None = None) -> bytes:
        sid = self.sid if sid is None else sid
        window = 3 if sub & PIPELINE else None
        return self.say(sent(messages.write_init, LITTLE, command, sid, ioid, sub, ASKED._type._field, ASKED, window))


def refusal(command: Command, ioid: int, sub: int, text: str) -> bytes:
    """An error status in place of a reply."""
    body = LITTLE.u32.pack(ioid) + bytes((sub, 2, len(text))) + text.encode() + b"\0"
    return LITTLE.header.pack(0xCA, 2, 0x40, command, len(body)) + body


@pytest.fixture
def rogue() -> Rogue:
    link = Link({"x": FakePV(point()), "y": FakePV(point()), "closed": FakePV()})
    link.login()
    return Rogue(link)


COMMANDS = [Command.GET, Command.PUT, Command.PUT_GET, Command.RPC, Command.PROCESS]
each_command = pytest.mark.parametrize("command", COMMANDS, ids=[command.name for command in COMMANDS])


@each_command
def test_exec_without_init(rogue: Rogue, command: Command) -> None:
    assert rogue.simple(command, 5, 0) == refusal(command, 5, 0, "no such request: INIT comes first")


@each_command
def test_exec_after_destroy_is_a_legal_race(rogue: Rogue, command: Command) -> None:
    rogue.init(command, 5)
    rogue.say(sent(messages.write_destroy_request, LITTLE, rogue.sid, 5))
    assert rogue.simple(command, 5, 0) == b""
    assert rogue.say(sent(messages.write_cancel_request, LITTLE, rogue.sid, 5)) == b""
    assert rogue.say(sent(messages.write_destroy_request, LITTLE, rogue.sid, 5)) == b""


@each_command
def test_exec_of_another_command(rogue: Rogue, command: Command) -> None:
    rogue.init(command, 5)
    other = Command.GET if command is not Command.GET else Command.RPC
    assert rogue.simple(other, 5, 0) == refusal(other, 5, 0, "the request is for another command")


@each_command
def test_exec_on_another_channel(rogue: Rogue, command: Command) -> None:
    other = rogue.link.created("y").sid
    rogue.init(command, 5)
    assert rogue.simple(command, 5, 0, other) == refusal(command, 5, 0, "the request belongs to another channel")


@pytest.mark.parametrize("command", [Command.GET, Command.PUT, Command.PUT_GET])
def test_exec_before_the_init_is_answered(rogue: Rogue, command: Command) -> None:
    sid = rogue.link.created("closed").sid
    assert rogue.init(command, 5, sid=sid) == b""
    assert rogue.simple(command, 5, 0, sid) == refusal(command, 5, 0, "the request is not initialised yet")


@pytest.mark.parametrize("command", [Command.RPC, Command.PROCESS])
def test_exec_while_one_runs(rogue: Rogue, command: Command) -> None:
    rogue.init(command, 5)
    run = sent(messages.write_full_request, LITTLE, command, rogue.sid, 5, 0, None, None)
    assert rogue.say(run) == b""
    assert rogue.say(run) == refusal(command, 5, 0, "busy: the request is executing already")
    assert len(rogue.link.fake.operations) == 1


@each_command
def test_init_on_an_unknown_channel(rogue: Rogue, command: Command) -> None:
    assert rogue.init(command, 5, sid=77) == refusal(command, 5, INIT, "bad channel id")


@each_command
def test_init_of_a_used_id(rogue: Rogue, command: Command) -> None:
    rogue.init(Command.RPC, 5)
    assert rogue.init(command, 5) == refusal(command, 5, INIT, "the request id is in use")
    kept = rogue.server.requests[5]
    assert isinstance(kept, Request)
    assert kept.command is Command.RPC


def test_array(rogue: Rogue) -> None:
    assert rogue.init(Command.ARRAY, 5) == refusal(Command.ARRAY, 5, INIT, "Array not supported")
    assert rogue.simple(Command.ARRAY, 5, GET) == refusal(Command.ARRAY, 5, GET, "no such request: INIT comes first")


@pytest.mark.parametrize("sub", [INIT, INIT | PIPELINE])
def test_monitor_on_an_unknown_channel(rogue: Rogue, sub: int) -> None:
    # the reply to a MONITOR's INIT is 08 even where 88 was asked
    assert rogue.init(Command.MONITOR, 5, sub, sid=77) == refusal(Command.MONITOR, 5, INIT, "bad channel id")


@pytest.mark.parametrize("sub", [START, DESTROY])
def test_monitor_commands_to_nothing_are_logged(rogue: Rogue, sub: int) -> None:
    rogue.init(Command.GET, 5)
    for ioid in (5, 6):
        assert rogue.simple(Command.MONITOR, ioid, sub) == b""
    assert len(rogue.link.fake.logged) == 2
    assert 5 in rogue.server.requests


def test_late_monitor_commands_are_not_even_logged(rogue: Rogue) -> None:
    rogue.init(Command.MONITOR, 5)
    rogue.simple(Command.MONITOR, 5, DESTROY)
    assert rogue.simple(Command.MONITOR, 5, START) == b""
    assert not rogue.link.fake.logged


def test_ack_start_and_destroy_in_one_message(rogue: Rogue) -> None:
    rogue.init(Command.MONITOR, 5, INIT | PIPELINE)
    message = bytearray(sent(messages.write_ack, LITTLE, rogue.sid, 5, 2))
    message[16] = ACK | START | DESTROY
    assert rogue.say(bytes(message)) != b""  # it was started, so it got the first update
    assert not rogue.server.requests
    assert fake(rogue.link).running == 0


def test_window_without_the_option_is_read_and_ignored(rogue: Rogue) -> None:
    rogue.init(Command.MONITOR, 5, INIT | PIPELINE)
    rogue.simple(Command.MONITOR, 5, START)
    for n in range(10):
        fake(rogue.link).post(value=float(n))
    assert drain(rogue.server.output).count(raw("CA 02 40 0D")) == 10


def test_pipeline_without_a_window_sends_nothing_before_an_ack(rogue: Rogue) -> None:
    asked = parse_request("record[pipeline=true]")
    rogue.say(sent(messages.write_init, LITTLE, Command.MONITOR, rogue.sid, 5, INIT, asked._type._field, asked))
    assert rogue.simple(Command.MONITOR, 5, START) == b""
    assert rogue.say(sent(messages.write_ack, LITTLE, rogue.sid, 5, 1)) != b""
    assert rogue.server.requests[5].state is MonitorState.RUNNING


def test_get_field_on_an_unknown_channel_or_with_a_used_id(rogue: Rogue) -> None:
    def failure(ioid: int, text: str) -> bytes:
        return sent(messages.write_field_reply, LITTLE, ioid, Status(StatusKind.ERROR, text))

    assert rogue.say(sent(messages.write_get_field, LITTLE, 77, 5, "")) == failure(5, "bad channel id")
    rogue.init(Command.GET, 5)
    assert rogue.say(sent(messages.write_get_field, LITTLE, rogue.sid, 5, "")) == failure(5, "the request id is in use")


def test_ends_of_requests_of_other_channels_are_ignored(rogue: Rogue) -> None:
    other = rogue.link.created("y").sid
    rogue.init(Command.GET, 5)
    rogue.say(sent(messages.write_destroy_request, LITTLE, other, 5))
    assert 5 in rogue.server.requests


@pytest.mark.parametrize("command", [*COMMANDS, Command.MONITOR, Command.ARRAY])
def test_short_messages_end_the_connection(rogue: Rogue, command: Command) -> None:
    with pytest.raises(ProtocolError, match="needs 9 bytes of ids"):
        rogue.say(LITTLE.header.pack(0xCA, 2, 0, command, 8) + bytes(8))


def test_null_and_empty_pvrequests_mean_everything(rogue: Rogue) -> None:
    rogue.say(sent(messages.write_init, LITTLE, Command.GET, rogue.sid, 5, INIT, None, None))
    empty = Value(Type([]))
    rogue.say(sent(messages.write_init, LITTLE, Command.GET, rogue.sid, 6, INIT, empty._type._field, empty))
    assert rogue.simple(Command.GET, 5, 0)[13:] == rogue.simple(Command.GET, 6, 0)[13:] != b""


@pytest.mark.parametrize("sub", [0, GET])
def test_gets_in_another_order_and_with_another_sub_command(rogue: Rogue, sub: int) -> None:
    rogue.init(Command.GET, 5)
    expected = rogue.simple(Command.GET, 5, 0)
    answer = rogue.say(sent(messages.write_simple, BIG, Command.GET, rogue.sid, 5, sub))
    assert answer == expected[:12] + bytes((sub,)) + expected[13:]


# ---- too much


def test_too_many_requests() -> None:
    link = Link({"x": FakePV(point())}, limits=Limits(max_operations=2))
    link.login()
    rogue = Rogue(link)
    rogue.init(Command.GET, 1)
    rogue.init(Command.MONITOR, 2)
    text = "busy: this connection has 2 requests already"
    assert rogue.init(Command.GET, 3) == refusal(Command.GET, 3, INIT, text)
    rogue.say(sent(messages.write_destroy_request, LITTLE, rogue.sid, 1))
    assert rogue.init(Command.GET, 3) != refusal(Command.GET, 3, INIT, text)


def test_pvrequests_may_not_take_much(rogue: Rogue) -> None:
    asked = Value(Type([("field", ("S", None, [])), ("junk", "s")]), {"junk": "x" * 1_500_000})
    answers = [
        rogue.say(sent(messages.write_init, LITTLE, Command.GET, rogue.sid, n, INIT, asked._type._field, asked))
        for n in range(3)
    ]
    assert [answer[13] for answer in answers] == [0xFF, 0xFF, 2]
    rogue.say(sent(messages.write_destroy_request, LITTLE, rogue.sid, 0))
    assert rogue.init(Command.GET, 5)[13] == 0xFF


def test_too_many_channels() -> None:
    link = Link({"x": FakePV(point())}, limits=Limits(max_channels=2))
    link.login()
    for _ in range(2):
        link.client.create_channel("x")
    link.client.create_channel("another")
    assert link.heard()[2] == ("channel_refused", "another", "busy: this connection has 2 channels already")


def test_no_channel_id_is_free(rogue: Rogue) -> None:
    rogue.server._next_sid = rogue.sid
    rogue.link.client.create_channel("x")
    assert rogue.link.heard() == [("channel_refused", "x", "busy: no channel id is free")]


def test_several_channels_in_one_message(rogue: Rogue) -> None:
    answer = rogue.say(sent(messages.write_create_channel, LITTLE, [(7, "x"), (8, ""), (9, "y")]))
    assert answer.count(raw("CA 02 40 07")) == 3


def test_answers_for_a_channel_that_is_gone(rogue: Rogue) -> None:
    rogue.link.client.create_channel("later")
    rogue.link.settle()
    (channel,) = rogue.link.fake.wanted
    rogue.server.lost()
    rogue.server.channel_found(channel, fake(rogue.link).pv)
    rogue.server.channel_refused(channel, "no")
    assert not rogue.server.output.size
    assert not rogue.server.channels


# ---- login


def test_nothing_before_the_login() -> None:
    for message in (
        sent(messages.write_echo, LITTLE, False, b""),
        sent(messages.write_create_channel, LITTLE, [(1, "x")]),
    ):
        link = Link()
        link.server.start()
        with pytest.raises(ProtocolError, match="before the connection was validated"):
            link.server.feed(message)


def test_second_login(rogue: Rogue) -> None:
    with pytest.raises(ProtocolError, match="a second login"):
        rogue.say(sent(messages.write_validation_reply, LITTLE, 0, 0, 0, "anonymous", None, None))


CREDENTIALS = Type([("user", "s"), ("host", "s")])


@pytest.mark.parametrize(
    ("method", "user", "text"),
    [
        ("x509", None, "was not offered"),
        ("ca", None, "needs a structure"),
        ("ca", "", "needs a structure"),
        ("ca", "a\nb", "printable"),
        ("ca", "x" * 257, "at most 256"),
    ],
)
def test_bad_logins(method: str, user: str | None, text: str) -> None:
    link = Link()
    item = None if user is None else Value(CREDENTIALS, {"user": user})
    field = None if item is None else CREDENTIALS._field
    with pytest.raises(ProtocolError, match=text):
        link.server.feed(sent(messages.write_validation_reply, LITTLE, 0, 0, 0, method, field, item))
    assert link.server.state is ConnectionState.CLOSED
    assert link.server.closing
    assert drain(link.server.output)[8] == 2


def test_empty_method_is_anonymous() -> None:
    link = Link()
    link.server.feed(
        raw("CA 02 00 01 09000000 00000000 0000 0000 00        # pvAccessCPP tolerates that FF is missing")
    )
    assert link.server.peer.account == "anonymous"


# ---- the rest


def test_a_client_may_choose_the_order(rogue: Rogue) -> None:
    rogue.init(Command.MONITOR, 5)
    rogue.simple(Command.MONITOR, 5, START)
    rogue.say(raw("CA 02 81 02 00000000"))
    assert rogue.say(raw("CA 02 00 02 02000000 6162")) == raw("CA 02 C0 02 00000002 6162")
    fake(rogue.link).post(value=1.0)
    assert drain(rogue.server.output) == raw("CA 02 C0 0D 00000010 00000005 00 01 02 3FF0000000000000 00")
    assert rogue.say(raw("CA 02 01 03 DDCCBBAA  CA 02 01 00 00000000")) == bytes(
        (0xCA, 2, 0xC1, Control.ECHO_RESPONSE)
    ) + raw("AABBCCDD")


def test_remarks_of_a_client_are_logged(rogue: Rogue) -> None:
    rogue.say(sent(messages.write_message, LITTLE, False, 5, 1, "tut\ntut"))
    assert rogue.link.fake.logged == ["client says of request 5: 'tut\\ntut'"]


def test_an_echo_may_not_be_long(rogue: Rogue) -> None:
    with pytest.raises(ProtocolError, match="an ECHO of 9000000 bytes"):
        rogue.say(sent(messages.write_echo, LITTLE, False, bytes(9_000_000)))


def test_unknown_commands_are_ignored(rogue: Rogue) -> None:
    assert rogue.say(raw("CA 02 00 05 01000000 FF  CA 02 00 06 00000000  CA 02 00 77 00000000")) == b""


def test_peer_text() -> None:
    assert str(Peer("192.0.2.1", 5075)) == "192.0.2.1:5075"
    assert str(Peer("2001:db8::1", 5075)) == "[2001:db8::1]:5075"


def test_nested_puts_are_refused() -> None:
    refuse_nested_put(b"g", "x")
    token = handling.set(frozenset({(b"g", "x")}))
    try:
        with pytest.raises(RuntimeError, match="from inside its own put handler"):
            refuse_nested_put(b"g", "x")
        refuse_nested_put(b"g", "y")
    finally:
        handling.reset(token)


def test_put_in_the_other_order(rogue: Rogue) -> None:
    rogue.init(Command.PUT, 5)
    codec = codec_for(POINT._field, BIG)
    slots = point(value=2.0)._slots
    rogue.say(sent(messages.write_partial_request, BIG, Command.PUT, rogue.sid, 5, 0, codec, slots, 2))
    assert rogue.link.fake.operations[0].value.value == 2.0

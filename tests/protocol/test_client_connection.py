"""The client's machine against literal bytes: login, search, channels."""

from __future__ import annotations

import pytest

from p4p_trio.config import Limits
from p4p_trio.errors import ProtocolError
from p4p_trio.protocol.tables import (
    ClientChannelState,
    ClientConnectionState,
)
from p4p_trio.wire import LITTLE, Control
from tests.protocol.link import raw
from tests.protocol.literal import ASKED, CREATED, LOGIN, VALIDATED, Wire

# ---- login


def test_nothing_is_said_before_the_server_speaks() -> None:
    wire = Wire(login="")
    assert not wire.said()
    assert wire.client.state is ClientConnectionState.CONNECTED
    wire.hear("CA 02 41 02 00000000")
    assert not wire.said()


def test_login_with_account() -> None:
    wire = Wire(LOGIN)
    assert wire.said() == raw("""
        CA 02 00 01 26000000  00000100 FF7F 0000 02 6361              # "ca"
        80 00 02 04 75736572 60 04 686F7374 60                        # structure { string user, host }
        08 6F70657261746F72 02 766D                                   # "operator", "vm"
    """)
    assert wire.hear(VALIDATED) == [("validated", "")]
    assert wire.client.state is ClientConnectionState.READY
    assert wire.client.method == "ca"


ANONYMOUS = "CA 02 00 01 13000000  00000100 FF7F 0000 09 616E6F6E796D6F7573 FF"


@pytest.mark.parametrize(
    ("user", "offer"),
    [
        ("", "02 09 616E6F6E796D6F7573 02 6361"),
        ("operator", "01 09 616E6F6E796D6F7573"),
        ("operator", "01 04 78353039           # only x509"),
        ("operator", "00                       # nothing"),
    ],
)
def test_anonymous_login(user: str, offer: str) -> None:
    payload = raw("00000100 FF7F" + offer)
    wire = Wire("CA 02 41 02 00000000", user=user)
    wire.client.feed(LITTLE.header.pack(0xCA, 2, 0x40, 1, len(payload)) + payload)
    assert wire.said() == raw(ANONYMOUS)
    assert wire.client.method == "anonymous"


def test_announced_order_is_used_whatever_the_messages_are_written_in() -> None:
    # The announcement is big, the next message little: pvAccessCPP servers mix while a connection starts.
    wire = Wire("CA 02 C1 02 00000000  CA 02 40 01 07000000 00000100 FF7F 00", user="")
    assert wire.said() == raw("CA 02 80 01 00000013  00010000 7FFF 0000 09 616E6F6E796D6F7573 FF")
    wire.hear(VALIDATED)
    wire.client.create_channel("x")
    assert wire.said() == raw("CA 02 80 07 00000008  0001 00000001 01 78")
    assert wire.hear("CA 02 C0 07 00000009 00000001 00000005 FF") == [("channel_created", "x")]
    wire.hear("CA 02 41 02 00000000                                       # now little")
    wire.client.echo()
    assert wire.said() == raw("CA 02 00 02 00000000")


def test_failed_login_is_told_and_the_connection_goes_on(wire: Wire) -> None:
    wire = Wire(LOGIN)
    wire.client.create_channel("x")
    wire.said()
    assert wire.hear("CA 02 40 09 05000000  02 02 6E6F 00           # ERROR, no") == [("validated", "no")]
    assert wire.said() == raw("CA 02 00 07 08000000  0100 01000000 01 78")


@pytest.mark.parametrize(
    "script",
    [
        VALIDATED,
        LOGIN + ASKED,
        LOGIN + VALIDATED + VALIDATED,
        LOGIN + "CA 02 40 01 05000000 00000100 FF",
        LOGIN + "CA 02 00 09 01000000 FF                  # from a client",
        LOGIN + "CA 02 40 09 01000000 07                  # no such status",
        "CA 02 40 01 01400000                             # larger than a login may be",
        "CB 02 40 09 01000000 FF                  # no PVAccess",
    ],
)
def test_bad_login(script: str) -> None:
    with pytest.raises(ProtocolError):
        Wire(script)


def test_larger_messages_only_after_the_login() -> None:
    limits = Limits(max_message_prelogin=100, max_message=200)
    wire = Wire(LOGIN, limits)
    with pytest.raises(ProtocolError, match="max_message is 100"):
        wire.hear("CA 02 40 02 65000000")
    wire = Wire(LOGIN + VALIDATED, limits)
    wire.hear("CA 02 40 02 65000000" + "00" * 0x65)
    with pytest.raises(ProtocolError, match="max_message is 200"):
        wire.hear("CA 02 40 02 C9000000")


def test_control_messages(wire: Wire) -> None:
    wire.hear("CA 02 41 03 DDCCBBAA  CA 02 41 00 00000000  CA 02 41 04 01000000")
    assert wire.said() == bytes((0xCA, 2, 1, Control.ECHO_RESPONSE)) + raw("DDCCBBAA")


@pytest.mark.parametrize(
    "message",
    [
        "CA 02 40 06 05000000 01000000 07                 # ACL_CHANGE",
        "CA 02 40 05 01000000 FF                          # AUTHNZ",
        "CA 02 40 02 03000000 616263                      # ECHO",
        "CA 02 40 13 02000000 FFFF                        # MULTIPLE_DATA",
        "CA 02 40 77 01000000 00                          # nobody knows",
        "CA 02 40 0F 09000000 01000000 02 00 00 00        # pvAccessCPP's complaint about a DESTROY_REQUEST",
        "CA 02 40 0A 06000000 99000000 00 FF              # GET reply of an unknown request",
        "CA 02 40 0D 07000000 99000000 00 00 00           # update of one",
        "CA 02 40 11 06000000 99000000 FF FF              # GET_FIELD reply of one",
        "CA 02 40 07 09000000 99000000 05000000 FF        # answer for an unknown channel",
        "CA 02 40 08 08000000 99000000 01000000           # end of one",
    ],
)
def test_ignored(wire: Wire, message: str) -> None:
    assert wire.hear(message) == []
    assert not wire.said()


def test_remarks(wire: Wire) -> None:
    assert wire.hear("CA 02 40 12 08000000 63000000 01 02 6869") == [("message", None, 1, "hi")]
    get = wire.channel().get()
    assert wire.reply(0x12, f"{get.ioid:02X}000000 09 02 6869") == [("message", get.ioid, 3, "hi")]


def test_search(wire: Wire) -> None:
    wire.client.search([(7, "ab"), (0xFFFFFFF0, "c")])
    assert wire.said() == raw("""
        CA 02 00 03 2E000000  646E6966 80 000000                      # "find", unicast
        00000000000000000000000000000000 0000                         # reply on this connection
        01 03 746370  0200  07000000 02 6162  F0FFFFFF 01 63          # tcp, two channels
    """)
    wire.client.search([])
    assert wire.said() == raw("""
        CA 02 00 03 1D000000  646E6966 81 000000                      # must reply
        00000000000000000000000000000000 0000 00 0000
    """)
    assert wire.hear("""
        CA 02 40 04 31000000  47474747474747474747474747474747  00000000000000000000000000000000 D413
        03 746370 01 0200 07000000 F0FFFFFF
    """) == [("search_response", True, (7, 0xFFFFFFF0))]


def test_only_a_ready_connection_searches() -> None:
    with pytest.raises(Exception, match="validating, not ready"):
        Wire(LOGIN).client.search([(1, "x")])


# ---- channels


def test_one_channel_per_message(wire: Wire) -> None:
    wire.client.create_channel("x")
    wire.client.create_channel("yy")
    assert wire.said() == raw("CA 02 00 07 08000000 0100 01000000 01 78  CA 02 00 07 09000000 0100 02000000 02 7979")


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("FFFFFFFF 03 02 6E6F 00                 # FATAL: pvxs", "no"),
        ("FFFFFFFF 02 02 6E6F 00                 # ERROR: pvAccessCPP", "no"),
        ("00000000 01 02 6E6F 00                 # WARNING, sid 0: spvirit", "no"),
    ],
)
def test_refusals(wire: Wire, answer: str, text: str) -> None:
    channel = wire.client.create_channel("x")
    assert wire.reply(7, "01000000" + answer) == [("channel_refused", "x", text)]
    assert channel.state is ClientChannelState.CLOSED


def test_warning_is_a_success(wire: Wire) -> None:
    channel = wire.client.create_channel("x")
    assert wire.reply(7, "01000000 05000000 01 02 6E6F 00") == [("channel_created", "x")]
    assert channel.sid == 5


def test_destroyed_channel(wire: Wire) -> None:
    channel = wire.channel()
    channel.destroy()
    assert wire.said() == raw("CA 02 00 08 08000000 05000000 01000000")
    assert wire.hear("CA 02 40 08 08000000 05000000 01000000") == []


def test_lost_channel(wire: Wire) -> None:
    channel = wire.channel()
    assert wire.hear("CA 02 40 08 08000000 05000000 01000000") == [("channel_lost", "x")]
    assert channel.state is ClientChannelState.CLOSED
    assert not wire.said()
    assert wire.hear("CA 02 40 08 08000000 05000000 01000000") == []


def test_abandoned_channel_is_destroyed_once_it_has_a_sid(wire: Wire) -> None:
    channel = wire.client.create_channel("x")
    channel.destroy()
    wire.said()
    assert wire.hear(CREATED) == []
    assert wire.said() == raw("CA 02 00 08 08000000 05000000 01000000")


def test_two_channels_with_one_sid(wire: Wire) -> None:
    wire.channel()
    wire.client.create_channel("y")
    with pytest.raises(ProtocolError, match="two channels with sid 5"):
        wire.reply(7, "02000000 05000000 FF")


def test_channel_that_was_not_asked_for() -> None:
    wire = Wire(LOGIN)
    wire.client.create_channel("x")
    with pytest.raises(ProtocolError, match="not asked for"):
        wire.hear(CREATED)

"""Literal messages, field by field: the annotated session of the specification's peers."""

from __future__ import annotations

import pytest

from p4p_trio.data import Type, Value, scalar, struct
from p4p_trio.wire import (
    BIG,
    LITTLE,
    OK,
    Command,
    Control,
    Status,
    StatusKind,
    codec_for,
    messages,
)
from tests.wire.shapes import raw, written

# Messages of the annotated session


def test_set_byte_order() -> None:
    assert written(messages.write_set_byte_order, LITTLE, True) == raw("CA 02 41 02 00000000")
    assert written(messages.write_set_byte_order, BIG, True) == raw("CA 02 C1 02 00000000")
    assert written(messages.write_control, BIG, False, Control.ECHO_REQUEST, 5) == raw("CA 02 81 03 00000005")


def test_validation() -> None:
    assert written(messages.write_validation_request, LITTLE, 0x10000, 0x7FFF, ["anonymous", "ca"]) == raw("""
        CA 02 40 01 14000000
        00000100                # receive buffer
        FF7F                    # type registry
        02                      # methods, the best one last
        09 616E6F6E796D6F7573   # anonymous
        02 6361                 # ca
    """)
    credentials = struct({"user": scalar("s"), "host": scalar("s")})
    who = Value._make(Type._of(credentials), [0, "root", "vm"])
    assert written(messages.write_validation_reply, LITTLE, 0x10000, 0x7FFF, 0, "ca", credentials, who) == raw("""
        CA 02 00 01 22000000
        00000100 FF7F 0000      # buffer, registry, qos
        02 6361                 # ca
        80 00 02 04 75736572 60 04 686F7374 60      # structure { string user; string host }
        04 726F6F74 02 766D     # root, vm
    """)
    assert written(messages.write_validation_reply, BIG, 1, 2, 3, "anonymous", None, None) == raw("""
        CA 02 80 01 00000013
        00000001 0002 0003
        09 616E6F6E796D6F7573
        FF                      # no credentials
    """)
    assert written(messages.write_validated, LITTLE, OK) == raw("CA 02 40 09 01000000 FF")


def test_channel() -> None:
    assert written(messages.write_create_channel, LITTLE, [(0x12345678, "W:rw")]) == raw("""
        CA 02 00 07 0B000000
        0100                    # one channel
        78563412 04 573A7277    # cid, name
    """)
    assert written(messages.write_channel_created, LITTLE, 0x12345678, 0x07050301, OK) == raw("""
        CA 02 40 07 09000000
        78563412 01030507 FF    # cid, sid, OK
    """)
    assert written(messages.write_destroy_channel, BIG, True, 0x07050301, 1) == raw("""
        CA 02 C0 08 00000008
        07050301 00000001       # sid first
    """)
    assert written(messages.write_acl_change, LITTLE, 3, 5) == raw("CA 02 40 06 05000000 03000000 05")


REQUEST = struct({"field": struct({})})
SID, IOID = 0x07050301, 0x10002000


def test_get() -> None:
    nothing = Value._make(Type._of(REQUEST), [0, None])
    assert written(messages.write_init, LITTLE, Command.GET, SID, IOID, 8, REQUEST, nothing) == raw("""
        CA 02 00 0A 15000000
        01030507 00200010 08            # sid, ioid, INIT
        80 00 01 05 6669656C64 80 00 00 # structure { structure field {} }
    """)
    field = struct({"value": scalar("d"), "n": scalar("i")})
    assert written(messages.write_init_reply, LITTLE, Command.GET, IOID, 8, OK, field) == raw("""
        CA 02 40 0A 13000000
        00200010 08 FF                  # ioid, INIT, OK
        80 00 02 05 76616C7565 43 01 6E 22
    """)
    assert written(messages.write_simple, LITTLE, Command.GET, SID, IOID, 0) == raw("""
        CA 02 00 0A 09000000
        01030507 00200010 00            # sid, ioid, execute
    """)
    codec = codec_for(field, LITTLE)
    assert written(messages.write_partial_reply, LITTLE, Command.GET, IOID, 0, codec, [0, 1.0, 2], 6) == raw("""
        CA 02 40 0A 14000000
        00200010 00 FF                  # ioid, sub-command, OK
        01 06                           # value, n
        000000000000F03F 02000000
    """)
    assert written(messages.write_destroy_request, LITTLE, SID, IOID) == raw("CA 02 00 0F 08000000 01030507 00200010")
    assert written(messages.write_cancel_request, LITTLE, SID, IOID) == raw("CA 02 00 15 08000000 01030507 00200010")


def test_put() -> None:
    codec = codec_for(struct({"value": scalar("d")}), BIG)
    assert written(messages.write_partial_request, BIG, Command.PUT, SID, IOID, 0, codec, [0, 5.5], 2) == raw("""
        CA 02 80 0B 00000013
        07050301 10002000 00            # sid, ioid, write
        01 02                           # value
        4016000000000000
    """)
    assert written(messages.write_status_reply, BIG, Command.PUT, IOID, 0, OK) == raw(
        "CA 02 C0 0B 00000006 10002000 00 FF"
    )
    refusal = Status(StatusKind.ERROR, "Put not supported")
    assert written(messages.write_status_reply, LITTLE, Command.PUT, IOID, 0, refusal) == raw("""
        CA 02 40 0B 19000000
        00200010 00
        02 11 507574206E6F7420737570706F72746564 00     # ERROR, message, no call tree
    """)


def test_monitor() -> None:
    nothing = Value._make(Type._of(REQUEST), [0, None])
    assert written(messages.write_init, LITTLE, Command.MONITOR, SID, IOID, 0x88, REQUEST, nothing, 4) == raw("""
        CA 02 00 0D 19000000
        01030507 00200010 88            # INIT with pipeline
        80 00 01 05 6669656C64 80 00 00
        04000000                        # window
    """)
    assert written(messages.write_simple, LITTLE, Command.MONITOR, SID, IOID, 0x44) == raw("""
        CA 02 00 0D 09000000 01030507 00200010 44
    """)
    codec = codec_for(struct({"value": scalar("i"), "alarm": scalar("i")}), LITTLE)
    assert written(messages.write_update, LITTLE, IOID, codec, [0, 8, 2], 6, 2) == raw("""
        CA 02 40 0D 11000000
        00200010 00                     # no status
        01 06 08000000 02000000         # what changed
        01 02                           # value changed more than once
    """)
    assert written(messages.write_ack, LITTLE, SID, IOID, 2) == raw("""
        CA 02 00 0D 0D000000 01030507 00200010 80 02000000
    """)
    assert written(messages.write_finish, LITTLE, IOID, OK) == raw("CA 02 40 0D 06000000 00200010 10 FF")


def test_rpc() -> None:
    argument = struct({"a": scalar("i")}, "uri")
    value = Value._make(Type._of(argument), [0, 1])
    assert written(messages.write_full_request, LITTLE, Command.RPC, SID, IOID, 0, argument, value) == raw("""
        CA 02 00 14 16000000
        01030507 00200010 00
        80 03 757269 01 01 61 22        # structure "uri" { int a }
        01000000
    """)
    assert written(messages.write_full_reply, LITTLE, Command.RPC, IOID, 0, scalar("d"), 1.0) == raw("""
        CA 02 40 14 0F000000 00200010 00 FF
        43 000000000000F03F             # a bare double
    """)
    assert written(messages.write_full_reply, LITTLE, Command.RPC, IOID, 0, None, None) == raw("""
        CA 02 40 14 07000000 00200010 00 FF
        FF                              # no value
    """)


def test_get_field() -> None:
    assert written(messages.write_get_field, LITTLE, SID, IOID, "a.b") == raw("""
        CA 02 00 11 0C000000 01030507 00200010 03 612E62
    """)
    assert written(messages.write_field_reply, LITTLE, IOID, OK, scalar("d")) == raw("""
        CA 02 40 11 06000000 00200010 FF 43
    """)
    assert written(messages.write_field_reply, BIG, IOID, Status(StatusKind.ERROR, "x"), None) == raw("""
        CA 02 C0 11 00000008 10002000 02 01 78 00
    """)


def test_search() -> None:
    assert written(
        messages.write_search, BIG, 0x66696E64, 0x80, messages.ANY, 0xD6FB, ["tcp"], [(0x12345678, "W:rw")]
    ) == raw("""
        CA 02 80 03 0000002A
        66696E64 80 000000                      # sequence, unicast, reserved
        00000000000000000000000000000000 D6FB   # reply to the sender, at this port
        01 03 746370                            # tcp
        0001 12345678 04 573A7277               # one channel: cid, name
    """)
    guid = raw("601E923E549E118A1F7D38AD")
    anywhere = messages.address16("0.0.0.0")
    assert written(
        messages.write_search_response, BIG, guid, 0x66696E64, anywhere, 0x53FD, "tcp", True, [0x12345678]
    ) == raw("""
        CA 02 C0 04 0000002D
        601E923E549E118A1F7D38AD                # guid
        66696E64                                # sequence of the question
        00000000000000000000FFFF00000000 53FD   # server address (any), port
        03 746370 01                            # tcp, found
        0001 12345678                           # cids
    """)


def test_beacon_and_origin_tag() -> None:
    guid = raw("272225CAF6AD8C377EFECC59")
    anywhere = messages.address16("0.0.0.0")
    assert written(messages.write_beacon, BIG, guid, 256, 1, anywhere, 0x5443) == raw("""
        CA 02 C0 00 00000027
        272225CAF6AD8C377EFECC59                # guid
        00 00 0001                              # flags, sequence (8 bits), change count
        00000000000000000000FFFF00000000 5443   # address, port
        03 746370 FF                            # tcp, no status
    """)
    assert written(messages.write_origin_tag, BIG, messages.address16("127.0.0.1")) == raw("""
        CA 02 80 16 00000010
        00000000000000000000FFFF7F000001
    """)


def test_echo_message_authnz() -> None:
    assert written(messages.write_echo, LITTLE, True, b"abc") == raw("CA 02 40 02 03000000 616263")
    assert written(messages.write_message, BIG, False, 7, 1, "hm") == raw("CA 02 80 12 00000008 00000007 01 02 686D")
    assert written(messages.write_authnz, BIG, False, scalar("i"), 1) == raw("CA 02 80 05 00000005 22 00000001")


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("", "00" * 16),
        ("127.0.0.1", "00" * 10 + "FFFF7F000001"),
        ("fe80::1", "FE80" + "00" * 13 + "01"),
    ],
)
def test_address(text: str, data: str) -> None:
    assert messages.address16(text) == raw(data)
    assert messages.address_text(raw(data)) == text


def test_address_details() -> None:
    assert messages.address_text(messages.address16("0.0.0.0")) == ""
    assert messages.address16("fe80::1%lo") == messages.address16("fe80::1")
    with pytest.raises(ValueError, match="localhost"):
        messages.address16("localhost")

"""Literal bytes, field by field, in both orders: what the specification and the captures say."""

from __future__ import annotations

from typing import Any

import pytest

from p4p_trio.data import Field, Selected, Type, Value, Variant, scalar, struct
from p4p_trio.wire import (
    BIG,
    LITTLE,
    OK,
    Buffers,
    Command,
    Control,
    Order,
    Status,
    StatusKind,
    bitset_bytes,
    codec_for,
    messages,
    read_item,
    read_type,
    type_bytes,
    write_item,
    write_size,
    write_status,
    write_string,
)
from tests.wire.shapes import array, joined, reading, same, written


def raw(text: str) -> bytes:
    """Hex with comments: everything behind `#` is for the reader."""
    return bytes.fromhex("".join(line.split("#")[0] for line in text.splitlines()))


both = pytest.mark.parametrize("order", [LITTLE, BIG], ids=["little", "big"])


def pick(order: Order, little: str, big: str) -> bytes:
    return raw(little if order is LITTLE else big)


# Sizes, strings, statuses, BitSets


@pytest.mark.parametrize(
    ("size", "little", "big"),
    [(0, "00", "00"), (253, "FD", "FD"), (254, "FE FE000000", "FE 000000FE"), (70000, "FE 70110100", "FE 00011170")],
)
@both
def test_size(order: Order, size: int, little: str, big: str) -> None:
    out = bytearray()
    write_size(out, order, size)
    assert out == pick(order, little, big)
    assert reading(bytes(out), order).size() == size


def test_size_longer_than_necessary() -> None:
    assert reading(raw("FE 05000000")).size() == 5


@pytest.mark.parametrize(
    ("text", "data"),
    [("", "00"), ("µm", "03 C2B56D"), ("\udcff", "01 FF")],
)
@both
def test_string(order: Order, text: str, data: str) -> None:
    out = bytearray()
    write_string(out, order, text)
    assert out == raw(data)
    assert reading(bytes(out), order).string() == text


def test_null_string_is_empty() -> None:
    assert reading(b"\xff").string() == ""


def test_lone_surrogate_is_sent_somehow() -> None:
    out = bytearray()
    write_string(out, LITTLE, "\ud800")
    assert out == raw("03 EDA080")


@both
def test_status(order: Order) -> None:
    for status, data in (
        (OK, "FF"),
        (Status(), "FF"),
        (Status(StatusKind.WARNING, "w"), "01 0177 00"),
        (Status(StatusKind.FATAL, "no", "tree"), "03 02 6E6F 04 74726565"),
    ):
        out = bytearray()
        write_status(out, order, status)
        assert out == raw(data)
        assert reading(bytes(out), order).status() == status
    assert reading(raw("00 00 00"), order).status() == OK
    assert Status(StatusKind.WARNING).success
    assert not Status(StatusKind.ERROR).success


@pytest.mark.parametrize(
    ("mask", "little", "big"),
    [
        (0, "00", "00"),
        (0b10, "01 02", "01 02"),
        (1 << 1 | 1 << 10, "02 0204", "02 0204"),
        (sum(1 << n for n in range(1, 71)), "09 FEFFFFFFFFFFFFFF 7F", "09 FFFFFFFFFFFFFFFE 7F"),
        (1 << 56, "08 0000000000000001", "08 0100000000000000"),
        (1 << 128, "11 0000000000000000 0000000000000000 01", "11 0000000000000000 0000000000000000 01"),
        (1 << 9 | 1 << 74, "0A 0002000000000000 0004", "0A 0000000000000200 0004"),
    ],
)
@both
def test_bitset(order: Order, mask: int, little: str, big: str) -> None:
    data = pick(order, little, big)
    assert bitset_bytes(order, mask) == data
    assert reading(data, order).bitset() == mask


def test_long_bitset() -> None:
    mask = 1 << 253 * 8 + 7
    data = bitset_bytes(BIG, mask)
    assert data[:5] == raw("FE 000000FE")
    assert reading(data, BIG).bitset() == mask


# Types

UNION = Field.make("U", "", ("i", "s"), (scalar("i"), scalar("s")))
POINT = struct({"x": scalar("i"), "y": scalar("s")}, "p")
TYPES = [
    (None, "FF"),
    (scalar("?"), "00"),
    (scalar("a?"), "08"),
    (scalar("b"), "20"),
    (scalar("h"), "21"),
    (scalar("i"), "22"),
    (scalar("l"), "23"),
    (scalar("B"), "24"),
    (scalar("H"), "25"),
    (scalar("I"), "26"),
    (scalar("L"), "27"),
    (scalar("aL"), "2F"),
    (scalar("f"), "42"),
    (scalar("d"), "43"),
    (scalar("ad"), "4B"),
    (scalar("s"), "60"),
    (scalar("as"), "68"),
    (scalar("v"), "82"),
    (scalar("av"), "8A"),
    (struct({}), "80 00 00"),
    (POINT, "80  01 70  02  01 78 22  01 79 60"),
    (UNION, "81  00  02  01 69 22  01 73 60"),
    (Field.make("aS", element=POINT), "88  80 01 70 02 01 78 22 01 79 60"),
    (Field.make("aU", element=UNION), "89  81 00 02 01 69 22 01 73 60"),
    (struct({"field": struct({})}), "80 00 01  05 6669656C64  80 00 00"),
]


@pytest.mark.parametrize(("field", "data"), TYPES)
@both
def test_type(order: Order, field: Field | None, data: str) -> None:
    assert type_bytes(field, order) == raw(data)
    assert read_type(reading(raw(data), order)) is field


# Values


def point(x: int, y: str) -> Value:
    return Value._make(Type._of(POINT), [0, x, y])


ST = struct({"p": scalar("d"), "q": scalar("as")})
BIG_UNION = Field.make("U", "", ("i", "s", "st", "ad"), (scalar("i"), scalar("s"), ST, scalar("ad")))
VALUES = [
    (scalar("?"), True, "01", "01"),
    (scalar("h"), -2, "FEFF", "FFFE"),
    (scalar("L"), 2**64 - 1, "FFFFFFFFFFFFFFFF", "FFFFFFFFFFFFFFFF"),
    (scalar("d"), 1.0, "000000000000F03F", "3FF0000000000000"),
    (scalar("ai"), array("ai", [1, -1]), "02 01000000 FFFFFFFF", "02 00000001 FFFFFFFF"),
    (scalar("a?"), array("a?", [True, False]), "02 01 00", "02 01 00"),
    (scalar("ab"), array("ab", [1, -1]), "02 01 FF", "02 01 FF"),
    (scalar("as"), ("a", ""), "02 0161 00", "02 0161 00"),
    (
        BIG_UNION,
        Selected(2, Value._make(Type._of(ST), [0, 2.0, ("a", "bc")])),
        "02 0000000000000040 02 0161 026263",
        "02 4000000000000000 02 0161 026263",
    ),
    (BIG_UNION, None, "FF", "FF"),
    (scalar("v"), None, "FF", "FF"),
    (scalar("v"), Variant(scalar("l"), 5), "23 0500000000000000", "23 0000000000000005"),
    (
        scalar("v"),
        Variant(POINT, point(9, "why")),
        "80 0170 02 017822 017960  09000000 03776879",
        "80 0170 02 017822 017960  00000009 03776879",
    ),
    (
        Field.make("aS", element=POINT),
        (point(1, "one"), None),
        "02  01 01000000 036F6E65  00",
        "02  01 00000001 036F6E65  00",
    ),
    (
        Field.make("aU", element=UNION),
        (Selected(0, 1), None, Selected(1, "two"), Selected(-1, None)),
        "04  01 00 01000000  00  01 01 0374776F  01 FF",
        "04  01 00 00000001  00  01 01 0374776F  01 FF",
    ),
    (
        scalar("av"),
        (Variant(scalar("s"), "s"), None, Variant(None, None)),
        "03  01 60 0173  00  01 FF",
        "03  01 60 0173  00  01 FF",
    ),
]


@pytest.mark.parametrize(("field", "item", "little", "big"), VALUES)
@both
def test_value(order: Order, field: Field, item: Any, little: str, big: str) -> None:
    data = pick(order, little, big)
    out = Buffers()
    write_item(out, order, field, item)
    assert joined(out) == data
    assert same(read_item(reading(data, order), field), item)


def test_any_true_byte_is_true() -> None:
    assert read_item(reading(b"\x02"), scalar("?")) is True
    flags = read_item(reading(b"\x02\x07\x00"), scalar("a?"))
    assert flags.tolist() == [True, False]
    assert flags.tobytes() == b"\x01\x00"


@both
def test_partial_value(order: Order) -> None:
    field = struct(
        {
            "value": scalar("d"),
            "alarm": struct({"severity": scalar("i"), "status": scalar("i"), "message": scalar("s")}),
            "arr": scalar("ai"),
        }
    )
    codec = codec_for(field, order, trusted=True)
    slots = [0, 1.5, None, 2, 0, "HIGH", array("ai", [7])]
    # bits 1 and 6: value and arr
    leaves = pick(order, "01 42  000000000000F83F  01 07000000", "01 42  3FF8000000000000  01 00000007")
    # bit 2: all of alarm
    subtree = pick(order, "01 04  02000000 00000000 0448494748", "01 04  00000002 00000000 0448494748")
    # bits 2 and 4: the same, once
    twice = pick(order, "01 14  02000000 00000000 0448494748", "01 14  00000002 00000000 0448494748")
    for mask, covered, data in ((0x42, 0x42, leaves), (0x04, 0x38, subtree), (0x14, 0x38, twice)):
        out = Buffers()
        codec.write_partial(out, slots, mask)
        assert joined(out) == data
        fresh = field.layout.defaults.copy()
        assert codec.read_partial(reading(data, order), fresh) == covered
        for n in range(7):
            assert same(fresh[n], slots[n] if covered >> n & 1 else field.layout.defaults[n])


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

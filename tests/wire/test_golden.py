"""Literal bytes, field by field, in both orders: what the specification and the captures say."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from p4p_trio.data import Field, Selected, Type, Value, Variant, scalar, struct
from p4p_trio.wire import (
    BIG,
    LITTLE,
    OK,
    Buffers,
    Order,
    Status,
    StatusKind,
    bitset_bytes,
    codec_for,
    read_item,
    read_type,
    type_bytes,
    write_item,
    write_size,
    write_status,
    write_string,
)
from tests.wire.shapes import array, joined, raw, reading, same

both = pytest.mark.parametrize("order", [LITTLE, BIG], ids=["little", "big"])


def pick(order: Order, little: str, big: str) -> bytes:
    return raw(little if order is LITTLE else big)


def test_there_are_two_orders() -> None:
    assert Order.of_flags(0xC0) is BIG
    assert Order.of_flags(0x41) is LITTLE
    assert [repr(order) for order in (LITTLE, BIG)] == ["LITTLE", "BIG"]
    assert pickle.loads(pickle.dumps(BIG)) is BIG
    assert (LITTLE.flags(True), BIG.flags(True), BIG.flags(False)) == (0x40, 0xC0, 0x80)


def test_buffers() -> None:
    out = Buffers()
    assert not out
    assert out.freeze() == ()
    array = memoryview(bytes(20_000))
    out.attach(array)
    out.attach(array)
    out.tail += b"end"
    assert out
    assert len(out) == 40_003
    assert out.freeze() == (array, array, b"end")
    out.clear()
    assert (len(out), out.freeze()) == (0, ())


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

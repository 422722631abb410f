"""Bytes that want to hurt: whatever comes in, a value or exactly one ProtocolError comes out."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Callable
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p4p_trio.data import Field, scalar, struct
from p4p_trio.errors import ProtocolError
from p4p_trio.wire import LITTLE, NATIVE, Command, Order, Reader, TypeCache, codec_for, interpret, messages, read_type
from p4p_trio.wire.codec import Codec
from tests.wire.replay import STREAMS, lines
from tests.wire.shapes import LIMITS, orders, reading, structs

ANY = scalar("v")
READERS: list[Callable[[Reader], Any]] = [
    messages.read_acl_change,
    messages.read_authnz,
    messages.read_beacon,
    messages.read_channel_created,
    messages.read_create_channel,
    messages.read_destroy_channel,
    messages.read_echo,
    messages.read_field_reply,
    messages.read_full,
    messages.read_get_field,
    messages.read_message,
    messages.read_origin_tag,
    messages.read_reply,
    messages.read_request,
    messages.read_request_ids,
    messages.read_search,
    messages.read_search_response,
    messages.read_validated,
    messages.read_validation_reply,
    messages.read_validation_request,
    lambda reader: messages.read_init(reader, Command.MONITOR, 0x88),
    lambda reader: messages.read_init_reply(reader, Command.PUT_GET),
    lambda reader: messages.read_monitor(reader, 0x80),
    lambda reader: reader.u64(),
    lambda reader: reader.bitset(70),
    read_type,
    interpret.read_typed,
]


def survive(read: Callable[[Reader], Any], data: bytes, order: Order = LITTLE, **more: Any) -> str:
    """Read; the text of the error, "" for success. Anything but a ProtocolError fails the test."""
    reader = reading(data, order, **more)
    failure = None
    try:
        read(reader)
    except ProtocolError as error:
        failure = error
    assert 0 <= reader.pos <= len(data)
    if failure is None:
        return ""
    assert failure.offset is not None
    assert 0 <= failure.offset <= len(data)
    return str(failure)


@given(data=st.binary(max_size=200), order=orders)
def test_any_bytes_into_any_reader(data: bytes, order: Order) -> None:
    for read in READERS:
        survive(read, data, order)
        survive(read, data, order, types=TypeCache(LIMITS))


# Bytes that look like types and sizes more often than chance would have it.
promising = st.lists(
    st.one_of(
        st.sampled_from([b"\x80", b"\x81", b"\x82", b"\x88", b"\x89", b"\x8a", b"\xfd\x01\x00", b"\xfe\x01\x00"]),
        st.sampled_from([b"\x00", b"\x01", b"\x02", b"\x01a", b"\x01b", b"\xff", b"\xfe\xff\xff\xff\xff", b"\x22"]),
        st.binary(max_size=4),
    ),
    max_size=40,
).map(b"".join)


@given(data=promising, order=orders)
@settings(max_examples=300)
def test_promising_bytes(data: bytes, order: Order) -> None:
    types = TypeCache(LIMITS)
    for read in (read_type, interpret.read_typed, messages.read_full, messages.read_validation_reply):
        survive(read, data, order, types=types)


@given(field=structs, data=promising, order=orders)
def test_promising_values(field: Field, data: bytes, order: Order) -> None:
    codec = Codec(field, order, trusted=True)
    slots = field.layout.defaults.copy()
    full = survive(codec.read_slots, data, order)
    assert full == survive(lambda reader: interpret.read_slots(reader, field), data, order)
    partial = survive(lambda reader: codec.read_partial(reader, slots), data, order)
    assert partial == survive(lambda reader: interpret.read_partial(reader, field, slots), data, order)
    survive(lambda reader: messages.read_update(reader, codec, slots), data, order)
    survive(lambda reader: messages.read_finish(reader, codec, slots), data, order)
    codec.close()


def test_mutated_captures() -> None:
    """Every captured payload with a few bytes changed, cut or doubled, into every reader."""
    dice = random.Random(1)
    payloads = [
        bytes.fromhex(line["hex"])[8:] for path in STREAMS for line in lines(path) if line["transport"] == "tcp"
    ]
    payloads = [payload for payload in payloads if payload]
    field = struct({"value": ANY, "list": Field.make("aS", element=struct({"x": scalar("as")}))})
    slots = field.layout.defaults.copy()
    codec = codec_for(field, LITTLE, trusted=True)
    for _ in range(3000):
        data = bytearray(dice.choice(payloads)[:400])
        for _ in range(dice.randint(1, 4)):
            at = dice.randrange(len(data))
            data[at] = dice.choice((0, 1, 0x80, 0x82, 0x88, 0xFD, 0xFE, 0xFF, dice.randrange(256)))
        if dice.random() < 0.3:
            del data[dice.randrange(len(data)) :]
        skip = dice.choice((0, 5, 9, 10))
        for read in (*dice.sample(READERS, 3), codec.read_slots, lambda reader: codec.read_partial(reader, slots)):
            survive(read, bytes(data[skip:]), types=TypeCache(LIMITS))


# Named cases


def test_any_inside_any_a_million_deep() -> None:
    assert "nested deeper than 20" in survive(lambda r: interpret.read_item(r, ANY), b"\x82" * 1_000_000)
    assert "nested deeper than 20" in survive(interpret.read_typed, b"\x82" * 1_000_000)
    assert "nested deeper than 20" in survive(interpret.read_typed, b"\x8a\x01\x01" * 1_000_000)


def test_types_inside_any_count_from_where_they_are() -> None:
    inside = b"\x80\x00\x01\x01a" * 20 + b"\x22" + bytes(4)
    assert survive(interpret.read_typed, inside) == ""
    assert "types nested deeper" in survive(interpret.read_typed, b"\x82\x82" + inside)


def test_structures_through_ids_a_million_deep() -> None:
    # any { structure 1 { any } } holding itself again and again, five bytes a level
    data = b"\x82\xfd\x01\x00\x80\x00\x01\x01v\x82" + b"\xfe\x01\x00" * 1_000_000
    assert "nested deeper than 20" in survive(interpret.read_typed, data, types=TypeCache(LIMITS))


@pytest.mark.parametrize("code", ["ad", "a?", "as", "av"])
@pytest.mark.parametrize("count", [2**31 - 1, 2**32 - 1])
def test_lying_counts(code: str, count: int) -> None:
    data = b"\xfe" + count.to_bytes(4, "little") + bytes(50)
    tracemalloc.start()
    try:
        text = survive(lambda reader: interpret.read_item(reader, scalar(code)), data)
        assert tracemalloc.get_traced_memory()[1] < 200_000
    finally:
        tracemalloc.stop()
    assert f"{count} elements announced, only 50 bytes left" in text


def test_lying_string_and_bitset() -> None:
    huge = b"\xfe\xff\xff\xff\xff"
    assert "string of 4294967295 bytes" in survive(lambda reader: reader.string(), huge + b"abc")
    assert "BitSet of 4294967295 bytes" in survive(lambda reader: reader.bitset(), huge + b"abc")
    assert "bytes wanted" in survive(lambda reader: reader.take(5), b"abc")
    assert "announced" in survive(lambda reader: reader.strings(), huge)


def test_bits_beyond_the_structure() -> None:
    assert reading(b"\x08\x0f" + bytes(7)).bitset(4) == 15  # padded to a word
    assert "bit 4 set in a BitSet for 4 fields" in survive(lambda reader: reader.bitset(4), b"\x01\x10")
    assert "BitSet of 9 bytes for 4 fields" in survive(lambda reader: reader.bitset(4), b"\x09" + bytes(9))
    assert "null size" in survive(lambda reader: reader.bitset(4), b"\xff")


def test_unknown_status() -> None:
    assert "unknown status kind 4" in survive(lambda reader: reader.status(), b"\x04\x00\x00")


def test_lying_channel_counts() -> None:
    assert "65535 channels announced" in survive(messages.read_create_channel, b"\xff\xff" + bytes(100))
    response = bytes(12 + 4 + 16 + 2) + b"\x00\x01\xff\xff" + bytes(40)
    assert "65535 channels announced" in survive(messages.read_search_response, response)


def test_objects_are_counted() -> None:
    few = attrs.evolve(LIMITS, max_objects=100)
    lists = {
        scalar("as"): bytes((120,)) + bytes(120),
        scalar("av"): bytes((60,)) + b"\x01\xff" * 60,
        Field.make("aU", element=Field.make("U", "", ("a",), (scalar("b"),))): bytes((60,)) + b"\x01\x00\x07" * 60,
        Field.make("aS", element=struct({"a": scalar("b")})): bytes((60,)) + b"\x01\x07" * 60,
    }
    for field, data in lists.items():
        assert "more than 100 objects" in survive(lambda r, f=field: interpret.read_item(r, f), data, limits=few)
        assert survive(lambda r, f=field: interpret.read_item(r, f), data) == ""
        assert (
            survive(lambda r, f=field: interpret.read_item(r, f), data, limits=attrs.evolve(few, max_objects=None))
            == ""
        )


def test_empty_structures_are_not_free() -> None:
    # An element of one byte that stands for a thousand slots.
    element = struct({f"e{n}": struct({}) for n in range(1000)})
    text = survive(lambda r: interpret.read_item(r, Field.make("aS", element=element)), b"\xfd" + b"\x01" * 253)
    assert "more empty structures than the message has bytes" in text
    honest = Field.make("aS", element=struct({"e": struct({}), "n": scalar("b")}))
    assert survive(lambda r: interpret.read_item(r, honest), b"\x02" + b"\x01\x05" * 2) == ""
    assert survive(lambda r: interpret.read_item(r, Field.make("aS", element=struct({}))), b"\x02\x01\x01") == ""


@pytest.mark.parametrize(
    ("field", "payload"),
    [
        (scalar("as"), b"\x00"),
        (scalar("as"), b"\x02ab"),
        (scalar("av"), b"\x01\xff"),
        (scalar("av"), b"\x01\x20\x07"),
        (scalar("av"), b"\x01\x28\x01\x07"),
        (scalar("av"), b"\x01\x80\x00\x00"),
        (scalar("av"), b"\x01\x80\x00\x01\x01a\x20\x07"),
        (Field.make("aS", element=struct({})), b"\x01"),
        (Field.make("aS", element=struct({"a": scalar("b")})), b"\x01\x07"),
        (Field.make("aU", element=Field.make("U", "", ("a",), (scalar("b"),))), b"\x01\x00\x07"),
    ],
)
def test_memory_stays_in_proportion(field: Field, payload: bytes) -> None:
    """At most 256 bytes of memory per byte of message (and at most a million objects)."""
    count = 20_000
    data = b"\xfe" + count.to_bytes(4, "little") + payload * count
    reader = reading(data)
    interpret.read_item(reading(data[:5].replace(b"\x20\x4e", b"\x01\x00") + payload), field)
    tracemalloc.start()
    try:
        found = interpret.read_item(reader, field)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(found) == count
    assert peak <= 256 * len(data) + 64 * 1024, peak / len(data)


def test_types_that_differ_in_every_element() -> None:
    """The dearest thing to put into an array: a structure of its own type each."""
    parts = b"".join(b"\x01\x80\x00\x01\x03" + b"%03x" % n + b"\x20\x07" for n in range(4000))
    data = b"\xfe" + (4000).to_bytes(4, "little") + parts
    tracemalloc.start()
    try:
        interpret.read_item(reading(data), scalar("av"))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= 256 * len(data) + 64 * 1024, peak / len(data)


def test_a_short_message_never_reads_the_next_one() -> None:
    field = struct({"a": scalar("s"), "b": scalar("ai"), "c": scalar("d")})
    data = b"\x02ab" + b"\x02" + bytes(8) + bytes(8)
    codec = Codec(field, NATIVE, trusted=True)
    for end in range(len(data)):
        for buf in (data + data, memoryview(bytearray(data + data))):
            with pytest.raises(ProtocolError):
                codec.read_slots(Reader(buf, 0, end, NATIVE, LIMITS))

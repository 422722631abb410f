"""Round trips, and the generated codec against the interpreting one."""

from __future__ import annotations

import linecache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p4p_trio.data import Field, Selected, Type, Value, Variant, bits, scalar, struct
from p4p_trio.data.field import DTYPES
from p4p_trio.errors import ProtocolError
from p4p_trio.wire import BIG, LITTLE, NATIVE, Buffers, Order, Reader, codec_for, interpret, read_type, type_bytes
from p4p_trio.wire import codec as codecs
from p4p_trio.wire.bitset import bitset_bytes
from p4p_trio.wire.generate import discard, reader_into, writer_of
from tests.strategies import values as values_of_data
from tests.wire.shapes import LIMITS, array, fields, items, joined, orders, reading, same, slots, structs, written

SWAPPED = BIG if NATIVE is LITTLE else LITTLE


@given(data=st.data(), order=orders, field=fields)
def test_any_type_and_value_come_back(data: st.DataObject, order: Order, field: Field) -> None:
    item = data.draw(items(field))
    raw = written(interpret.write_typed, order, field, item)
    reader = reading(raw, order)
    found = interpret.read_typed(reader)
    assert reader.remaining == 0
    assert found[0] is field
    assert same(found[1], item)


@given(data=st.data(), order=orders, field=structs)
def test_generated_equals_interpreted(data: st.DataObject, order: Order, field: Field) -> None:
    codec = codecs.Codec(field, order, trusted=True)
    full = data.draw(slots(field))
    raw = written(interpret.write_slots, order, field, full)
    assert written(codec.write_slots, full) == raw
    assert same(codec.read_slots(reading(raw, order)), full)
    assert same(interpret.read_slots(reading(raw, order), field), full)
    # Any number of bytes too few: the same error to the letter.
    for end in {0, len(raw) // 2, len(raw) - 1} & set(range(len(raw))):
        assert failure(codec.read_slots, reading(raw[:end], order)) == failure(
            interpret.read_slots, reading(raw[:end], order), field
        )
    codec.close()


@given(data=st.data(), order=orders, field=structs)
def test_generated_equals_interpreted_for_any_mask(data: st.DataObject, order: Order, field: Field) -> None:
    full = data.draw(slots(field))
    mask = data.draw(st.integers(0, field.layout.all))
    covered = field.layout.expand(mask)
    raw = written(interpret.write_partial, order, field, full, mask)
    write = writer_of(field, order, list(bits(covered)), bitset_bytes(order, mask))
    assert written(write, full) == raw

    expected = field.layout.defaults.copy()
    assert interpret.read_partial(reading(raw, order), field, expected) == covered
    for n in range(1, len(expected)):
        assert same(expected[n], full[n] if covered >> n & 1 else field.layout.defaults[n])
    read = reader_into(field, order, list(bits(covered)))
    found = field.layout.defaults.copy()
    reader = reading(raw, order)
    reader.bitset()
    read(reader, found)
    assert reader.remaining == 0
    assert same(found, expected)
    cut = data.draw(st.integers(0, len(raw)))
    short = [
        failure(function, reading(raw[:cut], order))
        for function in (lambda r: interpret.read_partial(r, field, expected), lambda r: (r.bitset(), read(r, found)))
    ]
    assert short[0] == short[1]
    discard(write)
    discard(read)


def failure(function: Any, *arguments: Any) -> str:
    try:
        function(*arguments)
    except ProtocolError as error:
        return str(error)
    return ""


SMALL = struct({"n": scalar("i"), "inner": struct({"text": scalar("s"), "x": scalar("ad")})})
FULL: list[Any] = [0, 1, None, "abc", array("ad", [1.5])]


@pytest.mark.parametrize("order", [LITTLE, BIG])
def test_a_stranger_is_interpreted_until_it_was_used_often(order: Order) -> None:
    codec = codecs.Codec(SMALL, order, trusted=False)
    raw = written(interpret.write_slots, order, SMALL, FULL)
    for n in range(codecs.PATIENCE + 2):
        assert codec._generated == (n >= codecs.PATIENCE)
        if n % 2:
            assert written(codec.write_slots, FULL) == raw
        else:
            assert same(codec.read_slots(reading(raw, order)), FULL)
    assert codec.write_slots.__code__.co_filename in linecache.cache  # type: ignore[attr-defined]
    codec.close()
    assert codec.write_slots.__code__.co_filename not in linecache.cache  # type: ignore[attr-defined]
    assert written(codec.write_slots, FULL) == raw


@pytest.mark.parametrize("order", [LITTLE, BIG])
def test_masks_earn_their_functions(order: Order) -> None:
    codec = codecs.Codec(SMALL, order, trusted=False)
    raw = written(interpret.write_partial, order, SMALL, FULL, 0b1010)
    for n in range(3 * codecs.PATIENCE):
        assert written(codec.write_partial, FULL, 0b1010) == raw
        found = SMALL.layout.defaults.copy()
        assert codec.read_partial(reading(raw, order), found) == 0b1010
        assert same(found, [0, 1, None, "abc", SMALL.layout.defaults[4]]), n
    assert list(codec._writers) == [0b1010]
    assert list(codec._readers) == [raw[:2]]
    # The function in place, the message short.
    for end in range(len(raw)):
        with pytest.raises(ProtocolError):
            codec.read_partial(reading(raw[:end], order), found)
        # And with another message behind it in the same buffer.
        with pytest.raises(ProtocolError):
            codec.read_partial(Reader(raw, 0, end, order, LIMITS), found)
    before = len(linecache.cache)
    codec.close()
    assert len(linecache.cache) == before - 4


def test_functions_for_masks_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codecs, "MASKS", 4)
    monkeypatch.setattr(codecs, "PATIENCE", 2)
    field = struct({f"f{n}": scalar("b") for n in range(20)})
    full: list[Any] = [0, *range(20)]
    codec = codecs.Codec(field, LITTLE, trusted=True)
    for mask in range(0, 200, 2):
        raw = written(interpret.write_partial, LITTLE, field, full, mask)
        for _ in range(3):
            assert written(codec.write_partial, full, mask) == raw
            found = field.layout.defaults.copy()
            codec.read_partial(reading(raw), found)
    assert len(codec._writers) == len(codec._readers) == 4
    # Many masks that are used once only leave nothing behind.
    for mask in range(300, 400, 2):
        codec.write_partial(Buffers(), full, mask)
    assert len(codec._write_uses) <= 17
    codec.close()


def test_codecs_are_shared_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert codec_for(SMALL, LITTLE, trusted=True) is codec_for(SMALL, LITTLE, trusted=True)
    assert codec_for(SMALL, LITTLE) is codec_for(SMALL, LITTLE, trusted=True)
    assert codec_for(SMALL, LITTLE) is not codec_for(SMALL, BIG)
    monkeypatch.setattr(codecs, "STRANGERS", 4)
    monkeypatch.setattr(codecs, "TRUSTED", 4)
    monkeypatch.setattr(codecs, "_trusted", {})  # whatever other tests left
    many = [struct({f"m{n}": scalar("i")}) for n in range(10)]
    first = codec_for(many[0], LITTLE)
    for field in many:
        codec_for(field, LITTLE)
        assert codec_for(many[0], LITTLE) is first  # used all the time
    assert len(codecs._strangers) == 4
    for field in many:
        codec_for(field, LITTLE, trusted=True)
    assert len(codecs._trusted) == 4
    monkeypatch.setattr(codecs, "STRANGERS_NODES", 4)
    codec_for(struct({"another": scalar("i")}), LITTLE)
    assert len(codecs._strangers) == 2
    assert sum(codec.field.nodes for codec in codecs._strangers.values()) == codecs._strangers_nodes


def test_large_types_are_always_interpreted() -> None:
    field = struct({f"f{n}": scalar("b") for n in range(codecs.LARGEST)})
    assert field.nodes == codecs.LARGEST + 1
    codec = codec_for(field, LITTLE, trusted=True)
    full: list[Any] = [0, *(n % 100 for n in range(codecs.LARGEST))]
    for _ in range(codecs.PATIENCE + 1):
        raw = written(codec.write_slots, full)
        assert codec.read_slots(reading(raw)) == full
        codec.write_partial(Buffers(), full, 6)
    assert not codec._generated
    assert codec_for(struct({f"g{n}": scalar("b") for n in range(codecs.LARGEST)}), LITTLE).read_slots(reading(raw))


def test_full_values_of_any_type() -> None:
    for field, item in (
        (scalar("d"), 1.5),
        (scalar("as"), ("a",)),
        (SMALL, Value._make(Type._of(SMALL), FULL.copy())),
        (scalar("v"), Variant(scalar("i"), 3)),
    ):
        for trusted in (True, False):
            codec = codec_for(field, BIG, trusted=trusted)
            raw = written(codec.write_full, item)
            assert raw == written(interpret.write_item, BIG, field, item)
            assert same(codec.read_full(reading(raw, BIG)), item)


def test_strings_that_are_no_unicode_go_through_generated_code() -> None:
    field = struct({"a": scalar("s"), "b": scalar("s")})
    codec = codec_for(field, LITTLE, trusted=True)
    raw = written(codec.write_slots, [0, "\udcff", "\ud800"])
    assert raw == b"\x01\xff\x03\xed\xa0\x80"
    assert codec.read_slots(reading(raw))[1] == "\udcff"


@pytest.mark.parametrize("order", [LITTLE, BIG])
def test_empty_strings_have_a_shortcut(order: Order) -> None:
    field = struct({"a": scalar("s"), "n": scalar("h"), "b": scalar("s"), "x": scalar("d")})
    only = struct({"a": scalar("s")})
    codec, lone = codecs.Codec(field, order, True), codecs.Codec(only, order, True)
    for a in ("", "a", "x" * 253, "x" * 254):
        for b in ("", "bc"):
            full: list[Any] = [0, a, -2, b, 0.5]
            raw = written(interpret.write_slots, order, field, full)
            assert written(codec.write_slots, full) == raw
            for end in range(len(raw)):
                assert failure(codec.read_slots, Reader(raw, 0, end, order, LIMITS)) == failure(
                    interpret.read_slots, Reader(raw, 0, end, order, LIMITS), field
                )
            assert codec.read_slots(reading(raw, order)) == full
            into: list[Any] = [7, "old", 1, "old", 1.0]
            partial = written(interpret.write_partial, order, field, full, 0b11110)
            for _ in range(codecs.PATIENCE + 1):
                assert codec.read_partial(reading(partial, order), into) == 0b11110
                assert written(codec.write_partial, full, 0b11110) == partial
            assert into == [7, *full[1:]]
        assert lone.read_slots(reading(written(lone.write_slots, [0, a]), order)) == [0, a]
    codec.close()
    lone.close()


# Arrays


@pytest.mark.parametrize("code", sorted(DTYPES))
@pytest.mark.parametrize("order", [LITTLE, BIG])
@pytest.mark.parametrize("trusted", [True, False])
def test_large_arrays_are_attached(code: str, order: Order, trusted: bool) -> None:
    field = struct({"before": scalar("i"), "value": scalar(code), "after": scalar("s"), "more": scalar(code)})
    values = array(code, [n % 2 for n in range(20_000)])
    full: list[Any] = [0, 1, values, "end", array(code, [1] * 300)]
    codec = codecs.Codec(field, order, trusted)
    out = Buffers()
    codec.write_slots(out, full)
    chunks = out.freeze()
    assert len(chunks) == 3
    view = chunks[1]
    assert isinstance(view, memoryview)
    assert view.format == "B"
    raw = joined(out)
    if not order.swapped or values.itemsize == 1:
        # By reference: the memory of the view is the memory of the array.
        assert memoryview(values).cast("B").obj is values
        assert view.obj is values
    assert raw == b"".join(bytes(chunk) for chunk in chunks)
    assert same(codec.read_slots(reading(raw, order)), full)
    assert same(interpret.read_slots(reading(raw, order), field), full)


@pytest.mark.parametrize("trusted", [True, False])
def test_arrays_do_not_refer_to_a_shared_buffer(trusted: bool) -> None:
    field = struct({"value": scalar("ai")})
    raw = bytearray(written(interpret.write_slots, NATIVE, field, [0, array("ai", [1, 2])]))
    codec = codecs.Codec(field, NATIVE, trusted)
    found = codec.read_slots(Reader(memoryview(raw), 0, len(raw), NATIVE, LIMITS))
    raw[:] = bytes(len(raw))
    assert found[1].tolist() == [1, 2]
    assert not found[1].flags.writeable


def test_an_array_may_be_a_view_of_an_owned_buffer() -> None:
    field = struct({"value": scalar("ad"), "rest": scalar("aB")})
    full: list[Any] = [0, array("ad", range(1000)), array("aB", [1] * 100)]
    for order in (NATIVE, SWAPPED):
        raw = bytearray(written(interpret.write_slots, order, field, full))
        codec = codecs.Codec(field, order, True)
        found = codec.read_slots(Reader(memoryview(raw), 0, len(raw), order, LIMITS, None, True))
        assert same(found, full)
        assert not found[1].flags.writeable
        raw[:] = bytes(len(raw))
        assert same(found[1], full[1]) == (order is SWAPPED)
        assert same(found[2], full[2])  # too small to keep the whole message alive
    partial = bytearray(written(interpret.write_partial, NATIVE, field, full, 2))
    slots = field.layout.defaults.copy()
    for _ in range(3 * codecs.PATIENCE):
        reader = Reader(memoryview(partial), 0, len(partial), NATIVE, LIMITS, None, True)
        assert codecs.Codec(field, NATIVE, True).read_partial(reader, slots) == 2
        assert codec_for(field, NATIVE, trusted=True).read_partial(reading(bytes(partial), NATIVE), slots) == 2
    reader = Reader(memoryview(partial), 0, len(partial), NATIVE, LIMITS, None, True)
    assert codec_for(field, NATIVE, trusted=True).read_partial(reader, slots) == 2
    assert same(slots[1], full[1])


def test_empty_arrays_are_shared() -> None:
    assert interpret.read_item(reading(b"\0"), scalar("ad")) is scalar("ad").default
    assert codec_for(SMALL, LITTLE, trusted=True).read_slots(reading(bytes(6)))[4] is scalar("ad").default


# What errors say


def test_errors_name_offset_and_path() -> None:
    union = Field.make("U", "", ("n", "v"), (scalar("i"), scalar("v")))
    field = struct(
        {
            "a": scalar("b"),
            "list": Field.make("aS", element=struct({"pick": union})),
            "words": scalar("as"),
        }
    )
    codec = codec_for(field, LITTLE, trusted=True)
    for data, message in (
        (b"\x00\x02\x01\xff\x01\x05", "union selector 5 of 2 members (at list[1].pick, byte 5)"),
        (b"\x00\x01\x01\x00\x00", "4 bytes wanted, 1 left (at list[0].pick.n, byte 4)"),
        (b"\x00\x01\x01\x01\x80\x00\x01\x01b\x99", "unknown type code 0x99 (at list[0].pick.v.b, byte 9)"),
        (b"\x00\x00\x02\x00\x05", "string of 5 bytes, 0 left (at words[1], byte 4)"),
        (b"\x00\x00\x05\x00", "5 elements announced, only 1 bytes left (at words, byte 2)"),
        (b"\x00\xff", "null size where a size is needed (at list, byte 1)"),
        (b"", "1 bytes wanted, 0 left (at a, byte 0)"),
    ):
        for read in (codec.read_slots, lambda reader: interpret.read_slots(reader, field)):
            with pytest.raises(ProtocolError) as caught:
                read(reading(data))
            assert str(caught.value) == message
            # Offsets count from the payload, wherever it is in the buffer.
            shifted = memoryview(b"12345678" + data + b"123")
            with pytest.raises(ProtocolError) as caught:
                read(Reader(shifted, 8, 8 + len(data), LITTLE, LIMITS))
            assert str(caught.value) == message


def test_selected_and_typed_helpers() -> None:
    union = Field.make("U", "", ("n",), (scalar("i"),))
    raw = written(interpret.write_typed, LITTLE, union, Selected(0, 7))
    assert read_type(reading(raw)) is union
    assert raw[: len(type_bytes(union, LITTLE))] == type_bytes(union, LITTLE)
    assert written(interpret.write_typed, LITTLE, None, None) == b"\xff"


@given(value=values_of_data(), order=orders)
@settings(max_examples=30)  # they take long to draw
def test_what_data_makes_can_be_sent(value: Value, order: Order) -> None:
    codec = codec_for(value._type._field, order)
    raw = written(codec.write_full, value)
    assert raw == written(interpret.write_item, order, codec.field, value)
    found = codec.read_full(reading(raw, order))
    assert found._slots[0] == 0
    assert same(found._slots[1:], value._slots[1:])

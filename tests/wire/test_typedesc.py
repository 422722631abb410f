"""Type descriptions: ids, nesting, and everything that is no type."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p4p_trio.config import Limits
from p4p_trio.data import Field, scalar, struct
from p4p_trio.errors import ProtocolError
from p4p_trio.wire import BIG, LITTLE, Order, TypeCache, read_type, type_bytes, write_type
from tests.wire.shapes import LIMITS, fields, orders, reading

INT = b"\x22"


def structure(*members: bytes, code: int = 0x80) -> bytes:
    """A structure whose members are called a, b, c …"""
    parts = b"".join(b"\x01" + bytes((97 + n,)) + member for n, member in enumerate(members))
    return bytes((code, 0, len(members))) + parts


def nested(depth: int, inside: bytes = INT) -> bytes:
    """*depth* structures in one another, around *inside*."""
    for _ in range(depth):
        inside = structure(inside)
    return inside


def define(id: int, description: bytes) -> bytes:
    return b"\xfd" + id.to_bytes(2, "little") + description


def use(id: int) -> bytes:
    return b"\xfe" + id.to_bytes(2, "little")


def parse(data: bytes, limits: Limits = LIMITS, types: TypeCache | None = None) -> Field | None:
    reader = reading(data, limits=limits, types=types)
    field = read_type(reader)
    assert reader.remaining == 0
    return field


def refused(data: bytes, text: str, limits: Limits = LIMITS, types: TypeCache | None = None) -> None:
    with pytest.raises(ProtocolError, match=text) as caught:
        parse(data, limits, types)
    assert caught.value.offset is not None


@given(field=fields, order=orders)
def test_round_trip(field: Field, order: Order) -> None:
    data = type_bytes(field, order)
    reader = reading(data, order)
    assert reader.type() is field
    assert reader.remaining == 0
    out = bytearray()
    write_type(out, order, field)
    assert out == data
    assert type_bytes(field, order) is data


@given(field=fields, order=orders, data=st.data())
def test_every_beginning_of_a_type_is_an_error(field: Field, order: Order, data: st.DataObject) -> None:
    raw = type_bytes(field, order)
    end = data.draw(st.integers(0, len(raw) - 1))
    with pytest.raises(ProtocolError):
        read_type(reading(raw[:end], order))


def test_long_names_and_many_members() -> None:
    members = {f"member{n}": scalar("b") for n in range(300)}
    members["n" * 500] = scalar("s")
    field = struct(members, "i" * 500)
    for order in (LITTLE, BIG):
        assert read_type(reading(type_bytes(field, order), order)) is field


@pytest.mark.parametrize("name", ["value.x", "naïve", "two words", "\udcff", "0"])
def test_odd_names_are_accepted(name: str) -> None:
    field = struct({name: scalar("i")})
    assert parse(type_bytes(field, LITTLE)) is field


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "1 byte wanted"),
        (b"\x01", "unknown type code 0x01"),
        (b"\x83\x05", "0x83"),  # bounded string
        (b"\x32\x05", "0x32"),  # bounded array
        (b"\x3a\x05", "0x3A"),  # fixed array
        (b"\x90\x00\x00", "0x90"),
        (b"\xfc\x01\x00\0\0\0\0\x22", "0xFC"),
        (b"\xdf", "0xDF"),
        (structure(b"\xff"), r"null type of a member \(at a, byte 5\)"),
        (b"\x88\x22", "array of structures of something else"),
        (b"\x88\xff", "array of structures of something else"),
        (b"\x88" + structure(INT, code=0x81), "array of structures of something else"),
        (b"\x89" + structure(INT), "array of unions of something else"),
        (b"\x88\x88" + structure(INT), "array of structures of something else"),
        (b"\x80\x00\x02\x01a\x22\x01a\x22", "two members named 'a'"),
        (b"\x80\x00\x01\x00\x22\x00", "member without a name"),
        (b"\x80\x00\x01\xff\x22\x00", "member without a name"),
        (b"\x80\x00\x01\x01\n\x22", r"member name '\\n'"),
        (b"\x80\x00\x01\x02\xc2\x85\x22", r"member name '\\x85'"),
        (b"\x80\x00\x01\xfe\xf5\x01\x00\x00" + b"n" * 501 + b"\x22", "member name of 501"),
        (b"\x80\xfe\xf5\x01\x00\x00" + b"n" * 501 + b"\x00", "type id of 501"),
        (b"\x80\x00\xff", "null size"),
        (b"\x80\x00\xfe\xff\xff\xff\xff\x01a\x22", "4294967295 elements announced"),
        (use(1), "type id 1 is not defined"),
        (define(1, b"\xff"), "defined as null"),
        (define(1, define(2, INT)), "two ids"),
        (b"\xfd\x01", "2 bytes wanted"),
        (b"\xfd\x01\x00", "1 byte wanted"),
        (structure(INT, structure(b"\x99")), r"unknown type code 0x99 \(at b.a, byte 13\)"),
    ],
)
def test_refused(data: bytes, text: str) -> None:
    refused(data, text)


def test_empty_union_and_structure() -> None:
    assert parse(b"\x81\x00\x00") is Field.make("U")
    assert parse(b"\x80\xff\x00") is struct({})


# Ids


def test_ids_last_as_long_as_the_cache() -> None:
    types = TypeCache(LIMITS)
    field = struct({"a": scalar("i")})
    assert parse(define(7, structure(INT)), types=types) is field
    assert parse(use(7), types=types) is field
    assert parse(structure(use(7), use(7)), types=types) is struct({"a": field, "b": field})
    assert parse(b"\x88" + use(7), types=types) is Field.make("aS", element=field)
    assert parse(define(8, use(7)), types=types) is field
    assert len(types) == 2
    refused(use(7), "not defined", types=TypeCache(LIMITS))


def test_a_message_without_connection_may_define_its_own_ids() -> None:
    field = struct({"a": scalar("i")})
    assert parse(structure(define(1, structure(INT)), use(1))) is struct({"a": field, "b": field})


def test_a_definition_overwrites() -> None:
    types = TypeCache(LIMITS)
    parse(define(1, structure(INT)), types=types)
    parse(define(1, structure(b"\x43")), types=types)
    assert parse(use(1), types=types) is struct({"a": scalar("d")})
    assert len(types) == 1


def test_scalars_may_have_ids() -> None:
    types = TypeCache(LIMITS)
    assert parse(define(1, INT), types=types) is scalar("i")
    assert parse(structure(use(1)), types=types) is struct({"a": scalar("i")})


def test_an_incomplete_id_means_nothing() -> None:
    refused(define(1, structure(use(1))), "type id 1 is not defined")
    types = TypeCache(LIMITS)
    parse(define(1, structure(INT)), types=types)
    # Not even what it meant before.
    refused(define(1, structure(use(1))), r"type id 1 is not defined \(at a,", types=types)
    refused(use(1), "not defined", types=types)


# Limits


def test_depth() -> None:
    # 20 structures inside the outermost pass, 21 do not: as pvxs.
    assert parse(nested(21)) is not None
    refused(nested(22), "nested deeper than 20")
    assert parse(nested(20, b"\x81\x00\x01\x01u\x22")) is not None
    refused(nested(21, b"\x81\x00\x01\x01u\x22"), "nested deeper than 20")
    shallow = attrs.evolve(LIMITS, max_depth=1)
    assert parse(nested(2), shallow) is not None
    refused(nested(3), "nested deeper than 1", shallow)


def test_arrays_are_depth() -> None:
    inside = INT
    for _ in range(10):
        inside = b"\x88" + structure(inside)
    assert parse(structure(inside)) is not None
    refused(structure(structure(inside)), "nested deeper")
    refused(b"\x88" * 100_000, "nested deeper")


def test_depth_through_ids() -> None:
    types = TypeCache(LIMITS)
    parse(define(1, nested(11)), types=types)
    parse(define(2, nested(10, use(1))), types=types)
    refused(structure(use(2)), "nested deeper than 20", types=types)
    refused(define(3, structure(use(2))), "nested deeper than 20", types=types)
    refused(b"\x88" + use(2), "nested deeper than 20", types=types)
    # One level per message never adds up to more.
    types = TypeCache(LIMITS)
    parse(define(0, structure(INT)), types=types)
    for n in range(1, 21):
        parse(define(n, structure(use(n - 1))), types=types)
    refused(define(21, structure(use(20))), "nested deeper than 20", types=types)


def test_a_million_deep() -> None:
    refused(b"\x80\x00\x01\x01a" * 1_000_000, "nested deeper than 20")
    refused(b"\xfd\x01\x00" * 1_000_000, "two ids")
    refused(b"\xfd\x01\x00\x88" * 1_000_000, "nested deeper than 20")


def test_nodes() -> None:
    limits = attrs.evolve(LIMITS, max_type_nodes=10)
    assert parse(structure(*[INT] * 9), limits) is not None
    refused(structure(*[INT] * 10), "more than 10 descriptions", limits)


def test_nodes_through_ids_count_in_full() -> None:
    types = TypeCache(LIMITS)
    parse(define(0, structure(INT, INT)), types=types)
    for n in range(1, 11):
        parse(define(n, structure(use(n - 1), use(n - 1))), types=types)
    # 3, 7, 15 … 2^(n+2) - 1: the eleventh has 4,095.
    refused(define(11, structure(use(10), use(10))), "more than 4096 descriptions", types=types)


def test_number_of_ids() -> None:
    limits = attrs.evolve(LIMITS, max_cached_types=3)
    types = TypeCache(limits)
    for n in range(3):
        parse(define(n, structure(INT)), limits, types)
    parse(define(2, structure(INT, INT)), limits, types)
    refused(define(3, structure(INT)), "more than 3 type ids", limits, types)


def test_size_of_all_ids_together() -> None:
    limits = attrs.evolve(LIMITS, max_cached_nodes=10)
    types = TypeCache(limits)
    parse(define(1, structure(INT, INT)), limits, types)
    for _ in range(10):
        parse(define(2, structure(*[INT] * 4)), limits, types)  # replaces itself
    refused(define(3, structure(INT, INT, INT)), "more than 10 descriptions", limits, types)
    # Names weigh something too.
    types = TypeCache(limits)
    name = b"\xfe\xf4\x01\x00\x00" + b"n" * 500
    refused(define(1, b"\x80" + name + b"\x02" + b"\x01a\x22" + name + b"\x22"), "more than 10", limits, types)


def test_limits_switched_off() -> None:
    off = Limits(max_type_nodes=None, max_cached_types=None, max_cached_nodes=None, max_objects=None)
    types = TypeCache(off)
    for n in range(2000):
        parse(define(n, structure(INT)), off, types)
    assert len(types) == 2000
    big = struct({f"f{n}": scalar("i") for n in range(5000)})
    assert parse(type_bytes(big, LITTLE), off, types) is big


def test_objects() -> None:
    limits = attrs.evolve(LIMITS, max_objects=5)
    refused(structure(*[INT] * 5), "more than 5 objects", limits)

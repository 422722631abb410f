"""Captured bytes of four other implementations: decoded to the last byte, and written again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from p4p_trio.data import bits
from p4p_trio.errors import ProtocolError
from p4p_trio.wire import BIG, LITTLE, TypeCache, codec_for, interpret, read_type, type_bytes, write_bitset
from p4p_trio.wire.codec import Codec
from tests.wire.replay import STREAMS, VECTORS, Connection, field_of, json_of, lines, put, replay, step
from tests.wire.shapes import LIMITS, reading, written


@pytest.mark.parametrize("path", STREAMS, ids=lambda path: path.stem)
def test_stream(path: Path) -> None:
    connections = replay(path)
    decoded = sum(connection.decoded for connection in connections.values())
    again = sum(connection.again for connection in connections.values())
    assert decoded > 0
    # pvAccessCPP and spvirit use type ids for nearly everything, so there much less can be identical.
    ids = "cpp" in path.stem or "spvirit" in path.stem
    assert again >= decoded * (0.5 if ids else 0.9), f"{again} of {decoded}"
    assert not any(framer.partial for c in connections.values() for framer in c.framers.values())


def test_all_streams_together() -> None:
    connections = [connection for path in STREAMS for connection in replay(path).values()]
    assert sum(connection.decoded for connection in connections) > 4500


VALUES = list(lines(VECTORS / "values.jsonl"))


def transmitted(value: dict[str, Any], slots: list[Any]) -> dict[str, Any]:
    """The fields that *value*'s BitSet covers, as values.jsonl writes them."""
    field = field_of(value["type"])
    layout = field.layout
    covered = layout.expand(sum(1 << n for n in value["changed_bits"]))
    tree: dict[str, Any] = {}
    for n in bits(covered):
        put(tree, layout.paths[n], json_of(layout.fields[n], slots[n]))
    # A structure without members has no leaves, but its bit, or that of one above it, says that it was sent.
    for n in value["changed_bits"]:
        for k in bits(layout.subtree[n]):
            if layout.fields[k].code == "S" and not layout.fields[k].members and k:
                put(tree, layout.paths[k], {})
    return tree


def test_values_are_many() -> None:
    assert len(VALUES) == 281
    assert sum(not value["introspection_cached"] for value in VALUES) == 229


@pytest.mark.parametrize("value", VALUES, ids=lambda v: f"{v['pv']}-{v['op']}-{v['order']}-{v['seq']}")
def test_value(value: dict[str, Any]) -> None:
    order = BIG if value["order"] == "BE" else LITTLE
    field = field_of(value["type"])
    changed, data = bytes.fromhex(value["changed"]), bytes.fromhex(value["data"])
    mask = sum(1 << n for n in value["changed_bits"])
    out = bytearray()
    write_bitset(out, order, mask)
    assert out == changed
    if not value["introspection_cached"]:
        introspection = bytes.fromhex(value["introspection"])
        assert read_type(reading(introspection, order)) is field
        assert type_bytes(field, order) == introspection
    if value["data_cached"]:
        return  # see test_values_within_their_streams
    generated = Codec(field, order, trusted=True)
    for codec in (Codec(field, order, trusted=False), generated):
        slots = field.layout.defaults.copy()
        reader = reading(changed + data, order)
        codec.read_partial(reader, slots)
        assert reader.remaining == 0
        assert transmitted(value, slots) == value["value"]
        assert written(codec.write_partial, slots, mask) == changed + data
    assert interpret.read_partial(reading(changed + data, order), field, slots) == field.layout.expand(mask)
    generated.close()


def test_values_within_their_streams() -> None:
    """Types by reference, and types inside data by reference: what an id means depends on all that came before."""
    wanted: dict[tuple[str, int], list[int]] = {}
    for n, value in enumerate(VALUES):
        wanted.setdefault((value["session"], value["seq"]), []).append(n)
    found = set()
    for path in STREAMS:
        connections: dict[tuple[str, str], Connection] = {}
        for line in lines(path):
            connection = step(connections, line)
            if connection.last is None:
                continue
            field, slots, mask = connection.last
            # Several files call their sessions alike, so the bytes and the type have to fit too.
            for n in wanted.get((line["session"], line["seq"]), ()):
                value = VALUES[n]
                sent = value["changed"] + value["data"]
                if sent in line["hex"] and line["peer"] == value["peer"] and field is field_of(value["type"]):
                    assert mask == sum(1 << n for n in value["changed_bits"])
                    assert transmitted(value, slots) == value["value"]
                    found.add(n)
    cached = {n for n, value in enumerate(VALUES) if value["introspection_cached"] or value["data_cached"]}
    assert len(cached) >= 52
    assert found == set(range(len(VALUES)))


def test_cached_introspection_needs_its_cache() -> None:
    cached = [value for value in VALUES if value["introspection"].startswith("fd")]
    assert cached
    for value in cached:
        order = BIG if value["order"] == "BE" else LITTLE
        types = TypeCache(LIMITS)
        raw = bytes.fromhex(value["introspection"])
        try:
            field = read_type(reading(raw, order, types=types))
        except ProtocolError:
            continue  # it refers to ids that were defined earlier
        assert field is field_of(value["type"])
        assert len(types) > 0
        again = read_type(reading(b"\xfe" + raw[1:3], order, types=types))
        assert again is field
        assert codec_for(field_of(value["type"]), order).field is field

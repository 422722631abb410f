"""Replaying captured streams: every message through the typed functions, state tracked as peers track it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from p4p_trio.data import Field, Selected, Type, Value, Variant, scalar
from p4p_trio.data.field import DTYPES
from p4p_trio.wire import (
    Buffers,
    Command,
    Framer,
    Order,
    Reader,
    TypeCache,
    bitset_bytes,
    codec_for,
    messages,
    split_datagram,
    type_bytes,
    write_bitset,
)
from p4p_trio.wire.commands import DESTROY, GET, GET_PUT, INIT
from tests.wire.shapes import LIMITS, joined

VECTORS = Path(__file__).parent.parent / "vectors"
STREAMS = sorted(VECTORS.glob("stream_*.jsonl"))


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of one file."""
    with path.open(encoding="utf-8") as file:
        yield from map(json.loads, file)


class Connection:
    """One TCP connection, or all datagrams of one session.

    Attributes:
        decoded: messages decoded so far.
        again: those of them that were written again to the same bytes.
        last: type, slots and mask of the newest message, if it was a data reply.
    """

    def __init__(self) -> None:
        self.types = {True: TypeCache(LIMITS), False: TypeCache(LIMITS)}
        self.init: dict[int, tuple[Field, ...]] = {}
        self.decoded = self.again = 0
        self.last: tuple[Field, list[Any], int] | None = None
        self.framers = {server: self._framer(server) for server in (True, False)}

    def _framer(self, server: bool) -> Framer:
        def handler(command: int) -> Any:
            return lambda buf, start, end, order: self.message(server, command, bytes(buf[start:end]), order)

        return Framer(
            from_server=server, max_message=None, dispatch=[handler(n) for n in range(256)], control=self.control
        )

    def control(self, command: int, value: int, order: Order) -> None:
        assert command <= 4

    def datagram(self, server: bool, data: bytes) -> None:
        end = 0
        for flags, command, start, end, order in split_datagram(data):
            self.message(bool(flags & 0x40), command, data[start:end], order)
        assert end == len(data)

    def message(self, server: bool, command: int, payload: bytes, order: Order) -> None:
        """Decode one payload to its last byte, and write it again."""
        reader = Reader(payload, 0, len(payload), order, LIMITS, self.types[server])
        out = Buffers()
        self.last = None
        if command in _OPERATIONS:
            (self.reply if server else self.request)(reader, Command(command), out)
        else:
            _SIMPLE[command, server](reader, order, server, out)
        assert reader.remaining == 0, f"{reader.remaining} bytes left of {Command(command)!r}"
        self.decoded += 1
        if len(out):
            # Type ids (plain forms are what we write) and sizes that others spell longer are the only excuses.
            again = joined(out)[8:]
            if again == payload:
                self.again += 1
            else:
                assert b"\xfd" in payload or b"\xfe" in payload, (Command(command), payload.hex(), again.hex())

    def request(self, reader: Reader, command: Command, out: Buffers) -> None:
        order = reader.order
        sid, ioid, sub = messages.read_request(reader)
        if sub & INIT:
            field, item, nfree = messages.read_init(reader, command, sub)
            messages.write_init(out, order, command, sid, ioid, sub, field, item, nfree)
        elif command == Command.RPC:
            field, item = messages.read_full(reader)
            messages.write_full_request(out, order, command, sid, ioid, sub, field, item)
        elif command in (Command.PUT, Command.PUT_GET) and not sub & (GET | GET_PUT):
            codec = codec_for(self.init[ioid][0], order)
            slots = codec.field.layout.defaults.copy()
            mask = self.mask(reader, codec.field)
            codec.read_partial(reader, slots)
            messages.write_partial_request(out, order, command, sid, ioid, sub, codec, slots, mask)
        elif command == Command.MONITOR and (nfree := messages.read_monitor(reader, sub)) is not None:
            messages.write_ack(out, order, sid, ioid, nfree)
        else:
            messages.write_simple(out, order, command, sid, ioid, sub)

    def reply(self, reader: Reader, command: Command, out: Buffers) -> None:
        order = reader.order
        ioid, sub = messages.read_reply(reader)
        if sub & INIT:
            status, fields = messages.read_init_reply(reader, command)
            self.init[ioid] = tuple(field for field in fields if field is not None)
            messages.write_init_reply(out, order, command, ioid, sub, status, *self.init[ioid])
        elif command == Command.RPC:
            status = reader.status()
            if status.success:
                messages.write_full_reply(out, order, command, ioid, sub, *messages.read_full(reader))
            else:
                messages.write_status_reply(out, order, command, ioid, sub, status)
        elif command == Command.MONITOR:
            self.update(reader, ioid, sub, out)
        else:
            status = reader.status()
            if not status.success or not reader.remaining:
                messages.write_status_reply(out, order, command, ioid, sub, status)
                return
            fields = self.init[ioid]
            codec = codec_for(fields[0] if sub & GET_PUT else fields[-1], order)
            slots = codec.field.layout.defaults.copy()
            mask = self.mask(reader, codec.field)
            codec.read_partial(reader, slots)
            self.last = codec.field, slots, mask
            messages.write_partial_reply(out, order, command, ioid, sub, codec, slots, mask)

    def update(self, reader: Reader, ioid: int, sub: int, out: Buffers) -> None:
        order = reader.order
        codec = codec_for(self.init[ioid][0], order)
        slots = codec.field.layout.defaults.copy()
        if not sub & DESTROY:
            mask = self.mask(reader, codec.field)
            _, overrun = messages.read_update(reader, codec, slots)
            self.last = codec.field, slots, mask
            messages.write_update(out, order, ioid, codec, slots, mask, overrun)
            return
        status, last = messages.read_finish(reader, codec, slots)
        messages.write_finish(out, order, ioid, status)
        if last is not None:
            # We never send a last update along, so there is no function that writes one.
            out.clear()

    def mask(self, reader: Reader, field: Field) -> int:
        """The mask at the reader's position, which stays there."""
        at = reader.pos
        mask = reader.bitset(len(field.layout))
        reader.pos = at
        return mask


_OPERATIONS = {Command.GET, Command.PUT, Command.PUT_GET, Command.MONITOR, Command.RPC, Command.PROCESS}


def _one(read: Any, write: Any) -> Any:
    return lambda reader, order, server, out: write(out, order, *_tuple(read(reader)))


def _two(read: Any, write: Any) -> Any:
    return lambda reader, order, server, out: write(out, order, server, *_tuple(read(reader)))


def _tuple(found: Any) -> Any:
    return found if isinstance(found, tuple) else (found,)


def _search(reader: Reader, order: Order, server: bool, out: Buffers) -> None:
    found = messages.read_search(reader)
    messages.write_search(out, order, *found, server=server)


def _beacon(reader: Reader, order: Order, server: bool, out: Buffers) -> None:
    guid, flags, sequence, count, address, port, protocol, field, item = messages.read_beacon(reader)
    messages.write_beacon(
        out, order, guid, sequence, count, address, port, protocol, flags=flags, field=field, item=item
    )


_ids_destroy = _one(messages.read_request_ids, messages.write_destroy_request)
_ids_cancel = _one(messages.read_request_ids, messages.write_cancel_request)
_SIMPLE: dict[tuple[int, bool], Any] = {
    (Command.BEACON, True): _beacon,
    (Command.CONNECTION_VALIDATION, True): _one(messages.read_validation_request, messages.write_validation_request),
    (Command.CONNECTION_VALIDATION, False): _one(messages.read_validation_reply, messages.write_validation_reply),
    (Command.CONNECTION_VALIDATED, True): _one(messages.read_validated, messages.write_validated),
    (Command.SEARCH, True): _search,
    (Command.SEARCH, False): _search,
    (Command.SEARCH_RESPONSE, True): _one(messages.read_search_response, messages.write_search_response),
    (Command.ACL_CHANGE, True): _one(messages.read_acl_change, messages.write_acl_change),
    (Command.CREATE_CHANNEL, True): _one(messages.read_channel_created, messages.write_channel_created),
    (Command.CREATE_CHANNEL, False): _one(messages.read_create_channel, messages.write_create_channel),
    (Command.DESTROY_REQUEST, False): _ids_destroy,
    (Command.CANCEL_REQUEST, False): _ids_cancel,
    (Command.GET_FIELD, False): _one(messages.read_get_field, messages.write_get_field),
    (Command.GET_FIELD, True): _one(messages.read_field_reply, messages.write_field_reply),
    (Command.ORIGIN_TAG, False): _one(messages.read_origin_tag, messages.write_origin_tag),
    **{
        (command, server): _two(read, write)
        for server in (True, False)
        for command, read, write in (
            (Command.ECHO, messages.read_echo, messages.write_echo),
            (Command.AUTHNZ, messages.read_authnz, messages.write_authnz),
            (Command.DESTROY_CHANNEL, messages.read_destroy_channel, messages.write_destroy_channel),
            (Command.MESSAGE, messages.read_message, messages.write_message),
        )
    },
}


@cache
def replay(path: Path) -> dict[tuple[str, str], Connection]:
    """All of one file; the connections by session and name."""
    connections: dict[tuple[str, str], Connection] = {}
    for line in lines(path):
        step(connections, line)
    return connections


def step(connections: dict[tuple[str, str], Connection], line: dict[str, Any]) -> Connection:
    """One line; the connection that it concerned."""
    data = bytes.fromhex(line["hex"])
    key = (line["session"], line["conn"])
    connection = connections.get(key) or connections.setdefault(key, Connection())
    server = line["dir"] == "s2c"
    connection.last = None
    if line["transport"] == "udp":
        connection.datagram(server, data)
    else:
        connection.framers[server].feed(data, 1000)
    return connection


# The notation of values.jsonl


def field_of(spec: Any) -> Field:
    """The field that a type of values.jsonl describes."""
    if isinstance(spec, str):
        return scalar(spec)
    code, id, members = spec
    plain = Field.make(
        code[-1], id, tuple(name for name, _ in members), tuple(field_of(member) for _, member in members)
    )
    return Field.make(code, element=plain) if code[0] == "a" else plain


def json_of(field: Field, item: Any) -> Any:
    """An item in the notation of values.jsonl."""
    code = field.code
    if code in "fd":
        return item if item - item == 0 else {"$f": "nan" if item != item else "inf" if item > 0 else "-inf"}
    if code in ("af", "ad"):
        return [json_of(scalar(code[1]), each) for each in item.tolist()]
    if code in DTYPES:
        return item.tolist()
    if code == "as":
        return list(item)
    if code == "S":
        return {
            name: json_of(member, item._slots[field.layout.position[name]])
            if member.code != "S"
            else json_of(member, Value._make(Type._of(member), _part(item, field, name, member)))
            for name, member in zip(field.names, field.members, strict=True)
        }
    if isinstance(item, Selected):
        if item.index < 0:
            return None
        member = field.members[item.index]
        return {"$sel": item.index, "name": field.names[item.index], "value": json_of(member, item.item)}
    if isinstance(item, Variant):
        return None if item.field is None else {"$type": spec_of(item.field), "value": json_of(item.field, item.item)}
    if code in ("aS", "aU", "av"):
        element = field.element or scalar("v")
        return [{"$null": True} if each is None else json_of(element, each) for each in item]
    return item


def _part(value: Value, field: Field, name: str, member: Field) -> list[Any]:
    at = field.layout.position[name]
    return [0, *value._slots[at + 1 : at + len(member.layout)]]


def spec_of(field: Field) -> Any:
    """The reverse of `field_of`."""
    plain = field.element or field
    if plain.code not in ("S", "U"):
        return field.code
    members = [[name, spec_of(member)] for name, member in zip(plain.names, plain.members, strict=True)]
    return [field.code, plain.id, members]


def put(tree: dict[str, Any], path: str, value: Any) -> None:
    """Set a dotted path in nested dicts."""
    *above, last = path.split(".")
    for name in above:
        tree = tree.setdefault(name, {})
    tree[last] = value


__all__ = [
    "STREAMS",
    "VECTORS",
    "Connection",
    "bitset_bytes",
    "field_of",
    "json_of",
    "lines",
    "put",
    "replay",
    "step",
    "type_bytes",
    "write_bitset",
]

"""Messages of the search for channels: SEARCH (also over TCP), its response, BEACON, ORIGIN_TAG.

Addresses are 16 bytes in network order, whatever the order of the message; IPv4 ones are mapped.
"Any", which means "take the address that this packet came from", is all zero or the mapped 0.0.0.0.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Final, NamedTuple

from p4p_trio.data.field import Field
from p4p_trio.wire.buffers import Buffers
from p4p_trio.wire.commands import Command
from p4p_trio.wire.interpret import read_typed, write_typed
from p4p_trio.wire.messages.channel import read_channels
from p4p_trio.wire.messages.header import finish, whole
from p4p_trio.wire.order import MAGIC, VERSION, Order
from p4p_trio.wire.reader import Reader
from p4p_trio.wire.text import string_bytes, write_size, write_string

__all__ = [
    "ANY",
    "Beacon",
    "Search",
    "SearchResponse",
    "address16",
    "address_text",
    "read_beacon",
    "read_origin_tag",
    "read_search",
    "read_search_response",
    "write_beacon",
    "write_origin_tag",
    "write_search",
    "write_search_response",
]

ANY: Final = bytes(16)
_MAPPED: Final = bytes(10) + b"\xff\xff"


class Search(NamedTuple):
    """A question: who has these channels? *channels* as cid and name; an empty *protocols* means any."""

    seq: int
    flags: int
    address: bytes
    port: int
    protocols: tuple[str, ...]
    channels: list[tuple[int, str]]


class SearchResponse(NamedTuple):
    """An answer: the server at *address* and *port* has (or, not *found*, has not) the channels *cids*."""

    guid: bytes
    seq: int
    address: bytes
    port: int
    protocol: str
    found: bool
    cids: tuple[int, ...]


class Beacon(NamedTuple):
    """A sign of life; *item* is the server's status, of type *field*, which nobody sends."""

    guid: bytes
    flags: int
    sequence: int
    change_count: int
    address: bytes
    port: int
    protocol: str
    field: Field | None
    item: Any


def address16(ip: str) -> bytes:
    """An address as messages carry it; "" for any.

    Raises:
        ValueError: for text that is not a numeric address.
    """
    if not ip:
        return ANY
    # The scope of a link-local address means something on its own machine only.
    address = ip_address(ip.partition("%")[0])
    return _MAPPED + address.packed if isinstance(address, IPv4Address) else address.packed


def address_text(address: bytes) -> str:
    """The reverse; both spellings of any are ""."""
    if address[:12] == _MAPPED:
        return str(IPv4Address(address[12:])) if any(address[12:]) else ""
    return str(IPv6Address(address)) if any(address) else ""


def write_search(
    out: Buffers,
    order: Order,
    seq: int,
    flags: int,
    reply_address: bytes,
    reply_port: int,
    protocols: Sequence[str],
    channels: Sequence[tuple[int, str]],
    server: bool = False,
) -> None:
    """Client: who has these channels? No channel and no protocol: who is there?"""
    payload = bytearray(order.u32.pack(seq))
    payload += bytes((flags, 0, 0, 0)) + reply_address + order.u16.pack(reply_port)
    write_size(payload, order, len(protocols))
    for protocol in protocols:
        write_string(payload, order, protocol)
    payload += order.u16.pack(len(channels))
    for cid, name in channels:
        payload += order.u32.pack(cid)
        write_string(payload, order, name)
    whole(out, order, order.flags(server), Command.SEARCH, payload)


def read_search(reader: Reader) -> Search:
    """Server's side of `write_search`."""
    seq, flags = reader.u32(), reader.u8()
    reader.take(3)
    return Search(seq, flags, reader.take(16), reader.u16(), reader.strings(), read_channels(reader))


def write_search_response(
    out: Buffers,
    order: Order,
    guid: bytes,
    seq: int,
    address: bytes,
    port: int,
    protocol: str,
    found: bool,
    cids: Sequence[int],
) -> None:
    """Server: I have these."""
    payload = guid + order.u32.pack(seq) + address + order.u16.pack(port) + string_bytes(order, protocol)
    payload += bytes((found,)) + order.u16.pack(len(cids))
    payload += b"".join(order.u32.pack(cid) for cid in cids)
    whole(out, order, order.server, Command.SEARCH_RESPONSE, payload)


def read_search_response(reader: Reader) -> SearchResponse:
    """Client's side of `write_search_response`."""
    guid, seq, address, port = reader.take(12), reader.u32(), reader.take(16), reader.u16()
    protocol, found = reader.string(), reader.u8()
    at = reader.pos
    count = reader.u16()
    if count * 4 > reader.remaining:
        raise reader.error(f"{count} channels announced, only {reader.remaining} bytes left", at)
    cids = tuple(reader.u32() for _ in range(count))
    return SearchResponse(guid, seq, address, port, protocol, bool(found), cids)


def write_beacon(
    out: Buffers,
    order: Order,
    guid: bytes,
    sequence: int,
    change_count: int,
    address: bytes,
    port: int,
    protocol: str = "tcp",
    *,
    flags: int = 0,
    field: Field | None = None,
    item: Any = None,
) -> None:
    """Server: I am here. *sequence* (8 bits) and *change_count* (16 bits) are taken modulo their size."""
    tail, place, closed = out.tail, len(out.tail), out.closed
    tail += order.header.pack(MAGIC, VERSION, order.server, Command.BEACON, 0)
    out.tail += guid + bytes((flags, sequence & 0xFF)) + order.u16.pack(change_count & 0xFFFF)
    out.tail += address + order.u16.pack(port) + string_bytes(order, protocol)
    write_typed(out, order, field, item)
    finish(out, order, tail, place, closed)


def read_beacon(reader: Reader) -> Beacon:
    """Client's side of `write_beacon`."""
    guid, flags, sequence, change_count = reader.take(12), reader.u8(), reader.u8(), reader.u16()
    address, port, protocol = reader.take(16), reader.u16(), reader.string()
    field, item = read_typed(reader)
    return Beacon(guid, flags, sequence, change_count, address, port, protocol, field, item)


def write_origin_tag(out: Buffers, order: Order, address: bytes) -> None:
    """Server, in front of a SEARCH that it forwards on loopback: the address that the search was sent to.

    It goes out with a client's direction bit, as pvxs and pvAccessCPP send it.
    """
    whole(out, order, order.client, Command.ORIGIN_TAG, address)


def read_origin_tag(reader: Reader) -> bytes:
    """The address."""
    return reader.take(16)

"""The spelling of SEARCH messages, known by heart.

A search for 30 names should cost little more than its 30 look-ups, so these functions decode and rewrite the bytes of a
whole message in place of going through `read_search` and `write_search`, which are their slow twins in the tests.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from p4p_trio.errors import ProtocolError
from p4p_trio.wire.buffers import Buffers
from p4p_trio.wire.commands import SEARCH_SOURCE_PORT, SEARCH_UNICAST
from p4p_trio.wire.messages.udp import address16, write_origin_tag
from p4p_trio.wire.order import BIG, Order

__all__ = ["ADDRESS", "FLAGS", "HEADER", "PORT", "PROTOCOLS", "channels", "origin_tag", "protocols", "redirected"]

HEADER: Final = 8
# Within the payload: u32 seq, u8 flags, 3 unused, 16 address, u16 port, protocols, u16 count, channels.
FLAGS: Final = 4
ADDRESS: Final = 8
PORT: Final = 24
PROTOCOLS: Final = 26

_MAX_PROTOCOLS = 16
_MAX_NAME = 500  # bytes, as pvAccessCPP

_address16 = lru_cache(maxsize=1024)(address16)


def protocols(data: bytes, at: int, end: int, order: Order) -> tuple[int, bool]:
    """Where the protocols' list ends, and whether it has "tcp" or is empty (any)."""
    count, at = _size(data, at, end, order)
    if count > _MAX_PROTOCOLS:
        raise ProtocolError(f"{count} protocols", offset=at)
    spoken = not count
    for _ in range(count):
        size, at = _size(data, at, end, order)
        spoken = spoken or data[at : at + size] == b"tcp"
        at += size
        if at > end:
            raise ProtocolError("a protocol reaches beyond the search", offset=at)
    return at, spoken


def _size(data: bytes, at: int, end: int, order: Order) -> tuple[int, int]:
    """A size and where it ends. A null string, FF, counts as empty, as in pvxs."""
    if at < end:
        size = data[at]
        if size < 254:
            return size, at + 1
        if size == 255:
            return 0, at + 1
        if at + 5 <= end:
            return order.u32.unpack_from(data, at + 1)[0], at + 5
    raise ProtocolError("the search ends inside a size", offset=at)


def channels(data: bytes, at: int, end: int, count: int, start: int, order: Order) -> tuple[list[str], list[int]]:
    """The names that can be claimed, and where their cids are."""
    if count * 5 > end - at:
        raise ProtocolError(f"{count} channels announced, only {end - at} bytes left", offset=at - start)
    names, places = [], []
    text = data.decode("latin-1")  # positions stay; slices of it are cheaper than decoding each name
    odd = False
    try:
        for _ in range(count):
            size = data[at + 4]
            name = at + 5
            if size >= 254:
                size, name = _size(data, at + 4, end, order)
                odd = True
            places.append(at)
            at = name + size
            names.append(text[name:at])
    except IndexError:
        at = end + 1
    if at > end:
        raise ProtocolError("a channel reaches beyond the search", offset=end - start)
    joined = "".join(names)
    if odd or "" in names or not joined.isascii() or not joined.isprintable():
        return _claimable(names, places)
    return names, places


def _claimable(names: list[str], places: list[int]) -> tuple[list[str], list[int]]:
    """Decode for real, and drop what no channel can be called."""
    kept_names, kept_places = [], []
    for name, place in zip(names, places, strict=True):
        raw = name.encode("latin-1")
        try:
            decoded = raw.decode()
        except UnicodeDecodeError:
            continue
        if 0 < len(raw) <= _MAX_NAME and decoded.isprintable():
            kept_names.append(decoded)
            kept_places.append(place)
    return kept_names, kept_places


def redirected(data: bytes, start: int, end: int, order: Order, to: tuple[str, int]) -> bytes:
    """The message with payload `data[start:end]`, as the neighbours have to see it: not unicast, reply address set."""
    message = bytearray(data[start - HEADER : end])
    message[HEADER + FLAGS] &= ~(SEARCH_UNICAST | SEARCH_SOURCE_PORT) & 0xFF
    message[HEADER + ADDRESS : HEADER + PORT] = _address16(to[0])
    order.u16.pack_into(message, HEADER + PORT, to[1])
    return bytes(message)


@lru_cache(maxsize=256)
def origin_tag(destination: str) -> bytes:
    """The message that goes in front: the search was sent to *destination*; "" if nobody knows."""
    out = Buffers()
    write_origin_tag(out, BIG, address16(destination))
    return b"".join(out.freeze())

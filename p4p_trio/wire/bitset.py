"""BitSets: which fields of a structure a message carries.

A byte count, then as many whole 64-bit words as it contains *in message byte order*, then the
remaining bytes least significant first; trailing zero bytes are left out. So in big endian the
groups of eight bytes are reversed and the tail is not. Source: pvxs src/bitmask.cpp and captures.
"""

from __future__ import annotations

from p4p_trio.wire.order import LITTLE, Order
from p4p_trio.wire.text import write_size

__all__ = ["bitset_bytes", "read_bits", "write_bitset"]


def bitset_bytes(order: Order, mask: int) -> bytes:
    """*mask* as it is sent, with its size in front."""
    count = (mask.bit_length() + 7) >> 3
    raw = mask.to_bytes(count, "little")
    if order is not LITTLE and count >= 8:
        raw = _swap_groups(raw)
    if count < 254:
        return bytes((count,)) + raw
    size = bytearray()
    write_size(size, order, count)
    return bytes(size) + raw


def write_bitset(out: bytearray, order: Order, mask: int) -> None:
    """Append *mask* to *out*."""
    out += bitset_bytes(order, mask)


def read_bits(order: Order, raw: bytes) -> int:
    """The mask whose bytes, without the size, are *raw*."""
    if order is not LITTLE and len(raw) >= 8:
        raw = _swap_groups(raw)
    return int.from_bytes(raw, "little")


def _swap_groups(raw: bytes) -> bytes:
    whole = len(raw) & ~7
    return b"".join(raw[at : at + 8][::-1] for at in range(0, whole, 8)) + raw[whole:]

"""Sizes and strings: the two encodings that everything else contains."""

from __future__ import annotations

from p4p_trio.wire.order import Order

__all__ = ["encode", "size_bytes", "string_bytes", "write_size", "write_string"]


def encode(text: str) -> bytes:
    """The bytes of *text*; any string has some.

    Bytes that were not UTF-8 when we received them are kept by surrogateescape and leave unchanged.
    Other lone surrogates have no UTF-8; a half-written message would be worse than an odd string.
    """
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def size_bytes(order: Order, size: int) -> bytes:
    """*size* as it is sent: one byte, or FE and a u32 from 254 on."""
    return bytes((size,)) if size < 254 else b"\xfe" + order.u32.pack(size)


def write_size(out: bytearray, order: Order, size: int) -> None:
    """Append *size* to *out*."""
    if size < 254:
        out.append(size)
    else:
        out += b"\xfe" + order.u32.pack(size)


def string_bytes(order: Order, text: str) -> bytes:
    """*text* with its size in front."""
    raw = encode(text)
    return size_bytes(order, len(raw)) + raw


def write_string(out: bytearray, order: Order, text: str) -> None:
    """Append *text*, with its size in front, to *out*."""
    raw = encode(text)
    write_size(out, order, len(raw))
    out += raw

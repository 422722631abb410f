"""Putting a header in front of a message whose length is known only afterwards."""

from __future__ import annotations

from p4p_trio.wire.buffers import Buffers
from p4p_trio.wire.order import MAGIC, VERSION, Order

__all__ = ["finish", "whole"]

HEADER = 8


def finish(out: Buffers, order: Order, tail: bytearray, place: int, closed: int) -> None:
    """Fill in the length of a message.

    Args:
        tail, place, closed: `out.tail`, its length and `out.closed` before the header was appended.
    """
    order.u32.pack_into(tail, place + 4, out.closed + len(out.tail) - closed - place - HEADER)


def whole(out: Buffers, order: Order, flags: int, command: int, payload: bytes | bytearray) -> None:
    """Append a complete message."""
    tail = out.tail
    tail += order.header.pack(MAGIC, VERSION, flags, command, len(payload))
    tail += payload

"""Bytes that many clients can share: one partial value, encoded once.

We send plain types and no segments, so an encoding does not depend on the connection it goes to;
what does (the request id and the sub-command) is five bytes that are put between head and body.
"""

from __future__ import annotations

from p4p_trio.wire import Buffers, Command, Order

__all__ = ["Encoded"]

SERVER = 0x40
VERSION = 2


class Encoded:
    """The payload of a GET reply or a monitor update, after its ids.

    Attributes:
        size: payload bytes behind the ids.
        head: the message header, for `command` and for a payload of 5 + size bytes.
        body: the payload as one string, or None where it holds arrays by reference.
        parts: the payload in pieces, where body is None.
    """

    __slots__ = ("body", "head", "order", "parts", "size")

    def __init__(self, buffers: Buffers, command: Command, order: Order) -> None:
        parts = buffers.freeze()
        self.order = order
        self.size = sum(len(part) for part in parts)
        self.head = self.header(command)
        self.body: bytes | None = bytes(parts[0]) if len(parts) == 1 else None
        self.parts = () if self.body is not None else parts

    def header(self, command: Command) -> bytes:
        """The header of a message of another command with this payload."""
        return self.order.header.pack(0xCA, VERSION, SERVER | self.order.flag, command, 5 + self.size)

    def append(self, out: Buffers, ids: bytes, head: bytes | None = None) -> None:
        """Add one complete message to *out*; *ids* is the request id and the sub-command, 5 bytes."""
        tail = out.tail
        tail += head or self.head
        tail += ids
        if self.body is not None:
            tail += self.body
            return
        for part in self.parts:
            if isinstance(part, memoryview):
                out.attach(part)
            else:
                out.tail += part

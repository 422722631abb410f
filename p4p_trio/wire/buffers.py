"""Outgoing bytes: an open chunk that encoders append to, and large arrays attached by reference.

An 8 MB array costs more to copy than to describe, so it is never joined with the message around it:
`attach` closes the open chunk, puts the array's own memory behind it and opens a new chunk.
"""

from __future__ import annotations

from typing import Final

__all__ = ["ATTACH", "Buffers"]

# From here on the extra chunk costs less than the copy.
ATTACH: Final = 16 * 1024


class Buffers:
    """Bytes to be sent, in order.

    Attributes:
        closed: bytes in front of the open chunk.
        tail: the open chunk. `attach` replaces it, so fetch it again after anything that may attach.
    """

    __slots__ = ("_chunks", "closed", "tail")

    def __init__(self) -> None:
        self.tail = bytearray()
        self._chunks: list[bytearray | memoryview] = []
        self.closed = 0

    def attach(self, view: memoryview) -> None:
        """Append the memory of *view* (format "B") without copying it; it must not change until it was sent."""
        if self.tail:
            self._chunks.append(self.tail)
            self.closed += len(self.tail)
            self.tail = bytearray()
        self._chunks.append(view)
        self.closed += view.nbytes

    def __len__(self) -> int:
        return self.closed + len(self.tail)

    def __bool__(self) -> bool:
        return bool(self.tail) or bool(self._chunks)

    def freeze(self) -> tuple[bytes | memoryview, ...]:
        """What was written, as chunks that no longer change; none is empty."""
        if not self._chunks:
            return (bytes(self.tail),) if self.tail else ()
        chunks = [bytes(chunk) if isinstance(chunk, bytearray) else chunk for chunk in self._chunks]
        if self.tail:
            chunks.append(bytes(self.tail))
        return tuple(chunks)

    def clear(self) -> None:
        """Forget everything. Chunks handed out by `freeze` stay valid."""
        self.tail = bytearray()
        self._chunks.clear()
        self.closed = 0

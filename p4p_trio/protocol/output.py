"""What a connection has still to send.

Encoders append to `buffers`; the driver offers `waiting()` to the socket and reports what it took with
`sent(n)`. Whatever the socket did not take stays in front of everything newer.
"""

from __future__ import annotations

from collections import deque

from p4p_trio.wire import Buffers

__all__ = ["Output"]


class Output:
    """An outgoing byte stream: `buffers` at its young end, a backlog of unsent pieces at its old end.

    Attributes:
        buffers: where encoders append.
        backlog: bytes that were offered to the socket and not taken.
    """

    __slots__ = ("_pieces", "backlog", "buffers")

    def __init__(self) -> None:
        self.buffers = Buffers()
        self._pieces: deque[memoryview] = deque()
        self.backlog = 0

    @property
    def size(self) -> int:
        """Bytes not yet taken by the socket."""
        return self.backlog + len(self.buffers)

    def waiting(self) -> list[memoryview]:
        """Everything there is to send, oldest first. It stays here until `sent` says that it went."""
        for chunk in self.buffers.freeze():
            view = memoryview(chunk)
            view = view if view.format == "B" and view.ndim == 1 else view.cast("B")
            self._pieces.append(view)
            self.backlog += len(view)
        self.buffers.clear()
        return list(self._pieces)

    def sent(self, n: int) -> None:
        """The first *n* bytes are on their way."""
        self.backlog -= n
        pieces = self._pieces
        while n:
            first = pieces[0]
            if n < len(first):
                pieces[0] = first[n:]
                return
            n -= len(first)
            pieces.popleft()

    def clear(self) -> None:
        """Forget everything: the connection is over."""
        self.buffers.clear()
        self._pieces.clear()
        self.backlog = 0

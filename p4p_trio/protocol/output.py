"""What a connection has still to send.

Encoders append to `buffers`; the driver offers `waiting()` to the socket and reports what it took with
`sent(n)`. Whatever the socket did not take stays in front of everything newer.
"""

from __future__ import annotations

from collections import deque

from p4p_trio.wire import Buffers

__all__ = ["Output"]


class Output:
    """An outgoing byte stream: `buffers` at its young end, a backlog of unsent pieces at its old end."""

    __slots__ = ("_backlog", "_backlog_size", "buffers")

    def __init__(self) -> None:
        self.buffers = Buffers()
        self._backlog: deque[memoryview] = deque()
        self._backlog_size = 0

    @property
    def size(self) -> int:
        """Bytes not yet taken by the socket."""
        return self._backlog_size + len(self.buffers)

    @property
    def backlogged(self) -> bool:
        """Whether the socket refused bytes that are still here."""
        return self._backlog_size > 0

    def waiting(self) -> list[memoryview]:
        """Everything there is to send, oldest first. It stays here until `sent` says that it went."""
        for chunk in self.buffers.freeze():
            view = memoryview(chunk)
            view = view if view.format == "B" and view.ndim == 1 else view.cast("B")
            self._backlog.append(view)
            self._backlog_size += len(view)
        self.buffers.clear()
        return list(self._backlog)

    def sent(self, n: int) -> None:
        """The first *n* bytes are on their way."""
        self._backlog_size -= n
        backlog = self._backlog
        while n:
            first = backlog[0]
            if n < len(first):
                backlog[0] = first[n:]
                return
            n -= len(first)
            backlog.popleft()

    def clear(self) -> None:
        """Forget everything: the connection is over."""
        self.buffers.clear()
        self._backlog.clear()
        self._backlog_size = 0

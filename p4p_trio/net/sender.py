"""One connection's way out: what a protocol machine wrote goes to its transport.

Sending never waits where it need not: `send` hands over what the transport takes. Only while that is not everything
there is a task, the writer, that waits for the transport to take the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import copy_context
from typing import Final

import trio

from p4p_trio.protocol.output import Output

from .transport import Transport

__all__ = ["Sender"]

CHUNK: Final = 256 * 1024
"""Bytes the writer hands over at a time, so that progress can be seen."""


class Sender:
    """Sends `output` over `transport`; nobody else may.

    Args:
        transport: where to.
        output: what there is to send.
        nursery: where the writer lives while it is needed.
        failed: told, once or more, that the connection cannot send any more. Must not raise.
        took: told, whenever the writer has sent something and when it ends, that there may be room again.

    Attributes:
        writing: whether the transport is full and the writer waits for it.
        progress: when it last took something, while the writer waits.
    """

    __slots__ = (
        "_context",
        "_failed",
        "_nursery",
        "_sent",
        "_took",
        "_written",
        "output",
        "progress",
        "transport",
        "writing",
    )

    def __init__(
        self,
        transport: Transport,
        output: Output,
        nursery: trio.Nursery,
        failed: Callable[[], None],
        took: Callable[[], None] | None = None,
    ) -> None:
        self.transport = transport
        self.output = output
        self.writing = False
        self.progress = trio.current_time()
        self._sent = 0
        self._nursery = nursery
        self._context = copy_context()  # the writer's; not that of whoever finds the transport full
        self._failed = failed
        self._took = took
        self._written: trio.Event | None = None

    def send(self) -> bool:
        """Send what can be sent without waiting; the writer does the rest. Never raises.

        Returns:
            Whether nothing is left.
        """
        output = self.output
        if self.writing:
            return False
        size = output.size
        if not size:
            return True
        taken = self.transport.send_now(output.waiting())
        output.sent(taken)
        if self.transport.error is not None:
            self._failed()
        elif taken < size:
            self.writing = True
            self._written = trio.Event()
            self.progress = trio.current_time()
            self._context.run(self._nursery.start_soon, self._write)
        return taken == size

    async def emptied(self) -> None:
        """Wait until everything is sent, or cannot be."""
        self.send()
        while self.writing:
            assert self._written is not None
            await self._written.wait()

    def stuck(self, now: float, timeout: float | None) -> bool:
        """Whether the peer has taken nothing for *timeout* seconds of what waits for it; ask about once a second."""
        if self.transport.sent != self._sent:
            self._sent = self.transport.sent
            self.progress = now
        return self.writing and timeout is not None and now - self.progress > timeout

    async def _write(self) -> None:
        output = self.output
        try:
            while output.size:
                chunk = []
                size = 0
                for piece in output.waiting():
                    chunk.append(piece[: CHUNK - size])
                    size += len(chunk[-1])
                    if size >= CHUNK:
                        break
                await self.transport.send_rest(chunk)
                if output.size < size:  # cleared meanwhile: the connection is over
                    return
                output.sent(size)
                if self._took is not None:
                    self._took()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._failed()
        finally:
            self.writing = False
            assert self._written is not None
            self._written.set()
            if self._took is not None:
                self._took()

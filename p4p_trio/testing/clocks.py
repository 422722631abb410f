"""Two clocks of a test: the one of time-outs, which jumps, and the one of time stamps, which stands still.

Virtual time lets a test of a 40-second time-out take a millisecond: `trio.testing.MockClock` jumps to the next
deadline as soon as no task can run. But a task that waits for a real socket, a thread or a name server cannot run
either, so with these the clock jumps at once, and every time-out fires although nobody was slow. Such a test
fails at random, or passes and proves nothing; so `virtual_time` refuses the mixture by name.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NoReturn
from unittest.mock import patch

import trio
import trio.testing

from p4p_trio.net import Inlet
from p4p_trio.server import stamp

__all__ = ["WallClock", "virtual_time", "wall_clock"]


@contextmanager
def virtual_time() -> Iterator[trio.testing.MockClock]:
    """A clock for `trio.run(..., clock=clock)` that jumps over every pause; the fixture of the same name gives it.

    Within the context, what real time would have to pass for raises RuntimeError: waiting for a socket, running a
    thread, looking a host name up, a call from another thread. Use the memory network and numeric addresses.
    """
    home = threading.get_ident()
    put = Inlet.put

    def put_from_home(inlet: Inlet, call: Callable[..., object], *args: Any) -> None:
        if threading.get_ident() != home:
            _refuse("a call from another thread")
        put(inlet, call, *args)

    with ExitStack() as stack:
        for owner, name, what in (
            (trio.lowlevel, "wait_readable", "a real socket"),
            (trio.lowlevel, "wait_writable", "a real socket"),
            (trio.to_thread, "run_sync", "a thread (or a host name, which is looked up in one)"),
        ):
            stack.enter_context(patch.object(owner, name, _refusal(what)))
        stack.enter_context(patch.object(Inlet, "put", put_from_home))
        yield trio.testing.MockClock(autojump_threshold=0)


def _refusal(what: str) -> Callable[..., Any]:
    async def refused(*_: Any, **__: Any) -> NoReturn:
        _refuse(what)

    return refused


def _refuse(what: str) -> NoReturn:
    raise RuntimeError(
        f"virtual time cannot wait for {what}: the clock would jump and every time-out fire; "
        "use MemoryNetwork and numeric addresses, or real time"
    )


class WallClock:
    """The time of day as a test wants it: it stands still until it is set.

    Attributes:
        now: seconds since 1970.
    """

    def __init__(self, now: float = 1_000_000_000.0) -> None:
        self.now = now

    def __call__(self) -> int:
        """The same in nanoseconds."""
        return round(self.now * 1e9)


@contextmanager
def wall_clock(now: float = 1_000_000_000.0) -> Iterator[WallClock]:
    """Within the context all stamps of posts are the time of the clock that it gives, in the whole process."""
    clock = WallClock(now)
    with patch.object(stamp, "clock", clock):
        yield clock

"""Our client lives through the end of servers: nothing hangs, and its monitors come back by themselves."""

from __future__ import annotations

import statistics
import time

import pytest
import trio

from p4p_trio.client import Context, Disconnected, Subscription
from tests.interop.servers import SERVERS, Served

pytestmark = pytest.mark.interop

RESTARTS = 3
"""So many of each server, so that a median says something."""
LIFE = 2.1
"""Seconds that each lives: one that ends sooner than after 2 s is approached with ever longer pauses."""


class Life:
    """A server that is killed and started again."""

    def __init__(self, kind: str) -> None:
        self._start = SERVERS[kind]
        self.served: Served = self._start(None)

    async def kill(self) -> None:
        await trio.to_thread.run_sync(self.served.child.kill)

    async def start_again(self) -> float:
        """Returns when it was ready."""
        self.served.child.close()
        self.served = await trio.to_thread.run_sync(self._start, self.served)
        return time.monotonic()

    def close(self) -> None:
        self.served.child.close()


@pytest.fixture(params=SERVERS)
def life(request):
    made = Life(request.param)
    yield made
    made.close()


async def connected(updates: Subscription) -> None:
    """Take the first value after a connect."""
    while isinstance(await anext(updates), Disconnected):
        pass


async def restarted(life: Life, times: list[float]) -> None:
    """Kill it and start it again while two monitors are there; *times* are those from its readiness to a value."""
    names = life.served.names
    async with (
        Context(conf=life.served.conf, useenv=False) as context,
        context.monitor(names.double, notify_disconnect=True) as noisy,
        context.monitor(names.integer) as silent,
    ):
        with trio.fail_after(10):
            await connected(noisy)
            await anext(silent)
        for _ in range(RESTARTS):
            await trio.sleep(LIFE)
            await life.kill()
            with trio.fail_after(5):
                told = await anext(noisy)
                assert isinstance(told, Disconnected)
                assert repr(names.double) in str(told)
            ready = await life.start_again()
            with trio.fail_after(20):
                await connected(noisy)
                times.append(max(0.0, time.monotonic() - ready))
                await anext(silent)
                # They are alive, not merely there.
                await context.put(names.double, 2.25)
                while await anext(noisy) != 2.25:
                    pass


async def test_monitors_come_back():
    """All servers at once, because most of it is waiting."""
    lives = {}
    times: dict[str, list[float]] = {kind: [] for kind in SERVERS}
    try:
        for kind in SERVERS:
            lives[kind] = await trio.to_thread.run_sync(Life, kind)
        async with trio.open_nursery() as nursery:
            for kind, life in lives.items():
                nursery.start_soon(restarted, life, times[kind])
    finally:
        for life in lives.values():
            life.close()
    for kind, each in times.items():
        print(f"{kind}: back after {', '.join(f'{one:.2f}' for one in each)} s")
    assert {kind: statistics.median(each) for kind, each in times.items() if statistics.median(each) > 2.0} == {}


@pytest.mark.parametrize("life", ["p4p"], indirect=True)
async def test_what_was_asked_for_meanwhile_is_answered(life):
    """A get and a put that begin while the server is away wait for it; a put that was on its way is not repeated."""
    async with Context(conf=life.served.conf, useenv=False) as context:
        with trio.fail_after(10):
            assert await context.get("int") == 42
            async with trio.open_nursery() as nursery:

                async def write_slowly() -> None:
                    with pytest.raises(Disconnected, match=r"put to 'slow': .*whether it was done is not known"):
                        await context.put("slow", 1.0)

                nursery.start_soon(write_slowly)
                await trio.sleep(0.3)
                await life.kill()
        results = []

        async def ask() -> None:
            results.append(await context.get("int"))

        async def write() -> None:
            await context.put("text", "again")

        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask)
                nursery.start_soon(write)
                await trio.sleep(0.1)
                assert not results
                await life.start_again()
            assert results == [42]
            assert await context.get("text") == "again"


@pytest.mark.parametrize("life", ["ours"], indirect=True)
async def test_a_dead_server_is_named(life):
    name = life.served.names.double
    host, port = life.served.address
    async with Context(conf=life.served.conf, useenv=False) as context, context.monitor(name) as updates:
        with trio.fail_after(10):
            await anext(updates)
        await life.kill()
        lost = f"searching for '{name}' at .*: no answer to .* since .*{host}:{port}"
        with pytest.raises(trio.TooSlowError, match=lost), context.fail_after(1.0):
            await anext(updates)
        with pytest.raises(trio.TooSlowError, match=lost), context.fail_after(0.5):
            await context.get(name)

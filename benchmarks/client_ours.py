"""Our client for the benchmark: does one kind of work for some seconds and prints what it took as JSON.

`client_ours.py WORK COUNT SECONDS CONF`; `client_p4p.py` does the same with p4p's thread client.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import trio

from p4p_trio import Context

WARM = 0.2
"""Seconds of the same work before the measurement."""


async def repeated(once: Callable[[], Awaitable[None]], seconds: float) -> dict[str, Any]:
    """Do it again and again; how long each time took, and the CPU for all."""
    times = []
    cpu, end = time.process_time(), time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        begun = time.perf_counter()
        await once()
        times.append(time.perf_counter() - begun)
    return {"times": times, "cpu": time.process_time() - cpu}


async def get(conf: dict[str, str], count: int, seconds: float) -> dict[str, Any]:
    """One name, or a list of *count* in one call."""
    names: Any = [f"bench:{number}" for number in range(count)] if count > 1 else "bench:0"
    async with Context(conf=conf, useenv=False) as context:

        async def once() -> None:
            found = await context.get(names)
            assert found == 0.0 if count == 1 else found[-1] == count - 1

        await repeated(once, WARM)
        return await repeated(once, seconds)


async def updates(conf: dict[str, str], count: int, seconds: float) -> dict[str, Any]:
    """As many as come of a PV that is posted to without a pause."""
    async with Context(conf=conf, useenv=False) as context, context.monitor("bench:flood") as values:
        warm = time.perf_counter() + WARM
        while time.perf_counter() < warm:
            first = float(await anext(values))
        received, cpu, begun = 0, time.process_time(), time.perf_counter()
        async for value in values:
            received += 1
            elapsed = time.perf_counter() - begun
            if elapsed >= seconds:
                used = time.process_time() - cpu
                return {"received": received, "posted": float(value) - first, "seconds": elapsed, "cpu": used}
    raise RuntimeError("the server ended the subscription")


async def monitors(conf: dict[str, str], count: int, seconds: float) -> dict[str, Any]:
    """*count* subscriptions, each with a task of its own: from a new context to the first value of the last one."""
    times: list[float] = []
    cpu = 0.0
    while not times or sum(times) < seconds:
        begun, cpu_before = time.perf_counter(), time.process_time()
        missing = count
        all_there = trio.Event()

        async def watch(context: Context, name: str) -> None:
            nonlocal missing
            async with context.monitor(name) as values:
                async for _ in values:
                    missing -= 1
                    if not missing:
                        all_there.set()  # noqa: B023  # the tasks end with the round

        async with Context(conf=conf, useenv=False) as context, trio.open_nursery() as nursery:
            for number in range(count):
                nursery.start_soon(watch, context, f"bench:{number}")
            await all_there.wait()
            times.append(time.perf_counter() - begun)
            cpu += time.process_time() - cpu_before
            nursery.cancel_scope.cancel()
    return {"times": times, "cpu": cpu}


async def main(work: str, count: str, seconds: str, conf: str) -> None:
    with trio.fail_after(60):
        function = {"get": get, "updates": updates, "monitors": monitors}[work]
        print(json.dumps(await function(json.loads(conf), int(count), float(seconds))))


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])

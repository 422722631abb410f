"""Our client against pvapy's servers (pvAccessCPP): what it has that others have not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pytest
import trio

from p4p_trio import RemoteError, Type, Value
from p4p_trio.client import Context, TooSlowError
from tests.interop.servers import Served, start_pvapy

pytestmark = pytest.mark.interop

NTURI = Type(
    [("scheme", "s"), ("path", "s"), ("query", ("S", None, [("a", "d"), ("b", "d")]))], id="epics:nt/NTURI:1.0"
)


def arguments(a: float, b: float) -> Value:
    return Value(NTURI, {"scheme": "pva", "path": "adding", "query": {"a": a, "b": b}})


@pytest.fixture(scope="module")
def pvapy() -> Iterator[Served]:
    running = start_pvapy()
    yield running
    running.child.close()


@pytest.fixture
def client(pvapy: Served) -> Callable[..., Context]:
    return partial(Context, conf=pvapy.conf, useenv=False)


async def test_rpc(client):
    async with client() as context:
        with context.fail_after(10):
            assert await context.rpc("adding", arguments(1.0, 2.5)) == 3.5
            assert await context.rpc(["adding"] * 3, [arguments(n, 1.0) for n in range(3)]) == [1.0, 2.0, 3.0]


async def test_rpc_is_refused():
    """The text is a traceback. Afterwards the service answers no new connection; so this one is for nothing else."""
    running = await trio.to_thread.run_sync(start_pvapy)
    try:
        async with Context(conf=running.conf, useenv=False) as context:
            with context.fail_after(10), pytest.raises(RemoteError, match=r"^rpc to 'adding': (?s:.*)a is negative"):
                await context.rpc("adding", arguments(-1.0, 2.5))
        async with Context(conf=running.conf, useenv=False) as context:
            with pytest.raises(TooSlowError, match="to answer the rpc to 'adding'"), context.fail_after(0.5):
                await context.rpc("adding", arguments(1.0, 2.5))
            with context.fail_after(10):
                assert await context.get("int") == 42  # the other server of that process is well
    finally:
        running.child.close()


async def test_a_service_is_no_pv(client):
    async with client() as context:
        with context.fail_after(10):
            with pytest.raises(RemoteError, match="get of 'adding': Not Implemented"):
                await context.get("adding")
            with pytest.raises(RemoteError, match="put to 'adding': Not Implemented"):
                await context.put("adding", 1)


async def test_both_servers_are_discovered(client, pvapy):
    found = set()
    async with client() as context:
        with context.fail_after(10):
            async with context.discover() as events:
                async for event in events:
                    found.add(event.address)
                    if len(found) == 2:
                        break
    assert pvapy.address in found


async def test_a_structure(client):
    async with client() as context:
        with context.fail_after(10):
            await context.put("point", {"y": 5.0, "label": "there"})
            point = await context.get("point")
            assert (point.getID(), point.todict()) == ("point", {"x": 1.0, "y": 5.0, "label": "there"})
            # Its type for a request with some fields has these only.
            part = await context.get("point", "field(y)")
            assert part.todict() == {"y": 5.0}


async def test_a_large_array(client):
    image = np.arange(100_000).astype("B")
    async with client() as context:
        with context.fail_after(10):
            assert (await context.get("image") == 7).all()
            await context.put("image", image)
            np.testing.assert_array_equal(await context.get("image"), image)


async def test_what_the_server_posts(client, pvapy):
    async with client() as context, context.monitor("int", queue_size=50) as updates:
        with context.fail_after(10):
            assert await anext(updates) == 42
            pvapy.post("int", *range(100, 130))
            seen = [await anext(updates)]
            while seen[-1] != 129:
                seen.append(await anext(updates))
            assert seen == sorted(seen)


async def test_a_pv_that_is_removed(client, pvapy):
    """A get says where it looks for it. pvaPy ends the subscription and the channel, in no fixed order: if the
    subscription comes first the loop ends, else it waits for the PV to come back."""
    async with client() as context, context.monitor("text") as updates:
        with context.fail_after(10):
            assert await anext(updates) == "hello"
        pvapy.child.send(do="remove", name="text")
        with pytest.raises((StopAsyncIteration, TooSlowError)) as caught, context.fail_after(0.5):
            await anext(updates)
        if caught.type is not StopAsyncIteration:
            assert "searching for 'text' at " in str(caught.value)
        with pytest.raises(TooSlowError, match="searching for 'text' at "), context.fail_after(0.5):
            await context.get("text")


async def test_a_put_that_reads_first_reads_everything_each_time(client):
    """Its request is kept and used again; unlike a GET's its read half is never only what has changed."""

    def add(value):
        seen.append((value["value"], value["timeStamp.secondsPastEpoch"] if "timeStamp" in value else None))
        value["value"] = value["value"]

    seen: list[tuple[float, int | None]] = []
    async with client() as context:
        with context.fail_after(10):
            await context.put("double", 7.5)
            for _ in range(4):
                await context.put("double", add, get=True)
    assert [value for value, _ in seen] == [7.5] * 4

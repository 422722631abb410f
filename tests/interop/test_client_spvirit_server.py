"""Our client against spvirit's server (Rust): what it has that others have not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pytest
import trio

from p4p_trio import RemoteError
from p4p_trio.client import Context
from tests.interop.servers import Served, start_spvirit

pytestmark = pytest.mark.interop


@pytest.fixture(scope="module")
def spvirit_server() -> Iterator[Served]:
    running = start_spvirit()
    yield running
    running.child.close()


@pytest.fixture
def client(spvirit_server: Served) -> Callable[..., Context]:
    return partial(Context, conf=spvirit_server.conf, useenv=False)


async def test_a_put_that_its_handler_refuses(client):
    async with client() as context:
        with context.fail_after(10):
            with pytest.raises(RemoteError, match=r"put to 'refusing': .*must stay within 10 mm"):
                await context.put("refusing", 11)
            assert await context.get("refusing") == 0.0


async def test_a_choice_that_is_not_there(client):
    async with client(nt=False) as context:
        with context.fail_after(10), pytest.raises(RemoteError, match="put to 'enum': enum: index 7 outside 3 choices"):
            await context.put("enum", {"value.index": 7})


async def test_its_other_types(client):
    async with client() as context:
        with context.fail_after(10):
            assert await context.get(["bool", "ulong"]) == [True, 2**63]
            await context.put(["bool", "ulong"], [False, 2**64 - 1])
            assert await context.get(["bool", "ulong"]) == [False, 2**64 - 1]


async def test_a_large_array(client):
    image = np.arange(100_000).astype("B")
    async with client() as context:
        with context.fail_after(10):
            await context.put("image", image)
            np.testing.assert_array_equal(await context.get("image"), image)


async def test_an_alarm_that_the_server_computes(client, spvirit_server):
    async with client() as context, context.monitor("double") as updates:
        with context.fail_after(10):
            assert (await anext(updates)).severity == 0
            spvirit_server.post("double", 8.5)
            assert (await anext(updates)).severity == 1
            spvirit_server.post("double", 9.5)
            assert (await anext(updates)).severity == 2
            spvirit_server.post("double", 1.5)
            assert (await anext(updates)).severity == 0


async def test_what_the_server_posts(client, spvirit_server):
    async with client() as context, context.monitor("int") as updates:
        with context.fail_after(10):
            await anext(updates)
            spvirit_server.post("int", *range(100, 130))
            seen = [await anext(updates)]
            while seen[-1] != 129:
                seen.append(await anext(updates))
            assert seen == sorted(seen)


async def test_what_the_server_posts_into_a_pipeline(client, spvirit_server):
    """It forgets what the window has no room for, whoever the client is, also what it posts while an acknowledgement is
    under way; so what comes is in order, and how much comes is the server's own affair."""
    async with client() as context, context.monitor("int", "record[queueSize=4,pipeline=true]") as updates:
        with context.fail_after(10):
            await anext(updates)
            spvirit_server.post("int", *range(200, 230))
            seen = []
            with trio.move_on_after(0.3):
                while True:
                    seen.append(await anext(updates))
            assert seen == sorted(seen)
            assert set(seen) <= set(range(200, 230))
            assert seen  # how many depends on how fast its acknowledgements reach it

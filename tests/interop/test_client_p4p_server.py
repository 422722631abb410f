"""Our client against p4p's own server (pvxs), which the test starts."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import trio

from p4p_trio import RemoteError, Type, Value
from p4p_trio.client import Context, Disconnected, TooSlowError
from tests.interop import environments
from tests.interop.peers import DRIVERS, peer
from tests.interop.processes import Child, client_environment, loopback_only

pytestmark = pytest.mark.interop

NTURI = Type(
    [("scheme", "s"), ("path", "s"), ("query", ("S", None, [("a", "d"), ("b", "d")]))],
    id="epics:nt/NTURI:1.0",
)


def start_server(conf: dict[str, str] | None = None) -> Child:
    peer("p4p")
    command = [environments.executable("p4p", "python"), DRIVERS / "p4p_server.py"]
    if conf is not None:
        command.append(json.dumps(conf))
    child = Child(command, environ=client_environment({}), name="p4p's server")
    try:
        loopback_only(child.event("ready", timeout=20)["conf"])
    except BaseException:
        child.close()
        raise
    return child


@pytest.fixture(scope="module")
def p4p_server() -> Iterator[Child]:
    child = start_server()
    yield child
    child.close()


@pytest.fixture
def client(p4p_server: Child) -> Callable[..., Context]:
    return lambda **kwargs: Context(conf=p4p_server.records[0]["conf"], useenv=False, **kwargs)


async def test_get(client):
    async with client() as context:
        with context.fail_after(10):
            assert await context.get(["double", "int", "text"]) == [1.5, 42, "hello"]
            np.testing.assert_array_equal(await context.get("array"), np.arange(5.0))
            assert await context.get("strings") == ["a", "b"]
            assert len(await context.get("image")) == 1_000_000
            point = await context.get("point")
            assert point.todict() == {"x": 1.0, "y": 2.0, "label": "here"}
            assert (await context.get("point", "field(x)")).changedSet() == {"x"}
            assert (await context.info("point")).getID() == "point"
            double = await context.get("double")
            assert double.raw.getID() == "epics:nt/NTScalar:1.0"


async def test_a_thousand_at_once(client):
    names = [f"many:{n}" for n in range(1000)]
    async with client() as context:
        with context.fail_after(20):
            assert await context.get(names) == list(range(1000))
            assert await context.get(names) == list(range(1000))


@pytest.mark.parametrize("get", [True, False])
async def test_put(client, get):
    async with client() as context:
        with context.fail_after(10):
            await context.put(["double", "int", "text"], [2.5, 43, "bye"], get=get)
            assert await context.get(["double", "int", "text"]) == [2.5, 43, "bye"]
            await context.put("array", np.arange(7.0), get=get)
            np.testing.assert_array_equal(await context.get("array"), np.arange(7.0))
            image = np.arange(1_000_000).astype("B")
            await context.put("image", image, get=get)
            np.testing.assert_array_equal(await context.get("image"), image)
            await context.put("point", {"y": 5.0}, get=get)
            assert (await context.get("point")).y == 5.0
            await context.put(["double", "int", "text"], [1.5, 42, "hello"])


async def test_put_by_function(client):
    def build(value):
        value.x = value.y + 1

    async with client() as context:
        with context.fail_after(10):
            await context.put("point", {"x": 0.0, "y": 3.0})
            await context.put("point", build)
            assert (await context.get("point")).x == 4.0


async def test_rpc(client):
    def call(a, b):
        return Value(NTURI, {"scheme": "pva", "path": "adding", "query": {"a": a, "b": b}})

    async with client() as context:
        with context.fail_after(10):
            assert await context.rpc("adding", call(1, 2)) == 3.0
            assert await context.rpc(["adding", "adding"], [call(1, 2), call(3, 4)]) == [3.0, 7.0]
            with pytest.raises(RemoteError, match="rpc to 'adding': a is negative"):
                await context.rpc("adding", call(-1, 2))


async def test_refusals(client):
    async with client() as context:
        with context.fail_after(10):
            with pytest.raises(RemoteError, match="put to 'refusing': must stay within 10 mm"):
                await context.put("refusing", 11)
            with pytest.raises(RemoteError, match="get of 'double': pvRequest must select at least one field"):
                await context.get("double", "nothing")
            with pytest.raises(RemoteError, match="Put not supported"):
                await context.put("many:0", 11)


async def test_nobody_has_it(client, p4p_server):
    port = p4p_server.records[0]["conf"]["EPICS_PVA_BROADCAST_PORT"]
    async with client() as context:
        with pytest.raises(TooSlowError) as failure, context.fail_after(1.5):
            await context.get("missing")
    assert str(failure.value) == f"searching for 'missing' at 127.0.0.1:{port}: no answer to 2 requests"


async def test_a_cancelled_put_is_cancelled_there(client, p4p_server):
    mark = p4p_server.mark()
    async with client() as context:
        with context.fail_after(10):
            await context.get("slow")
        with trio.move_on_after(0.2) as scope:
            await context.put("slow", 1)
        assert scope.cancelled_caught
        await trio.to_thread.run_sync(lambda: p4p_server.event("cancelled", since=mark))


@pytest.mark.parametrize("request_", [None, "record[queueSize=10,pipeline=true]"])
async def test_monitor(client, p4p_server, request_):
    async with client() as context, context.monitor("double", request_) as updates:
        with context.fail_after(10):
            first = await anext(updates)
            assert first == 1.5
            seen = []
            for n in range(10):  # of a longer burst a pipeline at pvxs keeps the rest until the next post
                p4p_server.send(do="post", name="double", values=[3 * n + 10.0, 3 * n + 11.0, 3 * n + 12.0])
                while not seen or seen[-1] != 3 * n + 12.0:
                    seen.append(float(await anext(updates)))
            assert seen == sorted(seen)
            assert len(seen) >= 20
            p4p_server.send(do="post", name="double", values=[1.5])
            assert await anext(updates) == 1.5


async def test_list_and_discover(client, p4p_server):
    port = int(p4p_server.records[0]["conf"]["EPICS_PVA_SERVER_PORT"])
    async with client() as context:
        with context.fail_after(10):
            assert "many:999" in await context.list(f"127.0.0.1:{port}")
            async with context.discover() as events:
                async for event in events:
                    if event.address == ("127.0.0.1", port):
                        break
            assert event.online


async def test_a_name_server(p4p_server):
    port = p4p_server.records[0]["conf"]["EPICS_PVA_SERVER_PORT"]
    conf = {
        "EPICS_PVA_NAME_SERVERS": f"127.0.0.1:{port}",
        "EPICS_PVA_AUTO_ADDR_LIST": "NO",
        "EPICS_PVA_BROADCAST_PORT": "9",
        "EPICS_PVA_INTF_ADDR_LIST": "127.0.0.1",
    }
    async with Context(conf=conf, useenv=False) as context:
        with context.fail_after(10):
            assert await context.get("int") == 42


async def test_monitors_come_back_after_a_restart():
    first = await trio.to_thread.run_sync(start_server)
    children = [first]
    conf = first.records[0]["conf"]
    times = []
    try:
        async with (
            Context(conf=conf, useenv=False) as context,
            context.monitor("int", notify_disconnect=True) as updates,
        ):
            assert await anext(updates) == 42
            for _ in range(3):
                children[-1].kill()
                with trio.fail_after(5):
                    assert isinstance(await anext(updates), Disconnected)
                children.append(await trio.to_thread.run_sync(start_server, conf))
                begun = time.monotonic()
                with trio.fail_after(20):
                    assert await anext(updates) == 42
                times.append(time.monotonic() - begun)
    finally:
        for child in children:
            child.close()
    print(f"reconnected after {[round(each, 2) for each in times]} s")
    assert statistics.median(times) <= 2.0

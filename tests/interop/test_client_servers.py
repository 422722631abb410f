"""Our client against every server: p4p's, an IOC, pvapy's, spvirit's and ours, with the same questions."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pytest

from p4p_trio import RemoteError, Type, Value
from p4p_trio.client import Context, Subscription, TooSlowError
from tests.interop.servers import NAMES, SERVERS, Served, name_server_conf

pytestmark = pytest.mark.interop

DISTANCE = Type([("value", "d")])


@pytest.fixture(scope="module", params=SERVERS)
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    running = SERVERS[request.param](None)
    yield running
    running.child.close()


@pytest.fixture
def client(served: Served) -> Callable[..., Context]:
    return partial(Context, conf=served.conf, useenv=False)


def those_with(what: str) -> pytest.MarkDecorator:
    """Only the servers that have such a PV."""
    return pytest.mark.parametrize("served", [name for name in SERVERS if getattr(NAMES[name], what)], indirect=True)


# ---- one answer


async def test_put_and_get(client, served):
    names = served.names
    async with client() as context:
        with context.fail_after(10):
            for round in range(2):
                values = [2.25 + round, 43 + round, f"text {round}"]
                await context.put([names.double, names.integer, names.text], values)
                assert await context.get([names.double, names.integer, names.text]) == values
                array = np.arange(3.0 + round)
                await context.put(names.array, array)
                np.testing.assert_array_equal(await context.get(names.array), array)


@pytest.mark.parametrize("get", [True, False], ids=["read first", "unread"])
@pytest.mark.parametrize(
    ("put", "expected"),
    [
        (4.5, 4.5),
        ({"value": 5.5}, 5.5),
        (Value(DISTANCE, {"value": 6.5}), 6.5),
        (lambda value: value.__setitem__("value", 7.5), 7.5),
    ],
    ids=["value", "dict", "Value", "function"],
)
async def test_the_kinds_of_put(client, served, put, expected, get):
    async with client() as context:
        with context.fail_after(10):
            await context.put(served.names.double, put, get=get)
            assert await context.get(served.names.double) == expected


async def test_a_function_sees_what_it_changes(client, served):
    def more(value: Value) -> None:
        value.value += 0.5

    async with client() as context:
        with context.fail_after(10):
            await context.put(served.names.double, 1.0)
            await context.put(served.names.double, more)
            await context.put(served.names.double, more)
            assert await context.get(served.names.double) == 2.0


@those_with("enum")
async def test_enum(client, served):
    enum = served.names.enum
    async with client(nt=False) as context:
        with context.fail_after(10):
            for index in (2, 1, 0):
                await context.put(enum, {"value.index": index})
                value = await context.get(enum)
                assert value.getID() == "epics:nt/NTEnum:1.0"
                assert value.value.index == index
                assert len(value.value.choices) == 3


async def test_get_of_some_fields(client, served):
    name = served.names.double
    async with client(nt=False) as context:
        with context.fail_after(10):
            whole, part = await context.get([name, name], [None, "field(value)"])
            assert {"value", "timeStamp.secondsPastEpoch"} <= whole.changedSet()
            assert part.changedSet() == {"value"}
            assert part.value == whole.value
            part = await context.get(name, "field(value,timeStamp.nanoseconds)")
            assert part.changedSet() == {"value", "timeStamp.nanoseconds"}


async def test_get_of_what_has_not_changed(client, served):
    """Again and again it is there, though some servers tell the same request only what has changed."""
    names = served.names
    async with client(nt=False) as context:
        with context.fail_after(10):
            await context.put([names.double, names.array], [3.5, [1.0, 2.0]])
            for _ in range(3):
                double, array = await context.get([names.double, names.array])
                assert (double.value, list(array.value)) == (3.5, [1.0, 2.0])
                assert {"value", "timeStamp.secondsPastEpoch"} <= double.changedSet()
                if served.names.unit is not None:
                    path, content = served.names.unit
                    assert (await context.get(names.watched))[path] == content


async def test_info(client, served):
    names = served.names
    async with client() as context:
        with context.fail_after(10):
            double, array = await context.info([names.double, names.array])
    assert (double.getID(), double["value"]) == ("epics:nt/NTScalar:1.0", "d")
    assert (array.getID(), array["value"]) == ("epics:nt/NTScalarArray:1.0", "ad")
    assert {"alarm", "timeStamp"} <= set(double)


# ---- refusals


@those_with("refusing")
async def test_a_put_is_refused(client, served):
    assert served.names.refusing is not None
    name, value, words = served.names.refusing
    async with client() as context:
        with context.fail_after(10):
            before = await context.get(name)
            for get in (True, False):
                with pytest.raises(RemoteError) as failure:
                    await context.put(name, value, get=get)
                assert str(failure.value).startswith(f"put to {name!r}: ")
                assert words in failure.value.reason
            assert await context.get(name) == before


async def test_what_does_not_fit_is_not_sent(client, served):
    name = served.names.integer
    async with client() as context:
        with context.fail_after(10):
            before = await context.get(name)
            with pytest.raises(ValueError, match="value"):
                await context.put(name, 2**31)
            with pytest.raises(KeyError, match="nonsense"):
                await context.put(name, {"nonsense": 1})
            assert await context.get(name) == before


async def test_a_pv_that_cannot_be_called(client, served):
    name = served.names.double
    async with client() as context:
        with context.fail_after(10):
            words = f"rpc to {name!r}: {served.names.no_rpc}"
            with pytest.raises(RemoteError, match=re.escape(words)):
                await context.rpc(name, Value(DISTANCE, {"value": 1}))
            assert isinstance(await context.get(name), float)


async def test_a_field_that_is_not_there(client, served):
    name, words = served.names.double, served.names.no_field
    async with client(nt=False) as context:
        with context.fail_after(10):
            if not words:
                assert (await context.get(name, "field(nonsense)")).changedSet() == set()
                return
            with pytest.raises(RemoteError, match=re.escape(f"get of {name!r}: {words}")):
                await context.get(name, "field(nonsense)")
            with pytest.raises(
                RemoteError, match=re.escape(f"monitor of {name!r}: {served.names.no_field_to_monitor or words}")
            ):
                async with context.monitor(name, "field(nonsense)") as updates:
                    await anext(updates)


async def test_nobody_has_it(client, served):
    target = served.conf["EPICS_PVA_ADDR_LIST"]
    if ":" not in target:
        target += f":{served.conf['EPICS_PVA_BROADCAST_PORT']}"
    async with client() as context:
        with pytest.raises(TooSlowError) as failure, context.fail_after(1.2):
            await context.get("missing")
    assert re.fullmatch(
        rf"searching for 'missing' at {re.escape(target)}: no answer to \d requests?", str(failure.value)
    )


# ---- many answers


async def following(updates: Subscription, wanted: float) -> list[Value]:
    """The updates up to the one with this value."""
    seen = [await anext(updates)]
    while seen[-1].value != wanted:
        seen.append(await anext(updates))
    return seen


@pytest.mark.parametrize("request_", [None, "record[queueSize=4,pipeline=true]"], ids=["plain", "pipeline"])
async def test_monitor(client, served, request_):
    name = served.names.watched
    async with client(nt=False) as context:
        with context.fail_after(15):
            await context.put(name, 1.0)
            async with context.monitor(name, request_) as updates:
                first = await anext(updates)
                assert first.value == 1.0
                assert {"value", "timeStamp.secondsPastEpoch"} <= first.changedSet()
                for n in range(2, 22):  # more than the window of a pipeline
                    await context.put(name, float(n))
                    if request_ is not None and not served.names.pipeline:
                        await anext(updates)
                        continue
                    [*skipped, update] = await following(updates, n)
                    assert "value" in update.changedSet()
                    assert len(skipped) <= 1
                    assert set(update.todict()) == set(first.todict())
                if request_ is not None and not served.names.pipeline:
                    return
                if served.names.unit is not None:  # told in the first update, kept in the others
                    path, content = served.names.unit
                    assert path in first.changedSet()
                    assert (path not in update.changedSet()) == served.names.deltas
                    assert first[path] == update[path] == content


async def test_monitor_of_some_fields(client, served):
    name = served.names.watched
    async with client(nt=False) as context:
        with context.fail_after(10):
            await context.put(name, 1.0)
            async with context.monitor(name, "field(value)") as updates:
                assert (await anext(updates)).changedSet() == {"value"}
                await context.put(name, 2.0)
                update = await anext(updates)
                assert update.changedSet() == {"value"}
                assert update.value == 2.0


async def test_what_a_slow_reader_gets(client, served):
    """Of a burst the last value is never lost, and nothing comes out of order."""
    name = served.names.watched
    async with client(nt=False) as context:
        with context.fail_after(15):
            await context.put(name, 0.0)
            async with context.monitor(name, queue_size=2) as updates:
                assert (await anext(updates)).value == 0.0
                for n in range(1, 31):
                    await context.put(name, float(n))
                seen = [update.value for update in await following(updates, 30.0)]
    assert seen == sorted(seen)


async def test_a_monitor_that_is_left_is_ended(client, served):
    """The same context can subscribe again and again, and the connection stays one."""
    name = served.names.watched
    async with client(nt=False) as context:
        with context.fail_after(10):
            await context.put(name, 3.0)
            for _ in range(20):
                async with context.monitor(name) as updates:
                    assert (await anext(updates)).value == 3.0
            assert await context.get(name, "field(value)")
            assert context.where(name) == served.address


# ---- servers


async def test_list(client, served):
    names = served.names
    async with client() as context:
        with context.fail_after(10):
            listed = await context.list(served.address)
            assert {names.double, names.integer, names.text, names.array} <= set(listed)
            host, port = served.address
            assert await context.list(f"{host}:{port}") == listed


async def test_discover(client, served):
    async with client() as context:
        with context.fail_after(10):
            async with context.discover() as events:
                async for event in events:
                    if event.address == served.address:
                        break
            assert event.online
            assert served.names.double in await context.list(event)


async def test_a_name_server(served):
    names = served.names
    async with Context(conf=name_server_conf(served), useenv=False) as context:
        with context.fail_after(10):
            await context.put([names.double, names.integer], [1.5, 42])
            assert await context.get([names.double, names.integer]) == [1.5, 42]
        with pytest.raises(TooSlowError, match=r"^searching for 'missing' at name server "), context.fail_after(0.3):
            await context.get("missing")

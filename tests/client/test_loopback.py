"""The same over real sockets: against our own server in the same program."""

from __future__ import annotations

import gc

import numpy as np
import pytest
import trio

from p4p_trio import SharedPV
from p4p_trio.client import Context, TooSlowError
from p4p_trio.nt import NTScalar
from p4p_trio.testing import isolated_server


def pv_of(initial=0.0, valtype="d") -> SharedPV:
    pv = SharedPV(nt=NTScalar(valtype), initial=initial)

    @pv.put
    def put(pv, op):
        pv.post(op.value())

    return pv


async def test_everything_once():
    pvs = {f"pv:{n}": pv_of(n, "i") for n in range(300)} | {"image": pv_of(np.zeros(2_000_000, "B"), "aB")}
    async with isolated_server([pvs]) as server, Context(conf=server.conf(), useenv=False) as context:
        with context.fail_after(20):
            names = [name for name in pvs if name != "image"]
            assert await context.get(names) == list(range(300))
            await context.put(names, [n * 2 for n in range(300)])
            assert await context.get(names) == [n * 2 for n in range(300)]
            image = np.arange(2_000_000).astype("B")
            await context.put("image", image)
            np.testing.assert_array_equal(await context.get("image"), image)
            async with context.monitor("pv:1") as updates:
                assert await anext(updates) == 2
                pvs["pv:1"].post(7)
                assert await anext(updates) == 7
            assert len(await context.list(f"127.0.0.1:{server.conf()['EPICS_PVA_SERVER_PORT']}")) == 302
            async with context.discover() as events:
                assert (await anext(events)).guid == server.guid
        with pytest.raises(TooSlowError, match="searching for 'missing' at 127"), context.fail_after(0.1):
            await context.get("missing")


async def test_many_tasks_at_once():
    pvs = {f"pv:{n}": pv_of(n, "i") for n in range(300)}
    async with isolated_server([pvs]) as server, Context(conf=server.conf(), useenv=False) as context:
        found = {}

        async def read(name):
            found[name] = await context.get(name)

        with context.fail_after(20):
            async with trio.open_nursery() as nursery:
                for name in pvs:
                    nursery.start_soon(read, name)
        assert found == {f"pv:{n}": n for n in range(300)}


async def test_a_pv_computed_from_others_of_the_same_server():
    total = SharedPV(nt=NTScalar("d"), initial=0.0)
    contexts = []

    @total.rpc
    async def add(pv, op):
        return NTScalar("d").wrap(sum(await contexts[0].get(["one", "two"])))

    async with (
        isolated_server([{"one": pv_of(1.0), "two": pv_of(2.0), "sum": total}]) as server,
        Context(conf=server.conf(), useenv=False) as context,
    ):
        contexts.append(context)
        with context.fail_after(20):
            assert await context.rpc("sum") == 3.0


async def test_nothing_stays_behind():
    async with isolated_server([{"pv": pv_of()}]) as server:
        for _ in range(5):
            async with Context(conf=server.conf(), useenv=False) as context:
                with context.fail_after(20):
                    await context.get("pv")
                    async with context.monitor("pv") as updates:
                        await anext(updates)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert not server.sessions
        del context, updates
        gc.collect()  # an open socket would warn, and warnings are errors

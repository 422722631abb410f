"""Handlers: objects with methods, lists of them, and the mistakes that are found when they are given."""

from __future__ import annotations

from contextvars import ContextVar
from functools import partial

import pytest
import trio

from p4p_trio import RemoteError, SharedPV
from p4p_trio.nt import NTScalar
from p4p_trio.wire import Command
from tests.server.handlers import scalar


class Checks:
    def __init__(self, most):
        self.most = most

    def put(self, pv, op):
        if op.value() > self.most:
            raise RemoteError(f"at most {self.most}")


class Posts:
    async def put(self, pv, op):
        await trio.lowlevel.checkpoint()
        pv.post(op.value())

    async def rpc(self, pv, op):
        return 1.0

    def process(self, pv, op):
        pv.post(-1.0)


@pytest.mark.parametrize("handler", [[Checks(5), Posts()], (Checks(9), Checks(5), Posts())])
async def test_a_list_works_as_one(virtual_time, serve, connect, handler):
    """Puts are asked in order and the first that raises refuses; a call goes to the first that takes calls."""
    async with serve({"pv": scalar(handler=handler)}) as server:
        client = await connect(server)
        await client.put("pv", 4.0)
        with pytest.raises(RemoteError, match="at most 5"):
            await client.put("pv", 6.0)
        assert (await client.get("pv")).value == 4.0
        assert (await client.rpc("pv")).value == 1.0
        request = await client.init(Command.PROCESS, "pv")
        await client.exec(request)
        assert (await client.answer(request))[0].success
        assert (await client.get("pv")).value == -1.0


async def test_a_list_of_plain_functions_runs_inline(virtual_time, serve, connect):
    pv = scalar(handler=[Checks(9), Checks(5)])
    assert pv._hooks.put.inline
    async with serve({"pv": pv}) as server:
        client = await connect(server)
        await client.put("pv", 4.0)
        with pytest.raises(RemoteError, match="at most 5"):
            await client.put("pv", 6.0)


async def test_partials_and_callables(virtual_time, serve, connect):
    async def add(n, pv, op):
        await trio.lowlevel.checkpoint()
        pv.post(op.value() + n)

    class Call:
        async def __call__(self, pv, op):
            await trio.lowlevel.checkpoint()
            return 7.0

    pv = SharedPV(nt=NTScalar("d"), initial=0.0)
    pv.put(partial(add, 10))
    pv.rpc(Call())
    async with serve({"pv": pv}) as server:
        client = await connect(server)
        await client.put("pv", 1.0)
        assert (await client.get("pv")).value == 11.0
        assert (await client.rpc("pv")).value == 7.0


async def test_a_handler_given_later_counts_from_then_on(virtual_time, serve, connect):
    pv = scalar()
    async with serve({"pv": pv}) as server:
        client = await connect(server)
        with pytest.raises(RemoteError, match="Put not supported"):
            await client.put("pv", 1.0)
        pv.put(lambda pv, op: pv.post(op.value()))
        await client.put("pv", 1.0)
        assert (await client.get("pv")).value == 1.0
        assert scalar()._hooks.put is None  # no other PV got it


async def test_a_plain_function_that_gives_a_coroutine(virtual_time, serve, connect, caplog):
    pv = scalar(handler=None)
    later = Posts().put
    pv.put(lambda pv, op: later(pv, op))
    async with serve({"pv": pv}) as server:
        client = await connect(server)
        with pytest.raises(RemoteError, match="make the handler an async def"):
            await client.put("pv", 1.0)
    assert len(caplog.records) == 1


def test_mistakes():
    with pytest.raises(TypeError, match="has none of put, rpc, process, while_connected, while_monitored"):
        SharedPV(handler=object())
    with pytest.raises(TypeError, match="a handler must be a function, not int"):
        scalar().put(5)


async def test_context_variables_end_with_the_operation(virtual_time, serve, connect):
    mark = ContextVar("mark", default="clean")
    seen = []

    async def put(pv, op):
        seen.append(mark.get())
        mark.set("dirty")
        if op.value() > 2:
            await trio.sleep(1)

    def inline(pv, op):
        seen.append(mark.get())
        mark.set("dirty")

    pv, plain = scalar(), scalar()
    pv.put(put)
    plain.put(inline)
    async with serve({"pv": pv, "plain": plain}) as server:
        client = await connect(server)
        for n in range(5):
            await client.put("pv", float(n))
            await client.put("plain", float(n))
    assert seen == ["clean"] * 10


async def test_context_variables_do_not_reach_the_next_client(virtual_time, serve, connect):
    """A put that waits for another client's is started by that one's end, but does not inherit from it."""
    user = ContextVar("user", default="nobody")
    seen = []

    async def put(pv, op):
        seen.append(user.get())
        user.set(op.account())
        await trio.sleep(1)

    pv = scalar(puts="serial")
    pv.put(put)
    async with serve({"pv": pv}) as server:
        for name in ("alice", "bob", "bob"):
            await (await connect(server, account=name)).start_put("pv", 1.0)
        await trio.sleep(4)
    assert seen == ["nobody"] * 3

"""Every request can be given up at any moment; the server is told, and everything goes on."""

from __future__ import annotations

import pytest
import trio

from p4p_trio import RemoteError, SharedPV, Type, Value
from p4p_trio.client import Disconnected
from p4p_trio.nt import NTScalar
from p4p_trio.wire import Command, Status
from p4p_trio.wire.status import StatusKind

PAIR = Type([("x", "d"), ("y", "d")])
CALLS = {
    "get": lambda context: context.get("pv"),
    "put": lambda context: context.put("pv", {"x": 1}),
    "put without get": lambda context: context.put("pv", {"x": 1}, get=False),
    "rpc": lambda context: context.rpc("pv"),
    "info": lambda context: context.info("pv"),
}
COMMANDS = {
    "get": Command.GET,
    "put": Command.PUT,
    "put without get": Command.PUT,
    "rpc": Command.RPC,
    "info": Command.GET_FIELD,
}
every_call = pytest.mark.parametrize("call", CALLS)


class Started:
    """A call in a task of its own, that can be cancelled."""

    def __init__(self, nursery, function, *args):
        self.scope = trio.CancelScope()
        self.outcome = None
        self.done = trio.Event()
        nursery.start_soon(self._run, function, args)

    async def _run(self, function, args):
        with self.scope:
            try:
                self.outcome = await function(*args)
            except Exception as exc:
                self.outcome = exc
        self.done.set()

    async def cancel(self):
        self.scope.cancel()
        await self.done.wait()
        assert self.scope.cancelled_caught


@every_call
async def test_while_searching(faked, virtual_time, call):
    async with faked() as (context, server, nursery):
        server.claims = lambda name: False
        started = Started(nursery, CALLS[call], context)
        await trio.sleep(5)
        await started.cancel()
        assert not context._runtime.channels
        assert len(context._runtime.searching.schedule) == 0
        asked = len(server.asked)
        await trio.sleep(100)
        assert len(server.asked) == asked


@every_call
async def test_while_connecting(faked, virtual_time, call, network):
    async with faked() as (context, server, nursery):
        started = Started(nursery, CALLS[call], context)
        peer = await server.accept()
        await trio.sleep(1)
        await started.cancel()
        await peer.login()  # the connection lives on, for whoever comes
        await peer.create()
        assert await peer.heard() == []
        await trio.sleep(40)  # nobody comes
        assert await peer.ended()
        assert Command.DESTROY_CHANNEL in [message.command for message in peer.inbox]
        assert not context._runtime.sessions


@every_call
async def test_while_the_channel_is_made(faked, virtual_time, call):
    async with faked() as (context, server, nursery):
        started = Started(nursery, CALLS[call], context)
        peer = await server.logged_in()
        await trio.sleep(1)
        await started.cancel()
        await peer.create()
        assert await peer.heard() == []


@every_call
async def test_while_the_request_begins(faked, virtual_time, call):
    async with faked() as (context, server, nursery):
        started = Started(nursery, CALLS[call], context)
        peer = await server.logged_in()
        await peer.create()
        await trio.sleep(1)
        await started.cancel()
        assert await peer.heard() == [COMMANDS[call], Command.DESTROY_REQUEST]
        # The answer was on its way, and is ignored.
        if call == "info":
            await peer.describe(PAIR)
        else:
            await peer.init(COMMANDS[call], PAIR if call != "rpc" else None)
        again = Started(nursery, context.info, "pv")
        await trio.testing.wait_all_tasks_blocked()
        await peer.describe(PAIR)
        await again.done.wait()
        assert again.outcome == PAIR


@pytest.mark.parametrize("call", ["get", "put", "put without get", "rpc"])
async def test_while_it_is_executed(faked, virtual_time, call):
    command = COMMANDS[call]
    async with faked(nt=False) as (context, server, nursery):
        started = Started(nursery, CALLS[call], context)
        peer = await server.logged_in()
        await peer.create()
        ioid = await peer.init(command, PAIR if call != "rpc" else None)
        sub = await peer.execution(command)
        await started.cancel()
        assert await peer.heard() == [Command.DESTROY_REQUEST]
        # The answer was on its way.
        await peer.reply(command, ioid, None if call in ("rpc", "put without get") else Value(PAIR, {"x": 1}), sub=sub)
        again = Started(nursery, CALLS["get"], context)
        ioid = await peer.init(Command.GET, PAIR)
        await peer.execution(Command.GET)
        await peer.reply(Command.GET, ioid, Value(PAIR, {"x": 5}))
        await again.done.wait()
        assert again.outcome.x == 5


async def test_a_put_is_cancelled_in_its_handler(serve, client, virtual_time):
    cancelled = []
    pv = SharedPV(nt=NTScalar("d"), initial=0.0)

    @pv.put
    async def put(pv, op):
        try:
            await trio.sleep_forever()
        finally:
            cancelled.append(op.cancelled_because)

    async with serve({"pv": pv}) as server, client(server) as context:
        with trio.move_on_after(1):
            await context.put("pv", 1)
        await trio.testing.wait_all_tasks_blocked()
        assert [reason.name for reason in cancelled] == ["DESTROY"]
        assert await context.get("pv") == 0.0


@every_call
async def test_at_every_moment(network, serve, client, virtual_time, call):
    """Cancel a little later each time, until the call is done before: nothing is left over, and all goes on."""
    network.latency = 0.01
    pv = SharedPV(initial=Value(PAIR, {"x": 0.0}))

    @pv.put
    async def put(pv, op):
        await trio.sleep(0.02)
        pv.post(op.value())

    @pv.rpc
    async def answer(pv, op):
        await trio.sleep(0.02)

    async with serve({"pv": pv}) as server:
        for n in range(100):
            async with client(server, nt=False) as context:
                with trio.move_on_after(n * 0.005) as scope:
                    await CALLS[call](context)
                runtime = context._runtime
                assert all(channel.users == 0 and not channel.waiting for channel in runtime.channels.values())
                assert len(runtime.searching.schedule) == 0
                assert (await context.get("pv")).getID() == PAIR.getID()
            if not scope.cancelled_caught:
                break
        else:
            raise AssertionError("it never ended")
        assert n > 4


async def test_one_failure_ends_the_others(faked, virtual_time):
    async with faked() as (context, server, nursery):
        started = Started(nursery, context.get, ["one", "two"])
        peer = await server.logged_in()
        await peer.create()
        await peer.create()
        await peer.init(Command.GET, PAIR)
        await peer.init(Command.GET, status=Status(StatusKind.ERROR, "no"))
        await started.done.wait()
        assert isinstance(started.outcome, RemoteError)
        assert Command.DESTROY_REQUEST in await peer.heard()
        assert not any(channel.users for channel in context._runtime.channels.values())


@every_call
async def test_leaving_the_context_ends_every_call(faked, virtual_time, call):
    async with trio.open_nursery() as outer:
        async with faked() as (context, server, _nursery):
            searching = Started(outer, CALLS[call], context)
            peer = await server.logged_in()
            await peer.create()
            await peer.expect(COMMANDS[call])
        await searching.done.wait()
        assert isinstance(searching.outcome, Disconnected)
        assert "the context was closed" in str(searching.outcome)


async def test_the_bodys_exception_comes_out_bare(serve, client, virtual_time):
    async with serve({"pv": SharedPV(nt=NTScalar("d"), initial=0.0)}) as server:
        failure = None
        try:
            async with client(server) as context:
                await context.get("pv")
                raise LookupError("mine")
        except LookupError as exc:
            failure = exc
        assert failure is not None


async def test_calls_are_checkpoints(serve, client, virtual_time):
    async with serve({"pv": SharedPV(nt=NTScalar("d"), initial=0.0)}) as server, client(server) as context:
        await context.get("pv")
        with trio.testing.assert_checkpoints():
            await context.get("pv")
        with trio.testing.assert_checkpoints():
            await context.get([])
        updates = context.monitor("pv")
        with trio.testing.assert_checkpoints():
            await updates.__aenter__()
        with trio.testing.assert_checkpoints():
            await anext(updates)
        await updates.__aexit__(None, None, None)

"""Stopping: gracefully after a normal body, at once after an exception or a cancellation from outside."""

from __future__ import annotations

import contextlib
import signal

import pytest
import trio

from p4p_trio import CancelReason, Limits, RemoteError, Server
from p4p_trio.errors import ConfigError
from p4p_trio.testing import MemoryNetwork, memory_server
from p4p_trio.wire import Command, messages
from tests.server.handlers import Slow, scalar, settle


async def test_running_handlers_have_the_grace_and_are_then_cancelled(virtual_time, serve, connect):
    handler = Slow()
    async with serve({"pv": scalar(handler=handler)}) as server:
        client = await connect(server)
        request = await client.start_put("pv", 1.0)
        await settle()
        left = trio.current_time()
    assert trio.current_time() - left == pytest.approx(5.0)
    assert handler.ended == [(1.0, CancelReason.SERVER_STOP)]
    status, _ = await client.answer(request)
    assert status.message == "server is stopping"
    assert await client.gone()


async def test_who_ends_within_the_grace_is_answered(virtual_time, serve, connect):
    handler = Slow()
    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve({"pv": scalar(handler=handler)}).serve)
        client = await connect(server)
        request = await client.start_put("pv", 1.0)
        await settle()
        nursery.start_soon(server.stop, 10.0)
        await trio.sleep(7)
        handler.go()
        assert (await client.answer(request))[0].success
        assert await client.gone()
    assert handler.ended == [(1.0, None)]
    assert trio.current_time() < 8.1


async def test_nothing_new_while_stopping(virtual_time, serve, connect, network):
    handler = Slow()
    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve({"pv": scalar(handler=handler), "rpc": scalar(handler=handler)}).serve)
        client = await connect(server)
        port = int(server.conf()["EPICS_PVA_SERVER_PORT"])
        await client.start_put("pv", 1.0)
        idle = await client.init(Command.PUT, "pv")
        call = await client.init(Command.RPC, "pv")
        await settle()
        nursery.start_soon(server.stop)
        await settle()
        with pytest.raises(OSError, match="refused"):
            await network.connect("127.0.0.1", port)
        for request in (idle, call):
            await client.exec(request, {"value": 2.0} if request is idle else None)
            assert (await client.answer(request))[0].message == "server is stopping"
        for command in (Command.PUT, Command.GET, Command.MONITOR, Command.RPC):
            with pytest.raises(RemoteError, match=r"^server is stopping$"):
                await client.init(command, "pv")
        messages.write_search(client.out, client.order, 1, 1, bytes(16), 0, ["tcp"], [(1, "pv")])
        await client.flush()
        await client.destroy_channel("pv")  # what ends something still works, and is heard by the handler
        await settle()
        assert handler.ended == [(1.0, CancelReason.CHANNEL)]
        assert [message.command for message in await client.quiet()] == [Command.DESTROY_CHANNEL]


async def test_an_exception_in_the_body_comes_out_bare_and_leaves_no_grace(virtual_time, serve, connect):
    handler = Slow()
    started = trio.current_time()
    client = None

    async def body():
        nonlocal client
        async with serve({"pv": scalar(handler=handler)}) as server:
            client = await connect(server)
            await client.start_put("pv", 1.0)
            await settle()
            raise LookupError("mine")

    with pytest.raises(LookupError, match=r"^mine$"):
        await body()
    assert trio.current_time() == started
    assert handler.ended == [(1.0, CancelReason.SERVER_STOP)]
    assert await client.gone()


@pytest.mark.parametrize("how", ["cancel", "deadline"])
async def test_a_cancellation_from_outside_leaves_no_grace(virtual_time, serve, connect, how):
    handler = Slow()
    with trio.CancelScope() as scope:
        async with serve({"pv": scalar(handler=handler)}) as server:
            clients = [await connect(server) for _ in range(5)]
            for client in clients:
                for _ in range(5):
                    await client.start_put("pv", 1.0)
            await settle()
            if how == "cancel":
                scope.cancel()
            else:
                scope.deadline = trio.current_time() + 1
            await trio.sleep_forever()
    assert handler.ended == [(1.0, CancelReason.SERVER_STOP)] * 25  # whichever task trio wakes first
    assert trio.current_time() <= 1.0
    assert repr(server) == "<Server, stopping, 0 clients>"


async def test_clean_up_that_outlives_the_stop_is_named_every_five_seconds(virtual_time, serve, connect, log):
    handler = Slow(clean_up=12.0)
    async with serve({"the:pv": scalar(handler=handler)}) as server:
        client = await connect(server)
        await client.start_put("the:pv", 1.0)
        await settle()
        await server.stop(grace=0)
        assert trio.current_time() == pytest.approx(12.0, abs=0.1)
    assert handler.ended == [(1.0, CancelReason.SERVER_STOP)]
    assert len(log()) == 2
    assert all("'the:pv'" in text and "PUT" in text for text in log())


@pytest.mark.parametrize("how", ["exception", "outside"])
async def test_it_is_named_too_when_there_is_no_grace(virtual_time, serve, connect, log, how):
    handler = Slow(clean_up=12.0)
    with trio.CancelScope() as scope:
        try:
            async with serve({"the:pv": scalar(handler=handler)}) as server:
                client = await connect(server)
                await client.start_put("the:pv", 1.0)
                await settle()
                if how == "exception":
                    raise LookupError
                scope.cancel()
                await trio.sleep_forever()
        except LookupError:
            pass
    assert len(log()) == 2
    assert all("'the:pv'" in text and "PUT" in text for text in log())


async def test_a_client_that_does_not_read_cannot_hold_the_stop(virtual_time, serve, connect, network):
    network.capacity = 1_000
    pv = scalar()
    pv.rpc(lambda pv, op: "x" * 10_000)
    async with serve({"pv": pv}) as server:
        client = await connect(server)
        await client.exec(await client.init(Command.RPC, "pv"))
        await settle()
    assert trio.current_time() <= 1.1


async def test_stop_may_be_repeated_and_called_from_a_handler(virtual_time, serve, connect):
    pv = scalar()

    @pv.rpc
    async def halt(pv, op):
        await server.stop(grace=1.0)

    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve({"pv": pv}).serve)
        client = await connect(server)
        request = await client.init(Command.RPC, "pv")
        await client.exec(request)
        assert (await client.answer(request))[0].message == "server is stopping"
        await server.stop()
        await server.stop(grace=0)


async def test_waiting_puts_are_answered_too(virtual_time, serve, connect):
    handler = Slow()
    async with serve({"pv": scalar(handler=handler, puts="serial")}) as server:
        client = await connect(server)
        requests = [await client.start_put("pv", float(n)) for n in range(3)]
        await settle()
        await server.stop(grace=2.0)
        assert [(await client.answer(request))[0].message for request in requests] == ["server is stopping"] * 3
        assert handler.started == [0.0]


async def test_a_server_runs_once(virtual_time, serve):
    server = serve({})
    async with server:
        with pytest.raises(RuntimeError, match="runs once"):
            await server.__aenter__()
    with pytest.raises(RuntimeError, match="runs once"):
        async with server:
            pass
    await server.stop()


async def test_a_port_in_use_and_then_a_second_server(virtual_time, serve, network, log):
    """A TCP port that is taken is replaced; conf() tells which one it is."""
    conf = {"EPICS_PVAS_INTF_ADDR_LIST": "127.0.0.1", "EPICS_PVAS_SERVER_PORT": "5075"}
    async with (
        Server([], conf=conf, useenv=False, network=network) as one,
        Server([], conf=conf, useenv=False, network=network) as other,
    ):
        assert one.conf()["EPICS_PVAS_SERVER_PORT"] == "5075"
        port = other.conf()["EPICS_PVAS_SERVER_PORT"]
        assert port not in ("5075", "0")
    (line,) = log()
    assert line == f"TCP port 5075 of 127.0.0.1 is taken; using port {port}"


async def test_all_interfaces_get_the_same_port(virtual_time, network, log):
    """Also where it is taken on one of them: the answer to a search names only one."""
    conf = {"EPICS_PVAS_INTF_ADDR_LIST": "127.0.0.1 127.0.0.2 127.0.0.2:5075", "EPICS_PVAS_SERVER_PORT": "5075"}
    with contextlib.closing(network.listen("127.0.0.2", 5075)):
        async with Server([], conf=conf, useenv=False, network=network) as server:
            hosts, ports = zip(*(listener.address for listener in network._listeners), strict=True)
            assert hosts == ("127.0.0.2", "127.0.0.1", "127.0.0.2")
            assert {*ports[1:]} == {int(server.conf()["EPICS_PVAS_SERVER_PORT"])}
    assert len(log()) == 1


async def test_forever_raises_bare():
    conf = {"EPICS_PVAS_INTF_ADDR_LIST": "192.0.2.1"}
    with pytest.raises(ConfigError, match=r"cannot listen for TCP on 192\.0\.2\.1"):
        await Server.forever([], conf=conf, useenv=False)


async def test_a_signal_while_a_provider_starts():
    class Slow:
        def test_channel(self, name):
            return False

        def make_channel(self, name, peer):
            return None

        async def run(self, *, task_status):
            signal.raise_signal(signal.SIGINT)
            await trio.sleep_forever()

    with trio.fail_after(5):
        await Server.forever([Slow()], isolate=True)


class NeverStarts:
    """A provider whose run() does not get as far as started()."""

    def test_channel(self, name: str) -> bool:
        return False

    def make_channel(self, name: str, peer: object) -> None:
        return None

    async def run(self, *, task_status: object) -> None:
        await trio.sleep_forever()


async def test_stop_while_a_provider_is_starting(virtual_time) -> None:
    server = Server([NeverStarts()], network=MemoryNetwork(), useenv=False)

    async def enter() -> None:
        with pytest.raises(RuntimeError, match="stopped while it was starting"):
            await server.serve()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(enter)
        await trio.testing.wait_all_tasks_blocked()
        with trio.fail_after(1):
            await server.stop()


async def test_a_provider_that_is_starting_cannot_be_added_again(virtual_time) -> None:
    async with memory_server([], MemoryNetwork()) as server, trio.open_nursery() as nursery:
        provider = NeverStarts()
        nursery.start_soon(server.add_provider, provider)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(ConfigError, match="already"):
            await server.add_provider(provider)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "make", [lambda: Server([], limits=5), lambda: Limits(max_message="x"), lambda: Limits(max_depth=0)]
)
def test_limits_that_are_none(make) -> None:
    with pytest.raises(ConfigError):
        make()

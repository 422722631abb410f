"""The tree of scopes: whatever ends an operation arrives in its handler as cancellation, and is told to no one twice.

One test or parameter for each row of the table in docs/design.md, "The tree of scopes"; stopping a server has
a file of its own.
"""

from __future__ import annotations

import pytest
import trio

from p4p_trio import CancelReason, Limits, RemoteError, Server, SharedPV, StaticProvider, Value
from p4p_trio.wire import Command, StatusKind
from tests.server.handlers import Slow, scalar, settle


async def by_cancel(client, request, pv, provider):
    await client.cancel(request)


async def by_destroy(client, request, pv, provider):
    await client.destroy(request)


async def by_destroy_channel(client, request, pv, provider):
    await client.destroy_channel("pv")


async def by_close(client, request, pv, provider):
    pv.close()


async def by_removal(client, request, pv, provider):
    provider.remove("pv")


async def by_leaving(client, request, pv, provider):
    client.close()


async def by_reset(client, request, pv, provider):
    client.transport.connection.reset()


ENDINGS = [
    (by_cancel, CancelReason.CANCEL, None),
    (by_destroy, CancelReason.DESTROY, None),
    (by_destroy_channel, CancelReason.CHANNEL, Command.DESTROY_CHANNEL),
    (by_close, CancelReason.PV_CLOSED, Command.DESTROY_CHANNEL),
    (by_removal, CancelReason.PV_CLOSED, Command.DESTROY_CHANNEL),
    (by_leaving, CancelReason.DISCONNECT, None),
    (by_reset, CancelReason.DISCONNECT, None),
]


@pytest.mark.parametrize("command", [Command.PUT, Command.RPC, Command.PROCESS, Command.PUT_GET])
@pytest.mark.parametrize(("end", "reason", "told"), ENDINGS, ids=[end.__name__ for end, _, _ in ENDINGS])
async def test_each_way_to_end(virtual_time, serve, connect, command, end, reason, told):
    handler = Slow()
    pv = scalar(handler=handler)
    provider = StaticProvider()
    provider.add("pv", pv)
    async with serve(provider) as server:
        client = await connect(server)
        request = await client.init(command, "pv")
        await client.exec(request, {"value": 1.0} if command in (Command.PUT, Command.PUT_GET) else None)
        await settle()
        assert len(handler.started) == 1
        assert handler.ended == []
        await end(client, request, pv, provider)
        await settle()
        assert [because for _, because in handler.ended] == [reason]  # no time has passed
        assert server.report()["handlers"] == 0
        handler.go()
        if end not in (by_leaving, by_reset):
            assert [message.command for message in await client.quiet()] == ([told] if told else [])


async def test_silence_counts_as_lost(virtual_time, serve, connect, network, log):
    handler = Slow()
    async with serve({"pv": scalar(handler=handler)}) as server:
        client = await connect(server)
        await client.start_put("pv", 1.0)
        await settle()
        network.connections[0].stall()  # the cable is out
        await trio.sleep(39)
        assert handler.ended == []
        await trio.sleep(2.5)
        assert handler.ended == [(1.0, CancelReason.DISCONNECT)]
        assert server.report()["connections"] == 0
        assert [text.partition(": ")[2] for text in log()] == ["silent for 40 s; closing"]


@pytest.mark.parametrize(
    ("limits", "conf", "silent"),
    [
        (Limits(idle_timeout=5), {}, 5),
        (Limits(idle_timeout=5), {"EPICS_PVA_CONN_TMO": "9"}, 12),
        (Limits(), {"EPICS_PVA_CONN_TMO": "60"}, 80),
        (Limits(idle_timeout=None), {"EPICS_PVA_CONN_TMO": "9"}, None),
    ],
)
def test_how_long_silence_may_last(limits, conf, silent):
    assert Server([], limits=limits, conf=conf, useenv=False).idle_timeout == silent


async def test_echo_keeps_a_connection(virtual_time, serve, connect):
    async with serve({"pv": scalar()}) as server:
        client = await connect(server)
        for _ in range(10):
            await trio.sleep(30)
            assert await client.echo(b"still here") == b"still here"


async def test_a_request_outlives_its_cancelled_operation(virtual_time, serve, connect):
    """A scope belongs to one EXEC, not to an ioid."""
    handler = Slow(clean_up=1.0)
    async with serve({"pv": scalar(handler=handler)}) as server:
        client = await connect(server)
        request = await client.start_put("pv", 1.0)
        await settle()
        await client.cancel(request)
        await client.exec(request, {"value": 2.0})
        await settle()
        assert handler.started == [1.0, 2.0]  # the first is still cleaning up
        handler.go()
        status, _ = await client.answer(request)
        assert status.success
        assert await client.quiet(3) == []
        assert sorted(handler.ended) == [(1.0, CancelReason.CANCEL), (2.0, None)]


async def test_the_last_exec_frees_its_request(virtual_time, serve, connect):
    """java clients send EXEC with 0x10 and nothing afterwards; the reply repeats the bit."""
    handler = Slow()
    async with serve({"pv": scalar(handler=handler)}) as server:
        client = await connect(server)
        request = await client.init(Command.PUT, "pv")
        await client.exec(request, {"value": 1.0}, sub=0x10)
        await settle()
        handler.go()
        assert (await client.answer(request, sub=0x10))[0].success
        assert server.report()["requests"] == 0


class TestClosingFromInside:
    async def test_put(self, virtual_time, serve, connect):
        """The closing operation is answered first, the others are cancelled, then the channel is closed."""
        slow = Slow()
        seen = []
        pv = SharedPV(initial=Value(scalar().nt.type, {"value": 0.0}))

        @pv.put
        async def put(pv, op):
            if op.value().value == 1.0:
                await slow._run(op, 1.0)
            try:
                pv.close()
                await trio.sleep_forever()
            finally:
                seen.append(op.cancelled_because)

        async with serve({"pv": pv}) as server:
            client = await connect(server)
            await client.start_put("pv", 1.0)
            request = await client.start_put("pv", 2.0)
            assert (await client.answer(request))[0].success
            await client.expect(Command.DESTROY_CHANNEL)
            await settle()
            assert seen == [CancelReason.PV_CLOSED]
            assert slow.ended == [(1.0, CancelReason.PV_CLOSED)]
            assert await client.quiet() == []
            assert not pv.is_open()

    @pytest.mark.parametrize("inline", [True, False])
    async def test_rpc_and_its_result_comes_too_late(self, virtual_time, serve, connect, inline):
        pv = scalar()

        def close(pv, op):
            pv.close()
            return 5.0

        async def close_later(pv, op):
            return close(pv, op)

        pv.rpc(close if inline else close_later)
        async with serve({"pv": pv}) as server:
            client = await connect(server)
            assert await client.rpc("pv") is None
            assert [message.command for message in await client.quiet()] == [Command.DESTROY_CHANNEL]

    async def test_from_a_child_task(self, virtual_time, serve, connect):
        pv = scalar()

        @pv.put
        async def put(pv, op):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                nursery.start_soon(self.close, pv)

        async with serve({"pv": pv}) as server:
            client = await connect(server)
            request = await client.start_put("pv", 1.0)
            assert (await client.answer(request))[0].success
            await client.expect(Command.DESTROY_CHANNEL)

    async def close(self, pv):
        pv.close()


class TestRaising:
    @pytest.fixture
    def pv(self):
        pv = scalar()
        pv.errors = None
        return pv

    @pytest.mark.parametrize("inline", [True, False])
    @pytest.mark.parametrize(
        ("error", "text", "logged"),
        [
            (RemoteError("must stay within ±10 mm"), "must stay within ±10 mm", False),
            (ValueError("no such place"), "no such place", True),
            (KeyError("x"), "'x'", True),
            (ZeroDivisionError(), "ZeroDivisionError", True),
            (ExceptionGroup("", [RemoteError("not now")]), "not now", False),
            (ExceptionGroup("", [ValueError("a"), ExceptionGroup("", [RemoteError("b")])]), "b", False),
            (ExceptionGroup("", [ValueError("a"), KeyError("b")]), "a", True),
            (ValueError("long " * 1000), "long " * 1000, True),
            (ValueError("lone \ud800"), "lone \ud800", True),
        ],
        ids=range(9),
    )
    @pytest.mark.parametrize("command", [Command.PUT, Command.RPC, Command.PROCESS])
    async def test_the_text_is_the_clients_and_the_traceback_ours(
        self, virtual_time, serve, connect, caplog, inline, error, text, logged, command
    ):
        def fail(pv, op):
            raise error

        async def fail_later(pv, op):
            await trio.lowlevel.checkpoint()
            raise error

        pv = scalar()
        for verb in (pv.put, pv.rpc, pv.process):
            verb(fail if inline else fail_later)
        async with serve({"pv": pv}) as server:
            client = await connect(server)
            request = await client.init(command, "pv")
            await client.exec(request, {"value": 1.0} if command is Command.PUT else None)
            status, _ = await client.answer(request)
            assert status.kind is StatusKind.ERROR
            assert status.message.encode("utf-8", "replace") == text.encode("utf-8", "replace") or "\ud800" in text
            assert [bool(record.exc_info) for record in caplog.records] == ([True] if logged else [])
            assert await client.quiet() == []
            await client.exec(request, {"value": 1.0} if command is Command.PUT else None)  # it is idle again
            assert not (await client.answer(request))[0].success

    async def test_a_nursery_in_the_handler(self, virtual_time, serve, connect, caplog):
        pv = scalar()

        @pv.put
        async def put(pv, op):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                raise RemoteError("refused inside")

        async with serve({"pv": pv}) as server:
            client = await connect(server)
            with pytest.raises(RemoteError, match=r"^refused inside$"):
                await client.put("pv", 1.0)
        assert caplog.records == []

    @pytest.mark.parametrize("nursery", [False, True])
    async def test_clean_up_that_fails_is_only_this_operations(self, virtual_time, serve, connect, caplog, nursery):
        pv = scalar()

        async def clean_up_badly():
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("no clean-up")

        @pv.put
        async def put(pv, op):
            if not nursery:
                await clean_up_badly()
            async with trio.open_nursery() as inside:  # raises the ValueError together with a Cancelled
                inside.start_soon(trio.sleep_forever)
                inside.start_soon(clean_up_badly)

        async with serve({"pv": pv}) as server:
            client = await connect(server)
            ended, goes_on = [await client.start_put("pv", value) for value in (1.0, 2.0)]
            await settle()
            await client.cancel(ended)
            assert await client.quiet() == []
            assert (await client.get("pv")).value == 0.0
            assert server.report()["handlers"] == 1
            await client.destroy_channel("pv")
            await client.expect(Command.DESTROY_CHANNEL)
            await settle()
            assert server.report() | {"channels": 0, "handlers": 0, "connections": 1} == server.report()
            assert goes_on.ioid != ended.ioid
        assert [record.getMessage()[:21] for record in caplog.records] == ["the handler of 'pv' f"] * 2

    async def test_its_own_scope_cancelled(self, virtual_time, serve, connect):
        pv = scalar()

        @pv.put
        async def put(pv, op):
            op.cancel_scope.cancel()
            await trio.sleep_forever()

        async with serve({"pv": pv}) as server:
            client = await connect(server)
            with pytest.raises(RemoteError, match="the handler was cancelled"):
                await client.put("pv", 1.0)

    @pytest.mark.parametrize("grouped", [False, True])
    async def test_a_cancellation_that_escaped_its_scope(self, virtual_time, serve, connect, grouped):
        pv = scalar()

        @pv.put
        async def put(pv, op):
            kept = None
            with trio.CancelScope() as scope:
                scope.cancel()
                try:
                    await trio.lowlevel.checkpoint()
                except trio.Cancelled as exc:
                    kept = exc
            raise BaseExceptionGroup("", [kept]) if grouped else kept

        async with serve({"pv": pv, "other": scalar(1.5)}) as server:
            client = await connect(server)
            with pytest.raises(RemoteError, match="the handler was cancelled"):
                await client.put("pv", 1.0)
            assert (await client.get("other")).value == 1.5

    async def test_an_answer_after_the_cancel_is_dropped(self, virtual_time, serve, connect):
        pv = scalar()

        @pv.put
        async def put(pv, op):
            with trio.CancelScope(shield=True):
                await trio.sleep(1)
            if op.value() == 1.0:
                raise RemoteError("too late")

        async with serve({"pv": pv}) as server:
            client = await connect(server)
            for value in (1.0, 2.0):
                await client.cancel(await client.start_put("pv", value))
            assert await client.quiet(3) == []


class TestOrder:
    async def test_operations_of_a_channel_start_in_arrival_order(self, virtual_time, serve, connect):
        handler = Slow()
        async with serve({"pv": scalar(handler=handler)}) as server:
            client = await connect(server)
            requests = [await client.init(Command.PUT, "pv") for _ in range(50)]
            flush, client.flush = client.flush, trio.lowlevel.checkpoint
            for n, request in enumerate(requests):
                await client.exec(request, {"value": float(n)})
            client.flush = flush
            await client.flush()  # all in one piece, and so in one turn of the server's loop
            await settle()
            assert handler.started == [float(n) for n in range(50)]
            handler.go()
            for request in reversed(requests):
                assert (await client.answer(request))[0].success

    async def test_a_slow_put_cannot_block_the_put_that_says_stop(self, virtual_time, serve, connect):
        pv = scalar()
        stop = trio.Event()

        @pv.put
        async def put(pv, op):
            if op.value() == 0.0:
                stop.set()
            else:
                await stop.wait()

        async with serve({"pv": pv}) as server:
            client = await connect(server)
            move = await client.start_put("pv", 100.0)
            await client.put("pv", 0.0)
            assert (await client.answer(move))[0].success

    async def test_a_plain_function_answers_before_the_next_message(self, virtual_time, serve, connect):
        pv = scalar()

        @pv.put
        def put(pv, op):
            pv.post(op.value())

        async with serve({"pv": pv}) as server:
            client = await connect(server)
            put = await client.init(Command.PUT, "pv")
            get = await client.init(Command.GET, "pv")
            flush, client.flush = client.flush, trio.lowlevel.checkpoint
            await client.exec(put, {"value": 7.0})
            await client.exec(get)
            client.flush = flush
            await client.flush()
            assert (await client.answer(get))[1].value == 7.0
            assert (await client.answer(put))[0].success


async def test_a_plain_function_that_blocks_is_named_once(virtual_time, serve, connect, log, monkeypatch):
    pv = scalar()
    ticks = iter(range(100))
    monkeypatch.setattr("p4p_trio.server.running.time.perf_counter", lambda: next(ticks) * 0.2)
    pv.put(lambda pv, op: None)
    async with serve({"the:pv": pv}) as server:
        client = await connect(server)
        await client.put("the:pv", 1.0)
        await client.put("the:pv", 2.0)
    (text,) = log()
    assert "'the:pv' is a plain function and took 200 ms" in text


def bug(*_: object) -> None:
    raise ZeroDivisionError("a bug of ours")


async def in_a_message(server, connection, client):
    connection._dispatch[Command.ECHO] = bug
    await client.send(Command.ECHO, b"")


async def in_what_was_put_off(server, connection, client):
    connection.drained = bug
    connection.deferred.append(None)
    connection.host.dirty()


async def in_the_handlers_task(server, connection, client):
    connection.acknowledged = bug
    server.handler.go()


@pytest.mark.parametrize("somewhere", [in_a_message, in_what_was_put_off, in_the_handlers_task])
async def test_one_connections_bug_is_its_own(virtual_time, serve, connect, caplog, somewhere):
    handler = Slow()
    async with serve({"pv": scalar(handler=handler), "other": scalar(1.5)}) as server:
        server.handler = handler
        first, second = await connect(server), await connect(server)
        await first.start_put("pv", 1.0)
        await settle()
        connection = next(iter(server.sessions)).connection
        await somewhere(server, connection, first)
        assert await first.gone()
        await settle()
        (record,) = caplog.records
        assert record.exc_info
        assert "bug" in record.getMessage()
        assert [because for _, because in handler.ended] in ([CancelReason.DISCONNECT], [None])
        assert (await second.get("other")).value == 1.5


async def test_nothing_of_an_idle_channel_is_a_task(virtual_time, serve, connect):
    async with serve({f"pv{n}": scalar() for n in range(20)}) as server:
        client = await connect(server)
        await client.channel("pv0")
        await settle()
        before = trio.lowlevel.current_statistics().tasks_living
        for n in range(20):
            await client.get(f"pv{n}")
            await client.monitor(f"pv{n}")
        await settle()
        assert trio.lowlevel.current_statistics().tasks_living == before

"""Clients that take nothing, give nothing, or want too much at once: what they cost is bounded, and only theirs."""

from __future__ import annotations

import struct
import time
from contextlib import suppress

import numpy as np
import pytest
import trio

from p4p_trio import Limits, SharedPV, Type, Value
from p4p_trio.nt import NTScalar
from p4p_trio.protocol.monitor import QUEUED_BYTES
from p4p_trio.wire import LITTLE, Buffers, Command, messages
from p4p_trio.wire.commands import INIT, START
from tests.server.handlers import Slow, scalar, settle
from tests.server.wire_client import WireClient

MIB = 1 << 20
PUT_ONE = b"\x01\x02" + struct.pack("<d", 1.0)


def operation(command, sid, ioid, sub=0, rest=b""):
    return struct.pack("<BBBBIIIB", 0xCA, 2, 0, command, 9 + len(rest), sid, ioid, sub) + rest


def image(megabytes=8):
    return SharedPV(nt=NTScalar("ad"), initial=np.zeros(megabytes * MIB // 8))


def unsent(server):
    return server.report()["unsent bytes"]


async def push(client, data, seconds=5.0):
    """Send as much of *data* as the server takes."""
    with trio.move_on_after(seconds):
        await client.raw(data)


class TestWhoDoesNotRead:
    async def test_arrays_wait_as_requests(self, virtual_time, serve, connect):
        """A hundred GETs of 8 MB cost one array, and all are answered once the client reads."""
        async with serve({"pv": image()}) as server:
            client = await connect(server)
            gets = [await client.init(Command.GET, "pv") for _ in range(100)]
            await client.raw(b"".join(operation(Command.GET, get.sid, get.ioid) for get in gets))
            await settle()
            assert unsent(server) < 9 * MIB
            for get in gets:
                status, value = await client.answer(get)
                assert status.success
                assert value.value.size == MIB
            assert unsent(server) == 0

    @pytest.mark.parametrize("what", ["echo", "get", "error", "type", "channel"])
    async def test_a_flood_is_not_read_on(self, virtual_time, serve, connect, log, what):
        async with serve({"pv": scalar(1.5)}) as server:
            client, other = await connect(server), await connect(server)
            get = await client.init(Command.GET, "pv")
            each = {
                "echo": struct.pack("<BBBBI", 0xCA, 2, 0, Command.ECHO, 1000) + bytes(1000),
                "get": operation(Command.GET, get.sid, get.ioid),
                "error": operation(Command.PUT, get.sid, get.ioid),
                "type": operation(Command.GET, get.sid, get.ioid + 1, INIT, b"\xff")
                + struct.pack("<BBBBIII", 0xCA, 2, 0, Command.DESTROY_REQUEST, 8, get.sid, get.ioid + 1),
                "channel": struct.pack("<BBBBIHI", 0xCA, 2, 0, Command.CREATE_CHANNEL, 10, 1, 9) + b"\x03not",
            }[what]
            begun = trio.current_time()
            await push(client, each * (8 * MIB // len(each)))
            assert unsent(server) < 3 * MIB
            assert server.report()["connections"] == 2
            assert (await other.get("pv")).value == 1.5
            while server.report()["connections"] == 2:
                await trio.sleep(1)
                await other.get("pv")
            assert 29 < trio.current_time() - begun < 33
            assert len(log()) == 1
            assert "took nothing" in log()[0]
            assert await client.gone()

    async def test_operands_are_not_read_on(self, virtual_time, serve, connect):
        handler = Slow()
        async with serve({"pv": image(), "rpc": scalar(handler=handler)}) as server:
            client = await connect(server)
            get = await client.init(Command.GET, "pv")
            calls = [await client.init(Command.RPC, "rpc") for _ in range(20)]
            await client.raw(operation(Command.GET, get.sid, get.ioid))
            argument = b"\x60\xfe" + struct.pack("<I", 20_000) + b"x" * 20_000
            await push(client, b"".join(operation(Command.RPC, call.sid, call.ioid, 0, argument) for call in calls))
            (session, *_) = server.sessions
            assert len(session.connection.deferred) < 8
            assert handler.started == []
            await client.answer(get)
            await settle()
            assert len(handler.started) <= 20
            handler.go()

    async def test_the_newest_update_survives(self, virtual_time, serve, connect):
        pv = scalar()
        async with serve({"pv": pv}) as server:
            client = await connect(server)
            monitor = await client.monitor("pv", "record[queueSize=4]")
            for n in range(1, 20_001):
                pv.post(float(n))
                if n % 100 == 0:
                    await settle()
            assert unsent(server) < 2 * 65_536
            last, seen = -1.0, 0
            while last < 20_000:
                update = await client.update(monitor)
                assert update.value.value > last
                last = update.value.value
                seen += 1
            assert seen < 5_000
            assert "value" in update.overrun

    async def test_subscriptions_share_what_their_queues_keep(self, virtual_time, serve, connect):
        """However many there are: the queues of one connection keep 4 MiB and the newest value."""
        pv = SharedPV(nt=NTScalar("aB"), initial=np.zeros(100_000, "u1"))
        async with serve({"pv": pv}) as server:
            client = await connect(server)
            monitors = [await client.init(Command.MONITOR, "pv", "record[queueSize=1000]") for _ in range(20)]
            for n, monitor in enumerate(monitors):
                await client.start(monitor)
                await client.stop(monitor)
                await settle()
                for k in range(5):
                    pv.post(np.full(100_000, n + k, "u1"))
            (session,) = server.sessions
            queues = [request.queue for request in session.connection.requests.values() if request.queue]
            kept = {id(update.slots[1]): update.slots[1].nbytes for queue in queues for update in queue}
            assert sum(kept.values()) <= QUEUED_BYTES + 200_000
            for monitor in monitors:
                await client.start(monitor)
                last = None
                for message in await client.quiet(0.1):
                    last = message.payload
                assert last is not None
                assert last.count(19 + 4) > 99_000  # the newest value came last
            assert session.connection.queued_size == 0

    async def test_a_slow_reader_is_not_a_silent_one(self, virtual_time, serve, connect, network):
        """It takes a few bytes now and then: neither silent, nor without progress, nor late with its message."""
        async with serve({"pv": image()}) as server:
            client = await connect(server)
            get = await client.init(Command.GET, "pv")
            await client.raw(operation(Command.GET, get.sid, get.ioid))
            half = operation(Command.GET, get.sid, get.ioid)
            flood = operation(Command.PUT, get.sid, get.ioid) * 1_500
            await push(client, flood + half[:9])
            network.connections[0].chunk = 100
            for _ in range(10):
                await trio.sleep(20)
                await client._receive()
                await client._receive()
            assert server.report()["connections"] == 1
            network.connections[0].chunk = None
            assert not await client.gone(1)
            await client.raw(half[9:])
            for _ in range(2):
                assert (await client.answer(get))[1].value.size == MIB
            assert server.report()["connections"] == 1


class TestWhatWasPutOff:
    async def congested(self, server, client):
        """A GET of 8 MB is in the client's way; the ids of a PUT that has to wait."""
        get = await client.init(Command.GET, "image")
        put = await client.init(Command.PUT, "pv")
        await client.raw(operation(Command.GET, get.sid, get.ioid))
        return get, put

    async def test_is_executed_in_order(self, virtual_time, serve, connect):
        done = []
        pv = scalar()
        pv.put(lambda pv, op: done.append(float(op.value())))
        async with serve({"pv": pv, "image": image()}) as server:
            client = await connect(server)
            puts = [await client.init(Command.PUT, "pv") for _ in range(300)]
            get, _ = await self.congested(server, client)
            for n, put in enumerate(puts):
                await client.exec(put, {"value": float(n)})
            await settle()
            assert done == []
            await client.answer(get)
            for put in puts:
                assert (await client.answer(put))[0].success
            assert done == [float(n) for n in range(300)]

    @pytest.mark.parametrize("end", ["cancel", "destroy", "channel"])
    async def test_can_be_taken_back(self, virtual_time, serve, connect, end):
        handler = Slow()
        async with serve({"pv": scalar(handler=handler), "image": image()}) as server:
            client = await connect(server)
            get, put = await self.congested(server, client)
            await client.exec(put, {"value": 1.0})
            await settle()
            if end == "cancel":
                await client.cancel(put)
                await client.exec(put, {"value": 2.0})  # it is idle again
            elif end == "destroy":
                await client.destroy(put)
            else:
                await client.destroy_channel("pv")
            await client.answer(get)
            await settle()
            assert handler.started == ([2.0] if end == "cancel" else [])
            handler.go()
            await settle()
            left = [message.command for message in await client.quiet()]
            assert left == {"cancel": [Command.PUT], "destroy": [], "channel": [Command.DESTROY_CHANNEL]}[end]

    async def test_has_been_read_already(self, virtual_time, serve, connect):
        """A type id that it defines is known to the messages behind it."""
        call = SharedPV()
        call.rpc(lambda pv, op: op.value())
        async with serve({"rpc": call, "image": image()}) as server:
            client = await connect(server)
            rpc = await client.init(Command.RPC, "rpc")
            get = await client.init(Command.GET, "image")
            await client.raw(operation(Command.GET, get.sid, get.ioid))
            argument = b"\xfd\x07\x00\x80\x00\x01\x01a\x22" + struct.pack("<i", 5)
            await client.raw(operation(Command.RPC, rpc.sid, rpc.ioid, 0, argument))
            await client.raw(operation(Command.GET, get.sid, 99, INIT, b"\xfe\x07\x00" + struct.pack("<i", 5)))
            await client.answer(get)
            assert (await client.answer(rpc))[1].a == 5
            assert not client.closed

    async def test_must_decode(self, virtual_time, serve, connect, log):
        """Or it ends its connection, and no task but that of its connection."""
        async with serve({"pv": scalar(handler=Slow()), "image": image()}) as server:
            client, other = await connect(server), await connect(server)
            _, put = await self.congested(server, client)
            await client.raw(operation(Command.PUT, put.sid, put.ioid, 0, PUT_ONE[:-1]))
            assert await client.gone()
            assert len(log()) == 1
            assert "byte" in log()[0]
            assert (await other.get("pv")).value == 0.0

    async def test_goes_on_when_the_socket_takes_all_at_once(self, virtual_time, serve, connect, network):
        """Then no writer runs that could resume the reader."""
        network.capacity = None
        async with serve({"pv": scalar(1.5), "image": image()}) as server:
            client = await connect(server)
            gets = [await client.init(Command.GET, "image") for _ in range(4)]
            await client.raw(b"".join(operation(Command.GET, get.sid, get.ioid) for get in gets))
            for get in gets:
                assert (await client.answer(get))[0].success
            assert (await client.get("pv")).value == 1.5


class TestTime:
    async def test_a_login_takes_five_seconds_at_most(self, virtual_time, serve, network, log):
        async with serve({"pv": scalar()}) as server:
            clients = [await WireClient.dial(network, server) for _ in range(3)]
            out = Buffers()
            messages.write_validation_reply(out, LITTLE, 0x10000, 0x7FFF, 0, "anonymous", None, None)
            whole = b"".join(out.freeze())
            for n in range(4):
                await trio.sleep(1)
                await clients[1].raw(whole[n : n + 1])
            assert server.report()["connections"] == 3
            await trio.sleep(2.5)
            assert server.report()["connections"] == 0
            assert "no login within 5.0 s" in log()[0]

    @pytest.mark.parametrize("how", ["small", "large", "segments"])
    async def test_a_message_does_not_dribble(self, virtual_time, serve, connect, log, how):
        async with serve({"pv": scalar()}) as server:
            client = await connect(server)
            if how == "segments":
                await client.send(Command.RPC, b"x", flags=0x10)
            else:
                size = 1_000 if how == "small" else 100_000
                await client.raw(struct.pack("<BBBBI", 0xCA, 2, 0, Command.RPC, size))
            begun = trio.current_time()
            with suppress(trio.BrokenResourceError):
                while not await client.gone(2):
                    await (client.send(Command.RPC, b"x", flags=0x30) if how == "segments" else client.raw(b"x"))
            assert 30 < trio.current_time() - begun < 34
            assert len(log()) == 1
            assert "did not end within 30.0 s" in log()[0]

    async def test_a_long_one_may_take_its_time(self, virtual_time, serve, connect):
        async with serve({"pv": scalar()}) as server:
            client = await connect(server)
            await client.raw(struct.pack("<BBBBI", 0xCA, 2, 0, 0x55, 100_000))
            for _ in range(100):
                await trio.sleep(0.9)
                await client.raw(bytes(1_000))
            assert (await client.get("pv")).value == 0.0

    async def test_a_busy_stream_is_never_between_two_messages(self, virtual_time, serve, connect):
        """Each piece that arrives ends inside a message, but no message takes long."""
        async with serve({"pv": scalar()}) as server:
            client = await connect(server)
            echo = struct.pack("<BBBBI", 0xCA, 2, 0, Command.ECHO, 4) + b"busy"
            await client.raw(echo[:5])
            for _ in range(60):
                await trio.sleep(0.9)
                await client.raw(echo[5:] + echo[:5])
                await client.expect(Command.ECHO)
            assert server.report()["connections"] == 1


class TestFairness:
    async def test_slow_plain_functions_end_the_turn(self, virtual_time, serve, connect):
        """64 messages are handled in one turn, but not if each takes 2 ms."""
        called = []

        def slow(pv, op):
            called.append(op)
            begun = time.perf_counter()
            while time.perf_counter() - begun < 0.002:
                pass

        pv = scalar()
        pv.put(slow)
        async with serve({"pv": pv, "other": scalar(1.5)}) as server:
            client, other = await connect(server), await connect(server)
            puts = [await client.init(Command.PUT, "pv") for _ in range(60)]
            get = await other.init(Command.GET, "other")
            await client.raw(b"".join(operation(Command.PUT, put.sid, put.ioid, 0, PUT_ONE) for put in puts))
            await other.exec(get)
            await other.answer(get)
            assert len(called) < 10
            for put in puts:
                assert (await client.answer(put))[0].success
            assert len(called) == 60

    async def test_also_when_they_were_put_off(self, virtual_time, serve, connect, network):
        called = []

        def slow(pv, op):
            called.append(trio.lowlevel.current_task())
            begun = time.perf_counter()
            while time.perf_counter() - begun < 0.002:
                pass

        pv = scalar()
        pv.put(slow)
        async with serve({"pv": pv, "image": image()}) as server:
            client = await connect(server)
            get = await client.init(Command.GET, "image")
            puts = [await client.init(Command.PUT, "pv") for _ in range(60)]
            await client.raw(operation(Command.GET, get.sid, get.ioid))
            await client.raw(b"".join(operation(Command.PUT, put.sid, put.ioid, 0, PUT_ONE) for put in puts))
            await settle()
            assert called == []
            most = 0
            async with trio.open_nursery() as nursery:

                @nursery.start_soon
                async def watch():
                    nonlocal most
                    while len(called) < 60:
                        before = len(called)
                        await trio.lowlevel.checkpoint()
                        most = max(most, len(called) - before)

                await client.answer(get)
                for put in puts:
                    assert (await client.answer(put))[0].success
            assert most < 10

    async def test_many_requests_do_not_make_a_byte_order_dear(self, virtual_time, serve, connect):
        async with serve({"pv": scalar()}) as server:
            client = await connect(server)
            sid = await client.channel("pv")
            for n in range(1_000, 21_000, 500):
                await client.raw(b"".join(operation(Command.MONITOR, sid, n + k, INIT, b"\xff") for k in range(500)))
                await client.quiet(0.01)
            assert server.report()["requests"] == 20_000
            switch = struct.pack("<BBBBI", 0xCA, 2, 0x81, 2, 0) + struct.pack("<BBBBI", 0xCA, 2, 0x01, 2, 0)
            begun = time.process_time()
            await client.raw(switch * 500)
            await client.get("pv")
            assert time.process_time() - begun < 1.0


async def test_half_open(virtual_time, serve, connect, network, log):
    """The other end has no power any more, in the middle of everything."""
    pv = scalar()
    async with serve({"pv": pv, "image": image()}, limits=Limits(idle_timeout=40)) as server:
        client, other = await connect(server), await connect(server)
        monitor = await client.monitor("pv")
        get = await client.init(Command.GET, "image")
        await client.update(monitor)
        network.connections[0].stall()
        await client.raw(operation(Command.GET, get.sid, get.ioid))
        for n in range(45):
            pv.post(float(n))
            await trio.sleep(1)
            assert (await other.get("pv")).value == float(n)
        assert server.report()["connections"] == 1
        assert len(log()) == 1
        assert not pv._core.monitors


async def test_an_answer_of_any_size_is_sent(virtual_time, serve, connect):
    """What a handler returns is never refused; only further calls have to wait."""
    call = SharedPV()
    result = Value(Type([("value", "ad")]), {"value": np.zeros(MIB)})
    call.rpc(lambda pv, op: result)
    async with serve({"rpc": call}) as server:
        client = await connect(server)
        calls = [await client.init(Command.RPC, "rpc") for _ in range(10)]
        await client.raw(b"".join(operation(Command.RPC, each.sid, each.ioid, 0, b"\xff") for each in calls))
        await settle()
        assert unsent(server) < 9 * MIB
        for each in calls:
            assert (await client.answer(each))[1].value.size == MIB


async def test_monitors_of_a_client_that_toggles(virtual_time, serve, connect):
    pv = scalar()
    async with serve({"pv": pv}) as server:
        client = await connect(server)
        monitor = await client.init(Command.MONITOR, "pv")
        both = operation(Command.MONITOR, monitor.sid, monitor.ioid, START) + operation(
            Command.MONITOR, monitor.sid, monitor.ioid, 0x04
        )
        await client.raw(both * 1000)
        await settle()
        pv.post(1.0)
        await client.start(monitor)
        values = []
        while not values or values[-1] < 1.0:
            values.append((await client.update(monitor)).value.value)
        assert values == [0.0, 1.0]

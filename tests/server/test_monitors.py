"""Subscriptions: when updates come, what is in them, and what happens to those that a client cannot take."""

from __future__ import annotations

from unittest.mock import patch

import pytest
import trio
import trio.lowlevel
from hypothesis import given
from hypothesis import strategies as st

from p4p_trio import Limits, RemoteError, SharedPV, Type, Value
from p4p_trio.nt import NTScalar
from p4p_trio.testing import MemoryNetwork, memory_server
from p4p_trio.testing import virtual_time as virtual
from p4p_trio.wire import Command, messages
from tests.server.handlers import settle
from tests.server.wire_client import WireClient

NT = NTScalar("d", display=True)
TWO = Type([("a", "i"), ("b", "i"), ("text", "s")])


def two(**kwargs):
    return SharedPV(initial=Value(TWO, {"a": 0, "b": 0}), **kwargs)


def seen(updates):
    return [(update.value.changedSet(), update.value.a, update.value.b, update.overrun) for update in updates]


class TestStarting:
    async def test_nothing_before_start_and_then_the_whole(self, virtual_time, serve, connect):
        pv = SharedPV(nt=NT, initial=1.0)
        async with serve({"pv": pv}) as server:
            client = await connect(server)
            monitor = await client.init(Command.MONITOR, "pv")
            pv.post(2.0)
            pv.post(3.0)
            assert await client.quiet() == []
            await client.start(monitor)
            (update,) = await client.updates(monitor)
            assert update.value.value == 3.0  # what was posted before START is no event
            assert update.value._slots[0] == NT.type._field.layout.leaves
            assert update.overrun == set()

    async def test_the_mask_limits_what_comes_and_when(self, virtual_time, serve, connect):
        pv = SharedPV(nt=NT, initial=1.0)
        async with serve({"pv": pv}) as server:
            client = await connect(server)
            monitor = await client.monitor("pv", "field(value,alarm.severity)")
            first = await client.update(monitor)
            assert first.value.changedSet() - {"alarm"} == {"value", "alarm.severity"}
            pv.post({"display.units": "V"})  # nobody asked for it
            pv.post(2.0, severity=1, message="hot")
            (update,) = await client.updates(monitor)
            assert (update.value.value, update.value.changedSet() - {"alarm"}) == (2.0, {"value", "alarm.severity"})

    async def test_start_twice_is_start_once(self, virtual_time, serve, connect):
        pv = two()
        async with serve({"pv": pv}) as server:
            client = await connect(server)
            monitor = await client.monitor("pv")
            await client.start(monitor)
            assert len(await client.updates(monitor)) == 1
            pv.post({"a": 1})
            assert seen(await client.updates(monitor)) == [({"a"}, 1, 0, set())]

    @pytest.mark.parametrize("how", ["stop", "cancel"])
    async def test_stop_keeps_the_queue(self, virtual_time, serve, connect, how):
        pv = two()
        async with serve({"pv": pv}) as server:
            client = await connect(server)
            monitor = await client.monitor("pv", "record[queueSize=2]")
            await client.update(monitor)
            await getattr(client, how)(monitor)
            await settle()
            for n in range(1, 5):
                pv.post({"a": n})
            assert await client.quiet() == []
            await client.start(monitor)
            assert seen(await client.updates(monitor)) == [({"a"}, 1, 0, set()), ({"a"}, 4, 0, {"a"})]

    async def test_ack_start_and_destroy_in_one_message(self, virtual_time, serve, connect):
        pv = two()
        async with serve({"pv": pv}) as server:
            client = await connect(server)
            monitor = await client.init(Command.MONITOR, "pv", "record[pipeline=true]", 0)
            ids = client.order.u32.pack(monitor.sid) + client.order.u32.pack(monitor.ioid)
            await client.send(Command.MONITOR, ids + b"\xc4" + client.order.u32.pack(1))
            assert len(await client.updates(monitor)) == 1
            await client.send(Command.MONITOR, ids + b"\xd4" + client.order.u32.pack(1))
            assert await client.quiet() == []
            assert server.report()["requests"] == 0

    async def test_an_empty_mask_of_what_is_assigned_still_begins(self, virtual_time, serve, connect):
        pv = SharedPV(initial=Value(Type([("a", "i"), ("b", "i")], strict=False), {"a": 1}))
        async with serve({"pv": pv}) as server:
            client = await connect(server)
            monitor = await client.monitor("pv", "field(b)")
            (update,) = await client.updates(monitor)
            assert update.value.changedSet() == set()


class TestSquash:
    async def test_while_the_socket_is_full(self, virtual_time, serve, connect, network):
        """Four updates wait as they were; what does not fit is merged into the last, with its overruns."""
        pv = two()
        async with serve({"pv": pv}) as server:
            client = await connect(server)
            monitor = await client.monitor("pv")
            await client.update(monitor)
            network.connections[0].capacity = 0  # nothing passes
            filler = "x" * 70_000
            pv.post({"text": filler})
            for n in range(1, 8):
                pv.post({"a": n})
            pv.post({"b": 1})
            network.connections[0].capacity = None
            first, *rest = await client.updates(monitor)
            assert first.value.text == filler
            assert seen(rest) == [
                ({"a"}, 1, 0, set()),
                ({"a"}, 2, 0, set()),
                ({"a"}, 3, 0, set()),
                ({"a", "b"}, 7, 1, {"a"}),
            ]

    async def test_not_because_the_loop_has_not_turned(self, virtual_time, serve, connect):
        pv = two()
        async with serve({"pv": pv}) as server:
            client = await connect(server)
            monitor = await client.monitor("pv")
            await client.update(monitor)
            for n in range(1, 1001):
                pv.post({"a": n})  # no await between
            updates = await client.updates(monitor)
            assert [update.value.a for update in updates] == list(range(1, 1001))

    async def test_equally_slow_clients_with_other_masks(self, virtual_time, serve, connect, network):
        pv = two()
        async with serve({"pv": pv}) as server:
            clients = [await connect(server) for _ in range(3)]
            masks = ("field(a)", "field(b)", "")
            monitors = [
                await client.monitor("pv", f"record[queueSize=1]{mask}")
                for client, mask in zip(clients, masks, strict=True)
            ]
            for client, monitor in zip(clients, monitors, strict=True):
                await client.update(monitor)
                await client.stop(monitor)
            await settle()
            for n in range(1, 4):
                pv.post({"a": n})
                pv.post({"b": n, "text": "t"})
            for client, monitor in zip(clients, monitors, strict=True):
                await client.start(monitor)
            found = [seen(await client.updates(monitor)) for client, monitor in zip(clients, monitors, strict=True)]
            assert found[0] == [({"a"}, 3, 0, {"a"})]
            assert found[1] == [({"b"}, 0, 3, {"b"})]
            assert found[2] == [({"a", "b", "text"}, 3, 3, {"a", "b", "text"})]

    async def test_waiting_updates_go_with_the_channel(self, virtual_time, serve, connect, network):
        pv = two()
        async with serve({"pv": pv}) as server:
            client = await connect(server)
            monitor = await client.monitor("pv")
            await client.update(monitor)
            network.connections[0].capacity = 0
            pv.post({"text": "x" * 70_000})
            pv.post({"a": 1})
            await settle()
            pv.close()
            network.connections[0].capacity = None
            assert (await client.update(monitor)).value.text
            await client.expect(Command.DESTROY_CHANNEL)
            assert await client.quiet() == []


class TestQueueSize:
    @pytest.mark.parametrize(
        ("asked", "size"), [("", 4), ("queueSize=1", 1), ("queueSize=7", 7), ("queueSize=0x10", 16)]
    )
    async def test_as_asked(self, virtual_time, serve, connect, asked, size):
        pv = two()
        async with serve({"pv": pv}) as server:
            client = await connect(server)
            monitor = await client.monitor("pv", f"record[{asked}]")
            await client.update(monitor)
            await client.stop(monitor)
            await settle()
            for n in range(1, 31):
                pv.post({"a": n})
            await client.start(monitor)
            assert [update.value.a for update in await client.updates(monitor)] == [*range(1, size), 30]

    async def test_clamped_with_a_remark(self, virtual_time, serve, connect):
        pv = two()
        async with serve({"pv": pv}, limits=Limits(max_monitor_queue=3)) as server:
            client = await connect(server)
            monitor = await client.init(Command.MONITOR, "pv", "record[queueSize=100000]")
            ioid, severity, text = messages.read_message(await client.expect(Command.MESSAGE))
            assert (ioid, severity) == (monitor.ioid, 1)
            assert text == "queueSize 100000 is more than this server allows; using 3"

    @pytest.mark.parametrize("asked", ["0", "many"])
    async def test_of_no_use(self, virtual_time, serve, connect, asked):
        async with serve({"pv": two()}) as server:
            client = await connect(server)
            await client.init(Command.MONITOR, "pv", f"record[queueSize={asked}]")
            assert "using 4" in messages.read_message(await client.expect(Command.MESSAGE))[2]
            with pytest.raises(RemoteError, match="queueSize must be a whole number"):
                await client.init(Command.MONITOR, "pv", f"record[pipeline=true,queueSize={asked}]", 4)

    async def test_bounded_by_bytes_too(self, virtual_time, serve, connect):
        pv = SharedPV(nt=NTScalar("ad"), initial=[0.0])
        async with serve({"pv": pv}) as server:
            client = await connect(server)
            monitor = await client.monitor("pv", "record[queueSize=1000]")
            await client.update(monitor)
            await client.stop(monitor)
            await settle()
            for n in range(100):
                pv.post([float(n)] * 40_000)  # 320 kB each
            (queued,) = pv._core.monitors
            assert len(queued.queue) < 20
            await client.start(monitor)
            updates = await client.updates(monitor)
            assert updates[-1].value.value[0] == 99


class TestPipeline:
    async def test_the_window_counts_updates(self, virtual_time, serve, connect):
        pv = two()
        async with serve({"pv": pv}) as server:
            client = await connect(server)
            monitor = await client.monitor("pv", "record[pipeline=true,queueSize=4]", 2)
            await settle()
            for n in range(1, 10):
                pv.post({"a": n})
            assert [update.value.a for update in await client.updates(monitor)] == [0, 1]
            await client.ack(monitor, 3)
            assert [update.value.a for update in await client.updates(monitor)] == [2, 3, 4]
            await client.ack(monitor, 10)
            (last,) = await client.updates(monitor)
            assert (last.value.a, last.overrun) == (9, {"a"})
            pv.post({"a": 10})
            assert [update.value.a for update in await client.updates(monitor)] == [10]

    async def test_without_the_option_a_window_is_ignored(self, virtual_time, serve, connect):
        pv = two()
        async with serve({"pv": pv}) as server:
            client = await connect(server)
            monitor = await client.monitor("pv", "", 1)
            await settle()
            pv.post({"a": 1})
            pv.post({"a": 2})
            assert len(await client.updates(monitor)) == 3

    async def test_without_a_window_nothing_comes(self, virtual_time, serve, connect):
        async with serve({"pv": two()}) as server:
            client = await connect(server)
            monitor = await client.monitor("pv", "record[pipeline=true]")
            assert await client.quiet() == []
            await client.ack(monitor, 1)
            assert len(await client.updates(monitor)) == 1

    async def test_an_ack_while_the_socket_is_full(self, virtual_time, serve, connect, network):
        pv, big = two(), SharedPV(nt=NTScalar("s"), initial="")
        async with serve({"pv": pv, "big": big}) as server:
            client = await connect(server)
            other = await client.monitor("big", "field(value)")
            monitor = await client.monitor("pv", "record[pipeline=true]", 1)
            await client.update(monitor)
            pv.post({"a": 1})
            network.connections[0].capacity = 10
            big.post("x" * 200_000)
            await client.ack(monitor, 1)
            await trio.lowlevel.checkpoint()
            network.connections[0].capacity = None
            assert (await client.update(monitor)).value.a == 1
            assert other


class TestTheLastValueArrives:
    """After posting stops, every live subscriber holds the last value; none is reordered or older than one seen."""

    steps = st.lists(
        st.one_of(
            st.tuples(st.just("post"), st.integers(1, 30)),
            st.tuples(st.just("capacity"), st.sampled_from([0, 1, 7, 100, 5_000, 100_000])),
            st.tuples(st.sampled_from(["stop", "start", "wait", "read"]), st.just(0)),
            st.tuples(st.just("ack"), st.integers(1, 5)),
            st.tuples(st.just("big"), st.integers(1_000, 90_000)),
        ),
        max_size=40,
    )

    @given(steps, st.integers(1, 8), st.booleans(), st.sampled_from([None, 0, 3]))
    def test_whatever_the_weather(self, steps, queue, pipeline, send_now):
        # As if sockets were small, so that little is needed to fill them.
        with virtual() as clock, patch("p4p_trio.protocol.server_connection.ROOM", 200):
            trio.run(self.session, steps, queue, pipeline, send_now, clock=clock)

    async def session(self, steps, queue, pipeline, send_now):
        network = MemoryNetwork(send_now_limit=send_now)
        pv = two()
        async with memory_server([{"pv": pv}], network) as server:
            client = await WireClient.connect(network, server)
            options = f"record[queueSize={queue},pipeline={'true' if pipeline else 'false'}]"
            monitor = await client.monitor("pv", options, 1 if pipeline else None)
            (connection,) = network.connections
            posted, told = 0, {"a": 0, "b": 0, "text": ""}
            updates = []
            for what, n in steps:
                if what == "post":
                    for _ in range(n):
                        posted += 1
                        name = "ab"[posted % 2]
                        pv.post({name: posted})
                        told[name] = posted
                elif what == "big":
                    posted += 1
                    told["text"] = f"{posted} " + "x" * n
                    pv.post({"text": told["text"]})
                elif what == "capacity":
                    connection.capacity = n
                elif what == "ack" and pipeline:
                    with trio.move_on_after(1):
                        await client.ack(monitor, n)
                elif what in ("stop", "start"):
                    with trio.move_on_after(1):
                        await getattr(client, what)(monitor)
                elif what == "read":
                    updates += await client.updates(monitor, 0.1)
                else:
                    await settle()
            connection.capacity = None
            await client.start(monitor)
            if pipeline:
                await client.ack(monitor, 1_000)
            updates += await client.updates(monitor, 1)
        held = Value(TWO)
        newest = 0
        for update in updates:
            for name in update.value.changedSet():
                held[name] = update.value[name]
            version = max(held.a, held.b, int((held.text or "0").split()[0]))
            assert version >= newest
            newest = version
            assert update.overrun <= update.value.changedSet()
        assert held.todict() == told

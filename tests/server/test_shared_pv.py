"""SharedPV: its value, its stamps, what clients of a closed one wait for, and whose thread it belongs to."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import trio

from p4p_trio import RemoteError, Server, SharedPV, Type, Value
from p4p_trio.errors import ConfigError
from p4p_trio.nt import NTScalar
from p4p_trio.testing import MemoryNetwork, memory_server
from p4p_trio.wire import Command, messages
from tests.server.handlers import scalar, settle
from tests.server.wire_client import WireClient

NT = NTScalar("d")
NOW = 1_000_000_000


def stamp(value):
    return value["timeStamp.secondsPastEpoch"], value["timeStamp.nanoseconds"]


class TestClosed:
    @pytest.fixture
    def pv(self):
        pv = scalar(None)
        pv.rpc(lambda pv, op: 7.5)
        pv.put(lambda pv, op: pv.post(op.value()))
        return pv

    async def test_it_claims_its_name_and_inits_wait_as_entries(self, virtual_time, serve, connect, pv):
        async with serve({"pv": pv}) as server:
            client = await connect(server)
            sid = await client.channel("pv")
            await settle()
            tasks = trio.lowlevel.current_statistics().tasks_living
            commands = [Command.GET, Command.PUT, Command.MONITOR, Command.PUT_GET]
            waiting = [(command, await client.start_init(command, sid)) for command in commands]
            messages.write_get_field(client.out, client.order, sid, 77, "value")
            await client.flush()
            assert (await client.rpc("pv")).value == 7.5
            await trio.sleep(30)
            assert await client.echo() == b""
            assert trio.lowlevel.current_statistics().tasks_living == tasks
            assert client.inbox == type(client.inbox)()
            pv.open(2.5)
            for command, ioid in waiting:
                request = await client.end_init(command, sid, ioid)
                assert request.field == NT.type._field
            assert messages.read_field_reply(await client.expect(Command.GET_FIELD))[2].code == "d"
            assert (await client.get("pv")).value == 2.5

    async def test_what_waits_can_be_taken_back(self, virtual_time, serve, connect, pv):
        async with serve({"pv": pv}) as server:
            client, leaver = await connect(server), await connect(server)
            sid = await client.channel("pv")
            for n in range(4):
                await leaver.start_init((Command.GET, Command.MONITOR)[n % 2], await leaver.channel("pv"))
            keep, drop, stop = [await client.start_init(Command.MONITOR, sid) for _ in range(3)]
            get = await client.start_init(Command.GET, sid)
            for write, ioid in (
                (messages.write_destroy_request, drop),
                (messages.write_cancel_request, stop),
                (messages.write_destroy_request, get),
            ):
                write(client.out, client.order, sid, ioid)
            await client.flush()
            leaver.close()
            await settle()
            assert set(pv._core.waiting) == {request for request in pv._core.waiting if request.ioid in (keep, stop)}
            pv.open(1.0)
            await client.end_init(Command.MONITOR, sid, keep)
            await client.end_init(Command.MONITOR, sid, stop)
            assert await client.quiet() == []
            await client.destroy_channel("pv")

    async def test_an_exec_before_the_answer(self, virtual_time, serve, connect, pv):
        async with serve({"pv": pv}) as server:
            client = await connect(server)
            sid = await client.channel("pv")
            ioid = await client.start_init(Command.GET, sid)
            messages.write_simple(client.out, client.order, Command.GET, sid, ioid, 0)
            await client.flush()
            reader = await client.expect(Command.GET)
            assert messages.read_reply(reader) == (ioid, 0)
            assert reader.status().message == "the request is not initialised yet"

    async def test_close_and_open_again_with_another_type(self, virtual_time, serve, connect):
        pv = SharedPV(initial=Value(Type([("a", "i")]), {"a": 1}))
        async with serve({"pv": pv}) as server:
            client = await connect(server)
            monitor = await client.monitor("pv")
            await client.update(monitor)
            pv.close()
            pv.close()
            await client.expect(Command.DESTROY_CHANNEL)
            client.sids.clear()
            waiting = await client.start_init(Command.GET, await client.channel("pv"))
            pv.open(Value(Type([("b", "s")]), {"b": "new"}))
            assert (await client.end_init(Command.GET, client.sids["pv"], waiting)).field.names == ("b",)
            assert (await client.get("pv")).b == "new"

    def test_what_needs_a_value(self):
        pv = scalar(None)
        for call, text in ((pv.current, "has no value"), (lambda: pv.post(1.0), r"use open\(\)")):
            with pytest.raises(RuntimeError, match=text):
                call()
        pv.open(1.0)
        with pytest.raises(RuntimeError, match=r"use post\(\)"):
            pv.open(2.0)
        with pytest.raises(TypeError, match="opens with a Value"):
            SharedPV(initial=1.0)


class TestWrongValues:
    @pytest.mark.parametrize(
        ("value", "kwargs"),
        [
            ("text", {}),
            ({"value": 1.0, "no.such": 2}, {}),
            ({"alarm.severity": 1.5, "value": 5.0}, {}),
            (5.0, {"severity": "high"}),
            (5.0, {"timestamp": "now"}),
            (5.0, {"timestamp": float("nan")}),
            (object(), {}),
            (None, {}),
        ],
    )
    def test_leave_the_pv_as_it_was(self, value, kwargs):
        pv = SharedPV(nt=NT, initial=2.5)
        before = pv.current().raw
        with pytest.raises((ValueError, TypeError, KeyError)):
            pv.post(value, **kwargs)
        assert pv.current().raw.todict() == before.todict()
        closed = SharedPV(nt=NT)
        with pytest.raises((ValueError, TypeError, KeyError)):
            closed.open(value, **kwargs)
        assert not closed.is_open()

    def test_numbers_are_not_bent(self):
        pv = SharedPV(nt=NTScalar("i"), initial=1)
        for wrong in (1.5, 1 << 31):
            with pytest.raises(ValueError, match="value"):
                pv.post(wrong)
        assert pv.current() == 1


class TestCopies:
    def test_current_is_private(self):
        pv = SharedPV(initial=Value(Type([("x", "ad"), ("any", "v")]), {"x": [1.0], "any": [1, 2]}))
        copy = pv.current()
        copy.x = [5.0]
        copy["any"] = "other"
        assert list(pv.current().x) == [1.0]
        assert list(pv.current()["any"]) == [1, 2]

    def test_arrays_are_copied_unless_nobody_can_change_them(self):
        pv = SharedPV(nt=NTScalar("ad"), initial=[0.0])
        mine = np.arange(3.0)
        pv.post(mine)
        mine[0] = 99
        assert list(pv.current()) == [0, 1, 2]
        view = np.arange(3.0)[:]
        view.flags.writeable = False
        pv.post(view)
        view.base[0] = 99
        assert list(pv.current()) == [0, 1, 2]
        frozen = np.arange(4.0)
        frozen.flags.writeable = False
        pv.post(frozen)
        assert np.shares_memory(pv.current(), frozen)
        with pytest.raises(ValueError, match="read-only"):
            pv.current()[0] = 1

    def test_the_posted_value_is_not_kept(self):
        kind = Type([("s", ("S", None, [("a", "i")])), ("v", "v")])
        mine = Value(kind, {"s.a": 1})
        pv = SharedPV(initial=mine)
        mine["s.a"] = 2
        assert pv.current()["s.a"] == 1
        pv.post(mine)
        mine["s.a"] = 3
        assert pv.current()["s.a"] == 2


class TestStamps:
    @pytest.fixture
    def pv(self, wall_clock):
        return SharedPV(nt=NT, initial=0.0)

    def test_now(self, pv, wall_clock):
        assert stamp(pv.current().raw) == (NOW, 0)
        wall_clock.now += 0.25
        pv.post(1.0)
        assert stamp(pv.current().raw) == (NOW, 250_000_000)
        assert pv.current().timestamp == NOW + 0.25

    def test_given_or_left(self, pv, wall_clock):
        wall_clock.now += 5
        pv.post(1.0, timestamp=None)
        assert stamp(pv.current().raw) == (NOW, 0)
        pv.post(2.0, timestamp=(7, 8), severity=2, message="hot")
        assert stamp(pv.current().raw) == (7, 8)
        assert (pv.current().severity, pv.current().message) == (2, "hot")
        pv.post(3.0)
        assert stamp(pv.current().raw) == (NOW + 5, 0)
        assert pv.current().severity == 2

    def test_a_value_made_here_brings_its_own(self, pv, wall_clock):
        pv.post(NT.wrap(1.0, timestamp=12.5))
        assert stamp(pv.current().raw) == (12, 500_000_000)
        pv.post(pv.current())  # what was read here, too
        assert stamp(pv.current().raw) == (12, 500_000_000)
        pv.post(NT.wrap(1.0))
        assert stamp(pv.current().raw) == (NOW, 0)
        pv.post(NT.wrap(1.0, timestamp=12.5), timestamp=13)
        assert stamp(pv.current().raw) == (13, 0)

    async def test_a_clients_never(self, virtual_time, serve, connect, pv, wall_clock):
        how = []
        pv.put(lambda pv, op: how.pop()(pv, op))
        sent = {"value": 4.0, "timeStamp.secondsPastEpoch": 55, "timeStamp.nanoseconds": 5, "timeStamp.userTag": 3}
        copies = SharedPV(nt=NT, initial=0.0)
        async with serve({"pv": pv}) as server:
            client = await connect(server)
            for post in (
                lambda pv, op: pv.post(op.value()),
                lambda pv, op: pv.post(op.value().raw),
                lambda pv, op: pv.post(op.raw(), severity=1),
                lambda pv, op: pv.post(Value(clone=op.raw())),
                lambda pv, op: copies.post(op.value()),
                lambda pv, op: (copies.close(), copies.open(op.value())),
                lambda pv, op: (pv.close(), pv.open(op.value())),
            ):
                wall_clock.now += 1
                how.append(post)
                await client.put("pv", sent)
                changed = copies if "copies" in post.__code__.co_freevars else pv
                assert stamp(changed.current().raw) == (wall_clock.now, 0)
                assert changed.current().raw["timeStamp.userTag"] == 0
                assert changed.current() == 4.0
            client.sids.clear()
            how.append(lambda pv, op: pv.post(op.value(), timestamp=None))
            await client.put("pv", sent)
            assert stamp(pv.current().raw) == (wall_clock.now, 0)
            how.append(lambda pv, op: pv.post(op.value(), timestamp=op.value().timestamp))
            await client.put("pv", sent)
            assert stamp(pv.current().raw)[0] == 55  # on purpose

    def test_without_a_time_field(self, wall_clock):
        pv = SharedPV(initial=Value(Type([("a", "i")]), {"a": 1}))
        pv.post({"a": 2})
        pv.post({"a": 3}, timestamp=None)
        with pytest.raises(KeyError):
            pv.post({"a": 4}, timestamp=1.0)
        assert pv.current().a == 3


class TestWritable:
    async def test_other_fields_are_refused_by_name(self, virtual_time, serve, connect):
        pv = SharedPV(nt=NTScalar("d", display=True), initial=0.0, writable=("value", "display"))
        called = []
        pv.put(lambda pv, op: called.append(sorted(op.raw().changedSet())))
        async with serve({"pv": pv}) as server:
            client = await connect(server)
            await client.put("pv", {"value": 1.0, "display.units": "V"})
            await client.put("pv", {})
            for field in ("alarm.severity", "timeStamp.userTag"):
                with pytest.raises(RemoteError, match=f"field '{field}' cannot be written"):
                    await client.put("pv", {"value": 1.0, field: 1})
        assert called == [["display.units", "value"], []]

    def test_mistakes(self):
        with pytest.raises(ConfigError, match=r"write \('value',\)"):
            SharedPV(nt=NT, writable="value")
        with pytest.raises(ConfigError, match="names 'valve', which is no field"):
            SharedPV(nt=NT, initial=0.0, writable=("valve",))


class TestServers:
    async def test_several_of_one_run(self, virtual_time, serve, connect):
        pv = scalar(handler=None)
        pv.put(lambda pv, op: pv.post(op.value()))
        async with serve({"a": pv}) as one, serve({"b": pv}) as other:
            here, there = await connect(one), await connect(other)
            monitor = await there.monitor("b")
            await there.update(monitor)
            await here.put("a", 5.0)
            assert (await there.update(monitor)).value.value == 5.0
            pv.close()
            for client in (here, there):
                await client.expect(Command.DESTROY_CHANNEL)

    async def test_a_second_run_is_refused_by_name(self):
        pv = scalar()
        found = []

        async def second():
            try:
                async with memory_server([{"other:name": pv}], MemoryNetwork()):
                    found.append("served")
            except RuntimeError as exc:
                found.append(str(exc))

        async with memory_server([{"pv": pv}], MemoryNetwork()):
            await trio.to_thread.run_sync(trio.run, second)
            assert found == ["PV 'other:name' is served by another trio run already; make a second SharedPV"]
            provider = memory_server([], MemoryNetwork())
            async with provider as empty:
                await empty.add_provider({"again": pv})

    def test_one_run_after_another(self):
        pv = scalar()

        async def serve_it():
            async with memory_server([{"pv": pv}], MemoryNetwork()):
                pv.post(1.0)

        trio.run(serve_it)
        pv.post(2.0)
        thread = threading.Thread(target=trio.run, args=(serve_it,))
        thread.start()
        thread.join()
        pv.post(3.0)
        assert pv.current() == 3.0

    def test_post_threadsafe_after_the_run(self):
        pv = scalar()

        async def serve_it():
            async with memory_server([{"pv": pv}], MemoryNetwork()):
                pass

        trio.run(serve_it)
        with pytest.raises(trio.RunFinishedError):
            pv.post_threadsafe(4.0)


class TestThreads:
    async def test_post_from_another_names_the_ways(self):
        pv = scalar()
        pv.post_threadsafe(0.5)  # not served yet: the same as post
        assert pv.current() == 0.5
        async with memory_server([{"pv": pv}], MemoryNetwork()):
            for call in (lambda: pv.post(1.0), pv.close, lambda: pv.open(1.0)):
                with pytest.raises(RuntimeError, match=r"trio\.from_thread\.run_sync.*pv\.post_threadsafe"):
                    await trio.to_thread.run_sync(call)
            assert pv.current() == 0.5
            await trio.to_thread.run_sync(lambda: trio.from_thread.run_sync(pv.post, 2.0))
            assert pv.current() == 2.0

    async def test_post_threadsafe_keeps_the_order(self):
        pv = scalar()
        network = MemoryNetwork()
        async with memory_server([{"pv": pv}], network) as server:
            client = await WireClient.connect(network, server)
            monitor = await client.monitor("pv", "record[queueSize=1000]")
            await client.update(monitor)

            def post():
                for n in range(500):
                    pv.post_threadsafe(float(n), timestamp=n)

            await trio.to_thread.run_sync(post)
            updates = [await client.update(monitor) for _ in range(500)]
            assert [update.value.value for update in updates] == list(range(500))
            assert [stamp(update.value) for update in updates] == [(n, 0) for n in range(500)]

    async def test_what_is_wrong_with_it_is_logged(self, caplog):
        pv = scalar()
        async with memory_server([{"pv": pv}], MemoryNetwork()):
            await trio.to_thread.run_sync(pv.post_threadsafe, "text")
            await settle()
        assert "a call from another thread failed" in caplog.text
        assert pv.current() == 0.0


def test_server_before_it_runs():
    with pytest.raises(RuntimeError, match="enter it first"):
        Server([], isolate=True).conf()
    with pytest.raises(ConfigError, match="isolate=True chooses the settings itself"):
        Server([], isolate=True, conf={})
    with pytest.raises(ConfigError, match="EPICS_PVAS_SERVER_PORT"):
        Server([], conf={"EPICS_PVAS_SERVER_PORT": "many"})

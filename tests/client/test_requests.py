"""Reading, writing, calling and asking for types, against our own server."""

from __future__ import annotations

import numpy as np
import pytest
import trio

from p4p_trio import RemoteError, SharedPV, Type, Value, nt
from p4p_trio.client import Context
from p4p_trio.data import parse_request
from p4p_trio.nt import NTScalar
from p4p_trio.wire import Command

POINT = Type([("x", "d"), ("y", "d"), ("label", "s")], id="point")


def mailbox(initial=0.0, valtype="d", **kwargs) -> SharedPV:
    pv = SharedPV(nt=NTScalar(valtype, **kwargs), initial=initial)

    @pv.put
    def put(pv, op):
        pv.post(op.value())

    return pv


async def test_get_and_put(serve, client, virtual_time):
    async with serve({"pv": mailbox(1.5, display=True)}) as server, client(server) as context:
        value = await context.get("pv")
        assert value == 1.5
        assert isinstance(value, nt.ntfloat)
        assert value.raw.getID() == "epics:nt/NTScalar:1.0"
        await context.put("pv", 3)
        assert await context.get("pv") == 3.0


async def test_lists_keep_their_order(serve, client, virtual_time):
    pvs = {f"pv:{n}": mailbox(n, "i") for n in range(100)}
    async with serve(pvs) as server, client(server) as context:
        names = list(reversed(pvs))
        assert await context.get(names) == list(reversed(range(100)))
        assert await context.put(tuple(names), range(100)) is None
        assert await context.get(names) == list(range(100))
        assert await context.get([]) == []
        assert await context.get(["pv:1"] * 3) == [98] * 3
        assert {type.getID() for type in await context.info(names)} == {"epics:nt/NTScalar:1.0"}


async def test_a_list_is_read_with_few_sends(network, serve, client, virtual_time):
    pvs = {f"pv:{n}": mailbox(n, "i") for n in range(500)}
    async with serve(pvs) as server, client(server) as context:
        await context.get(list(pvs))
        (connection,) = network.connections
        sends = []
        send_now = connection.client.send_now
        connection.client.send_now = lambda buffers: sends.append(1) or send_now(buffers)
        await context.get(list(pvs))
        assert len(sends) == 1


async def test_types(serve, client, virtual_time):
    async with serve({"point": SharedPV(initial=Value(POINT, {"x": 1.0}))}) as server, client(server) as context:
        assert await context.info("point") == POINT


async def test_raw_values(serve, client, virtual_time):
    async with serve({"pv": mailbox(1.5)}) as server, client(server, nt=False) as context:
        value = await context.get("pv")
        assert isinstance(value, Value)
        assert value.value == 1.5
        await context.put("pv", 2.5)
        assert (await context.get("pv")).value == 2.5


async def test_arrays(serve, client, virtual_time):
    big = np.arange(1_000_000, dtype=float)
    async with serve({"pv": mailbox(big, "ad")}) as server, client(server) as context:
        value = await context.get("pv")
        assert isinstance(value, np.ndarray)
        np.testing.assert_array_equal(value, big)
        await context.put("pv", big * 2)
        np.testing.assert_array_equal(await context.get("pv"), big * 2)


async def test_only_what_is_asked_for_is_sent(serve, client, virtual_time):
    async with serve({"point": SharedPV(initial=Value(POINT, {"x": 1.0, "y": 2.0}))}) as server, client(server) as ctxt:
        for request in ("field(x)", "x", parse_request("x")):
            value = await ctxt.get("point", request)
            assert value.changedSet() == {"x"}
            assert value.y == 0.0
        one, other = await ctxt.get(["point", "point"], ["x", "y"])
        assert (one.changedSet(), other.changedSet()) == ({"x"}, {"y"})


# ---- put


@pytest.fixture
def seen():
    """The fields of every put that the PV `point` got."""
    return []


@pytest.fixture
def point(seen):
    """A PV of structure POINT."""
    pv = SharedPV(initial=Value(POINT, {"x": 1.0, "y": 2.0, "label": "here"}))

    @pv.put
    def put(pv, op):
        seen.append(op.value().changedSet())
        pv.post(op.value())

    return pv


async def test_a_function_changes_what_is_there(serve, client, virtual_time, point, seen):
    def build(value):
        assert value.changedSet() == set()
        value.x = value.y + 10

    async with serve({"point": point}) as server, client(server) as context:
        await context.put("point", build)
        assert seen == [{"x"}]
        assert (await context.get("point")).x == 12.0


async def test_without_reading_a_function_sees_defaults(serve, client, virtual_time, point):
    def build(value):
        value.x = value.y + 10

    async with serve({"point": point}) as server, client(server) as context:
        await context.put("point", build, get=False)
        assert (await context.get("point")).x == 10.0


@pytest.mark.parametrize("get", [True, False])
@pytest.mark.parametrize("value", [{"x": 5}, Value(POINT, {"x": 5})])
async def test_dicts_and_values(serve, client, virtual_time, point, seen, value, get):
    async with serve({"point": point}) as server, client(server) as context:
        await context.put("point", value, get=get)
        assert seen == [{"x"}]
        assert (await context.get("point")).todict() == {"x": 5.0, "y": 2.0, "label": "here"}


async def test_errors_of_the_caller_come_out_bare(serve, client, virtual_time, point, seen):
    class Mine(Exception):
        pass

    def build(value):
        raise Mine("oh")

    async with serve({"point": point, "pv": mailbox()}) as server, client(server) as context:
        with pytest.raises(Mine):
            await context.put("point", build)
        with pytest.raises(KeyError, match="z"):
            await context.put("point", {"z": 1})
        with pytest.raises(ValueError, match="x"):
            await context.put("point", {"x": "one"})
        with pytest.raises(ValueError, match="value"):
            await context.put(["pv", "pv"], [1.0, "two"])
        assert seen == []
        assert await context.get("pv") in (0.0, 1.0)


async def test_a_function_runs_in_the_callers_task(serve, client, virtual_time, point):
    tasks = []
    async with serve({"point": point}) as server, client(server) as context:
        await context.put("point", lambda value: tasks.append(trio.lowlevel.current_task()))
        await context.put("point", lambda value: tasks.append(trio.lowlevel.current_task()), get=False)
    assert tasks == [trio.lowlevel.current_task()] * 2


async def test_options_of_records(serve, client, virtual_time):
    asked = []
    pv = mailbox()

    @pv.put
    def put(pv, op):
        asked.append(op.pv_request().todict().get("record"))

    async with serve({"pv": pv}) as server, client(server) as context:
        await context.put("pv", 1)
        await context.put("pv", 1, wait=True)
        await context.put("pv", 1, process=True)
        await context.put("pv", 1, process=False, request="field(value)record[atomic=true]")
    assert asked == [
        None,
        {"_options": {"block": "true", "process": "passive"}},
        {"_options": {"block": "false", "process": "true"}},
        {"_options": {"atomic": "true", "block": "false", "process": "false"}},
    ]


async def test_a_put_into_its_own_serial_handler_is_refused(serve, network, virtual_time):
    pv = SharedPV(nt=NTScalar("d"), initial=0.0, puts="serial")
    other = mailbox()
    contexts = []

    @pv.put
    async def put(pv, op):
        with pytest.raises(RuntimeError, match="from inside its own put handler"):
            await contexts[0].put("pv", 1.0)
        await contexts[0].put("other", op.value())
        pv.post(op.value())

    async with (
        serve({"pv": pv, "other": other}) as server,
        Context(conf=server.conf(), useenv=False, network=network) as context,
    ):
        contexts.append(context)
        with trio.fail_after(5):
            await context.put("pv", 3.0)
            assert await context.get(["pv", "other"]) == [3.0, 3.0]


# ---- refusals


async def test_refusals_name_the_pv(serve, client, virtual_time):
    pv = SharedPV(nt=NTScalar("d"), initial=0.0)

    @pv.put
    def put(pv, op):
        raise RemoteError("must stay within ±10 mm")

    @pv.rpc
    async def call(pv, op):
        raise RemoteError("not today")

    async with (
        serve({"pv": pv, "read-only": SharedPV(nt=NTScalar("d"), initial=0.0)}) as server,
        client(server) as context,
    ):
        with pytest.raises(RemoteError, match=r"^put to 'pv': must stay within ±10 mm$") as failure:
            await context.put("pv", 20)
        assert failure.value.reason == "must stay within ±10 mm"
        with pytest.raises(RemoteError, match="rpc to 'pv': not today"):
            await context.rpc("pv")
        with pytest.raises(RemoteError, match="put to 'read-only': Put not supported"):
            await context.put("read-only", 1)
        with pytest.raises(RemoteError, match="get of 'pv': pvRequest must select at least one field"):
            await context.get("pv", "nothing")
        with pytest.raises(RemoteError, match="get of 'pv'"):
            await context.get(["read-only", "pv", "read-only"], ["value", "nothing", "value"])
        assert await context.get("pv") == 0.0


@pytest.mark.parametrize("name", [b"pv", 5, None, {"pv": 1}])
async def test_names_are_checked(serve, client, virtual_time, name):
    async with serve({"pv": mailbox()}) as server, client(server) as context:
        with pytest.raises(TypeError):
            await context.get(name)
        with pytest.raises(TypeError):
            context.monitor(name)


async def test_arguments_are_checked(serve, client, virtual_time):
    async with serve({"pv": mailbox()}) as server, client(server) as context:
        with pytest.raises(ValueError, match="empty"):
            await context.get("")
        with pytest.raises(ValueError, match="500"):
            await context.get("x" * 501)
        with pytest.raises(ValueError, match="2 names and 1 values"):
            await context.put(["pv", "pv"], [1])
        with pytest.raises(TypeError, match="values"):
            await context.put(["pv", "pv"], 1)
        with pytest.raises(ValueError, match="1 names and 2 requests"):
            await context.get(["pv"], ["value", "value"])
        with pytest.raises(ValueError, match="position"):
            await context.get("pv", "field(")
        with pytest.raises(TypeError, match="pvRequest"):
            await context.get("pv", 5)
        with pytest.raises(TypeError, match="argument of an rpc"):
            await context.rpc("pv", {"a": 1})
        with pytest.raises(TypeError, match="class"):
            Context(nt={"x": 1})


# ---- rpc


async def test_rpc(serve, client, virtual_time):
    pv = SharedPV()

    @pv.rpc
    async def call(pv, op):
        argument = op.value()
        return NTScalar("d").wrap(sum(argument.todict().values()) if argument else -1.0)

    async with serve({"sum": pv}) as server, client(server) as context:
        two = Type([("a", "d"), ("b", "d")])
        assert await context.rpc("sum", Value(two, {"a": 1, "b": 2})) == 3.0
        assert await context.rpc(["sum", "sum"], [Value(two, {"a": 3}), Value(two, {"b": 4})]) == [3.0, 4.0]


# ---- idle requests are kept


async def test_a_request_is_initialised_once(faked, virtual_time):
    async with faked() as (context, server, nursery):
        values = []

        async def read(*args):
            values.append(await context.get("pv", *args))

        nursery.start_soon(read)
        peer = await server.logged_in()
        await peer.create()
        ioid = await peer.init(Command.GET, POINT)
        for _ in range(3):
            await peer.execution(Command.GET)
            await peer.reply(Command.GET, ioid, Value(POINT, {"x": len(values)}))
            await trio.testing.wait_all_tasks_blocked()
            await trio.sleep(9)
            nursery.start_soon(read)
        await peer.execution(Command.GET)
        await peer.reply(Command.GET, ioid, Value(POINT, {"x": 3}))
        assert (await peer.heard()) == []
        await trio.sleep(11.1)
        assert Command.DESTROY_REQUEST in await peer.heard()
        assert [value.x for value in values] == [0, 1, 2, 3]
        nursery.start_soon(read)
        await peer.init(Command.GET, POINT)


async def test_a_server_that_sends_only_what_has_changed(faked, virtual_time):
    """As pvDatabase does when a GET is executed again: what it leaves out is asked for by a request of its own."""
    whole = Value(POINT, {"x": 1, "y": 2})
    async with faked() as (context, server, nursery):
        values = []

        async def read():
            values.append(await context.get("pv"))

        nursery.start_soon(read)
        peer = await server.logged_in()
        await peer.create()
        ioid = await peer.init(Command.GET, POINT)
        await peer.execution(Command.GET)
        await peer.reply(Command.GET, ioid, whole)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(read)
        await peer.execution(Command.GET)
        await peer.reply(Command.GET, ioid, whole, mask=0)
        for _ in range(2):  # from now on each GET has a request of its own
            second = await peer.init(Command.GET, POINT)
            assert second != ioid
            await peer.execution(Command.GET)
            await peer.reply(Command.GET, second, whole)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(read)
        assert [(value.x, value.y) for value in values] == [(1, 2)] * 3
        nursery.cancel_scope.cancel()


async def test_two_at_once_need_two(serve, client, network, virtual_time):
    async with serve({"pv": mailbox()}) as server, client(server) as context:
        assert await context.get(["pv", "pv"]) == [0.0, 0.0]
        assert len(context._runtime.channels["pv", None].wire.requests) == 1  # the second was not needed any more


# ---- the context


async def test_a_context_outside_of_its_block(serve, client, virtual_time):
    async with serve({"pv": mailbox()}) as server:
        context = client(server)
        with pytest.raises(RuntimeError, match="not open"):
            await context.get("pv")
        async with context:
            await context.get("pv")
        with pytest.raises(RuntimeError, match="closed"):
            await context.get("pv")
        with pytest.raises(RuntimeError, match="once"):
            await context.__aenter__()


async def test_settings(serve, client, virtual_time, monkeypatch):
    monkeypatch.setenv("EPICS_PVA_ADDR_LIST", "10.1.2.3")
    assert Context().conf()["EPICS_PVA_ADDR_LIST"] == "10.1.2.3"
    assert Context(useenv=False).conf()["EPICS_PVA_ADDR_LIST"] == ""
    assert Context(conf={"EPICS_PVA_ADDR_LIST": "10.9.9.9"}).conf()["EPICS_PVA_ADDR_LIST"] == "10.9.9.9"
    assert len(Context().conf()) == 7


@pytest.mark.parametrize("shape", [{"chunk": 1}, {"send_now_limit": 0}, {"capacity": 100}, {"latency": 0.1}])
async def test_every_kind_of_network(network, serve, client, virtual_time, shape):
    for name, value in shape.items():
        setattr(network, name, value)
    async with serve({f"pv:{n}": mailbox(n, "i") for n in range(20)}) as server, client(server) as context:
        assert await context.get([f"pv:{n}" for n in range(20)]) == list(range(20))
        await context.put("pv:1", 7)
        assert await context.get("pv:1") == 7

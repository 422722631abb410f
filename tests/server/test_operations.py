"""GET, PUT, PUT_GET, RPC, PROCESS, GET_FIELD, message by message, and what handlers are told of them."""

from __future__ import annotations

import getpass

import numpy as np
import pytest
import trio

from p4p_trio import RemoteError, SharedPV, Type, Value
from p4p_trio.nt import NTScalar
from p4p_trio.testing import MemoryNetwork, memory_server
from p4p_trio.wire import BIG, LITTLE, Command, messages
from tests.server.handlers import scalar, settle
from tests.server.wire_client import WireClient

NT = NTScalar("d", display=True)


def mailbox(**kwargs):
    pv = SharedPV(nt=NT, initial=1.5, **kwargs)
    pv.put(lambda pv, op: pv.post(op.value()))
    return pv


class TestGet:
    @pytest.mark.parametrize(
        ("request_text", "names"),
        [
            ("field(value)", {"value"}),
            (
                "field(alarm,timeStamp.userTag)",
                {"alarm.severity", "alarm.status", "alarm.message", "timeStamp.userTag"},
            ),
            ("field(value,nothing)", {"value"}),
        ],
    )
    async def test_the_type_is_whole_and_the_data_masked(self, virtual_time, serve, connect, request_text, names):
        async with serve({"pv": mailbox()}) as server:
            client = await connect(server)
            request = await client.init(Command.GET, "pv", request_text)
            assert request.field is NT.type._field
            await client.exec(request)
            assert (await client.answer(request))[1].changedSet() - {"alarm"} == names
            await client.exec(request, sub=0x40)  # pvxs clients may; the byte comes back as it went
            assert (await client.answer(request, sub=0x40))[0].success
            await client.exec(request, sub=0x10)  # answer and forget
            assert (await client.answer(request, sub=0x10))[0].success
            await client.exec(request)  # a late message for a destroyed id
            assert await client.quiet() == []

    async def test_everything(self, virtual_time, serve, connect):
        async with serve({"pv": mailbox()}) as server:
            client = await connect(server)
            layout = NT.type._field.layout
            assert (await client.get("pv"))._slots[0] == layout.leaves

    async def test_no_such_field(self, virtual_time, serve, connect):
        async with serve({"pv": mailbox()}) as server:
            client = await connect(server)
            for command in (Command.GET, Command.PUT, Command.MONITOR):
                with pytest.raises(RemoteError, match="must select at least one field"):
                    await client.init(command, "pv", "field(nothing)")
            assert server.report()["requests"] == 0

    async def test_it_sees_each_post(self, virtual_time, serve, connect):
        pv = mailbox()
        async with serve({"pv": pv}) as server:
            client = await connect(server)
            request = await client.init(Command.GET, "pv", "field(value)")
            for n in range(20):
                pv.post(float(n))
                await client.exec(request)
                assert (await client.answer(request))[1].value == n


class TestPut:
    async def test_only_sent_fields_are_marked(self, virtual_time, serve, connect):
        seen = []
        pv = SharedPV(nt=NT, initial=1.5)
        pv.put(lambda pv, op: seen.append((sorted(op.raw().changedSet()), op.value(), op.value().raw is not None)))
        async with serve({"pv": pv}) as server:
            client = await connect(server)
            await client.put("pv", 5.0)
            await client.put("pv", {"alarm.message": "x", "display.units": "V"})
            await client.put("pv", {})  # an empty put still calls the handler
        assert [names for names, *_ in seen] == [["value"], ["alarm.message", "display.units"], []]
        assert seen[0][1:] == (5.0, True)

    async def test_partial_puts_change_only_that(self, virtual_time, serve, connect):
        async with serve({"pv": mailbox()}) as server:
            client = await connect(server)
            await client.put("pv", {"display.units": "V"})
            found = await client.get("pv")
            assert (found.value, found["display.units"]) == (1.5, "V")

    async def test_reading_needs_no_handler(self, virtual_time, serve, connect):
        async with serve({"pv": scalar(2.5)}) as server:
            client = await connect(server)
            request = await client.init(Command.PUT, "pv", "field(value)")
            await client.exec(request, sub=0x40)
            status, value = await client.answer(request, sub=0x40)
            assert (status.success, value.value, value.changedSet()) == (True, 2.5, {"value"})
            await client.exec(request, {"value": 5.0})
            assert (await client.answer(request))[0].message == "Put not supported"
            assert (await client.get("pv")).value == 2.5

    async def test_acknowledged_means_the_handler_has_returned(self, virtual_time, serve, connect):
        pv = scalar()

        @pv.put
        async def put(pv, op):
            await trio.sleep(2)
            pv.post(op.value())

        async with serve({"pv": pv}) as server:
            client, other = await connect(server), await connect(server)
            await client.put("pv", 5.0)
            assert trio.current_time() == pytest.approx(2)
            assert (await other.get("pv")).value == 5.0

    async def test_put_get(self, virtual_time, serve, connect):
        pv = SharedPV(nt=NT, initial=1.5)
        pv.put(lambda pv, op: pv.post(op.value() * 2))
        async with serve({"pv": pv, "ro": scalar(2.5)}) as server:
            client = await connect(server)
            request = await client.init(Command.PUT_GET, "pv", "field(value)")
            await client.exec(request, {"value": 4.0})
            status, value = await client.answer(request)
            assert (status.success, value.value) == (True, 8.0)
            for sub in (0x40, 0x80):
                await client.exec(request, sub=sub)
                assert (await client.answer(request, sub=sub))[1].value == 8.0
            request = await client.init(Command.PUT_GET, "ro")
            await client.exec(request, {"value": 4.0})
            assert (await client.answer(request))[0].message == "Put not supported"


class TestProcess:
    async def test_with_and_without_a_handler(self, virtual_time, serve, connect):
        pv = scalar()
        done = []
        pv.process(lambda pv, op: done.append(op.value()))
        async with serve({"pv": pv, "ro": scalar(), "closed": SharedPV(handler=None)}) as server:
            client = await connect(server)
            request = await client.init(Command.PROCESS, "pv")
            await client.exec(request)
            assert (await client.answer(request))[0].success
            for name in ("ro", "closed"):
                with pytest.raises(RemoteError, match="Process not supported"):
                    await client.init(Command.PROCESS, name)
        assert done == [None]

    async def test_arrays_are_refused(self, virtual_time, serve, connect):
        async with serve({"pv": scalar()}) as server:
            client = await connect(server)
            with pytest.raises(RemoteError, match="Array not supported"):
                await client.init(Command.ARRAY, "pv")


class TestRpc:
    @pytest.mark.parametrize(
        ("result", "kind", "expected"),
        [
            (None, None, None),
            (5, "l", 5),
            (2.5, "d", 2.5),
            ("text", "s", "text"),
            (True, "?", True),
            (["a", "b"], "as", ["a", "b"]),
            (np.arange(3, dtype="i2"), "ah", [0, 1, 2]),
        ],
    )
    async def test_plain_results_are_wrapped(self, virtual_time, serve, connect, result, kind, expected):
        pv = SharedPV()
        pv.rpc(lambda pv, op: result)
        async with serve({"pv": pv}) as server:
            found = await (await connect(server)).rpc("pv")
            if kind is None:
                assert found is None
            else:
                assert found.type()["value"] == kind
                assert list(found.value) == expected if isinstance(expected, list) else found.value == expected

    async def test_arguments_come_as_they_were_sent(self, virtual_time, serve, connect):
        seen = []
        pv = SharedPV()

        @pv.rpc
        async def rpc(pv, op):
            seen.append((op.value(), op.pv_request()))
            return op.value()

        argument = Value(Type([("query", ("S", None, [("a", "s"), ("b", "ai")]))]), {"query.a": "x", "query.b": [1, 2]})
        async with serve({"pv": pv}) as server:
            client = await connect(server)
            assert await client.rpc("pv") is None
            assert str(await client.rpc("pv", argument)) == str(argument)
        assert seen[0][0] is None
        assert str(seen[1][0]) == str(argument)

    async def test_a_result_that_cannot_be_sent_is_an_error(self, virtual_time, serve, connect, caplog):
        pv = SharedPV()
        pv.rpc(lambda pv, op: object())
        async with serve({"pv": pv, "none": scalar()}) as server:
            client = await connect(server)
            with pytest.raises(RemoteError, match="must be a Value, a scalar or an array, not object"):
                await client.rpc("pv")
            with pytest.raises(RemoteError, match=r"^RPC not supported$"):
                await client.rpc("none")
        assert len(caplog.records) == 1


async def test_get_field(virtual_time, serve, connect):
    async with serve({"pv": mailbox()}) as server:
        client = await connect(server)
        sid = await client.channel("pv")
        for path, field in (("", NT.type._field), ("alarm", NT.type["alarm"]._field), ("alarm.message", None)):
            messages.write_get_field(client.out, client.order, sid, 9, path)
            await client.flush()
            ioid, status, found = messages.read_field_reply(await client.expect(Command.GET_FIELD))
            assert (ioid, status.success) == (9, True)
            assert found is field if field is not None else found.code == "s"
        messages.write_get_field(client.out, client.order, sid, 9, "nothing")
        messages.write_get_field(client.out, client.order, sid + 1, 10, "")
        await client.flush()
        for text in ("no such field 'nothing'", "bad channel id"):
            assert messages.read_field_reply(await client.expect(Command.GET_FIELD))[1].message == text


class TestServerOperation:
    async def test_what_a_handler_is_told(self, virtual_time, serve, connect):
        seen = {}
        pv = mailbox()

        @pv.put
        async def put(pv, op):
            seen.update(name=op.name(), peer=op.peer(), account=op.account(), text=repr(op), options=op.pv_request())
            op.info("began")
            op.warn("hot")

        async with serve({"pv": pv, "alias": pv}) as server:
            client = await connect(server, account="eve")
            request = await client.init(Command.PUT, "alias", "record[process=true]field(value)")
            await client.exec(request, {"value": 1.0})
            remarks = [messages.read_message(await client.expect(Command.MESSAGE)) for _ in range(2)]
            assert (await client.answer(request))[0].success
            assert remarks == [(request.ioid, 0, "began"), (request.ioid, 1, "hot")]
        peer = seen["peer"]
        assert (seen["name"], seen["account"]) == ("alias", "eve")
        assert (peer.address, peer.method, peer.account, f":{peer.port}" in str(peer)) == (
            "127.0.0.1",
            "ca",
            "eve",
            True,
        )
        assert seen["text"] == f"<ServerOperation PUT 'alias' from {peer}>"
        assert seen["options"]["record._options.process"] == "true"

    async def test_remarks_after_the_end_are_dropped(self, virtual_time, serve, connect):
        kept = []
        pv = mailbox()
        pv.put(lambda pv, op: kept.append(op))
        async with serve({"pv": pv}) as server:
            client = await connect(server)
            await client.put("pv", 1.0)
            kept[0].info("late")
            assert await client.quiet() == []

    async def test_roles_of_the_account(self):
        found = []
        pv = scalar()

        @pv.put
        async def put(pv, op):
            found.append(await op.roles())
            with trio.testing.assert_checkpoints():
                assert await op.roles() == found[-1]

        network = MemoryNetwork()
        async with memory_server([{"pv": pv}], network) as server:
            for account in (getpass.getuser(), "nobody at all", ""):
                await (await WireClient.connect(network, server, account=account)).put("pv", 1.0)
        assert found[0]
        assert found[1] == frozenset()


class TestIllegalButDecodable:
    async def test_each_is_told_and_the_connection_stays(self, virtual_time, serve, connect, log):
        pv = mailbox()
        gate = trio.Event()

        @pv.rpc
        async def rpc(pv, op):
            await gate.wait()

        async with serve({"pv": pv, "other": mailbox()}) as server:
            client = await connect(server)
            get = await client.init(Command.GET, "pv")
            call = await client.init(Command.RPC, "pv")
            other = await client.channel("other")

            async def told(command, sid, ioid, sub=0):
                messages.write_simple(client.out, client.order, command, sid, ioid, sub)
                await client.flush()
                reader = await client.expect(command, ioid)
                assert messages.read_reply(reader) == (ioid, sub)
                return reader.status().message

            assert await told(Command.GET, get.sid, 999) == "no such request: INIT comes first"
            assert await told(Command.GET, other, get.ioid) == "the request belongs to another channel"
            assert await told(Command.PUT, get.sid, get.ioid) == "the request is for another command"
            for command in (Command.GET, Command.PUT_GET, Command.MONITOR, Command.RPC, Command.PROCESS):
                with pytest.raises(RemoteError, match="bad channel id"):
                    await client.end_init(command, 99, await client.start_init(command, 99))
                with pytest.raises(RemoteError, match="the request id is in use"):
                    await client.end_init(command, get.sid, await client.start_init(command, get.sid, ioid=get.ioid))
            await client.exec(call)
            assert await told(Command.RPC, call.sid, call.ioid) == "busy: the request is executing already"
            gate.set()
            assert (await client.answer(call))[0].success
            await client.exec(get)
            assert (await client.answer(get))[1].value == 1.5
            assert await client.quiet() == []
            assert log() == []

    async def test_late_messages_for_destroyed_ids_are_ignored(self, virtual_time, serve, connect):
        async with serve({"pv": mailbox()}) as server:
            client = await connect(server)
            get = await client.init(Command.GET, "pv")
            monitor = await client.monitor("pv")
            await client.update(monitor)
            await client.destroy(get)
            await client.end(monitor)
            await client.exec(get)
            await client.ack(monitor, 5)
            await client.start(monitor)
            await client.stop(monitor)
            for request in (get, monitor):
                await client.destroy(request)
                await client.cancel(request)
            sid = client.sids["pv"]
            await client.destroy_channel("pv")
            await client.expect(Command.DESTROY_CHANNEL)
            messages.write_destroy_channel(client.out, client.order, False, sid, 1)
            await client.flush()
            assert await client.quiet() == []
            await client.get("pv")

    async def test_unknown_commands_are_skipped(self, virtual_time, serve, connect):
        async with serve({"pv": mailbox()}) as server:
            client = await connect(server)
            for command in (0x05, 0x06, 0x13, 0x16, 0x42, 0xFF):
                await client.send(command, b"whatever")
            assert await client.echo(b"x") == b"x"


class TestByteOrder:
    @pytest.mark.parametrize("order", [LITTLE, BIG])
    async def test_a_whole_session(self, virtual_time, serve, connect, order):
        pv = mailbox()
        pv.rpc(lambda pv, op: op.value())
        async with serve({"pv": pv}) as server:
            client = await connect(server, account="eve", order=order)
            monitor = await client.monitor("pv")
            assert (await client.update(monitor)).value.value == 1.5
            await client.put("pv", 4.0)
            assert (await client.update(monitor)).value.value == 4.0
            assert (await client.get("pv")).value == 4.0
            argument = Value(Type([("a", "al")]), {"a": [1, 1 << 40]})
            assert list((await client.rpc("pv", argument)).a) == [1, 1 << 40]
            assert all(message.order is order for message in await client.quiet())
            pv.close()
            await settle()
            assert {message.order for message in await client.quiet()} == {order}

    async def test_changed_in_the_middle(self, virtual_time, serve, connect):
        pv = mailbox()
        async with serve({"pv": pv}) as server:
            client = await connect(server, order=LITTLE)
            get = await client.init(Command.GET, "pv", "field(value)")
            monitor = await client.monitor("pv", "record[pipeline=true]", 1)
            await client.update(monitor)
            pv.post(7.0)  # waits for an ack
            for order in (BIG, LITTLE, BIG):
                await client.exec(get)
                assert (await client.answer(get))[1].value == 7.0
                client.order = order
                messages.write_set_byte_order(client.out, order, False)
                await client.exec(get)
                assert (await client.answer(get))[1].value == 7.0
            await client.ack(monitor, 1)
            assert (await client.update(monitor)).value.value == 7.0

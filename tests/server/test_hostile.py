"""Clients that break the protocol: their connection ends with one log line, and nobody else notices.

What a client sends that is illegal but decodes is in test_states and test_scopes; clients that take nothing, or give
nothing, are in test_pressure.
"""

from __future__ import annotations

import gc
import random
import struct
import tracemalloc
from contextlib import suppress

import pytest
import trio

from p4p_trio import Limits
from p4p_trio.net import SystemNetwork
from p4p_trio.testing import isolated_server
from p4p_trio.wire import LITTLE, Buffers, Command, Control, messages
from p4p_trio.wire.commands import INIT, START
from tests.server.handlers import Slow, scalar, settle
from tests.server.wire_client import WireClient

HUGE = b"\xfe" + struct.pack("<I", 0x7FFFFFFE)
DEEP = b"\x80\x00\x01\x01a" * 1_000_000 + b"\x22" + bytes(4)
NO_REQUEST = b"\x80\x00\x00"
FIRST, MIDDLE, LAST = 0x10, 0x30, 0x20


def message(command, payload=b"", flags=0, size=None, magic=0xCA, version=2):
    """One message, true or not."""
    return struct.pack("<BBBBI", magic, version, flags, command, len(payload) if size is None else size) + payload


def operation(command, sid, ioid, sub, rest=b""):
    return message(command, struct.pack("<IIB", sid, ioid, sub) + rest)


def login(method=b"ca", what=b"\xff"):
    payload = struct.pack("<IHH", 0x10000, 0x7FFF, 0) + bytes((len(method),)) + method + what
    return message(Command.CONNECTION_VALIDATION, payload)


def text(data):
    return bytes((len(data),)) + data


def struct_of(*fields):
    """The description of a structure: pairs of a name and the bytes of its type."""
    return b"\x80\x00" + bytes((len(fields),)) + b"".join(text(name) + kind for name, kind in fields)


BEFORE_LOGIN = {
    "http": b"GET / HTTP/1.1\r\nHost: there\r\n\r\n",
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(512),
    "zeros": bytes(4096),
    "wrong magic": message(Command.ECHO, magic=0xCB),
    "version 0": message(Command.ECHO, version=0),
    "from a server": message(Command.ECHO, flags=0x40),
    "more than a login": message(Command.CONNECTION_VALIDATION, size=17_000),
    "endless login in segments": message(Command.CONNECTION_VALIDATION, bytes(9000), FIRST)
    + message(Command.CONNECTION_VALIDATION, bytes(9000), MIDDLE),
    "segment of nothing": message(Command.CONNECTION_VALIDATION, b"", LAST),
    "create": message(Command.CREATE_CHANNEL, b"\x01\x00" + bytes(4) + text(b"pv")),
    "search": message(Command.SEARCH, bytes(30)),
    "get": operation(Command.GET, 1, 1, INIT, NO_REQUEST),
    "unknown command": message(0x77),
    "deep credentials": login(what=DEEP),
    "deep credentials that fit": login(what=DEEP[:16_000]),
    "claimed fields": login(what=b"\x80\x00" + HUGE),
    "claimed strings": login(what=struct_of((b"user", b"\x68")) + HUGE),
    "short credentials": login(what=struct_of((b"user", b"\x60")) + b"\x09root"),
    "no credentials": login(),
    "a number for a user": login(what=struct_of((b"user", b"\x22")) + bytes(4)),
    "no such method": login(b"x509"),
    "a method that is a book": login(b"A" * 250),
}


@pytest.mark.parametrize("data", BEFORE_LOGIN.values(), ids=BEFORE_LOGIN)
async def test_a_stranger_is_closed_with_one_line(virtual_time, serve, connect, network, log, data):
    async with serve({"pv": scalar(1.5)}) as server:
        other = await connect(server)
        client = await WireClient.dial(network, server)
        with suppress(trio.BrokenResourceError):  # it may be closed before all is sent
            await client.raw(data)
        assert await client.gone()
        assert len(log()) == 1
        assert len(log()[0]) < 2000
        assert log()[0].endswith("closing")
        assert {message.command for message in client.inbox} <= {
            Command.CONNECTION_VALIDATION,
            Command.CONNECTION_VALIDATED,
        }
        assert (await other.get("pv")).value == 1.5
        assert server.report()["connections"] == 1


def arrays_that_lie():
    for code in (0x08, 0x28, 0x2B, 0x4B, 0x68, 0x8A):
        yield f"array {code:02x}", bytes((code,)) + HUGE
    yield "array of structures", b"\x88" + struct_of((b"a", b"\x20")) + HUGE
    yield "array of unions", b"\x89\x81" + struct_of((b"a", b"\x20"))[1:] + HUGE
    yield "string", b"\x60" + HUGE
    yield "bounded string", b"\x83" + HUGE + HUGE
    yield "any in any", b"\x82" * 1_000_000 + b"\xff"
    yield "array of any in array of any", b"\x8a\x01\x01" * 100_000 + b"\xff"
    yield "a million empty structures", b"\x88\x80\x00\x00\xfe" + struct.pack("<I", 1_000_001) + b"\x01" * 1_000_000
    yield "no such type", b"\x99"
    yield "no such id", b"\xfe\x07\x00"
    yield "itself", b"\xfd\x01\x00" + struct_of((b"me", b"\xfe\x01\x00"))
    yield "ids of ids", b"\xfd\x01\x00" * 100_000
    yield (
        "doubling",
        struct_of(
            (b"x1", b"\xfd\x01\x00" + struct_of((b"x", b"\x20"))),
            *(
                (
                    b"x%d" % n,
                    b"\xfd"
                    + struct.pack("<H", n)
                    + struct_of(*((name, b"\xfe" + struct.pack("<H", n - 1)) for name in (b"a", b"b"))),
                )
                for n in range(2, 17)
            ),
        ),
    )
    yield (
        "60,000 fields",
        b"\x80\x00\xfe" + struct.pack("<I", 60_000) + b"".join(text(b"f%d" % n) + b"\x20" for n in range(60_000)),
    )
    yield "a union that is none of its own", b"\x81\x00\x01\x01a\x20" + b"\x07"


LIES = dict(arrays_that_lie())


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
@pytest.mark.parametrize("where", ["pvRequest", "argument"])
async def test_nothing_is_allocated_for_a_claim(virtual_time, serve, connect, log, lie, where):
    async with serve({"pv": scalar(handler=Slow())}) as server:
        other, client = await connect(server), await connect(server)
        sid = await client.channel("pv")
        if where == "argument":
            await client.end_init(Command.RPC, sid, await client.start_init(Command.RPC, sid, ioid=7))
        data = operation(Command.RPC, sid, 7, INIT if where == "pvRequest" else 0, lie)
        gc.collect()
        tracemalloc.start()
        try:
            await client.raw(data)
            assert await client.gone()
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        # The memory network, the framer and the reader each have a copy of what was really sent.
        assert peak < 12 * len(data) + 300_000
        assert len(log()) == 1
        assert "byte" in log()[0]
        assert (await other.get("pv")).value == 0.0


@pytest.mark.parametrize("data", [bytes(13), b"\x01\x02\x00", b"\xff", HUGE, b"\x02\x00\xff", b"\xfe" + bytes(3)])
async def test_a_put_that_does_not_decode_changes_nothing(virtual_time, serve, connect, log, data):
    handler = Slow()
    pv = scalar(1.5, handler=handler)
    async with serve({"pv": pv}) as server:
        client = await connect(server)
        request = await client.init(Command.PUT, "pv")
        await client.raw(operation(Command.PUT, request.sid, request.ioid, 0, data))
        if data == bytes(13):  # an empty BitSet, and more bytes than needed: legal, and puts nothing
            await settle()
            assert handler.ops[0].raw().changedSet() == set()
            return
        assert await client.gone()
        await settle()
        assert handler.started == []
        assert pv.current() == 1.5
        assert len(log()) == 1


async def test_a_cut_put_of_each_length(virtual_time, serve, connect, log):
    handler = Slow()
    whole = b"\x01\x02" + struct.pack("<d", 7.0)
    async with serve({"pv": scalar(handler=handler)}) as server:
        for n in range(len(whole)):
            client = await connect(server)
            request = await client.init(Command.PUT, "pv")
            await client.raw(operation(Command.PUT, request.sid, request.ioid, 0, whole[:n]))
            assert await client.gone()
        assert handler.started == []
        assert len(log()) == 1  # one address, and within ten seconds
        assert server.report()["refused"] == {"connections closed for a peer's fault": len(whole)}


@pytest.mark.parametrize("command", [n for n in range(0x20) if n not in (Command.CONNECTION_VALIDATION,)])
async def test_every_command_with_junk(virtual_time, serve, connect, log, command):
    dice = random.Random(command)
    async with serve({"pv": scalar(1.5, handler=Slow())}) as server:
        other = await connect(server)
        for size in (0, 1, 4, 8, 9, 10, 13, 17, 40, 200):
            for fill in (
                bytes(size),
                b"\xff" * size,
                dice.randbytes(size),
                struct.pack("<II", 1, 7) + dice.randbytes(size),
            ):
                client = await connect(server)
                sid = await client.channel("pv")
                await client.end_init(Command.PUT, sid, await client.start_init(Command.PUT, sid, ioid=7))
                await client.raw(message(command, fill))
                await settle()
                client.close()
        assert (await other.get("pv")).value == 1.5
        assert not any("bug" in line for line in log())
        assert len(log()) <= 2


async def test_mutated_sessions(virtual_time, serve, network, log):
    """A whole honest session in one piece, with a few bytes changed: anything may come of it, but no accident."""
    out = Buffers()
    messages.write_validation_reply(out, LITTLE, 0x10000, 0x7FFF, 0, "anonymous", None, None)
    messages.write_create_channel(out, LITTLE, [(1, "pv"), (2, "server")])
    honest = b"".join(out.freeze())
    for ioid, command in enumerate((Command.GET, Command.PUT, Command.MONITOR, Command.RPC, Command.PUT_GET)):
        honest += operation(command, 1, ioid, INIT, struct_of((b"field", struct_of())))
    honest += operation(Command.GET, 1, 0, 0)
    honest += operation(Command.PUT, 1, 1, 0, b"\x01\x02" + struct.pack("<d", 7.0))
    honest += operation(Command.MONITOR, 1, 2, START)
    honest += operation(Command.RPC, 1, 3, 0, struct_of((b"query", struct_of((b"op", b"\x60")))) + text(b"info"))
    honest += message(Command.GET_FIELD, struct.pack("<II", 1, 9) + text(b"value"))
    honest += message(Command.CANCEL_REQUEST, struct.pack("<II", 1, 3))
    honest += message(Command.DESTROY_REQUEST, struct.pack("<II", 1, 2))
    honest += message(Command.DESTROY_CHANNEL, struct.pack("<II", 1, 1))
    dice = random.Random(1)
    async with serve({"pv": scalar(1.5, handler=Slow())}) as server:
        for _ in range(400):
            data = bytearray(honest)
            for _ in range(dice.choice((1, 1, 2, 5))):
                at = dice.randrange(len(data))
                data[at : at + dice.choice((0, 1, 1, 2))] = dice.choice(
                    (b"", b"\x00", b"\xff", b"\xfe", dice.randbytes(1))
                )
            client = await WireClient.dial(network, server)
            await client.raw(bytes(data))
            await settle()
            client.close()
        await settle()
        assert server.report()["connections"] == 0
        assert server.report()["handlers"] == 0
        assert not any("bug" in line for line in log())
        other = await WireClient.connect(network, server)
        assert isinstance((await other.get("pv")).value, float)


class TestTheLog:
    async def test_remarks_do_not_flood_it(self, virtual_time, serve, connect, log):
        async with serve({"pv": scalar()}) as server:
            client = await connect(server)
            sid = await client.channel("pv")
            await client.raw(operation(Command.MONITOR, sid, 5, START) * 1000)
            note = struct.pack("<IB", 5, 2) + HUGE[:1] + struct.pack("<I", 50_000) + b"\xff\x1b" * 25_000
            for _ in range(100):
                await client.raw(message(Command.MESSAGE, note))
            await client.get("pv")
            (line,) = log()
            assert "no subscription" in line
            await trio.sleep(11)
            await client.raw(message(Command.MESSAGE, note))
            await client.get("pv")
            assert len(log()) == 2
            assert "1099 more" in log()[1]
            assert len(log()[1]) < 2000
            assert log()[1].isprintable()

    async def test_a_field_name_does_not_come_back_whole(self, virtual_time, serve, connect):
        async with serve({"pv": scalar()}) as server:
            client = await connect(server)
            sid = await client.channel("pv")
            messages.write_get_field(client.out, LITTLE, sid, 5, "\x01" * 100_000)
            await client.flush()
            reader = await client.expect(Command.GET_FIELD)
            assert reader.remaining < 2000


class TestByteOrder:
    async def test_a_change_costs_nothing_per_request(self, virtual_time, serve, connect):
        """Kept replies and tags of subscriptions are in the order that holds when they are used."""
        async with serve({"pv": scalar(1.5)}) as server:
            client = await connect(server)
            get = await client.init(Command.GET, "pv")
            monitor = await client.monitor("pv")
            await client.update(monitor)
            await client.exec(get)
            assert (await client.answer(get))[1].value == 1.5
            await client.send(Control.SET_BYTE_ORDER, b"", flags=0x81)
            await client.raw(struct.pack(">BBBBIIIB", 0xCA, 2, 0x80, Command.GET, 9, get.sid, get.ioid, 0))
            assert (await client.answer(get))[1].value == 1.5
            pv = server.sources.find_now("pv")[1]
            pv.post(2.5)
            assert (await client.update(monitor)).value.value == 2.5

    async def test_control_echo_is_for_members(self, virtual_time, serve, connect, network):
        async with serve({"pv": scalar()}) as server:
            stranger = await WireClient.dial(network, server)
            await stranger.expect(Command.CONNECTION_VALIDATION)
            await stranger.raw(message(Control.ECHO_REQUEST, b"", 0x01, size=5) * 1000)
            assert await stranger.quiet() == []
            client = await connect(server)
            await client.raw(message(Control.ECHO_REQUEST, b"", 0x01, size=5))
            assert (await client.expect(Control.ECHO_RESPONSE)).u32() == 5


class TestRefusals:
    async def test_strangers_make_room_for_newcomers(self, virtual_time, serve, connect, network, log):
        async with serve({"pv": scalar()}, limits=Limits(max_unvalidated=3)) as server:
            strangers = [await WireClient.dial(network, server) for _ in range(3)]
            await settle()
            client = await connect(server)
            assert await strangers[0].gone()
            await client.get("pv")
            assert not await strangers[1].gone(0.1)
            assert len(log()) == 1
            assert "too many clients that have not logged in" in log()[0]

    async def test_members_are_no_strangers(self, virtual_time, serve, connect):
        async with serve({"pv": scalar()}, limits=Limits(max_unvalidated=3)) as server:
            clients = [await connect(server) for _ in range(10)]
            for client in clients:
                await client.get("pv")

    async def test_a_crowd(self, virtual_time, serve, connect, network, log):
        async with serve({"pv": scalar()}, limits=Limits(max_connections=2)) as server:
            first, second = await connect(server), await connect(server)
            for _ in range(50):
                late = await WireClient.dial(network, server)
                assert await late.gone()
            await first.get("pv")
            await second.get("pv")
            assert len(log()) == 1
            first.close()
            await settle()
            await (await connect(server)).get("pv")

    async def test_pv_requests_are_not_kept_without_end(self, virtual_time, serve, connect):
        async with serve({"pv": scalar(), "closed": scalar(None)}) as server:
            client = await connect(server)
            for name, command in (("pv", Command.RPC), ("closed", Command.GET)):
                sid = await client.channel(name)
                long = struct_of((b"x", b"\x60")) + b"\xfe" + struct.pack("<I", 1 << 20) + b"x" * (1 << 20)
                for ioid in range(3):
                    await client.raw(operation(command, sid, ioid, INIT, long))
                with pytest.raises(Exception, match=r"busy: the pvRequests .* more than 4 MiB"):
                    await self._init(client, command, sid, 3, long + long[-1000:])
                for ioid in range(3):
                    await client.raw(message(Command.DESTROY_REQUEST, struct.pack("<II", sid, ioid)))
                if command is Command.RPC:
                    await self._init(client, command, sid, 3, long)
                    await client.raw(message(Command.DESTROY_REQUEST, struct.pack("<II", sid, 3)))
                await client.quiet(0.1)
            assert server.report()["requests"] == 0

    async def _init(self, client, command, sid, ioid, request):
        await client.quiet(0.1)
        await client.raw(operation(command, sid, ioid, INIT, request))
        await client.end_init(command, sid, ioid)

    async def test_questions_count_as_requests(self, virtual_time, serve, connect):
        async with serve({"pv": scalar(None)}, limits=Limits(max_operations=2)) as server:
            client = await connect(server)
            sid = await client.channel("pv")
            for ioid in range(3):
                messages.write_get_field(client.out, LITTLE, sid, ioid, "value")
            await client.flush()
            reader = await client.expect(Command.GET_FIELD)
            assert reader.u32() == 2
            assert "busy" in reader.status().message

    async def test_echoes_have_a_size(self, virtual_time, serve, connect, log):
        async with serve({"pv": scalar()}) as server:
            client = await connect(server)
            await client.send(Command.ECHO, bytes(65_536))
            assert (await client.expect(Command.ECHO)).remaining == 65_536
            await client.send(Command.ECHO, bytes(65_537))
            assert await client.gone()
            assert len(log()) == 1

    async def test_channels_are_made_by_the_thousand_at_most(self, virtual_time, serve, connect, log):
        async with serve({"pv": scalar()}) as server:
            client = await connect(server)
            messages.write_create_channel(client.out, LITTLE, [(n, "pv") for n in range(4096)])
            await client.flush()
            await client.expect(Command.CREATE_CHANNEL)
            assert server.report()["channels"] == 4096
            messages.write_create_channel(client.out, LITTLE, [(n, "pv") for n in range(4097)])
            await client.flush()
            assert await client.gone()
            assert len(log()) == 1

    async def test_providers_are_not_asked_without_end(self, virtual_time, serve, connect):
        class Never:
            def test_channel(self, name):
                return True

            async def make_channel(self, name, peer):
                await trio.sleep_forever()

        async with serve(Never(), limits=Limits(max_handlers=3)) as server:
            client = await connect(server)
            messages.write_create_channel(client.out, LITTLE, [(n, f"pv{n}") for n in range(5)])
            await client.flush()
            for cid in (3, 4):
                created = messages.read_channel_created(await client.expect(Command.CREATE_CHANNEL))
                assert created.cid == cid
                assert "busy" in created.status.message
            client.close()
            await settle()
            assert server.making == 0


async def test_what_was_kept_is_given_back_at_once(virtual_time, serve, connect):
    """Not when the garbage collector comes by: connections and their parts refer to each other."""
    async with serve({"pv": scalar()}) as server:
        client = await connect(server)
        half = bytes(4 << 20)
        gc.collect()
        gc.disable()
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            await client.raw(
                message(Command.RPC, half[: 2 << 20], FIRST) + message(Command.RPC, half, MIDDLE, size=8 << 20)
            )
            await settle()
            assert tracemalloc.get_traced_memory()[0] - before > 4 << 20
            client.close()
            await settle()
            assert tracemalloc.get_traced_memory()[0] - before < 1 << 20
        finally:
            tracemalloc.stop()
            gc.enable()


async def test_junk_by_udp(virtual_time, serve, network, log):
    dice = random.Random(1)
    async with serve({"pv": scalar()}) as server:
        udp = network.open_udp("127.0.0.1")
        there = ("127.0.0.1", int(server.conf()["EPICS_PVAS_BROADCAST_PORT"]))
        out = Buffers()
        messages.write_search(out, LITTLE, 1, 0, bytes(16), udp.address[1], ["tcp"], [(7, "pv")])
        honest = b"".join(out.freeze())
        for n in range(3000):
            junk = dice.randbytes(dice.choice((0, 1, 7, 8, 9, 40, 300)))
            if n % 3 == 1:
                junk = b"\xca\x02" + junk
            elif n % 3 == 2:
                at = dice.randrange(len(honest))
                junk = honest[:at] + dice.randbytes(1) + honest[at + 1 :]
                junk = junk[: dice.choice((at, len(junk)))] * dice.choice((1, 1, 30))
            udp.send(junk, there)
            if n % 64 == 0:
                await settle()
        await trio.sleep(1)
        udp.send(honest, there)
        with trio.fail_after(1):
            while not any(b"\x07\x00\x00\x00" in datagram.data for datagram in await udp.receive()):
                pass
        assert log() == []


async def test_over_real_sockets():
    """A crowd of vandals, and one who only wants a number."""
    rubbish = [data for data in BEFORE_LOGIN.values() if len(data) < 20_000] * 4
    async with isolated_server([{"pv": scalar(1.5)}]) as server:
        network = SystemNetwork()
        honest = await WireClient.connect(network, server)

        async def vandal(data):
            client = await WireClient.dial(network, server)
            await client.transport.send_rest([data])
            assert await client.gone()
            client.close()

        async with trio.open_nursery() as nursery:
            for data in rubbish:
                nursery.start_soon(vandal, data)
            for _ in range(50):
                with trio.fail_after(2):
                    assert (await honest.get("pv")).value == 1.5
                await trio.sleep(0.01)
        assert server.report()["connections"] == 1
        honest.close()

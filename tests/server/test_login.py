"""The first words of a connection: byte order, login methods, credentials; nobody operates before that."""

from __future__ import annotations

import pytest
import trio

from p4p_trio import Type, Value
from p4p_trio.wire import BIG, Command, Control, StatusKind, messages
from tests.server.handlers import scalar, settle


@pytest.fixture
def credentials():
    kind = Type([("user", "s"), ("host", "s")])
    return Value(kind, {"user": "eve", "host": "here"})


async def test_the_server_speaks_first(virtual_time, serve, network, connect):
    async with serve({}) as server:
        client = await connect.dial(server)
        await settle()
        data = bytes(client.transport.receive_nowait())
        assert data[:8] == bytes.fromhex("CA 02 41 02 00 00 00 00")  # SET_BYTE_ORDER, little endian
        assert data[8:16] == bytes.fromhex("CA 02 40 01 14 00 00 00")  # CONNECTION_VALIDATION, 20 bytes
        assert data[16:] == bytes.fromhex("00 00 01 00 FF 7F 02 09") + b"anonymous" + b"\x02ca"


@pytest.mark.parametrize("method", ["anonymous", "", "ca"])
async def test_methods(virtual_time, serve, connect, credentials, method):
    told = []
    pv = scalar()
    pv.put(lambda pv, op: told.append((op.peer().method, op.account())))
    async with serve({"pv": pv}) as server:
        client = await connect.dial(server)
        await client.expect(Command.CONNECTION_VALIDATION)
        client.write_login(method, credentials._type._field if method == "ca" else None, credentials)
        await client.flush()
        assert messages.read_validated(await client.expect(Command.CONNECTION_VALIDATED)).success
        await client.put("pv", 1.0)
    assert told == [("ca", "eve") if method == "ca" else ("anonymous", "anonymous")]


def user(name):
    return Value(Type([("user", "s")]), {"user": name})


@pytest.mark.parametrize(
    ("method", "item", "text"),
    [
        ("x509", None, "method 'x509' was not offered; use one of anonymous, ca"),
        ("ca", None, "needs a structure with a string field 'user'"),
        ("ca", Value(Type([("name", "s")])), "needs a structure with a string field 'user'"),
        ("ca", Value(Type([("user", "i")])), "needs a structure with a string field 'user'"),
        ("ca", user(""), "needs a structure with a string field 'user'"),
        ("ca", user("x" * 257), "printable text of at most 256 characters"),
        ("ca", user("two\nlines"), "printable text"),
    ],
)
async def test_what_is_wrong_is_said_and_ends_it(virtual_time, serve, connect, log, method, item, text):
    async with serve({"pv": scalar()}) as server:
        client = await connect.dial(server)
        await client.expect(Command.CONNECTION_VALIDATION)
        client.write_login(method, None if item is None else item._type._field, item)
        await client.flush()
        status = messages.read_validated(await client.expect(Command.CONNECTION_VALIDATED))
        assert status.kind is StatusKind.ERROR
        assert text in status.message
        assert await client.gone(0.1)
        assert server.report()["connections"] == 0
    (line,) = log()
    assert f"login refused: {status.message}" in line


@pytest.mark.parametrize(
    "command", [Command.ECHO, Command.SEARCH, Command.CREATE_CHANNEL, Command.GET, Command.RPC, Command.MESSAGE, 0x42]
)
async def test_nothing_before_it(virtual_time, serve, connect, log, command):
    async with serve({"pv": scalar()}) as server:
        client = await connect.dial(server)
        await client.send(command, b"\x01\x00\x01\x00\x00\x00\x02pv")
        assert await client.gone(0.1)
        assert [message.command for message in client.inbox] in ([], [Command.CONNECTION_VALIDATION])
    (line,) = log()
    assert "message before the connection was validated; closing" in line


async def test_one_login_per_connection(virtual_time, serve, connect, log):
    async with serve({"pv": scalar()}) as server:
        client = await connect(server)
        client.write_login("anonymous", None, None)
        await client.flush()
        assert await client.gone(0.1)
    assert "a second login on one connection" in log()[0]


async def test_the_order_may_be_chosen_first(virtual_time, serve, connect):
    async with serve({"pv": scalar(1.5)}) as server:
        client = await connect.dial(server)
        await client.expect(Command.CONNECTION_VALIDATION)
        messages.write_set_byte_order(client.out, BIG, False)
        client.write_login("anonymous", None, None)  # itself in little endian
        await client.flush()
        await client.expect(Command.CONNECTION_VALIDATED)
        assert (await client.get("pv")).value == 1.5
        await client.echo()
        messages.write_control(client.out, BIG, False, Control.ECHO_REQUEST, 77)
        await client.flush()
        reader = await client.expect(Control.ECHO_RESPONSE)
        assert (reader.order, reader.u32()) == (BIG, 77)


async def test_the_whole_login_in_one_byte_chunks(virtual_time, serve, connect, network):
    network.chunk = 1
    async with serve({"pv": scalar(1.5)}) as server:
        client = await connect(server, account="eve")
        assert (await client.get("pv")).value == 1.5


async def test_over_a_transport_that_cannot_send_without_waiting(virtual_time, serve, connect, network):
    network.send_now_limit = 0
    network.capacity = 7
    async with serve({"pv": scalar(1.5)}) as server:
        client = await connect(server, account="eve")
        monitor = await client.monitor("pv")
        assert (await client.update(monitor)).value.value == 1.5
        assert (await client.get("pv")).value == 1.5


async def test_too_slow(virtual_time, serve, connect, log):
    async with serve({}) as server:
        client = await connect.dial(server)
        await trio.sleep(4.9)
        await settle()
        assert not await client.gone(0.1)
        assert await client.gone(1.2)
    assert "no login within 5.0 s" in log()[0]

"""doctor: each step, going well and failing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from p4p_trio import DynamicProvider, RemoteError, Server, SharedPV
from p4p_trio.config import Limits
from p4p_trio.nt import NTScalar
from p4p_trio.testing import MemoryNetwork
from p4p_trio.wire import BIG, Buffers, Reader, messages
from tests.cli.conftest import Serve
from tests.cli.tool import Tools, golden


@asynccontextmanager
async def claims(network: MemoryNetwork, port: int) -> AsyncIterator[None]:
    """Somebody answers every search: it is at this TCP port."""
    udp = network.open_udp("127.0.0.1", 5076)

    async def answer() -> None:
        while True:
            for datagram in await udp.receive():
                search = messages.read_search(Reader(datagram.data, 8, len(datagram.data), BIG, Limits()))
                cids = [cid for cid, _ in search.channels]
                out = Buffers()
                where = messages.address16("127.0.0.1")
                messages.write_search_response(out, BIG, bytes(12), search.seq, where, port, "tcp", bool(cids), cids)
                udp.send(b"".join(out.freeze()), datagram.source)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        yield
        nursery.cancel_scope.cancel()
    udp.close()


async def test_nothing_is_wrong(virtual_time: object, tools: Tools, serve: Serve) -> None:
    async with serve():
        printed = await tools("doctor demo:ai")
    assert printed.code == 0
    golden("doctor-good.txt", printed.out)


async def test_nothing_is_wrong_in_json(virtual_time: object, tools: Tools, serve: Serve) -> None:
    async with serve():
        printed = await tools("doctor -F json demo:ai demo:count")
    assert printed.code == 0
    golden("doctor-good-json.txt", printed.out)


async def test_unknown_name(virtual_time: object, tools: Tools, serve: Serve) -> None:
    async with serve():
        printed = await tools("doctor demo:a1")
    assert printed.code == 1
    golden("doctor-unknown.txt", printed.out)


async def test_no_server(virtual_time: object, tools: Tools) -> None:
    printed = await tools("doctor demo:ai")
    assert printed.code == 1
    golden("doctor-no-server.txt", printed.out)


async def test_nowhere_to_search(virtual_time: object, tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EPICS_PVA_ADDR_LIST", "")
    printed = await tools("doctor demo:ai")
    assert printed.code == 1
    assert "configuration     FAILED  there is nowhere to search" in printed.out
    assert "set EPICS_PVA_ADDR_LIST" in printed.out


async def test_unknown_host(virtual_time: object, tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EPICS_PVA_NAME_SERVERS", "nowhere:5075")
    printed = await tools("doctor demo:ai")
    assert printed.code == 1
    assert "EPICS_PVA_NAME_SERVERS: invalid endpoint 'nowhere:5075': unknown host 'nowhere'" in printed.out
    assert "try     correct that variable" in printed.out


async def test_by_name_server(
    virtual_time: object, tools: Tools, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EPICS_PVA_NAME_SERVERS", "127.0.0.1:9 127.0.0.1")
    monkeypatch.setenv("EPICS_PVA_ADDR_LIST", "")
    async with serve():
        printed = await tools("doctor demo:ai")
        assert printed.code == 0, printed
        printed = await tools("doctor demo:a1")
    assert printed.code == 1
    assert "name server 127.0.0.1:9: Connection refused" in printed.out
    assert "servers answer (127.0.0.1:5075), but none has it" in printed.out


async def test_tcp_refused(virtual_time: object, tools: Tools) -> None:
    async with claims(tools.network, 7000):
        printed = await tools("doctor demo:ai")
    assert printed.code == 1
    assert "search            ok" in printed.out
    assert "TCP connect       FAILED  Connection refused" in printed.out
    assert "is TCP port 7000 of 127.0.0.1 open in the firewalls" in printed.out


async def test_no_login(virtual_time: object, tools: Tools) -> None:
    listener = tools.network.listen("127.0.0.1", 7000)
    async with claims(tools.network, 7000):
        printed = await tools("doctor demo:ai")
    listener.close()
    assert printed.code == 1
    assert "TCP connect       ok" in printed.out
    assert "validation        FAILED  no answer within 5 s" in printed.out


async def test_no_pva_server(virtual_time: object, tools: Tools) -> None:
    listener = tools.network.listen("127.0.0.1", 7000)

    async def web() -> None:
        transport = await listener.accept()
        await transport.send_rest([b"HTTP/1.1 400 Bad Request\r\n\r\n"])

    async with claims(tools.network, 7000), trio.open_nursery() as nursery:
        nursery.start_soon(web)
        printed = await tools("doctor demo:ai")
    listener.close()
    assert printed.code == 1
    assert "validation        FAILED" in printed.out
    assert "a PVAccess server?" in printed.out


async def test_channel_refused(virtual_time: object, tools: Tools) -> None:
    class Hidden:
        def test_channel(self, name: str) -> bool:
            return True

        async def make_channel(self, name: str, peer: object) -> SharedPV:
            raise RemoteError("not for you")

    async with Server([DynamicProvider("hidden", Hidden())], network=tools.network):
        printed = await tools("doctor demo:ai")
    assert printed.code == 1
    assert "channel creation  FAILED  not for you" in printed.out
    assert "its access rules" in printed.out


async def test_served_twice(virtual_time: object, tools: Tools, serve: Serve) -> None:
    second = Server([{"demo:ai": SharedPV(nt=NTScalar("d"), initial=0)}], network=tools.network)
    async with serve(), second:
        printed = await tools("doctor demo:ai")
    assert printed.code == 1
    assert "more than one server has it" in printed.out
    assert "stop all but one, or rename it" in printed.out

"""A server that says exactly what a test wants, and nothing else.

server = FakeServer(network)
nursery.start_soon(server.answer_searches)     # claims every name
peer = await server.accept()                   # the client has connected
await peer.login()
sid = await peer.create()
ioid = await peer.init(Command.GET, TYPE)
await peer.expect(Command.GET)
"""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import Any, NamedTuple

import trio

from p4p_trio import Limits, Type, Value
from p4p_trio.data import Field
from p4p_trio.net import Transport
from p4p_trio.testing import MemoryNetwork
from p4p_trio.wire import LITTLE, OK, Buffers, Command, Framer, Order, Reader, Status, TypeCache, messages
from p4p_trio.wire.codec import codec_for
from p4p_trio.wire.commands import INIT
from p4p_trio.wire.messages import address16

__all__ = ["FakePeer", "FakeServer"]

LIMITS = Limits(max_message=None)
WAIT = 1_000.0
"""Seconds after which an expected message counts as never sent; the tests run on virtual time."""


class Message(NamedTuple):
    command: int
    payload: bytes
    order: Order


class FakeServer:
    """A TCP port and a UDP port, and who comes there.

    Attributes:
        claims: whether a name is claimed.
        asked: the names of every search, one list per datagram, with the time.
        guid: who we say we are.
        says_host: the address that answers name; "" any.
    """

    def __init__(self, network: MemoryNetwork, *, port: int = 0, udp_port: int = 0) -> None:
        self.network = network
        self.listener = network.listen("127.0.0.1", port)
        self.udp = network.open_udp("127.0.0.1", udp_port)
        self.port = self.listener.address[1]
        self.guid = b"a fake srv 1"
        self.asked: list[tuple[float, list[str]]] = []
        self.claims = lambda name: True
        self.says_host = ""

    @property
    def conf(self) -> dict[str, str]:
        return {
            "EPICS_PVA_ADDR_LIST": "127.0.0.1",
            "EPICS_PVA_AUTO_ADDR_LIST": "NO",
            "EPICS_PVA_INTF_ADDR_LIST": "127.0.0.1",
            "EPICS_PVA_BROADCAST_PORT": str(self.udp.address[1]),
            "EPICS_PVA_SERVER_PORT": str(self.port),
        }

    async def answer_searches(self) -> None:
        while True:
            for datagram in await self.udp.receive():
                order = Order.of_flags(datagram.data[2])
                search = messages.read_search(Reader(datagram.data, 8, len(datagram.data), order, LIMITS))
                self.asked.append((trio.current_time(), [name for _, name in search.channels]))
                cids = [cid for cid, name in search.channels if self.claims(name)]
                if cids or not search.channels:
                    self.udp.send(self.response(cids), (datagram.source[0], search.port))

    def response(self, cids: list[int], *, guid: bytes | None = None, port: int | None = None) -> bytes:
        out = Buffers()
        port = self.port if port is None else port
        messages.write_search_response(
            out, LITTLE, guid or self.guid, 0, address16(self.says_host), port, "tcp", bool(cids), cids
        )
        return b"".join(out.freeze())

    async def accept(self) -> FakePeer:
        with trio.fail_after(WAIT):
            return FakePeer(await self.listener.accept())

    async def logged_in(self) -> FakePeer:
        peer = await self.accept()
        await peer.login()
        return peer


class FakePeer:
    """The server's side of one connection.

    Attributes:
        inbox: what came and was not expected yet.
        sids: by name, of the channels that were created.
        echoes: how often the client asked for a sign of life.
        answers_echo: whether it gets one.
    """

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.out = Buffers()
        self.inbox: deque[Message] = deque()
        self.sids: dict[str, int] = {}
        self.echoes = 0
        self.answers_echo = True
        self._types = TypeCache(LIMITS)
        dispatch = [partial(self._message, n) for n in range(256)]
        self._framer = Framer(from_server=False, max_message=None, dispatch=dispatch, control=self._control)

    def _message(self, command: int, buf: Any, start: int, end: int, order: Order) -> None:
        if command != Command.ECHO:
            self.inbox.append(Message(command, bytes(buf[start:end]), order))
        else:
            self.echoes += 1
            if self.answers_echo:
                messages.write_echo(self.out, LITTLE, True, b"")
                pieces, self.out = self.out.freeze(), Buffers()
                self.transport.send_now(pieces)

    def _control(self, command: int, value: int, order: Order) -> None:
        pass

    async def flush(self) -> None:
        pieces, self.out = self.out.freeze(), Buffers()
        await self.transport.send_rest(pieces)

    async def raw(self, data: bytes) -> None:
        await self.transport.send_rest([data])

    async def expect(self, command: Command) -> Reader:
        """The payload of the oldest message of this command; others stay in the inbox."""
        with trio.fail_after(WAIT):
            while True:
                for n, message in enumerate(self.inbox):
                    if message.command == command:
                        del self.inbox[n]
                        return Reader(message.payload, 0, len(message.payload), message.order, LIMITS, self._types)
                if not await self._receive():
                    raise EOFError(f"closed by the client while waiting for {command!r}")

    async def ended(self) -> bool:
        """Wait until the client has closed; everything it sent is in the inbox."""
        with trio.fail_after(WAIT):
            while await self._receive():
                pass
        return True

    async def heard(self) -> list[Command]:
        """The commands of everything that the client has sent and that was not expected yet."""
        await trio.testing.wait_all_tasks_blocked()
        while (data := self.transport.receive_nowait()) is not None and len(data):
            self._framer.feed(data, 1_000)
        return [Command(message.command) for message in self.inbox]

    async def _receive(self) -> bool:
        try:
            data = await self.transport.receive()
        except trio.BrokenResourceError:
            return False
        if not len(data):
            return False
        self._framer.feed(data, 1_000)
        return True

    # ---- what servers say

    async def hello(self) -> None:
        messages.write_set_byte_order(self.out, LITTLE, True)
        messages.write_validation_request(self.out, LITTLE, 0x10000, 0x7FFF, ["anonymous", "ca"])
        await self.flush()

    async def login(self) -> None:
        await self.hello()
        await self.expect(Command.CONNECTION_VALIDATION)
        messages.write_validated(self.out, LITTLE, OK)
        await self.flush()

    async def create(self, status: Status = OK, sid: int | None = None) -> int:
        """Answer the oldest CREATE_CHANNEL; returns the sid."""
        ((cid, name),) = messages.read_create_channel(await self.expect(Command.CREATE_CHANNEL))
        sid = 1_000 + len(self.sids) if sid is None else sid
        self.sids[name] = sid
        messages.write_channel_created(self.out, LITTLE, cid, sid, status)
        await self.flush()
        return sid

    async def init(self, command: Command, type: Type | None = None, status: Status = OK) -> int:
        """Answer the oldest INIT of this command; returns the ioid."""
        reader = await self.expect(command)
        _, ioid, sub = messages.read_request(reader)
        assert sub & INIT, sub
        fields: list[Field] = [] if type is None or not status.success else [type._field]
        messages.write_init_reply(self.out, LITTLE, command, ioid, INIT, status, *fields)
        await self.flush()
        return ioid

    async def execution(self, command: Command) -> int:
        """Expect an EXEC; returns its sub-command."""
        reader = await self.expect(command)
        _, _, sub = messages.read_request(reader)
        assert not sub & INIT
        return sub

    async def reply(
        self, command: Command, ioid: int, value: Value | None = None, *, sub: int = 0, mask: int | None = None
    ) -> None:
        """Answer an EXEC: with a value (of *mask*: all of it), or with success alone."""
        if value is None:
            messages.write_status_reply(self.out, LITTLE, command, ioid, sub, OK)
        else:
            codec = codec_for(value._type._field, LITTLE)
            mask = value._type._field.layout.leaves if mask is None else mask
            messages.write_partial_reply(self.out, LITTLE, command, ioid, sub, codec, value._slots, mask)
        await self.flush()

    async def update(self, ioid: int, value: Value, *, overrun: int = 0) -> None:
        field = value._type._field
        messages.write_update(
            self.out,
            LITTLE,
            ioid,
            codec_for(field, LITTLE),
            value._slots,
            field.layout.expand(value._slots[0]),
            overrun,
        )
        await self.flush()

    async def finish(self, ioid: int, status: Status = OK) -> None:
        messages.write_finish(self.out, LITTLE, ioid, status)
        await self.flush()

    async def describe(self, type: Type) -> None:
        """Answer the oldest GET_FIELD."""
        _, ioid, _ = messages.read_get_field(await self.expect(Command.GET_FIELD))
        messages.write_field_reply(self.out, LITTLE, ioid, OK, type._field)
        await self.flush()

    async def destroy_channel(self, sid: int, cid: int = 0) -> None:
        messages.write_destroy_channel(self.out, LITTLE, True, sid, cid)
        await self.flush()

    def close(self) -> None:
        self.transport.abort()

"""A client that says exactly what a test wants, message by message, over any `Transport`.

It is half a client: no channel of its own comes back, nothing is sent unasked. What the server sends waits in
`inbox` until it is expected; every wait has a time limit (virtual under a MockClock).

    client = await WireClient.connect(network, server)
    value = await client.get("pv")
    request = await client.init(Command.PUT, await client.channel("pv"))
    await client.exec(request, {"value": 5.0})
    status, _ = await client.answer(request)

Run as a program it is a client that can be killed: `python -m tests.server.wire_client PORT NAME` starts a put,
prints "sent" and waits for ever.
"""

from __future__ import annotations

import sys
from collections import deque
from functools import partial
from typing import Any, NamedTuple

import trio

from p4p_trio import Limits, RemoteError, Type, Value
from p4p_trio.data import Field, parse_request
from p4p_trio.net import Network, SystemNetwork, Transport
from p4p_trio.wire import LITTLE, Buffers, Command, Control, Framer, Order, Reader, Status, TypeCache, messages
from p4p_trio.wire.codec import codec_for
from p4p_trio.wire.commands import DESTROY, INIT, PIPELINE, START, STOP

__all__ = ["Message", "Request", "Update", "WireClient", "port_of"]

LIMITS = Limits(max_message=None)
WAIT = 5.0
"""Seconds after which an expected message counts as never sent."""


class Message(NamedTuple):
    """One message of the server: an application command, or a control command and its value."""

    command: Command | Control
    payload: bytes
    order: Order


class Request(NamedTuple):
    """One request, after its INIT was answered. `field` is the type, where the command has one."""

    command: Command
    sid: int
    ioid: int
    field: Field | None


class Update(NamedTuple):
    """One monitor update: the value, of which the changed fields are marked, and the names of overrun fields."""

    value: Value
    overrun: set[str]


class WireClient:
    """One TCP connection to a server.

    Attributes:
        order: in which byte order this client speaks.
        inbox: what came and was not expected yet, oldest first.
        closed: the server has closed the connection.
    """

    def __init__(self, transport: Transport, order: Order = LITTLE) -> None:
        self.transport = transport
        self.order = order
        self.out = Buffers()
        self.inbox: deque[Message] = deque()
        self.closed = False
        self.sids: dict[str, int] = {}
        self._types = TypeCache(LIMITS)
        self._ids = 100
        dispatch = [partial(self._message, Command(n)) if n in list(Command) else None for n in range(256)]
        self._framer = Framer(from_server=True, max_message=None, dispatch=dispatch, control=self._on_control)

    @classmethod
    async def connect(
        cls, network: Network, server: Any, *, account: str = "", order: Order = LITTLE, host: str = "127.0.0.1"
    ) -> WireClient:
        """Connect and log in: as *account*, or as nobody. *server* is a Server or a port."""
        client = await cls.dial(network, server, order=order, host=host)
        await client.login(account)
        return client

    @classmethod
    async def dial(cls, network: Network, server: Any, *, order: Order = LITTLE, host: str = "127.0.0.1") -> WireClient:
        """Connect, and say nothing yet."""
        return cls(await network.connect(host, port_of(server)), order)

    async def login(self, account: str = "") -> None:
        await self.expect(Command.CONNECTION_VALIDATION)
        if self.order is not LITTLE:
            messages.write_set_byte_order(self.out, self.order, False)
        if account:
            credentials = Value(Type([("user", "s"), ("host", "s")]), {"user": account, "host": "here"})
            self.write_login("ca", credentials._type._field, credentials)
        else:
            self.write_login("anonymous", None, None)
        await self.flush()
        status = messages.read_validated(await self.expect(Command.CONNECTION_VALIDATED))
        assert status.success, status

    def write_login(self, method: str, field: Field | None, item: Any) -> None:
        messages.write_validation_reply(self.out, self.order, 0x10000, 0x7FFF, 0, method, field, item)

    # ---- bytes and messages

    async def flush(self) -> None:
        """Send what the `write_` functions put into `out`."""
        pieces, self.out = self.out.freeze(), Buffers()
        await self.transport.send_rest(pieces)

    async def raw(self, data: bytes) -> None:
        """Send bytes as they are."""
        await self.transport.send_rest([data])

    async def send(self, command: int, payload: bytes, *, flags: int = 0) -> None:
        """Send one message of any command, true or not."""
        await self.raw(self.order.header.pack(0xCA, 2, self.order.client | flags, command, len(payload)) + payload)

    async def expect(self, command: Command | Control, ioid: int | None = None) -> Reader:
        """The payload of the oldest message of this command (and ioid); other messages stay in the inbox."""
        with trio.fail_after(WAIT):
            while True:
                for n, message in enumerate(self.inbox):
                    reader = self.reader(message)
                    if message.command is command and (ioid is None or reader.u32() == ioid):
                        del self.inbox[n]
                        return self.reader(message)
                if not await self._receive():
                    raise EOFError(f"closed by the server while waiting for {command!r}; got {list(self.inbox)}")

    async def gone(self, within: float = WAIT) -> bool:
        """Whether the server closes the connection within these seconds; reads all that comes before."""
        with trio.move_on_after(within):
            while not self.closed:
                await self._receive()
        return self.closed

    async def quiet(self, seconds: float = 0.5) -> list[Message]:
        """Whatever has come and comes within these seconds: nothing, a test often hopes."""
        with trio.move_on_after(seconds):
            while await self._receive():
                pass
        found, self.inbox = list(self.inbox), deque()
        return found

    async def echo(self, payload: bytes = b"") -> bytes:
        """Ask for a sign of life, and wait for it; everything that was asked before has been answered then."""
        messages.write_echo(self.out, self.order, False, payload)
        await self.flush()
        return messages.read_echo(await self.expect(Command.ECHO))

    def close(self) -> None:
        self.transport.abort()

    def reader(self, message: Message) -> Reader:
        payload = message.payload
        return Reader(payload, 0, len(payload), message.order, LIMITS, self._types)

    async def _receive(self) -> bool:
        if self.closed:
            return False
        try:
            data = await self.transport.receive()
        except trio.BrokenResourceError:
            data = memoryview(b"")
        self.closed = not data
        while self._framer.feed(bytes(data), 1_000):
            data = memoryview(b"")
        return not self.closed

    def _message(self, command: Command, buf: Any, start: int, end: int, order: Order) -> None:
        self.inbox.append(Message(command, bytes(buf[start:end]), order))

    def _on_control(self, command: int, value: int, order: Order) -> None:
        if command != Control.SET_BYTE_ORDER:
            self.inbox.append(Message(Control(command), order.u32.pack(value), order))

    # ---- channels and requests

    async def channel(self, name: str) -> int:
        """The sid of a channel; made when first asked for, with the cid `len(sids) + 1`. RemoteError if refused."""
        if name not in self.sids:
            cid = len(self.sids) + 1
            messages.write_create_channel(self.out, self.order, [(cid, name)])
            await self.flush()
            created = messages.read_channel_created(await self.expect(Command.CREATE_CHANNEL))
            assert created.cid == cid
            if not created.status.success:
                raise RemoteError(created.status.message)
            self.sids[name] = created.sid
        return self.sids[name]

    async def start_init(
        self, command: Command, sid: int, request: str = "", nfree: int | None = None, *, ioid: int = 0
    ) -> int:
        """Send an INIT; its ioid."""
        if not ioid:
            self._ids += 1
            ioid = self._ids
        asked = parse_request(request)
        sub = INIT if nfree is None else INIT | PIPELINE
        messages.write_init(self.out, self.order, command, sid, ioid, sub, asked._type._field, asked, nfree)
        await self.flush()
        return ioid

    async def end_init(self, command: Command, sid: int, ioid: int) -> Request:
        """The answer to an INIT; RemoteError if it was refused."""
        reader = await self.expect(command, ioid)
        assert messages.read_reply(reader) == (ioid, INIT)
        status, fields = messages.read_init_reply(reader, command)
        if not status.success:
            raise RemoteError(status.message)
        return Request(command, sid, ioid, fields[0] if fields else None)

    async def init(self, command: Command, name: str, request: str = "", nfree: int | None = None) -> Request:
        sid = await self.channel(name)
        return await self.end_init(command, sid, await self.start_init(command, sid, request, nfree))

    async def exec(self, request: Request, value: Any = None, *, sub: int = 0) -> None:
        """Execute: *value* is a dict of fields for a PUT, a Value or None for an RPC."""
        ids = (request.command, request.sid, request.ioid, sub)
        if request.command is Command.RPC:
            field = None if value is None else value._type._field
            messages.write_full_request(self.out, self.order, *ids, field, value)
        elif value is None:
            messages.write_simple(self.out, self.order, *ids)
        else:
            assert request.field is not None
            slots = Value(Type._of(request.field), value)._slots
            codec = codec_for(request.field, self.order)
            messages.write_partial_request(self.out, self.order, *ids, codec, slots, slots[0])
        await self.flush()

    async def answer(self, request: Request, *, sub: int = 0) -> tuple[Status, Any]:
        """The answer to an EXEC, and the value in it, if any."""
        reader = await self.expect(request.command, request.ioid)
        assert messages.read_reply(reader) == (request.ioid, sub)
        status = reader.status()
        if not status.success or not reader.remaining:
            return status, None
        if request.command is Command.RPC:
            return status, messages.read_full(reader)[1]
        return status, self._partial(reader, request)

    def _partial(self, reader: Reader, request: Request) -> Value:
        field = request.field
        assert field is not None
        slots = field.layout.defaults.copy()
        slots[0] = codec_for(field, reader.order).read_partial(reader, slots)
        return Value._make(Type._of(field), slots)

    async def destroy(self, request: Request) -> None:
        messages.write_destroy_request(self.out, self.order, request.sid, request.ioid)
        await self.flush()

    async def cancel(self, request: Request) -> None:
        messages.write_cancel_request(self.out, self.order, request.sid, request.ioid)
        await self.flush()

    async def destroy_channel(self, name: str) -> None:
        sid = self.sids.pop(name)
        messages.write_destroy_channel(self.out, self.order, False, sid, 1)
        await self.flush()

    # ---- whole operations

    async def get(self, name: str, request: str = "") -> Value:
        asked = await self.init(Command.GET, name, request)
        return await self._whole(asked, None)

    async def put(self, name: str, value: Any, request: str = "") -> None:
        """Put a dict of fields, or something into the field "value". RemoteError if it was refused."""
        asked = await self.init(Command.PUT, name, request)
        await self._whole(asked, value if isinstance(value, dict) else {"value": value})

    async def start_put(self, name: str, value: Any) -> Request:
        """Begin a put, and do not wait for its answer."""
        asked = await self.init(Command.PUT, name)
        await self.exec(asked, {"value": value})
        return asked

    async def rpc(self, name: str, argument: Value | None = None) -> Any:
        return await self._whole(await self.init(Command.RPC, name), argument)

    async def _whole(self, asked: Request, value: Any) -> Any:
        await self.exec(asked, value)
        status, found = await self.answer(asked)
        await self.destroy(asked)
        if not status.success:
            raise RemoteError(status.message)
        return found

    async def monitor(self, name: str, request: str = "", nfree: int | None = None) -> Request:
        """A started subscription."""
        asked = await self.init(Command.MONITOR, name, request, nfree)
        await self.start(asked)
        return asked

    async def start(self, monitor: Request) -> None:
        await self.exec(monitor, sub=START)

    async def stop(self, monitor: Request) -> None:
        await self.exec(monitor, sub=STOP)

    async def ack(self, monitor: Request, n: int) -> None:
        messages.write_ack(self.out, self.order, monitor.sid, monitor.ioid, n)
        await self.flush()

    async def end(self, monitor: Request) -> None:
        await self.exec(monitor, sub=DESTROY)

    async def update(self, monitor: Request) -> Update:
        """The next update of a subscription."""
        return self.as_update(await self.expect(Command.MONITOR, monitor.ioid), monitor)

    def as_update(self, reader: Reader, monitor: Request) -> Update:
        assert messages.read_reply(reader) == (monitor.ioid, 0)
        assert monitor.field is not None
        value = self._partial(reader, monitor)
        layout = monitor.field.layout
        overrun = reader.bitset(len(layout))
        assert not reader.remaining
        return Update(value, {layout.paths[n] for n in range(len(layout)) if overrun >> n & 1})

    async def updates(self, monitor: Request, seconds: float = 0.5) -> list[Update]:
        """All updates that have come and come within these seconds."""
        found = [message for message in await self.quiet(seconds) if message.command is Command.MONITOR]
        return [self.as_update(self.reader(message), monitor) for message in found]


def port_of(server: Any) -> int:
    return server if isinstance(server, int) else int(server.conf()["EPICS_PVA_SERVER_PORT"])


async def _main(port: str, name: str) -> None:
    client = await WireClient.connect(SystemNetwork(), int(port))
    await client.start_put(name, 1.0)
    print("sent", flush=True)
    await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(_main, *sys.argv[1:])

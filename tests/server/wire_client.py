"""A client that says exactly what a test wants, message by message, over any `Transport`.

It is half a client: no channel of its own comes back, nothing is sent unasked. What the server sends waits in
`inbox` until it is expected; every wait has a time limit (virtual under a MockClock).

    client = await WireClient.connect(network, server)
    value = await client.get("pv")
    request = await client.init(Command.PUT, "pv")
    await client.exec(request, {"value": 5.0})
    status, _ = await client.answer(request)

Run as a program it is a client that can be killed: `python -m tests.server.wire_client PORT NAME` starts a put,
prints "sent" and waits for ever.
"""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

import trio

from p4p_trio import RemoteError, Type, Value
from p4p_trio.data import Field, parse_request
from p4p_trio.net import SystemNetwork, Transport
from p4p_trio.wire import LITTLE, Command, Order, Reader, Status, messages
from p4p_trio.wire.codec import codec_for
from p4p_trio.wire.commands import DESTROY, INIT, PIPELINE, START, STOP
from tests.server.wire_connection import LIMITS, Message, WireConnection, port_of

__all__ = ["LIMITS", "Message", "Request", "Update", "WireClient", "port_of"]


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


class WireClient(WireConnection):
    """A connection with channels and requests.

    Attributes:
        sids: the channels by name.
    """

    def __init__(self, transport: Transport, order: Order = LITTLE) -> None:
        super().__init__(transport, order)
        self.sids: dict[str, int] = {}
        self._ids = 100

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


async def _main(port: str, name: str) -> None:
    client = await WireClient.connect(SystemNetwork(), int(port))
    await client.start_put(name, 1.0)
    print("sent", flush=True)
    await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(_main, *sys.argv[1:])

"""One TCP connection to a server, as far as bytes, messages and the login; `wire_client` builds on it."""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import Any, NamedTuple, Self

import trio

from p4p_trio import Limits, Type, Value
from p4p_trio.data import Field
from p4p_trio.net import Network, Transport
from p4p_trio.wire import LITTLE, Buffers, Command, Control, Framer, Order, Reader, TypeCache, messages

__all__ = ["LIMITS", "WAIT", "Message", "WireConnection", "port_of"]

LIMITS = Limits(max_message=None)
WAIT = 5.0
"""Seconds after which an expected message counts as never sent."""


class Message(NamedTuple):
    """One message of the server: an application command, or a control command and its value."""

    command: Command | Control
    payload: bytes
    order: Order


class WireConnection:
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
        self._types = TypeCache(LIMITS)
        dispatch = [partial(self._message, Command(n)) if n in list(Command) else None for n in range(256)]
        self._framer = Framer(from_server=True, max_message=None, dispatch=dispatch, control=self._on_control)

    @classmethod
    async def connect(
        cls, network: Network, server: Any, *, account: str = "", order: Order = LITTLE, host: str = "127.0.0.1"
    ) -> Self:
        """Connect and log in: as *account*, or as nobody. *server* is a Server or a port."""
        client = await cls.dial(network, server, order=order, host=host)
        await client.login(account)
        return client

    @classmethod
    async def dial(cls, network: Network, server: Any, *, order: Order = LITTLE, host: str = "127.0.0.1") -> Self:
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


def port_of(server: Any) -> int:
    return server if isinstance(server, int) else int(server.conf()["EPICS_PVA_SERVER_PORT"])

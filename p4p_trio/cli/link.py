"""One connection to a server, taken as far as it goes, one step after the other.

`Context` does all of this at once and tries again when it fails. Here each step is taken once, and tells how it went.
"""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from p4p_trio.config import Limits
from p4p_trio.errors import Disconnected, RemoteError
from p4p_trio.net import Network, Transport
from p4p_trio.protocol.client_channel import ClientChannel
from p4p_trio.protocol.client_connection import ClientConnection
from p4p_trio.wire import Status
from p4p_trio.wire.messages import SearchResponse

__all__ = ["Address", "Link", "reason"]

Address = tuple[str, int]


class Link:
    """One connection to a server, taken step by step by one task.

    Attributes:
        connection: the client's half of the protocol.
        answered: what is called with answers to searches.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        user = ""
        with suppress(OSError, KeyError, ImportError):
            user = getpass.getuser()
        self.connection = ClientConnection(self, Limits(), user=user, hostname=socket.gethostname())
        self.answered: Callable[[SearchResponse], None] = _ignore
        self._transport: Transport | None = None
        self._login: Status | None = None
        self._created = False
        self._refusal: str | None = None

    # ---- the steps

    async def connect(self, network: Network) -> None:
        """Connect.

        Raises:
            OSError: nobody is there.
        """
        self._transport = await network.connect(*self.address)

    async def login(self) -> Status:
        """What the server says to our login.

        Raises:
            Disconnected, ProtocolError, trio.BrokenResourceError: there will be no answer.
        """
        await self._until(lambda: self._login is not None)
        assert self._login is not None
        return self._login

    async def create(self, name: str) -> None:
        """Create the channel.

        Raises:
            RemoteError: the server refuses. Else as `login`.
        """
        self.connection.create_channel(name)
        await self._until(lambda: self._created or self._refusal is not None)
        if self._refusal is not None:
            raise RemoteError(self._refusal)

    async def listen(self) -> None:
        """Hear what the server has to say, for ever. Raises as `login`."""
        await self._until(lambda: False)

    def close(self) -> None:
        """End it. May be repeated."""
        if self._transport is not None:
            self._transport.abort()
        self.connection.lost()

    async def _until(self, done: Callable[[], bool]) -> None:
        framer = self.connection.framer
        transport = self._transport
        assert transport is not None
        while not done():
            await self._flush(transport)
            target = framer.target()
            data = await transport.receive(target)
            if not data:
                raise Disconnected("the server closed the connection")
            if target is None:
                more = self.connection.feed(data)
            else:
                size = len(data)
                del data, target  # views of the framer's buffer, which could not grow under them
                more = framer.received(size, 64)
            while more:
                more = self.connection.feed(b"")
        await self._flush(transport)

    async def _flush(self, transport: Transport) -> None:
        output = self.connection.output
        if output.size:
            output.sent(transport.send_now(output.waiting()))
        if output.size:
            rest = output.waiting()
            await transport.send_rest(rest)
            output.sent(sum(map(len, rest)))

    # ---- what the protocol machine tells

    def validated(self, status: Status) -> None:
        self._login = status

    def channel_created(self, channel: ClientChannel) -> None:
        self._created = True

    def channel_refused(self, channel: ClientChannel, status: Status) -> None:
        self._refusal = status.message or "without a reason"

    def channel_lost(self, channel: ClientChannel) -> None:
        self._refusal = "it closed the channel at once"

    def search_response(self, response: SearchResponse) -> None:
        self.answered(response)

    def init_done(self, request: Any) -> None:
        pass

    def init_failed(self, request: Any, status: Status) -> None:
        pass

    def reply(self, request: Any, status: Status, value: Any) -> None:
        pass

    def update(self, monitor: Any) -> None:
        pass

    def finished(self, monitor: Any, status: Status) -> None:
        pass

    def request_lost(self, request: Any) -> None:
        pass

    def message(self, request: Any, severity: int, text: str) -> None:
        pass

    def dirty(self) -> None:
        pass


def _ignore(answer: SearchResponse) -> None:
    """Nobody asked."""


def reason(exc: BaseException) -> str:
    """Why a step failed, in the system's words."""
    cause = exc.__cause__ or exc
    if isinstance(cause, OSError) and cause.errno is not None and cause.errno > 0:
        return os.strerror(cause.errno)  # trio adds an address that every text here has already
    return str(cause)

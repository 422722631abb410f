"""A client whose server is the test: literal bytes in, literal bytes out."""

from __future__ import annotations

from typing import Any

from p4p_trio.config import Limits
from p4p_trio.data import Type, parse_request
from p4p_trio.protocol.client_channel import ClientChannel
from p4p_trio.protocol.client_connection import ClientConnection
from p4p_trio.protocol.client_request import ClientRequest
from p4p_trio.wire import LITTLE, Order
from tests.protocol.link import LIMITS, Listener, Told, drain, raw

ASKED = """
    CA 02 40 01 14000000 00000100 FF7F 02 09 616E6F6E796D6F7573 02 6361   # "anonymous", "ca"
"""
LOGIN = "CA 02 41 02 00000000                                    # SET_BYTE_ORDER: little" + ASKED
VALIDATED = "CA 02 40 09 01000000 FF"
CREATED = "CA 02 40 07 09000000 01000000 05000000 FF            # cid 1, sid 5, OK"
SID = "05000000"
TYPE = "80 00 02  01 76 43  01 73 60                            # structure { double v; string s }"
PAIR = Type([("v", "d"), ("s", "s")])


class Wire:
    """A client whose server is the test: says what the server says, in hex, and shows what was answered."""

    def __init__(self, login: str = LOGIN + VALIDATED, limits: Limits = LIMITS, user: str = "operator") -> None:
        self.listener = Listener()
        self.client = ClientConnection(self.listener, limits, user=user, hostname="vm")
        self.hear(login)
        self.listener.told.clear()

    def hear(self, text: str) -> list[Told]:
        """The server says this; what the caller was told."""
        self.listener.told.clear()
        self.client.feed(raw(text))
        return list(self.listener.told)

    def reply(self, command: int, payload: str, order: Order = LITTLE) -> list[Told]:
        """The server sends one message with this payload."""
        body = raw(payload)
        self.listener.told.clear()
        self.client.feed(order.header.pack(0xCA, 2, order.server, command, len(body)) + body)
        return list(self.listener.told)

    def said(self) -> bytes:
        return drain(self.client.output)

    def channel(self) -> ClientChannel:
        channel = self.client.create_channel("x")
        self.hear(CREATED)
        self.said()
        return channel


INITED = {0x0A: TYPE, 0x0B: TYPE, 0x0C: TYPE + "\n" + TYPE, 0x0D: TYPE, 0x10: "", 0x14: ""}
VERBS = {0x0A: "get", 0x0B: "put", 0x0C: "put_get", 0x10: "process", 0x14: "rpc"}


def idle(wire: Wire, command: int) -> ClientRequest:
    request: ClientRequest = getattr(wire.channel(), VERBS[command])()
    assert wire.reply(command, f"01000000 08 FF {INITED[command]}") == [("init_done", 1)]
    wire.said()
    return request


def opened(wire: Wire, request: str = "") -> Any:
    monitor = wire.channel().monitor(parse_request(request))
    wire.reply(0x0D, f"01000000 08 FF {TYPE}")
    return monitor

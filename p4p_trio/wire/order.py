"""The two byte orders, each with the `struct.Struct`s that messages are made of.

Every message says in bit 7 of its flags which order it uses, and a peer may mix them, so an `Order`
travels with each message instead of being a property of the connection.
"""

from __future__ import annotations

import sys
from struct import Struct
from typing import Final

__all__ = ["BIG", "FORMATS", "FROM_SERVER", "LITTLE", "MAGIC", "NATIVE", "VERSION", "Order"]

MAGIC: Final = 0xCA
# What we announce; any version from 1 on is accepted (core-pva sends 3).
VERSION: Final = 2
FROM_SERVER: Final = 0x40

# p4p's scalar codes in struct's letters; all others are the same letter in both.
FORMATS: Final = {code: {"l": "q", "L": "Q"}.get(code, code) for code in "?bBhHiIlLfd"}


class Order:
    """One byte order. There are exactly two instances, `LITTLE` and `BIG`; compare them with `is`.

    Attributes:
        name: "little" or "big", as `int.from_bytes` wants it.
        prefix: "<" or ">", as `struct` and numpy want it.
        flag: what this order adds to the flags of a message header: 0x00 or 0x80.
        client: the flags of a whole application message from a client.
        server: the same from a server.
        swapped: whether this is not the order of this machine.
        header: magic, version, flags, command, u32.
        reply: a header, then ioid and sub-command.
        reply_ok: the same followed by the status byte FF.
        request: a header, then sid, ioid and sub-command.
        scalars: p4p's scalar code -> Struct of one such number.
    """

    __slots__ = (
        "client",
        "flag",
        "header",
        "ids",
        "name",
        "prefix",
        "reply",
        "reply_ok",
        "request",
        "scalars",
        "server",
        "swapped",
        "u16",
        "u32",
        "u64",
    )

    def __init__(self, name: str, prefix: str, flag: int) -> None:
        self.name = name
        self.prefix = prefix
        self.flag = flag
        self.client = flag
        self.server = flag | FROM_SERVER
        self.swapped = name != sys.byteorder
        self.u16 = Struct(prefix + "H")
        self.u32 = Struct(prefix + "I")
        self.u64 = Struct(prefix + "Q")
        self.ids = Struct(prefix + "II")
        self.header = Struct(prefix + "BBBBI")
        self.reply = Struct(prefix + "BBBBIIB")
        self.reply_ok = Struct(prefix + "BBBBIIBB")
        self.request = Struct(prefix + "BBBBIIIB")
        self.scalars = {code: Struct(prefix + letter) for code, letter in FORMATS.items()}

    def flags(self, server: bool) -> int:
        """The header flags of a whole application message that a server (or else a client) sends."""
        return self.server if server else self.client

    @staticmethod
    def of_flags(flags: int) -> Order:
        """The order in which the message with these header flags is written."""
        return BIG if flags & 0x80 else LITTLE

    def __repr__(self) -> str:
        return self.name.upper()

    def __reduce__(self) -> str:
        return self.name.upper()


LITTLE: Final = Order("little", "<", 0x00)
BIG: Final = Order("big", ">", 0x80)
NATIVE: Final = LITTLE if sys.byteorder == "little" else BIG

"""The numbers of the protocol: commands, header flags, sub-commands, search flags.

Source: epics-docs "pvAccess Protocol Messages"; sub-commands as pvxs and pvAccessCPP use them.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from p4p_trio.wire.order import FROM_SERVER

__all__ = [
    "ACK",
    "CONTROL",
    "DESTROY",
    "FROM_SERVER",
    "GET",
    "GET_PUT",
    "INIT",
    "NO_ID",
    "PIPELINE",
    "PROCESS",
    "SEARCH_MUST_REPLY",
    "SEARCH_SOURCE_PORT",
    "SEARCH_UNICAST",
    "SEGMENT",
    "SEGMENT_FIRST",
    "SEGMENT_LAST",
    "SEGMENT_MIDDLE",
    "START",
    "STOP",
    "Command",
    "Control",
]


class Command(IntEnum):
    """Application messages."""

    BEACON = 0x00
    CONNECTION_VALIDATION = 0x01
    ECHO = 0x02
    SEARCH = 0x03
    SEARCH_RESPONSE = 0x04
    AUTHNZ = 0x05
    ACL_CHANGE = 0x06
    CREATE_CHANNEL = 0x07
    DESTROY_CHANNEL = 0x08
    CONNECTION_VALIDATED = 0x09
    GET = 0x0A
    PUT = 0x0B
    PUT_GET = 0x0C
    MONITOR = 0x0D
    ARRAY = 0x0E
    DESTROY_REQUEST = 0x0F
    PROCESS = 0x10
    GET_FIELD = 0x11
    MESSAGE = 0x12
    MULTIPLE_DATA = 0x13
    RPC = 0x14
    CANCEL_REQUEST = 0x15
    ORIGIN_TAG = 0x16


class Control(IntEnum):
    """Control messages: a header whose u32 is a value, and no payload."""

    SET_MARKER = 0
    ACK_MARKER = 1
    SET_BYTE_ORDER = 2
    ECHO_REQUEST = 3
    ECHO_RESPONSE = 4


# Header flags (0x40, from a server, and 0x80, big endian, belong to Order).
CONTROL: Final = 0x01
SEGMENT: Final = 0x30
SEGMENT_FIRST: Final = 0x10
SEGMENT_LAST: Final = 0x20
SEGMENT_MIDDLE: Final = 0x30

# Bits of the sub-command byte of operations. What 0x40, 0x80 and 0x04 mean depends on the command.
INIT: Final = 0x08
DESTROY: Final = 0x10
GET: Final = 0x40
"""PUT and PUT_GET: read, do not write."""
GET_PUT: Final = 0x80
"""PUT_GET: read the put structure."""
PROCESS: Final = 0x04
PIPELINE: Final = 0x80
"""MONITOR INIT: a window size follows the pvRequest."""
ACK: Final = 0x80
"""MONITOR: a number that is added to the window follows."""
START: Final = 0x44
STOP: Final = 0x04

SEARCH_MUST_REPLY: Final = 0x01
SEARCH_SOURCE_PORT: Final = 0x02
"""core-pva, version 3: reply to the port that the datagram came from."""
SEARCH_UNICAST: Final = 0x80

# What stands in place of a sid in the refusal of a channel.
NO_ID: Final = 0xFFFFFFFF

"""Messages about the connection itself: byte order, validation, echo, remarks.

Source: wire.md of the protocol ("TCP connection life cycle"); pvxs src/serverconn.cpp, src/clientconn.cpp.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from p4p_trio.data.field import Field
from p4p_trio.wire.buffers import Buffers
from p4p_trio.wire.commands import CONTROL, Command, Control
from p4p_trio.wire.interpret import read_typed, write_typed
from p4p_trio.wire.messages.header import finish, whole
from p4p_trio.wire.order import MAGIC, VERSION, Order
from p4p_trio.wire.reader import Reader
from p4p_trio.wire.status import Status, write_status
from p4p_trio.wire.text import write_size, write_string

__all__ = [
    "ValidationReply",
    "ValidationRequest",
    "read_authnz",
    "read_echo",
    "read_message",
    "read_validated",
    "read_validation_reply",
    "read_validation_request",
    "write_authnz",
    "write_control",
    "write_echo",
    "write_message",
    "write_set_byte_order",
    "write_validated",
    "write_validation_reply",
    "write_validation_request",
]


class ValidationRequest(NamedTuple):
    """What a server offers; *methods* in the order of increasing preference."""

    buffer_size: int
    registry_size: int
    methods: tuple[str, ...]


class ValidationReply(NamedTuple):
    """What a client chooses, and the credentials that the method wants (a value of *field*)."""

    buffer_size: int
    registry_size: int
    qos: int
    method: str
    field: Field | None
    item: Any


def write_control(out: Buffers, order: Order, server: bool, command: Control, value: int) -> None:
    """A control message: a header whose u32 is *value*."""
    out.tail += order.header.pack(MAGIC, VERSION, order.flags(server) | CONTROL, command, value)


def write_set_byte_order(out: Buffers, order: Order, server: bool) -> None:
    """From now on *order*: the first thing that a server sends. Nobody looks at the value."""
    write_control(out, order, server, Control.SET_BYTE_ORDER, 0)


def write_validation_request(
    out: Buffers, order: Order, buffer_size: int, registry_size: int, methods: Sequence[str]
) -> None:
    """Server: who are you? *methods* in the order of increasing preference."""
    payload = bytearray(order.u32.pack(buffer_size) + order.u16.pack(registry_size))
    write_size(payload, order, len(methods))
    for method in methods:
        write_string(payload, order, method)
    whole(out, order, order.server, Command.CONNECTION_VALIDATION, payload)


def read_validation_request(reader: Reader) -> ValidationRequest:
    """Client's side of `write_validation_request`."""
    return ValidationRequest(reader.u32(), reader.u16(), reader.strings())


def write_validation_reply(
    out: Buffers,
    order: Order,
    buffer_size: int,
    registry_size: int,
    qos: int,
    method: str,
    field: Field | None,
    item: Any,
) -> None:
    """Client: this is who I am. *field* None for a method without credentials."""
    tail, place, closed = out.tail, len(out.tail), out.closed
    tail += order.header.pack(MAGIC, VERSION, order.client, Command.CONNECTION_VALIDATION, 0)
    out.tail += order.u32.pack(buffer_size) + order.u16.pack(registry_size) + order.u16.pack(qos)
    write_string(out.tail, order, method)
    write_typed(out, order, field, item)
    finish(out, order, tail, place, closed)


def read_validation_reply(reader: Reader) -> ValidationReply:
    """Server's side of `write_validation_reply`. A message that ends after the method has no credentials."""
    buffer_size, registry_size, qos = reader.u32(), reader.u16(), reader.u16()
    method = reader.string()
    # pvAccessCPP tolerates that even the null type is missing.
    field, item = read_typed(reader) if reader.remaining else (None, None)
    return ValidationReply(buffer_size, registry_size, qos, method, field, item)


def write_validated(out: Buffers, order: Order, status: Status) -> None:
    """Server: come in, or why not."""
    payload = bytearray()
    write_status(payload, order, status)
    whole(out, order, order.server, Command.CONNECTION_VALIDATED, payload)


def read_validated(reader: Reader) -> Status:
    """Client's side of `write_validated`."""
    return reader.status()


def write_echo(out: Buffers, order: Order, server: bool, payload: bytes | memoryview) -> None:
    """Client: are you there? Server: the same payload, yes."""
    whole(out, order, order.flags(server), Command.ECHO, bytes(payload))


def read_echo(reader: Reader) -> bytes:
    """The payload."""
    return reader.take(reader.remaining)


def write_message(out: Buffers, order: Order, server: bool, ioid: int, severity: int, text: str) -> None:
    """A remark about a request, to be logged: severity 0 info, 1 warning, 2 error, 3 fatal."""
    payload = bytearray(order.u32.pack(ioid))
    payload.append(severity)
    write_string(payload, order, text)
    whole(out, order, order.flags(server), Command.MESSAGE, payload)


def read_message(reader: Reader) -> tuple[int, int, str]:
    """ioid, severity, text."""
    return reader.u32(), reader.u8(), reader.string()


def write_authnz(out: Buffers, order: Order, server: bool, field: Field | None, item: Any) -> None:
    """A further step of a login that needs several; no known method does."""
    tail, place, closed = out.tail, len(out.tail), out.closed
    tail += order.header.pack(MAGIC, VERSION, order.flags(server), Command.AUTHNZ, 0)
    write_typed(out, order, field, item)
    finish(out, order, tail, place, closed)


def read_authnz(reader: Reader) -> tuple[Field | None, Any]:
    """A type and a value."""
    return read_typed(reader)

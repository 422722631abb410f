"""Messages of operations: GET, PUT, PUT_GET, MONITOR, PROCESS, RPC and GET_FIELD.

A request begins with sid, ioid and a sub-command (`read_request`), a reply with ioid and the same
sub-command (`read_reply`); what follows depends on both, so it is read by a function of its own:

    command   INIT            INIT reply       EXEC                        EXEC reply
    GET       read_init       read_init_reply  -                           status, codec.read_partial
    PUT       read_init       read_init_reply  codec.read_partial, 40: -   status, 40: codec.read_partial
    PUT_GET   read_init       read_init_reply  as PUT                      status, codec.read_partial
    MONITOR   read_init       read_init_reply  read_monitor                read_update, 10: read_finish
    RPC       read_init       read_init_reply  read_full                   status, read_full
    PROCESS   read_init       read_init_reply  -                           status

Nothing follows a status that is no success.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from p4p_trio.data.field import Field
from p4p_trio.wire.bitset import bitset_bytes
from p4p_trio.wire.buffers import Buffers
from p4p_trio.wire.codec import Codec, codec_for
from p4p_trio.wire.commands import ACK, DESTROY, PIPELINE, Command
from p4p_trio.wire.interpret import read_typed, write_typed
from p4p_trio.wire.messages.header import finish, whole
from p4p_trio.wire.order import MAGIC, VERSION, Order
from p4p_trio.wire.reader import Reader
from p4p_trio.wire.status import OK, Status, write_status
from p4p_trio.wire.text import string_bytes
from p4p_trio.wire.typedesc import read_type, type_bytes, write_type

__all__ = [
    "Init",
    "read_field_reply",
    "read_finish",
    "read_full",
    "read_get_field",
    "read_init",
    "read_init_reply",
    "read_monitor",
    "read_reply",
    "read_request",
    "read_request_ids",
    "read_update",
    "write_ack",
    "write_cancel_request",
    "write_destroy_request",
    "write_field_reply",
    "write_finish",
    "write_full_reply",
    "write_full_request",
    "write_get_field",
    "write_init",
    "write_init_reply",
    "write_partial_reply",
    "write_partial_request",
    "write_simple",
    "write_status_reply",
    "write_update",
]

# A member of an enum is ten times slower to get at.
_MONITOR: Final = int(Command.MONITOR)

# How many types a successful INIT reply carries.
_TYPES: Final = {Command.GET: 1, Command.PUT: 1, Command.PUT_GET: 2, Command.MONITOR: 1, Command.ARRAY: 1}


class Init(NamedTuple):
    """A pvRequest (a value of *field*), and the window of a pipelined MONITOR."""

    field: Field | None
    item: Any
    nfree: int | None


# The client's half.


def write_init(
    out: Buffers,
    order: Order,
    command: Command,
    sid: int,
    ioid: int,
    sub: int,
    field: Field | None,
    item: Any,
    nfree: int | None = None,
) -> None:
    """Begin a request, with its pvRequest. Always give one: the null type crashes pvAccessCPP servers."""
    tail, place, closed = out.tail, len(out.tail), out.closed
    tail += order.request.pack(MAGIC, VERSION, order.client, command, 0, sid, ioid, sub)
    write_typed(out, order, field, item)
    if nfree is not None:
        out.tail += order.u32.pack(nfree)
    finish(out, order, tail, place, closed)


def write_simple(out: Buffers, order: Order, command: Command, sid: int, ioid: int, sub: int) -> None:
    """A request that is only its sub-command: execute a GET or PROCESS, read for a PUT, start or stop a MONITOR."""
    out.tail += order.request.pack(MAGIC, VERSION, order.client, command, 9, sid, ioid, sub)


def write_partial_request(
    out: Buffers,
    order: Order,
    command: Command,
    sid: int,
    ioid: int,
    sub: int,
    codec: Codec,
    slots: list[Any],
    mask: int,
) -> None:
    """Execute a PUT or PUT_GET with the fields in *mask*."""
    tail, place, closed = out.tail, len(out.tail), out.closed
    tail += order.request.pack(MAGIC, VERSION, order.client, command, 0, sid, ioid, sub)
    codec.write_partial(out, slots, mask)
    finish(out, order, tail, place, closed)


def write_full_request(
    out: Buffers,
    order: Order,
    command: Command,
    sid: int,
    ioid: int,
    sub: int,
    field: Field | None,
    item: Any,
) -> None:
    """Execute an RPC with an argument of any type."""
    tail, place, closed = out.tail, len(out.tail), out.closed
    tail += order.request.pack(MAGIC, VERSION, order.client, command, 0, sid, ioid, sub)
    _write_full(out, order, field, item)
    finish(out, order, tail, place, closed)


def write_ack(out: Buffers, order: Order, sid: int, ioid: int, nfree: int) -> None:
    """MONITOR: *nfree* more updates can be taken. Always alone: pvAccessCPP servers ignore what is combined with it."""
    out.tail += order.request.pack(MAGIC, VERSION, order.client, Command.MONITOR, 13, sid, ioid, ACK)
    out.tail += order.u32.pack(nfree)


def write_get_field(out: Buffers, order: Order, sid: int, ioid: int, subfield: str) -> None:
    """What type is it? *subfield* is a dotted path, "" for the whole."""
    payload = order.ids.pack(sid, ioid) + string_bytes(order, subfield)
    whole(out, order, order.client, Command.GET_FIELD, payload)


def write_destroy_request(out: Buffers, order: Order, sid: int, ioid: int) -> None:
    """Forget a request. There is no answer."""
    out.tail += order.header.pack(MAGIC, VERSION, order.client, Command.DESTROY_REQUEST, 8) + order.ids.pack(sid, ioid)


def write_cancel_request(out: Buffers, order: Order, sid: int, ioid: int) -> None:
    """Stop executing a request. There is no answer."""
    out.tail += order.header.pack(MAGIC, VERSION, order.client, Command.CANCEL_REQUEST, 8) + order.ids.pack(sid, ioid)


def read_request(reader: Reader) -> tuple[int, int, int]:
    """sid, ioid and sub-command: how all requests but GET_FIELD begin."""
    sid, ioid = reader.unpack(reader.order.ids)
    return sid, ioid, reader.u8()


def read_init(reader: Reader, command: Command, sub: int) -> Init:
    """The rest of an INIT."""
    field, item = read_typed(reader)
    return Init(field, item, reader.u32() if command == Command.MONITOR and sub & PIPELINE else None)


def read_monitor(reader: Reader, sub: int) -> int | None:
    """The rest of a MONITOR request that is no INIT: what to add to the window, None without ACK."""
    return reader.u32() if sub & ACK else None


def read_full(reader: Reader) -> tuple[Field | None, Any]:
    """The argument or the result of an RPC: a type and a value of it."""
    field = read_type(reader)
    return field, None if field is None else codec_for(field, reader.order).read_full(reader)


def read_get_field(reader: Reader) -> tuple[int, int, str]:
    """sid, ioid, subfield."""
    sid, ioid = reader.unpack(reader.order.ids)
    return sid, ioid, reader.string()


def read_request_ids(reader: Reader) -> tuple[int, int]:
    """sid, ioid: all there is in DESTROY_REQUEST and CANCEL_REQUEST."""
    sid, ioid = reader.unpack(reader.order.ids)
    return sid, ioid


# The server's half.


def write_init_reply(
    out: Buffers, order: Order, command: Command, ioid: int, sub: int, status: Status, *fields: Field
) -> None:
    """The request exists, with these types; or it does not. For a MONITOR *sub* is always 08, even if 88 was asked."""
    payload = bytearray(order.u32.pack(ioid))
    payload.append(sub)
    write_status(payload, order, status)
    for field in fields:
        payload += type_bytes(field, order)
    whole(out, order, order.server, command, payload)


def write_status_reply(out: Buffers, order: Order, command: Command, ioid: int, sub: int, status: Status) -> None:
    """A reply that is only a status. *sub* is the request's: pvxs clients disconnect at any other."""
    if status is OK:
        out.tail += order.reply_ok.pack(MAGIC, VERSION, order.server, command, 6, ioid, sub, 0xFF)
    else:
        write_init_reply(out, order, command, ioid, sub, status)


def write_partial_reply(
    out: Buffers, order: Order, command: Command, ioid: int, sub: int, codec: Codec, slots: list[Any], mask: int
) -> None:
    """OK, and the fields in *mask*: the reply of GET, of PUT's read and of PUT_GET."""
    tail, place, closed = out.tail, len(out.tail), out.closed
    tail += order.reply_ok.pack(MAGIC, VERSION, order.server, command, 0, ioid, sub, 0xFF)
    codec.write_partial(out, slots, mask)
    finish(out, order, tail, place, closed)


def write_full_reply(
    out: Buffers, order: Order, command: Command, ioid: int, sub: int, field: Field | None, item: Any
) -> None:
    """OK, and the result of an RPC."""
    tail, place, closed = out.tail, len(out.tail), out.closed
    tail += order.reply_ok.pack(MAGIC, VERSION, order.server, command, 0, ioid, sub, 0xFF)
    _write_full(out, order, field, item)
    finish(out, order, tail, place, closed)


def write_update(
    out: Buffers, order: Order, ioid: int, codec: Codec, slots: list[Any], mask: int, overrun: int
) -> None:
    """An update of a MONITOR: what changed, and what of it changed more than once since the last update."""
    tail, place, closed = out.tail, len(out.tail), out.closed
    tail += order.reply.pack(MAGIC, VERSION, order.server, _MONITOR, 0, ioid, 0)
    codec.write_partial(out, slots, mask)
    out.tail += bitset_bytes(order, overrun) if overrun else b"\0"
    finish(out, order, tail, place, closed)


def write_finish(out: Buffers, order: Order, ioid: int, status: Status) -> None:
    """No more updates will come; the ioid is free."""
    write_status_reply(out, order, Command.MONITOR, ioid, DESTROY, status)


def write_field_reply(out: Buffers, order: Order, ioid: int, status: Status, field: Field | None = None) -> None:
    """The answer to GET_FIELD; *field* if the status is a success."""
    payload = bytearray(order.u32.pack(ioid))
    write_status(payload, order, status)
    if status.success:
        write_type(payload, order, field)
    whole(out, order, order.server, Command.GET_FIELD, payload)


def read_reply(reader: Reader) -> tuple[int, int]:
    """ioid and sub-command: how all replies but GET_FIELD's begin."""
    return reader.u32(), reader.u8()


def read_init_reply(reader: Reader, command: Command) -> tuple[Status, tuple[Field | None, ...]]:
    """The rest of an INIT reply: as many types as the command has, none after a failure."""
    status = reader.status()
    count = _TYPES.get(command, 0) if status.success else 0
    return status, tuple(read_type(reader) for _ in range(count))


def read_update(reader: Reader, codec: Codec, slots: list[Any]) -> tuple[int, int]:
    """The rest of an update, into *slots*: the leaves that it carries, and the overrun mask as it was sent."""
    mask = codec.read_partial(reader, slots)
    return mask, reader.bitset(len(codec.field.layout))


def read_finish(reader: Reader, codec: Codec, slots: list[Any]) -> tuple[Status, tuple[int, int] | None]:
    """The rest of a finish: a status and, if there is more, a last update into *slots* (see `read_update`)."""
    status = reader.status()
    return status, read_update(reader, codec, slots) if status.success and reader.remaining else None


def read_field_reply(reader: Reader) -> tuple[int, Status, Field | None]:
    """ioid, status, type."""
    ioid, status = reader.u32(), reader.status()
    return ioid, status, read_type(reader) if status.success else None


def _write_full(out: Buffers, order: Order, field: Field | None, item: Any) -> None:
    write_type(out.tail, order, field)
    if field is not None:
        codec_for(field, order).write_full(out, item)

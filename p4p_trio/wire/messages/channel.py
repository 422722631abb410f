"""Messages about channels: create, destroy, access rights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from p4p_trio.wire.buffers import Buffers
from p4p_trio.wire.commands import Command
from p4p_trio.wire.messages.header import whole
from p4p_trio.wire.order import MAGIC, VERSION, Order
from p4p_trio.wire.reader import Reader
from p4p_trio.wire.status import Status, write_status
from p4p_trio.wire.text import write_string

__all__ = [
    "ChannelCreated",
    "read_acl_change",
    "read_channel_created",
    "read_channels",
    "read_create_channel",
    "read_destroy_channel",
    "write_acl_change",
    "write_channel_created",
    "write_create_channel",
    "write_destroy_channel",
]


class ChannelCreated(NamedTuple):
    """The answer to one channel of a CREATE_CHANNEL."""

    cid: int
    sid: int
    status: Status


def write_create_channel(out: Buffers, order: Order, channels: Sequence[tuple[int, str]]) -> None:
    """Client: channels wanted, as cid and name. pvAccessCPP servers take one at a time only."""
    payload = bytearray(order.u16.pack(len(channels)))
    for cid, name in channels:
        payload += order.u32.pack(cid)
        write_string(payload, order, name)
    whole(out, order, order.client, Command.CREATE_CHANNEL, payload)


def read_create_channel(reader: Reader) -> list[tuple[int, str]]:
    """Server's side of `write_create_channel`."""
    return read_channels(reader)


def write_channel_created(out: Buffers, order: Order, cid: int, sid: int, status: Status) -> None:
    """Server: the channel has this sid (`NO_ID` when refused). The access rights of the specification do not exist."""
    payload = bytearray(order.ids.pack(cid, sid))
    write_status(payload, order, status)
    whole(out, order, order.server, Command.CREATE_CHANNEL, payload)


def read_channel_created(reader: Reader) -> ChannelCreated:
    """Client's side of `write_channel_created`."""
    cid, sid = reader.unpack(reader.order.ids)
    return ChannelCreated(cid, sid, reader.status())


def write_destroy_channel(out: Buffers, order: Order, server: bool, sid: int, cid: int) -> None:
    """Client: not wanted any more. Server: it is gone (as the answer, or unasked)."""
    out.tail += order.header.pack(MAGIC, VERSION, order.flags(server), Command.DESTROY_CHANNEL, 8)
    out.tail += order.ids.pack(sid, cid)


def read_destroy_channel(reader: Reader) -> tuple[int, int]:
    """sid, cid."""
    sid, cid = reader.unpack(reader.order.ids)
    return sid, cid


def write_acl_change(out: Buffers, order: Order, cid: int, rights: int) -> None:
    """Server: what the client may do: 1 put, 2 put-get, 4 RPC. Sent by core-pva only, before the channel's reply."""
    whole(out, order, order.server, Command.ACL_CHANGE, order.u32.pack(cid) + bytes((rights,)))


def read_acl_change(reader: Reader) -> tuple[int, int]:
    """cid, rights."""
    return reader.u32(), reader.u8()


def read_channels(reader: Reader) -> list[tuple[int, str]]:
    """A u16 count, then cid and name of each; also the end of a SEARCH."""
    at = reader.pos
    count = reader.u16()
    if count * 5 > reader.remaining:
        raise reader.error(f"{count} channels announced, only {reader.remaining} bytes left", at)
    reader.charge(3 * count)
    return [(reader.u32(), reader.string()) for _ in range(count)]

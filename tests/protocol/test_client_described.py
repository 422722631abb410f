"""Types that come again are known by their bytes, and never mistaken."""

from __future__ import annotations

import pytest

from p4p_trio.data import Type
from p4p_trio.errors import ProtocolError
from p4p_trio.wire import BIG
from tests.protocol.link import raw
from tests.protocol.literal import PAIR, TYPE, Wire

LONGER = "80 00 03 01 76 43 01 73 60 01 72 22"


def inited(wire: Wire, channel, ioid: int, rest: str, order=None):
    """A GET of which the INIT was answered so."""
    get = channel.get()
    args = () if order is None else (order,)
    ids = ioid.to_bytes(4, "little" if order is None else "big").hex()
    assert wire.reply(0x0A, f"{ids} 08 FF {rest}", *args) == [("init_done", ioid)]
    return get


def test_the_same_bytes_are_the_same_type(wire: Wire) -> None:
    channel = wire.channel()
    first, second = inited(wire, channel, 1, TYPE), inited(wire, channel, 2, TYPE)
    assert first.type == PAIR
    assert second.type is first.type
    assert inited(wire, channel, 3, TYPE, BIG).type is first.type


def test_another_type_is_another(wire: Wire) -> None:
    channel = wire.channel()
    inited(wire, channel, 1, TYPE)
    assert inited(wire, channel, 2, LONGER).type == Type([("v", "d"), ("s", "s"), ("r", "i")])
    assert inited(wire, channel, 3, TYPE).type == PAIR


def test_ids_are_looked_up_each_time(wire: Wire) -> None:
    channel = wire.channel()
    assert inited(wire, channel, 1, f"FD 0100 {TYPE}").type == PAIR
    assert inited(wire, channel, 2, "FE 0100").type == PAIR
    assert inited(wire, channel, 3, f"FD 0100 {LONGER}").type != PAIR
    assert inited(wire, channel, 4, "FE 0100").type != PAIR
    assert not wire.client.described


def test_few_are_remembered(wire: Wire) -> None:
    channel = wire.channel()
    for n in range(20):
        inited(wire, channel, n + 1, f"80 00 01 02 {0x61 + n:02X} 78 43")
    assert len(wire.client.described) == 4


def test_a_description_that_ends_early_is_an_error(wire: Wire) -> None:
    channel = wire.channel()
    inited(wire, channel, 1, TYPE)
    channel.get()
    with pytest.raises(ProtocolError):
        wire.reply(0x0A, "02000000 08 FF " + raw(TYPE)[:-1].hex())

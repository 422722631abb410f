"""However the bytes between the two machines are cut, they say the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p4p_trio.config import Limits
from p4p_trio.data import Type, Value
from p4p_trio.protocol.client_connection import ClientConnection, Host
from p4p_trio.wire import BIG, LITTLE, Command, Order
from tests.protocol.link import FakePV, Link, Told, fake, point


def conversation(link: Link) -> list[Told]:
    """Something of everything."""
    holder = fake(link)
    link.server.start()
    link.client.create_channel("missing")
    channel = link.client.create_channel("x")
    link.settle()
    get, put, rpc, monitor = channel.get(), channel.put(), channel.rpc(), channel.monitor()
    channel.get_field("alarm")
    link.client.search([(5, "x")])
    link.client.echo()
    link.settle()
    monitor.start()
    get.execute()
    put.execute(point(value=4.5, label="x" * 300))
    rpc.execute(point())
    link.settle()
    link.fake.operations[0].notice(2, "a remark")
    holder.post(value=4.5)
    for operation in link.fake.operations:
        if operation.command is Command.RPC:
            operation.answer(point())
        else:
            operation.acknowledge()
    holder.post(label="y" * 300)
    get.execute(last=True)
    link.settle()
    put.destroy()
    rpc.destroy()
    holder.pv.close()
    link.settle()
    return link.told


def big_conversation(cut: Any, order: Order, budget: int = 64) -> tuple[list[Told], bytes, bytes]:
    link = Link({"x": FakePV(point()), "missing": None}, order=order, cut=cut, budget=budget)
    told = conversation(link)
    return told, bytes(link.to_server), bytes(link.to_client)


WHOLE = {each: big_conversation(lambda data: [data], each) for each in (LITTLE, BIG)}


@pytest.mark.parametrize("budget", [1, 3])
def test_one_byte_at_a_time(order: Order, budget: int) -> None:
    assert big_conversation(lambda data: [data[n : n + 1] for n in range(len(data))], order, budget) == WHOLE[order]


def test_the_conversation_has_something_of_everything() -> None:
    said = {told[0] for told in WHOLE[LITTLE][0]}
    never = {"init_failed", "finished"}
    assert said == {name for name in vars(Host) if not name.startswith("_")} - {"dirty"} - never


def test_orders_say_the_same() -> None:
    assert WHOLE[LITTLE][0] == WHOLE[BIG][0]


@given(order=st.sampled_from([LITTLE, BIG]), budget=st.integers(1, 5), data=st.data())
def test_any_chunking_gives_the_same(order: Order, budget: int, data: st.DataObject) -> None:
    sizes = data.draw(st.lists(st.integers(1, 90), min_size=1, max_size=20))

    def cut(stream: bytes) -> list[bytes]:
        chunks, n = [], 0
        while stream:
            size = sizes[n % len(sizes)]
            chunks.append(stream[:size])
            stream = stream[size:]
            n += 1
        return chunks

    assert big_conversation(cut, order, budget) == WHOLE[order]


def test_large_arrays(order: Order) -> None:
    images = Type([("value", "ad"), ("id", "i")])
    pixels = np.arange(40_000.0)
    link = Link({"image": FakePV(Value(images, {"value": pixels, "id": 1}))}, order=order)
    link.login()
    link.listener.take = False
    channel = link.created("image")
    get, put, monitor = channel.get(), channel.put(), channel.monitor()
    link.settle()
    link.cut = lambda data: [data[n : n + 60_000] for n in range(0, len(data), 60_000)]
    monitor.start()
    link.settle()
    update = monitor.pop()
    assert update is not None
    assert np.array_equal(update[0].value, pixels)
    put.execute(Value(images, {"value": pixels * 2}))
    link.settle()
    assert np.array_equal(link.fake.operations[0].value.value, pixels * 2)
    replies: list[Any] = []
    link.listener.reply = lambda request, status, value: replies.append(value)  # type: ignore[method-assign]
    get.execute()
    link.settle()
    assert np.array_equal(replies[0].value, pixels)


def test_client_without_limits_takes_what_the_server_sends(order: Order) -> None:
    client = ClientConnection(Link().listener, Limits(max_message=None, max_message_prelogin=None))
    assert client.framer.max_message is None

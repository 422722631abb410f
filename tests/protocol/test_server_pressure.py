"""A client that does not take its answers: what is put off, what is still honoured, and how it goes on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from p4p_trio.config import Limits
from p4p_trio.data import Type, Value, parse_request
from p4p_trio.errors import ProtocolError
from p4p_trio.protocol import server_connection
from p4p_trio.protocol.client_channel import ClientChannel
from p4p_trio.protocol.tables import CancelReason, RequestState
from p4p_trio.wire import LITTLE, Command, codec_for, messages
from tests.protocol.link import POINT, FakePV, Link, drain, fake, paths, point, sent

TEXT = Type([("text", "s"), ("n", "i")])


class Clogged:
    """A link whose server's output is above max_output, and stays there until `unclog`."""

    def __init__(self, **fields: Any) -> None:
        self.link = Link(
            {"x": FakePV(point()), "text": FakePV(Value(TEXT, {"text": "t" * 600}))}, limits=Limits(max_output=1_000)
        )
        self.link.login()
        self.server = self.link.server
        self.channel = self.link.created("x")

    def clog(self) -> None:
        self.link.fake.full = True
        self.server.output.buffers.tail += b"\0" * 1_001
        self.server.output.waiting()  # the socket was offered it, and refused
        assert self.server.congested

    def ask(self) -> None:
        """Carry what the client says; nothing comes back."""
        self.link.transfer(to_client=False)

    def answers(self) -> bytes:
        """What was written behind the clog."""
        return b"".join(self.server.output.waiting())[1_001:]

    def unclog(self) -> None:
        """The socket takes everything."""
        self.link.fake.full = False
        data = drain(self.server.output)[1_001:]
        self.link.client.feed(data)
        self.server.drained()
        self.link.settle()


@pytest.fixture
def clogged() -> Clogged:
    return Clogged()


def test_executions_are_put_off(clogged: Clogged) -> None:
    get = clogged.link.idle(clogged.channel.get())
    put = clogged.link.idle(clogged.channel.put())
    rpc = clogged.link.idle(clogged.channel.rpc())
    clogged.clog()
    put.execute(point(value=3.0))
    get.execute()
    rpc.execute(point())
    clogged.ask()
    assert clogged.answers() == b""
    assert not clogged.link.fake.operations
    assert clogged.server.put_off
    assert not clogged.server.paused
    clogged.unclog()
    assert [operation.command for operation in clogged.link.fake.operations] == [Command.PUT, Command.RPC]
    assert [told[:2] for told in clogged.link.told] == [("reply", get.ioid)]
    clogged.link.told.clear()
    for operation in clogged.link.fake.operations:
        operation.refuse("done")
    assert [told[1:3] for told in clogged.link.heard()] == [(put.ioid, "done"), (rpc.ioid, "done")]
    assert not clogged.server.put_off


def test_gets_are_put_off_as_well(clogged: Clogged) -> None:
    """Also the plainest message there is, which has a way of its own through the server."""
    get = clogged.link.idle(clogged.channel.get())
    clogged.clog()
    get.execute()
    clogged.ask()
    assert clogged.answers() == b""
    clogged.unclog()
    assert [told[:2] for told in clogged.link.told] == [("reply", get.ioid)]


def test_order_is_kept(clogged: Clogged) -> None:
    first, second = clogged.link.idle(clogged.channel.get()), clogged.link.idle(clogged.channel.get())
    put = clogged.link.idle(clogged.channel.put())
    clogged.clog()
    put.read()
    first.execute()
    second.execute()
    clogged.ask()
    clogged.unclog()
    assert [told[1] for told in clogged.link.told] == [put.ioid, first.ioid, second.ioid]


def test_cancel_destroy_and_echo_are_honoured(clogged: Clogged) -> None:
    put = clogged.link.idle(clogged.channel.put())
    cancelled = clogged.link.idle(clogged.channel.put())
    destroyed = clogged.link.idle(clogged.channel.put())
    gone = clogged.link.idle(clogged.link.created("text").rpc())
    put.execute(point(value=1.0))
    clogged.ask()
    clogged.clog()
    cancelled.execute(point(value=2.0))
    destroyed.execute(point(value=3.0))
    gone.execute()
    clogged.ask()
    put.cancel()
    cancelled.cancel()
    destroyed.destroy()
    gone.channel.destroy()
    clogged.link.client.echo()
    clogged.ask()
    assert [reason for _, reason in clogged.link.fake.cancelled] == [CancelReason.CANCEL]
    ended = sent(messages.write_destroy_channel, LITTLE, True, gone.sid, gone.channel.cid)
    assert clogged.answers() == ended + sent(messages.write_echo, LITTLE, True, b"")
    clogged.link.told.clear()
    clogged.unclog()
    assert len(clogged.link.fake.operations) == 1
    assert clogged.link.told == []
    assert clogged.server.requests[cancelled.ioid].state is RequestState.IDLE


def test_no_more_than_fits_is_done_at_once() -> None:
    clogged = Clogged()
    channel = clogged.link.created("text")
    gets = [clogged.link.idle(channel.get()) for _ in range(5)]
    clogged.clog()
    for get in gets:
        get.execute()
    clogged.ask()
    clogged.link.client.feed(drain(clogged.server.output)[1_001:])
    clogged.server.drained()
    assert len(clogged.server.deferred) == 3  # two answers of 600 bytes are more than 1,000
    assert clogged.server.put_off
    while clogged.server.put_off:
        clogged.link.client.feed(drain(clogged.server.output))
        clogged.server.drained()
    assert [told[1] for told in clogged.link.heard()] == [get.ioid for get in gets]


def test_paused_by_output(clogged: Clogged) -> None:
    clogged.clog()
    assert not clogged.server.paused
    clogged.server.output.buffers.tail += b"\0" * 1_000
    assert clogged.server.paused


def test_paused_by_the_bytes_put_off(clogged: Clogged) -> None:
    requests = [clogged.link.idle(clogged.channel.rpc()) for _ in range(2)]
    clogged.clog()
    for request in requests:
        assert not clogged.server.paused
        request.execute(Value(TEXT, {"text": "x" * 40_000}))
        clogged.ask()
    assert clogged.server.paused
    clogged.unclog()
    assert not clogged.server.paused
    assert len(clogged.link.fake.operations) == 2


def test_paused_by_the_number_put_off(clogged: Clogged, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_connection, "DEFERRED", 2)
    requests = [clogged.link.idle(clogged.channel.rpc()) for _ in range(2)]
    clogged.clog()
    requests[0].execute()
    clogged.ask()
    assert not clogged.server.paused
    requests[1].execute()
    clogged.ask()
    assert clogged.server.paused


def test_what_does_not_decode_is_not_put_off(clogged: Clogged) -> None:
    put = clogged.link.idle(clogged.channel.put())
    clogged.clog()
    codec = codec_for(POINT._field, LITTLE)
    broken = bytearray(
        sent(messages.write_partial_request, LITTLE, Command.PUT, put.sid, put.ioid, 0, codec, point()._slots, 2)
    )
    broken[18] = 0x40  # a field that is not there
    with pytest.raises(ProtocolError, match="bit 6"):
        clogged.server.feed(bytes(broken))


def test_without_a_limit_nothing_is_put_off() -> None:
    link = Link({"x": FakePV(point())}, limits=Limits(max_output=None))
    link.login()
    get = link.idle(link.created("x").get())
    link.server.output.buffers.tail += b"\0" * 10_000_000
    assert not link.server.congested
    assert not link.server.paused
    get.execute()
    link.transfer(to_client=False)
    assert not link.server.put_off


# ---- updates


def watched(options: str = "") -> tuple[Link, ClientChannel, Any]:
    link = Link({"x": FakePV(point())})
    link.login()
    link.listener.take = False
    channel = link.created("x")
    monitor = channel.monitor(parse_request(options))
    link.settle()
    monitor.start()
    link.settle()
    monitor.pop()
    return link, channel, monitor


def taken(link: Link, monitor: Any) -> list[tuple[float, set[str], set[str]]]:
    found = []
    while (update := monitor.pop()) is not None:
        found.append((update[0].value, update[0].changedSet(), paths(POINT, update[1])))
    return found


def fill(link: Link) -> None:
    """From now on the socket takes nothing."""
    link.fake.full = True
    link.server.output.buffers.tail += b"\0" * server_connection.ROOM


def free(link: Link) -> None:
    link.fake.full = False
    link.client.feed(drain(link.server.output)[server_connection.ROOM :])
    link.server.drained()
    link.settle()
    while link.server.put_off:
        link.server.drained()
        link.settle()


def test_updates_wait_for_room_and_are_squashed() -> None:
    link, _, monitor = watched("record[queueSize=3]")
    fill(link)
    for n in range(6):
        fake(link).post(value=float(n))
    fake(link).post(label="there")
    assert link.server.put_off
    free(link)
    assert not link.server.put_off
    assert taken(link, monitor) == [
        (0.0, {"value"}, set()),
        (1.0, {"value"}, set()),
        (5.0, {"value", "label"}, {"value"}),
    ]
    fake(link).post(value=7.0)
    link.settle()
    assert taken(link, monitor) == [(7.0, {"value"}, set())]


def test_before_it_squashes_the_server_tries_to_send() -> None:
    link, _, monitor = watched("record[queueSize=1]")
    fill(link)
    tried: list[int] = []

    def send() -> bool:
        tried.append(link.server.output.size)
        link.client.feed(drain(link.server.output)[server_connection.ROOM :] if len(tried) == 1 else b"")
        return True

    link.fake.send = send  # type: ignore[method-assign]
    fake(link).post(value=8.0)
    fake(link).post(value=9.0)
    assert len(tried) == 1
    link.settle()
    assert [update[1:] for update in taken(link, monitor)] == [({"value"}, {"value"})]


def test_room_for_one_only() -> None:
    """Those that still find no room go on waiting."""
    link, channel, _ = watched()
    other = channel.monitor()
    link.settle()
    other.start()
    link.settle()
    fill(link)
    fake(link).post(value=1.0)
    assert len(link.server.waiting) == 2
    link.server.drained()  # nothing was taken yet
    assert len(link.server.waiting) == 2
    free(link)
    assert not link.server.waiting


def test_stopped_and_destroyed_subscriptions_do_not_wait() -> None:
    link, channel, monitor = watched()
    other = channel.monitor()
    link.settle()
    other.start()
    link.settle()
    fill(link)
    fake(link).post(value=1.0)
    monitor.stop()
    other.destroy()
    link.transfer(to_client=False)
    free(link)
    assert not link.server.put_off
    assert other.ioid not in link.server.requests
    assert taken(link, monitor) == []
    fake(link).post(value=2.0)
    monitor.start()
    link.settle()
    assert [update[0] for update in taken(link, monitor)] == [1.0, 2.0]


def test_a_window_opens_while_the_socket_is_full() -> None:
    link, _, monitor = watched("record[pipeline=true,queueSize=2,ackAny=1]")
    for n in range(3):
        fake(link).post(value=float(n))
    link.settle()
    fill(link)
    monitor.pop()
    link.transfer(to_client=False)
    free(link)
    assert [update[0] for update in taken(link, monitor)] == [1.0, 2.0]


def test_a_heavy_queue_squashes_before_it_is_long() -> None:
    images = Type([("value", "aB"), ("n", "i")])
    holder = FakePV(Value(images))
    link = Link({"image": holder})
    link.login()
    link.listener.take = False
    monitor = link.created("image").monitor(parse_request("record[queueSize=100]"))
    link.settle()
    monitor.start()
    link.settle()
    monitor.pop()
    fill(link)
    for n in range(6):
        holder.post(value=np.zeros(1 << 20, np.uint8), n=n)
    server_side = next(iter(link.server.waiting))
    assert server_side.queue is not None
    assert len(server_side.queue) < 6
    assert server_side.weight <= 5 << 20
    free(link)
    assert link.server.queued_size == 0
    last = None
    while (update := monitor.pop()) is not None:
        last = update
    assert last is not None
    assert last[0].n == 5

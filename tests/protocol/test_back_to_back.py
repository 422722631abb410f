"""The server's and the client's machine talking to each other without a network: login, channels, ids."""

from __future__ import annotations

import pytest

from p4p_trio.errors import Disconnected, ProtocolError
from p4p_trio.protocol.tables import (
    CancelReason,
    ClientChannelState,
    ClientConnectionState,
    ConnectionState,
)
from p4p_trio.wire import BIG, Command, Order
from tests.protocol.link import FakePV, Link, drain, fake, point

# ---- life cycle


def test_login(order: Order) -> None:
    link = Link(order=order)
    link.server.start()
    link.settle()
    assert link.told == [("validated", "")]
    assert link.client.state is ClientConnectionState.READY
    assert link.server.state is ConnectionState.READY
    assert link.client.order is order
    assert link.client.method == "ca"
    assert (link.server.peer.method, link.server.peer.account) == ("ca", "operator")
    assert not link.to_server[2] & 0x40
    assert bool(link.to_server[2] & 0x80) is (order is BIG)


def test_login_without_an_account() -> None:
    link = Link(user="")
    link.login()
    assert (link.server.peer.method, link.server.peer.account) == ("anonymous", "anonymous")


def test_refused_login_is_told_before_the_connection_goes(order: Order) -> None:
    link = Link(order=order, user="x" * 300)
    link.server.start()
    link.transfer(to_client=True)
    with pytest.raises(ProtocolError, match="login refused"):
        link.transfer(to_client=False)
    link.transfer(to_client=True)
    assert link.told == [("validated", "the account must be printable text of at most 256 characters")]


def test_channels_wait_for_the_login() -> None:
    link = Link({"x": FakePV(point())})
    kept, dropped = link.client.create_channel("x"), link.client.create_channel("y")
    dropped.destroy()
    assert (kept.state, dropped.state) == (ClientChannelState.WAITING, ClientChannelState.CLOSED)
    assert not drain(link.client.output)
    link.server.start()
    assert link.heard() == [("validated", ""), ("channel_created", "x")]
    assert fake(link).channels == ["x"]


def test_echo(link: Link) -> None:
    link.client.echo()
    assert link.heard() == []
    assert link.to_client[-8:][:4] == bytes((0xCA, 2, 0x40 | link.server.order.flag, Command.ECHO))


def test_search(link: Link) -> None:
    link.client.search([(7, "x"), (8, "nowhere"), (9, "closed")])
    assert link.heard() == [("search_response", True, (7, 9))]
    link.client.search([])
    assert link.heard() == [("search_response", False, ())]


def test_nothing_works_after_the_end(link: Link) -> None:
    channel = link.created("x")
    waiting = link.client.create_channel("elsewhere")
    get, monitor = link.idle(channel.get()), channel.monitor()
    link.client.lost()
    link.client.lost()
    assert link.told == [
        ("request_lost", get.ioid),
        ("request_lost", monitor.ioid),
        ("channel_lost", "x"),
        ("channel_lost", "elsewhere"),
    ]
    assert link.client.state is ClientConnectionState.CLOSED
    assert waiting.state is channel.state is ClientChannelState.CLOSED
    assert not link.client.output.size
    with pytest.raises(Disconnected):
        get.execute()
    with pytest.raises(Disconnected):
        monitor.start()
    with pytest.raises(Disconnected):
        channel.get()
    with pytest.raises(Disconnected):
        link.client.create_channel("x")
    with pytest.raises(Disconnected):
        link.client.search([(1, "x")])
    for late in (get.destroy, get.cancel, monitor.destroy, channel.destroy, waiting.destroy):
        late()
    assert not link.client.output.size


def test_server_side_end_of_a_connection(link: Link) -> None:
    channel = link.created("x")
    put, monitor = link.idle(channel.put()), channel.monitor()
    link.settle()
    monitor.start()
    put.execute(point(value=3.0))
    link.settle()
    assert fake(link).running == 1
    link.server.lost()
    assert fake(link).running == 0
    assert fake(link).channels == []
    assert link.fake.cancelled == [(link.fake.operations[0], CancelReason.DISCONNECT)]
    link.fake.operations[0].acknowledge()
    assert not link.server.output.size


# ---- channels


def test_channel(link: Link) -> None:
    channel = link.client.create_channel("x")
    with pytest.raises(Disconnected, match="'x' is creating, not active"):
        channel.get()
    assert link.heard() == [("channel_created", "x")]
    assert channel.state is ClientChannelState.ACTIVE
    assert link.client.channels == {channel.sid: channel}
    request = link.idle(channel.get())
    channel.destroy()
    channel.destroy()
    assert link.heard() == [("request_lost", request.ioid)]
    assert link.fake.ended == [("x", CancelReason.CHANNEL)]
    assert not link.server.channels
    assert not link.server.requests
    assert not link.client.channels
    assert not link.client.requests


def test_refused_channel(link: Link) -> None:
    channel = link.client.create_channel("missing")
    assert link.heard() == [("channel_refused", "missing", "no such PV")]
    assert channel.state is ClientChannelState.CLOSED
    assert not link.client.creating


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 501])
def test_impossible_channel_names(link: Link, name: str) -> None:
    link.client.create_channel(name)
    told = link.heard()
    assert [each[:2] for each in told] == [("channel_refused", name)]


@pytest.mark.parametrize("found", [True, False])
def test_abandoned_channel(link: Link, found: bool) -> None:
    channel = link.client.create_channel("later")
    link.settle()
    channel.destroy()
    channel.destroy()
    assert channel in link.client.creating.values()
    if found:
        link.server.channel_found(link.fake.wanted[0], fake(link).pv)
    else:
        link.server.channel_refused(link.fake.wanted[0], "no")
    assert link.heard() == []
    assert channel.state is ClientChannelState.CLOSED
    assert not link.server.channels
    assert not link.server.pending
    assert fake(link).channels == []


def test_abandoned_channel_of_a_lost_connection_is_not_mentioned(link: Link) -> None:
    channel = link.client.create_channel("later")
    link.settle()
    channel.destroy()
    link.client.lost()
    assert link.told == []


def test_closed_pv(link: Link) -> None:
    channel = link.created("x")
    get = link.idle(channel.get())
    put = link.idle(channel.put())
    put.execute(point(value=2.0))
    link.settle()
    fake(link).pv.close()
    assert link.heard() == [("request_lost", get.ioid), ("request_lost", put.ioid), ("channel_lost", "x")]
    assert channel.state is ClientChannelState.CLOSED
    assert link.fake.cancelled == [(link.fake.operations[0], CancelReason.PV_CLOSED)]


def test_destroys_that_cross(link: Link) -> None:
    channel = link.created("x")
    fake(link).pv.close()
    channel.destroy()
    assert link.heard() == []
    assert not link.server.channels


# ---- ids


def test_request_ids_go_round_and_skip_what_is_used(link: Link) -> None:
    channel = link.created("x")
    assert channel.get().ioid == 1
    link.client._next_ioid = 0xFFFFFFFE
    assert [channel.get().ioid for _ in range(3)] == [0xFFFFFFFE, 2, 3]
    assert len(link.heard()) == 4


def test_channel_ids_go_round(link: Link) -> None:
    link.client._next_cid = 0xFFFFFFFE
    assert [link.client.create_channel("x").cid for _ in range(2)] == [0xFFFFFFFE, 1]


def test_remembered_ends_are_bounded(link: Link) -> None:
    channel = link.created("x")
    for _ in range(300):
        channel.get().destroy()
    link.settle()
    assert len(link.client.graves) == len(link.server.graves) == 256

"""The table of servers that a client has heard of."""

from __future__ import annotations

from p4p_trio.protocol import client_servers
from p4p_trio.protocol.client_servers import FORGET, KnownServers, ServerEvent

ONE, OTHER = b"1" * 12, b"2" * 12
HERE, THERE = ("127.0.0.1", 5075), ("::1", 5075)


def test_a_server_comes_once() -> None:
    servers = KnownServers()
    online = ServerEvent(True, ONE, HERE)
    assert servers.heard(ONE, HERE, "tcp", 0.0) == ([online], True)
    assert servers.heard(ONE, HERE, "tcp", 15.0) == ([], False)
    assert servers.online() == [online]


def test_a_restart_is_news() -> None:
    servers = KnownServers()
    servers.heard(ONE, HERE, "tcp", 0.0)
    events, news = servers.heard(OTHER, HERE, "tcp", 1.0)
    assert events == [ServerEvent(False, ONE, HERE), ServerEvent(True, OTHER, HERE)]
    assert news


def test_changed_channels_are_news_but_no_event() -> None:
    servers = KnownServers()
    servers.heard(ONE, HERE, "tcp", 0.0)
    assert servers.heard(ONE, HERE, "tcp", 1.0, 4) == ([], False)
    assert servers.heard(ONE, HERE, "tcp", 2.0, 4) == ([], False)
    assert servers.heard(ONE, HERE, "tcp", 3.0) == ([], False)
    assert servers.heard(ONE, HERE, "tcp", 4.0, 5) == ([], True)


def test_silence_ends_it() -> None:
    servers = KnownServers()
    servers.heard(ONE, HERE, "tcp", 0.0)
    servers.heard(OTHER, THERE, "tcp", 100.0)
    assert servers.expire(FORGET) == []
    assert servers.expire(FORGET + 1.0) == [ServerEvent(False, ONE, HERE)]
    assert [event.guid for event in servers.online()] == [OTHER]


def test_a_flood_of_servers_is_bounded(monkeypatch) -> None:
    monkeypatch.setattr(client_servers, "MOST", 10)
    servers = KnownServers()
    for port in range(20):
        servers.heard(ONE, ("127.0.0.1", port), "tcp", 0.0)
    assert len(servers.online()) == 10


def test_events_as_text() -> None:
    assert str(ServerEvent(True, ONE, HERE)) == f"online 127.0.0.1:5075 tcp {ONE.hex()}"
    assert str(ServerEvent(False, ONE, THERE)) == f"offline [::1]:5075 tcp {ONE.hex()}"

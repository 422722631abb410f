"""Fixtures: one serving process per test module, and the peers' clients, each in its own environment."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.interop import environments
from tests.interop.peers import Spvirit, start_client
from tests.interop.processes import Child, our_server


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.interop)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Make missing environments before the first test, where no test's time-out runs."""
    if session.config.option.collectonly or not any(item.get_closest_marker("interop") for item in session.items):
        return
    for name in environments.PEERS:
        with contextlib.suppress(environments.Unavailable):  # the fixture of this peer tells why
            environments.ensure(name)


@pytest.fixture(scope="module")
def server() -> Iterator[Child]:
    """A server process that lives for the whole module, and ends well whatever its clients did to it."""
    child = our_server()
    try:
        yield child
        child.send(do="stop")
        assert child.wait() == 0, child.transcript()
        assert not any("a bug in this server" in line for line in child.errors), child.transcript()
    finally:
        child.close()


@pytest.fixture(scope="module")
def conf(server: Child) -> dict[str, str]:
    return server.records[0]["conf"]


@pytest.fixture
def start_driver() -> Iterator[Callable[..., Child]]:
    """Starts a peer's driver: `start_driver("p4p", conf)`; it is ended with the test."""
    children: list[Child] = []

    def start(name: str, conf: dict[str, str]) -> Child:
        children.append(start_client(name, conf))
        return children[-1]

    try:
        yield start
    finally:
        for child in children:
            child.close()


@pytest.fixture
def p4p_client(start_driver: Callable[..., Child], conf: dict[str, str]) -> Child:
    return start_driver("p4p", conf)


@pytest.fixture
def pvapy_client(start_driver: Callable[..., Child], conf: dict[str, str]) -> Child:
    return start_driver("pvapy", conf)


@pytest.fixture
def spvirit(conf: dict[str, str]) -> Spvirit:
    return Spvirit(conf)

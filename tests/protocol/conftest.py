"""Fixtures of this room: two machines wired to each other."""

from __future__ import annotations

import pytest

from p4p_trio.wire import BIG, LITTLE, Order
from tests.protocol.link import FakePV, Link, point
from tests.protocol.literal import Wire


@pytest.fixture(params=[LITTLE, BIG], ids=["little", "big"])
def order(request: pytest.FixtureRequest) -> Order:
    """The byte order that the server announces."""
    found: Order = request.param
    return found


@pytest.fixture
def link(order: Order) -> Link:
    """Both halves of a connection after the login, and some PVs."""
    made = Link(
        {
            "x": FakePV(point()),
            "read-only": FakePV(point(), handles=()),
            "closed": FakePV(),
            "missing": None,
        },
        order=order,
    )
    made.login()
    return made


@pytest.fixture
def wire() -> Wire:
    """A client that has logged in at a server of literal bytes."""
    made = Wire()
    made.said()
    return made

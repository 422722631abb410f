"""After 1,000 clients came, put and went, the server has as many tasks, descriptors and objects as before."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.interop.processes import Child
from tests.interop.raw import PUT, RawClient

CYCLES = 1_000
WARM_UP = 100
SLACK = CYCLES // 5  # objects: caches that fill once; a leak would be at least one object a cycle


def answered(client: RawClient) -> None:
    """A put that is answered before the client leaves."""
    client.execute_put(1.5)
    assert client.receive(PUT)[5:6] == b"\xff"


def abandoned(client: RawClient) -> None:
    """A put whose handler still runs when the client leaves."""
    client.execute_put(1.5)


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("name", "use", "leave"),
    [
        ("mailbox", answered, RawClient.close),
        ("slow", abandoned, RawClient.close),
        ("slow", abandoned, RawClient.reset),
    ],
    ids=["answered", "abandoned", "reset"],
)
def test_nothing_is_left(
    server: Child,
    conf: dict[str, str],
    name: str,
    use: Callable[[RawClient], None],
    leave: Callable[[RawClient], None],
) -> None:
    port = int(conf["EPICS_PVA_SERVER_PORT"])

    def come_and_go(times: int) -> None:
        for _ in range(times):
            client = RawClient(port, name)
            try:
                use(client)
                leave(client)
            finally:
                client.close()

    def count() -> dict[str, int]:
        mark = server.mark()
        server.send(do="count")
        record = server.event("count", since=mark)
        return {key: record[key] for key in ("tasks", "descriptors", "objects")}

    come_and_go(WARM_UP)
    before = count()
    come_and_go(CYCLES)
    after = count()
    assert after["tasks"] == before["tasks"]
    assert after["descriptors"] == before["descriptors"]
    assert after["objects"] - before["objects"] < SLACK, (before, after)

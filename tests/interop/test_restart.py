"""p4p's client lives through a restart of our server: its monitors come back by themselves."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.interop.processes import Child, our_server


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_monitors_come_back_after_a_restart(start_driver: Callable[..., Child], how: str) -> None:
    first = our_server()
    second = None
    try:
        conf = first.records[0]["conf"]
        client = start_driver("p4p", conf)
        client.call("monitor", name="mailbox", tag="m")
        client.wait_for(lambda record: record.get("value", {}).get("value") == 0.0)
        mark = client.mark()
        if how == "stop":
            first.send(do="stop")
            assert first.wait() == 0, first.transcript()
            assert first.errors == []
        else:
            first.kill()
        client.wait_for(lambda record: record.get("event") == "Disconnected", since=mark)

        second = our_server(conf)
        again = second.records[0]["conf"]
        assert again["EPICS_PVA_SERVER_PORT"] == conf["EPICS_PVA_SERVER_PORT"]
        client.wait_for(lambda record: record.get("value", {}).get("value") == 0.0, since=mark, timeout=40)
        second.send(do="post", name="mailbox", values=[7.0])
        client.wait_for(lambda record: record.get("value", {}).get("value") == 7.0, since=mark)
        client.call("put", name="mailbox", value=8.0)
        client.wait_for(lambda record: record.get("value", {}).get("value") == 8.0, since=mark)
    finally:
        first.close()
        if second is not None:
            second.close()

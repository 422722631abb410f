"""DynamicProvider: PVs whose names are not known in advance."""

from __future__ import annotations

import pytest
import trio

from p4p_trio import CancelReason, DynamicProvider, Limits, NotYet, RemoteError
from p4p_trio.wire import Command, messages
from tests.server.handlers import Slow, scalar, settle
from tests.server.test_providers import search, value


class Maker:
    """Claims names that begin with "dyn:", makes a PV for each channel after `takes` seconds."""

    def __init__(self) -> None:
        self.tested: list[str] = []
        self.ended: list[str] = []
        self.takes = 0.0
        self.claims = True

    def test_channel(self, name):
        self.tested.append(name)
        return self.claims if name.startswith("dyn:") else False

    async def make_channel(self, name, peer):
        try:
            await trio.sleep(self.takes)
        finally:
            self.ended.append(name)
        if name == "dyn:refused":
            raise RemoteError(f"not for {peer.account} from {peer.address}")
        return scalar(1.0) if name.startswith("dyn:") else None


@pytest.fixture
def maker():
    return Maker()


@pytest.fixture
def provider(maker):
    return DynamicProvider("maker", maker)


async def test_a_negative_answer_is_kept_for_ten_seconds(virtual_time, serve, connect, provider, maker):
    async with serve(provider) as server:
        client = await connect(server)
        for _ in range(3):
            assert await search(client, "a", "dyn:a") == ["dyn:a"]
        assert maker.tested == ["a", "dyn:a", "dyn:a", "dyn:a"]  # positive ones are not kept
        await trio.sleep(10.1)
        await search(client, "a")
        assert maker.tested[4:] == ["a"]


async def test_not_yet_is_not_kept(virtual_time, serve, connect, provider, maker):
    maker.claims = NotYet
    async with serve(provider) as server:
        client = await connect(server)
        assert await search(client, "dyn:a") == []
        maker.claims = True
        assert await search(client, "dyn:a") == ["dyn:a"]


async def test_4096_names_are_kept(virtual_time, provider, maker):
    for n in range(5_000):
        assert provider.test_channel(f"{n}") is False
    assert len(provider._disclaimed) <= 4_096
    assert provider.test_channel("dyn:a") is True


async def test_an_answer_of_another_run_does_not_count(provider, maker):
    provider._disclaimed["dyn:a"] = trio.current_time() + 1e6
    assert provider.test_channel("dyn:a") is True


async def test_a_test_that_fails_is_no_answer(virtual_time, serve, connect, provider, maker, caplog):
    maker.test_channel = lambda name: 1 / 0
    async with serve(provider, {"a": scalar()}) as server:
        assert await search(await connect(server), "a") == ["a"]
    assert "test_channel" in caplog.records[0].getMessage()


async def test_making_may_wait_and_holds_up_nobody(virtual_time, serve, connect, provider, maker):
    maker.takes = 8.0
    async with serve({"a": scalar(2.0)}, provider) as server:
        client = await connect(server)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(two_channels, client)
            await settle()
            other = await connect(server)
            assert await value(other, "a") == 2.0
            assert trio.current_time() < 8
        assert trio.current_time() == pytest.approx(8.0)


async def two_channels(client):
    messages.write_create_channel(client.out, client.order, [(5, "dyn:a"), (6, "a")])
    await client.flush()
    assert messages.read_channel_created(await client.expect(Command.CREATE_CHANNEL, 6)).status.success
    await trio.sleep(7)
    assert messages.read_channel_created(await client.expect(Command.CREATE_CHANNEL, 5)).status.success


async def test_refused_and_passed_on(virtual_time, serve, connect, provider):
    async with serve(provider, {"other": scalar(3.0)}) as server:
        client = await connect(server, account="eve")
        with pytest.raises(RemoteError, match=r"^not for eve from 127\.0\.0\.1$"):
            await client.channel("dyn:refused")
        assert await value(client, "other") == 3.0
        with pytest.raises(RemoteError, match="no provider"):
            await client.channel("nowhere")


async def test_it_has_a_deadline(virtual_time, serve, connect, provider, maker):
    maker.takes = 100.0
    async with serve(provider, limits=Limits(create_timeout=3.0)) as server:
        client = await connect(server)
        with pytest.raises(RemoteError, match=r"did not make 'dyn:a' within 3.0 s"):
            await client.channel("dyn:a")
        assert maker.ended == ["dyn:a"]


async def test_clean_up_that_fails_is_only_this_channels(virtual_time, serve, connect, caplog):
    class Bad(Maker):
        async def make_channel(self, name, peer):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                try:
                    await trio.sleep_forever()
                finally:
                    raise ValueError("no clean-up")

    async with serve(
        DynamicProvider("bad", Bad()), {"other": scalar(3.0)}, limits=Limits(create_timeout=3.0)
    ) as server:
        client, leaves = await connect(server), await connect(server)
        messages.write_create_channel(leaves.out, leaves.order, [(1, "dyn:a")])
        await leaves.flush()
        await settle()
        leaves.close()
        with pytest.raises(RemoteError, match="the provider of 'dyn:a' failed"):
            await client.channel("dyn:a")
        assert server.report()["connections"] == 1
        assert server.making == 0
    assert [record.getMessage() for record in caplog.records] == ["make_channel('dyn:a') failed"] * 2


async def test_it_is_cancelled_when_its_client_disconnects(virtual_time, serve, connect, provider, maker):
    maker.takes = 100.0
    async with serve(provider) as server:
        client = await connect(server)
        with trio.move_on_after(1):
            await client.channel("dyn:a")
        client.close()
        await settle()
        assert maker.ended == ["dyn:a"]
        assert server.report()["connections"] == 0


async def test_a_channel_to_a_new_pv_is_like_any_other(virtual_time, serve, connect):
    handler = Slow()

    class Own(Maker):
        async def make_channel(self, name, peer):
            return scalar(handler=handler)

        async def run(self, *, task_status):
            task_status.started()
            self.ran = True
            await trio.sleep_forever()

    own = Own()
    async with serve(DynamicProvider("own", own)) as server:
        client = await connect(server)
        await client.start_put("dyn:a", 1.0)
        await settle()
        client.close()
        await settle()
        assert handler.ended == [(1.0, CancelReason.DISCONNECT)]
        assert own.ran


def test_what_is_no_handler():
    class Async(Maker):
        async def test_channel(self, name):
            return True

    with pytest.raises(TypeError, match="test_channel must be a plain function"):
        DynamicProvider("x", Async())
    with pytest.raises(TypeError, match="needs a method 'test_channel'"):
        DynamicProvider("x", object())
    assert repr(DynamicProvider("x", Maker())) == "<DynamicProvider 'x'>"

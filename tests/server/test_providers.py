"""Providers: who is asked for a name, in which order, and what may change while servers run."""

from __future__ import annotations

import pytest
import trio

from p4p_trio import Limits, NotYet, RemoteError, Server, SharedPV, StaticProvider, install_provider, remove_provider
from p4p_trio.errors import ConfigError
from p4p_trio.wire import Command, Reader, messages, split_datagram
from tests.server.handlers import scalar, settle


async def search(client, *names):
    """Which of these names the server claims over TCP."""
    messages.write_search(client.out, client.order, 7, 0, bytes(16), 0, ["tcp"], list(enumerate(names, 1)))
    await client.echo()
    found = [message for message in client.inbox if message.command is Command.SEARCH_RESPONSE]
    client.inbox.clear()
    if not found:
        return []
    (message,) = found
    return [names[cid - 1] for cid in messages.read_search_response(client.reader(message)).cids]


async def value(client, name):
    return (await client.get(name)).value


class Maker:
    """A provider object of the user's own; also the handler of a DynamicProvider."""

    def __init__(self, **pvs: SharedPV | None) -> None:
        self.pvs = pvs
        self.asked: list[str] = []

    def test_channel(self, name: str) -> bool:
        self.asked.append(name)
        return name in self.pvs

    async def make_channel(self, name: str, peer: object) -> SharedPV | None:
        await trio.lowlevel.checkpoint()
        return self.pvs.get(name)


class AsyncTest(Maker):
    """One that cannot be asked."""

    async def test_channel(self, name: str) -> bool:
        return True


class TestOrder:
    async def test_lower_orders_first_and_equal_ones_as_given(self, virtual_time, serve, connect):
        async with serve(({"a": scalar(1.0)}, 5), {"a": scalar(2.0), "b": scalar(2.5)}, {"a": scalar(3.0)}) as server:
            client = await connect(server)
            assert await value(client, "a") == 2.0
            await server.add_provider({"a": scalar(4.0), "b": scalar(4.5)}, -3)
            client.sids.clear()
            assert await value(client, "a") == 4.0
            await server.add_provider({"b": scalar(5.5)}, -3)
            client.sids.clear()
            assert await value(client, "b") == 4.5

    async def test_an_attribute_of_the_provider(self, virtual_time, serve, connect):
        first = Maker(a=scalar(1.0))
        first.order = -1
        async with serve({"a": scalar(2.0)}, first) as server:
            assert await value(await connect(server), "a") == 1.0

    async def test_none_passes_on_to_the_next(self, virtual_time, serve, connect):
        async with serve(Maker(a=None), Maker(a=scalar(2.0)), {"a": scalar(3.0), "b": scalar(4.0)}) as server:
            client = await connect(server)
            assert await value(client, "a") == 2.0
            assert await value(client, "b") == 4.0
            with pytest.raises(RemoteError, match="no provider has a PV of the name 'c'"):
                await client.channel("c")


class TestWhatAServerTakes:
    async def test_names_of_the_registry(self, virtual_time, serve, connect):
        install_provider("test registry", StaticProvider())
        provider = StaticProvider()
        provider.add("a", scalar(1.0))
        install_provider("test registry", provider)
        try:
            async with serve("test registry", {"b": scalar(2.0)}) as server:
                remove_provider("test registry")
                assert await value(await connect(server), "a") == 1.0
        finally:
            remove_provider("test registry")
        with pytest.raises(ConfigError, match="no provider 'test registry' is installed"):
            serve("test registry")

    @pytest.mark.parametrize(
        ("providers", "text"),
        [
            ([scalar()], "a SharedPV has no name of its own"),
            ([object()], "is no provider: give a StaticProvider"),
            ([({}, "first")], "a tuple"),
            ({"a": scalar()}, "providers must be a list"),
            (scalar(), "providers must be a list"),
            (StaticProvider(), "providers must be a list"),
            (Maker(), "providers must be a list"),
            (None, "providers must be a list"),
            ([AsyncTest()], "must be a plain function"),
            ("name", "providers must be a list"),
            ([{"two words": scalar()}], "remove the blanks"),
            ([{"": scalar()}], "must not be empty"),
            ([{"x" * 501: scalar()}], "at most 500"),
        ],
    )
    def test_what_is_none(self, providers, text):
        with pytest.raises(ConfigError, match=text):
            Server(providers, isolate=True)

    def test_no_pv(self):
        with pytest.raises(TypeError, match="PV 'a' must be a SharedPV, not float"):
            Server([{"a": 1.0}], isolate=True)

    async def test_the_pv_of_a_provider_object_may_come_at_once(self, virtual_time, serve, connect):
        class Plain(Maker):
            def make_channel(self, name, peer):
                return self.pvs.get(name)

        async with serve(Plain(a=scalar(1.0))) as server:
            assert await value(await connect(server), "a") == 1.0

    async def test_anything_else_refuses_that_channel_only(self, virtual_time, serve, connect, caplog):
        class Wrong(Maker):
            async def make_channel(self, name, peer):
                if name == "a":
                    return 5
                if name == "b":
                    raise ValueError("broken")
                if name == "c":
                    raise ExceptionGroup("", [RemoteError("not for you")])
                raise RemoteError(f"{name} is not for {peer.account}")

        async with serve(Wrong(), {"z": scalar(1.0)}) as server:
            client = await connect(server, account="eve")
            for name, text in (("a", "the provider of 'a' failed"), ("b", "the provider of 'b' failed")):
                with pytest.raises(RemoteError, match=text):
                    await client.channel(name)
            assert len(caplog.records) == 2
            with pytest.raises(RemoteError, match=r"^not for you$"):
                await client.channel("c")
            with pytest.raises(RemoteError, match=r"^z is not for eve$"):
                await client.channel("z")
            assert len(caplog.records) == 2

    async def test_a_test_channel_that_fails_disclaims_that_name_only(self, virtual_time, serve, connect, caplog):
        class Broken(Maker):
            def test_channel(self, name):
                raise ValueError(name)

        async with serve(Broken(), {"a": scalar()}) as server:
            client = await connect(server)
            assert await search(client, "a", "b") == ["a"]
            assert caplog.records
            assert await search(client, "a") == ["a"]


class TestRun:
    async def test_nothing_is_answered_before_it_has_started(self, virtual_time, serve, connect, network):
        class Slow(Maker):
            async def run(self, *, task_status=trio.TASK_STATUS_IGNORED):
                await trio.sleep(3)
                assert network._sockets == []
                assert network._listeners == []
                self.pvs["a"] = scalar(1.0)
                task_status.started()
                try:
                    await trio.sleep_forever()
                finally:
                    self.ended = True

        slow = Slow()
        async with serve(slow) as server:
            assert trio.current_time() >= 3
            assert await value(await connect(server), "a") == 1.0
        assert slow.ended

    async def test_its_crash_is_the_servers(self, virtual_time, serve, connect):
        class Crash(Maker):
            async def run(self, *, task_status):
                task_status.started()
                await trio.sleep(1)
                raise ValueError("crash")

        client = None
        with pytest.RaisesGroup(pytest.RaisesExc(ValueError, match="crash"), flatten_subgroups=True):
            async with serve(Crash(), {"a": scalar()}) as server:
                client = await connect(server)
                await trio.sleep_forever()
        assert await client.gone()

    async def test_a_crash_before_it_has_started(self, virtual_time, serve):
        class Crash(Maker):
            async def run(self, *, task_status):
                raise ValueError("crash")

        with pytest.RaisesGroup(pytest.RaisesExc(ValueError, match=r"^crash$")):
            async with serve(Crash()):
                pass

    async def test_one_that_never_starts(self, virtual_time, serve):
        class Quits(Maker):
            async def run(self, *, task_status):
                return

        with pytest.RaisesGroup(
            pytest.RaisesExc(RuntimeError, match="without calling task_status.started"), flatten_subgroups=True
        ):
            async with serve(Quits()):
                pass

    async def test_that_of_a_removed_provider_is_cancelled(self, virtual_time, serve, connect):
        class Runs(Maker):
            ended = False

            async def run(self, *, task_status):
                task_status.started()
                try:
                    await trio.sleep_forever()
                finally:
                    self.ended = True

        runs = Runs(a=scalar(1.0))
        async with serve() as server:
            client = await connect(server)
            with pytest.raises(RemoteError):
                await client.channel("a")
            await server.add_provider(runs)
            client.sids.clear()
            assert await value(client, "a") == 1.0
            await server.remove_provider(runs)
            await client.expect(Command.DESTROY_CHANNEL)
            await settle()
            assert runs.ended
            assert await search(client, "a") == []
            with pytest.raises(ConfigError, match="this server has no provider"):
                await server.remove_provider(runs)


class TestWhileRunning:
    async def test_adding_and_removing_pvs(self, virtual_time, serve, connect, network):
        provider = StaticProvider("mine")
        beacons = network.open_udp("127.0.0.1", 6000)
        conf = {"EPICS_PVAS_INTF_ADDR_LIST": "127.0.0.1", "EPICS_PVAS_BEACON_ADDR_LIST": "127.0.0.1:6000"}

        async def change_count():
            await trio.sleep(20)
            (*_, last) = await beacons.receive()
            ((_, _, start, end, order),) = split_datagram(last.data)
            return messages.read_beacon(Reader(last.data, start, end, order, Limits())).change_count

        async with Server([provider], conf=conf, useenv=False, network=network) as server:
            client = await connect(server)
            before = await change_count()
            provider.add("a", scalar(1.0))
            provider.add("alias", provider["a"])
            await client.echo()
            assert await change_count() != before
            await client.echo()
            assert await value(client, "a") == 1.0
            assert await value(client, "alias") == 1.0
            pv = provider.remove("a")
            await client.expect(Command.DESTROY_CHANNEL)
            client.sids.pop("a")
            with pytest.raises(RemoteError, match="no provider has"):
                await client.channel("a")
            assert await value(client, "alias") == 1.0  # another name of the same PV
            assert pv.is_open()
            assert provider.keys() == ["alias"]
            assert await search(client, "a", "alias") == ["alias"]

    async def test_a_provider_in_two_servers(self, virtual_time, serve, connect):
        provider = StaticProvider()
        async with serve(provider) as one, serve(provider) as other:
            provider.add("a", scalar(1.0))
            clients = [await connect(one), await connect(other)]
            for client in clients:
                assert await value(client, "a") == 1.0
            await one.remove_provider(provider)
            await clients[0].expect(Command.DESTROY_CHANNEL)
            assert await clients[1].quiet() == []
            provider.remove("a")
            await clients[1].expect(Command.DESTROY_CHANNEL)

    async def test_the_same_provider_twice(self, virtual_time, serve):
        provider = StaticProvider()
        async with serve(provider) as server:
            with pytest.raises(ConfigError, match="already"):
                await server.add_provider(provider)
            await server.remove_provider(provider)
            await server.add_provider(provider)
        with pytest.raises(RuntimeError, match="not running"):
            await server.add_provider(StaticProvider())

    async def test_what_was_given_names_it(self, virtual_time, serve, connect):
        """A dict or a name stands for the provider that was made of it."""
        pvs, others = {"a": scalar(1.0)}, {"b": scalar(2.0)}
        install_provider("test others", others)
        async with serve(pvs, "test others") as server:
            remove_provider("test others")
            client = await connect(server)
            with pytest.raises(ConfigError, match="already"):
                await server.add_provider(pvs)
            await server.remove_provider(pvs)
            assert await search(client, "a", "b") == ["b"]
            await server.remove_provider("test others")
            assert await search(client, "a", "b") == []
            await server.add_provider(pvs)
            assert await search(client, "a", "b") == ["a"]

    async def test_a_name_twice(self):
        provider = StaticProvider()
        provider.add("a", scalar())
        with pytest.raises(ValueError, match="'a' in this provider already"):
            provider.add("a", scalar())
        with pytest.raises(KeyError):
            provider.remove("b")
        assert list(provider) == ["a"]
        assert "a" in provider
        assert [name for name, _ in provider.items()] == ["a"]

    async def test_removed_while_it_makes_the_channel(self, virtual_time, serve, connect):
        class Slow(Maker):
            async def make_channel(self, name, peer):
                with trio.CancelScope(shield=True):
                    await trio.sleep(1)
                return scalar()

        slow = Slow()
        async with serve(slow) as server, trio.open_nursery() as nursery:
            client = await connect(server)

            async def ask():
                with pytest.raises(RemoteError, match="no provider"):
                    await client.channel("a")

            nursery.start_soon(ask)
            await settle()
            await server.remove_provider(slow)


async def test_not_yet_is_no(virtual_time, serve, connect):
    class Later(Maker):
        def test_channel(self, name):
            return NotYet

    assert not NotYet
    assert repr(NotYet) == "NotYet"
    async with serve(Later()) as server:
        assert await search(await connect(server), "a") == []

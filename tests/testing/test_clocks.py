"""Virtual time refuses what it cannot serve; stamps come from a clock that stands still."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import trio

import p4p_trio
from p4p_trio import Server, SharedPV
from p4p_trio.net import Inlet, SystemNetwork
from p4p_trio.nt import NTScalar
from p4p_trio.testing import MemoryNetwork, isolated_server, memory_server, virtual_time, wall_clock


def run(function):
    with virtual_time() as clock:
        return trio.run(function, clock=clock)


def test_time_jumps():
    async def main():
        async with memory_server([{"pv": SharedPV(nt=NTScalar("d"), initial=0.0)}], MemoryNetwork()):
            await trio.sleep(3600)
        return trio.current_time()

    assert run(main) == pytest.approx(3600)


async def real_server():
    async with isolated_server([]):
        await trio.sleep(1)


async def real_connection():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        transport = await SystemNetwork().connect(*listening.getsockname())
        try:
            await transport.receive()
        finally:
            transport.abort()


async def real_udp():
    udp = SystemNetwork().open_udp("127.0.0.1")
    try:
        await udp.receive()
    finally:
        udp.close()


async def host_name():
    await SystemNetwork().resolve("localhost")


async def thread():
    await trio.to_thread.run_sync(int)


@pytest.mark.parametrize("what", [real_server, real_connection, real_udp, host_name, thread])
def test_the_mixture_is_refused(what):
    with pytest.raises((RuntimeError, BaseExceptionGroup)) as caught:
        run(what)
    exc = caught.value
    while isinstance(exc, BaseExceptionGroup):
        exc = exc.exceptions[0]
    assert str(exc).startswith("virtual time cannot wait for")


def test_calls_from_other_threads_are_refused():
    failed = []

    async def main():
        inlet = Inlet.current()
        done = []
        inlet.put(done.append, 1)  # from home it is fine

        def foreign():
            try:
                inlet.put(print)
            except RuntimeError as exc:
                failed.append(str(exc))

        other = threading.Thread(target=foreign)
        other.start()
        other.join()
        await trio.sleep(1)
        assert done == [1]

    run(main)
    assert len(failed) == 1
    assert "a call from another thread" in failed[0]


async def test_real_time_is_as_it_was():
    """The refusals end with the context."""
    with virtual_time():
        pass
    assert await trio.to_thread.run_sync(lambda: 5) == 5
    async with isolated_server([]) as server:
        assert isinstance(server, Server)
        assert server.conf()["EPICS_PVAS_INTF_ADDR_LIST"] == "127.0.0.1"


def test_the_wall_clock():
    pv = SharedPV(nt=NTScalar("d"))
    with wall_clock(5.5) as clock:
        pv.open(0.0)
        assert pv.current().timestamp == 5.5
        clock.now += 1
        pv.post(1.0)
        assert pv.current().timestamp == 6.5
    pv.post(2.0)
    assert pv.current().timestamp > 1e9


async def test_two_servers_on_one_network():
    network = MemoryNetwork()
    async with memory_server([], network) as one, memory_server([], network) as other:
        assert one.conf()["EPICS_PVA_SERVER_PORT"] != other.conf()["EPICS_PVA_SERVER_PORT"]


class TestFixtures:
    def test_as_a_user_takes_them(self, tmp_path):
        """In a project of its own, whose conftest.py names the module."""
        (tmp_path / "conftest.py").write_text('pytest_plugins = ["p4p_trio.testing.fixtures"]\n')
        (tmp_path / "test_mine.py").write_text(
            "import trio\n"
            "from p4p_trio import SharedPV, nt\n"
            "from p4p_trio.testing import memory_server\n"
            "async def test_mine(virtual_time, network, wall_clock):\n"
            "    pv = SharedPV(nt=nt.NTScalar('d'), initial=0.0)\n"
            "    async with memory_server([{'pv': pv}], network) as server:\n"
            "        await network.connect('127.0.0.1', int(server.conf()['EPICS_PVA_SERVER_PORT']))\n"
            "        await trio.sleep(3600)\n"
            "        assert server.report()['connections'] == 0\n"
            "        assert pv.current().timestamp == wall_clock.now\n"
        )
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-o",
            "trio_mode=true",
            "--rootdir",
            str(tmp_path),
            str(tmp_path),
        ]
        here = str(Path(p4p_trio.__file__).parent.parent)
        env = os.environ | {"PYTHONPATH": here}
        done = subprocess.run(command, capture_output=True, text=True, timeout=50, cwd=tmp_path, env=env)
        assert "1 passed" in done.stdout, done.stdout + done.stderr

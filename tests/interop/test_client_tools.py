"""The command line tools against every server: list, info, put, get, call; and monitor as a process of its own."""

from __future__ import annotations

import io
import json
import os
import shlex
import sys
from collections.abc import Iterator

import attrs
import pytest
import trio

from p4p_trio.cli.options import parse
from p4p_trio.cli.program import run
from tests.interop.processes import Child, our_environment
from tests.interop.servers import SERVERS, Served

pytestmark = pytest.mark.interop


@attrs.frozen
class Printed:
    """What a tool did."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="module", params=SERVERS)
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    running = SERVERS[request.param](None)
    yield running
    running.child.close()


@pytest.fixture
def tool(served, monkeypatch):
    """Runs a command line, without the program's name, as the program does."""
    for name in [name for name in os.environ if name.startswith("EPICS_PVA")]:
        monkeypatch.delenv(name)
    for name, setting in served.conf.items():
        monkeypatch.setenv(name, setting)

    async def run_line(line: str) -> Printed:
        out, err = io.StringIO(), io.StringIO()
        code = await run(parse(shlex.split(line)), out, err)
        return Printed(code, out.getvalue(), err.getvalue())

    return run_line


async def test_put_then_get(served, tool):
    names = served.names
    put = await tool(f"put {names.double}=4.25 '{names.text}=a text' {names.array}=[1,2.5]")
    assert put == Printed(0, "", "")
    people = await tool(f"get -r field(value) {names.double} {names.text} {names.array}")
    assert people == Printed(
        0,
        f"""{names.double}
    value double = 4.25
{names.text}
    value string = "a text"
{names.array}
    value double[] = {{2}}[1, 2.5]
""",
        "",
    )
    programs = await tool(f"get --format json {names.array} {names.integer} {names.double}")
    assert (programs.code, programs.err) == (0, "")
    records = [json.loads(line) for line in programs.out.splitlines()]
    assert [record["name"] for record in records] == [names.array, names.integer, names.double]
    assert "[1.0, 2.5]" in json.dumps(records[0])
    assert "4.25" in json.dumps(records[2])


async def test_info_and_list(served, tool):
    names = served.names
    host, port = served.address
    info = await tool(f"info {names.double}")
    assert (info.code, info.err) == (0, "")
    first, second, third, *_ = info.out.splitlines()
    assert (first, second) == (f"{names.double} from {host}:{port}", 'struct "epics:nt/NTScalar:1.0" {')
    assert third.split() == ["double", "value"]
    listed = await tool(f"list {host}:{port}")
    assert (listed.code, listed.err) == (0, "")
    assert {names.double, names.text, names.array} <= set(listed.out.split())
    servers = await tool("list -w 0.5")
    assert (servers.code, servers.err) == (0, "")
    assert f"{host}:{port}" in servers.out.split()


async def test_errors_name_the_pv(served, tool):
    names = served.names
    call = await tool(f"call {names.double} a=1")
    assert call == Printed(1, "", f"p4p-trio call: rpc to {names.double!r}: {names.no_rpc}\n")
    missing = await tool("get -w 0.5 missing")
    assert (missing.code, missing.out) == (1, "")
    assert "missing: no answer within 0.5 s: searching for 'missing' at 127.0.0.1:" in missing.err
    if names.refusing is not None:
        name, value, words = names.refusing
        refused = await tool(f"put {name} {value}")
        assert (refused.code, refused.out) == (1, "")
        assert refused.err.startswith(f"p4p-trio put: put to {name!r}: ")
        assert words in refused.err


@pytest.mark.parametrize("served", ["p4p", "pvapy"], indirect=True)
async def test_call(served, tool):
    call = await tool("call adding a:double=1 b:double=2.5")
    assert (call.code, call.err) == (0, "")
    assert "double value = 3.5" in call.out


async def test_monitor(served, tool):
    """Every value is printed; the server's end is told, and Ctrl-C is the monitor's."""
    name = served.names.double
    host, port = served.address
    command = [sys.executable, "-m", "p4p_trio", "monitor", "--format", "json", "-r", "field(value)", name]
    child = Child(command, environ=our_environment(served.conf), name="monitor")
    try:
        await trio.to_thread.run_sync(lambda: child.event("connected", name=name, server=f"{host}:{port}"))
        await trio.to_thread.run_sync(lambda: child.event("update", name=name))
        mark = child.mark()
        assert await tool(f"put {name} 7.5") == Printed(0, "", "")
        update = await trio.to_thread.run_sync(lambda: child.event("update", since=mark, name=name))
        assert "7.5" in json.dumps(update)
        served.child.kill()
        await trio.to_thread.run_sync(lambda: child.event("disconnected", since=mark, name=name))
        assert await trio.to_thread.run_sync(child.interrupt) == 0
        assert child.errors == []
    finally:
        child.close()

"""The tools as a user starts them: processes on loopback, Ctrl-C, and p4p's client at the server."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.interop.peers import start_client
from tests.interop.processes import Child, our_environment

PROGRAM = [sys.executable, "-m", "p4p_trio"]
AT_ONCE = 2.0
"""Seconds within which a tool has to be gone; an interpreter that ends needs some of them on a busy machine."""


def free_udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Shell:
    """Starts tools that see only each other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.conf = {
            "EPICS_PVA_ADDR_LIST": "127.0.0.1",
            "EPICS_PVA_AUTO_ADDR_LIST": "NO",
            "EPICS_PVA_INTF_ADDR_LIST": "127.0.0.1",
            "EPICS_PVA_BROADCAST_PORT": str(free_udp_port()),
        }
        served = {
            "EPICS_PVAS_INTF_ADDR_LIST": "127.0.0.1",
            "EPICS_PVAS_BEACON_ADDR_LIST": "127.0.0.1",
            "EPICS_PVAS_AUTO_BEACON_ADDR_LIST": "NO",
        }
        self.environ = our_environment(self.conf) | served
        self.children: list[Child] = []

    def start(self, *arguments: str, **environ: str) -> Child:
        child = Child([*PROGRAM, *arguments], environ=self.environ | environ, name=f"p4p-trio {arguments[0]}")
        self.children.append(child)
        return child

    def serve(self, *arguments: str) -> Child:
        child = self.start("serve", *arguments)
        child.wait_for(lambda record: record.get("text", "").startswith("serving "))
        return child

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*PROGRAM, *arguments],
            env=self.environ,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    made = Shell(tmp_path)
    yield made
    for child in made.children:
        child.close()


def printed(text: str) -> Callable[[dict[str, Any]], bool]:
    return lambda record: text in record.get("text", "")


def interrupted(child: Child) -> int:
    """Ctrl-C: the tool ends at once, and without a word."""
    complaints = list(child.errors)
    begun = time.monotonic()
    code = child.interrupt(timeout=10)
    assert time.monotonic() - begun < AT_ONCE, child.transcript()
    child.close()
    assert child.errors == complaints, child.transcript()
    return code


def test_a_session(shell: Shell) -> None:
    """Serve, put, get, monitor and interrupt, as a user would."""
    server = shell.serve("temp=double=21.5", "mode=enum:Off,On")
    assert shell.run("get", "-F", "nt", "-r", "value", "temp", "mode").stdout.split() == [
        *("temp", "<undefined>", "21.5", "mode", "<undefined>", "(0)", "Off"),
    ]
    monitor = shell.start("monitor", "-F", "json", "temp")
    monitor.wait_for(lambda record: record.get("event") == "update" and record["value"]["value"] == 21.5)
    put = shell.run("put", "temp=-4.25", "mode=On")
    assert (put.returncode, put.stdout, put.stderr) == (0, "", "")
    monitor.wait_for(lambda record: record.get("event") == "update" and record["value"]["value"] == -4.25)
    got = shell.run("get", "-F", "json", "temp", "mode")
    values = [json.loads(line)["value"]["value"] for line in got.stdout.splitlines()]
    assert values == [-4.25, {"index": 1, "choices": ["Off", "On"]}]
    assert interrupted(server) == 0
    monitor.wait_for(lambda record: record.get("event") == "disconnected")
    shell.serve("temp=double=5")
    monitor.wait_for(lambda record: record.get("event") == "update" and record["value"]["value"] == 5)
    assert interrupted(monitor) == 0


def test_ctrl_c_ends_each_tool(shell: Shell) -> None:
    """Interrupted while they wait for what is not there: 130. `monitor` and `list -w 0` have no other end: 0."""
    expected = {"get": 130, "put": 130, "call": 130, "info": 130, "doctor": 130, "monitor": 0, "list": 0}
    arguments = {"put": ["nothing=5", "-w", "60"], "list": ["-w", "0"]}
    started = {
        command: shell.start("-d", command, *arguments.get(command, ["-w", "60", "nothing"])) for command in expected
    }
    deadline = time.monotonic() + 15
    for command, child in started.items():
        while not child.errors and command not in ("list", "doctor") and time.monotonic() < deadline:
            time.sleep(0.02)  # -d tells of the search
        if command in ("list", "doctor"):
            time.sleep(0.5)
    codes = {command: interrupted(child) for command, child in started.items()}
    assert codes == expected


def test_ctrl_c_before_the_tool_runs(shell: Shell) -> None:
    """It ends at once whenever it comes, and from our first line on without a word.

    Before that Python loads `p4p_trio/__init__.py`, and with it every room: an interrupt there is Python's, with its
    traceback, and nothing in this room can prevent it.
    """
    for pause in (0.15, 0.3, 0.6):
        child = shell.start("get", "nothing")
        time.sleep(pause)
        begun = time.monotonic()
        assert child.interrupt(timeout=10) != 0
        assert time.monotonic() - begun < AT_ONCE
        child.close()
        assert not any("p4p_trio/cli/" in line for line in child.errors), child.transcript()


def test_nobody_reads_on(shell: Shell) -> None:
    shell.serve("temp=double=21.5")
    monitor = subprocess.Popen(
        [*PROGRAM, "monitor", "temp"], env=shell.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert monitor.stdout is not None
        assert monitor.stdout.readline() == "temp\n"
        monitor.stdout.close()
        put = shell.run("put", "temp=1")
        assert put.returncode == 0, put
        assert monitor.wait(10) == 0
        assert monitor.stderr is not None
        assert "Traceback" not in monitor.stderr.read()
    finally:
        monitor.kill()
        monitor.wait()
        monitor.stderr.close()  # type: ignore[union-attr]


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_sigterm_ends_the_server(shell: Shell) -> None:
    server = shell.serve("temp=double")
    os.kill(server.pid, signal.SIGTERM)
    assert server.wait() == 0
    assert server.errors == []


@pytest.mark.interop
def test_serve_for_p4p(shell: Shell) -> None:
    """Every kind of mailbox, read, written and monitored by p4p's own client."""
    values: dict[str, tuple[str, Any, Any]] = {
        "real": ("real=1.5", 1.5, 2.25),
        "int": ("int=-7", -7, 1 << 40),
        "byte": ("uint8=200", 200, 255),
        "flag": ("bool=true", True, False),
        "text": ("string=two words", "two words", "°"),
        "wave": ("areal=[1,2,3]", [1.0, 2.0, 3.0], {"dtype": "float64", "data": [4.5]}),
        "names": ('string[]=["a","b"]', ["a", "b"], ["c"]),
    }
    server = shell.serve("mode=enum:Off,Standby,On=Standby", *(f"{name}={one[0]}" for name, one in values.items()))
    client = start_client("p4p", shell.conf)
    try:
        for name, (_, first, second) in values.items():
            assert plain(client.call("get", name=name)["value"]["value"]) == first, name
            client.call("put", name=name, value=second)
            assert plain(client.call("get", name=name)["value"]["value"]) == plain(second), name
        mode = client.call("get", name="mode")["value"]["value"]
        assert mode == {"index": 1, "choices": ["Off", "Standby", "On"]}
        client.call("monitor", name="mode", tag="mode")
        client.call("put", name="mode", value={"value.index": 2})
        client.wait_for(lambda record: record.get("value", {}).get("value", {}).get("index") == 2)
        stamp = client.call("get", name="mode")["value"]["timeStamp"]
        assert stamp["secondsPastEpoch"] == pytest.approx(time.time(), abs=30)
        with pytest.raises(Exception, match="there is no choice 3: there are 3, counted from 0"):
            client.call("put", name="mode", value={"value.index": 3})
    finally:
        client.close()
    assert interrupted(server) == 0


def plain(item: Any) -> Any:
    return item["data"] if isinstance(item, dict) else item


MODULE = """
from p4p_trio import SharedPV, StaticProvider, install_provider
from p4p_trio.nt import NTScalar

provider = StaticProvider("mine")
provider.add("module:pv", SharedPV(nt=NTScalar("d"), initial=4.5))
install_provider("mine", provider)
"""


def test_serve_a_module(shell: Shell) -> None:
    (shell.folder / "my_pvs.py").write_text(MODULE)
    shell.environ["PYTHONPATH"] += os.pathsep + str(shell.folder)
    server = shell.serve("--import", "my_pvs", "--provider", "mine", "extra=int=3")
    got = shell.run("get", "-F", "json", "-r", "value", "module:pv", "extra")
    assert [json.loads(line)["value"] for line in got.stdout.splitlines()] == [{"value": 4.5}, {"value": 3}], got
    assert interrupted(server) == 0


def test_serve_a_module_of_the_current_folder(shell: Shell) -> None:
    (shell.folder / "broken_pvs.py").write_text("x = 1\ny = x / 0\n")
    (shell.folder / "my_pvs.py").write_text(MODULE)
    for arguments, told in (
        (["--import", "broken_pvs", "--provider", "mine"], 'broken_pvs.py", line 2'),
        (["--import", "no_such_pvs", "--provider", "mine"], "no module 'no_such_pvs', neither in"),
        (["--import", "my_pvs", "--provider", "yours"], "no provider 'yours' is installed (installed: mine)"),
    ):
        done = shell.run("serve", *arguments)
        assert done.returncode == 1, done
        assert told in done.stderr
        assert "p4p_trio/cli" not in done.stderr


def test_isolated(shell: Shell) -> None:
    server = shell.start("serve", "--isolate", "-F", "json", "temp=double=1")
    conf = server.event("serving", names=["temp"])["conf"]
    assert conf["EPICS_PVA_BROADCAST_PORT"] != shell.conf["EPICS_PVA_BROADCAST_PORT"]
    shell.environ.update({key: text for key, text in conf.items() if key.startswith("EPICS_PVA_")})
    got = shell.run("get", "-r", "value", "temp")
    assert got.stdout == "temp\n    value double = 1\n", got
    assert interrupted(server) == 0


def test_help_is_quick(shell: Shell) -> None:
    """Beyond what the package itself loads: nothing of a tool, and not what only tests need."""
    check = (
        "import sys; from p4p_trio.cli import main; code = main(['--help']); "
        "loaded = {'p4p_trio.cli.output', 'p4p_trio.cli.get', 'p4p_trio.testing', 'pytest'} & sys.modules.keys(); "
        "assert not loaded, loaded; sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", check], env=shell.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_settings_that_cannot_be_used(shell: Shell) -> None:
    """The text names the variable; one line, no traceback."""
    shell.environ["EPICS_PVAS_INTF_ADDR_LIST"] = "192.0.2.1"
    shell.environ["EPICS_PVA_NAME_SERVERS"] = "[::1"
    served = shell.run("serve", "temp=double")
    assert served.returncode == 1
    assert len(served.stderr.splitlines()) == 1, served.stderr
    assert "192.0.2.1" in served.stderr
    shell.environ["EPICS_PVA_INTF_ADDR_LIST"] = "not/an/address"
    got = shell.run("get", "-w", "0.1", "temp")
    assert got.returncode == 1
    assert got.stderr.splitlines()[-1].startswith("p4p-trio get: EPICS_PVA_INTF_ADDR_LIST: invalid endpoint"), (
        got.stderr
    )


@pytest.mark.skipif(os.name == "nt", reason="a terminal of POSIX")
def test_at_a_terminal(shell: Shell) -> None:
    """Ctrl-C typed into a real terminal leaves nothing behind but the terminal's own ^C."""
    import fcntl
    import pty
    import termios

    shell.serve("temp=double=21.5")
    mine, theirs = pty.openpty()
    monitor = subprocess.Popen(
        [*PROGRAM, "monitor", "-F", "nt", "temp"],
        env=shell.environ,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(theirs)
    try:
        seen = b""
        while b"21.5" not in seen:
            seen += os.read(mine, 1000)
        os.write(mine, b"\x03")
        assert monitor.wait(AT_ONCE) == 0
        rest = b""
        while True:
            try:
                got = os.read(mine, 1000)
            except OSError:  # Linux says so when the last other end is closed
                break
            if not got:
                break
            rest += got
        assert (seen + rest).partition(b"21.5")[2].split() == [b"^C"]
    finally:
        monitor.kill()
        monitor.wait()
        os.close(mine)

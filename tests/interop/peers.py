"""The real peers as a test uses them: drivers of p4p and pvapy, and spvirit's command line tools."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.interop import environments
from tests.interop.processes import Child, client_environment

__all__ = ["Spvirit", "peer", "start_client"]

DRIVERS = Path(__file__).resolve().parent / "drivers"


def peer(name: str) -> Path:
    """The folder of this peer's environment, or the end of the test with the reason why there is none."""
    try:
        return environments.ensure(name)
    except environments.Unavailable as problem:
        text = f"{name} is not available: {problem}"
        if environments.must_exist():
            pytest.fail(text, pytrace=False)
        pytest.skip(text)


def start_client(name: str, conf: Mapping[str, str]) -> Child:
    """The driver of p4p or pvapy, ready for commands, that can see only the server with this `conf()`."""
    peer(name)
    command = [environments.executable(name, "python"), DRIVERS / f"{name}_client.py"]
    child = Child(command, environ=client_environment(conf), name=f"{name}'s client")
    try:
        child.event("ready", timeout=20)
        if name == "p4p":
            child.call("connect", conf=dict(conf))
    except BaseException:
        child.close()
        raise
    return child


class Spvirit:
    """spvirit's command line tools, told to search on loopback only."""

    def __init__(self, conf: dict[str, str]) -> None:
        peer("spvirit")
        self.environ = client_environment(conf)
        # Its AUTO_ADDR_LIST=NO forbids UDP altogether; an explicit --search-addr replaces all other targets.
        self.environ.pop("EPICS_PVA_AUTO_ADDR_LIST", None)
        udp_port = conf["EPICS_PVA_BROADCAST_PORT"]
        self.search = ["--search-addr", "127.0.0.1", "--bind-addr", "127.0.0.1", "--udp-port", udp_port]

    def command(self, tool: str, *arguments: str) -> list[str]:
        return [str(environments.executable("spvirit", tool)), *arguments, *self.search]

    def run(self, tool: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(tool, *arguments), env=self.environ, capture_output=True, text=True, timeout=20, check=False
        )

    def output(self, tool: str, *arguments: str) -> str:
        """What the tool printed; the test fails if the tool does."""
        done = self.run(tool, *arguments)
        assert done.returncode == 0, f"{tool} {arguments} ended with {done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout

    def start(self, tool: str, *arguments: str) -> Child:
        return Child(self.command(tool, *arguments), environ=self.environ, name=tool)

"""A tool that runs inside a test: the arguments that a user writes, and everything that is printed."""

from __future__ import annotations

import io
import os
import shlex
from pathlib import Path

import attrs
import trio

from p4p_trio.cli.options import parse
from p4p_trio.cli.program import run
from p4p_trio.testing import MemoryNetwork

__all__ = ["GOLDEN", "Printed", "Tools", "golden"]

GOLDEN = Path(__file__).resolve().parent / "golden"


@attrs.frozen
class Printed:
    """What a tool did."""

    code: int
    out: str
    err: str


class Tools:
    """Runs tools on one network in memory."""

    def __init__(self, network: MemoryNetwork) -> None:
        self.network = network

    async def __call__(self, line: str) -> Printed:
        """Run a command line, without the program's name, to its end."""
        return await self.start(line)()

    def start(self, line: str) -> Running:
        return Running(self.network, line)


class Running:
    """One tool: call it, in a task; what it has printed so far can be read meanwhile."""

    def __init__(self, network: MemoryNetwork, line: str) -> None:
        self._network = network
        self._line = line
        self.stdout = io.StringIO()
        self.stderr = io.StringIO()

    async def __call__(self) -> Printed:
        options = parse(shlex.split(self._line))
        code = await run(options, self.stdout, self.stderr, network=self._network)
        return Printed(code, self.stdout.getvalue(), self.stderr.getvalue())

    async def until(self, text: str) -> None:
        """Wait until it has printed *text*."""
        with trio.fail_after(60):
            while text not in self.stdout.getvalue() + self.stderr.getvalue():  # noqa: ASYNC110  # it tells nobody
                await trio.sleep(0.01)


def golden(name: str, text: str) -> None:
    """*text* is what the file says. P4P_TRIO_GOLDEN=1 writes the files anew, to be read before they are kept."""
    path = GOLDEN / name
    if os.environ.get("P4P_TRIO_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")

"""docs/how-to/tools.md: each of its lines is run, and prints what stands there. P4P_TRIO_GOLDEN=1 writes it anew."""

from __future__ import annotations

import io
import os
import re
import shlex
import sys
from pathlib import Path

import pytest
import trio

from p4p_trio import remove_provider
from p4p_trio.cli.options import parse
from p4p_trio.cli.program import run
from p4p_trio.testing import MemoryNetwork, WallClock
from tests.cli.tool import Tools

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "tools.md"


class Reader:
    """Does what the page says."""

    def __init__(self, network: MemoryNetwork, nursery: trio.Nursery) -> None:
        self.network = network
        self.nursery = nursery
        self.server = trio.CancelScope()
        self.code = 0

    async def run(self, line: str, printed: io.StringIO) -> None:
        """Run one command line; both streams go to *printed*, as on a terminal."""
        self.code = await run(parse(shlex.split(line)[1:]), printed, printed, network=self.network)

    async def serve(self, line: str, printed: io.StringIO) -> None:
        self.server.cancel()  # it would have been ended before the next one
        await trio.sleep(1)
        self.server = trio.CancelScope()

        async def serve() -> None:
            with self.server:
                await self.run(line, printed)

        self.nursery.start_soon(serve)
        await trio.sleep(1)

    async def watch(self, line: str, printed: io.StringIO, meanwhile: str) -> None:
        """Until Ctrl-C."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.run, line, printed)
            await trio.sleep(1)
            if meanwhile:
                await self.run(meanwhile, io.StringIO())
                await trio.sleep(1)
            nursery.cancel_scope.cancel()

    async def block(self, text: str) -> str:
        """A console block with what really comes of it."""
        made = []
        meanwhile = ""
        lines = text.splitlines()
        for n, line in enumerate(lines):
            if line.startswith("# meanwhile: "):
                meanwhile = line.removeprefix("# meanwhile: ")
                made.append(line)
            elif line.startswith("$ "):
                made.append(line)
                following = next((each for each in lines[n + 1 :] if each == "^C" or each.startswith("$ ")), "")
                printed = io.StringIO()
                command = line.removeprefix("$ ")
                if command == "echo $?":
                    printed.write(f"{self.code}\n")
                elif command.startswith("p4p-trio serve"):
                    await self.serve(command, printed)
                elif following == "^C":
                    await self.watch(command, printed, meanwhile)
                    meanwhile = ""
                    printed.write("^C\n")
                else:
                    await self.run(command, printed)
                made += printed.getvalue().splitlines()
        return "".join(f"{line}\n" for line in made)


async def test_the_page(
    virtual_time: object, tools: Tools, wall_clock: WallClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wall_clock.now = 1795377622.036
    monkeypatch.setattr("p4p_trio.cli.output.clock", lambda: "2026-11-22 20:00:27.476279805")
    page = PAGE.read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (tmp_path / "my_pvs.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    async with trio.open_nursery() as nursery:
        reader = Reader(tools.network, nursery)
        made = [
            await reader.block(part) if part.startswith(("$ ", "# meanwhile: ")) else part
            for part in re.split(r"(?<=```console\n)(.*?)(?=```)", page, flags=re.DOTALL)
        ]
        nursery.cancel_scope.cancel()
    remove_provider("mine")
    sys.modules.pop("my_pvs", None)
    if os.environ.get("P4P_TRIO_GOLDEN"):
        PAGE.write_text("".join(made), encoding="utf-8")
    assert "".join(made) == page

"""The house has one staircase: imports walk down it, and no event loop lives below `net`.

Read from the syntax trees, so an import inside a function or under TYPE_CHECKING counts like any other.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "p4p_trio"
ORDER = ("errors", "config", "data", "nt", "wire", "protocol", "net", "server", "client", "testing", "cli")
NEIGHBOURS = {("wire", "nt"), ("server", "client"), ("client", "server")}  # not above, but not their business
EVENT_LOOPS = {"trio", "anyio", "asyncio", "sniffio", "outcome"}
SANS_IO = ORDER[: ORDER.index("net")]
LONGEST_FILE = 500

FILES = sorted(PACKAGE.rglob("*.py"))
each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())


def room_of(path: Path) -> str:
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    return "cli" if room == "__main__" else room


def imported(tree: ast.AST, package: tuple[str, ...]) -> Iterator[tuple[str, int]]:
    """Every imported dotted name and its line; `from x import y` gives `x.y`, since y may be a module.

    Args:
        package: what the file's relative imports are relative to.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            kept = package[: len(package) - (node.level - 1)] if node.level else ()
            module = (*kept, *node.module.split(".")) if node.module else kept
            for alias in node.names:
                yield ".".join((*module, alias.name)), node.lineno


def imports_of(path: Path) -> Iterator[tuple[str, int]]:
    package = (PACKAGE.name, *path.relative_to(PACKAGE).parent.parts)
    return imported(ast.parse(path.read_text(encoding="utf-8")), package)


def misplaced(room: str, other: str) -> bool:
    return ORDER.index(other) > ORDER.index(room) or (room, other) in NEIGHBOURS


@each_file
def test_imports_walk_down(path: Path) -> None:
    room = room_of(path)
    if room == "__init__":
        return  # the front door sees every room
    assert room in ORDER, f"{room} has no place in the house: give it one in ORDER"
    wrong = []
    for name, line in imports_of(path):
        head, *rest = name.split(".")
        if head != PACKAGE.name:
            continue
        if not rest or rest[0] not in ORDER:
            wrong.append(f"line {line}: {name} goes through the front door")
        elif misplaced(room, rest[0]):
            wrong.append(f"line {line}: {room} reaches {rest[0]}")
    assert not wrong, "\n".join(wrong)


@each_file
def test_no_event_loop_below_net(path: Path) -> None:
    if room_of(path) not in SANS_IO:
        return
    wrong = [f"line {line}: {name}" for name, line in imports_of(path) if name.split(".")[0] in EVENT_LOOPS]
    assert not wrong, "\n".join(wrong)


@each_file
def test_no_file_is_too_long(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= LONGEST_FILE, f"{lines} lines; two ideas live here"


@pytest.mark.parametrize(
    ("source", "package", "expected"),
    [
        ("import trio.lowlevel", "p4p_trio.net", ["trio.lowlevel"]),
        ("from .field import Field", "p4p_trio.data", ["p4p_trio.data.field.Field"]),
        ("from . import field", "p4p_trio.data", ["p4p_trio.data.field"]),
        ("from ..errors import PVAError", "p4p_trio.data", ["p4p_trio.errors.PVAError"]),
        ("from ..wire.messages import udp", "p4p_trio.protocol", ["p4p_trio.wire.messages.udp"]),
        ("def f():\n    from ...server import Server", "p4p_trio.wire.messages", ["p4p_trio.server.Server"]),
        ("if TYPE_CHECKING:\n    from p4p_trio import server", "p4p_trio.data", ["p4p_trio.server"]),
    ],
)
def test_the_judge_reads_imports_as_python_does(source: str, package: str, expected: list[str]) -> None:
    assert [name for name, _ in imported(ast.parse(source), tuple(package.split(".")))] == expected


@pytest.mark.parametrize(
    ("room", "other", "wrong"),
    [
        ("data", "wire", True),
        ("wire", "data", False),
        ("wire", "nt", True),
        ("server", "client", True),
        ("client", "server", True),
        ("cli", "server", False),
        ("net", "net", False),
    ],
)
def test_the_judge_knows_up_from_down(room: str, other: str, wrong: bool) -> None:
    assert misplaced(room, other) is wrong

"""What a reader is promised about the repository itself: documents that work, and nothing that is only true here."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TEXT_SUFFIXES = {".py", ".md", ".rst", ".toml", ".txt", ".c", ".h", ".cfg", ".ini", ".yml", ".yaml", ""}
PARAGRAPH_OF_AN_EXAMPLE = 40


def files() -> list[Path]:
    """What a clone holds: tracked files, and new ones that git does not ignore."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    paths = [ROOT / name.decode() for name in listed.stdout.split(b"\0") if name]
    return [path for path in paths if path.is_file()]


def texts() -> list[tuple[str, str]]:
    return [
        (path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))
        for path in files()
        if path.suffix in TEXT_SUFFIXES
    ]


def test_no_paths_of_one_machine() -> None:
    """A path that exists on one machine only: a home, a work folder, a temporary folder with a name in it."""
    local = re.compile(r"""(?<![\w.])/(?:home|Users|root|work|mnt)/[\w.-]+""")
    found = [f"{name}: {hit.group()}" for name, text in texts() for hit in local.finditer(text)]
    assert not found, "\n".join(found)


def test_documents_name_files_that_exist() -> None:
    """Every `path/with.suffix` and every [link](target) of a document is there."""
    missing: list[str] = []
    for path in files():
        if path.suffix != ".md":
            continue
        text = path.read_text(encoding="utf-8")
        links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text)
        quoted = re.findall(r"`((?:examples|benchmarks|tests|docs|p4p_trio)/[\w/.-]*\w)`", text)
        targets = [path.parent / link for link in links if "://" not in link] + [ROOT / name for name in quoted]
        missing += [f"{path.relative_to(ROOT)}: {target}" for target in targets if not target.exists()]
    assert not missing, "\n".join(missing)


def test_python_in_the_readme_is_a_file_that_a_test_runs() -> None:
    """A code block of the README is, line for line, part of an example: examples are executed by a test."""
    examples = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "examples").glob("*.py"))]
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    for block in blocks:
        assert any(block.strip() in example for example in examples), f"in no example:\n{block}"


def test_every_example_is_executed_by_a_test() -> None:
    judge = (ROOT / "tests" / "test_examples.py").read_text(encoding="utf-8")
    for path in sorted((ROOT / "examples").glob("*.py")):
        assert f'"{path.name}"' in judge, f"{path.name} is executed by no test"


def test_examples_are_small_and_say_how_to_see_them_work() -> None:
    for path in sorted((ROOT / "examples").glob("*.py")):
        source = path.read_text(encoding="utf-8")
        docstring = ast.get_docstring(ast.parse(source))
        assert docstring, path.name
        if path.name != "demo.py":
            assert "Try it" in docstring, path.name
            assert len(source.splitlines()) <= PARAGRAPH_OF_AN_EXAMPLE, path.name


@pytest.mark.parametrize("word", ["demo", "test", "bench"])
def test_words_of_the_makefile(word: str) -> None:
    assert re.search(rf"^{word}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert f"make {word}" in (ROOT / "README.md").read_text(encoding="utf-8")

"""The peers' own environments: one per peer under `.peers/`, made by the test set-up and by nobody else.

The peers are other people's PVAccess implementations. Each is installed with exact versions into an
environment of its own, so that nothing of theirs (a genuine `p4p` above all) is ever importable beside
this package. Only the standard library is used: this runs before anything is installed.

    python tests/interop/environments.py            make all of them, say what could not be made
    python tests/interop/environments.py p4p        make one

A peer that cannot be installed here leaves its reason in `.peers/NAME.unavailable`; the fixtures skip
with it, or fail with it on Linux x86-64, where every peer has wheels. The next run tries again.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import venv
from pathlib import Path

__all__ = ["PEERS", "ROOT", "Unavailable", "directory", "ensure", "executable", "must_exist"]

ROOT = Path(__file__).resolve().parents[2] / ".peers"

PEERS: dict[str, tuple[str, ...]] = {
    "p4p": ("p4p==4.3.0", "pvxslibs==1.5.3"),
    "pvapy": ("pvapy==5.6.0", "numpy"),
    "spvirit": ("spvirit==0.4.1", "spvirit-tools==0.4.1"),
}

# Proof of life: what an environment must be able to do before it gets its stamp.
PROBES: dict[str, tuple[str, ...]] = {
    "p4p": ("python", "-c", "import p4p.client.thread, p4p.server.thread"),
    "pvapy": ("python", "-c", "import pvaccess, numpy"),
    "spvirit": ("spget", "--help"),
}

PIP_FLAGS = ("-qq", "--disable-pip-version-check", "--no-input", "--only-binary=:all:")


class Unavailable(Exception):
    """A peer cannot be installed here; the text is the reason."""


def must_exist() -> bool:
    """Whether a missing peer is a failure rather than a skip."""
    return sys.platform == "linux" and platform.machine() in {"x86_64", "AMD64"}


def directory(name: str) -> Path:
    return ROOT / name


def executable(name: str, program: str) -> Path:
    """Where *program* of the peer *name* is (or will be)."""
    folder, suffix = ("Scripts", ".exe") if os.name == "nt" else ("bin", "")
    return directory(name) / folder / (program + suffix)


def ensure(name: str) -> Path:
    """Make the environment of *name* if it is not there as pinned, and return its folder.

    Raises:
        Unavailable: it cannot be made; nothing half-made is left behind.
    """
    stamp = directory(name) / "stamp.json"
    wanted = {"packages": list(PEERS[name]), "python": platform.python_version(), "folder": str(directory(name))}
    if stamp.is_file() and json.loads(stamp.read_text()) == wanted:
        return directory(name)
    reason_file = ROOT / f"{name}.unavailable"
    try:
        _build(name)
    except Unavailable as problem:
        shutil.rmtree(directory(name), ignore_errors=True)
        ROOT.mkdir(exist_ok=True)
        reason_file.write_text(f"{problem}\n")
        raise
    stamp.write_text(json.dumps(wanted))
    reason_file.unlink(missing_ok=True)
    return directory(name)


def _build(name: str) -> None:
    print(f"making the environment of {name} ({' '.join(PEERS[name])})", file=sys.stderr, flush=True)
    shutil.rmtree(directory(name), ignore_errors=True)
    try:
        venv.create(directory(name), with_pip=True)
    except (OSError, subprocess.CalledProcessError) as exc:
        raise Unavailable(f"python -m venv failed: {exc}") from exc
    python = executable(name, "python")
    _run([str(python), "-m", "pip", "install", *PIP_FLAGS, *PEERS[name]])
    program, *arguments = PROBES[name]
    _run([str(executable(name, program)), *arguments])


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise Unavailable(f"{Path(command[0]).name} could not be run: {exc}") from exc
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines()
        last = "; ".join(line for line in lines[-3:] if line.strip()) or "no output"
        raise Unavailable(f"{' '.join([Path(command[0]).name, *command[1:]])} ended with {done.returncode}: {last}")


def main() -> int:
    parser = argparse.ArgumentParser(description="make the peers' environments under .peers/")
    parser.add_argument("names", nargs="*", help=f"which of {', '.join(PEERS)} (default: all)")
    names = parser.parse_args().names or list(PEERS)
    unknown = sorted(set(names) - set(PEERS))
    if unknown:
        parser.error(f"unknown peer {', '.join(unknown)}; known are {', '.join(PEERS)}")
    missing = 0
    for name in names:
        try:
            ensure(name)
        except Unavailable as problem:
            missing += 1
            print(f"{name} is not available: {problem}", file=sys.stderr)
    # The tests decide what a missing peer means, so that the rest of the suite still runs.
    if missing and must_exist():
        print("on this platform the tests will fail for it", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())

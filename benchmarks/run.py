"""Speed against p4p's own server: both up at once, the same load generator, measured in turn in one run.

    python -m benchmarks.run                    everything
    python -m benchmarks.run --only get,put     some cases
    python -m benchmarks.run --check            exit code 1 if a goal is missed

A round measures ours and p4p's one after the other, and the next round turns the order round, so that
a slow moment of the machine hits both. What is printed are medians over the rounds; a ratio is the median
of the rounds' own ratios, with the smallest and the largest beside it. CPU is that of all threads of the
server process for one operation; it is steadier than the rates, because the load generator shares the
cores. Differences below a quarter are noise.

EPICS gives p4p's network threads real-time priority if it may, that is to root. Nobody should have to be root, and on
two cores such a server does not let any other program run; so it is told not to.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

FOLDER = Path(__file__).resolve().parent
ENVIRONMENT = {
    "EPICS_ALLOW_POSIX_THREAD_PRIORITY_SCHEDULING": "NO",
    "PVXS_LOG": "pvxs.tcp.io=CRIT",  # clients that leave in the middle of something are no news
}
P4P_PYTHON = FOLDER.parent / ".peers" / "p4p" / "bin" / "python"


@dataclass(frozen=True)
class Case:
    """One workload. *operation* is what the load generator sends; *goal* the wanted ratio to p4p's rate."""

    pv: str
    operation: str
    about: str
    goal: float | None = None


CASES = {
    "get": Case("bench:get", "get", "GET of an NTScalar", 0.8),
    "put": Case("bench:put", "put", "PUT, an async handler that acknowledges", 3.0),
    "put-def": Case("bench:put-def", "put", "PUT, a plain handler that acknowledges", 3.0),
    "post": Case("bench:post", "put", "PUT, an async handler that posts", 3.0),
    "post-def": Case("bench:post-def", "put", "PUT, a plain handler that posts", 3.0),
}


@dataclass
class Figures:
    """What one server did in one case, a number for each round."""

    rate: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)
    p50_us: list[float] = field(default_factory=list)
    p99_us: list[float] = field(default_factory=list)
    reply_bytes: list[list[int]] = field(default_factory=list)


class ServerProcess:
    """A server that is up while the block runs; it ends with its stdin.

    Attributes:
        told: what it printed when it was ready.
        port: its TCP port.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"the server did not start: {' '.join(command)}")
        self.told: dict[str, Any] = json.loads(line)
        self.port: int = self.told["port"]

    def __enter__(self) -> ServerProcess:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        try:
            self._process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()

    def cpu(self) -> float:
        """Seconds of CPU that all its threads have used so far; NaN where the system does not tell."""
        total = 0
        for schedstat in Path(f"/proc/{self._process.pid}/task").glob("*/schedstat"):
            try:
                total += int(schedstat.read_text().split()[0])
            except (OSError, IndexError):
                continue  # the thread has just ended
        return total * 1e-9 if total else float("nan")


def build() -> Path:
    """The load generator, compiled if it is not yet."""
    source, program = FOLDER / "load.c", FOLDER / ".build" / "load"
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
        if compiler is None:
            raise SystemExit("the benchmark wants a C compiler (cc) for its load generator")
        program.parent.mkdir(exist_ok=True)
        subprocess.run([compiler, "-O2", "-Wall", "-std=gnu11", "-o", program, source], check=True)
    return program


def measure(load: Path, server: ServerProcess, case: Case, options: argparse.Namespace, into: Figures) -> float:
    """One measurement; returns the rate."""
    before = server.cpu()
    command = [load, str(server.port), case.pv, case.operation, str(options.outstanding)]
    done = subprocess.run(
        [*command, str(options.warmup), str(options.seconds)], capture_output=True, text=True, timeout=120, check=False
    )
    if done.returncode != 0:
        raise SystemExit(f"{case.about}: {done.stderr.strip()}")
    used = server.cpu() - before
    result = json.loads(done.stdout)
    rate: float = result["operations"] / result["seconds"]
    into.rate.append(rate)
    into.cpu_us.append(used / result["total"] * 1e6)
    into.p50_us.append(result["p50_us"])
    into.p99_us.append(result["p99_us"])
    into.reply_bytes.append(result["reply_bytes"])
    return rate


def spread(numbers: Sequence[float], form: str) -> str:
    return f"{statistics.median(numbers):{form}} ({min(numbers):{form}} - {max(numbers):{form}})"


def report(name: str, case: Case, ours: Figures, theirs: Figures, ratios: Sequence[float]) -> bool:
    """Print one case; whether its goal is met."""
    ratio = statistics.median(ratios)
    met = case.goal is None or ratio >= case.goal
    print(f"\n{name}: {case.about}")
    for who, figures in (("ours", ours), ("p4p", theirs)):
        rates = spread([rate / 1000 for rate in figures.rate], ".1f")
        cpu, p50, p99 = (statistics.median(n) for n in (figures.cpu_us, figures.p50_us, figures.p99_us))
        print(f"  {who:5} {rates} k/s   CPU {cpu:.2f} us/op   p50 {p50:.0f} us, p99 {p99:.0f} us")
    goal = "" if case.goal is None else f"   goal {case.goal}: {'met' if met else 'MISSED'}"
    cpu_ratio = statistics.median(ours.cpu_us) / statistics.median(theirs.cpu_us)
    print(f"  ratio {spread(ratios, '.2f')}   CPU ratio {cpu_ratio:.2f}{goal}")
    sizes = [sorted({size for pair in figures.reply_bytes for size in pair}) for figures in (ours, theirs)]
    if case.operation == "get" and sizes[0] != sizes[1]:
        print(f"  not a fair comparison: replies have {sizes[0]} and {sizes[1]} bytes")
    return met


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(CASES), help="cases, comma-separated: " + ", ".join(CASES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.5, help="of each measurement (%(default)s)")
    parser.add_argument("--warmup", type=float, default=0.1, help="seconds before it (%(default)s)")
    parser.add_argument("--outstanding", type=int, default=64, help="requests in flight (%(default)s)")
    parser.add_argument("--json", type=Path, help="also write every figure to this file")
    parser.add_argument("--check", action="store_true", help="exit code 1 if a goal is missed")
    parser.add_argument("--candidate", help="a command that stands in for our server, to judge the benchmark itself")
    options = parser.parse_args()
    names = [name for name in options.only.split(",") if name]
    unknown = sorted(set(names) - set(CASES))
    if unknown or not names:
        parser.error(f"unknown case {', '.join(unknown)}; there are {', '.join(CASES)}")

    load = build()
    if not P4P_PYTHON.exists():
        raise SystemExit("p4p's environment is missing: make peers")
    ours_command = options.candidate.split() if options.candidate else [sys.executable, str(FOLDER / "server_ours.py")]
    results: dict[str, tuple[Figures, Figures, list[float]]] = {name: (Figures(), Figures(), []) for name in names}
    os.environ.update(ENVIRONMENT)
    with ExitStack() as stack:
        ours = stack.enter_context(ServerProcess(ours_command))
        theirs = stack.enter_context(ServerProcess([str(P4P_PYTHON), str(FOLDER / "server_p4p.py")]))
        for number in range(options.rounds):
            for name in names:
                for_ours, for_theirs, ratios = results[name]
                pair = [(ours, for_ours), (theirs, for_theirs)]
                for server, figures in pair if number % 2 == 0 else reversed(pair):
                    measure(load, server, CASES[name], options, figures)
                ratios.append(for_ours.rate[-1] / for_theirs.rate[-1])

    print(
        f"{options.rounds} rounds of {options.seconds} s, {options.outstanding} outstanding on one connection; "
        f"Python {platform.python_version()}, {platform.machine()}. Medians; smallest and largest in brackets."
    )
    met = [report(name, CASES[name], *results[name]) for name in names]
    return finish(options, results, met)


def finish(options: argparse.Namespace, results: Mapping[str, tuple[Any, Any, list[float]]], met: list[bool]) -> int:
    """Write the figures to the file that was asked for, if any; the exit code."""
    if options.json:
        content = {
            name: {"ours": asdict(ours), "p4p": asdict(theirs), "ratio": ratios}
            for name, (ours, theirs, ratios) in results.items()
        }
        options.json.write_text(json.dumps(content, indent=1))
    return 1 if options.check and not all(met) else 0


if __name__ == "__main__":
    sys.exit(main())

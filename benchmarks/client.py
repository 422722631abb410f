"""Speed of our client beside p4p's thread client: the same p4p server, the same work, in turn in one run.

    python -m benchmarks.client                       everything
    python -m benchmarks.client --only get,updates    some cases
    python -m benchmarks.client --check               exit code 1 if a goal is missed

Each measurement is a process of its own (`client_ours.py`, `client_p4p.py`) that warms up and then measures itself.
A round is one of ours and one of p4p's, and the next round turns the order round, so that a slow moment of the machine
hits both. What is printed are medians over the rounds; a ratio is the median of the rounds' own ratios, with
the smallest and the largest beside it. CPU is that of all threads of the client process.

Where updates are counted, a server in a process of its own posts without a pause, and a client counts what its
user sees: what is merged on the way, by the server or by the client, does not count. Server and client want
more than two cores then, so these figures spread widely; the CPU for an update is the steadier one.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.run import ENVIRONMENT, FOLDER, P4P_PYTHON, ServerProcess, finish, spread

SERVER = [str(P4P_PYTHON), str(FOLDER / "server_p4p_many.py")]
CLIENTS = {
    "ours": [sys.executable, "-m", "benchmarks.client_ours"],
    "p4p": [str(P4P_PYTHON), str(FOLDER / "client_p4p.py")],
}


@dataclass(frozen=True)
class Case:
    """One workload: what the drivers are told to do, and the wanted ratio of ours to p4p's.

    A *rate* is better when it is higher; everything else is the time of one call, and better when it is lower.
    """

    work: str
    count: int
    about: str
    goal: float | None = None
    rate: bool = False


CASES = {
    "get": Case("get", 1, "get of one PV, again and again: time of one", 0.5),
    "list-100": Case("get", 100, "get of 100 PVs in one call: time of the call"),
    "list-1000": Case("get", 1000, "get of 1,000 PVs in one call: time of the call", 0.5),
    "updates": Case("updates", 1, "updates received per second of one PV, flat out", 1.0, rate=True),
    "monitors": Case("monitors", 1000, "1,000 monitors, from a new context to the first value of the last one"),
}


@dataclass
class Figures:
    """What one client did in one case, a number for each round.

    Attributes:
        figure: median time of a call in us, or updates per second.
        p99_us: of the times of the calls.
        cpu_us: for a call, or an update.
        fraction: of the updates that were posted, those that were received.
    """

    figure: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)
    p99_us: list[float] = field(default_factory=list)
    fraction: list[float] = field(default_factory=list)

    def add(self, found: dict[str, Any]) -> None:
        """One round's measurement, as a driver printed it."""
        if "times" in found:
            times = sorted(found["times"])
            done = len(times)
            self.figure.append(statistics.median(times) * 1e6)
            self.p99_us.append(times[-1 - done // 100] * 1e6)
        else:
            done = found["received"]
            self.figure.append(done / found["seconds"])
            self.fraction.append(done / max(1.0, found["posted"]))
        self.cpu_us.append(found["cpu"] / done * 1e6)


def measure(client: str, case: Case, seconds: float, conf: dict[str, str], into: Figures) -> None:
    """One measurement in a process of its own."""
    command = [*CLIENTS[client], case.work, str(case.count), str(seconds), json.dumps(conf)]
    done = subprocess.run(command, cwd=FOLDER.parent, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{client}, {case.about}:\n{done.stderr.strip()}")
    into.add(json.loads(done.stdout))


def report(name: str, case: Case, ours: Figures, theirs: Figures, ratios: Sequence[float]) -> bool:
    """Print one case; whether its goal is met."""
    ratio = statistics.median(ratios)
    met = case.goal is None or (ratio >= case.goal if case.rate else ratio <= case.goal)
    print(f"\n{name}: {case.about}")
    for who, figures in (("ours", ours), ("p4p", theirs)):
        cpu = f"CPU {statistics.median(figures.cpu_us):,.0f} us"
        if case.rate:
            seen = f"{statistics.median(figures.fraction):.0%} of what was posted"
            print(f"  {who:5} {spread(figures.figure, ',.0f')} /s   {cpu}   {seen}")
        else:
            p99 = f"p99 {statistics.median(figures.p99_us):,.0f} us"
            print(f"  {who:5} {spread(figures.figure, ',.0f')} us   {cpu}   {p99}")
    sign = ">=" if case.rate else "<="
    goal = "" if case.goal is None else f"   goal {sign} {case.goal}: {'met' if met else 'MISSED'}"
    cpu_ratio = statistics.median(ours.cpu_us) / statistics.median(theirs.cpu_us)
    print(f"  ratio {spread(ratios, '.2f')}   CPU ratio {cpu_ratio:.2f}{goal}")
    return met


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(CASES), help="cases, comma-separated: " + ", ".join(CASES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement (%(default)s)")
    parser.add_argument("--json", type=Path, help="also write every figure to this file")
    parser.add_argument("--check", action="store_true", help="exit code 1 if a goal is missed")
    options = parser.parse_args()
    names = [name for name in options.only.split(",") if name]
    unknown = sorted(set(names) - set(CASES))
    if unknown or not names:
        parser.error(f"unknown case {', '.join(unknown)}; there are {', '.join(CASES)}")
    if options.rounds < 1:
        parser.error("at least one round")
    if not P4P_PYTHON.exists():
        raise SystemExit("p4p's environment is missing: make peers")

    os.environ.update(ENVIRONMENT)
    results: dict[str, tuple[Figures, Figures, list[float]]] = {name: (Figures(), Figures(), []) for name in names}
    with ExitStack() as stack:
        quiet = stack.enter_context(ServerProcess(SERVER))
        for number in range(options.rounds):
            for name in names:
                case = CASES[name]
                ours, theirs, ratios = results[name]
                pair = [("ours", ours), ("p4p", theirs)]
                for client, figures in pair if number % 2 == 0 else reversed(pair):
                    if case.work == "updates":
                        with ServerProcess([*SERVER, "flood"]) as server:
                            measure(client, case, options.seconds, server.told["conf"], figures)
                    else:
                        measure(client, case, options.seconds, quiet.told["conf"], figures)
                ratios.append(ours.figure[-1] / theirs.figure[-1])

    print(
        f"{options.rounds} rounds of {options.seconds} s; Python {platform.python_version()}, {platform.machine()}, "
        f"{os.cpu_count()} cores. Medians; smallest and largest in brackets."
    )
    met = [report(name, CASES[name], *results[name]) for name in names]
    return finish(options, results, met)


if __name__ == "__main__":
    sys.exit(main())

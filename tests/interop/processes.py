"""Programs under test as child processes that speak JSON lines: the server, and the peers' drivers.

Everything a child prints is kept with the time it came, so a failing test can show the whole
conversation. Nothing here needs an event loop: a test asks, and waits for the line it wants.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["Child", "DriverError", "Record", "client_environment", "loopback_only", "our_environment", "our_server"]

Record = dict[str, Any]
FOLDER = Path(__file__).resolve().parent


class DriverError(Exception):
    """A driver's command failed in the peer; the text is the peer's, `kind` its exception's class."""

    def __init__(self, text: str, kind: str) -> None:
        super().__init__(text)
        self.kind = kind


def client_environment(conf: Mapping[str, str]) -> dict[str, str]:
    """The process environment of a client that can see only the server with this `conf()`."""
    environ = {key: value for key, value in os.environ.items() if not key.startswith("EPICS_PVA")}
    environ.update({key: value for key, value in conf.items() if key.startswith("EPICS_PVA_")})
    return environ


def our_environment(conf: Mapping[str, str]) -> dict[str, str]:
    """The same for a program of this repository: the package is found, installed or not."""
    return client_environment(conf) | {"PYTHONPATH": str(FOLDER.parents[1])}


def loopback_only(conf: Mapping[str, str]) -> None:
    """A guard for the whole room: no test of ours ever talks to another host."""
    for key, value in conf.items():
        if key.endswith("ADDR_LIST") and "AUTO" not in key:
            for entry in value.split():
                if not entry.startswith(("127.", "[::1]", "localhost", "224.0.0.128")):
                    raise AssertionError(f"{key}={value} leaves this host")


class Child:
    """One child process and everything it said.

    Args:
        command: argv.
        environ: its whole environment, or None for ours.
        name: how it is called in failures.
    """

    def __init__(self, command: Sequence[str | Path], *, environ: Mapping[str, str] | None = None, name: str) -> None:
        self.name = name
        self.records: list[Record] = []
        self.errors: list[str] = []
        self._arrived = threading.Condition()
        self._ended = False
        self._number = 0
        self._process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=None if environ is None else dict(environ),
            start_new_session=True,  # a Ctrl-C at the test run is pytest's business, not the child's
        )
        self._threads = [
            threading.Thread(target=self._read_records, daemon=True),
            threading.Thread(target=self._read_errors, daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    # -- listening

    def _read_records(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            try:
                record = json.loads(line)
            except json.JSONDecodeError:
                record = {"text": line.rstrip("\n")}
            with self._arrived:
                self.records.append(record)
                self._arrived.notify_all()
        with self._arrived:
            self._ended = True
            self._arrived.notify_all()

    def _read_errors(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.errors.append(line.rstrip("\n"))

    def mark(self) -> int:
        """A place in the conversation; `wait_for(since=mark)` looks only at what comes after it."""
        with self._arrived:
            return len(self.records)

    def wait_for(self, wanted: Callable[[Record], bool], *, since: int = 0, timeout: float = 10.0) -> Record:
        """The first record after *since* that is *wanted*; waits for it up to *timeout*."""
        deadline = time.monotonic() + timeout
        position = since
        with self._arrived:
            while True:
                for record in self.records[position:]:
                    if wanted(record):
                        return record
                position = len(self.records)
                remaining = deadline - time.monotonic()
                if self._ended or remaining <= 0:
                    why = "ended" if self._ended else f"said nothing of the kind for {timeout} s"
                    raise AssertionError(f"{self.name} {why}\n{self.transcript(since)}")
                self._arrived.wait(remaining)

    def event(self, kind: str, *, since: int = 0, timeout: float = 10.0, **content: Any) -> Record:
        """The first record with `event` = *kind* and the given content."""
        return self.wait_for(
            lambda record: record.get("event") == kind and content.items() <= record.items(),
            since=since,
            timeout=timeout,
        )

    def since(self, mark: int) -> list[Record]:
        with self._arrived:
            return self.records[mark:]

    def transcript(self, since: int = 0) -> str:
        said = [f"  {record}" for record in self.records[since:][-40:]]
        complained = [f"  {line}" for line in self.errors[-40:]]
        return "\n".join([f"{self.name} printed:", *said, "and on stderr:", *complained])

    # -- speaking

    def send(self, **command: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()

    def start(self, do: str, **arguments: Any) -> int:
        """Give a driver a command without waiting; `answer()` waits for what comes of it."""
        self._number += 1
        self.send(id=self._number, do=do, **arguments)
        return self._number

    def answer(self, number: int, *, timeout: float = 20.0) -> Any:
        record = self.wait_for(lambda record: record.get("id") == number, timeout=timeout)
        if "error" in record:
            raise DriverError(record["error"], record["kind"])
        return record["result"]

    def call(self, do: str, *, wait_at_most: float = 20.0, **arguments: Any) -> Any:
        """Give a command and return its result.

        Raises:
            DriverError: the peer raised.
        """
        return self.answer(self.start(do, **arguments), timeout=wait_at_most)

    # -- ending

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> float:
        """kill -9; returns the monotonic time just before it."""
        before = time.monotonic()
        self._process.kill()
        self._process.wait(10)
        return before

    def interrupt(self, *, timeout: float = 10.0) -> int:
        """Ctrl-C, and the exit code."""
        self._process.send_signal(signal.SIGINT)
        return self.wait(timeout=timeout)

    def wait(self, *, timeout: float = 10.0) -> int:
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} did not end within {timeout} s\n{self.transcript()}") from None

    def close(self) -> None:
        """End it, whatever it does, and leave no descriptor behind."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(10)
        for thread in self._threads:
            thread.join(10)
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()


def our_server(conf: Mapping[str, str] | None = None) -> Child:
    """A process with our server and the PVs of `server_app.py`, once it is ready.

    Args:
        conf: serve on exactly these ports again; None takes free ones on loopback.
    """
    program = os.environ.get("P4P_TRIO_INTEROP_SERVER")  # another server with the same PVs, to judge the tests by
    command = program.split() if program else [sys.executable, str(FOLDER / "server_app.py")]
    if conf is not None:
        command = [*command, "--conf", json.dumps(dict(conf))]
    child = Child(command, environ=our_environment({}), name="the server")
    try:
        loopback_only(child.event("ready", timeout=20)["conf"])
    except AssertionError:
        child.close()
        raise
    return child

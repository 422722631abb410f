"""Where everything that the tools print goes: results to stdout, all else to stderr, line by line and at once."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterable, Set
from typing import Any, TextIO

from p4p_trio.cli.spelling import clock, escaped, plain

__all__ = ["Output"]


class Output:
    """The two streams of a tool.

    Args:
        command: the sub-command, for errors.
        format: as `Options.format`.
        elements: as `Options.elements`.
        stdout, stderr: where to write; None: this process's.

    Attributes:
        gone: nobody reads stdout any more.
        on_gone: called once when that is noticed.
        failed: whether an error was told.
    """

    def __init__(
        self,
        command: str,
        format: str = "delta",
        elements: int = 0,
        stdout: TextIO | None = None,
        stderr: TextIO | None = None,
    ) -> None:
        self.format = format
        self.elements = elements
        self.gone = False
        self.failed = False
        self.on_gone: Callable[[], None] = _nothing
        self._command = command
        self._stdout = stdout or sys.stdout
        self._stderr = stderr or sys.stderr
        for stream in (self._stdout, self._stderr):
            reconfigure = getattr(stream, "reconfigure", None)
            if reconfigure is not None:  # a terminal that cannot show ° must not end the tool
                reconfigure(errors="backslashreplace")

    @property
    def json(self) -> bool:
        """Whether results are JSON."""
        return self.format == "json"

    def lines(self, lines: Iterable[str]) -> None:
        """Results, as text."""
        self._write("".join(f"{line}\n" for line in lines))

    def record(self, **record: Any) -> None:
        """A result, as a line of JSON; what is None or empty is left out, except the value."""
        from p4p_trio.cli.jsonlines import dumps

        kept = {key: item for key, item in record.items() if key == "value" or item not in (None, {}, "")}
        self._write(f"{dumps(kept)}\n")

    def value(self, name: str, value: Any, *, width: int = 0, only: Set[str] | None = None, **more: Any) -> None:
        """A PV's value in the chosen format.

        Args:
            name: the PV.
            value: a Value, or what else a call has answered.
            width: pad the name to so many characters, where name and value share a line.
            only: the fields that JSON has; None: all.
            more: goes into JSON.
        """
        if self.json:
            from p4p_trio.cli.jsonlines import content

            made, cut = content(value, self.elements, only)
            self.record(name=name, **more, value=made, cut=cut)
        elif self.format == "nt":
            from p4p_trio.cli.lines import line

            self.lines(line(name, value, self.elements, width))
        else:
            self.lines([escaped(name), *(f"    {line}" for line in self._body(value))])

    def answer(self, value: Any) -> None:
        """A value alone, as text."""
        self.lines(self._body(value))

    def _body(self, value: Any) -> Iterable[str]:
        from p4p_trio.cli.text import delta, tree

        return (tree if self.format == "tree" else delta)(value, self.elements)

    def note(self, text: str) -> None:
        """Something worth knowing, on stderr."""
        self._complain(plain(text))

    def event(self, name: str, text: str, **record: Any) -> None:
        """Something happened to a PV: with the time on stderr, or as a line of JSON."""
        if self.json:
            self.record(name=name, **record)
        else:
            self._complain(f"{clock()} {escaped(name)} {plain(text)}")

    def error(self, text: object) -> None:
        """Something failed; the exit code will say so."""
        self.failed = True
        self._complain(f"p4p-trio {self._command}: {plain(text)}")

    def _write(self, text: str) -> None:
        if self.gone:
            return
        try:
            self._stdout.write(text)
            self._stdout.flush()
        except BrokenPipeError:  # as after `| head`: nobody wants to know more, and that is no error
            self.gone = True
            _give_up(self._stdout)
            self.on_gone()

    def _complain(self, text: str) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._stderr.write(f"{text}\n")
            self._stderr.flush()


def _give_up(stream: TextIO) -> None:
    """Let Python's own flush at the end go to nowhere, where it cannot fail again."""
    with contextlib.suppress(OSError, ValueError):
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, stream.fileno())
        os.close(devnull)


def _nothing() -> None:
    """Nobody wants to know."""

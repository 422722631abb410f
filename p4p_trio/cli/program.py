"""From the arguments to the exit code."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, TextIO

from p4p_trio.cli.options import COMMANDS, Options, UsageError, parse, refuse

if TYPE_CHECKING:
    from p4p_trio.cli.output import Output

__all__ = ["program", "run"]

INTERRUPTED: Final = 130
_MODULES: Final = {"list": "listing"}


def program(argv: Sequence[str] | None = None) -> int:
    """What `p4p_trio.cli.main` runs once it has silenced Ctrl-C; the same arguments and result."""
    try:
        options = parse(sys.argv[1:] if argv is None else argv)
    except SystemExit as exc:
        return exc.code if isinstance(exc.code, int) else 2
    import trio  # help and mistakes need none of it

    return trio.run(run, options)


async def run(
    options: Options, stdout: TextIO | None = None, stderr: TextIO | None = None, *, network: Any = None
) -> int:
    """Run a tool inside a trio program; Ctrl-C ends it while it runs.

    Args:
        options: what to do.
        stdout, stderr: where to write; None: this process's.
        network: where to look for servers, as for `Context`.

    Returns:
        The exit code, as `p4p_trio.cli.main`.
    """
    import trio

    from p4p_trio.cli.interrupt import Interrupt
    from p4p_trio.cli.output import Output
    from p4p_trio.errors import PVAError

    assert options.command in COMMANDS
    options.network = network
    out = Output(options.command, options.format, options.elements, stdout, stderr)
    tool = import_module(f"p4p_trio.cli.{_MODULES.get(options.command, options.command)}")
    interrupt = None
    try:
        with _logging(options, out), trio.CancelScope() as scope:
            out.on_gone = scope.cancel
            with Interrupt(scope) as interrupt:
                await tool.run(options, out)
    except UsageError as exc:
        with contextlib.suppress(SystemExit):
            refuse(options, str(exc))
        return 2
    except PVAError as exc:
        out.error(exc)
    if interrupt is not None and interrupt.happened and not getattr(tool, "endless", _never)(options):
        return INTERRUPTED
    return 1 if out.failed else 0


def _never(options: Options) -> bool:
    return False


@contextlib.contextmanager
def _logging(options: Options, out: Output) -> Iterator[None]:
    """Warnings, and with -v and -d more than these, go to stderr while the tool runs."""
    log = logging.getLogger("p4p_trio")
    handler = _ToOutput(out)
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s: %(message)s" if options.debug else "%(message)s"))
    before = log.level, log.propagate
    log.addHandler(handler)
    log.propagate = False
    log.setLevel(logging.DEBUG if options.debug else logging.INFO if options.verbose else logging.WARNING)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(before[0])
        log.propagate = before[1]


class _ToOutput(logging.Handler):
    """Log records as notes on stderr."""

    def __init__(self, out: Output) -> None:
        super().__init__()
        self._out = out

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._out.note(self.format(record))
        except Exception:
            self.handleError(record)

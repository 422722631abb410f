"""The command line tools: `p4p-trio get|put|monitor|call|info|list|serve|doctor`.

program     from the arguments to the exit code
options     the arguments
output      stdout and stderr
interrupt   Ctrl-C
asking      what the tools that ask servers have in common
shape, spelling, text, lines, jsonlines      values for people, and for programs
words, assign, mailbox                       types and values, as people write them
steps       one server, step by step, for doctor

and a module for each tool.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run a tool as a program does; arguments by default from `sys.argv`.

    Until the tool itself looks after Ctrl-C, also while Python loads it, and after that, Ctrl-C ends the process by
    the signal, without a word.

    Returns:
        The exit code: 0 done, 1 an error or time-out, 2 a mistake on the command line, 130 interrupted.
    """
    if threading.current_thread() is not threading.main_thread():
        from p4p_trio.cli.program import program

        return program(argv)
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        from p4p_trio.cli.program import program

        return program(argv)
    finally:
        signal.signal(signal.SIGINT, before)

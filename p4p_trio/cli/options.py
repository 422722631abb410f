"""The command line: which words and options there are, and what was written.

Options stand before or after the sub-command, and between its arguments: `p4p-trio -w 1 get a -v b`. Nothing heavy is
imported here, so `--help` and mistakes are answered at once.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from typing import Any, Final, NoReturn

import attrs

__all__ = ["COMMANDS", "Options", "UsageError", "parse", "refuse"]

PROGRAM: Final = "p4p-trio"
TIMEOUT: Final = 5.0
ELEMENTS: Final = 20
"""Elements of an array that are printed for people; JSON is for programs and has them all."""
FORMATS: Final = ("delta", "tree", "nt", "json")


class UsageError(Exception):
    """What was written cannot be meant; the text says what is wrong and what to write."""


@attrs.define(kw_only=True)
class Options:
    """What was written.

    Attributes:
        command: the sub-command.
        words: its arguments.
        timeout: seconds that each PV may take; infinity for `-w 0`.
        request: the pvRequest, "" for everything.
        elements: elements of each array that are printed; 0: all.
        format: one of `FORMATS`.
        verbose, debug: say more; say everything.
        modules, providers, isolate: of `serve`.
        network: where to work; None: the system's network.
    """

    command: str
    words: list[str] = attrs.Factory(list)
    timeout: float = TIMEOUT
    request: str = ""
    elements: int = ELEMENTS
    format: str = "delta"
    verbose: bool = False
    debug: bool = False
    modules: list[str] = attrs.Factory(list)
    providers: list[str] = attrs.Factory(list)
    isolate: bool = False
    network: Any = None


class _Command:
    """A sub-command as its help shows it."""

    def __init__(self, line: str, words: str, count: str, about: str, options: str = "") -> None:
        self.line = line
        self.words = words
        self.count = count
        self.about = about
        self.options = frozenset((*options.split(), "format", "verbose", "debug"))


_NUMBERS: Final = """
NaN and infinities are the texts "NaN", "Infinity" and "-Infinity" in JSON; a union is an object with one member.
"""

COMMANDS: Final = {
    "get": _Command(
        "print the values of PVs",
        "NAME",
        "+",
        "Prints the PVs in the order given, as soon as they are there." + _NUMBERS,
        "timeout request elements",
    ),
    "put": _Command(
        "change the values of PVs",
        "ARG",
        "+",
        """
put NAME=VALUE ...          one or several PVs
put NAME VALUE              one PV
put NAME FIELD=VALUE ...    fields of one PV, e.g. value=5 alarm.message=high

A VALUE that begins with { [ or " is JSON, and one in braces has the fields of the whole PV; anything else is
text, which becomes whatever the field holds. An enum takes a choice or its index, a union {"member": VALUE}.
""",
        "timeout request elements",
    ),
    "monitor": _Command(
        "print values whenever they change",
        "NAME",
        "+",
        """
Runs until Ctrl-C, or until the servers have finished all subscriptions. Connects and disconnects are told on stderr,
with --format json on stdout as lines with an "event".
"""
        + _NUMBERS,
        "timeout request elements",
    ),
    "call": _Command(
        "call a PV (RPC) with arguments",
        "ARG",
        "+",
        """
call NAME KEY=VALUE ...

The arguments travel as an NTURI. A VALUE is text, or JSON if it begins with { [ or "; KEY:TYPE=VALUE gives it a type:
n:int32=5, on:bool=true, gain:double=0.5.
""",
        "timeout request elements",
    ),
    "info": _Command("print the types of PVs", "NAME", "+", "Prints which server has a PV, and its type.", "timeout"),
    "list": _Command(
        "find servers, or list the PVs of some",
        "SERVER",
        "*",
        """
list                  servers, as they answer or announce themselves, for -w seconds (0: until Ctrl-C)
list HOST[:PORT] ...  the names of their PVs
""",
        "timeout",
    ),
    "serve": _Command(
        "serve mailbox PVs, or a module's provider",
        "NAME=TYPE[=INITIAL]",
        "*",
        """
serve temperature=double=21.5 mode=enum:Off,On=On wave=double[]=[1,2,3]

Whatever clients put is kept, stamped, and sent to all subscribers. Types: double float bool string, int8 ... int64,
uint8 ... uint64, each also with [] for an array; enum, with its choices after a colon; p4p's int uint real str aint
auint areal astr; and the type codes of p4p_trio.Type.

--import MODULE runs a Python module that calls p4p_trio.install_provider(NAME, ...); --provider NAME serves that.
Ports and addresses come from the EPICS_PVAS_* and EPICS_PVA_* variables. Ctrl-C ends it.
""",
        "modules providers isolate",
    ),
    "doctor": _Command(
        "find out why a PV cannot be reached",
        "NAME",
        "+",
        """
Walks configuration, search, TCP connect, validation and channel creation, and says which step fails and what to try.
""",
        "timeout",
    ),
}

_HELP_TAIL: Final = """
exit codes: 0 done; 1 an error or time-out; 2 a mistake on the command line; 130 interrupted by Ctrl-C before it was
done. Ctrl-C is how monitor, serve and list -w 0 end, so there it is 0.
"""


def parse(argv: Sequence[str]) -> Options:
    """Read the arguments; help, version and mistakes end in SystemExit, as argparse has it."""
    top = _parser(PROGRAM, "PVAccess (EPICS 7) from the command line.")
    top.epilog = "commands:\n" + "".join(f"  {name:<9}{command.line}\n" for name, command in COMMANDS.items())
    top.epilog += f"\n{PROGRAM} COMMAND --help tells more.\n{_HELP_TAIL}"
    _add_common(top, frozenset(("timeout", "request", "elements", "format", "verbose", "debug")))
    top.add_argument("command", metavar="COMMAND", nargs="?", choices=(*COMMANDS, None), help=argparse.SUPPRESS)
    top.add_argument("rest", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    top.usage = f"{PROGRAM} [options] COMMAND ..."
    given = vars(top.parse_args(argv))
    name, rest = given.pop("command"), given.pop("rest")
    if name is None:
        top.print_help(sys.stderr)
        raise SystemExit(2)
    command = COMMANDS[name]
    parser = _command_parser(name, command)
    useless = sorted(given.keys() - command.options)
    if useless:
        parser.error(f"{_FLAGS[useless[0]][0]} means nothing here")
    given |= vars(parser.parse_intermixed_args(_numbers_are_values(rest) if name == "put" else rest))
    given.setdefault("format", "tree" if name == "call" else "delta")
    if given["format"] == "json":
        given.setdefault("elements", 0)
    return Options(command=name, **given)


def refuse(options: Options, why: str) -> NoReturn:
    """End with a usage error."""
    _command_parser(options.command, COMMANDS[options.command]).error(why)


_FLAGS: Final[dict[str, tuple[str, ...]]] = {
    "timeout": ("-w", "--timeout"),
    "request": ("-r", "--request"),
    "elements": ("-#", "--elements"),
    "format": ("-F", "--format"),
    "verbose": ("-v", "--verbose"),
    "debug": ("-d", "--debug"),
}


def _parser(program: str, about: str) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(
        prog=program,
        description=about,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )


def _command_parser(name: str, command: _Command) -> argparse.ArgumentParser:
    parser = _parser(f"{PROGRAM} {name}", command.line[0].upper() + command.line[1:] + ".")
    parser.epilog = command.about.strip("\n")
    _add_common(parser, command.options)
    if "modules" in command.options:
        what = "import this Python module first (also from the current folder); may be repeated"
        parser.add_argument("--import", dest="modules", metavar="MODULE", action="append", help=what)
        what = "serve the provider that was installed under this name; may be repeated"
        parser.add_argument("--provider", dest="providers", metavar="NAME", action="append", help=what)
        what = "serve on loopback and free ports; with -v or --format json the client's settings are printed"
        parser.add_argument("--isolate", action="store_true", help=what)
    parser.add_argument("words", metavar=command.words, nargs=command.count, default=[])
    return parser


def _add_common(parser: argparse.ArgumentParser, options: frozenset[str]) -> None:
    helps: dict[str, dict[str, Any]] = {
        "timeout": {"metavar": "SECONDS", "type": _seconds, "help": f"wait so long, default {TIMEOUT:g}; 0: for ever"},
        "request": {"metavar": "REQUEST", "help": "pvRequest, e.g. 'field(value,alarm)' or 'record[queueSize=10]'"},
        "elements": {
            "metavar": "COUNT",
            "type": _count,
            "help": f"print at most so many elements of each array; 0: all; default {ELEMENTS}, 0 with json",
        },
        "format": {
            "choices": FORMATS,
            "help": "delta: what was sent, a line for each field; tree: the whole; nt: one line for each PV; "
            "json: one JSON object a line; default delta, of call tree",
        },
        "verbose": {"action": "store_true", "help": "tell more, e.g. the configuration in force"},
        "debug": {"action": "store_true", "help": "log everything to stderr"},
    }
    for name, flags in _FLAGS.items():
        if name in options:
            parser.add_argument(*flags, **helps[name])
    parser.add_argument("-V", "--version", action=_Version, nargs=0, help="print the version and exit")


class _Version(argparse.Action):
    """Looks the version up only when it is asked for: that takes longer than everything else here."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        from importlib.metadata import PackageNotFoundError, version

        try:
            found = version("p4p_trio")
        except PackageNotFoundError:
            found = "not installed"
        print(f"p4p_trio {found}, Python {sys.version.split()[0]}")
        raise SystemExit(0)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if math.isnan(seconds) or seconds < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no time: write seconds, e.g. 2.5, or 0 to wait for ever")
    return seconds or math.inf


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise argparse.ArgumentTypeError(f"{text!r} is no count: write a whole number, 0 for all")
    return int(text)


def _numbers_are_values(words: Sequence[str]) -> list[str]:
    """`put NAME -1e-3`: argparse takes that for an option, so it is written as the field's assignment."""
    takes_value = {flag for name in ("timeout", "request", "elements", "format") for flag in _FLAGS[name]}
    made = list(words)
    for n, word in enumerate(words):
        if word.startswith("-") and n and words[n - 1] not in takes_value:
            try:
                float(word)
            except ValueError:
                continue
            made[n] = f"value={word}"
    return made

"""The channel `server`, which tools like pvlist call: what this server is, and which PVs it has."""

from __future__ import annotations

import os
import platform
import socket
import sys
from collections.abc import Callable, Iterable
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from p4p_trio.data import Type, Value
from p4p_trio.errors import RemoteError
from p4p_trio.nt import NTScalar
from p4p_trio.server.operation import ServerOperation
from p4p_trio.server.provider import StaticProvider
from p4p_trio.server.shared_pv import SharedPV

__all__ = ["builtin_provider"]

NAME: Final = "server"
HELP: Final = "op=channels: the names of all PVs; op=info: process, start time, version, host; op=help: this text"
_INFO: Final = Type([(name, "s") for name in ("process", "startTime", "version", "implLang", "host")])


def builtin_provider(names: Callable[[], Iterable[str]]) -> StaticProvider:
    """A provider of the one PV `server`.

    Args:
        names: gives the names of all PVs that can be listed.
    """
    started = datetime.now().astimezone().isoformat(timespec="seconds")
    pv = SharedPV()

    @pv.rpc
    def call(pv: SharedPV, op: ServerOperation) -> Any:
        asked = _asked(op.value())
        if asked == "channels":
            return NTScalar("as").wrap(list(names()))
        if asked == "info":
            return Value(
                _INFO,
                {
                    "process": _process(),
                    "startTime": started,
                    "version": _version(),
                    "implLang": f"python {platform.python_version()}",
                    "host": socket.gethostname(),
                },
            )
        if asked == "help":
            return NTScalar("s").wrap(HELP)
        raise RemoteError(f"unknown op {asked!r}; {HELP}" if asked else f"the argument has no string 'op'; {HELP}")

    provider = StaticProvider("__server")
    provider.add(NAME, pv)
    return provider


def _asked(argument: Any) -> str:
    if not isinstance(argument, Value):
        return ""
    found = argument.get("query.op", argument.get("op"))
    return found if isinstance(found, str) else ""


def _process() -> str:
    return f"{os.path.basename(sys.argv[0] or sys.executable)} {os.getpid()}"


def _version() -> str:
    try:
        return f"p4p_trio {version('p4p_trio')}"
    except PackageNotFoundError:
        return "p4p_trio"

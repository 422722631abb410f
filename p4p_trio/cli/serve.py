"""`p4p-trio serve`: a server of mailbox PVs, or of what a Python module has put into the registry."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any, Final

import trio

from p4p_trio.cli.mailbox import mailboxes
from p4p_trio.cli.options import Options, UsageError
from p4p_trio.cli.output import Output
from p4p_trio.net import service_nursery
from p4p_trio.server import Server

__all__ = ["endless", "run"]

GRACE: Final = 5.0
"""Seconds that running handlers have at the end."""


def endless(options: Options) -> bool:
    """Ctrl-C is how it ends."""
    return True


async def run(options: Options, out: Output) -> None:
    """Serve until Ctrl-C or SIGTERM; a second one does not wait for running handlers."""
    pvs = mailboxes(options.words)
    if not pvs and not options.providers:
        names = ", --provider NAME" if options.modules else ""
        raise UsageError(f"nothing to serve: name PVs as NAME=TYPE[=INITIAL]{names or ', or --import and --provider'}")
    for module in options.modules:
        if not _import(module, out):
            return
    providers: list[Any] = [*options.providers, *([pvs] if pvs else [])]
    server = Server(providers, isolate=options.isolate, network=options.network)
    with _signals() as signals, trio.CancelScope() as over:
        async with service_nursery() as nursery:

            async def serve(task_status: trio.TaskStatus[Server]) -> None:
                await server.serve(task_status=task_status)
                over.cancel()

            await nursery.start(serve)
            _announce(options, out, server, list(pvs))
            stopping = False
            async for _ in signals:
                if stopping:
                    over.cancel()
                stopping = True
                nursery.start_soon(server.stop, GRACE)


@contextmanager
def _signals() -> Iterator[AsyncIterator[int]]:
    """The signals that end a server; none in a thread, where they cannot be caught."""
    if threading.current_thread() is threading.main_thread():
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            yield signals
    else:
        yield _never()


async def _never() -> AsyncIterator[int]:
    await trio.sleep_forever()
    yield 0


def _announce(options: Options, out: Output, server: Server, names: list[str]) -> None:
    conf = server.conf()
    if out.json:
        out.record(event="serving", names=names, providers=options.providers, conf=conf)
        return
    where = conf["EPICS_PVAS_INTF_ADDR_LIST"]
    ports = f"TCP port {conf['EPICS_PVAS_SERVER_PORT']}, UDP port {conf['EPICS_PVAS_BROADCAST_PORT']}"
    what = [*names, *(f"provider {name}" for name in options.providers)]
    out.lines([f"serving {', '.join(what)} on {where}, {ports}; Ctrl-C ends it"])
    if options.verbose:
        out.note("\n".join(f"{key}={text}" for key, text in conf.items()))


def _import(name: str, out: Output) -> bool:
    """Import a module, also from the current folder; False if it cannot be, which has been told."""
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as exc:
        if exc.name is not None and (name == exc.name or name.startswith(f"{exc.name}.")):
            out.error(
                f"--import {name}: there is no module {exc.name!r}, neither in {here} nor among the installed ones"
            )
            return False
        out.error(f"--import {name}: it failed\n{_user_traceback(exc)}")
        return False
    except Exception as exc:
        out.error(f"--import {name}: it failed\n{_user_traceback(exc)}")
        return False
    return True


def _user_traceback(exc: Exception) -> str:
    """The traceback without our own frames and those of the import system."""
    frames = traceback.extract_tb(exc.__traceback__)
    kept = [frame for frame in frames if frame.filename != __file__ and "importlib" not in frame.filename]
    lines = traceback.format_list(kept) + traceback.format_exception_only(exc)
    return "".join(lines).rstrip()

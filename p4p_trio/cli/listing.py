"""`p4p-trio list`: which servers there are, and which PVs they have."""

from __future__ import annotations

import math
from collections.abc import Awaitable

import trio

from p4p_trio.cli.asking import ask_each, open_context, spelled
from p4p_trio.cli.options import Options, UsageError
from p4p_trio.cli.output import Output
from p4p_trio.cli.spelling import clock, escaped
from p4p_trio.client import Context, ServerEvent
from p4p_trio.config import Endpoint
from p4p_trio.errors import ConfigError

__all__ = ["endless", "run"]


def endless(options: Options) -> bool:
    """`list -w 0` ends by Ctrl-C."""
    return not options.words and math.isinf(options.timeout)


async def run(options: Options, out: Output) -> None:
    """Without arguments: servers, as they are found. Else the names of the PVs of these servers."""
    for word in options.words:
        try:
            Endpoint.parse(word)
        except ConfigError as exc:
            raise UsageError(f"{word!r} is no server: {exc}") from None
    async with open_context(options, out) as context:
        if options.words:
            await _names(options, out, context)
        else:
            await _servers(options, out, context)


async def _names(options: Options, out: Output, context: Context) -> None:
    def ask(server: str) -> Awaitable[list[str]]:
        return context.list(server)

    def show(server: str, names: list[str]) -> None:
        if out.json:
            for name in names:
                out.record(server=server, name=name)
        else:
            if options.verbose:
                out.note(f"# {len(names)} PVs of {server}")
            out.lines(escaped(name) for name in names)

    await ask_each(options, out, context, options.words, ask, show)


async def _servers(options: Options, out: Output, context: Context) -> None:
    """A line for each server, once, though it may be heard over several interfaces."""
    shown: set[tuple[bytes, str]] = set()
    with trio.move_on_after(options.timeout):
        async with context.discover() as events:
            async for event in events:
                key = event.guid, event.protocol
                if out.json or options.verbose:
                    _tell(out, event)
                elif not event.online:
                    shown.discard(key)
                elif event.protocol == "tcp" and key not in shown:
                    shown.add(key)
                    out.lines([spelled(event.address)])


def _tell(out: Output, event: ServerEvent) -> None:
    state = "online" if event.online else "offline"
    server, guid = spelled(event.address), event.guid.hex()
    if out.json:
        out.record(event=state, server=server, protocol=event.protocol, guid=guid)
    else:
        out.lines([f"{clock()} {state} {server} {escaped(event.protocol)} guid=0x{guid}"])

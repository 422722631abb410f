"""`p4p-trio monitor`: print values whenever they change, and tell of connects and disconnects."""

from __future__ import annotations

from contextlib import nullcontext

import trio

from p4p_trio.cli.asking import open_context, spelled
from p4p_trio.cli.get import checked_request, selects
from p4p_trio.cli.options import Options
from p4p_trio.cli.output import Output
from p4p_trio.cli.shape import changed_leaves
from p4p_trio.client import Context, Disconnected, TooSlowError
from p4p_trio.errors import PVAError

__all__ = ["endless", "run"]


def endless(options: Options) -> bool:
    """Ctrl-C is how it ends."""
    return True


async def run(options: Options, out: Output) -> None:
    """Subscribe to all of them, until the servers have ended every subscription."""
    request = checked_request(options)
    width = max(map(len, options.words))
    async with open_context(options, out) as context, trio.open_nursery() as nursery:
        for name in dict.fromkeys(options.words):
            nursery.start_soon(_watch, options, out, context, name, request, width)


async def _watch(options: Options, out: Output, context: Context, name: str, request: str | None, width: int) -> None:
    try:
        await _follow(options, out, context, name, request, width)
    except (PVAError, ValueError) as exc:
        text = str(exc)
        out.error(text if repr(name) in text else f"{name}: {text}")
    else:
        out.event(name, "Finished", event="finished")


async def _follow(options: Options, out: Output, context: Context, name: str, request: str | None, width: int) -> None:
    connected, patient, overrun = False, False, 0
    sent: set[str] | None = None
    async with context.monitor(name, request, notify_disconnect=True) as updates:
        while True:
            try:
                # Who waits for the first value wants to know why there is none.
                with nullcontext() if connected or patient else context.fail_after(options.timeout):
                    update = await anext(updates)
            except StopAsyncIteration:
                return
            except TooSlowError as exc:
                patient = True
                out.event(name, f"Nothing yet: {exc}", event="waiting", reason=str(exc))
                continue
            if isinstance(update, Disconnected):
                connected, patient = False, True
                reason = str(update).removeprefix(f"{name!r}: ")
                out.event(name, f"Disconnected: {reason}", event="disconnected", reason=reason)
                continue
            changed = [path for path, _ in changed_leaves(update)]
            if not connected:
                connected = True
                sent = set(changed) if selects(request) else None
                server = spelled(context.where(name))
                out.event(name, f"Connected to {server}", event="connected", server=server)
            if sent is not None:
                sent.update(changed)
            lost, overrun = updates.overrun - overrun, updates.overrun
            if out.json:
                out.value(name, update, only=sent, event="update", changed=changed, overrun=bool(lost) or None)
            else:
                out.value(name, update, width=width)
                if lost and options.verbose:
                    out.note(f"{name}: something was overwritten before it could be printed")

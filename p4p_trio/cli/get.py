"""`p4p-trio get`: print the values of PVs."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from p4p_trio.cli.asking import ask_each, open_context
from p4p_trio.cli.options import Options, UsageError
from p4p_trio.cli.output import Output
from p4p_trio.cli.shape import changed_leaves
from p4p_trio.data import parse_request

__all__ = ["checked_request", "run", "selects"]


def checked_request(options: Options) -> str | None:
    """The pvRequest; None for everything.

    Raises:
        UsageError: it is none; the text says where.
    """
    if not options.request.strip():
        return None
    try:
        parse_request(options.request)
    except ValueError as exc:
        raise UsageError(f"-r: {exc}") from None
    return options.request


def selects(request: str | None) -> bool:
    """Whether a pvRequest names fields, so that a server does not send the others."""
    return request is not None and bool(parse_request(request).type("field").keys())


async def run(options: Options, out: Output) -> None:
    """Get them all, and print them in the order of their names."""
    request = checked_request(options)
    width = max(map(len, options.words))
    async with open_context(options, out) as context:

        def ask(name: str) -> Awaitable[Any]:
            return context.get(name, request=request)

        def show(name: str, value: Any) -> None:
            only = {path for path, _ in changed_leaves(value)} if selects(request) else None
            out.value(name, value, width=width, only=only)

        await ask_each(options, out, context, options.words, ask, show)

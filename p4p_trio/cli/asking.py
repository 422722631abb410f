"""What the tools that ask servers have in common: a context, a deadline for each PV, and errors that name them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

import trio

from p4p_trio.cli.options import Options
from p4p_trio.cli.output import Output
from p4p_trio.cli.spelling import escaped
from p4p_trio.client import Context, TooSlowError
from p4p_trio.errors import PVAError

__all__ = ["ask_each", "open_context", "spelled"]

T = TypeVar("T")


@asynccontextmanager
async def open_context(options: Options, out: Output) -> AsyncIterator[Context]:
    """A context with the environment's settings, which `-v` prints; values come as they are."""
    async with Context(nt=False, network=options.network) as context:
        if options.verbose:
            out.note("\n".join(f"{key}={text}" for key, text in context.conf().items()))
        yield context


async def ask_each(
    options: Options,
    out: Output,
    context: Context,
    names: Sequence[str],
    ask: Callable[[str], Awaitable[T]],
    show: Callable[[str, T], None],
) -> None:
    """Ask for all *names* at once, and show the answers in the order of the names; errors are told as they come.

    Args:
        ask: asks for one.
        show: prints one answer.
    """
    done: dict[int, list[T]] = {}
    following = 0

    async def one(n: int, name: str) -> None:
        nonlocal following
        done[n] = await _asked(options, out, context, name, ask)
        while following in done:
            for answer in done.pop(following):
                show(names[following], answer)
            following += 1

    async with trio.open_nursery() as nursery:
        for n, name in enumerate(names):
            nursery.start_soon(one, n, name)


async def _asked(
    options: Options, out: Output, context: Context, name: str, ask: Callable[[str], Awaitable[T]]
) -> list[T]:
    """The answer, or nothing if there was an error, which has been told."""
    try:
        with context.fail_after(options.timeout):
            return [await ask(name)]
    except TooSlowError as exc:
        out.error(f"{name}: no answer within {options.timeout:g} s: {exc}")
    except (PVAError, ValueError) as exc:
        out.error(_named(name, exc))
    return []


def _named(name: str, exc: Exception) -> str:
    """An error that names its PV, once."""
    text = str(exc)
    return text if repr(name) in text else f"{name}: {text}"


def spelled(address: tuple[str, int] | None) -> str:
    """A server's address."""
    if address is None:
        return "a server"
    host, port = address
    return escaped(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")

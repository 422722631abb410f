"""`p4p-trio info`: print the types of PVs."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from p4p_trio.cli.asking import ask_each, open_context, spelled
from p4p_trio.cli.options import Options
from p4p_trio.cli.output import Output
from p4p_trio.cli.shape import Spec, id_of, kind, name_of
from p4p_trio.cli.spelling import escaped
from p4p_trio.data import Type

__all__ = ["run"]


async def run(options: Options, out: Output) -> None:
    """Print where each is, and its type."""
    async with open_context(options, out) as context:

        def ask(name: str) -> Awaitable[Type]:
            return context.info(name)

        def show(name: str, type: Type) -> None:
            server = spelled(context.where(name))
            if out.json:
                out.record(name=name, server=server, type=described(type.aspy()))
            else:
                out.lines([f"{escaped(name)} from {server}", *type.tostr().splitlines()])

        await ask_each(options, out, context, options.words, ask, show)


def described(spec: Spec) -> Any:
    """A type for programs: its name, or for what has members {"kind", "id", "members"}."""
    if isinstance(spec, str):
        return name_of(spec)
    members = {name: described(member) for name, member in spec[2]}
    return {"kind": name_of(kind(spec)), **({"id": id_of(spec)} if id_of(spec) else {}), "members": members}

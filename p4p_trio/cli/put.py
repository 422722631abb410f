"""`p4p-trio put`: change the values of PVs.

put NAME=VALUE ...       put NAME VALUE       put NAME FIELD=VALUE ...
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from p4p_trio.cli.asking import ask_each, open_context
from p4p_trio.cli.assign import assign
from p4p_trio.cli.get import checked_request
from p4p_trio.cli.options import Options, UsageError
from p4p_trio.cli.output import Output
from p4p_trio.cli.words import split, value_of
from p4p_trio.data import Value

__all__ = ["assignments", "run"]


def assignments(words: list[str]) -> dict[str, dict[str, Any]]:
    """What to write: by PV, by field ("" for the whole PV).

    Raises:
        UsageError: it cannot be understood.
    """
    first, *rest = words
    if "=" in first:
        wanted: dict[str, dict[str, Any]] = {}
        for word in words:
            name, text = split(word, "NAME=VALUE")
            if name in wanted:
                raise UsageError(f"{name!r} is given twice")
            wanted[name] = _whole(text, name)
        return wanted
    if not rest:
        raise UsageError(f"nothing to put: write {first}=VALUE, {first} VALUE or {first} FIELD=VALUE ...")
    if len(rest) == 1 and ("=" not in rest[0] or rest[0].lstrip().startswith(("{", "[", '"'))):
        return {first: _whole(rest[0], first)}
    fields: dict[str, Any] = {}
    for word in rest:
        if "=" not in word:
            hint = "" if len(rest) > 1 and any("=" in each for each in rest) else f"; for an array: '{_array(rest)}'"
            raise UsageError(f"{word!r} has no '=': write FIELD=VALUE{hint}")
        path, text = split(word, "FIELD=VALUE")
        if path in fields:
            raise UsageError(f"field {path!r} is given twice")
        fields[path] = value_of(text, f"{first}, field {path}")
    return {first: fields}


def _whole(text: str, name: str) -> dict[str, Any]:
    content = value_of(text, name)
    return {"" if isinstance(content, dict) else "value": content}


def _array(words: list[str]) -> str:
    return f"[{', '.join(words)}]"


async def run(options: Options, out: Output) -> None:
    """Put them all at once; silent but for errors, unless more is asked for."""
    wanted = assignments(options.words)
    request = checked_request(options)
    async with open_context(options, out) as context:

        def ask(name: str) -> Awaitable[None]:
            def build(value: Value) -> None:
                if options.verbose and not out.json:
                    out.value(f"Old : {name}", _all(value))
                for path, content in wanted[name].items():
                    assign(value, path, content)
                if options.verbose and not out.json:
                    out.value(f"New : {name}", value)

            return context.put(name, build, request=request)

        def show(name: str, _: None) -> None:
            if out.json:
                out.record(name=name, event="put")

        await ask_each(options, out, context, list(wanted), ask, show)


def _all(value: Value) -> Value:
    """A copy with everything marked, to be shown."""
    shown = Value(clone=value)
    shown.mark()
    return shown

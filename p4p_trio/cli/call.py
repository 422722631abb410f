"""`p4p-trio call`: call a PV. The arguments, KEY=VALUE or KEY:TYPE=VALUE, travel as an NTURI."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from p4p_trio.cli.asking import ask_each, open_context
from p4p_trio.cli.assign import AssignError, assign
from p4p_trio.cli.get import checked_request
from p4p_trio.cli.options import Options, UsageError
from p4p_trio.cli.output import Output
from p4p_trio.cli.words import argument_name, split, type_code, value_of
from p4p_trio.data import Value
from p4p_trio.nt import NTURI

__all__ = ["argument", "run"]


def argument(name: str, words: list[str]) -> Value:
    """The NTURI for a call of the PV *name*.

    Raises:
        UsageError: an argument cannot be understood, or its type does not take its value.
    """
    args: list[tuple[str, Any]] = []
    values: dict[str, Any] = {}
    for word in words:
        left, text = split(word, "KEY=VALUE")
        key, colon, type_word = left.partition(":")
        key = argument_name(key, repr(word))
        if key in values:
            raise UsageError(f"argument {key!r} is given twice")
        values[key] = value_of(text, f"argument {key}")
        args.append((key, type_code(type_word, f"argument {key}") if colon else _inferred(values[key], key)))
    made = Value(NTURI.buildType(args), {"scheme": "pva", "path": name})
    for key, content in values.items():
        try:
            assign(made, f"query.{key}", content)
        except AssignError as exc:
            raise UsageError(f"argument {key}: {exc}") from None
    return made


def _inferred(content: Any, key: str) -> Any:
    """The type of an argument that was given without one."""
    if isinstance(content, str):
        return "s"
    if isinstance(content, bool):
        return "?"
    if isinstance(content, int):
        return "l"
    if isinstance(content, float):
        return "d"
    if isinstance(content, dict):
        return "S", None, [(argument_name(name, f"argument {key}"), _inferred(content[name], key)) for name in content]
    if isinstance(content, list):
        kinds = {_inferred(item, key) for item in content if not isinstance(item, dict | list)}
        if len(kinds) == 1 and not any(isinstance(item, dict | list) for item in content):
            return f"a{kinds.pop()}"
        if kinds == {"l", "d"}:
            return "ad"
        if not content:
            raise UsageError(f"argument {key}: an empty array has no type: write {key}:double[]=[]")
        raise UsageError(f"argument {key}: the elements of an array must be of one kind")
    raise UsageError(f"argument {key}: null has no type")


async def run(options: Options, out: Output) -> None:
    """Call it, and print what it answers."""
    name, *words = options.words
    if "=" in name:
        raise UsageError(f"the first argument is the PV to call, not {name!r}")
    value = argument(name, words)
    request = checked_request(options)
    async with open_context(options, out) as context:

        def ask(name: str) -> Awaitable[Any]:
            return context.rpc(name, value, request=request)

        def show(name: str, answer: Any) -> None:
            if isinstance(answer, Value):
                answer.mark()  # everything that was answered is news
            if out.json or out.format == "nt":
                out.value(name, answer)
            elif answer is not None:
                out.answer(answer)

        await ask_each(options, out, context, [name], ask, show)

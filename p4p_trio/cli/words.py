"""What users write on the command line for types and values: `temperature=double=21.5`, `[1, 2]`, `mode:enum`."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from p4p_trio.cli.options import UsageError

__all__ = ["TYPES", "Plain", "split", "type_code", "value_of"]

_SCALARS: Final = {
    "bool": "?",
    "int8": "b",
    "int16": "h",
    "int32": "i",
    "int64": "l",
    "uint8": "B",
    "uint16": "H",
    "uint32": "I",
    "uint64": "L",
    "float": "f",
    "double": "d",
    "string": "s",
}
_P4P: Final = {
    "int": "l",
    "uint": "L",
    "real": "d",
    "str": "s",
    "aint": "al",
    "auint": "aL",
    "areal": "ad",
    "astr": "as",
}
_CODES: Final = {code: code for scalar in _SCALARS.values() for code in (scalar, f"a{scalar}")}
_ARRAYS: Final = {f"{word}[]": f"a{code}" for word, code in _SCALARS.items()}
_C_NAMES: Final = {f"{word}_t": code for word, code in _SCALARS.items() if word[-1].isdigit()}
TYPES: Final = _SCALARS | _ARRAYS | _P4P | _C_NAMES | {f"{w}[]": f"a{c}" for w, c in _C_NAMES.items()} | _CODES
"""Type codes by the words for them."""

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


class Plain(str):
    """A value that was written as text, in contrast to a text in JSON."""

    __slots__ = ()


def split(word: str, what: str) -> tuple[str, str]:
    """`NAME=REST` in two.

    Raises:
        UsageError: there is no "=", or nothing before it.
    """
    name, sign, rest = word.partition("=")
    if not sign:
        raise UsageError(f"{word!r} has no '=': write {what}")
    if not name:
        raise UsageError(f"{word!r} has nothing before its '=': write {what}")
    return name, rest


def type_code(word: str, where: str) -> str:
    """The type code for a word.

    Raises:
        UsageError: it is none; the text lists those that there are.
    """
    code = TYPES.get(word)
    if code is None:
        known = " ".join((*_SCALARS, *_P4P))
        raise UsageError(f"{where}: unknown type {word!r}; known are {known} enum, and arrays such as double[]")
    return code


def value_of(text: str, where: str) -> Any:
    """What a value means: JSON if it begins with { [ or a double quote, else a `Plain` text.

    Raises:
        UsageError: it begins so and is no JSON; the text says where.
    """
    if not text.lstrip().startswith(("{", "[", '"')):
        return Plain(text)
    try:
        return json.loads(text)
    except json.JSONDecodeError as exc:
        near = f" {text[exc.pos : exc.pos + 10]!r}" if exc.pos < len(text) else ", the end"
        raise UsageError(
            f'{where}: what begins with {{ [ or " must be JSON, and this is not: {exc.msg} at character '
            f"{exc.pos + 1}{near}. Names and texts stand in double quotes; put single quotes round the whole"
        ) from None
    except RecursionError:
        raise UsageError(f"{where}: JSON that is nested too deeply") from None


def argument_name(word: str, where: str) -> str:
    """A name that a field may have.

    Raises:
        UsageError: it may not.
    """
    if not _NAME.fullmatch(word):
        raise UsageError(f"{where}: {word!r} is no field name: letters, digits and _ only, no digit first")
    return word

"""NTURI: the arguments of a call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from p4p_trio.data import Type, Value

__all__ = ["NTURI"]


class NTURI:
    """The argument that most RPC services expect: which service, and its arguments by name.

        >>> add = NTURI([("lhs", "d"), ("rhs", "d")])
        >>> add.wrap("demo:adder", kws={"lhs": 1, "rhs": 2.5}).query.rhs
        2.5

    Args:
        args: `(name, type)` tuples of the arguments, in order.

    Attributes:
        type: the structure with all arguments.
        type_class: class of the types that it makes.

    Raises:
        ValueError: for a bad type or name.
    """

    type_class: ClassVar[type[Type]] = Type

    type: Type

    def __init__(self, args: Iterable[tuple[str, Any]]) -> None:
        self._args = list(args)
        self.type = self.buildType(self._args)

    @classmethod
    def buildType(cls, args: Iterable[tuple[str, Any]]) -> Type:
        """The structure alone; arguments as for the class."""
        members = [("scheme", "s"), ("authority", "s"), ("path", "s"), ("query", ("S", None, list(args)))]
        return cls.type_class(members, id="epics:nt/NTURI:1.0")

    def wrap(
        self,
        path: str,
        args: Iterable[Any] = (),
        kws: Mapping[str, Any] | None = None,
        scheme: str = "",
        authority: str = "",
    ) -> Value:
        """One call. The query has exactly the arguments that are given.

        Args:
            path: the PV that is called.
            args: the first arguments, by position; too many are ignored.
            kws: arguments by name; those that are None are left out.
            scheme: usually "pva" or nothing.
            authority: who is asked; usually nothing.

        Raises:
            ValueError: an argument has no such name, or a value that its type does not take.
        """
        given = {name: value for (name, _), value in zip(self._args, args, strict=False)}
        given |= {name: value for name, value in (kws or {}).items() if value is not None}
        known = {name for name, _ in self._args}
        for name in given:
            if name not in known:
                raise ValueError(f"Unable to initialize NTURI {path!r}: there is no argument {name!r}")
        made = Value(self.buildType((name, spec) for name, spec in self._args if name in given))
        try:
            made[None] = {"scheme": scheme, "authority": authority, "path": path}
            for name, value in given.items():
                made[f"query.{name}"] = value
        except (ValueError, TypeError, LookupError, OverflowError) as exc:
            raise ValueError(f"Unable to initialize NTURI {path!r}: {exc}") from exc
        return made

"""Which serial puts the running code is part of, so that a put into one of them is refused, not awaited.

A PV with `puts="serial"` runs one put at a time. A handler that puts to its own PV, through a client in
the same program, would wait for itself for ever. The server notes here what it is handling; the client,
which must not know the server, asks here before it sends.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

__all__ = ["handling", "refuse_nested_put"]

handling: Final[ContextVar[frozenset[tuple[bytes, str]]]] = ContextVar("handling", default=frozenset())
"""(server GUID, PV name) of every serial put whose handler the current task runs in."""


def refuse_nested_put(guid: bytes, name: str) -> None:
    """Raise if a put to *name* of the server *guid* could only wait for the handler that asks for it.

    Raises:
        RuntimeError: the caller runs inside the handler of a serial put to the same PV.
    """
    if (guid, name) in handling.get():
        raise RuntimeError(
            f"put to {name!r} from inside its own put handler: the PV takes one put at a time (puts='serial'), "
            "so this one would wait for itself; post() the value instead"
        )

"""Everything this package raises on purpose, as one tree.

    PVAError
    ├── ConfigError      ours: a setting, a name or an argument that cannot be used (also a ValueError)
    ├── ProtocolError    theirs: bytes that do not decode or come at a forbidden moment; the connection closes
    ├── RemoteError      they said no: the peer answered with an error status
    └── Disconnected     nobody is there: the connection or the channel went away

Time-outs are trio's own. Mistakes of the calling program (a wrong type, an unknown field) are the
built-in TypeError, ValueError, KeyError and AttributeError, with a text that names the field.
"""

from __future__ import annotations

__all__ = ["ConfigError", "Disconnected", "PVAError", "ProtocolError", "RemoteError"]


class PVAError(Exception):
    """The root: catches whatever PVAccess itself can do to you."""


class ConfigError(PVAError, ValueError):
    """A setting that cannot be used; the text says which one and what to change."""


class RemoteError(PVAError):
    """The other side refused: raised by clients, and raised by handlers to refuse.

    The text travels verbatim to the client whose operation it ends.

    Attributes:
        reason: the text as the other side gave it.
        operation: what was refused, e.g. "put to 'demo:pv'"; "" where we refuse.
    """

    def __init__(self, *args: object, operation: str = "") -> None:
        super().__init__(*args)
        self.operation = operation

    @property
    def reason(self) -> str:
        return super().__str__()

    def __str__(self) -> str:
        return f"{self.operation}: {self.reason}" if self.operation else self.reason


class Disconnected(PVAError):
    """The connection or channel that an operation needed is gone."""


class ProtocolError(PVAError):
    """The peer broke the protocol, so its connection cannot go on.

    Args:
        reason: what is wrong, without position.
        offset: byte offset from the start of the message's payload, or None where it has none.
        path: dotted path of the field that was being decoded, "" at the top.
    """

    def __init__(self, reason: str, *, offset: int | None = None, path: str = "") -> None:
        self.reason = reason
        self.offset = offset
        self.path = path
        super().__init__(reason)

    def __str__(self) -> str:
        where = []
        if self.path:
            where.append(f"at {self.path}")
        if self.offset is not None:
            where.append(f"byte {self.offset}")
        return f"{self.reason} ({', '.join(where)})" if where else self.reason

    def inside(self, name: str) -> ProtocolError:
        """The same error, seen from one level further out: *name* is put in front of the path."""
        glue = "" if not self.path or self.path.startswith("[") else "."
        self.path = f"{name}{glue}{self.path}"
        return self

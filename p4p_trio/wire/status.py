"""How an operation went: the status that replies carry.

`FF` alone means OK; else a kind, a message and a call tree. OK and WARNING are both success, and only
then does the rest of a reply follow.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final

import attrs

from p4p_trio.wire.order import Order
from p4p_trio.wire.text import write_string

if TYPE_CHECKING:
    from p4p_trio.wire.reader import Reader

__all__ = ["OK", "Status", "StatusKind", "read_status", "write_status"]


class StatusKind(IntEnum):
    """How bad it is."""

    OK = 0
    WARNING = 1
    ERROR = 2
    FATAL = 3


@attrs.frozen(slots=True)
class Status:
    """A kind, the text for the user, and a call tree for developers (nobody sends one)."""

    kind: StatusKind = StatusKind.OK
    message: str = ""
    trace: str = ""

    @property
    def success(self) -> bool:
        """Whether the rest of the reply follows."""
        return self.kind <= StatusKind.WARNING


OK: Final = Status()
_KINDS: Final = tuple(StatusKind)


def write_status(out: bytearray, order: Order, status: Status) -> None:
    """Append *status* to *out*."""
    if status == OK:
        out.append(0xFF)
    else:
        out.append(status.kind)
        write_string(out, order, status.message)
        write_string(out, order, status.trace)


def read_status(reader: Reader) -> Status:
    """The status at the reader's position.

    Raises:
        ProtocolError: for a kind above 3.
    """
    kind = reader.u8()
    if kind == 0xFF:
        return OK
    if kind >= len(_KINDS):
        raise reader.error(f"unknown status kind {kind}", reader.pos - 1)
    return Status(_KINDS[kind], reader.string(), reader.string())

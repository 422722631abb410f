"""Who is on the other end of a connection."""

from __future__ import annotations

import attrs

__all__ = ["Peer"]


@attrs.frozen
class Peer:
    """A client as the server knows it.

    Attributes:
        address: numeric IP address of the socket's other end.
        port: its TCP port.
        method: how it logged in: "ca", "anonymous", or "" before it has.
        account: the name it claims. Nothing in plain PVAccess proves it.
    """

    address: str
    port: int
    method: str = ""
    account: str = ""

    def __str__(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{self.port}"

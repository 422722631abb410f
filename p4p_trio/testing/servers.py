"""Servers that no other program can disturb, and that disturb none."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from p4p_trio.server import Server
from p4p_trio.testing.memory import MemoryNetwork

__all__ = ["isolated_server", "memory_server"]


def isolated_server(providers: Iterable[Any], **kwargs: Any) -> Server:
    """A server on loopback and free ports, for real clients; its `conf()` tells them where.

    Args:
        providers: as for `Server`, and so are the further keyword arguments.
    """
    return Server(providers, isolate=True, **kwargs)


def memory_server(providers: Iterable[Any], network: MemoryNetwork, **kwargs: Any) -> Server:
    """A server in memory; its clients use the same *network*.

    Args:
        providers: as for `Server`, and so are the further keyword arguments.
        network: where it is.
    """
    return Server(providers, isolate=True, network=network, **kwargs)

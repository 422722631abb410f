"""PVAccess, the protocol of EPICS 7, on trio.

The rooms, from the ground up; each imports only what is above it in this list:

    errors      what is raised
    config      settings and limits
    data        Type, Value: what a PV holds
    nt          normative types: wrapping and unwrapping
    wire        bytes to data and back
    protocol    when what may be said; the PV core
    net         how bytes travel
    server      Server, providers, SharedPV
    client      Context: get, put, rpc, monitor
    testing     isolated servers, a network in memory
    cli         the command line tools; also `python -m p4p_trio`

A whole server:

    trio.run(Server.forever, [{"demo:pv": SharedPV(nt=nt.NTScalar("d"), initial=0.0)}])
"""

from typing import TYPE_CHECKING, Any

from p4p_trio import nt
from p4p_trio.client import Context, Subscription, TooSlowError
from p4p_trio.config import ClientConfig, Limits, ServerConfig
from p4p_trio.data import Type, Value
from p4p_trio.errors import Disconnected, ProtocolError, PVAError, RemoteError
from p4p_trio.protocol.peer import Peer
from p4p_trio.protocol.tables import CancelReason
from p4p_trio.server import (
    DynamicProvider,
    Handler,
    NotYet,
    Server,
    ServerOperation,
    SharedPV,
    StaticProvider,
    install_provider,
    remove_provider,
)

if TYPE_CHECKING:
    from p4p_trio import testing

__all__ = [
    "CancelReason",
    "ClientConfig",
    "Context",
    "Disconnected",
    "DynamicProvider",
    "Handler",
    "Limits",
    "NotYet",
    "PVAError",
    "Peer",
    "ProtocolError",
    "RemoteError",
    "Server",
    "ServerConfig",
    "ServerOperation",
    "SharedPV",
    "StaticProvider",
    "Subscription",
    "TooSlowError",
    "Type",
    "Value",
    "install_provider",
    "nt",
    "remove_provider",
    "testing",
]


def __getattr__(name: str) -> Any:
    """`testing` is imported when it is first used: with it comes all of pytest, for which no program should wait."""
    if name == "testing":
        from importlib import import_module

        return import_module("p4p_trio.testing")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

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

The rooms are imported when one of their names is first used: a tool that only prints its help waits for none of them,
and no program waits for pytest, which `testing` brings along.
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from p4p_trio import nt, testing
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

_HOMES = {
    "CancelReason": "protocol.tables",
    "ClientConfig": "config",
    "Context": "client",
    "Disconnected": "errors",
    "DynamicProvider": "server",
    "Handler": "server",
    "Limits": "config",
    "NotYet": "server",
    "PVAError": "errors",
    "Peer": "protocol.peer",
    "ProtocolError": "errors",
    "RemoteError": "errors",
    "Server": "server",
    "ServerConfig": "config",
    "ServerOperation": "server",
    "SharedPV": "server",
    "StaticProvider": "server",
    "Subscription": "client",
    "TooSlowError": "client",
    "Type": "data",
    "Value": "data",
    "install_provider": "server",
    "remove_provider": "server",
}

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
    """Import what is used for the first time."""
    if name in ("nt", "testing"):
        return _import_module(f"{__name__}.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(_import_module(f"{__name__}.{_HOMES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

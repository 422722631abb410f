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
    testing     isolated servers, a network in memory

A whole server:

    trio.run(Server.forever, [{"demo:pv": SharedPV(nt=nt.NTScalar("d"), initial=0.0)}])
"""

from p4p_trio import nt, testing
from p4p_trio.config import Limits, ServerConfig
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

__all__ = [
    "CancelReason",
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
    "Type",
    "Value",
    "install_provider",
    "nt",
    "remove_provider",
    "testing",
]

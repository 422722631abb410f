"""Serving PVs: the server, its providers, and what handlers are given."""

from p4p_trio.server.hooks import Handler
from p4p_trio.server.operation import ServerOperation
from p4p_trio.server.provider import DynamicProvider, NotYet, Provider, StaticProvider
from p4p_trio.server.registry import install_provider, remove_provider
from p4p_trio.server.server import Server
from p4p_trio.server.shared_pv import SharedPV

__all__ = [
    "DynamicProvider",
    "Handler",
    "NotYet",
    "Provider",
    "Server",
    "ServerOperation",
    "SharedPV",
    "StaticProvider",
    "install_provider",
    "remove_provider",
]

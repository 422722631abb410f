"""Configuration: frozen settings of servers and clients, and the limits both obey."""

from .address import Endpoint
from .client import ClientConfig
from .limits import Limits
from .server import ServerConfig

__all__ = ["ClientConfig", "Endpoint", "Limits", "ServerConfig"]

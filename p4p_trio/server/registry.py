"""Providers by name, for servers that are started outside the code that makes the PVs."""

from __future__ import annotations

from typing import Any

from p4p_trio.errors import ConfigError

__all__ = ["install_provider", "installed_provider", "remove_provider"]

_installed: dict[str, Any] = {}


def install_provider(name: str, provider: Any) -> None:
    """Make *provider* available as `Server(providers=[name])`, in place of an earlier one of that name."""
    if not isinstance(name, str) or not name.strip():
        raise ConfigError(f"a provider needs a name, not {name!r}")
    _installed[name] = provider


def remove_provider(name: str) -> None:
    """Forget a provider; running servers keep it. Silent if there is none."""
    _installed.pop(name, None)


def installed_provider(name: str) -> Any:
    """The provider of that name.

    Raises:
        ConfigError: there is none; the text lists those that there are.
    """
    try:
        return _installed[name]
    except KeyError:
        known = ", ".join(sorted(_installed)) or "none"
        raise ConfigError(
            f"no provider {name!r} is installed (installed: {known}); call install_provider() first"
        ) from None

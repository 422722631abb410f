"""The providers of one running server: asked in order, each with a nursery of its own."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any, NamedTuple

import trio

from p4p_trio.errors import ConfigError
from p4p_trio.protocol.peer import Peer
from p4p_trio.server.provider import Provider, StaticProvider
from p4p_trio.server.registry import installed_provider
from p4p_trio.server.shared_pv import SharedPV

if TYPE_CHECKING:
    from p4p_trio.server.server import Server

__all__ = ["Listed", "Source", "Sources", "providers_of"]

_log = logging.getLogger("p4p_trio.server")


class Listed(NamedTuple):
    """One entry of `providers=`: the provider, its order, and what was given for it, a name or a dict perhaps."""

    provider: Any
    order: int
    given: Any


def providers_of(given: Iterable[Any]) -> list[Listed]:
    """The `providers=` of a server.

    Raises:
        ConfigError: an entry is none of those that a server takes.
    """
    if isinstance(given, str | bytes | dict | SharedPV | Provider) or not isinstance(given, Iterable):
        raise ConfigError(f"providers must be a list; write [{given!r}]")
    return [_provider_of(entry) for entry in given]


def _provider_of(entry: Any) -> Listed:
    order = None
    if isinstance(entry, tuple):
        if len(entry) != 2 or not isinstance(entry[1], int):
            raise ConfigError(f"a provider with an order is a tuple (provider, int), not {entry!r}")
        entry, order = entry
    given = entry
    if isinstance(entry, str):
        entry = installed_provider(entry)
    if isinstance(entry, StaticProvider):
        provider: Any = entry
    elif isinstance(entry, SharedPV):
        raise ConfigError("a SharedPV has no name of its own; write {'the:name': pv}")
    elif hasattr(entry, "items"):
        provider = StaticProvider()
        for name, pv in entry.items():
            provider.add(name, pv)
    elif isinstance(entry, Provider):
        if inspect.iscoroutinefunction(entry.test_channel):
            raise ConfigError(f"test_channel of {entry!r} must be a plain function: it is asked for every search")
        provider = entry
    else:
        raise ConfigError(
            f"{entry!r} is no provider: give a StaticProvider, a DynamicProvider, a dict of PVs, the name of an "
            "installed provider, or an object with test_channel and make_channel"
        )
    return Listed(provider, order if order is not None else getattr(provider, "order", 0), given)


class Source:
    """One provider in one server.

    Attributes:
        nursery: where the provider's own tasks run; None before it is opened and after it ends.
        context: the context variables that these tasks begin with.
    """

    def __init__(self, server: Server, listed: Listed) -> None:
        self.server = server
        self.provider = provider = listed.provider
        self.order = listed.order
        self._given = listed.given
        self.context: Context
        self.pvs: dict[str, SharedPV] | None = provider._pvs if isinstance(provider, StaticProvider) else None
        self.nursery: trio.Nursery | None = None
        self._scope = trio.CancelScope()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """The provider's nursery; `started` once its `run` has started."""
        provider = self.provider
        self.context = copy_context()
        if self.pvs is not None:
            for name, pv in self.pvs.items():
                self.server.adopt(pv, name)
            provider._watchers.append(self)
        try:
            with self._scope:
                async with trio.open_nursery() as self.nursery:
                    run = getattr(provider, "run", None)
                    if run is not None:
                        await self.nursery.start(run)
                    task_status.started()
                    await trio.sleep_forever()
        finally:
            self.nursery = None
            if self.pvs is not None:
                provider._watchers.remove(self)

    def serves(self, provider: Any) -> bool:
        """Whether this is the provider that the user means: the object itself, or the name or dict given for it."""
        return (
            provider is self.provider
            or provider is self._given
            or (isinstance(provider, str) and provider == self._given)
        )

    @property
    def lives(self) -> bool:
        """Whether tasks of its PVs can still be started here."""
        return self.nursery is not None and not self.server.stopping

    def close(self) -> None:
        """Cancel the provider's tasks."""
        self.nursery = None
        self._scope.cancel()

    # ---- what a StaticProvider tells while it changes

    def added(self, name: str, pv: SharedPV) -> None:
        """A name was added."""
        self.server.adopt(pv, name)
        self.server.names_changed()

    def removed(self, name: str, pv: SharedPV) -> None:
        """A name was removed: its channels end."""
        for channel in list(pv._core.channels or ()):
            if channel.source is self and channel.name == name:
                channel.connection.close_channel(channel)
        self.server.names_changed()


class Sources:
    """All providers of a server, lowest order first, equal order as given."""

    def __init__(self) -> None:
        self._sources: list[Source] = []
        self._all_static = True

    def __iter__(self) -> Iterator[Source]:
        return iter(self._sources)

    def add(self, source: Source) -> None:
        """Take in a source that has started."""
        self._sources.append(source)
        self._sources.sort(key=lambda each: each.order)
        self._all_static = all(each.pvs is not None for each in self._sources)

    def remove(self, provider: Any) -> Source:
        """Take out the source of *provider*; ConfigError if this server does not have it."""
        for source in self._sources:
            if source.serves(provider):
                self._sources.remove(source)
                self._all_static = all(each.pvs is not None for each in self._sources)
                return source
        raise ConfigError(f"this server has no provider {provider!r}")

    def claims(self, names: Sequence[str]) -> list[bool]:
        """Which of these names somebody here has."""
        tables = [source.pvs for source in self._sources if source.pvs is not None]
        if self._all_static and len(tables) == 1:
            table = tables[0]
            return [name in table for name in names]
        return [self._claims(name) for name in names]

    def _claims(self, name: str) -> bool:
        for source in self._sources:
            if source.pvs is not None:
                if name in source.pvs:
                    return True
                continue
            try:
                answer = source.provider.test_channel(name)
            except Exception:
                _log.exception("test_channel(%r) of %r failed; it does not claim the name", name, source.provider)
                continue
            if answer:  # NotYet is false
                return True
        return False

    def find_now(self, name: str) -> tuple[Source, SharedPV] | str | None:
        """The PV of that name; the reason if there is none; None if somebody must be asked who may have to wait."""
        for source in self._sources:
            if source.pvs is None:
                return None
            pv = source.pvs.get(name)
            if pv is not None:
                return source, pv
        return f"no provider has a PV of the name {name!r}"

    async def find(self, name: str, peer: Peer) -> tuple[Source, SharedPV] | None:
        """The PV of that name, asking each provider in turn. Cancellation reaches the provider that is asked."""
        for source in self._sources.copy():
            made = source.provider.make_channel(name, peer)
            if inspect.isawaitable(made):
                made = await made
            if made is None or source not in self._sources:  # it may have been removed meanwhile
                continue
            if not isinstance(made, SharedPV):
                raise TypeError(f"make_channel of {source.provider!r} must return a SharedPV or None, not {made!r}")
            return source, made
        return None

    def names(self) -> list[str]:
        """All names that can be listed, sorted."""
        found: set[str] = set()
        for source in self._sources:
            listed: Iterable[str] = source.pvs if source.pvs is not None else getattr(source.provider, "keys", list)()
            found.update(listed)
        return sorted(found)

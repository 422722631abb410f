"""Who has which PV: a list of names, or a rule that makes PVs on demand."""

from __future__ import annotations

import inspect
import logging
import time
from collections.abc import Awaitable, ItemsView, Iterator
from enum import Enum
from typing import Any, Final, Literal, Protocol, runtime_checkable
from uuid import uuid4

import trio

from p4p_trio.errors import ConfigError
from p4p_trio.protocol.peer import Peer
from p4p_trio.server.shared_pv import SharedPV

__all__ = ["DynamicProvider", "NotYet", "Provider", "StaticProvider", "checked_name"]

_log = logging.getLogger("p4p_trio.server")

MAX_NAME: Final = 500
FORGET_AFTER: Final = 10.0
"""Seconds for which a name that a DynamicProvider disclaimed is not asked again."""
REMEMBER: Final = 4_096
"""Names that are remembered so."""


class _NotYet(Enum):
    NOT_YET = "not yet"

    def __bool__(self) -> Literal[False]:
        return False

    def __repr__(self) -> str:
        return "NotYet"


NotYet: Final = _NotYet.NOT_YET
"""What `test_channel` returns for a name that is not there now, but may be soon: the answer is not remembered."""


@runtime_checkable
class Provider(Protocol):
    """What a server needs of a provider. Optional besides:

    * `async def run(self, *, task_status)`: the provider's own tasks. It runs in the provider's nursery inside
      the server's, no search is answered before it calls `task_status.started()`, it is cancelled when the
      server or the provider goes, and its crash is the server's crash.
    * `name`: a str, for messages.
    """

    def test_channel(self, name: str) -> bool | _NotYet:
        """Whether there is a PV of this name. Called for every search on the network: it must be quick."""

    def make_channel(self, name: str, peer: Peer) -> Awaitable[SharedPV | None] | SharedPV | None:
        """The PV for a client's new channel, or None to let the next provider answer.

        May be async, and may then wait, within `Limits.create_timeout`. Cancelled when the client disconnects.

        Raises:
            RemoteError: the client is refused with this text.
        """


def checked_name(name: str) -> str:
    """*name*, if a PV can be called that.

    Raises:
        TypeError: it is no str.
        ConfigError: it is empty, too long, or has blanks or control characters.
    """
    if not isinstance(name, str):
        raise TypeError(f"a PV name must be str, not {type(name).__name__}")
    if not name:
        raise ConfigError("a PV name must not be empty")
    if len(name) > MAX_NAME:
        raise ConfigError(f"a PV name has at most {MAX_NAME} characters; {name[:40]!r}… has {len(name)}")
    if not name.isprintable() or " " in name:
        raise ConfigError(f"PV name {name!r}: remove the blanks and control characters")
    return name


class StaticProvider:
    """A list of names, each with its PV. It may change at any time, also while servers use it."""

    def __init__(self, name: str | None = None) -> None:
        self.name = name if name is not None else str(uuid4())
        self.changes = 0
        self._pvs: dict[str, SharedPV] = {}
        self._watchers: list[Any] = []

    def add(self, name: str, pv: SharedPV) -> None:
        """Serve *pv* as *name*. One PV may have several names.

        Raises:
            ValueError: the name is taken already, or cannot be a PV name.
            TypeError: *pv* is no SharedPV.
            RuntimeError: a server uses this provider, and the PV is served by another trio run.
        """
        checked_name(name)
        if not isinstance(pv, SharedPV):
            raise TypeError(f"PV {name!r} must be a SharedPV, not {type(pv).__name__}")
        if name in self._pvs:
            raise ConfigError(f"there is a PV {name!r} in this provider already; remove it first")
        for watcher in self._watchers:
            watcher.added(name, pv)
        self._pvs[name] = pv
        self.changes += 1

    def remove(self, name: str) -> SharedPV:
        """Stop serving *name*, and close the channels that clients have to it here. The PV itself stays open.

        Returns:
            The PV.

        Raises:
            KeyError: there is no such name.
        """
        pv = self._pvs.pop(name)
        self.changes += 1
        for watcher in self._watchers:
            watcher.removed(name, pv)
        return pv

    def keys(self) -> list[str]:
        """All names, sorted."""
        return sorted(self._pvs)

    def items(self) -> ItemsView[str, SharedPV]:
        """All names with their PVs."""
        return self._pvs.items()

    def __iter__(self) -> Iterator[str]:
        return iter(self._pvs)

    def __len__(self) -> int:
        return len(self._pvs)

    def __contains__(self, name: object) -> bool:
        return name in self._pvs

    def __getitem__(self, name: str) -> SharedPV:
        return self._pvs[name]

    def test_channel(self, name: str) -> bool:
        """Whether the name is listed."""
        return name in self._pvs

    def make_channel(self, name: str, peer: Peer) -> SharedPV | None:
        """The PV of that name, or None."""
        return self._pvs.get(name)

    def __repr__(self) -> str:
        return f"<StaticProvider {self.name!r}, {len(self._pvs)} PVs>"


class DynamicProvider:
    """PVs whose names are not known in advance.

    Args:
        name: for messages and for the order among providers.
        handler: has `test_channel(name) -> bool | NotYet` (plain function) and
            `async make_channel(name, peer) -> SharedPV | None`, as `Provider` describes them, and perhaps `run`.

    A name that `test_channel` disclaimed with False is not asked again for 10 s; `NotYet` is not remembered.
    """

    def __init__(self, name: str, handler: Any) -> None:
        if not isinstance(name, str):
            raise TypeError(f"a provider's name must be str, not {type(name).__name__}")
        for method in ("test_channel", "make_channel"):
            if not callable(getattr(handler, method, None)):
                raise TypeError(f"the handler of DynamicProvider {name!r} needs a method {method!r}")
        if inspect.iscoroutinefunction(handler.test_channel):
            raise TypeError("test_channel must be a plain function: it is asked for every search on the network")
        self.name = name
        self.handler = handler
        self._disclaimed: dict[str, float] = {}
        run = getattr(handler, "run", None)
        if run is not None:
            self.run = run

    def test_channel(self, name: str) -> bool | _NotYet:
        """Ask the handler, unless it said no within the last 10 s."""
        now = _now()
        until = self._disclaimed.get(name)
        if until is not None:
            if now < until <= now + FORGET_AFTER:  # beyond that it is from a run with another clock
                return False
            del self._disclaimed[name]
        try:
            answer = self.handler.test_channel(name)
        except Exception:
            _log.exception("test_channel(%r) of %r failed; the name is not claimed", name, self)
            return NotYet
        if isinstance(answer, _NotYet):
            return answer
        if answer:
            return True
        if len(self._disclaimed) >= REMEMBER:
            self._forget(now)
        self._disclaimed[name] = now + FORGET_AFTER
        return False

    def _forget(self, now: float) -> None:
        self._disclaimed = {name: until for name, until in self._disclaimed.items() if until > now}
        if len(self._disclaimed) >= REMEMBER:
            self._disclaimed.clear()

    def make_channel(self, name: str, peer: Peer) -> Awaitable[SharedPV | None] | SharedPV | None:
        """Ask the handler."""
        made: Awaitable[SharedPV | None] | SharedPV | None = self.handler.make_channel(name, peer)
        return made

    def __repr__(self) -> str:
        return f"<DynamicProvider {self.name!r}>"


def _now() -> float:
    """Seconds on the clock of the trio run, virtual or real; outside of one on the system's."""
    try:
        return trio.current_time()
    except RuntimeError:
        return time.monotonic()

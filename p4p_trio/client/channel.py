"""A PV as one context sees it: where it was found, what is going on with it, and who waits for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from p4p_trio.client.unwrapping import Unwrapper
from p4p_trio.protocol.client_channel import ClientChannel
from p4p_trio.protocol.client_request import ClientRequest
from p4p_trio.protocol.tables import ClientChannelState, ClientRequestState
from p4p_trio.wire import Command

if TYPE_CHECKING:
    from p4p_trio.client.runtime import Runtime
    from p4p_trio.client.session import Session

__all__ = ["PROVEN", "Channel", "Key", "User"]

KEEP: Final = 10.0
"""Seconds that an INITed request is kept for whoever asks for the same again."""

PROVEN: Final = 2.0
"""Seconds of life after which a channel's or connection's end is no sign of a server that cannot be used."""

Key = tuple[Command, Any]
"""What an INITed request can be used for again: the command, and what the pvRequest says."""

_ACTIVE = ClientChannelState.ACTIVE
_GET = Command.GET


class User(Protocol):
    """Whoever uses a channel: an operation, or a subscription."""

    def begin(self) -> None:
        """The channel can be used."""

    def unavailable(self, text: str, *, answered: bool) -> None:
        """The channel cannot be had now; it is looked for again as long as somebody waits.

        Args:
            text: why.
            answered: whether its server refused it.
        """


class Channel:
    """One PV name; shared by everything that is done with it. While it has users it is looked for for ever.

    Attributes:
        name: the PV's name.
        server: the address of the one server that is asked; None: whoever has it.
        cid: the id under which it is searched for.
        guid: which run of which server has it.
        session: the connection that it belongs to, while there is one.
        last: the address of the server that had it last.
        wire: the channel there.
        users: how many operations and subscriptions use it.
        used: when it last had one.
        waiting: those that wait for it to become active, in order.
        trouble: why it is not active though it was found, or was active.
        unwrapper: makes Python objects of what is received.
    """

    __slots__ = (
        "_idle",
        "_refusals",
        "_since",
        "_warned",
        "cid",
        "guid",
        "last",
        "name",
        "runtime",
        "server",
        "session",
        "trouble",
        "unwrapper",
        "used",
        "users",
        "waiting",
        "wire",
    )

    def __init__(self, runtime: Runtime, name: str, cid: int, server: tuple[str, int] | None) -> None:
        self.runtime = runtime
        self.name = name
        self.server = server
        self.cid = cid
        self.guid = b""
        self.session: Session | None = None
        self.last: tuple[str, int] | None = None
        self.wire: ClientChannel | None = None
        self.users = 0
        self.used = 0.0
        self.waiting: dict[User, None] = {}
        self.trouble = ""
        self.unwrapper = Unwrapper(runtime.nt)
        self._idle: dict[Key, tuple[ClientRequest, float]] = {}
        self._refusals = 0
        self._since = 0.0
        self._warned = False

    @property
    def active(self) -> bool:
        """Whether requests can be made of it now."""
        return self.wire is not None and self.wire.state is _ACTIVE

    # ---- who uses it

    def join(self, user: User) -> None:
        """Somebody uses it: `user.begin` is called, now or when it is active."""
        self.users += 1
        if self.active:
            user.begin()
        else:
            self.wait(user)

    def wait(self, user: User) -> None:
        """Call `user.begin` when it is active (again)."""
        self.waiting[user] = None
        if self.session is None:
            self.want()

    def leave(self, user: User, now: float) -> None:
        """The user has ended."""
        self.waiting.pop(user, None)
        self.users -= 1
        self.used = now
        if not self.users and self.session is None:
            self.runtime.drop(self)

    # ---- where it is

    def want(self, delay: float = 0.0) -> None:
        """Look for it, unless that is done already.

        Args:
            delay: seconds to wait first.
        """
        if self.server is not None:
            self._attach(self.runtime.session(self.server))
        else:
            # The first time costs nothing: servers are restarted, and PVs are replaced.
            self.runtime.searching.want(self, delay, max(0, self._refusals - 1))

    def found(self, guid: bytes, address: tuple[str, int]) -> None:
        """A server says that it has it; the first one that does gets it."""
        if self.session is not None:
            if guid != self.guid and not self._warned:
                self._warned = True
                self.runtime.duplicate(self, guid, address)
            return
        trouble = self.runtime.untrusted(address)
        if trouble:
            self.trouble = trouble
            return
        self.runtime.searching.forget(self)
        self.guid = guid
        self._warned = False
        self._attach(self.runtime.session(address))

    def _attach(self, session: Session) -> None:
        self.session = session
        self.last = session.address
        self.wire = session.connection.create_channel(self.name)
        self.wire.context = self

    def created(self) -> None:
        """It is active."""
        self.trouble = ""
        self._since = self.runtime.now()
        waiting, self.waiting = self.waiting, {}
        for user in waiting:
            user.begin()

    def refused(self, text: str) -> None:
        """The server that said it has it does not give it."""
        self.trouble = f"{self.session} refused the channel: {text}"
        self.session = self.wire = None
        self._refusals = max(self._refusals, 1) + 1
        self._unavailable(text, answered=True)
        self._again(0.0)

    def lost(self, why: str, *, gone: bool) -> None:
        """The server, or the loss of the connection, ended it.

        Args:
            gone: whether the whole connection is.
        """
        lived = self.wire is not None and self._since and self.runtime.now() - self._since >= PROVEN
        self._refusals = 0 if lived else self._refusals + 1
        self._since = 0.0
        self.trouble = why
        self.session = self.wire = None
        self._idle.clear()
        if self.server is not None:
            self._unavailable(why, answered=False)
        self._again(self.runtime.pause(gone))

    def _unavailable(self, text: str, *, answered: bool) -> None:
        for user in list(self.waiting):
            user.unavailable(text, answered=answered)

    def _again(self, delay: float) -> None:
        if self.users:
            if self.session is None and self.server is None:
                self.want(delay)
        else:
            self.runtime.drop(self)

    def close(self) -> None:
        """It is not needed any more."""
        self._idle.clear()
        if self.wire is not None:
            self.wire.destroy()
        self.session = self.wire = None

    def phase(self) -> str:
        """What it waits for, until it is active."""
        session = self.session
        if session is None:
            return self.runtime.searching.phase(self)
        if not session.ready:
            return f"{session.phase()} for {self.name!r}"
        return f"waiting for {session} to create the channel {self.name!r}"

    # ---- requests that are kept

    def take(self, key: Key) -> ClientRequest | None:
        """An INITed request for the same, if one is at hand; it is the caller's now."""
        found = self._idle.pop(key, None)
        return None if found is None else found[0]

    def keep(self, key: Key, request: ClientRequest, now: float) -> None:
        """A request was executed; somebody may ask for the same again. One of a kind is enough."""
        request.context = None
        if request.state is not ClientRequestState.IDLE:
            return
        if key in self._idle or (key[0] is _GET and self.session is not None and not self.session.repeats):
            request.destroy()
        else:
            self._idle[key] = request, now + KEEP
            self.runtime.keeping[self] = None

    def expire(self, now: float) -> bool:
        """End the requests that were kept for long enough; whether none is left."""
        for key in [key for key, (_, until) in self._idle.items() if until <= now]:
            self._idle.pop(key)[0].destroy()
        return not self._idle

"""What lives while a context is open: its channels, its connections, and the tasks behind them."""

from __future__ import annotations

import getpass
import logging
import random
import socket
from typing import Final

import trio

from p4p_trio.client.channel import PROVEN, Channel
from p4p_trio.client.searching import Searching
from p4p_trio.client.session import Session, spelled
from p4p_trio.client.unwrapping import Classes
from p4p_trio.config import ClientConfig, Limits
from p4p_trio.net import Flusher, Network
from p4p_trio.protocol.tables import ClientChannelState
from p4p_trio.wire import NO_ID

__all__ = ["Runtime"]

_log = logging.getLogger("p4p_trio.client")

UNUSED: Final = 10.0
"""Seconds between two looks for what is unused. A channel goes at the first that finds it unused for so long, its
connection at the next."""
RETURN: Final = (0.05, 0.4)
"""Seconds before the first search for what was lost, drawn anew for each loss: not all clients at once."""
LATE: Final = 2.0
"""Seconds by which a look at the deadlines may be late before nobody is blamed for silence."""
GROWTH: Final = 0.15
"""Part of the time since its loss that passes between two attempts to reach a server; at least a second does."""
GIVE_UP: Final = 600.0
"""Seconds after which it is only searched for."""
LONGEST: Final = 30.0
"""Seconds that a server which could not be used is left alone, at most."""
_ABANDONED: Final = ClientChannelState.ABANDONED

Address = tuple[str, int]


class Runtime:
    """The inside of one open context.

    Attributes:
        channels: those that are in use or were lately, by name and server.
        keeping: those of them that keep requests for the next who asks.
        sessions: the connections that live, by address.
        searching: looks for channels.
        calls: how many calls are waiting for answers.
        closed: the context was left; nothing more can be done.
    """

    def __init__(
        self, nursery: trio.Nursery, network: Network, config: ClientConfig, limits: Limits, nt: Classes
    ) -> None:
        self.nursery = nursery
        self.network = network
        self.config = config
        self.limits = limits
        self.nt = nt
        self.user = _user()
        self.hostname = socket.gethostname()
        self.flusher = Flusher()
        self.channels: dict[tuple[str, Address | None], Channel] = {}
        self.keeping: dict[Channel, None] = {}
        self.sessions: dict[Address, Session] = {}
        self.searching = Searching(self)
        self.closed = False
        self.calls = 0
        self._by_cid: dict[int, Channel] = {}
        # Whoever forges an answer to a search has to guess what was asked.
        self._cid = random.getrandbits(31)
        self._failures: dict[Address, tuple[int, float, str]] = {}
        self._pauses: dict[float, float] = {}
        self._seeking: set[Address] = set()
        self._held: list[Session] | None = None

    def now(self) -> float:
        """Seconds on trio's clock."""
        return trio.current_time()

    async def open(self) -> None:
        """Begin.

        Raises:
            ConfigError: an address cannot be used.
        """
        await self.searching.open()
        self.nursery.start_soon(self.flusher.run)
        self.nursery.start_soon(self._sweep)

    def close(self) -> None:
        """End: everything that waits for something fails."""
        self.closed = True
        for session in list(self.sessions.values()):
            session.end("the context was closed")
        for channel in list(self.channels.values()):
            for user in list(channel.waiting):
                user.unavailable("the context was closed", answered=False)
        self.searching.close()

    # ---- when to send

    def mark(self, session: Session) -> None:
        """*session* has output."""
        if self._held is None:
            self.flusher.mark(session)
        else:
            self._held.append(session)

    def hold(self) -> None:
        """The caller is about to write, and will call `send` before it awaits anything."""
        if self._held is None:
            self._held = []

    def send(self) -> None:
        """Send what was written since `hold`: at once if this is the only call, else once for all of this turn."""
        held, self._held = self._held, None
        for session in held or ():
            if self.calls == 1:
                session.flush()
            else:
                self.flusher.mark(session)

    # ---- channels

    def channel(self, name: str, server: Address | None = None) -> Channel:
        """The channel of this name, made if there is none."""
        found = self.channels.get((name, server))
        if found is None:
            cid = self._cid = (self._cid + 1) % NO_ID
            found = self.channels[name, server] = self._by_cid[cid] = Channel(self, name, cid, server)
        return found

    def drop(self, channel: Channel) -> None:
        """Nobody needs it, and no server knows of it."""
        self.searching.forget(channel)
        self.channels.pop((channel.name, channel.server), None)
        self._by_cid.pop(channel.cid, None)

    def found(self, cid: int, guid: bytes, address: Address) -> None:
        """A server at *address* says that it has the channel *cid*."""
        channel = self._by_cid.get(cid)
        if channel is not None and not self.closed:
            channel.found(guid, address)

    def duplicate(self, channel: Channel, guid: bytes, address: Address) -> None:
        """A second server has it, too."""
        _log.warning(
            "%r is served twice: by %s, which is used, and by %s (GUID %s)",
            channel.name,
            channel.session,
            spelled(address),
            guid.hex(),
        )

    def forget_unused(self, name: str | None) -> None:
        """Drop the channel of this name, or all of them, unless they are in use."""
        for channel in list(self.channels.values()):
            if not channel.users and name in (None, channel.name):
                channel.close()
                self.drop(channel)

    # ---- connections

    def session(self, address: Address) -> Session:
        """The connection to the server at *address*, begun if there is none."""
        found = self.sessions.get(address)
        if found is None:
            found = self.sessions[address] = Session(self, address)
            self.nursery.start_soon(found.run)
        return found

    def session_ready(self, session: Session) -> None:
        """The server has accepted our login."""
        self.searching.session_ready(session)

    def session_ended(self, session: Session, lived: float | None) -> None:
        """The connection is over; its channels will be told next.

        Args:
            lived: seconds since the login; None: there was none.
        """
        if self.sessions.get(session.address) is session:
            del self.sessions[session.address]
        if self.closed:
            return
        address = session.address
        if session.broken:
            lived = None
        elif session.seeking and lived is None:
            return
        if lived is not None and lived >= PROVEN:
            self._failures.pop(address, None)
            if address not in self._seeking:
                self._seeking.add(address)
                self.nursery.start_soon(self._seek, address)
            return
        count = self._failures.get(address, (0, 0.0, ""))[0] + 1
        if lived is not None and count == 1:
            # A server that was just restarted once more; twice would be a habit.
            self._failures[address] = count, float("-inf"), session.trouble
            return
        pause = min(LONGEST, 2.0 ** min(count - (lived is not None) - 1, 10)) * random.uniform(1.0, 1.25)
        if len(self._failures) > 1_000:
            self._failures.clear()
        self._failures[address] = count, self.now() + min(pause, LONGEST), session.trouble

    def untrusted(self, address: Address) -> str:
        """Why the server at *address* is left alone for now, or ""."""
        found = self._failures.get(address)
        if found is None or address in self.sessions or self.now() >= found[1]:
            return ""
        return found[2]

    async def _seek(self, address: Address) -> None:
        """Try to reach a server that was lost, and ask it for what it had.

        Most come back, and a connection to one host disturbs nobody else; searching as often would.
        """
        begun = self.now()
        try:
            while True:
                await trio.sleep(max(1.0, (self.now() - begun) * GROWTH) * random.uniform(0.75, 1.25))
                if not self.lost_at(address) or address in self.sessions or self.now() - begun > GIVE_UP:
                    return
                session = self.session(address)
                session.seeking = True
                await session.closed_or_ready.wait()
                if session.ready:
                    return
        finally:
            self._seeking.discard(address)

    def lost_at(self, address: Address) -> list[tuple[int, str]]:
        """The channels that are missing, and that the server at *address* had last, as cid and name."""
        missing = self.searching.schedule
        return [(c.cid, c.name) for c in self.channels.values() if c.last == address and c.cid in missing]

    def pause(self, gone: bool) -> float:
        """Seconds before the first search for a channel that was lost; the same for all that are lost together."""
        now = self.now()
        pause = self._pauses.get(now)
        if pause is None:
            pause = random.uniform(*RETURN) if gone else random.uniform(0.0, RETURN[0])
            self._pauses = {now: pause}
        return pause

    # ---- deadlines

    async def _sweep(self) -> None:
        """Once a second, look at all deadlines."""
        look = self.now() + UNUSED
        while True:
            due = self.now() + 1.0
            await trio.sleep_until(due)
            now = self.now()
            for session in list(self.sessions.values()):
                session.sweep(now, punctual=now - due < LATE)
            for channel in [channel for channel in self.keeping if channel.expire(now)]:
                del self.keeping[channel]
            self.searching.sweep(now)
            if now >= look:
                look = now + UNUSED
                self._drop_unused(now)

    def _drop_unused(self, now: float) -> None:
        for session in list(self.sessions.values()):
            connection = session.connection
            wanted = (channel.state is not _ABANDONED for channel in connection.creating.values())
            if session.fixed or connection.channels or any(wanted):
                session.idle = 0
            else:
                session.idle += 1
                if session.idle > 1:
                    session.end("the connection was not used any more")
        for channel in list(self.channels.values()):
            if not channel.users and now - channel.used >= UNUSED:
                channel.close()
                self.drop(channel)


def _user() -> str:
    """The account that runs this program; "" if it has no name."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # no such user in the system's list, as in many containers
        return ""

"""`while_connected` and `while_monitored`: one task per PV, as long as somebody is there.

At most one instance runs per PV, whatever number of clients and servers there are. It lives in the
provider nursery of the server that saw the first client, and moves if that server stops while others
still have clients. A new instance starts only when the old one's clean-up has ended.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

import trio

from p4p_trio.server.running import parted

if TYPE_CHECKING:
    from p4p_trio.server.hooks import While
    from p4p_trio.server.shared_pv import SharedPV
    from p4p_trio.server.source import Source

__all__ = ["Presence"]

_log = logging.getLogger("p4p_trio.server")


class Presence:
    """Knows the clients (channels or subscriptions) of one PV and keeps one task running while there are any."""

    __slots__ = ("_clients", "_function", "_pv", "_running", "_scope", "_wanted")

    def __init__(self, pv: SharedPV, function: While) -> None:
        self._pv = pv
        self._function = function
        self._clients: dict[object, Source] = {}
        self._wanted = False
        self._running = False
        self._scope: trio.CancelScope | None = None

    def enter(self, client: object, source: Source) -> None:
        """A client came, through this provider of this server."""
        first = not self._clients
        self._clients[client] = source
        if first:
            self._wanted = True
            self._start()

    def leave(self, client: object) -> None:
        """A client went; one that came before this handler was there is not known."""
        if self._clients.pop(client, None) is not None and not self._clients:
            self._wanted = False
            if self._scope is not None:
                self._scope.cancel()

    def _start(self) -> None:
        home = next((source for source in self._clients.values() if source.lives), None)
        if home is not None and not self._running:
            assert home.nursery is not None
            self._running = True
            self._scope = trio.CancelScope()
            name = f"{self._function.__qualname__} of {home.provider!r}"
            home.context.run(partial(home.nursery.start_soon, self._run, name=name))

    async def _run(self) -> None:
        assert self._scope is not None
        moves = False
        try:
            with self._scope:
                if not self._scope.cancel_called:  # else they left before this task was scheduled, all or for a moment
                    self._wanted = False
                    await self._function(self._pv)
        except BaseException as exc:
            cancelled, failure = parted(exc)
            moves = cancelled is not None  # its server stops, or its provider was removed; another may have clients
            if not isinstance(failure, Exception):
                raise
            # It waits for the next first client; a crash of one PV's task must not end its provider.
            _log.error(
                "%s of a PV failed; it starts again with the next first client",
                self._function.__qualname__,
                exc_info=failure,
            )
            if cancelled is not None:
                raise cancelled from None
        finally:
            self._running = False
            self._scope = None
            if self._wanted or moves:
                self._start()

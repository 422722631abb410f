"""Group memberships, from the host's user database."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Final

import trio

__all__ = ["roles_of"]

KEPT: Final = 60.0
MANY: Final = 1_000
_known: dict[str, tuple[float, frozenset[str]]] = {}


def _look_up(account: str) -> frozenset[str]:
    try:
        import grp
        import pwd
    except ImportError:  # not a POSIX host: there is no such database
        return frozenset()
    try:
        primary = pwd.getpwnam(account).pw_gid
    except KeyError:
        return frozenset()
    groups = {group.gr_name for group in grp.getgrall() if account in group.gr_mem}
    with suppress(KeyError):
        groups.add(grp.getgrgid(primary).gr_name)
    return frozenset(groups)


async def roles_of(account: str) -> frozenset[str]:
    """The names of the groups that *account* is in; empty for an unknown one.

    Runs the look-up in a thread (it may ask a directory service), keeps the answer for a minute.
    """
    now = time.monotonic()
    found = _known.get(account)
    if found is not None and now - found[0] < KEPT:
        await trio.lowlevel.checkpoint()
        return found[1]
    groups = await trio.to_thread.run_sync(_look_up, account, abandon_on_cancel=True)
    if len(_known) >= MANY:
        _known.clear()
    _known[account] = (now, groups)
    return groups

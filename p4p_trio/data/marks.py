"""Change marks of values that are parts of another value's item."""

from __future__ import annotations

from typing import Any, TypeAlias

from p4p_trio.data.field import Layout, bits

__all__ = ["Link", "mark_outside", "marked_outside", "names"]

Link: TypeAlias = "tuple[list[Any], int, int, Link | None]"
"""Where a value that lies inside another one's item is held: the outer slots, the outer bit that a change
marks, the outer bits any of which means that this place is marked, and the outer value's own link."""


def mark_outside(link: Link | None) -> None:
    """Marks every place that holds what has changed."""
    while link is not None:
        slots, bit, _, link = link
        slots[0] |= bit


def marked_outside(link: Link | None) -> bool:
    """Whether any place that holds this one is marked."""
    while link is not None:
        slots, _, cover, link = link
        if slots[0] & cover:
            return True
    return False


def names(layout: Layout, mask: int, *, parents: bool) -> set[str]:
    """Dotted names of the positions in *mask* and of everything below them; position 0 has none.

    Args:
        parents: also of the structures that contain them.
    """
    found = 0
    for n in bits(mask & ~1):
        found |= layout.subtree[n]
        if parents:
            found |= layout.parents[n]
    return {layout.paths[n] for n in bits(found & ~1)}

"""The PV core by itself: one value, its versions, and what is made of it once for many."""

from __future__ import annotations

import pytest

from p4p_trio.data import Type, Value
from p4p_trio.protocol.pv import MANY, PV, Update
from p4p_trio.wire import BIG, LITTLE
from tests.protocol.link import POINT, FakePV, point, positions


@pytest.fixture
def pv() -> PV:
    return FakePV(point()).pv


def post(pv: PV, **fields: object) -> None:
    value = Value(POINT, fields)
    pv.post(value, value._slots[0])


def test_open_and_closed(pv: PV) -> None:
    with pytest.raises(RuntimeError, match="open already"):
        pv.open(point())
    pv.close()
    pv.close()
    assert not pv.is_open
    pv.open(Value(Type([("n", "i")]), {"n": 1}))
    assert pv.current().n == 1


def test_every_post_is_a_version(pv: PV) -> None:
    before = pv.version
    pv.post(point(), 0)
    assert pv.version == before
    post(pv, value=2.0)
    assert pv.version == before + 1
    pv.close()
    assert pv.version > before + 1


def test_a_post_leaves_older_slots_alone(pv: PV) -> None:
    old = pv.slots
    post(pv, value=2.0)
    assert (old[1], pv.slots[1]) == (1.5, 2.0)


def test_current_is_a_private_copy(pv: PV) -> None:
    current = pv.current()
    assert current.changedSet() == {"value", "alarm.severity", "alarm.message", "label"}
    current.value = 9.0
    assert pv.current().value == 1.5


def test_replies_are_made_once_per_version_mask_and_order(pv: PV) -> None:
    everything = POINT._field.layout.all
    first = pv.reply(everything, LITTLE)
    assert pv.reply(everything, LITTLE) is first
    assert pv.reply(everything, BIG) is not first
    assert pv.reply(positions(POINT, "label"), LITTLE) is not first
    post(pv, value=2.0)
    assert pv.reply(everything, LITTLE) is not first


def test_what_is_kept_for_masks_is_bounded() -> None:
    wide = Type([(f"f{n}", "i") for n in range(MANY + 2)])
    pv = FakePV(Value(wide)).pv
    update = Update(pv, pv.slots, wide._field.layout.leaves, 0, 1, 1)
    for n in range(1, MANY + 2):
        pv.reply(1 << n, LITTLE)
        update.encoded(1 << n, LITTLE)
    assert pv._gets is not None
    assert len(pv._gets) == len(update._encoded) == 1


def test_only_the_loose_hide_what_was_never_assigned() -> None:
    strict = FakePV(Value(POINT, {"label": "x"})).pv
    loose = FakePV(Value(Type._of(POINT._field, strict=False), {"label": "x"})).pv
    assert strict.served() == POINT._field.layout.leaves
    assert loose.served() == positions(POINT, "label")


def test_merged_updates(pv: PV) -> None:
    def update(paths: list[str], overrun: list[str], first: int) -> Update:
        return Update(pv, list(pv.slots), positions(POINT, *paths), positions(POINT, *overrun), first, first)

    old, new = update(["value"], ["label"], 1), update(["value", "alarm.severity"], [], 2)
    merged = pv.merge(old, new)
    assert pv.merge(old, new) is merged
    assert merged.slots is new.slots
    assert merged.mask == positions(POINT, "value", "alarm.severity")
    assert merged.overrun == positions(POINT, "value", "label")
    assert (merged.first, merged.last) == (1, 2)
    assert pv.merge(old, update(["label"], [], 3)) is not merged

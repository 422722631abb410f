"""When a client asks for what: the schedule of the search, with the time as an argument."""

from __future__ import annotations

import itertools

import pytest

from p4p_trio.config import Limits
from p4p_trio.protocol.client_search import (
    BUDGET,
    SearchSchedule,
    encode_ping,
    encode_search,
    read_answers,
)
from p4p_trio.wire import BIG, LITTLE, Buffers, Reader, messages
from p4p_trio.wire.messages import ANY, Beacon, SearchResponse
from tests.protocol.link import raw

LIMITS = Limits()
GUID = b"0123456789ab"


def asked_at(schedule: SearchSchedule, until: float, jitter: float = 0.0) -> list[float]:
    """When datagrams went out, if `take` is always called when it is due."""
    times: list[float] = []
    now = 0.0
    while now <= until:
        times += [now] * len(schedule.take(now, jitter))
        now = max(schedule.due, now + 1e-9)
    return times


# ---- pauses


def test_pauses_grow_by_a_second_to_thirty() -> None:
    schedule = SearchSchedule()
    schedule.add(7, "x", 0.0)
    times = asked_at(schedule, 600)
    pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert times[0] == 0.0
    assert pauses[:30] == pytest.approx(range(1, 31))
    assert pauses[30:] == pytest.approx([30.0] * len(pauses[30:]))
    assert schedule.asked(7) == len(times)


@pytest.mark.parametrize(("jitter", "expected"), [(0.1, [0.0, 1.25, 3.5]), (-0.1, [0.0, 1.0, 3.0])])
def test_pauses_differ_from_client_to_client(jitter: float, expected: list[float]) -> None:
    schedule = SearchSchedule()
    schedule.add(7, "x", 0.0)
    assert asked_at(schedule, 4.0, jitter) == expected


def test_ticks_differ_from_client_to_client() -> None:
    schedule = SearchSchedule(phase=0.2)
    schedule.add(7, "x", 0.0)
    assert asked_at(schedule, 1.5) == [0.0, pytest.approx(1.2)]


def test_the_first_question_can_wait() -> None:
    schedule = SearchSchedule()
    schedule.add(7, "x", 10.0, delay=0.5)
    assert schedule.take(10.25) == []
    assert schedule.due == 10.5
    assert schedule.take(10.5) == [[(7, "x")]]


def test_a_name_can_begin_with_long_pauses() -> None:
    schedule = SearchSchedule()
    schedule.add(7, "x", 0.0, asked=3)
    assert asked_at(schedule, 12.0) == [3.0, 7.0, 12.0]


def test_what_is_found_is_asked_for_no_longer() -> None:
    schedule = SearchSchedule()
    for cid in range(3):
        schedule.add(cid, f"x{cid}", 0.0)
    schedule.take(0.0)
    assert schedule.remove(1) == 1
    assert schedule.remove(1) == 0
    assert schedule.take(1.0) == [[(0, "x0"), (2, "x2")]]
    schedule.remove(0)
    schedule.remove(2)
    assert schedule.due == float("inf")
    assert len(schedule) == 0


def test_nothing_is_due_where_nothing_is_missing() -> None:
    assert SearchSchedule().due == float("inf")
    assert SearchSchedule().take(0.0) == []


# ---- datagrams


def test_all_names_of_a_tick_share_datagrams_within_the_budget() -> None:
    schedule = SearchSchedule()
    for cid in range(1_000):
        schedule.add(cid, f"some:device:{cid:04}", 0.0)
    taken = schedule.take(0.0)
    assert [name for names in taken for name in names] == [(cid, f"some:device:{cid:04}") for cid in range(1_000)]
    sizes = [len(encode_search(names, 5076, unicast=True)) for names in taken]
    assert max(sizes) <= BUDGET
    assert min(sizes[:-1]) > BUDGET - 30


def test_names_of_one_second_come_together_again() -> None:
    schedule = SearchSchedule()
    schedule.add(1, "a", 0.0)
    schedule.take(0.0)
    schedule.add(2, "b", 0.1)
    schedule.take(0.1)
    assert schedule.take(1.25) == [[(1, "a"), (2, "b")]]


def test_a_name_beyond_the_budget_goes_alone() -> None:
    schedule = SearchSchedule()
    schedule.add(1, "a", 0.0)
    schedule.add(2, "b" * 2_000, 0.0)
    schedule.add(3, "c", 0.0)
    assert [[cid for cid, _ in names] for names in schedule.take(0.0)] == [[1], [2], [3]]


def test_ten_thousand_missing_names_cost_at_most_fifty_datagrams_in_any_second() -> None:
    schedule = SearchSchedule(phase=0.1)
    for cid in range(10_000):
        schedule.add(cid, f"some:missing:device:{cid:05}", 0.0)
    times = asked_at(schedule, 300)
    assert max(sum(1 for time in times if begin <= time < begin + 1.0) for begin in times) <= 50
    assert sum(1 for time in times if time >= 240) <= 60 * 12  # in the long run a few
    assert all(schedule.asked(cid) > 10 for cid in range(10_000))


def test_new_names_go_before_old_ones() -> None:
    schedule = SearchSchedule(rate=1)
    schedule.add(1, "old", 0.0)
    schedule.take(0.0)
    schedule.add(2, "n" * 1_390, 1.0)
    assert schedule.due == 1.25
    assert schedule.take(1.25) == [[(2, "n" * 1_390)]]
    assert schedule.due == 2.5
    assert schedule.take(2.5) == [[(1, "old")]]


def test_what_the_rate_puts_off_is_due_when_there_is_room() -> None:
    schedule = SearchSchedule(rate=2)
    for cid in range(3):
        schedule.add(cid, "n" * 1_390, 0.0)
    assert len(schedule.take(0.0)) == 2
    assert schedule.due == 1.25
    assert schedule.take(1.2) == []
    assert next([cid for cid, _ in names] for names in schedule.take(1.25)) == [2]


# ---- pokes


def waiting(count: int = 1, now: float = 100.0) -> SearchSchedule:
    """Names of which nothing will be asked before 120 s."""
    schedule = SearchSchedule()
    for cid in range(count):
        schedule.add(cid, f"x{cid}", 0.0, asked=30)
    for second in range(int(now)):
        schedule.take(float(second))
    return schedule


def test_a_poke_asks_for_everything_soon() -> None:
    schedule = waiting(4)
    schedule.poke(100.0, 1.0)
    asked = []
    while schedule.due <= 101.0:
        now = schedule.due
        asked += [(now, cid) for names in schedule.take(now) for cid, _ in names]
    assert [cid for _, cid in asked] == [0, 1, 2, 3]
    assert {time for time, _ in asked} == {100.25, 100.5, 100.75, 101.0}


def test_a_second_poke_within_thirty_seconds_is_put_off() -> None:
    schedule = waiting()
    schedule.poke(100.0, 0.5)
    assert schedule.take(100.5) == [[(0, "x0")]]
    schedule.poke(110.0, 0.5)
    schedule.poke(111.0, 0.5)
    assert schedule.due == 130.5
    assert schedule.take(130.5) == [[(0, "x0")]]
    schedule.poke(140.0, 0.5)
    assert schedule.due == 160.5


def test_a_poke_for_nothing_does_not_count() -> None:
    schedule = SearchSchedule()
    schedule.poke(99.0, 0.5)
    schedule.add(0, "x0", 100.0, asked=30)
    schedule.poke(101.0, 0.5)
    assert schedule.due == 101.5


def test_a_poke_puts_nothing_off() -> None:
    schedule = SearchSchedule()
    schedule.add(0, "x", 0.0)
    schedule.take(0.0)
    schedule.poke(0.5, 3.0)
    assert schedule.due == 1.0


def test_users_may_hurry() -> None:
    schedule = waiting()
    schedule.hurry_up()
    schedule.hurry_up()
    assert schedule.take(100.0) == [[(0, "x0")]]


# ---- bytes


def test_search_as_bytes() -> None:
    assert encode_search([(0x12345678, "W:rw")], 0xD6FB, unicast=True) == raw("""
        CA 02 80 03 0000002A            # big endian, SEARCH
        66696E64 80 000000              # "find", unicast
        00000000000000000000000000000000 D6FB
        01 03 746370                    # tcp
        0001 12345678 04 573A7277
    """)


def test_ping_as_bytes() -> None:
    assert encode_ping(0xD6FB, unicast=False) == raw("""
        CA 02 80 03 0000001D
        66696E64 01 000000              # must reply
        00000000000000000000000000000000 D6FB
        00 0000                         # no protocols, no channels
    """)


RESPONSE = raw("""
    CA 02 C0 04 0000002D            # big endian, server, SEARCH_RESPONSE
    601E923E549E118A1F7D38AD        # guid
    66696E64 00000000000000000000FFFF00000000 53FD
    03 746370 01 0001 12345678
""")


def test_answer_as_bytes() -> None:
    (answer,) = read_answers(RESPONSE, LIMITS)
    assert isinstance(answer, SearchResponse)
    assert (answer.port, answer.protocol, answer.found, answer.cids) == (21501, "tcp", True, (0x12345678,))


def beacon(order=LITTLE) -> bytes:
    out = Buffers()
    messages.write_beacon(out, order, GUID, 3, 5, ANY, 5075)
    return b"".join(out.freeze())


def test_several_messages_in_one_datagram() -> None:
    first, second, third = read_answers(beacon() + RESPONSE + beacon(BIG), LIMITS)
    assert isinstance(first, Beacon)
    assert isinstance(second, SearchResponse)
    assert isinstance(third, Beacon)
    assert (first.guid, first.change_count, first.port) == (GUID, 5, 5075)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello, is anybody there?",
        RESPONSE[:-1],
        raw("CA 00 C0 04 00000000"),  # version 0
        raw("CA 02 80 04 00000000"),  # from a client
        raw("CA 02 C1 02 00000000"),  # control
        raw("CA 02 D0 04 00000000"),  # segmented
        raw("CA 02 C0 04 00000004 00000000"),  # too short
        RESPONSE[:-6] + raw("FFFF 12345678"),  # 65,535 cids announced
    ],
)
def test_what_is_no_answer_is_ignored(data: bytes) -> None:
    assert list(read_answers(data, LIMITS)) == []


def test_what_comes_before_the_damage_counts() -> None:
    assert len(list(read_answers(RESPONSE + RESPONSE[:20], LIMITS))) == 1


def test_our_searches_decode() -> None:
    names = [(1, "a"), (2, "ü")]
    data = encode_search(names, 1234, unicast=False)
    search = messages.read_search(Reader(data, 8, len(data), BIG, LIMITS))
    assert (search.flags, search.port, search.channels) == (0, 1234, names)

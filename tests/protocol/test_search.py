"""The server's side of the search, against literal bytes, against its slow twin, and against forgers."""

import json
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p4p_trio.config import Limits
from p4p_trio.errors import ProtocolError
from p4p_trio.protocol.search import FORWARD_GROUP, PING_SPREAD, Outgoing, SearchResponder
from p4p_trio.wire.buffers import Buffers
from p4p_trio.wire.messages.udp import (
    address16,
    read_search_response,
    write_origin_tag,
    write_search,
    write_search_response,
)
from p4p_trio.wire.order import BIG, LITTLE
from p4p_trio.wire.reader import Reader

GUID = bytes(range(12))
HERE = "10.0.0.1"  # an address of this host
CLIENT = ("10.0.0.9", 40000)
BROADCAST = "10.0.0.255"
KNOWN = {"A", "B", "W:rw"}
VECTORS = Path(__file__).parents[1] / "vectors"


def claims(names):
    return [name in KNOWN for name in names]


def responder(**settings):
    settings.setdefault("forwarding", True)
    made = SearchResponder(GUID, 5075, settings.pop("claims", claims), **settings)
    made.learn(["127.0.0.1", HERE, "10.1.0.1"], {BROADCAST: HERE, "10.1.255.255": "10.1.0.1"})
    return made


def search(channels=((7, "A"),), *, order=BIG, flags=0, address="", port=41000, protocols=("tcp",), seq=99):
    out = Buffers()
    write_search(out, order, seq, flags, address16(address), port, protocols, list(channels))
    return b"".join(out.freeze())


def tag(address, order=BIG):
    out = Buffers()
    write_origin_tag(out, order, address16(address))
    return b"".join(out.freeze())


def response(cids=(7,), *, order=BIG, seq=99, address="", port=5075):
    out = Buffers()
    write_search_response(out, order, GUID, seq, address16(address), port, "tcp", bool(cids), list(cids))
    return b"".join(out.freeze())


def ask(who, data, *, source=CLIENT, to=BROADCAST, now=0.0):
    return list(who.datagram(data, source, to, now))


def reply(data, **fields):
    fields.setdefault("source", HERE)
    return [Outgoing(data, (CLIENT[0], 41000), **fields)]


class TestAnswers:
    def test_literal_bytes(self):
        question = bytes.fromhex(
            "ca028003 0000002a"  # SEARCH from a client, big endian, 42 bytes
            "66696e64 00 000000"  # seq "find", no flags
            "00000000000000000000000000000000 d6fb"  # reply to the sender's address, port 55035
            "01 03746370"  # one protocol, tcp
            "0001 12345678 04 573a7277"  # one channel: cid, "W:rw"
        )
        answer = bytes.fromhex(
            "ca02c004 0000002d"  # SEARCH_RESPONSE from a server, big endian, 45 bytes
            "000102030405060708090a0b 66696e64"  # guid, seq
            "00000000000000000000000000000000 13d3 03746370"  # any address, port 5075, tcp
            "01 0001 12345678"  # found, one cid
        )
        assert ask(responder(), question) == [Outgoing(answer, ("10.0.0.9", 55035), source=HERE)]

    @pytest.mark.parametrize("order", [BIG, LITTLE])
    def test_found_channels_in_one_reply_in_the_order_of_the_question(self, order):
        question = search([(1, "A"), (2, "no"), (3, "B"), (1, "A")], order=order)
        assert ask(responder(), question) == reply(response([1, 3, 1], order=order))

    def test_nothing_found_is_not_answered(self):
        assert ask(responder(), search([(1, "no")])) == []

    def test_nothing_found_but_must_reply(self):
        assert ask(responder(), search([(1, "no")], flags=1)) == reply(response([]), spread=PING_SPREAD)

    @pytest.mark.parametrize("protocols", [(), ("tcp",), ("tls", "tcp")])
    def test_discovery_is_answered_a_little_later(self, protocols):
        assert ask(responder(), search([], flags=1, protocols=protocols)) == reply(response([]), spread=PING_SPREAD)

    def test_no_channels_and_no_must_reply(self):
        assert ask(responder(), search([])) == []

    @pytest.mark.parametrize("protocols", [("tls",), ("",), ("quic", "tls"), ("tcpx",)])
    @pytest.mark.parametrize("channels", [[], [(7, "A")]])
    def test_protocols_we_do_not_speak(self, protocols, channels):
        assert ask(responder(), search(channels, protocols=protocols, flags=1)) == []

    def test_tcp_among_others(self):
        assert ask(responder(), search(protocols=("tls", "tcp"))) == reply(response())

    def test_core_pva_asks_for_the_source_port(self):
        assert ask(responder(), search(flags=2, port=0)) == [Outgoing(response(), CLIENT, source=HERE)]

    def test_explicit_reply_address_of_the_sender(self):
        assert ask(responder(), search(address=CLIENT[0])) == reply(response())

    def test_mapped_any_is_any(self):
        question = search()
        question = question[:16] + bytes(10) + b"\xff\xff" + bytes(4) + question[32:]
        assert ask(responder(), question) == reply(response())

    def test_multicast_and_limited_broadcast(self):
        for to in ("224.0.1.1", "255.255.255.255"):
            assert ask(responder(), search(), to=to) == reply(response(), source=None)

    def test_several_messages_give_one_datagram(self):
        other = search([(8, "B")], order=LITTLE, seq=5)
        assert ask(responder(), search() + other) == reply(response() + response([8], order=LITTLE, seq=5))

    def test_only_the_first_reply_address_of_a_datagram_counts(self):
        assert ask(responder(), search() + search(port=41001)) == reply(response())

    def test_control_segmented_and_foreign_messages_are_skipped(self):
        control = b"\xca\x02\x01\x02\x00\x00\xff\xff"
        segment = b"\xca\x02\x90\x03" + (4).to_bytes(4, "big") + b"\0" * 4
        beacon = b"\xca\x02\x80\x00" + (4).to_bytes(4, "big") + b"\0" * 4
        answer = response()
        assert ask(responder(), control + segment + beacon + answer + search()) == reply(response())

    def test_trailing_bytes_of_a_message_are_skipped(self):
        question = bytearray(search())
        question += b"\x00\x00\x00"
        question[4:8] = (len(question) - 8).to_bytes(4, "big")
        assert ask(responder(), bytes(question)) == reply(response())

    def test_tcp(self):
        question = search([(1, "A"), (2, "x")], order=LITTLE, flags=0x80, port=0)
        who = responder(served=[HERE])
        for buf in (question, bytearray(question), memoryview(question)):
            assert who.message(buf, 8, len(question), LITTLE) == response([1], order=LITTLE)
        assert who.message(search([], flags=1), 8, 37 + 4, BIG) == response([])
        assert who.message(search([(1, "x")]), 8, len(search([(1, "x")])), BIG) is None

    @pytest.mark.parametrize("cut", range(8, 47))
    def test_tcp_says_what_does_not_decode(self, cut):
        question = search()
        assert len(question) == 47
        with pytest.raises(ProtocolError):
            responder().message(question, 8, cut, BIG)

    def test_captured_searches(self):
        """What pvxs, pvAccessCPP, core-pva and spvirit really ask."""
        asked = set()
        who = responder(claims=lambda names: [True] * len(names), forwarding=False)
        for path in sorted(VECTORS.glob("stream_*.jsonl")):
            for line in path.read_text().splitlines():
                entry = json.loads(line)
                if entry["transport"] == "udp" and "SEARCH seq" in entry["what"]:
                    to = FORWARD_GROUP if "ORIGIN" in entry["what"] else "127.0.0.1"
                    (out,) = ask(who, bytes.fromhex(entry["hex"]), source=("127.0.0.1", 33333), to=to)
                    asked.add(entry["peer"])
                    reader = Reader(out.data, 8, len(out.data), BIG if out.data[2] & 0x80 else LITTLE, Limits())
                    assert read_search_response(reader).guid == GUID
        assert len(asked) >= 4


class TestNames:
    def test_long_and_odd_names(self):
        long = "n" * 300
        seen = []

        def claims(names):
            seen.extend(names)
            return [True] * len(names)

        names = ["A", long, "größe", "", "x" * 501, "bell\a", "nul\0", "z" * 253, "z" * 254, "z" * 500]
        (out,) = ask(responder(claims=claims), search(list(enumerate(names))))
        assert seen == ["A", long, "größe", "z" * 253, "z" * 254, "z" * 500]
        assert out.data == response([0, 1, 2, 7, 8, 9])

    def test_bytes_that_are_no_text(self):
        question = search([(1, "AB"), (2, "A")]).replace(b"AB", b"\xff\xfe")
        assert ask(responder(), question) == reply(response([2]))

    def test_null_name(self):
        question = search([(1, ""), (2, "A")]).replace(b"\x00\x00\x00\x01\x00", b"\x00\x00\x00\x01\xff")
        assert ask(responder(), question) == reply(response([2]))

    @settings(max_examples=300)
    @given(
        channels=st.lists(st.tuples(st.integers(0, 2**32 - 1), st.text(max_size=300)), max_size=40),
        order=st.sampled_from([BIG, LITTLE]),
        seq=st.integers(0, 2**32 - 1),
        flags=st.integers(0, 255),
        protocols=st.lists(st.sampled_from(["tcp", "tls", "", "x" * 260]), max_size=4),
        seed=st.integers(),
    )
    def test_as_its_slow_twin(self, channels, order, seq, flags, protocols, seed):
        dice = random.Random(seed)
        owned = {name for _, name in channels if dice.random() < 0.5}
        question = search(channels, order=order, seq=seq, flags=flags & ~2, protocols=protocols)
        got = ask(responder(claims=lambda names: [name in owned for name in names]), question)
        valid = [
            cid for cid, name in channels if name in owned and name.isprintable() and 0 < len(name.encode()) <= 500
        ]
        if (protocols and "tcp" not in protocols) or not (valid or flags & 1):
            assert got == []
        else:
            assert [out.data for out in got] == [response(valid, order=order, seq=seq)]


class TestForwarding:
    def test_unicast_goes_to_the_neighbours_only(self):
        question = search(flags=0x80, order=LITTLE)
        expected = tag(HERE) + search(order=LITTLE, address=CLIENT[0])
        assert ask(responder(), question, to=HERE) == [Outgoing(expected, (FORWARD_GROUP, 5076), interface="127.0.0.1")]

    def test_as_pvxs_forwards(self):
        # stream_timing: a little-endian search of pvAccessCPP, and what pvxs made of it
        asked = bytes.fromhex(
            "ca0200032f000000010000008000000000000000000000000000ffff00000000"
            "7fe1010374637001004130201009433a6d697373696e67"
        )
        passed = bytes.fromhex(
            "ca0280160000001000000000000000000000ffff7f000001"
            "ca0200032f000000010000000000000000000000000000000000ffff7f000001"
            "7fe1010374637001004130201009433a6d697373696e67"
        )
        (out,) = ask(responder(), asked, source=("127.0.0.1", 57727), to="127.0.0.1")
        assert out.data == passed

    def test_flag_does_not_matter_where_the_destination_is_known(self):
        assert ask(responder(), search(flags=0), to=HERE)[0].to == (FORWARD_GROUP, 5076)
        assert ask(responder(), search(flags=0x80), to=BROADCAST) == reply(response())

    def test_source_port_flag_is_resolved(self):
        (out,) = ask(responder(), search(flags=0x82, port=1), to=HERE)
        assert out.data == tag(HERE) + search(address=CLIENT[0], port=CLIENT[1])

    def test_forwarded_search_is_answered(self):
        copy = tag("127.0.0.1") + search(address="127.0.0.1", order=LITTLE)
        got = ask(responder(), copy, source=("127.0.0.1", 5076), to=FORWARD_GROUP)
        assert got == [Outgoing(response(order=LITTLE), ("127.0.0.1", 41000), source="127.0.0.1")]

    def test_forwarded_for_a_client_elsewhere(self):
        copy = tag(HERE) + search(address=CLIENT[0])
        assert ask(responder(), copy, source=("127.0.0.1", 5076), to=FORWARD_GROUP) == reply(response())

    def test_forwarded_without_tag_and_with_an_empty_one(self):
        for prefix in (b"", tag(""), tag("0.0.0.0")):
            copy = prefix + search(address=CLIENT[0])
            got = ask(responder(), copy, source=("127.0.0.1", 5076), to=FORWARD_GROUP)
            assert got == reply(response(), source=None)

    def test_forwarded_again_never(self):
        copy = tag(HERE) + search(address=CLIENT[0], flags=0x80)
        (out,) = ask(responder(), copy, source=("127.0.0.1", 5076), to=FORWARD_GROUP)
        assert out.to == (CLIENT[0], 41000)

    def test_reply_to_sender_cannot_be_forwarded(self):
        assert ask(responder(), tag(HERE) + search(), source=("127.0.0.1", 5076), to=FORWARD_GROUP) == []

    def test_tag_of_a_stranger(self):
        copy = tag("9.9.9.9") + search(address=CLIENT[0])
        assert ask(responder(), copy, source=("127.0.0.1", 5076), to=FORWARD_GROUP) == []

    def test_only_loopback_has_neighbours(self):
        copy = tag(HERE) + search(address=CLIENT[0])
        assert ask(responder(), copy, source=CLIENT, to=FORWARD_GROUP) == []
        assert ask(responder(), copy, source=CLIENT, to=BROADCAST) == []

    def test_short_tag(self):
        short = b"\xca\x02\x80\x16\x00\x00\x00\x04\x0a\x00\x00\x01"
        assert ask(responder(), short + search(), source=("127.0.0.1", 1), to=FORWARD_GROUP) == []

    def test_without_the_group_unicasts_are_answered(self):
        assert ask(responder(forwarding=False), search(flags=0x80), to=HERE) == reply(response())

    @pytest.mark.parametrize(("there", "here"), [("fd00::9", "fd00::1"), ("::1", "::1")])
    def test_ipv6_unicasts_are_answered(self, there, here):
        who = responder()
        who.learn(["::1", "fd00::1"], {})
        got = ask(who, search(), source=(there, 5), to=here)
        assert got == [Outgoing(response(), (there, 41000), source=here)]

    def test_ipv6_scope_of_the_sender_is_kept(self):
        got = ask(responder(), search(address="fe80::9"), source=("fe80::9%2", 5), to="ff02::42:1")
        assert got[0].to == ("fe80::9%2", 41000)

    def test_unknown_destination_goes_by_the_flag(self):
        for to in (None, "10.9.9.9"):
            (copy,) = ask(responder(), search(flags=0x80), to=to)
            assert copy.data == tag("") + search(address=CLIENT[0])
            assert ask(responder(), search(), to=to) == reply(response(), source=None)

    def test_forwarded_copy_where_the_destination_is_not_told(self):
        copy = tag(HERE) + search(address=CLIENT[0])
        assert ask(responder(), copy, source=("127.0.0.1", 5076), to=None) == reply(response())
        assert ask(responder(), copy, source=CLIENT, to=None) == []


class TestServedInterfaces:
    def test_only_those(self):
        who = responder(served=[HERE], forwarding=False)
        assert ask(who, search(), to=BROADCAST) == reply(response())
        assert ask(who, search(), to=HERE) == reply(response())
        assert ask(who, search(), to="10.1.255.255") == []
        assert ask(who, search(), to="10.1.0.1") == []
        assert ask(who, search(), to="10.9.9.9") == []

    def test_what_is_not_for_us_is_for_a_neighbour(self):
        assert ask(responder(served=[HERE]), search(), to="10.1.0.1")[0].to == (FORWARD_GROUP, 5076)
        copy = tag("10.1.0.1") + search(address=CLIENT[0])
        assert ask(responder(served=[HERE]), copy, source=("127.0.0.1", 5076), to=FORWARD_GROUP) == []

    def test_where_nobody_knows_the_reply_names_an_address(self):
        who = responder(served=["127.0.0.1", HERE])
        copy = tag("") + search(address=CLIENT[0])
        got = ask(who, copy, source=("127.0.0.1", 5076), to=FORWARD_GROUP)
        assert got == reply(response(address=HERE), source=None)


class TestGuards:
    @pytest.mark.parametrize(
        "host", ["224.0.0.5", "0.0.0.0", "255.255.255.255", BROADCAST, "240.0.0.1", "0.1.2.3", "?"]
    )
    def test_impossible_sources(self, host):
        assert ask(responder(), search(), source=(host, 5)) == []

    @pytest.mark.parametrize(
        "address", ["10.0.0.8", "224.0.0.5", BROADCAST, "255.255.255.255", "127.0.0.1", "127.255.255.255"]
    )
    @pytest.mark.parametrize("to", [BROADCAST, HERE])
    def test_reply_address_is_not_the_senders(self, address, to):
        who = responder()
        assert ask(who, search(address=address), to=to) == []
        assert who.refused == 1

    def test_relaxed(self):
        who = responder(relaxed=True)
        assert ask(who, search(address="10.0.0.8"))[0].to == ("10.0.0.8", 41000)
        for address in ("224.0.0.5", BROADCAST, "127.255.255.255"):
            assert ask(who, search(address=address)) == []

    @pytest.mark.parametrize("address", ["224.0.0.5", BROADCAST, "127.255.255.255"])
    def test_forwarded_with_a_group_as_reply_address(self, address):
        copy = tag(HERE) + search(address=address)
        assert ask(responder(), copy, source=("127.0.0.1", 5076), to=FORWARD_GROUP) == []

    def test_another_address_of_this_host_is_fine(self):
        got = ask(responder(), search(address="127.0.0.1"), source=(HERE, 5))
        assert got[0].to == ("127.0.0.1", 41000)

    def test_port_zero(self):
        assert ask(responder(), search(port=0)) == []
        assert ask(responder(), search(flags=2), source=(CLIENT[0], 0)) == []

    def test_our_own_port(self):
        assert ask(responder(), search(port=5076), source=(HERE, 5076)) == []
        assert ask(responder(), search(port=5076))[0].to == (CLIENT[0], 5076)

    def test_ignored(self):
        who = responder(ignore=[(CLIENT[0], None)])
        assert ask(who, search()) == []
        assert ask(who, tag(HERE) + search(address=CLIENT[0]), source=("127.0.0.1", 1), to=FORWARD_GROUP) == []
        assert ask(who, search(), to=HERE)[0].to[0] == FORWARD_GROUP  # a neighbour may want to answer
        assert ask(who, search(), source=("10.0.0.8", 1)) != []
        who = responder(ignore=[(CLIENT[0], 5), ("10.0.0.8", 0)])
        assert ask(who, search()) != []
        assert ask(who, search(), source=(CLIENT[0], 5)) == []
        assert ask(who, search(), source=("10.0.0.8", 77)) == []

    def test_reply_rate(self):
        who = responder(reply_rate=3)
        assert [len(ask(who, search(), now=now)) for now in (0, 0.1, 0.2, 0.9, 0.99, 1.0)] == [1, 1, 1, 0, 0, 1]
        assert who.refused == 2
        assert who.answered == 4
        assert len(ask(who, search(), source=("10.0.0.8", 1), now=1.0)) == 1
        assert all(ask(who, search(), source=(HERE, 1), now=1.0) for _ in range(10))
        assert all(ask(responder(reply_rate=None), search()) for _ in range(10))

    def test_answers_are_hardly_longer_than_questions(self):
        for question in (search([], flags=1, protocols=()), search(), search([(1, "x")] * 50, flags=1)):
            for out in ask(responder(claims=lambda names: [True] * len(names)), question):
                assert len(out.data) <= 1.4 * len(question)

    def test_nothing_of_strangers_is_kept_for_ever(self):
        who = responder(served=None)
        for number in range(10_000):
            host = f"11.{number >> 8}.{number & 255}.1"
            ask(who, search(address=host), source=(host, 5), to=host)
            ask(who, search(address=host), source=(host, 5))
        assert max(len(kept) for kept in (who._facts, who._ways, who._texts, who._counts)) <= 4096


class TestBrokenInput:
    @pytest.mark.parametrize("cut", range(47))
    def test_cut_anywhere(self, cut):
        assert ask(responder(), search()[:cut]) == []

    @pytest.mark.parametrize("cut", range(8, 47))
    def test_cut_anywhere_with_an_honest_length(self, cut):
        question = bytearray(search()[:cut])
        question[4:8] = (cut - 8).to_bytes(4, "big")
        who = responder()
        assert ask(who, bytes(question)) == []
        assert ask(who, bytes(question) + search()) in ([], reply(response()))

    @pytest.mark.parametrize(("at", "byte"), [(0, 0xCB), (1, 0)])
    def test_magic_and_version(self, at, byte):
        question = bytearray(search())
        question[at] = byte
        assert ask(responder(), bytes(question)) == []

    def test_channel_reaching_into_the_next_message(self):
        question = bytearray(search([(1, "A"), (7, "B")]))
        question[-6 + 4] = 9  # the size of the last name
        who = responder()
        assert ask(who, bytes(question) + search()) == []
        assert who.malformed == 1

    def test_sizes_that_reach_nowhere(self):
        """A name whose size, or long size, takes the position beyond the datagram before the last channel."""
        who = responder()
        short = bytearray(search([(1, "A"), (2, "B")]))
        short[-6 - 2] = 200  # the size of "A"
        long = bytearray(search([(1, "A"), (2, "BBBBBBB")]))
        long[-12 - 2] = 254  # "A" and what follows is now a length
        last = bytearray(search([(1, ""), (2, "")]))
        last[-1] = 254
        for question in (short, long, last):
            assert ask(who, bytes(question)) == []
        assert who.malformed == 3

    def test_too_many_protocols(self):
        assert ask(responder(), search(protocols=["tcp"] * 17)) == []

    def test_too_many_messages(self):
        control = b"\xca\x02\x01\x02\x00\x00\x00\x00"
        assert ask(responder(), control * 16 + search()) == []
        assert ask(responder(), control * 15 + search()) != []

    @settings(max_examples=300)
    @given(st.data())
    def test_mutations_never_raise(self, data):
        question = bytearray(tag(HERE) + search([(1, "A"), (2, "B" * 300)], order=LITTLE) + search())
        for _ in range(data.draw(st.integers(1, 4))):
            question[data.draw(st.integers(0, len(question) - 1))] = data.draw(st.integers(0, 255))
        to = data.draw(st.sampled_from([HERE, BROADCAST, FORWARD_GROUP, None, "224.0.1.1", "10.9.9.9"]))
        source = data.draw(st.sampled_from([CLIENT, ("127.0.0.1", 5076)]))
        assert len(ask(responder(), bytes(question), source=source, to=to)) <= 1

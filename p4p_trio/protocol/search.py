"""A server's side of the search: whom to answer, whom not, and what to pass on to the neighbours.

Sans-I/O: a datagram goes in with what is known about its way, datagrams come out. Several servers of one host share
the UDP port, and the system gives a *unicast* datagram to only one of them. So the one that gets a unicast search does
not answer it. It writes the reply address into it, puts an ORIGIN_TAG in front, and sends it to a multicast group on
loopback, where all servers of the host, itself included, hear and answer it. Source: pvxs, `udp_collector.cpp`.

Searches are cheap to forge, so an answer never goes where the question may not have come from, to a group, to a
broadcast address or to a server; it is never much longer than the question; and to one address only so many per second.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from ipaddress import ip_address
from typing import Final, NamedTuple, TypeAlias

from p4p_trio.errors import ProtocolError
from p4p_trio.wire.commands import CONTROL, SEARCH_MUST_REPLY, SEARCH_SOURCE_PORT, SEARCH_UNICAST, SEGMENT, Command
from p4p_trio.wire.messages.udp import ANY, address16, address_text
from p4p_trio.wire.order import BIG, LITTLE, MAGIC, VERSION, Order

from .search_message import ADDRESS, FLAGS, HEADER, PORT, PROTOCOLS, channels, origin_tag, protocols, redirected

__all__ = ["FORWARD_GROUP", "PING_SPREAD", "Outgoing", "SearchResponder"]

Address: TypeAlias = tuple[str, int]
Claims: TypeAlias = Callable[[list[str]], Sequence[bool]]

FORWARD_GROUP: Final = "224.0.0.128"
_LOOPBACK: Final = "127.0.0.1"
PING_SPREAD: Final = 0.1
"""Seconds over which the servers of a network spread their answers to "who is there?"; pvAccessCPP: 50 to 150 ms."""

_REMEMBERED = 4096  # facts about addresses; more are forgotten together
_SHORTEST = PROTOCOLS + 1 + 2
_MAX_MESSAGES = 16  # of one datagram
_TCP = b"\x03tcp"
_ONLY_TCP = b"\x01" + _TCP
_ANYS = (ANY, address16("0.0.0.0"))

_EMPTY_REPLY = HEADER + 12 + 4 + 16 + 2 + len(_TCP) + 1 + 2
# Plain ints are faster than members of the enum.
_SEARCH, _SEARCH_RESPONSE = int(Command.SEARCH), int(Command.SEARCH_RESPONSE)
_ORIGIN_TAG = int(Command.ORIGIN_TAG)

# What is known about a host: whether it is this one, and whether nothing may be sent there.
_LOCAL, _BAD = 1, 2


class Outgoing(NamedTuple):
    """A datagram to send, from the socket that received what it answers.

    Attributes:
        data: the payload.
        to: where to.
        source: the local address it should come from; None: the system's choice.
        interface: address of the interface for a multicast (with TTL 1); None for unicasts.
        spread: wait a random time of up to so many seconds first.
    """

    data: bytes
    to: Address
    source: str | None = None
    interface: str | None = None
    spread: float = 0.0


class _Way(NamedTuple):
    """What a datagram's destination says about the searches in it.

    Attributes:
        forwarded: a neighbour (or we) passed it on over loopback.
        unicast: whether it was sent to one address of this host; None: nobody knows, so the search's flag decides.
        served: whether it is meant for an interface that we serve.
        source: where the answer should come from.
    """

    forwarded: bool
    unicast: bool | None
    served: bool
    source: str | None


class SearchResponder:
    """Answers searches, by UDP and TCP.

    Args:
        guid: the 12 bytes that tell this run of the server from its others.
        port: the TCP port that clients should connect to.
        claims: says for each name whether this server has it; synchronous, and must not raise.
        udp_port: the port of the searches, where no reply ever goes to on this host.
        served: addresses of the interfaces that we serve; None: all.
        ignore: (host, port) whose searches are not answered; port None: whatever the port.
        reply_rate: replies per second to one address of another host; None: any number.
        forwarding: whether `FORWARD_GROUP` could be joined. If not, unicasts are answered directly.
        relaxed: also reply to an address that is not the sender's, which some relays need. A forged search can then
            direct our answers at anybody.

    Attributes:
        answered: replies that were sent.
        forwarded: datagrams that were passed on.
        refused: searches that were not answered though they decode, because of their reply address or the rate.
        malformed: datagrams that contained something that does not decode.
    """

    def __init__(
        self,
        guid: bytes,
        port: int,
        claims: Claims,
        *,
        udp_port: int = 5076,
        served: Collection[str] | None = None,
        ignore: Iterable[tuple[str, int | None]] = (),
        reply_rate: int | None = 1000,
        forwarding: bool = True,
        relaxed: bool = False,
    ) -> None:
        self.answered = self.forwarded = self.refused = self.malformed = 0
        self._guid = guid
        self._claims = claims
        self._udp_port = udp_port
        self._served = None if served is None else frozenset(served)
        self._ignore: dict[str, set[int | None]] = {}
        for host, source_port in ignore:
            self._ignore.setdefault(host, set()).add(source_port or None)
        self._rate = reply_rate
        self._forwarding = forwarding
        self._relaxed = relaxed
        self._window, self._counts = float("-inf"), dict[str, int]()
        self._by_any = self._tails("", port)
        # Where nobody knows by which of our addresses we were asked, the reply has to name one.
        addresses = sorted(served or ("",), key=lambda host: (host.startswith("127."), host))
        self._by_address = self._tails(addresses[0], port)
        self._local: frozenset[str] = frozenset()
        self._broadcasts: Mapping[str, str] = {}
        self._facts: dict[str, int] = {}
        self._ways: dict[str | None, _Way] = {}
        self._texts: dict[bytes, str] = {}

    @staticmethod
    def _tails(address: str, port: int) -> dict[Order, bytes]:
        return {order: address16(address) + order.u16.pack(port) + _TCP for order in (LITTLE, BIG)}

    def learn(self, local: Collection[str], broadcasts: Mapping[str, str]) -> None:
        """What addresses this host has; to be told at first, and again when they changed.

        Args:
            local: the addresses of all its interfaces, served or not.
            broadcasts: IPv4 broadcast address -> the address of its interface.
        """
        self._local = frozenset(local)
        self._broadcasts = dict(broadcasts)
        self._facts.clear()
        self._ways.clear()

    def datagram(self, data: bytes, source: Address, destination: str | None, now: float) -> Sequence[Outgoing]:
        """What a received datagram calls for: nothing, one reply, or one copy for the neighbours.

        Args:
            data: the whole datagram.
            source: whom it came from.
            destination: the address it was sent to; None where the platform does not tell.
            now: seconds on any clock that does not go back.
        """
        if self._fact(source[0]) & _BAD:
            return ()
        way = self._ways.get(destination) or self._way(destination)
        if way.forwarded and not self._fact(source[0]) & _LOCAL:
            return ()  # only loopback has neighbours
        replies: list[bytes] = []
        forwards: list[bytes] = []
        to: Address | None = None
        spread = 0.0
        tails = self._by_any if way.source is not None else self._by_address
        pos, length = 0, len(data)
        try:
            for _ in range(_MAX_MESSAGES):
                if length - pos < HEADER:
                    break
                order = BIG if data[pos + 2] & 0x80 else LITTLE
                magic, version, flags, command, size = order.header.unpack_from(data, pos)
                if magic != MAGIC or not version:
                    break
                if flags & CONTROL:  # no payload: the last field is a value
                    pos += HEADER
                    continue
                start = pos + HEADER
                pos = start + size
                if pos > length:
                    break
                if flags & SEGMENT:
                    continue
                if command == _ORIGIN_TAG:
                    tagged = self._tagged(data[start : start + 16], way, source, destination)
                    if tagged is None:
                        return ()
                    way = tagged
                    tails = self._by_any if way.source is not None else self._by_address
                elif command == _SEARCH and size >= _SHORTEST:
                    where = self._reply_to(data, start, order, source, way)
                    if where is None:
                        continue
                    if self._to_forward(data[start + FLAGS], way, destination):
                        forwards.append(redirected(data, start, pos, order, where))
                    elif way.served and to in (None, where) and not self._ignores(where if way.forwarded else source):
                        reply = self._answer(data, start, pos, order, tails[order])
                        if reply is not None:
                            to = where
                            replies.append(reply)
                            if len(reply) == _EMPTY_REPLY:
                                spread = PING_SPREAD  # nobody hurries for it, and every server has one
        except ProtocolError:
            self.malformed += 1
        if to is not None and self._within_rate(to[0], now):
            self.answered += 1
            return (Outgoing(b"".join(replies), to, way.source, spread=spread),)
        if forwards:
            self.forwarded += 1
            # Neighbours believe a tag only if they know its address as one of this host's, or if it has none.
            tag = origin_tag(destination if destination is not None and destination in self._local else "")
            copy = b"".join((tag, *forwards))
            return (Outgoing(copy, (FORWARD_GROUP, self._udp_port), interface=_LOOPBACK),)
        return ()

    def message(self, buf: bytes | bytearray | memoryview, start: int, end: int, order: Order) -> bytes | None:
        """The reply to a SEARCH that came over TCP, to be sent on the same connection; None: no reply.

        Args:
            buf: holds the payload, from *start* to *end*.
            order: how it is written; the reply is written the same way.

        Raises:
            ProtocolError: it does not decode.
        """
        data = bytes(buf[start:end])
        if len(data) < _SHORTEST:
            raise ProtocolError("the search is too short", offset=len(data))
        return self._answer(data, 0, len(data), order, self._by_any[order])

    # What addresses mean

    def _fact(self, host: str) -> int:
        """Bits about *host*."""
        known = self._facts.get(host)
        if known is None:
            if len(self._facts) >= _REMEMBERED:
                self._facts.clear()
            known = self._facts[host] = self._judge(host)
        return known

    def _judge(self, host: str) -> int:
        try:
            address = ip_address(host)
        except ValueError:
            return _BAD
        reserved = address.version == 4 and address.is_reserved  # in IPv6 that would be ::1, too
        special = address.is_multicast or address.is_unspecified or reserved
        if special or host in self._broadcasts or host.startswith("0.") or host == "127.255.255.255":
            return _BAD
        return _LOCAL if address.is_loopback or host in self._local else 0

    def _way(self, destination: str | None) -> _Way:
        """What *destination* says, remembered."""
        if len(self._ways) >= _REMEMBERED:
            self._ways.clear()
        way = self._ways[destination] = self._find_way(destination)
        return way

    def _find_way(self, destination: str | None) -> _Way:
        if destination is None:
            return _Way(forwarded=False, unicast=None, served=True, source=None)
        if destination == FORWARD_GROUP:
            return _Way(forwarded=True, unicast=False, served=True, source=None)
        interface = self._broadcasts.get(destination)
        if interface is not None:
            return _Way(forwarded=False, unicast=False, served=self._serves(interface), source=interface)
        fact = self._fact(destination)
        if fact & _BAD:  # a group that one of our sockets joined, or 255.255.255.255
            return _Way(forwarded=False, unicast=False, served=True, source=None)
        if fact & _LOCAL:
            return _Way(forwarded=False, unicast=True, served=self._serves(destination), source=destination)
        # An address or broadcast address that we do not know of (yet).
        return _Way(forwarded=False, unicast=None, served=self._served is None, source=None)

    def _serves(self, address: str) -> bool:
        return self._served is None or address in self._served

    def _tagged(self, raw: bytes, way: _Way, source: Address, destination: str | None) -> _Way | None:
        """What an ORIGIN_TAG says about the searches behind it; None: believe nothing of this datagram.

        Only what came over loopback is believed, so no stranger can make us answer to an address of its choice.
        """
        here = way.forwarded or (destination is None and self._fact(source[0]) & _LOCAL)
        if not here or len(raw) != 16:
            return None
        address = self._text(raw)
        if not address:  # the neighbour did not know
            return _Way(forwarded=True, unicast=False, served=True, source=None)
        if not self._fact(address) & _LOCAL:
            return None
        return _Way(forwarded=True, unicast=False, served=self._serves(address), source=address)

    def _text(self, raw: bytes) -> str:
        known = self._texts.get(raw)
        if known is None:
            if len(self._texts) >= _REMEMBERED:
                self._texts.clear()
            known = self._texts[raw] = address_text(raw)
        return known

    # Whom to answer

    def _reply_to(self, data: bytes, start: int, order: Order, source: Address, way: _Way) -> Address | None:
        """Where the answer to the search at *start* has to go; None: nowhere."""
        raw = data[start + ADDRESS : start + PORT]
        if raw in _ANYS:
            # "Reply to sender" cannot be meant for whoever passed it on.
            host = "" if way.forwarded else source[0]
        else:
            host = self._text(raw)
            if host != source[0] and not way.forwarded and not self._relaxed:
                host = self._same(host, source[0])
        if data[start + FLAGS] & SEARCH_SOURCE_PORT and not way.forwarded:
            port = source[1]
        else:
            (port,) = order.u16.unpack_from(data, start + PORT)
        if not host or not port:
            self.refused += 1
            return None
        fact = self._fact(host)
        if fact & _BAD or (fact & _LOCAL and port == self._udp_port):
            self.refused += 1
            return None
        return (host, port)

    def _same(self, host: str, sender: str) -> str:
        """The reply address if it belongs to the sender's host, else "": a forged one would make us shoot at others."""
        if host == sender.partition("%")[0]:
            return sender  # with its scope
        return host if self._fact(host) & self._fact(sender) & _LOCAL else ""

    def _to_forward(self, flags: int, way: _Way, destination: str | None) -> bool:
        if way.forwarded or not self._forwarding or ":" in (destination or ""):
            return False  # the group is an IPv4 one
        return bool(flags & SEARCH_UNICAST) if way.unicast is None else way.unicast

    def _ignores(self, asking: Address) -> bool:
        ports = self._ignore.get(asking[0])
        return ports is not None and (None in ports or asking[1] in ports)

    def _within_rate(self, host: str, now: float) -> bool:
        """Count one reply to *host*. Counts last one second, and at most `_REMEMBERED` hosts are counted at a time."""
        if self._rate is None or self._fact(host) & _LOCAL:
            return True
        if now >= self._window + 1.0 or len(self._counts) >= _REMEMBERED:
            self._window = now
            self._counts.clear()
        count = self._counts[host] = self._counts.get(host, 0) + 1
        if count > self._rate:
            self.refused += 1
            return False
        return True

    # What to answer

    def _answer(self, data: bytes, start: int, end: int, order: Order, tail: bytes) -> bytes | None:
        """The SEARCH_RESPONSE to the search whose payload is `data[start:end]`, or None."""
        at = start + PROTOCOLS
        if data[at : at + 5] == _ONLY_TCP:
            at += 5
        else:
            at, spoken = protocols(data, at, end, order)
            if not spoken:
                return None
        if at + 2 > end:
            raise ProtocolError("the search ends before its channels", offset=end - start)
        (count,) = order.u16.unpack_from(data, at)
        at += 2
        must_reply = data[start + FLAGS] & SEARCH_MUST_REPLY
        if count:
            names, places = channels(data, at, end, count, start, order)
            found = self._claims(names)
            cids = [data[place : place + 4] for place, has in zip(places, found, strict=True) if has]
        else:
            cids = []
        if not cids and not must_reply:
            return None
        body = b"".join(
            (
                self._guid,
                data[start : start + 4],  # seq and cids are in our order already
                tail,
                b"\x01" if cids else b"\x00",
                order.u16.pack(len(cids)),
                *cids,
            )
        )
        return order.header.pack(MAGIC, VERSION, order.server, _SEARCH_RESPONSE, len(body)) + body

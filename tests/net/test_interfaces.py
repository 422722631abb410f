"""What this host's addresses are, and what interface lists mean on them."""

from p4p_trio.config import Endpoint
from p4p_trio.net.interfaces import (
    Interface,
    beacon_destinations,
    broadcast_addresses,
    expand_interfaces,
    local_addresses,
    served_addresses,
    stream_addresses,
    system_interfaces,
)

HOST = (
    Interface("lo", 1, "127.0.0.1", None, loopback=True),
    Interface("eth0", 2, "10.0.0.1", "10.0.0.255", loopback=False),
    Interface("eth0", 2, "fe80::1", None, loopback=False),
    Interface("eth1", 3, "10.1.0.1", "10.1.255.255", loopback=False),
)


def endpoints(text):
    return tuple(Endpoint.parse(word) for word in text.split())


def test_this_host():
    found = system_interfaces()
    (loopback,) = [interface for interface in found if interface.address == "127.0.0.1"]
    assert loopback.loopback
    assert loopback.broadcast is None
    assert loopback.index > 0
    assert "127.0.0.1" in local_addresses(found)
    assert all(address in local_addresses(found) for address in broadcast_addresses(found).values())


def test_tables():
    assert local_addresses(HOST) == {"127.0.0.1", "10.0.0.1", "fe80::1", "10.1.0.1"}
    assert broadcast_addresses(HOST) == {"10.0.0.255": "10.0.0.1", "10.1.255.255": "10.1.0.1"}


def test_beacon_destinations():
    listed = endpoints("10.0.0.9:7000 10.0.0.255")
    assert beacon_destinations(listed, endpoints("0.0.0.0"), HOST, auto=False) == listed
    everywhere = (*listed, Endpoint("10.1.255.255"))
    assert beacon_destinations(listed, endpoints("0.0.0.0"), HOST, auto=True) == everywhere
    assert beacon_destinations(listed, (), HOST, auto=True) == everywhere
    assert beacon_destinations((), endpoints("10.1.0.1"), HOST, auto=True) == endpoints("10.1.255.255")
    assert beacon_destinations((), endpoints("127.0.0.1"), HOST, auto=True) == ()


def test_a_group_brings_its_interface():
    assert expand_interfaces((), HOST) == endpoints("0.0.0.0")
    assert expand_interfaces(endpoints("10.0.0.1"), HOST) == endpoints("10.0.0.1")
    assert expand_interfaces(endpoints("224.0.1.1"), HOST) == endpoints("224.0.1.1 0.0.0.0")
    assert expand_interfaces(endpoints("224.0.1.1@eth1"), HOST) == endpoints("224.0.1.1@eth1 10.1.0.1")
    assert expand_interfaces(endpoints("224.0.1.1@10.0.0.1 10.0.0.1"), HOST) == endpoints("224.0.1.1@10.0.0.1 10.0.0.1")
    assert expand_interfaces(endpoints("ff02::9@eth0"), HOST) == endpoints("ff02::9@eth0 fe80::1")
    assert expand_interfaces(endpoints("ff02::9"), HOST) == endpoints("ff02::9 ::")


def test_stream_addresses():
    assert stream_addresses(endpoints("10.0.0.1 10.1.0.1:7 224.0.1.1"), 5075) == [("10.0.0.1", 5075), ("10.1.0.1", 7)]
    assert stream_addresses(endpoints("0.0.0.0:9 :: 10.0.0.1"), 5075) == [("0.0.0.0", 9)]


def test_served_addresses():
    assert served_addresses(endpoints("10.0.0.1 224.0.1.1 127.0.0.1:5")) == ["10.0.0.1", "127.0.0.1"]
    assert served_addresses(endpoints("10.0.0.1 0.0.0.0")) is None
    assert served_addresses(endpoints("::")) is None

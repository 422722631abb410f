"""Addresses as EPICS writes them."""

import pytest

from p4p_trio.config import Endpoint
from p4p_trio.config.address import format_endpoints, unique_endpoints
from p4p_trio.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("10.0.0.1", Endpoint("10.0.0.1")),
        ("10.0.0.1:5076", Endpoint("10.0.0.1", 5076)),
        ("gateway.example.org:7000", Endpoint("gateway.example.org", 7000)),
        ("host_1", Endpoint("host_1")),
        ("224.0.2.3,4@eth1", Endpoint("224.0.2.3", None, 4, "eth1")),
        ("224.0.2.3:5000,4@10.1.2.3", Endpoint("224.0.2.3", 5000, 4, "10.1.2.3")),
        ("224.0.2.3@eth1", Endpoint("224.0.2.3", None, None, "eth1")),
        ("224.0.2.3,1", Endpoint("224.0.2.3", None, 1)),
        ("::1", Endpoint("::1")),
        ("[::1]", Endpoint("::1")),
        ("[::1]:5076", Endpoint("::1", 5076)),
        ("fe80::1%eth0", Endpoint("fe80::1", None, None, "eth0")),
        ("[ff02::42:1]:5076,2@eth0", Endpoint("ff02::42:1", 5076, 2, "eth0")),
    ],
)
def test_parse_and_print(text, endpoint):
    assert Endpoint.parse(text) == endpoint
    assert Endpoint.parse(str(endpoint)) == endpoint


@pytest.mark.parametrize(
    ("text", "plain"), [("FE80:0:0::1", "fe80::1"), ("10.0.0.1:0", "10.0.0.1"), ("[::1]:7", "[::1]:7")]
)
def test_canonical_spelling(text, plain):
    assert str(Endpoint.parse(text)) == plain


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "host is missing"),
        (":5076", "host is missing"),
        ("300.1.1.1", "no IPv4 address"),
        ("10.0.0", "no IPv4 address"),
        ("10.0.0.1:", "port must be"),
        ("10.0.0.1:x", "port must be"),
        ("10.0.0.1:65536", "port must be"),
        ("10.0.0.1:-1", "port must be"),
        ("10.0.0.1:99999999999999999999", "port must be"),
        ("10.0.0.1:٣", "port must be"),
        ("224.0.2.3,", "TTL must be"),
        ("224.0.2.3,256", "TTL must be"),
        ("224.0.2.3@eth0,1", "before the @"),
        ("224.0.2.3@", "nothing follows"),
        ("1::2::3", "no IPv6 address"),
        ("[::1", "not closed"),
        ("[::1]x", "follows the bracket"),
        ("[10.0.0.1]:5", "brackets are for IPv6"),
        ("a b", "no host name"),
        ("a..b", "no host name"),
        ("-a", "no host name"),
        ("h$x", "no host name"),
    ],
)
def test_bad_text_is_explained(text, why):
    with pytest.raises(ConfigError, match=why) as caught:
        Endpoint.parse(text)
    assert "invalid endpoint" in str(caught.value)
    assert "write host" in str(caught.value)


def test_what_an_endpoint_says_about_itself():
    assert Endpoint("0.0.0.0").is_any
    assert Endpoint("::").is_any
    assert not Endpoint("somewhere").is_any
    assert Endpoint("224.0.0.1").is_multicast
    assert Endpoint("ff02::1").is_multicast
    assert not Endpoint("10.0.0.1").is_multicast
    assert Endpoint("::1").is_ipv6
    assert Endpoint("10.0.0.1").numeric
    assert not Endpoint("somewhere").numeric
    assert Endpoint("h", 5).address(7) == ("h", 5)
    assert Endpoint("h").address(7) == ("h", 7)


def test_duplicates_keep_the_larger_ttl():
    endpoints = [
        Endpoint.parse(text) for text in ("224.0.2.3,1@a", "10.0.0.1", "224.0.2.3,9@a", "224.0.2.3,5@a", "10.0.0.1")
    ]
    assert format_endpoints(unique_endpoints(endpoints)) == "224.0.2.3,9@a 10.0.0.1"

"""ServerConfig and ClientConfig: from the environment, from conf=, and back."""

import logging

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p4p_trio.config import ClientConfig, Endpoint, ServerConfig
from p4p_trio.errors import ConfigError

# Server(isolate=True).conf() and Context.conf() of p4p 4.3.0
P4P_SERVER = {
    "EPICS_PVAS_AUTO_BEACON_ADDR_LIST": "NO",
    "EPICS_PVAS_BEACON_ADDR_LIST": "127.0.0.1",
    "EPICS_PVAS_BROADCAST_PORT": "42302",
    "EPICS_PVAS_IGNORE_ADDR_LIST": "",
    "EPICS_PVAS_INTF_ADDR_LIST": "127.0.0.1",
    "EPICS_PVAS_SERVER_PORT": "44415",
    "EPICS_PVA_ADDR_LIST": "127.0.0.1",
    "EPICS_PVA_AUTO_ADDR_LIST": "NO",
    "EPICS_PVA_BROADCAST_PORT": "42302",
    "EPICS_PVA_CONN_TMO": "30",
    "EPICS_PVA_INTF_ADDR_LIST": "127.0.0.1",
    "EPICS_PVA_NAME_SERVERS": "",
    "EPICS_PVA_SERVER_PORT": "44415",
}
P4P_CLIENT = {
    "EPICS_PVA_ADDR_LIST": "127.0.0.1:5076 192.0.2.255",
    "EPICS_PVA_AUTO_ADDR_LIST": "NO",
    "EPICS_PVA_BROADCAST_PORT": "5076",
    "EPICS_PVA_CONN_TMO": "30",
    "EPICS_PVA_INTF_ADDR_LIST": "0.0.0.0",
    "EPICS_PVA_NAME_SERVERS": "",
    "EPICS_PVA_SERVER_PORT": "5075",
}


class TestServer:
    def test_conf_of_a_p4p_server(self):
        config = ServerConfig.from_dict(P4P_SERVER)
        assert config == attrs.evolve(ServerConfig.isolated(), server_port=44415, broadcast_port=42302)
        assert config.as_dict() == P4P_SERVER
        assert list(config.as_dict()) == sorted(P4P_SERVER)

    def test_another_conf_of_a_p4p_server(self):
        lists = {
            "EPICS_PVAS_BEACON_ADDR_LIST": "10.0.0.1:7000 127.0.0.1 224.0.1.1,3@lo",
            "EPICS_PVAS_IGNORE_ADDR_LIST": "1.2.3.4 1.2.3.5:99",
            "EPICS_PVAS_INTF_ADDR_LIST": "127.0.0.1 224.0.1.1,3@lo",
        }
        config = ServerConfig.from_dict({**P4P_SERVER, **lists})
        assert {key: config.as_dict()[key] for key in lists} == lists

    def test_defaults(self):
        config = ServerConfig.from_env({})
        assert config == ServerConfig() == ServerConfig.from_dict({})
        assert (config.server_port, config.broadcast_port, config.auto_beacon) == (5075, 5076, True)
        assert config.interfaces == (Endpoint("0.0.0.0"),)

    def test_isolated(self):
        config = ServerConfig.isolated()
        assert (config.server_port, config.broadcast_port, config.auto_beacon) == (0, 0, False)
        assert config.interfaces == (Endpoint("127.0.0.1"),)

    def test_server_variables_come_before_the_general_ones(self):
        both = {"EPICS_PVA_SERVER_PORT": "1", "EPICS_PVA_AUTO_ADDR_LIST": "YES", "EPICS_PVA_ADDR_LIST": "10.0.0.1"}
        assert ServerConfig.from_env(both).server_port == 1
        assert ServerConfig.from_env(both).beacon_addresses == (Endpoint("10.0.0.1"),)
        both |= {
            "EPICS_PVAS_SERVER_PORT": "2",
            "EPICS_PVAS_AUTO_BEACON_ADDR_LIST": "no",
            "EPICS_PVAS_BEACON_ADDR_LIST": "",
        }
        config = ServerConfig.from_env(both)
        assert (config.server_port, config.auto_beacon, config.beacon_addresses) == (2, False, ())

    def test_conf_comes_before_the_environment(self):
        base = ServerConfig.from_env({"EPICS_PVAS_INTF_ADDR_LIST": "127.0.0.1", "EPICS_PVAS_SERVER_PORT": "7"})
        config = ServerConfig.from_dict({"EPICS_PVA_SERVER_PORT": "8"}, base)
        assert config.server_port == 8
        assert config.interfaces == (Endpoint("127.0.0.1"),)  # whose port is the default one, in p4p still 7

    @pytest.mark.parametrize(
        ("key", "text", "hint"),
        [
            ("EPICS_PVAS_SERVER_PORT", "abc", "number from 0 to 65535"),
            ("EPICS_PVAS_SERVER_PORT", "65536", "number from 0 to 65535"),
            ("EPICS_PVA_BROADCAST_PORT", "-1", "number from 0 to 65535"),
            ("EPICS_PVAS_INTF_ADDR_LIST", "10.0.0.1 300.0.0.1", "invalid endpoint '300.0.0.1'"),
            ("EPICS_PVAS_IGNORE_ADDR_LIST", "a:b:c", "no IPv6"),
            ("EPICS_PVAS_AUTO_BEACON_ADDR_LIST", "maybe", "write YES or NO"),
            ("EPICS_PVA_CONN_TMO", "soon", "write seconds"),
            ("EPICS_PVA_CONN_TMO", "-1", "write seconds"),
            ("EPICS_PVA_CONN_TMO", "nan", "write seconds"),
            ("EPICS_PVA_CONN_TMO", 30, "must be a str, e.g. '30', not int 30"),
        ],
    )
    def test_wrong_values(self, key, text, hint, caplog):
        with pytest.raises(ConfigError, match=hint) as caught:
            ServerConfig.from_dict({key: text})
        assert str(caught.value).startswith(f"{key}: ")
        if key in ("EPICS_PVAS_INTF_ADDR_LIST", "EPICS_PVAS_IGNORE_ADDR_LIST"):
            # Skipping one would serve those who should be kept out.
            with pytest.raises(ConfigError, match=hint):
                ServerConfig.from_env({key: text})
            return
        with caplog.at_level(logging.ERROR, logger="p4p_trio.config"):
            config = ServerConfig.from_env({key: text})
        assert key in caplog.text
        assert config == ServerConfig()

    def test_only_the_bad_entries_of_a_list_are_skipped(self, caplog):
        config = ServerConfig.from_env({"EPICS_PVAS_BEACON_ADDR_LIST": "10.0.0.1 300.0.0.1 10.0.0.2:5"})
        assert config.beacon_addresses == (Endpoint("10.0.0.1"), Endpoint("10.0.0.2", 5))
        assert "300.0.0.1" in caplog.text

    def test_switches(self):
        for text, meant in {"YES": True, " yes ": True, "1": True, "True": True, "NO": False, "0": False}.items():
            assert ServerConfig.from_dict({"EPICS_PVA_AUTO_ADDR_LIST": text}).auto_beacon is meant

    def test_unknown_keys_are_ignored(self):
        assert ServerConfig.from_dict({"EPICS_PVA_DEBUG": "3", "HOME": 5}) == ServerConfig()

    @pytest.mark.parametrize(
        ("text", "idle"), [("30", 40.0), ("0", 40.0), ("1", 2.0), ("3", 4.0), ("1e300", 1e300 * 4 / 3), ("0.1", 2.0)]
    )
    def test_idle_timeout(self, text, idle):
        assert ServerConfig.from_dict({"EPICS_PVA_CONN_TMO": text}).idle_timeout == pytest.approx(idle)
        assert ClientConfig.from_dict({"EPICS_PVA_CONN_TMO": text}).idle_timeout == pytest.approx(idle)

    def test_client_conf(self):
        config = attrs.evolve(ServerConfig.isolated(), server_port=1, broadcast_port=2)
        client = config.client_conf()
        assert (client.addresses, client.auto_addresses) == ((Endpoint("127.0.0.1"),), False)
        assert (client.server_port, client.broadcast_port) == (1, 2)
        assert ServerConfig().client_conf().addresses == (Endpoint("127.0.0.1"),)
        assert ClientConfig.from_dict(config.as_dict()) == client


class TestClient:
    def test_conf_of_a_p4p_client(self):
        config = ClientConfig.from_dict(P4P_CLIENT)
        assert config.as_dict() == P4P_CLIENT
        assert config.addresses == (Endpoint("127.0.0.1", 5076), Endpoint("192.0.2.255"))

    def test_conf_of_a_p4p_server(self):
        config = ClientConfig.from_dict(P4P_SERVER)
        assert (config.broadcast_port, config.server_port, config.auto_addresses) == (42302, 44415, False)

    def test_name_servers(self):
        config = ClientConfig.from_env({"EPICS_PVA_NAME_SERVERS": "gateway [fd00::1]:7000"})
        assert config.name_servers == (Endpoint("gateway"), Endpoint("fd00::1", 7000))

    def test_own_port_variable_first(self):
        assert ClientConfig.from_env({"EPICS_PVAS_SERVER_PORT": "6"}).server_port == 6
        assert ClientConfig.from_env({"EPICS_PVAS_SERVER_PORT": "6", "EPICS_PVA_SERVER_PORT": "7"}).server_port == 7

    def test_port_zero_is_ignored(self, caplog):
        zero = {"EPICS_PVA_BROADCAST_PORT": "0", "EPICS_PVA_SERVER_PORT": "0"}
        assert ClientConfig.from_env(zero) == ClientConfig()
        assert ClientConfig.from_dict(zero) == ClientConfig()
        assert caplog.text.count("port 0 is ignored") == 4


hosts = st.one_of(
    st.ip_addresses().map(lambda ip: str(ip).partition("%")[0]), st.from_regex(r"[a-z][a-z0-9]{0,8}", fullmatch=True)
)
endpoints = st.builds(
    Endpoint,
    hosts,
    st.none() | st.integers(1, 65535),
    st.none() | st.integers(0, 255),
    st.none() | st.from_regex(r"[a-z0-9]{1,5}", fullmatch=True),
)
lists = st.lists(endpoints, max_size=3, unique_by=lambda e: (e.host, e.port, e.interface)).map(tuple)
ports = st.integers(1, 65535)
times = st.floats(0, 1e9, allow_subnormal=False)


@given(
    st.builds(
        ServerConfig,
        interfaces=lists,
        server_port=ports,
        broadcast_port=ports,
        beacon_addresses=lists,
        auto_beacon=st.booleans(),
        ignore_addresses=lists,
        conn_timeout=times,
    )
)
def test_server_round_trip(config):
    assert ServerConfig.from_dict(config.as_dict()) == config
    assert ServerConfig.from_env(config.as_dict()) == config


@given(
    st.builds(
        ClientConfig,
        addresses=lists,
        auto_addresses=st.booleans(),
        name_servers=lists,
        broadcast_port=ports,
        server_port=ports,
        interfaces=lists,
        conn_timeout=times,
    )
)
def test_client_round_trip(config):
    assert ClientConfig.from_dict(config.as_dict()) == config

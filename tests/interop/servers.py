"""Servers for our client to talk to, on loopback: the peers' own, an IOC, and ours.

Each can be started again on the same ports after it was killed. Whatever a peer calls its PVs, `Served` says which
one is a double, a text and so on, so that one test can be asked of all of them.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import attrs

from tests.interop import environments
from tests.interop.peers import DRIVERS, peer
from tests.interop.processes import Child, client_environment, loopback_only, our_server

__all__ = ["NAMES", "SERVERS", "Conf", "Names", "Served", "Start", "name_server_conf"]

Conf = Mapping[str, str]
RECORDS: Final = Path(__file__).resolve().parent / "records.db"


@attrs.frozen(kw_only=True)
class Names:
    """PVs that a server has; "" for what it cannot have.

    Attributes:
        double, integer, text, array, enum: PVs that can be written.
        watched: one with a description or unit, told in its first update only, which a put of its value changes.
        unit: (path, content) of that part of `watched`.
        refusing: (name, value, the server's words) of a put that is refused.
        no_rpc: the server's words when a PV that cannot be called is called.
        no_field: the server's words to a get of a field that is not there; "" if it answers with nothing.
        no_field_to_monitor: the same for a monitor, if those are others.
        deltas: whether updates after the first have only what has changed.
        pipeline: whether a pipeline brings each update once, in order. pvapy's repeats old ones, to any client.
    """

    double: str = "double"
    integer: str = "int"
    text: str = "text"
    array: str = "array"
    enum: str = "enum"
    watched: str = "double"
    unit: tuple[str, str] | None = None
    refusing: tuple[str, float, str] | None = None
    no_rpc: str
    no_field: str
    no_field_to_monitor: str = ""
    deltas: bool = True
    pipeline: bool = True


@attrs.frozen
class Served:
    """A server that runs.

    Attributes:
        child: its process.
        conf: settings of a client that finds it, and it only.
        address: where it accepts connections.
        names: its PVs.
    """

    child: Child
    conf: Conf
    address: tuple[str, int]
    names: Names

    def post(self, name: str, *values: object) -> None:
        """Change a PV from the server's side. Not of an IOC."""
        self.child.send(do="post", name=name, values=list(values))


Start = Callable[[Served | None], Served]
"""Starts a server; given one that ended: on its ports, for its clients."""


def name_server_conf(served: Served) -> Conf:
    """Settings that find a server over TCP alone."""
    host, port = served.address
    return {
        "EPICS_PVA_NAME_SERVERS": f"{host}:{port}",
        "EPICS_PVA_ADDR_LIST": "",
        "EPICS_PVA_AUTO_ADDR_LIST": "NO",
        "EPICS_PVA_BROADCAST_PORT": str(_free_port(socket.SOCK_DGRAM)),
        "EPICS_PVA_INTF_ADDR_LIST": "127.0.0.1",
    }


def _free_port(kind: int = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _free_conf() -> dict[str, str]:
    return {
        "EPICS_PVA_ADDR_LIST": "127.0.0.1",
        "EPICS_PVA_AUTO_ADDR_LIST": "NO",
        "EPICS_PVA_BROADCAST_PORT": str(_free_port(socket.SOCK_DGRAM)),
        "EPICS_PVA_INTF_ADDR_LIST": "127.0.0.1",
        "EPICS_PVA_SERVER_PORT": str(_free_port()),
    }


def _server_environment(conf: Conf) -> dict[str, str]:
    """The process environment of a server by the conventions of EPICS: it serves, and searches, on loopback only."""
    return client_environment(conf) | {
        "EPICS_PVAS_INTF_ADDR_LIST": "127.0.0.1",
        "EPICS_PVAS_SERVER_PORT": conf["EPICS_PVA_SERVER_PORT"],
        "EPICS_PVAS_BROADCAST_PORT": conf["EPICS_PVA_BROADCAST_PORT"],
        "EPICS_PVAS_BEACON_ADDR_LIST": "127.0.0.1",
        "EPICS_PVAS_AUTO_BEACON_ADDR_LIST": "NO",
    }


def _until_ready(child: Child) -> Child:
    try:
        ready = child.event("ready", timeout=20)
        loopback_only(ready.get("conf", {}))
    except BaseException:
        child.close()
        raise
    return child


def _served(child: Child, conf: Conf, names: Names) -> Served:
    return Served(child, conf, ("127.0.0.1", int(conf["EPICS_PVA_SERVER_PORT"])), names)


# ---- p4p's, which is pvxs

P4P: Final = Names(
    unit=("display.description", "a double"),
    refusing=("refusing", 11.0, "must stay within 10 mm"),
    no_rpc="RPC not supported",
    no_field="pvRequest must select at least one field",
    no_field_to_monitor="Monitor Create implied error",
)


def start_p4p(before: Served | None = None) -> Served:
    """p4p's server, with the PVs of `drivers/p4p_server.py`."""
    peer("p4p")
    command = [environments.executable("p4p", "python"), DRIVERS / "p4p_server.py"]
    if before is not None:
        command.append(json.dumps(dict(before.conf)))
    child = _until_ready(Child(command, environ=client_environment({}), name="p4p's server"))
    return _served(child, child.records[0]["conf"], P4P)


# ---- an IOC: QSRV of pvxs, with records

IOC: Final = Names(
    double="ioc:ao",
    integer="ioc:done",
    text="ioc:stringin",
    array="ioc:waveform",
    enum="ioc:mbbo",
    watched="ioc:ao",
    unit=("display.units", "V"),
    refusing=("ioc:readonly", 5.0, "Unable to put value: Field Disabled: S_db_putDisabled"),
    no_rpc="RPC Not Implemented",
    no_field="pvRequest must select at least one field",
    no_field_to_monitor="Monitor Create implied error",
)


def start_ioc(before: Served | None = None) -> Served:
    """softIocPVX, with the records of `records.db`."""
    peer("p4p")
    conf = _free_conf() if before is None else before.conf
    channel_access = {
        "EPICS_CAS_INTF_ADDR_LIST": "127.0.0.1",
        "EPICS_CAS_BEACON_ADDR_LIST": "127.0.0.1",
        "EPICS_CAS_AUTO_BEACON_ADDR_LIST": "NO",
        "EPICS_CA_ADDR_LIST": "127.0.0.1",
        "EPICS_CA_AUTO_ADDR_LIST": "NO",
        "EPICS_CA_SERVER_PORT": str(_free_port()),
        "EPICS_CA_REPEATER_PORT": str(_free_port(socket.SOCK_DGRAM)),
    }
    child = Child(
        [environments.executable("p4p", "python"), "-m", "pvxslibs.ioc", "-d", RECORDS],
        environ=_server_environment(conf) | channel_access,
        name="the IOC",
    )
    deadline = time.monotonic() + 20
    while "IOC Running" not in child.errors:
        if time.monotonic() > deadline or not child.alive:
            text = child.transcript()
            child.close()
            raise AssertionError(f"the IOC did not start\n{text}")
        time.sleep(0.02)
    return _served(child, conf, IOC)


# ---- pvapy's, which is pvAccessCPP

PVAPY: Final = Names(
    unit=("display.units", "mm"),
    no_rpc="ChannelRPC not supported",
    no_field="no fields from the following request were found",
    pipeline=False,
)


def start_pvapy(before: Served | None = None) -> Served:
    """pvapy's servers, with the PVs of `drivers/pvapy_server.py`. Nothing in it can refuse a put."""
    peer("pvapy")
    conf = _free_conf() if before is None else before.conf
    command = [environments.executable("pvapy", "python"), DRIVERS / "pvapy_server.py"]
    child = _until_ready(Child(command, environ=_server_environment(conf), name="pvapy's server"))
    return _served(child, conf, PVAPY)


# ---- spvirit's, in Rust

SPVIRIT: Final = Names(
    unit=("display.units", "mm"),
    refusing=("readonly", 3.0, "Write access denied"),
    no_rpc="RPC not supported",
    no_field="",
    deltas=False,
)


def start_spvirit(before: Served | None = None) -> Served:
    """spvirit's server, with the PVs of `drivers/spvirit_server.py`.

    It binds its search port on all addresses, and does not understand searches that a neighbour on the same host
    passes on: a client whose beacon listener is bound to 127.0.0.1 gets the searches in its place (p4p's client finds
    nothing there either). So these clients hear beacons at another port than the one they search at.
    """
    peer("spvirit")
    if before is None:
        conf = _free_conf()
        conf["EPICS_PVA_ADDR_LIST"] = f"127.0.0.1:{_free_port(socket.SOCK_DGRAM)}"
    else:
        conf = dict(before.conf)
    udp_port = conf["EPICS_PVA_ADDR_LIST"].rpartition(":")[2]
    python = environments.executable("spvirit", "python")
    command = [python, DRIVERS / "spvirit_server.py", conf["EPICS_PVA_SERVER_PORT"], udp_port]
    # Its library reads the variables of clients, and without AUTO_ADDR_LIST takes no UDP.
    child = _until_ready(Child(command, environ=client_environment({}), name="spvirit's server"))
    return _served(child, conf, SPVIRIT)


# ---- ours

OURS: Final = Names(
    double="mailbox",
    integer="t:i",
    text="t:s",
    array="t:ad",
    enum="",
    watched="mailbox",
    refusing=("refuse", 20.0, "setpoint must stay within ±10 mm"),
    no_rpc="RPC not supported",
    no_field="pvRequest must select at least one field",
)


def start_ours(before: Served | None = None) -> Served:
    """Our own, with the PVs of `server_app.py`."""
    child = our_server(None if before is None else before.conf)
    return _served(child, child.records[0]["conf"], OURS)


NAMES: Final = {"p4p": P4P, "ioc": IOC, "pvapy": PVAPY, "spvirit": SPVIRIT, "ours": OURS}
SERVERS: Final[dict[str, Start]] = {
    "p4p": start_p4p,
    "ioc": start_ioc,
    "pvapy": start_pvapy,
    "spvirit": start_spvirit,
    "ours": start_ours,
}

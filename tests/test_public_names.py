"""The front door: which names it has, and that each is the one that its room defines."""

from __future__ import annotations

import subprocess
import sys

import p4p_trio

NAMES = {
    "CancelReason",
    "ClientConfig",
    "Context",
    "Disconnected",
    "DynamicProvider",
    "Handler",
    "Limits",
    "NotYet",
    "PVAError",
    "Peer",
    "ProtocolError",
    "RemoteError",
    "Server",
    "ServerConfig",
    "ServerOperation",
    "SharedPV",
    "StaticProvider",
    "Subscription",
    "TooSlowError",
    "Type",
    "Value",
    "install_provider",
    "nt",
    "remove_provider",
    "testing",
}


def test_the_public_names() -> None:
    assert sorted(p4p_trio.__all__) == sorted(NAMES)
    for name in NAMES:
        assert getattr(p4p_trio, name) is not None
    assert {*dir(p4p_trio), "testing"} >= NAMES


def test_programs_do_not_wait_for_pytest() -> None:
    code = "import sys, p4p_trio; sys.exit('pytest' in sys.modules or '_pytest' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)

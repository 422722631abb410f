"""The front door: which names it has, and that each is the one that its room defines."""

from __future__ import annotations

import subprocess
import sys

import pytest

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


@pytest.mark.parametrize(
    ("code", "heavy"),
    [
        ("import p4p_trio", ["trio", "numpy", "pytest"]),
        ("from p4p_trio import Server, Context", ["pytest", "_pytest"]),
        ("import p4p_trio.cli", ["trio", "numpy"]),
    ],
)
def test_nobody_waits_for_what_is_not_used(code: str, heavy: list[str]) -> None:
    check = f"import sys\n{code}\nsys.exit(' '.join(name for name in {heavy!r} if name in sys.modules) or 0)"
    subprocess.run([sys.executable, "-c", check], check=True)


def test_an_unknown_name() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        p4p_trio.nonsense  # noqa: B018  # asking is the test

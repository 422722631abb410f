"""Normative types: the structures that EPICS clients expect, and Python objects to and from them.

`NTScalar` makes and unwraps scalars and arrays; what it unwraps to is in `unwrapped`. `NTURI` makes the argument of a
call.
"""

from p4p_trio.nt.common import alarm, timeStamp
from p4p_trio.nt.scalar import NTScalar
from p4p_trio.nt.unwrapped import Unwrapped, ntbool, ntfloat, ntint, ntnumericarray, ntstr, ntstringarray
from p4p_trio.nt.uri import NTURI

__all__ = [
    "NTURI",
    "NTScalar",
    "Unwrapped",
    "alarm",
    "ntbool",
    "ntfloat",
    "ntint",
    "ntnumericarray",
    "ntstr",
    "ntstringarray",
    "timeStamp",
]

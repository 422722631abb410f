"""What a PV holds: types, values, requests for parts of them, and their text.

Start with `Type` and `Value`; `field` is how they are kept inside, `request` what clients ask for.
"""

from p4p_trio.data.field import Field, Layout, Selected, Variant, bits, scalar, struct
from p4p_trio.data.request import parse_request, request_options, select_fields
from p4p_trio.data.snapshot import freeze
from p4p_trio.data.type import Type
from p4p_trio.data.value import Value

__all__ = [
    "Field",
    "Layout",
    "Selected",
    "Type",
    "Value",
    "Variant",
    "bits",
    "freeze",
    "parse_request",
    "request_options",
    "scalar",
    "select_fields",
    "struct",
]

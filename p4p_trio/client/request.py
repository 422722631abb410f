"""pvRequests as users give them: a text, a Value, nothing, and the options that are arguments of their own."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from p4p_trio.client.operation import PVRequest
from p4p_trio.data import Type, Value, parse_request, request_options, scalar, struct

__all__ = ["Request", "pv_request", "with_options"]

Request = str | Value | None

_EVERYTHING = PVRequest(None, "")


def pv_request(request: Request) -> PVRequest:
    """What is asked for.

    Raises:
        ValueError: a text that is no pvRequest.
        TypeError: neither text nor Value.
    """
    if request is None:
        return _EVERYTHING
    if isinstance(request, str):
        return _parsed(request)
    if isinstance(request, Value):
        request = request._detached()
        return PVRequest(request, (request._type._field, str(request.todict())))
    raise TypeError(f"a pvRequest is a str or a Value, not {type(request).__name__}")


@lru_cache(maxsize=256)
def _parsed(text: str) -> PVRequest:
    return PVRequest(parse_request(text), text)


def with_options(request: Request, options: Mapping[str, Any]) -> Request:
    """The same request with further options; those that are None are left as they are."""
    if not options:
        return request
    wanted = {name: _spelled(option) for name, option in options.items() if option is not None}
    if not wanted:
        return request
    asked = parse_request(request) if isinstance(request, str) else request
    if asked is not None and not isinstance(asked, Value):
        raise TypeError(f"a pvRequest is a str or a Value, not {type(asked).__name__}")
    merged = {name: _spelled(option) for name, option in request_options(asked).items()} | wanted
    selected = struct({})
    if asked is not None and "field" in asked._type._field.names:
        selected = asked._type._field.member("field")
    record = struct({"_options": struct(dict.fromkeys(sorted(merged), scalar("s")))})
    made = Value(Type._of(struct({"field": selected, "record": record})))
    for name, option in merged.items():
        made["record"]["_options"][name] = option
    return made


def _spelled(option: Any) -> str:
    return str(option).lower() if isinstance(option, bool) else str(option)

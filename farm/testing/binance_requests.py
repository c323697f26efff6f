"""Reading what clients of Binance send: the address they open and the requests on the socket.

Document: binance-spot-api-docs ``web-socket-streams.md``, "Live Subscribing/Unsubscribing".
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import attrs

from farm.testing.markets import BinanceRules, Route

__all__ = ["ABSENT", "Address", "InvalidRequest", "parse_address", "parse_request"]

ABSENT = object()
"""The id of a request that has none."""

_METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")


class InvalidRequest(Exception):
    """A request that gets an error: ``code`` as the venue numbers them."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@attrs.frozen
class Address:
    """What a client opens. ``combined``: frames are wrapped; ``microseconds``: so times count."""

    route: Route
    combined: bool
    streams: list[str]
    microseconds: bool = False


def parse_address(target: str, rules: BinanceRules) -> Address:
    """Reads an address as a market with these rules does.

    Raises:
        InvalidRequest: with an HTTP status as its code.
    """
    if rules.address_length is not None and len(target) > rules.address_length:
        raise InvalidRequest(414, "URI too long")
    parts = urlsplit(target)
    query = parse_qs(parts.query)
    unit = query.get("timeUnit", [None])[0]
    if unit is not None and unit not in rules.time_units:
        raise InvalidRequest(400, f"no such timeUnit: {unit}")
    for route in rules.routes:
        path = unquote(parts.path)
        if not path.startswith(f"{route.prefix}/"):
            continue
        form = _form(path.removeprefix(route.prefix), query)
        if form is not None:
            combined, streams = form
            if len(set(streams)) > rules.streams_per_connection:
                raise InvalidRequest(400, "too many streams")
            return Address(route, combined, streams, microseconds=unit == "MICROSECOND")
    raise InvalidRequest(404, "no such path")


def _form(path: str, query: dict[str, list[str]]) -> tuple[bool, list[str]] | None:
    """Whether a path within a route asks for combined frames, and the streams that it names."""
    if path == "/ws" or path.startswith("/ws/"):
        return False, [name for name in path.removeprefix("/ws").split("/") if name]
    if path == "/stream":
        return True, [name for name in query.get("streams", [""])[0].split("/") if name]
    return None


def parse_request(text: str) -> tuple[dict[str, Any], Any]:
    """A request and its id.

    Raises:
        InvalidRequest: 3 for text that is no JSON object, 2 for one that is no request.
    """
    try:
        request = json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidRequest(3, "Invalid JSON: expected value at line 1 column 1") from None
    if not isinstance(request, dict):
        raise InvalidRequest(3, "Invalid JSON: expected an object")
    request_id = request.get("id", ABSENT)
    is_text = isinstance(request_id, str) and request_id.isalnum() and len(request_id) <= 36
    is_number = type(request_id) is int and -(2**63) <= request_id < 2**63
    if not (is_text or is_number or request_id is None or request_id is ABSENT):
        raise InvalidRequest(
            2,
            "Invalid request: request ID must be an unsigned integer or a string of up to 36 "
            "letters and digits",
        )
    method = request.get("method")
    if method is None:
        raise InvalidRequest(2, f"Invalid request: missing field `method` at column {len(text)}")
    if method not in _METHODS:
        names = ", ".join(f"`{name}`" for name in _METHODS)
        raise InvalidRequest(
            2, f"Invalid request: unknown variant `{method}`, expected one of {names}"
        )
    return request, request_id

"""Reading what clients of Binance send: the address they open and the requests on the socket.

Document: binance-spot-api-docs ``web-socket-streams.md``, "Live Subscribing/Unsubscribing".
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

__all__ = ["ABSENT", "InvalidRequest", "parse_address", "parse_request"]

ABSENT = object()
"""The id of a request that has none."""

_METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")


class InvalidRequest(Exception):
    """A request that gets an error: ``code`` as the venue numbers them."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def parse_address(target: str) -> tuple[bool, list[str]]:
    """Whether an address asks for combined frames, and the streams that it names.

    Raises:
        InvalidRequest: with an HTTP status as its code.
    """
    parts = urlsplit(target)
    query = parse_qs(parts.query)
    if "timeUnit" in query:
        raise InvalidRequest(400, "the fake speaks milliseconds only")
    path = unquote(parts.path)
    if path in ("/ws", "/ws/"):
        return False, []
    if path.startswith("/ws/"):
        return False, [name for name in path.removeprefix("/ws/").split("/") if name]
    if path == "/stream":
        return True, [name for name in query.get("streams", [""])[0].split("/") if name]
    raise InvalidRequest(404, "no such path")


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

"""The shapes of Bybit's answers on the socket: one of spot, linear and inverse, one of options."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import attrs

__all__ = ["CommandReplies", "PlainReplies", "Replies"]


class Replies(Protocol):
    """How a category answers. ``connection``: the id that the venue gave it."""

    def done(
        self, connection: str, request: Mapping[str, Any], operation: str, topics: Sequence[str]
    ) -> str:
        """A subscribe or an unsubscribe of `topics` that succeeded."""

    def failed(
        self, connection: str, request: Mapping[str, Any], operation: str, message: str
    ) -> str:
        """A request that failed as a whole."""

    def pong(self, connection: str, request: Mapping[str, Any], now_ms: int) -> str:
        """The answer to a JSON ping."""


@attrs.frozen
class PlainReplies:
    """``{"success":…,"ret_msg":…}``. ``acknowledgement``: the ``ret_msg`` of success.

    ``always_req_id``: a ``req_id`` stands in replies even when the request had none.
    """

    acknowledgement: str
    always_req_id: bool

    def done(
        self,
        connection: str,
        request: Mapping[str, Any],
        operation: str,
        topics: Sequence[str],  # noqa: ARG002
    ) -> str:
        return self._text(connection, request, operation, self.acknowledgement, success=True)

    def failed(
        self, connection: str, request: Mapping[str, Any], operation: str, message: str
    ) -> str:
        return self._text(connection, request, operation, message, success=False)

    def pong(self, connection: str, request: Mapping[str, Any], now_ms: int) -> str:  # noqa: ARG002
        return self._text(connection, request, "ping", "pong", success=True)

    def _text(
        self,
        connection: str,
        request: Mapping[str, Any],
        operation: str,
        message: str,
        *,
        success: bool,
    ) -> str:
        reply: dict[str, Any] = {"success": success, "ret_msg": message, "conn_id": connection}
        if "req_id" in request or self.always_req_id:
            reply["req_id"] = request.get("req_id", "")
        reply["op"] = operation
        return _compact(reply)


@attrs.frozen
class CommandReplies:
    """``{"success":…,"data":{"failTopics":…,"successTopics":…},"type":"COMMAND_RESP"}``, without
    the ``req_id``; what is no command of topics fails as elsewhere."""

    def done(
        self,
        connection: str,
        request: Mapping[str, Any],  # noqa: ARG002
        operation: str,  # noqa: ARG002
        topics: Sequence[str],
    ) -> str:
        data = {"failTopics": [], "successTopics": list(topics)}
        return _compact(
            {"success": True, "conn_id": connection, "data": data, "type": "COMMAND_RESP"}
        )

    def failed(
        self, connection: str, request: Mapping[str, Any], operation: str, message: str
    ) -> str:
        args = request.get("args")
        if operation not in ("subscribe", "unsubscribe") or not isinstance(args, list):
            return _compact(
                {"success": False, "ret_msg": message, "conn_id": connection, "op": operation}
            )
        return _compact(
            {
                "success": False,
                "ret_msg": message,
                "conn_id": connection,
                "data": {"failTopics": args, "successTopics": []},
                "type": "COMMAND_RESP",
            }
        )

    def pong(self, connection: str, request: Mapping[str, Any], now_ms: int) -> str:  # noqa: ARG002
        return f'{{"args":["{now_ms}"],"op":"pong"}}'


def _compact(reply: Mapping[str, Any]) -> str:
    return json.dumps(reply, separators=(",", ":"), ensure_ascii=False)

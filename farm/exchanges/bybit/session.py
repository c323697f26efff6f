"""The Bybit v5 core: topics, requests by ``req_id``, and a heartbeat that the client keeps.

Source: github.com/bybit-exchange/docs, ``v5/ws/connect.mdx``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from farm.exchanges.bybit.books import snapshot_parser
from farm.exchanges.bybit.parsers import parser_of
from farm.exchanges.core import CoreSession
from farm.exchanges.harvest import Harvest
from farm.exchanges.numbers import Parser
from farm.exchanges.rules import MarketRules
from farm.exchanges.session import Lost, Opened, Reconnect
from farm.exchanges.streams import Stream
from farm.exchanges.subscriptions import Request
from farm.types import Nanoseconds

__all__ = ["BybitSession"]

_COMMAND_RESPONSE = "COMMAND_RESP"
_START = b'{"topic":"'
_SKIP = len(_START)


class _Envelope(msgspec.Struct):
    """A message of any kind: a topic's, or a reply."""

    topic: str | None = None
    op: str | None = None
    success: bool | None = None
    ret_msg: str = ""
    req_id: str = ""
    type: str = ""
    data: msgspec.Raw = msgspec.Raw(b"null")


class _Topics(msgspec.Struct, rename="camel"):
    """Which topics of a request were taken; said on options, where replies name no request."""

    success_topics: list[str] = msgspec.field(default_factory=list)
    fail_topics: list[str] = msgspec.field(default_factory=list)


_envelope = msgspec.json.Decoder(_Envelope)


class BybitSession(CoreSession):
    """One connection to a Bybit market."""

    start = _START

    def __init__(self, rules: MarketRules, streams: Sequence[Stream], **options: Any) -> None:
        self._last_ping = 0.0
        self._pong_due: float | None = None
        super().__init__(rules, streams, **options)

    def _parser(self, stream: Stream) -> Parser:
        return parser_of(stream, self._context)

    def _snapshot_parser(self) -> Parser:
        return snapshot_parser(self._context)

    def _snapshot_params(self, stream: Stream) -> tuple[tuple[str, str | int], ...]:
        return (*self.rules.snapshot_params, ("symbol", stream.symbol))

    def _stream_name(self, raw: bytes) -> bytes | None:
        if raw.startswith(_START):
            name = raw[_SKIP : raw.find(b'"', _SKIP)]
            if b"\\" not in name:
                return name
        topic = _envelope.decode(raw).topic
        return None if topic is None else topic.encode()

    def _unknown_kind(self, raw: bytes) -> str | None:
        """The family of a topic that nobody asked for; a stream's own topic has no other types."""
        name = self._stream_name(raw)
        if name is None or name in self._routes:
            return None
        return name.decode().split(".", 1)[0]

    def _request_text(self, request: Request) -> str:
        op = "subscribe" if request.subscribes else "unsubscribe"
        message = {"req_id": request.id, "op": op, "args": request.names}
        return msgspec.json.encode(message).decode()

    def _control(self, raw: bytes, time: Nanoseconds, harvest: Harvest) -> str | None:
        reply = _envelope.decode(raw)
        if reply.op == "pong" or (reply.op == "ping" and reply.ret_msg == "pong"):
            self._pong_due = None
            return None
        if reply.type == _COMMAND_RESPONSE:
            self._answered(msgspec.json.decode(reply.data, type=_Topics), time, harvest)
            return None
        if reply.op in ("subscribe", "unsubscribe") and reply.success is not None:
            # Said of a topic that flows already: what was asked for is so.
            granted = "already subscribed" in reply.ret_msg
            alone = len(self._subscriptions.names(reply.req_id)) == 1
            if reply.success or (granted and alone):
                self._acknowledged(reply.req_id, time, harvest)
            else:
                self._refused(reply.req_id, reply.ret_msg, time, harvest)
                if not reply.req_id:
                    return f"{reply.op} refused"
            return None
        return reply.op or "unnamed"

    def _answered(self, topics: _Topics, time: Nanoseconds, harvest: Harvest) -> None:
        confirmed, failed = self._subscriptions.answered(
            topics.success_topics, topics.fail_topics, self._now
        )
        self._confirmed(confirmed, time, harvest)
        self._failed(failed, time, harvest)

    def _on_opened(self, item: Opened) -> str | None:
        self._last_ping = item.now
        self._pong_due = None
        return super()._on_opened(item)

    def _ask_list(self) -> None:
        """Bybit can't be asked."""

    def _on_lost(self, item: Lost, harvest: Harvest) -> None:
        super()._on_lost(item, harvest)
        self._pong_due = None  # it may be among what was lost

    def _tick(self, now: float) -> None:
        """Ping every ``ping_interval``; a pong that is late by as much means a dead connection.

        The venue cuts connections without a JSON ping, and a half-open one shows by nothing else.
        """
        interval = self.rules.ping_interval
        assert interval is not None
        if self._pong_due is not None and now >= self._pong_due:
            self._commands.append(Reconnect(self._epoch, "no pong"))
            self._pong_due = None
        elif now - self._last_ping >= interval:
            self._last_ping = now
            if self._pong_due is None:
                self._pong_due = now + interval
            self._send('{"op":"ping"}', urgent=True)

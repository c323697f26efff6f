"""The Binance core: combined streams, numbered requests, snapshots by REST.

Source: github.com/binance/binance-spot-api-docs, ``web-socket-streams.md``, "Live Subscribing".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from farm.exchanges.binance.wire import parser_of, snapshot_parser
from farm.exchanges.core import CoreSession, Harvest
from farm.exchanges.numbers import Parser
from farm.exchanges.rules import MarketRules
from farm.exchanges.session import FetchSnapshot, SnapshotReply
from farm.exchanges.streams import Stream
from farm.exchanges.subscriptions import Request
from farm.types import Nanoseconds

__all__ = ["BinanceSession"]

_START = b'{"stream":"'
_SKIP = len(_START)


class _Typed(msgspec.Struct):
    """As much of a payload as tells its type."""

    e: str | None = None


class _Envelope(msgspec.Struct):
    """A frame of any kind: combined, or a reply. Errors come bare and nested: both are read."""

    stream: str | None = None
    id: int | str | None = None
    code: int | None = None
    msg: str = ""
    error: _Error | None = None
    e: str | None = None
    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Error(msgspec.Struct):
    code: int = 0
    msg: str = ""


class _TypedFrame(msgspec.Struct):
    data: _Typed = msgspec.field(default_factory=_Typed)


_envelope = msgspec.json.Decoder(_Envelope)
_typed_frame = msgspec.json.Decoder(_TypedFrame)


class BinanceSession(CoreSession):
    """One connection to a Binance market."""

    def __init__(self, rules: MarketRules, streams: Sequence[Stream], **options: Any) -> None:
        super().__init__(rules, streams, **options)
        self._snapshot_parser = snapshot_parser(self._numbers)

    def _parser(self, stream: Stream) -> Parser:
        return parser_of(self._numbers, stream)

    def _stream_name(self, raw: bytes) -> bytes | None:
        if raw.startswith(_START):
            name = raw[_SKIP : raw.find(b'"', _SKIP)]
            if b"\\" not in name:
                return name
        name_text = _envelope.decode(raw).stream
        return None if name_text is None else name_text.encode()

    def _unknown_kind(self, raw: bytes) -> str | None:
        name = self._stream_name(raw)
        kind = _typed_frame.decode(raw).data.e
        route = self._routes.get(name) if name is not None else None
        if route is None or kind is None:
            return kind
        return None if kind == _EVENT_TYPES.get(route.stream.data_type.value) else kind

    def _request_text(self, request: Request) -> str:
        method = "SUBSCRIBE" if request.subscribes else "UNSUBSCRIBE"
        message = {"method": method, "params": request.names, "id": int(request.id)}
        return msgspec.json.encode(message).decode()

    def _control(self, raw: bytes, time: Nanoseconds, harvest: Harvest) -> str | None:
        reply = _envelope.decode(raw)
        error = reply.error
        if error is None and reply.code is not None:
            error = _Error(reply.code, reply.msg)
        if error is not None:
            reason = f"{error.msg} (code {error.code})"
            self._refused(str(reply.id), reason, time, harvest)
            return None if reply.id is not None else f"error {error.code}"
        if reply.id is not None and reply.result is not msgspec.UNSET:
            self._acknowledged(str(reply.id), time, harvest)
            return None
        return reply.e or "unnamed"

    def _tick(self, now: float) -> None:
        """The server pings; the WebSocket layer answers."""

    def _snapshot_request(self, stream: Stream) -> FetchSnapshot:
        rules = self.rules
        params = (("symbol", stream.symbol), ("limit", rules.snapshot_limit))
        return FetchSnapshot(
            self._epoch, stream, rules.snapshot_path, params, rules.snapshot_weight
        )

    def _parse_snapshot(self, item: SnapshotReply, rows: list[Any]) -> None:
        self._snapshot_parser(item.body, item.stream, item.time, item.ordinal, rows)


_EVENT_TYPES = {
    "trade": "trade",
    "agg_trade": "aggTrade",
    "quote": "bookTicker",
    "book": "depthUpdate",
    "kline": "kline",
}

"""A recording as a source: the exact texts that a venue once sent."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import attrs

from farm.errors import RecordingError
from farm.storage.capture import CaptureEvent, CaptureRecord, capture_market, read_capture
from farm.testing.names import stream_symbol, topic_symbol
from farm.testing.source import Push, depth_reply
from farm.types import Market

__all__ = ["RecordingSource"]

_COMBINED = '{"stream":"'
_DATA = '","data":'


@attrs.define
class RecordingSource:
    """The market texts of one connection of a recording, in time order, byte for byte.

    ``market`` or ``connection`` picks the connection where a file holds several (a Bybit session
    has one for each market). Acknowledgements and pongs are left out: the fake makes its own.
    Recorded REST depth snapshots stand in their place, other REST answers come as silent pushes.

    Iterating raises :class:`~farm.errors.RecordingError` on a broken file, and where the choice
    of connection is left open or matches nothing.
    """

    path: Path
    market: Market | None = None
    connection: str | None = None

    @property
    def symbols(self) -> Collection[str]:
        """Every symbol that the chosen connection carries; reads the whole recording."""
        return {_symbol(push.stream) for push in self if not push.stream.startswith(("/", "!"))}

    def __iter__(self) -> Iterator[Push]:
        chosen = ""
        seen: set[str] = set()
        for record in read_capture(self.path):
            if not self._is_mine(record):
                continue
            if record.event is CaptureEvent.REPLY:
                yield self._reply(record, seen)
            elif record.event is CaptureEvent.RECEIVED:
                chosen = chosen or record.connection
                if record.connection != chosen:
                    raise RecordingError(
                        f"{self.path}: several connections ({chosen}, {record.connection}): "
                        "choose one by market= or connection="
                    )
                if (push := _frame(record)) is not None:
                    seen.add(_symbol(push.stream))
                    yield push
        if not chosen:
            raise RecordingError(f"{self.path}: no frame of the chosen connection")

    def _is_mine(self, record: CaptureRecord) -> bool:
        named = capture_market(record.url)
        if self.market is not None and named is not None and named[1] is not self.market:
            return False
        is_reply = record.event is CaptureEvent.REPLY
        return self.connection is None or is_reply or record.connection == self.connection

    def _reply(self, record: CaptureRecord, seen: set[str]) -> Push:
        parts = urlsplit(record.url)
        query = parse_qs(parts.query)
        resource = parts.path.rpartition("/")[2]
        text = record.text.decode()
        if record.url == "" or resource == "depth":
            symbol = query.get("symbol", [""])[0] or self._only_symbol(text, seen)
            return Push(record.time, depth_reply(symbol), text)
        named = [f"?{key}={query[key][0]}" for key in ("symbol", "category") if key in query]
        return Push(record.time, f"/{resource}{''.join(named[:1])}", text, True)

    def _only_symbol(self, text: str, seen: set[str]) -> str:
        """A log's snapshot names its symbol on COIN-M alone; elsewhere one symbol is traded."""
        named: str = json.loads(text).get("symbol", "")
        if named:
            return named
        if len(seen) != 1:
            raise RecordingError(f"{self.path}: the depth snapshot may be of any of {sorted(seen)}")
        return next(iter(seen))


def _frame(record: CaptureRecord) -> Push | None:
    """A market text: Binance in combined form, Bybit by its topic; None for control replies."""
    text = record.text.decode()
    if text.startswith(_COMBINED):
        stream, _, data = text[len(_COMBINED) :].partition(_DATA)
        return Push(record.time, stream, data[:-1])
    message = json.loads(text)
    topic = message.get("topic") if isinstance(message, dict) else None
    return Push(record.time, topic, text) if isinstance(topic, str) else None


def _symbol(stream: str) -> str:
    """``btcusdt@depth@100ms`` and ``orderbook.50.BTCUSDT`` are streams of BTCUSDT."""
    return stream_symbol(stream) if "@" in stream else topic_symbol(stream)

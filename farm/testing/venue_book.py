"""Books that a fake exchange keeps from its own texts, to answer for the market at any moment.

Prices and sizes stay the venue's texts. Deliberately apart from ``farm.books``: what is under
test must not vouch for itself.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable
from typing import Any

import attrs

__all__ = ["DepthShape", "DiffBook", "TopicBook", "TopicTicker"]

# Diffs kept while no snapshot is there to join them to.
_PENDING = 10_000


@attrs.define(eq=False)
class _Levels:
    bids: dict[str, str] = attrs.Factory(dict)
    asks: dict[str, str] = attrs.Factory(dict)

    def change(self, bids: Iterable[list[str]], asks: Iterable[list[str]]) -> None:
        for side, levels in ((self.bids, bids), (self.asks, asks)):
            for price, size in levels:
                if float(size) == 0:
                    side.pop(price, None)
                else:
                    side[price] = size

    def text(self, *, is_bid: bool, limit: int | None = None) -> str:
        """The levels of a side from the best, as a JSON array of text pairs."""
        side = self.bids if is_bid else self.asks
        prices = sorted(side, key=float, reverse=is_bid)[:limit]
        return "[" + ",".join(f'["{price}","{side[price]}"]' for price in prices) + "]"


@attrs.frozen
class DepthShape:
    """What a REST depth reply holds beside the id and the levels: on futures ``E`` and ``T``
    (``timed``), on COIN-M ``names`` too, as they stand in the text."""

    timed: bool = False
    names: str = ""


@attrs.define(eq=False)
class DiffBook:
    """A Binance book: one REST snapshot and the diffs around it, of whatever speed.

    ``update_id`` is the last id applied, None before the snapshot. ``event_ms`` and ``engine_ms``
    are ``E`` and ``T`` of what was applied last.
    """

    shape: DepthShape = DepthShape()
    update_id: int | None = None
    event_ms: int = 0
    engine_ms: int = 0
    _levels: _Levels = attrs.Factory(_Levels)
    _pending: deque[dict[str, Any]] = attrs.Factory(lambda: deque(maxlen=_PENDING))
    _snapshot_text: str = ""
    _snapshot_levels: int = 0

    def take_snapshot(self, text: str) -> None:
        snapshot = json.loads(text)
        self._levels = _Levels()
        self._levels.change(snapshot["bids"], snapshot["asks"])
        self.update_id = snapshot["lastUpdateId"]
        self._take_times(snapshot)
        while self._pending:
            self._apply(self._pending.popleft())
        # Recorded diffs may have overtaken their snapshot. The text stays the answer until the
        # next diff all the same: who asks now follows the diffs since before.
        self._snapshot_text = text
        self._snapshot_levels = max(len(snapshot["bids"]), len(snapshot["asks"]))

    def take_diff(self, text: str) -> None:
        diff = json.loads(text)
        if self.update_id is None:
            self._pending.append(diff)
        else:
            self._apply(diff)

    def _apply(self, diff: dict[str, Any]) -> None:
        """A diff of another speed may repeat what is known; sizes are absolute, so only its end
        counts."""
        assert self.update_id is not None
        if diff["u"] > self.update_id:
            self._levels.change(diff["b"], diff["a"])
            self.update_id = diff["u"]
            self._take_times(diff)
            self._snapshot_text = ""

    def _take_times(self, message: dict[str, Any]) -> None:
        self.event_ms = message.get("E", self.event_ms)
        self.engine_ms = message.get("T", self.engine_ms)

    def snapshot(self, limit: int) -> str:
        """The answer to a REST depth request: the recorded text until a diff comes after it."""
        if self._snapshot_text and limit >= self._snapshot_levels:
            return self._snapshot_text
        bids = self._levels.text(is_bid=True, limit=limit)
        asks = self._levels.text(is_bid=False, limit=limit)
        times = f'"E":{self.event_ms},"T":{self.engine_ms},' if self.shape.timed else ""
        return (
            f'{{"lastUpdateId":{self.update_id},{times}{self.shape.names}'
            f'"bids":{bids},"asks":{asks}}}'
        )


@attrs.define(eq=False)
class TopicBook:
    """The book of one Bybit ``orderbook`` topic, from its snapshot and deltas; times in ms."""

    symbol: str = ""
    update_id: int | None = None
    seq: int = 0
    ts: int = 0
    cts: int = 0
    _levels: _Levels = attrs.Factory(_Levels)
    _last: dict[str, Any] = attrs.Factory(dict)

    def take(self, text: str) -> None:
        message = json.loads(text)
        if message["type"] == "snapshot":
            self._levels = _Levels()
        elif self.update_id is None:
            return  # a delta without its snapshot says nothing about the rest of the book
        self._last = message
        self.ts = int(message["ts"])
        self._take_data(message["data"], int(message["cts"]))

    def take_reply(self, text: str) -> None:
        """A REST answer that holds the whole book."""
        reply = json.loads(text)
        self._levels = _Levels()
        self.ts = int(reply["result"]["ts"])
        self._take_data(reply["result"], int(reply["result"]["cts"]))

    def _take_data(self, data: dict[str, Any], cts: int) -> None:
        self._levels.change(data["b"], data["a"])
        self.symbol, self.update_id, self.seq = data["s"], data["u"], data["seq"]
        self.cts = cts

    def data(self) -> str:
        """The ``data`` object of a snapshot as of now."""
        return f"{{{self._fields()}}}"

    def reply(self) -> str:
        """The ``result`` of a REST answer as of now."""
        return f'{{{self._fields()},"ts":{self.ts},"cts":{self.cts}}}'

    def snapshot(self) -> str:
        """A snapshot as of now, with the keys of the last message in its order."""
        keys = {**self._last, "type": "snapshot", "data": None}
        parts = [
            f'"{key}":{self.data() if key == "data" else json.dumps(value, ensure_ascii=False)}'
            for key, value in keys.items()
        ]
        return f"{{{','.join(parts)}}}"

    def _fields(self) -> str:
        bids, asks = self._levels.text(is_bid=True), self._levels.text(is_bid=False)
        return f'"s":"{self.symbol}","b":{bids},"a":{asks},"u":{self.update_id},"seq":{self.seq}'


@attrs.define(eq=False)
class TopicTicker:
    """What a Bybit ``tickers`` topic has said so far: its snapshot with the changes since."""

    _last: dict[str, Any] = attrs.Factory(dict)

    def take(self, text: str) -> None:
        message = json.loads(text)
        if message["type"] == "snapshot":
            self._last = message
        elif self._last:
            merged = {**self._last["data"], **message["data"]}
            self._last = {**self._last, **message, "type": "snapshot", "data": merged}

    def snapshot(self) -> str | None:
        """A snapshot as of now, None where there was none."""
        if not self._last:
            return None
        return json.dumps(self._last, separators=(",", ":"), ensure_ascii=False)

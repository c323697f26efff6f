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

__all__ = ["DiffBook", "TopicBook"]

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


@attrs.define(eq=False)
class DiffBook:
    """A Binance book: one REST snapshot and the diffs around it, of whatever speed.

    ``update_id`` is the last id applied, None before the snapshot.
    """

    update_id: int | None = None
    _levels: _Levels = attrs.Factory(_Levels)
    _pending: deque[dict[str, Any]] = attrs.Factory(lambda: deque(maxlen=_PENDING))
    _snapshot_text: str = ""
    _snapshot_levels: int = 0

    def take_snapshot(self, text: str) -> None:
        snapshot = json.loads(text)
        self._levels = _Levels()
        self._levels.change(snapshot["bids"], snapshot["asks"])
        self.update_id = snapshot["lastUpdateId"]
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
            self._snapshot_text = ""

    def snapshot(self, limit: int) -> str:
        """The answer to a REST depth request: the recorded text until a diff comes after it."""
        if self._snapshot_text and limit >= self._snapshot_levels:
            return self._snapshot_text
        bids = self._levels.text(is_bid=True, limit=limit)
        asks = self._levels.text(is_bid=False, limit=limit)
        return f'{{"lastUpdateId":{self.update_id},"bids":{bids},"asks":{asks}}}'


@attrs.define(eq=False)
class TopicBook:
    """The book of one Bybit ``orderbook`` topic, from its snapshot and deltas; times in ms."""

    symbol: str = ""
    update_id: int | None = None
    seq: int = 0
    ts: int = 0
    cts: int = 0
    _levels: _Levels = attrs.Factory(_Levels)

    def take(self, text: str) -> None:
        message = json.loads(text)
        data = message["data"]
        if message["type"] == "snapshot":
            self._levels = _Levels()
        elif self.update_id is None:
            return  # a delta without its snapshot says nothing about the rest of the book
        self._levels.change(data["b"], data["a"])
        self.symbol, self.update_id, self.seq = data["s"], data["u"], data["seq"]
        self.ts, self.cts = int(message["ts"]), int(message["cts"])

    def data(self) -> str:
        """The ``data`` object of a snapshot as of now."""
        bids, asks = self._levels.text(is_bid=True), self._levels.text(is_bid=False)
        return (
            f'{{"s":"{self.symbol}","b":{bids},"a":{asks},"u":{self.update_id},"seq":{self.seq}}}'
        )

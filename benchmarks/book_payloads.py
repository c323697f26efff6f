"""Books to measure with: recorded where the recordings are, else from the seeded simulator."""

from __future__ import annotations

import json
from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeAlias

import attrs

from benchmarks.payloads import capture
from farm.entities import BookUpdate, Quote
from farm.exchanges.registry import make_session, rules_of
from farm.exchanges.session import Frames, Input, Opened, SnapshotReply
from farm.exchanges.streams import Stream
from farm.storage.capture import read_capture
from farm.testing import MarketSimulator
from farm.types import Exchange, Market

__all__ = ["Change", "Depth", "Diff", "events", "padded", "recorded_depth", "texts", "window"]

Change: TypeAlias = tuple[float, float]
"""A price, and the size that rests there now; 0 deletes."""

Diff: TypeAlias = tuple[Sequence[Change], Sequence[Change]]
"""Changes of bids and of asks."""

_LOGS = {
    Market.SPOT: ("binance_spot_btcusdt_20240808.log.gz", "BTCUSDT", "book"),
    Market.USDM: ("binance_usdm_btcusdt_20240808.log.gz", "BTCUSDT", "book@0ms"),
    Market.COINM: ("binance_coinm_btcusd_perp_20240808.log.gz", "BTCUSD_PERP", "book@0ms"),
}
_SIMULATED_SPEC = "book@100ms"
_SIMULATED_SECONDS = 120.0


@attrs.frozen
class Depth:
    """A book as it stood, and the diffs that followed; levels are the best first."""

    bids: Sequence[Change]
    asks: Sequence[Change]
    diffs: Sequence[Diff]

    @property
    def changes(self) -> int:
        """How many levels all diffs change."""
        return sum(len(bids) + len(asks) for bids, asks in self.diffs)


# ---------------------------------------------------------------------------------------- messages
def texts(market: Market) -> tuple[Iterator[bytes], Stream, str]:
    """Quotes, diffs of one stream, and once the snapshot of a Binance market's busiest symbol, as
    they came; that stream; and where they come from."""
    name, symbol, spec = _LOGS[market]
    path = capture(name)
    streams = rules_of(Exchange.BINANCE, market).streams
    if path.is_file():
        found = (record.text for record in read_capture(path))
        return found, streams.stream(symbol, spec), "recording"
    stream = streams.stream(symbol, _SIMULATED_SPEC)
    return _simulated(market, stream), stream, "simulator"


def _simulated(market: Market, stream: Stream) -> Iterator[bytes]:
    wanted = {stream.name, f"{stream.symbol.lower()}@bookTicker"}
    seconds = _SIMULATED_SECONDS
    for push in MarketSimulator(Exchange.BINANCE, market, [stream.symbol], seed=1, seconds=seconds):
        if push.stream.startswith("/depth"):
            yield push.text.encode()
        elif push.stream in wanted:
            yield f'{{"stream":"{push.stream}","data":{push.text}}}'.encode()


def events(market: Market, diffs: int) -> tuple[list[BookUpdate | Quote], Stream, str]:
    """The updates and quotes that farm makes of the texts, until so many diffs have come; their
    stream; and where they come from."""
    found, stream, source = texts(market)
    session = make_session(rules_of(stream.exchange, market), [], connection="c", discover=True)
    session.handle(Opened(1, 1, 0.0))
    rows: list[BookUpdate | Quote] = []
    left = diffs
    for ordinal, text in enumerate(found):
        item: Input = Frames(1, ordinal, ordinal, [text], len(text))
        if text.startswith(b'{"lastUpdateId"'):
            item = SnapshotReply(1, ordinal, ordinal, stream, text, len(text))
        bundle = session.handle(item)
        for batch in bundle.batches if bundle is not None else ():
            rows += (row for row in batch if isinstance(row, BookUpdate | Quote))
            left -= len(batch) if batch.kind is BookUpdate else 0
        if left < 0:
            break
    return rows, stream, source


# ------------------------------------------------------------------------------------------ levels
def recorded_depth(market: Market, diffs: int) -> tuple[Depth, str]:
    """The snapshot and the first `diffs` diffs on top of it, numbers decoded; and where they come
    from."""
    found, _, source = texts(market)
    messages = map(json.loads, found)
    snapshot = next(message for message in messages if "lastUpdateId" in message)
    updates = (m["data"] for m in messages if m.get("stream", "").partition("@")[2][:5] == "depth")
    newer = (update for update in updates if update["u"] > snapshot["lastUpdateId"])
    return Depth(
        _numbers(snapshot["bids"]),
        _numbers(snapshot["asks"]),
        [(_numbers(diff["b"]), _numbers(diff["a"])) for diff in islice(newer, diffs)],
    ), source


def _numbers(rows: Iterable[Sequence[str]]) -> list[Change]:
    return [(float(price), float(quantity)) for price, quantity in rows]


def padded(depth: Depth, levels: int) -> Depth:
    """The same book with so many levels a side at the start: levels that rest are put beyond all
    that ever changes, a part in ten thousand of the price apart."""
    return attrs.evolve(
        depth,
        bids=_padded(depth.bids, [bids for bids, _ in depth.diffs], levels, bid=True),
        asks=_padded(depth.asks, [asks for _, asks in depth.diffs], levels, bid=False),
    )


def _padded(
    side: Sequence[Change], diffs: Iterable[Sequence[Change]], levels: int, *, bid: bool
) -> list[Change]:
    prices = [price for price, _ in side]
    prices += (price for changes in diffs for price, _ in changes)
    worst, step = (min(prices), 1 - 1e-4) if bid else (max(prices), 1 + 1e-4)
    beyond = [(worst * step**number, 1.0) for number in range(1, levels - len(side) + 1)]
    return [*side, *beyond]


def window(depth: Depth, levels: int) -> Depth:
    """The same book as a venue sends it that shows the best `levels` a side, as Bybit does: a level
    that comes into the window is sent with its size, one that leaves it with 0."""
    bids = _Window(depth.bids, levels, bid=True)
    asks = _Window(depth.asks, levels, bid=False)
    return Depth(
        depth.bids[:levels],
        depth.asks[:levels],
        [(bids.sent(ours), asks.sent(theirs)) for ours, theirs in depth.diffs],
    )


class _Window:
    """One side as it is, and what of it is shown. Keys are prices of which the best is largest."""

    def __init__(self, side: Sequence[Change], levels: int, *, bid: bool) -> None:
        self._sign = 1 if bid else -1
        self._levels = levels
        self._sizes = {self._sign * price: quantity for price, quantity in side}
        self._keys = sorted(self._sizes)

    def sent(self, changes: Sequence[Change]) -> list[Change]:
        """Take the changes of a diff; what of them is sent, and what moves with the window."""
        before = self._worst()
        for price, quantity in changes:
            self._set(self._sign * price, quantity)
        after = self._worst()
        sent = {
            price: quantity
            for price, quantity in changes
            if self._sign * price >= (after if quantity else min(before, after))
        }
        low, high = sorted((before, after))
        for key in self._keys[bisect_left(self._keys, low) : bisect_left(self._keys, high)]:
            moved = self._sizes[key] if after < before else 0.0
            sent.setdefault(self._sign * key, moved)
        return list(sent.items())

    def _worst(self) -> float:
        """The worst key that is shown."""
        shown = self._keys[-self._levels :]
        return shown[0] if len(shown) == self._levels else float("-inf")

    def _set(self, key: float, quantity: float) -> None:
        if quantity:
            if key not in self._sizes:
                insort(self._keys, key)
            self._sizes[key] = quantity
        elif self._sizes.pop(key, None) is not None:
            del self._keys[bisect_left(self._keys, key)]

"""Bybit's books: the windows of each depth, the top and the full book."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import attrs

from farm.testing.simulator.bybit.speech import Voice
from farm.testing.simulator.candles import SECOND
from farm.testing.simulator.matching import BookSide, MatchingBook, MatchResult
from farm.testing.simulator.writer import MILLISECOND, Timer
from farm.testing.source import Push, full_book_reply

__all__ = ["FullBook", "TopOfBook", "Windows"]

_TOP_PERIOD = 10 * MILLISECOND
_TOP_REPEAT = 3 * SECOND
_MOST_LEVELS = 10_000


@attrs.define(eq=False)
class _Window:
    """The best levels of one depth as clients know them; ``update_id`` is private to the depth."""

    depth: int
    topic: str
    update_id: int
    bids: dict[int, int] = attrs.Factory(dict)
    asks: dict[int, int] = attrs.Factory(dict)
    dirty: bool = False
    told: int = 0

    def read(self, book: MatchingBook) -> None:
        self.bids, self.asks = _best(book.bids, self.depth), _best(book.asks, self.depth)


class Windows:
    """Each depth in deltas from the snapshot that it opens with."""

    def __init__(self, voice: Voice, book: MatchingBook, first_id: Callable[[], int]) -> None:
        self._voice = voice
        self._book = book
        depths = voice.speech.depths
        self._windows = [
            _Window(depth, f"orderbook.{depth}.{voice.symbol}", first_id()) for depth in depths
        ]
        self.timers = [
            Timer(depths[window.depth], self._speaker(window)) for window in self._windows
        ]

    def opening(self, now: int) -> Iterator[Push]:
        for window in self._windows:
            window.read(self._book)
            text = _text(self._voice, now, window, "snapshot", window.bids, window.asks)
            yield Push(now, window.topic, text, silent=True)

    def on_order(self, now: int, result: MatchResult) -> Iterator[Push]:  # noqa: ARG002
        for window in self._windows:
            window.dirty = True
        yield from ()

    def _speaker(self, window: _Window) -> Callable[[int], Iterator[Push]]:
        def say(now: int) -> Iterator[Push]:
            if not window.dirty:
                return
            window.dirty = False
            bids, asks = window.bids, window.asks
            window.read(self._book)
            bids, asks = _changes(bids, window.bids), _changes(asks, window.asks)
            if bids or asks:
                window.update_id += 1
                text = _text(self._voice, now, window, "delta", bids, asks)
                yield Push(now, window.topic, text)

        return say


class TopOfBook:
    """Depth 1 sends snapshots alone: a changed top under the next ``u``, the same top every three
    seconds under the same ``u``."""

    def __init__(self, voice: Voice, book: MatchingBook, first_id: Callable[[], int]) -> None:
        self._voice = voice
        self._book = book
        self._window = _Window(1, f"orderbook.1.{voice.symbol}", first_id())
        self.timers = (Timer(_TOP_PERIOD, self._say),)

    def opening(self, now: int) -> Iterator[Push]:
        self._window.read(self._book)
        yield attrs.evolve(self._snapshot(now), silent=True)

    def on_order(self, now: int, result: MatchResult) -> Iterator[Push]:  # noqa: ARG002
        self._window.dirty = True
        yield from ()

    def _say(self, now: int) -> Iterator[Push]:
        window = self._window
        if window.dirty:
            window.dirty = False
            before = window.bids, window.asks
            window.read(self._book)
            if (window.bids, window.asks) != before:
                window.update_id += 1
                yield self._snapshot(now)
        if now - window.told >= _TOP_REPEAT:
            yield self._snapshot(now)

    def _snapshot(self, now: int) -> Push:
        window = self._window
        window.told = now
        text = _text(self._voice, now, window, "snapshot", window.bids, window.asks)
        return Push(now, window.topic, text)


class FullBook:
    """Every level in deltas alone; where they start is for REST to say."""

    def __init__(self, voice: Voice, book: MatchingBook, first_id: int, period: int) -> None:
        self._voice = voice
        self._book = book
        self._window = _Window(_MOST_LEVELS, f"orderbook.full.{voice.symbol}", first_id)
        self._touched: dict[tuple[bool, int], None] = {}
        self.timers = (Timer(period, self._say),)

    def opening(self, now: int) -> Iterator[Push]:
        voice, ms = self._voice, now // MILLISECOND
        self._window.read(self._book)
        data = _data(voice, self._window, self._window.bids, self._window.asks)
        text = (
            f'{{"retCode":0,"retMsg":"OK","result":{data.removesuffix("}")},"ts":{ms},'
            f'"cts":{voice.engine_ms}}},"retExtInfo":{{}},"time":{ms}}}'
        )
        yield Push(now, full_book_reply(voice.symbol), text, silent=True)

    def on_order(self, now: int, result: MatchResult) -> Iterator[Push]:  # noqa: ARG002
        self._touched.update(result.touched)
        yield from ()

    def _say(self, now: int) -> Iterator[Push]:
        if not self._touched:
            return
        bids, asks = (
            {price: side.totals.get(price, 0) for is_bid, price in self._touched if is_bid is mine}
            for side, mine in ((self._book.bids, True), (self._book.asks, False))
        )
        self._touched.clear()
        self._window.update_id += 1
        text = _text(self._voice, now, self._window, "delta", bids, asks)
        yield Push(now, self._window.topic, text)


def _text(
    voice: Voice, now: int, window: _Window, kind: str, bids: dict[int, int], asks: dict[int, int]
) -> str:
    data = _data(voice, window, bids, asks)
    return voice.message(kind, window.topic, now, data, f',"cts":{voice.engine_ms}')


def _data(voice: Voice, window: _Window, bids: dict[int, int], asks: dict[int, int]) -> str:
    return (
        f'{{"s":"{voice.symbol}","b":{voice.levels(bids, is_bid=True)},'
        f'"a":{voice.levels(asks, is_bid=False)},"u":{window.update_id},"seq":{voice.seq}}}'
    )


def _best(side: BookSide, depth: int) -> dict[int, int]:
    return {price: side.totals[price] for price in side.top(depth)}


def _changes(known: dict[int, int], current: dict[int, int]) -> dict[int, int]:
    """What makes `known` into `current`: new and changed levels, and 0 for those that left."""
    changes = {price: lots for price, lots in current.items() if known.get(price) != lots}
    for price in known:
        if price not in current:
            changes[price] = 0
    return changes

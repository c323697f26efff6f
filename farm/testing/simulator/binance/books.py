"""Binance's books: quotes, diffs of each speed, partial books and the REST snapshot.

Spot: each changed level takes the next update id, so a diff starts one after the last one's end.
Futures: ids are spent elsewhere too, so a diff starts at its own first change and names the end
of the one before (``pu``). In both, a bookTicker whose ``u`` is a diff's final ``u`` is the top
of the book after that diff.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator

import attrs

from farm.testing.simulator.binance.speech import Voice
from farm.testing.simulator.matching import MatchingBook, MatchResult
from farm.testing.simulator.writer import MILLISECOND, Timer
from farm.testing.source import Push, depth_reply

__all__ = ["FuturesBooks", "SpotBooks"]

_PARTIAL_DEPTHS = (5, 10, 20)
_SNAPSHOT_LEVELS = 5000


@attrs.define(eq=False)
class _Window:
    """Levels changed since the last diff of one speed, which ended at ``previous``."""

    suffix: str
    previous: int
    first: int = 0
    dirty: dict[tuple[bool, int], None] = attrs.Factory(dict)

    def touch(self, level: tuple[bool, int], update_id: int) -> None:
        if not self.dirty:
            self.first = update_id
        self.dirty[level] = None

    def close(self, update_id: int) -> None:
        self.previous = update_id
        self.dirty.clear()


class _Books(ABC):
    """``T`` in texts is when the book last changed, ``E`` when they are sent, both ms."""

    def __init__(
        self, voice: Voice, book: MatchingBook, rng: random.Random, update_id: int
    ) -> None:
        self._voice = voice
        self._book = book
        self._rng = rng
        self._update_id = update_id
        self._engine_ms = 0
        self._top: tuple[int, int, int, int] = (0, 0, 0, 0)
        speeds = voice.speech.depth_speeds
        self._windows = [_Window(suffix, update_id) for suffix, _ in speeds]
        self.timers = [
            Timer(period, self._speaker(window))
            for window, (_, period) in zip(self._windows, speeds, strict=True)
        ]

    def opening(self, now: int) -> Iterator[Push]:
        self._engine_ms = now // MILLISECOND
        self._top = self._read_top()
        text = self._snapshot()
        yield Push(now, depth_reply(self._voice.instrument.symbol), text, silent=True)

    def on_order(self, now: int, result: MatchResult) -> Iterator[Push]:
        if result.touched:
            self._engine_ms = now // MILLISECOND
        for level in result.touched:
            self._update_id += self._step()
            for window in self._windows:
                window.touch(level, self._update_id)
        if (top := self._read_top()) != self._top:
            self._top = top
            yield Push(now, self._voice.stream("bookTicker"), self._quote(now // MILLISECOND))

    def _speaker(self, window: _Window) -> Callable[[int], Iterator[Push]]:
        def say(now: int) -> Iterator[Push]:
            if not window.dirty:
                return
            ms = now // MILLISECOND
            bids = self._changes(window, is_bid=True)
            asks = self._changes(window, is_bid=False)
            stream = self._voice.stream(f"depth{window.suffix}")
            yield Push(now, stream, self._diff(ms, window, bids, asks))
            for depth in _PARTIAL_DEPTHS:
                stream = self._voice.stream(f"depth{depth}{window.suffix}")
                yield Push(now, stream, self._partial(ms, window, *self._best(depth)))
            window.close(self._update_id)

        return say

    def _changes(self, window: _Window, *, is_bid: bool) -> str:
        prices = sorted((price for side, price in window.dirty if side is is_bid), reverse=is_bid)
        return self._voice.spelling.levels(prices, self._book.side(is_bid).totals)

    def _best(self, depth: int) -> tuple[str, str]:
        spell, bids, asks = self._voice.spelling.levels, self._book.bids, self._book.asks
        return spell(bids.top(depth), bids.totals), spell(asks.top(depth), asks.totals)

    def _read_top(self) -> tuple[int, int, int, int]:
        bids, asks = self._book.bids, self._book.asks
        return bids.best, bids.totals[bids.best], asks.best, asks.totals[asks.best]

    def _top_text(self) -> str:
        bid, bid_lots, ask, ask_lots = self._top
        price, size = self._voice.spelling.price, self._voice.spelling.size
        return (
            f'"b":"{price(bid)}","B":"{size(bid_lots)}","a":"{price(ask)}","A":"{size(ask_lots)}"'
        )

    @abstractmethod
    def _step(self) -> int:
        """How far the next update id is."""

    @abstractmethod
    def _snapshot(self) -> str: ...

    @abstractmethod
    def _quote(self, ms: int) -> str: ...

    @abstractmethod
    def _diff(self, ms: int, window: _Window, bids: str, asks: str) -> str: ...

    @abstractmethod
    def _partial(self, ms: int, window: _Window, bids: str, asks: str) -> str: ...


class SpotBooks(_Books):
    """Spot: partial books and quotes carry no time and no type."""

    def __init__(self, voice: Voice, book: MatchingBook, rng: random.Random) -> None:
        super().__init__(voice, book, rng, rng.randrange(40_000_000_000, 90_000_000_000))

    def _step(self) -> int:
        return 1

    def _snapshot(self) -> str:
        bids, asks = self._best(_SNAPSHOT_LEVELS)
        return f'{{"lastUpdateId":{self._update_id},"bids":[{bids}],"asks":[{asks}]}}'

    def _quote(self, ms: int) -> str:  # noqa: ARG002
        return f'{{"u":{self._update_id},{self._voice.named},{self._top_text()}}}'

    def _diff(self, ms: int, window: _Window, bids: str, asks: str) -> str:
        return (
            f'{{"e":"depthUpdate","E":{ms},{self._voice.named},"U":{window.first},'
            f'"u":{self._update_id},"b":[{bids}],"a":[{asks}]}}'
        )

    def _partial(
        self,
        ms: int,  # noqa: ARG002
        window: _Window,  # noqa: ARG002
        bids: str,
        asks: str,
    ) -> str:
        return f'{{"lastUpdateId":{self._update_id},"bids":[{bids}],"asks":[{asks}]}}'


class FuturesBooks(_Books):
    """USD-M and COIN-M: everything is timed, and a partial book has the shape of a diff."""

    def __init__(self, voice: Voice, book: MatchingBook, rng: random.Random) -> None:
        start = rng.randrange(11_000_000_000_000, 12_000_000_000_000)
        super().__init__(voice, book, rng, start)

    def _step(self) -> int:
        return self._rng.randint(2, 60)

    def _snapshot(self) -> str:
        bids, asks = self._best(_SNAPSHOT_LEVELS)
        contract, names = self._voice.instrument.contract, ""
        if self._voice.speech.pair_follows_symbol:
            names = f'"symbol":"{self._voice.instrument.symbol}","pair":"{contract.pair}",'
        return (
            f'{{"lastUpdateId":{self._update_id},"E":{self._engine_ms},"T":{self._engine_ms},'
            f'{names}"bids":[{bids}],"asks":[{asks}]}}'
        )

    def _quote(self, ms: int) -> str:
        return (
            f'{{"e":"bookTicker","u":{self._update_id},{self._voice.paired},{self._top_text()},'
            f'"T":{self._engine_ms},"E":{ms}{self._voice.universe}}}'
        )

    def _diff(self, ms: int, window: _Window, bids: str, asks: str) -> str:
        return (
            f'{{"e":"depthUpdate","E":{ms},"T":{self._engine_ms},{self._voice.named},'
            f'"U":{window.first},"u":{self._update_id},"pu":{window.previous},'
            f'"b":[{bids}],"a":[{asks}]{self._voice.ends}'
        )

    def _partial(self, ms: int, window: _Window, bids: str, asks: str) -> str:
        return self._diff(ms, window, bids, asks)

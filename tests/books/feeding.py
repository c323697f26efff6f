"""Hands updates and quotes to the keeper of one book."""

from __future__ import annotations

from typing import Any

from farm.books.sync import make_sync
from farm.entities import BookUpdate, Gap, Level, OrderBook, Quote
from farm.exchanges.streams import Stream
from farm.types import BookVerdict, GapCause
from tests.exchanges.feeding import (
    BINANCE_COINM,
    BINANCE_SPOT,
    BINANCE_USDM,
    BYBIT_LINEAR,
    BYBIT_OPTION,
    BYBIT_SPOT,
    SECOND,
    T0,
)

SPOT = BINANCE_SPOT.streams.stream("BTCUSDT", "book")
USDM = BINANCE_USDM.streams.stream("BTCUSDT", "book")
COINM = BINANCE_COINM.streams.stream("BTCUSD_PERP", "book@0ms")
FULL = BYBIT_SPOT.streams.stream("BTCUSDT", "book:full")
DELTA = BYBIT_LINEAR.streams.stream("BTCUSDT", "book")
OPTION = BYBIT_OPTION.streams.stream("BTC-25JUN27-106000-C-USDT", "book:25")
PART = BINANCE_SPOT.streams.stream("BTCUSDT", "book:20")
FUTURES_PART = BINANCE_USDM.streams.stream("BTCUSDT", "book:20")

SYNCING, VERIFIED, SUSPECT = BookVerdict.SYNCING, BookVerdict.VERIFIED, BookVerdict.SUSPECT
STALE, UNVERIFIABLE = BookVerdict.STALE, BookVerdict.UNVERIFIABLE

Rows = dict[int, int]


class Feed:
    """Hands updates and quotes to one BookSync, a second apart.

    Nobody says when snapshots are asked for, unless `paced`.
    """

    def __init__(self, stream: Stream, *, paced: bool = False, levels: int = 1000) -> None:
        self.sync: Any = make_sync(stream, paced=paced, snapshot_levels=levels)
        self.stream = stream
        self.time = T0
        self.asks = 0

    def update(
        self,
        ids: tuple[int, int] | int,
        bids: Rows | None = None,
        asks: Rows | None = None,
        *,
        snapshot: bool = False,
        seq: int | None = None,
        pu: int | None = None,
    ) -> BookVerdict:
        first, last = (ids, ids) if isinstance(ids, int) else ids
        self.time += SECOND
        sides = [
            [Level(float(price), float(size)) for price, size in (rows or {}).items()]
            for rows in (bids, asks)
        ]
        stream, syncing = self.stream, BookVerdict.SYNCING
        update = BookUpdate(
            stream.exchange, stream.market, stream.symbol, stream.depth, snapshot, *sides,
            first, last, pu, seq, syncing, self.time, self.time, self.time, 0,
        )  # fmt: skip
        self.sync.update(update)
        assert update.verdict is self.sync.verdict
        self._take_requests()
        return update.verdict

    def diff(
        self, pu: int, first: int, last: int, bids: Rows | None = None, asks: Rows | None = None
    ) -> BookVerdict:
        """A diff of Binance futures."""
        return self.update((first, last), bids, asks, pu=pu)

    def snapshot(
        self,
        last: int,
        bids: Rows | None = None,
        asks: Rows | None = None,
        *,
        seq: int | None = None,
    ) -> BookVerdict:
        return self.update(last, bids, asks, snapshot=True, seq=seq)

    def quote(self, update_id: int, bid: tuple[int, int], ask: tuple[int, int]) -> BookVerdict:
        self.time += SECOND
        s = self.stream
        numbers = [float(n) for n in (*bid, *ask)]
        quote = Quote(s.exchange, s.market, s.symbol, *numbers, update_id, None, None, self.time, 3)
        self.sync.quote(quote)
        self._take_requests()
        return self.verdict

    def lost(self) -> BookVerdict:
        self.sync.lost(self.time)
        self._take_requests()
        return self.verdict

    @property
    def verdict(self) -> BookVerdict:
        verdict: BookVerdict = self.sync.verdict
        return verdict

    def shown(self) -> tuple[Rows, Rows]:
        return shown(self.sync.book())

    def requests(self) -> int:
        asks, self.asks = self.asks, 0
        return asks

    def gaps(self) -> list[tuple[GapCause, int | None, int | None]]:
        return [(gap.cause, gap.first_id, gap.last_id) for gap in self.records()]

    def records(self) -> list[Gap]:
        """The gaps that were noted since the last look."""
        found: list[Gap] = self.sync.gaps
        self.sync.gaps = []
        assert all(gap.feed == self.stream.feed for gap in found)
        return found

    def _take_requests(self) -> None:
        self.asks += self.sync.wants_resync
        self.sync.wants_resync = False


def shown(book: OrderBook) -> tuple[Rows, Rows]:
    """The levels of a book, as the integers they were made of."""
    bids, asks = (
        {int(level.price): int(level.quantity) for level in side} for side in (book.bids, book.asks)
    )
    return bids, asks

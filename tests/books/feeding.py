"""Hands updates and quotes to the keeper of one book."""

from __future__ import annotations

from farm.books.sync import make_sync
from farm.entities import BookUpdate, Gap, Level, OrderBook, Quote
from farm.exchanges.streams import Stream
from farm.types import BookVerdict, GapCause
from tests.exchanges.feeding import BINANCE_SPOT, BYBIT_LINEAR, SECOND, T0

FULL = BINANCE_SPOT.streams.stream("BTCUSDT", "book")
PART = BINANCE_SPOT.streams.stream("BTCUSDT", "book:20")
DELTA = BYBIT_LINEAR.streams.stream("BTCUSDT", "book")
SYNCING, VERIFIED, SUSPECT = BookVerdict.SYNCING, BookVerdict.VERIFIED, BookVerdict.SUSPECT
STALE, UNVERIFIABLE = BookVerdict.STALE, BookVerdict.UNVERIFIABLE

Rows = dict[int, int]


class Feed:
    """Hands updates and quotes to one BookSync, a second apart."""

    def __init__(self, stream: Stream) -> None:
        self.sync = make_sync(stream)
        self.stream = stream
        self.time = T0
        self.asked = 0

    def update(
        self,
        ids: tuple[int, int] | int,
        bids: Rows | None = None,
        asks: Rows | None = None,
        *,
        snapshot: bool = False,
        seq: int | None = None,
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
            first, last, None, seq, syncing, self.time, self.time, self.time, 0,
        )  # fmt: skip
        self.sync.update(update)
        assert update.verdict is self.sync.verdict
        self._take_requests()
        return update.verdict

    def snapshot(
        self, last: int, bids: Rows | None = None, asks: Rows | None = None
    ) -> BookVerdict:
        return self.update(last, bids, asks, snapshot=True)

    def quote(self, update_id: int, bid: tuple[int, int], ask: tuple[int, int]) -> BookVerdict:
        self.time += SECOND
        s = self.stream
        numbers = [float(n) for n in (*bid, *ask)]
        quote = Quote(s.exchange, s.market, s.symbol, *numbers, update_id, None, None, self.time, 3)
        self.sync.quote(quote)
        self._take_requests()
        return self.sync.verdict

    def lost(self) -> BookVerdict:
        self.sync.lost(self.time)
        self._take_requests()
        return self.sync.verdict

    def requests(self) -> int:
        asked, self.asked = self.asked, 0
        return asked

    def gaps(self) -> list[tuple[GapCause, int | None, int | None]]:
        found: list[Gap] = self.sync.gaps
        self.sync.gaps = []
        assert all(gap.feed == self.stream.feed for gap in found)
        return [(gap.cause, gap.first_id, gap.last_id) for gap in found]

    def _take_requests(self) -> None:
        self.asked += self.sync.wants_resync
        self.sync.wants_resync = False


def shown(book: OrderBook) -> tuple[Rows, Rows]:
    """The levels of a book, as the integers they were made of."""
    bids, asks = (
        {int(level.price): int(level.quantity) for level in side} for side in (book.bids, book.asks)
    )
    return bids, asks

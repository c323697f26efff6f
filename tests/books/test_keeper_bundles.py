"""What bundles tell a keeper of the connection: asked, down, dropped."""

from __future__ import annotations

from typing import Any

import pytest

from farm.batch import Batch, Origin
from farm.books.base import STOOD
from farm.books.keeper import BookKeeper
from farm.bundle import Bundle
from farm.entities import BookUpdate, Gap, Level, Quote
from farm.exchanges.streams import Stream
from farm.types import BookVerdict, GapCause
from tests.books.feeding import STALE, SYNCING, VERIFIED
from tests.exchanges.feeding import BINANCE_SPOT, BINANCE_USDM, SECOND, T0

TABLE = BINANCE_USDM.streams
BTC, ETH = TABLE.stream("BTCUSDT", "book"), TABLE.stream("ETHUSDT", "book")


class Keeping:
    """A keeper of futures books: hands it bundles, a second apart, and hears what it asks for."""

    def __init__(self, *streams: Stream, **options: Any) -> None:
        self.streams = list(streams or (BTC, ETH))
        self.asks: list[tuple[str, int]] = []
        self.keeper = BookKeeper(
            lambda: self.streams,
            lambda stream, need: self.asks.append((stream.symbol, need)),
            **options,
        )
        self.time, self.serial = T0, 0

    def take(self, *rows: Any, **told: Any) -> Bundle:
        self.time += SECOND
        self.serial += 1
        origin = Origin(BTC.exchange, BTC.market, "c", 1)
        batches = []
        for kind in dict.fromkeys(type(row) for row in rows):
            of_kind = [row for row in rows if type(row) is kind]
            batches.append(Batch(kind, rows=of_kind, origins=[(origin, len(of_kind))]))
        return self.keeper.take(Bundle(origin, self.serial, self.time, batches, **told))

    def diff(self, stream: Stream, pu: int, u: int, price: int = 10) -> BookUpdate:
        return self._update(stream, u, pu, [Level(float(price), 1.0)], [])

    def snapshot(self, stream: Stream, u: int) -> BookUpdate:
        return self._update(stream, u, None, [Level(9.0, 1.0)], [Level(11.0, 1.0)])

    def quote(self, stream: Stream, u: int, bid: float) -> Quote:
        numbers = (bid, 1.0, 11.0, 1.0)
        return Quote(
            stream.exchange, stream.market, stream.symbol, *numbers, u, None, None, self.time, 0
        )

    def _update(
        self, stream: Stream, u: int, pu: int | None, bids: list[Any], asks: list[Any]
    ) -> BookUpdate:
        return BookUpdate(
            stream.exchange, stream.market, stream.symbol, stream.depth, pu is None, bids, asks,
            u, u, pu, None, SYNCING, None, None, self.time, 0,
        )  # fmt: skip

    def stand(self, at: int = 100) -> None:
        """Both books stand at this id."""
        self.take(*(self.diff(stream, at - 1, at) for stream in self.streams))
        self.take(*(self.snapshot(stream, at) for stream in self.streams))
        assert set(self.verdicts().values()) == {VERIFIED}
        self.asks.clear()

    def verdicts(self) -> dict[str, BookVerdict]:
        return {book.stream.symbol: book.verdict for book in self.keeper.books}

    def buffered(self) -> dict[str, int]:
        return {book.stream.symbol: len(book._buffer) for book in self.keeper.books}  # type: ignore[attr-defined]


def test_buffering_begins_with_the_bundle_that_says_asked() -> None:
    keeping = Keeping()
    keeping.take(keeping.diff(BTC, 9, 10), keeping.diff(ETH, 9, 10))
    assert [symbol for symbol, _ in keeping.asks] == ["BTCUSDT", "ETHUSDT"]
    assert keeping.buffered() == {"BTCUSDT": 0, "ETHUSDT": 0}
    keeping.take(keeping.diff(BTC, 10, 11), keeping.diff(ETH, 10, 11), asked=(BTC.feed,))
    assert keeping.buffered() == {"BTCUSDT": 2, "ETHUSDT": 0}
    keeping.take(keeping.snapshot(BTC, 10), asked=("binance/usdm/XRPUSDT/book",))
    assert keeping.verdicts() == {"BTCUSDT": VERIFIED, "ETHUSDT": SYNCING}


def test_a_book_may_be_asked_for_before_its_first_update() -> None:
    keeping = Keeping(BTC)
    keeping.streams.append(ETH)  # as of a subscription just now
    keeping.take(asked=(ETH.feed,))
    keeping.take(keeping.diff(ETH, 9, 10))
    assert keeping.buffered() == {"BTCUSDT": 0, "ETHUSDT": 1}


def test_where_nobody_asks_it_buffers_from_the_first_diff() -> None:
    keeping = Keeping(paced=False)
    keeping.take(keeping.diff(BTC, 9, 10))
    assert keeping.buffered() == {"BTCUSDT": 1, "ETHUSDT": 0}


def test_the_need_of_a_book_that_had_stood_is_the_greater() -> None:
    keeping = Keeping()
    keeping.take(*(keeping.diff(BTC, n - 1, n) for n in range(10, 20)))
    keeping.stand(100)
    keeping.streams.append(TABLE.stream("XRPUSDT", "book"))
    keeping.take(keeping.diff(keeping.streams[-1], 9, 10), keeping.diff(BTC, 200, 201))
    keeping.take(keeping.diff(BTC, 201, 202))
    assert keeping.asks == [("XRPUSDT", 1), ("BTCUSDT", STOOD)]
    for n in range(20):
        keeping.take(keeping.diff(BTC, 202 + n, 203 + n))
    assert keeping.asks[2:] == [("BTCUSDT", STOOD + 16)]  # repeated, with the need of then


@pytest.mark.parametrize(
    ("down", "stale"),
    [
        (None, {"BTCUSDT", "ETHUSDT"}),
        (frozenset({ETH.feed, "binance/usdm/ETHUSDT/trade"}), {"ETHUSDT"}),
        (frozenset(), set()),
    ],
)
def test_the_end_of_a_lane_ends_the_books_that_nothing_carries_any_more(
    down: frozenset[str] | None, stale: set[str]
) -> None:
    keeping = Keeping()
    keeping.stand(100)
    keeping.take(ended="reset by peer", down=down)
    assert {symbol for symbol, verdict in keeping.verdicts().items() if verdict is STALE} == stale
    keeping.take(*(keeping.diff(stream, 100, 101) for stream in (BTC, ETH)))
    assert {symbol for symbol, verdict in keeping.verdicts().items() if verdict is STALE} == stale


def test_feeds_found_dead_on_a_connection_that_goes_on_end_their_books() -> None:
    keeping = Keeping()
    keeping.stand(100)
    keeping.take(down=frozenset({BTC.feed}))
    assert keeping.verdicts() == {"BTCUSDT": STALE, "ETHUSDT": VERIFIED}


def test_a_dropped_book_is_forgotten_and_what_is_under_way_passed_over() -> None:
    keeping = Keeping()
    keeping.stand(100)
    keeping.streams.remove(BTC)
    told = keeping.take(keeping.diff(BTC, 200, 201), dropped=(BTC.feed, "binance/usdm/BTCUSDT/x"))
    assert [gap.cause for gap in told.batches[-1]] == [GapCause.SEQUENCE_BREAK]
    assert keeping.asks == []  # nobody wants its snapshot
    assert list(keeping.verdicts()) == ["ETHUSDT"]
    late = keeping.diff(BTC, 201, 202)
    lost = Gap(
        BTC.exchange, BTC.market, "BTCUSDT", BTC.feed, "a>b", GapCause.OVERFLOW,
        None, None, 1, 1, None, told.batches[-1][0].unit, False, 1, 0,
    )  # fmt: skip
    keeping.take(late, keeping.quote(BTC, 202, 1.0), lost, asked=(BTC.feed,))
    assert late.verdict is SYNCING
    assert list(keeping.verdicts()) == ["ETHUSDT"]
    assert keeping.keeper._checked.keys() == {"ETHUSDT"}


def test_a_dropped_book_that_is_collected_again_begins_anew() -> None:
    keeping = Keeping()
    keeping.stand(100)
    keeping.take(dropped=(ETH.feed,))
    keeping.take(keeping.diff(ETH, 100, 101))
    assert keeping.verdicts() == {"BTCUSDT": VERIFIED, "ETHUSDT": SYNCING}
    assert keeping.asks == [("ETHUSDT", 1)]


def test_of_two_speeds_of_one_book_the_first_is_kept() -> None:
    fast = TABLE.stream("BTCUSDT", "book@0ms")
    assert fast.feed == BTC.feed
    keeping = Keeping(BTC, fast)
    keeping.stand(100)
    assert [book.stream for book in keeping.keeper.books] == [BTC]
    keeping.take(keeping.diff(BTC, 90, 101), keeping.diff(BTC, 100, 101), dropped=(BTC.feed,))
    assert list(keeping.keeper.books) == []


def test_quotes_of_a_whole_market_find_their_books_by_symbol() -> None:
    keeping = Keeping(BTC, ETH, TABLE.market_stream("quote"))
    keeping.stand(100)
    keeping.take(
        keeping.quote(ETH, 100, 5.0), keeping.quote(BTC, 100, 9.0), keeping.quote(BTC, 101, 10.0)
    )
    keeping.take(keeping.diff(BTC, 100, 101))
    assert keeping.verdicts() == {"BTCUSDT": VERIFIED, "ETHUSDT": BookVerdict.SUSPECT}
    assert [book.check.compared for book in keeping.keeper.books] == [2, 1]


def test_snapshot_levels_say_where_snapshots_are_cut() -> None:
    for levels, authoritative in [(1, False), (2, True)]:
        keeping = Keeping(BTC, snapshot_levels=levels)
        keeping.stand(100)
        keeping.take(keeping.diff(BTC, 100, 101, price=8))
        (book,) = keeping.keeper.books
        assert [level.authoritative for level in book.book().bids] == [True, authoritative]


def test_a_spot_book_is_kept_by_the_same_rules() -> None:
    stream = BINANCE_SPOT.streams.stream("BTCUSDT", "book")
    keeping = Keeping(stream)
    keeping.take(keeping.diff(stream, 9, 10), asked=(stream.feed,))
    keeping.take(keeping.diff(stream, 10, 11), keeping.snapshot(stream, 10))
    assert keeping.verdicts() == {"BTCUSDT": VERIFIED}

"""Which track an event belongs to, and by which feed a track is found."""

from __future__ import annotations

import attrs
import pytest

from farm.entities import BookUpdate, Kline, MarkPrice, Quote, SpentIds, Trade
from farm.exchanges.lanes.book_sequences import Diffs, Steps
from farm.exchanges.lanes.coverage import Coverage
from farm.exchanges.lanes.cut import Cut
from farm.exchanges.lanes.sequences import Sequence
from farm.exchanges.lanes.track_table import TrackTable
from farm.exchanges.lanes.tracks import Newest, Unique
from farm.exchanges.streams import Stream
from farm.types import TimeFrame
from tests.exchanges.lanes.copies import (
    AGG_TRADES,
    BYBIT_BOOK,
    BYBIT_QUOTES,
    CONTRACTS,
    EVERY,
    FULL_BOOK,
    MARK_PRICES,
    PARTIAL_BOOK,
    SPOT_BOOK,
    SPOT_KLINES,
    TICKERS,
    USDM_BOOK,
    USDM_TRADES,
    Copied,
)
from tests.exchanges.trading import BINANCE, USDM

PLACE = (5, 6)


def table(*streams: Stream) -> TrackTable:
    return TrackTable(lambda: streams, Coverage(), lambda _feed, _time: None)


@pytest.mark.parametrize("feed", EVERY, ids=str)
def test_the_track_of_a_feed_is_found_by_kind_and_by_feed(feed: Copied) -> None:
    tracks = table(*(other.stream for other in EVERY if other is not feed), feed.stream)
    row = feed.make(1, 0, PLACE)
    track = tracks.make(row)
    assert track.feed == feed.stream.feed
    assert list(tracks.of(feed.stream.feed)) == tracks.all() == [track]
    assert list(tracks.of_kind(type(row)).values()) == [track]
    tracks.drop(feed.stream.feed)
    assert tracks.all() == []
    assert tracks.of_kind(type(row)) == {}


@pytest.mark.parametrize(
    ("feed", "kind"),
    [
        (AGG_TRADES, Sequence),
        (SPOT_BOOK, Diffs),
        (USDM_BOOK, Diffs),
        (BYBIT_BOOK, Steps),
        (FULL_BOOK, Steps),
        (PARTIAL_BOOK, Newest),
        (SPOT_KLINES, Newest),
        (BYBIT_QUOTES, Unique),
        (CONTRACTS, Cut),
    ],
    ids=str,
)
def test_each_rule_has_its_track(feed: Copied, kind: type) -> None:
    assert type(table(feed.stream).make(feed.make(1, 0, PLACE))) is kind


def test_a_feed_of_several_intervals_or_depths_has_several_tracks() -> None:
    hours = attrs.evolve(SPOT_KLINES.stream, spec="kline:1h", interval=TimeFrame.H1)
    tracks = table(SPOT_KLINES.stream, hours, SPOT_BOOK.stream, PARTIAL_BOOK.stream)
    minute = SPOT_KLINES.make(1, 0, PLACE)
    assert tracks.make(minute).feed == SPOT_KLINES.stream.feed
    assert tracks.make(attrs.evolve(minute, interval=TimeFrame.H1)).feed == hours.feed
    assert type(tracks.make(SPOT_BOOK.make(1, 0, PLACE))) is Diffs
    assert type(tracks.make(PARTIAL_BOOK.make(1, 0, PLACE))) is Newest
    assert (len(tracks.of_kind(Kline)), len(tracks.of_kind(BookUpdate))) == (2, 2)


def test_spent_ids_share_the_track_of_trades() -> None:
    tracks = table(USDM_TRADES.stream)
    track = tracks.make(USDM_TRADES.make(3, 0, PLACE))
    assert isinstance(USDM_TRADES.make(3, 0, PLACE), SpentIds)
    assert tracks.of_kind(Trade) is tracks.of_kind(SpentIds)
    assert tracks.of_kind(Trade) == {"BTCUSDT": track}


def test_what_comes_out_of_another_kinds_stream_has_a_feed_of_its_own() -> None:
    tracks = table(TICKERS.stream)
    ticker = TICKERS.make(1, 0, PLACE)
    mark = MARK_PRICES.make(1, 0, PLACE)
    mark = attrs.evolve(mark, exchange=ticker.exchange, market=ticker.market)
    assert tracks.make(mark).feed == "bybit/linear/BTCUSDT/mark_price"
    assert tracks.make(mark).feed in TICKERS.stream.feeds


def test_the_stream_of_a_symbol_goes_before_that_of_the_market() -> None:
    single = USDM.streams.stream("BTCUSDT", "mark_price")
    tracks = table(MARK_PRICES.stream, single)
    mark = MARK_PRICES.make(1, 0, PLACE)
    assert tracks.make(mark).feed == single.feed
    other = attrs.evolve(mark, symbol="ETHUSDT")
    assert tracks.make(other).feed == MARK_PRICES.stream.feed
    assert set(tracks.of_kind(MarkPrice)) == {"BTCUSDT", "ETHUSDT"}


def test_symbols_without_an_identity_share_one_track() -> None:
    tracks = table(CONTRACTS.stream)
    ones = [tracks.make(CONTRACTS.make(n, 0, PLACE)) for n in (0, 1)]
    assert ones[0] is ones[1]
    assert tracks.all() == ones[:1]


def test_events_of_no_known_stream_have_a_track_all_the_same() -> None:
    tracks = table()
    quote = Quote(BINANCE, USDM.market, "X", 1.0, 1.0, 2.0, 1.0, 5, None, None, 1, 1)
    assert tracks.make(quote).feed == "binance/usdm/X/quote"
    assert type(tracks.make(SPOT_BOOK.make(1, 0, PLACE))) is Cut  # by which rule, is not known
    tracks.clear()
    assert tracks.all() == []

"""Counts of what each feed delivered."""

from __future__ import annotations

from typing import Any, TypeVar

import attrs
import pytest

from farm.batch import Batch
from farm.bundle import Bundle
from farm.entities import (
    AggTrade,
    BookUpdate,
    ContinuousKline,
    ContractInfo,
    Event,
    Gap,
    Instrument,
    Kline,
    Liquidation,
    MarkPrice,
    MiniTicker,
    OpenInterest,
    SpentIds,
    Ticker,
)
from farm.exchanges.registry import make_session
from farm.exchanges.rules import MarketRules
from farm.exchanges.session import Frames, Opened
from farm.monitor.feeds import FeedCounters, FeedCounts
from farm.types import BookVerdict, Exchange, GapCause, GapUnit, Market, TimeFrame
from tests.exchanges.binance import texts as binance
from tests.exchanges.bybit import texts as bybit
from tests.exchanges.feeding import ALL_RULES, T0
from tests.storage.events import NOON, ORIGIN, quote, trade, trades

E = TypeVar("E", bound=Event)

SPOT = (Exchange.BINANCE, Market.SPOT, "BTCUSDT")


def book(depth: int | None) -> BookUpdate:
    return BookUpdate(
        *SPOT, depth, False, [], [], 1, 1, None, None, BookVerdict.SYNCING, None, None, NOON, 0
    )


def kline(interval: TimeFrame) -> Kline:
    return Kline(
        *SPOT, interval, 0, 1, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, None, None, None, None, None, True,
        NOON, NOON, NOON, 0,
    )  # fmt: skip


def continuous(contract: str, interval: TimeFrame, pair: str = "BTCUSDT") -> ContinuousKline:
    fields = {field.name: getattr(kline(interval), field.name) for field in attrs.fields(Kline)}
    return ContinuousKline(**fields | {"symbol": pair, "contract_type": contract})


def blank(kind: type[E], symbol: str = "BTCUSDT", **more: Any) -> E:
    """An event of which only its place is looked at."""
    fields: dict[str, Any] = {field.name: None for field in attrs.fields(kind)}
    place = {"exchange": SPOT[0], "market": SPOT[1], "symbol": symbol, "receive_time": NOON}
    return kind(**fields | place | more)


def gap(feed: str) -> Gap:
    return Gap(
        *SPOT, feed, "venue", GapCause.DISCONNECT, None, None, None, None, None,
        GapUnit.UNKNOWN, False, NOON, 0,
    )  # fmt: skip


def counted(*batches: Batch[Any]) -> dict[str, FeedCounts]:
    counters = FeedCounters()
    for serial, batch in enumerate(batches):
        counters.count(Bundle(ORIGIN, serial, NOON, [batch]))
    return {name.removeprefix("binance/spot/"): feed for name, feed in counters.feeds.items()}


def test_events_count_by_feed_with_their_times() -> None:
    rows = [trade(0), trade(1, symbol="ETHUSDT"), trade(2)]
    mixed = Batch.of(rows)
    feeds = counted(trades([5]), mixed, trades([7, 9]))
    assert feeds == {
        "BTCUSDT/trade": FeedCounts(
            "binance/spot/BTCUSDT/trade", 5, 0, NOON + 5, NOON + 9, NOON + 9 - (NOON - 1)
        ),
        "ETHUSDT/trade": FeedCounts(
            "binance/spot/ETHUSDT/trade", 1, 0, NOON + 1, NOON + 1, NOON + 1 - (NOON - 1)
        ),
    }


@pytest.mark.parametrize(
    ("rows", "names"),
    [
        ([book(None), book(20), book(20)], {"BTCUSDT/book": 1, "BTCUSDT/book:20": 2}),
        (
            [kline(TimeFrame.M1), kline(TimeFrame.MO1), kline(TimeFrame.M1)],
            {"BTCUSDT/kline:1m": 2, "BTCUSDT/kline:1M": 1},
        ),
        ([quote(0)], {"BTCUSDT/quote": 1}),
        (
            [
                continuous("perpetual", TimeFrame.M1),
                continuous("current_quarter", TimeFrame.M1),
                continuous("perpetual", TimeFrame.MO1),
                continuous("perpetual", TimeFrame.M1),
                continuous("perpetual", TimeFrame.M1, "ETHUSDT"),
            ],
            {
                "BTCUSDT/continuous_kline:perpetual:1m": 2,
                "BTCUSDT/continuous_kline:current_quarter:1m": 1,
                "BTCUSDT/continuous_kline:perpetual:1M": 1,
                "ETHUSDT/continuous_kline:perpetual:1m": 1,
            },
        ),
        (
            [blank(MiniTicker, symbol) for symbol in ("A", "B", "A")],
            {"A/mini_ticker": 2, "B/mini_ticker": 1},
        ),
        *(
            (
                [blank(kind, "A"), blank(kind, "A"), blank(kind, "B")],
                {f"A/{word}": 2, f"B/{word}": 1},
            )
            for kind, word in [
                (AggTrade, "agg_trade"),
                (MarkPrice, "mark_price"),
                (Liquidation, "liquidation"),
                (OpenInterest, "open_interest"),
                (Ticker, "ticker"),
                (ContractInfo, "contract_info"),
                (Instrument, "instrument"),
                (SpentIds, "spent_ids"),
            ]
        ),
    ],
)
def test_what_tells_feeds_of_a_kind_apart(rows: list[Event], names: dict[str, int]) -> None:
    feeds = counted(Batch.of(rows))
    assert {name: feed.events for name, feed in feeds.items()} == names


def test_candles_of_a_contract_and_of_its_pair_are_two_feeds() -> None:
    feeds = counted(
        Batch.of([kline(TimeFrame.M1)]), Batch.of([continuous("perpetual", TimeFrame.M1)])
    )
    assert {name: feed.events for name, feed in feeds.items()} == {
        "BTCUSDT/kline:1m": 1,
        "BTCUSDT/continuous_kline:perpetual:1m": 1,
    }


def test_ids_spent_without_a_trade_are_no_trades() -> None:
    spent = blank(SpentIds, first_id=3, last_id=5, receive_time=NOON + 7, exchange_time=NOON)
    feeds = counted(trades([1, 2]), Batch.of([spent]))
    assert feeds["BTCUSDT/trade"].events == 2
    assert feeds["BTCUSDT/trade"].last_time == NOON + 2
    assert feeds["BTCUSDT/spent_ids"] == FeedCounts(
        "binance/spot/BTCUSDT/spent_ids", 1, 0, NOON + 7, NOON + 7, 7
    )


def test_a_stream_of_the_whole_market_counts_by_the_symbols_in_it() -> None:
    rows = [blank(MarkPrice, f"S{number}") for number in range(300)]
    feeds = counted(Batch.of(rows), Batch.of(rows[:100]))
    assert len(feeds) == 300
    assert [feed.events for feed in feeds.values()] == [2] * 100 + [1] * 200


def test_a_feed_that_ended_is_the_feed_that_comes_again() -> None:
    counters = FeedCounters()
    name = "binance/spot/BTCUSDT/trade"
    counters.count(Bundle(ORIGIN, 1, NOON, [trades([0])]))
    counters.expect(name).ended = "removed"
    counters.count(Bundle(ORIGIN, 2, NOON, [trades([1])]))
    assert (counters.feeds[name].events, counters.feeds[name].ended) == (2, "removed")


def test_one_symbol_on_two_markets_is_two_feeds() -> None:
    counters = FeedCounters()
    linear = trades([0], exchange=Exchange.BYBIT, market=Market.LINEAR)
    counters.count(Bundle(ORIGIN, 1, NOON, [trades([0])]))
    counters.count(Bundle(linear.origins[0][0], 1, NOON, [linear]))
    assert {name: feed.events for name, feed in counters.feeds.items()} == {
        "binance/spot/BTCUSDT/trade": 1,
        "bybit/linear/BTCUSDT/trade": 1,
    }


def test_gaps_count_with_the_feed_they_hit() -> None:
    name = "binance/spot/BTCUSDT/trade"
    feeds = counted(trades([0]), Batch.of([gap(name), gap(name), gap("other")]))
    assert (feeds["BTCUSDT/trade"].events, feeds["BTCUSDT/trade"].gaps) == (1, 2)
    assert (feeds["other"].events, feeds["other"].gaps) == (0, 1)


def test_a_feed_that_is_expected_is_listed_before_it_delivers() -> None:
    counters = FeedCounters()
    name = "binance/spot/BTCUSDT/trade"
    expected = counters.expect(name)
    assert counters.feeds == {name: FeedCounts(name)}
    counters.count(Bundle(ORIGIN, 1, NOON, [trades([0])]))
    assert counters.feeds == {name: expected}
    assert expected.events == 1


def test_lag_is_none_without_exchange_time_and_may_be_negative() -> None:
    assert counted(Batch.of([book(None)]))["BTCUSDT/book"].lag is None
    feeds = counted(trades([0], exchange_time=NOON + 1_200))
    assert feeds["BTCUSDT/trade"].lag == -1_200


@pytest.mark.parametrize("rules", ALL_RULES, ids=lambda rules: rules.key)
def test_counts_are_the_same_whether_rows_were_made_or_not(rules: MarketRules) -> None:
    """And the feed that a stream names is the one that its events name."""
    texts: Any = binance if rules.exchange is Exchange.BINANCE else bybit
    samples = [s for s in texts.samples(rules) if not s.stream.name.startswith("/")]
    session = make_session(rules, [], connection="c1", discover=True)
    session.handle(Opened(1, T0, 0.0))
    quick, slow = FeedCounters(), FeedCounters()
    for number in range(3):
        for sample in samples:
            frames = [sample.frame()] * (number + 1)
            bundle = session.handle(Frames(1, T0 + number, 1, frames, 0))
            if bundle is not None:
                quick.count(bundle)
                assert all(len(batch.rows) == len(batch) for batch in bundle.batches)
                slow.count(bundle)
    assert quick.feeds == slow.feeds
    assert quick.feeds

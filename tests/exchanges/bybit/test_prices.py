"""Particulars of Bybit's candles and tickers, whose changes are merged."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm.entities import Kline, MarkPrice, OpenInterest, Ticker
from farm.exchanges.rules import MarketRules
from farm.types import Market, NumberMode
from tests.exchanges.bybit.reading import Reader
from tests.exchanges.bybit.texts import LINEAR_TICKER, Sample, samples
from tests.exchanges.feeding import (
    BYBIT,
    BYBIT_LINEAR,
    BYBIT_OPTION,
    BYBIT_SPOT,
    Drive,
    Outcome,
    check_events,
    number_of,
    text,
)

MS = 1_000_000
modes = pytest.mark.parametrize("mode", list(NumberMode))


def drive(
    rules: MarketRules = BYBIT_LINEAR, *specs: str, mode: NumberMode = NumberMode.FLOAT
) -> Drive:
    driven = Drive(rules, specs or ["ticker"], numbers=mode, books=False)
    driven.open()
    return driven


def ticker(kind: str = "delta", symbol: str = "BTCUSDT", ts: int = 1, **data: Any) -> bytes:
    message = {"topic": f"tickers.{symbol}", "type": kind, "ts": ts, "cs": ts + 100}
    return text(message | {"data": {"symbol": symbol} | data})


SNAPSHOT = ticker("snapshot", **{k: v for k, v in LINEAR_TICKER.message["data"].items()
                                 if k != "symbol"})  # fmt: skip


# ---------------------------------------------------------------------------------------- candles
def candle(**changes: Any) -> dict[str, Any]:
    row = {"start": 0, "end": 59_999, "interval": "1", "confirm": True, "timestamp": 59_000}
    return (
        row | dict.fromkeys(("open", "close", "high", "low", "volume", "turnover"), "1") | changes
    )


def klines(*rows: dict[str, Any]) -> list[Kline]:
    message = {"topic": "kline.1.BTCUSDT", "type": "snapshot", "ts": 60_001, "data": list(rows)}
    return drive(BYBIT_LINEAR, "kline:1m").read(text(message)).only(Kline)


def test_a_message_may_hold_two_candles() -> None:
    rows = klines(candle(), candle(start=60_000, end=119_999, confirm=False, timestamp=60_001))
    assert [(row.row, row.closed, row.open_time) for row in rows] == [
        (0, True, 0),
        (1, False, 60_000 * MS),
    ]
    assert {row.trade_count for row in rows} == {None}


def test_a_candle_without_a_time_of_its_own_has_the_pushs() -> None:
    row = candle()
    del row["timestamp"]
    (kline,) = klines(row)
    assert kline.exchange_time == kline.event_time == 60_001 * MS


# ---------------------------------------------------------------------------------------- tickers
@modes
def test_a_change_is_merged_and_every_event_is_whole(mode: NumberMode) -> None:
    driven = drive(mode=mode)
    driven.read(SNAPSHOT)
    outcome = driven.read(ticker(bid1Price="65000.10", ts=5))
    (event,) = outcome.rows
    assert isinstance(event, Ticker)
    number = number_of(mode)
    assert (event.bid_price, event.bid_quantity) == (number("65000.10"), number("5.954"))
    assert (event.last_price, event.open_price) == (number("65114.30"), number("65008.70"))
    assert (event.event_time, event.exchange_time, event.sequence) == (5 * MS, 5 * MS, 105)


def test_a_snapshot_forgets_what_was_before() -> None:
    driven = drive()
    driven.read(SNAPSHOT)
    (event, mark) = driven.read(ticker("snapshot", lastPrice="1", markPrice="2")).rows[::-1]
    assert (event.last_price, event.bid_price, event.high_price) == (1.0, None, None)
    assert (mark.mark_price, mark.index_price, mark.funding_rate) == (2.0, None, None)


def test_each_symbol_has_its_own_ticker() -> None:
    driven = Drive(BYBIT_LINEAR, ["ticker"], ["BTCUSDT", "ETHUSDT"], books=False)
    driven.open()
    rows = driven.read(
        SNAPSHOT,
        ticker("snapshot", "ETHUSDT", lastPrice="1"),
        ticker("delta", "ETHUSDT", lastPrice="2"),
        ticker(lastPrice="3"),
    ).only(Ticker)
    assert [(row.symbol, row.last_price, row.high_price) for row in rows[1:]] == [
        ("ETHUSDT", 1.0, None),
        ("ETHUSDT", 2.0, None),
        ("BTCUSDT", 3.0, 65282.30),
    ]


@modes
def test_a_bad_change_is_kept_and_changes_nothing(mode: NumberMode) -> None:
    driven = drive(mode=mode)
    driven.read(SNAPSHOT)
    bad = [
        ticker(lastPrice="1", markPrice="NaN"),
        ticker(lastPrice="1", nextFundingTime="x"),
        ticker(lastPrice="1", nextFundingTime=[1]),
        ticker(lastPrice=""),
        ticker(lastPrice="1", bid1Price=None),
        ticker("other", lastPrice="1"),
    ]
    outcome = driven.read(*bad)
    assert [kept.raw for kept in outcome.unparsed] == bad
    assert outcome.rows == outcome.gaps
    feeds = {gap.feed.rpartition("/")[2] for gap in outcome.gaps}
    assert feeds == {"ticker", "mark_price", "open_interest"}  # any of them may have been in it
    (event,) = driven.read(ticker(volume24h="7")).rows
    assert (event.last_price, event.bid_price) == (
        number_of(mode)("65114.30"),
        number_of(mode)("65114.20"),
    )


@modes
def test_what_is_empty_is_none_and_may_come_back(mode: NumberMode) -> None:
    driven = drive(mode=mode)
    driven.read(SNAPSHOT)
    outcome = driven.read(ticker(fundingRate="", nextFundingTime="", prevPrice24h=""))
    (mark,) = outcome.only(MarkPrice)
    assert (mark.funding_rate, mark.next_funding_time) == (None, None)
    assert outcome.only(Ticker)[0].open_price is None
    (mark,) = driven.read(ticker(fundingRate="-0.1", nextFundingTime="7")).only(MarkPrice)
    assert (float(mark.funding_rate or 0), mark.next_funding_time) == (-0.1, 7 * MS)


@pytest.mark.parametrize("due", ["", "0", 0])
def test_a_dated_contract_has_no_funding(due: Any) -> None:
    driven = drive()
    data = LINEAR_TICKER.message["data"] | {"fundingRate": "", "nextFundingTime": due}
    (mark,) = driven.read(ticker("snapshot", **data)).only(MarkPrice)
    assert (mark.funding_rate, mark.next_funding_time) == (None, None)


def test_a_side_without_an_order_is_none() -> None:
    driven = drive()
    driven.read(SNAPSHOT)
    (event,) = driven.read(ticker(bid1Price="0", bid1Size="0")).only(Ticker)
    assert (event.bid_price, event.bid_quantity, event.ask_price) == (None, None, 65114.30)


@pytest.mark.parametrize(
    ("changes", "kinds"),
    [
        ({"lastPrice": "1"}, []),
        ({"bid1Size": "1"}, []),
        ({"price24hPcnt": "1", "tickDirection": "PlusTick"}, []),
        ({"markPrice": "1"}, [MarkPrice]),
        ({"indexPrice": "1"}, [MarkPrice]),
        ({"fundingRate": "0"}, [MarkPrice]),
        ({"nextFundingTime": "1"}, [MarkPrice]),
        ({"predictedDeliveryPrice": "1"}, [MarkPrice]),
        ({"openInterest": "1"}, [OpenInterest]),
        ({"openInterestValue": "1"}, [OpenInterest]),
        ({"openInterest": "1", "markPrice": "1"}, [MarkPrice, OpenInterest]),
    ],
    ids=str,
)
def test_events_of_their_own_come_where_their_fields_changed(
    changes: dict[str, str], kinds: list[type]
) -> None:
    driven = drive()
    driven.read(SNAPSHOT)
    rows = driven.read(ticker(**changes)).rows
    assert [type(row) for row in rows] == [*kinds, Ticker]


def test_without_a_mark_price_there_is_no_event_of_one() -> None:
    rows = drive().read(ticker("snapshot", lastPrice="1", indexPrice="2", openInterestValue="3"))
    assert [type(row) for row in rows.rows] == [Ticker]


def test_a_change_before_its_snapshot_is_counted_and_raises_nothing() -> None:
    driven = drive()
    outcome = driven.read(ticker(lastPrice="1", markPrice="2"))
    assert (outcome.rows, outcome.unparsed) == ([], [])
    assert driven.session.unknown_values == {"tickers: a delta before its snapshot": 1}
    assert driven.status("ticker").frames == 1


@modes
@pytest.mark.parametrize("rules", BYBIT, ids=lambda rules: rules.key)
def test_a_ticker_that_is_redelivered_is_the_same(rules: MarketRules, mode: NumberMode) -> None:
    (sample,) = (s for s in samples(rules) if s.spec == "ticker")
    driven = Drive(rules, ["ticker"], [sample.symbol], numbers=mode, books=False)
    driven.open()
    first = driven.read(sample.frame())
    driven.serial -= 1  # after a crash
    driven.ordinal -= 1
    driven.time -= driven.step
    again = driven.read(sample.frame())
    assert (again.rows, again.unparsed) == (first.rows, [])


def of_market(rules: MarketRules) -> Sample:
    return next(sample for sample in samples(rules) if sample.spec == "ticker")


def test_spot_has_neither_mark_price_nor_best_bid() -> None:
    driven = drive(BYBIT_SPOT)
    data = of_market(BYBIT_SPOT).message["data"]
    (event,) = driven.read(ticker("snapshot", **data)).rows
    assert isinstance(event, Ticker)
    assert event.bid_price is event.ask_price is None


def test_an_option_may_have_no_quote_and_implied_volatilities_of_nothing() -> None:
    sample = of_market(BYBIT_OPTION)
    driven = Drive(BYBIT_OPTION, ["ticker"], [sample.symbol], books=False)
    driven.open()
    none = [(("data", name), "0") for name in ("bidPrice", "bidSize", "bidIv")]
    (mark, interest, event) = driven.read(sample.frame(*none)).rows
    assert (event.bid_price, event.bid_quantity, event.bid_iv) == (None, None, 0.0)
    assert (event.delta, event.theta, event.mark_iv) == (-0.5, -40.0, 0.3868)
    assert (mark.funding_rate, mark.settle_price) == (None, 86000.0)
    assert (interest.open_interest, interest.value) == (59891.732, None)


# ------------------------------------------------------------------------- against a plain merge
FIELDS = {name: value for name, value in LINEAR_TICKER.message["data"].items() if name != "symbol"}
TEXTS = st.decimals(0, 10**9, places=4, allow_nan=False).map(lambda value: f"{value:f}")
REQUIRED = {"lastPrice", "markPrice", "openInterest"}


@st.composite
def changes(draw: st.DrawFn) -> dict[str, str]:
    """Some fields, with new values; what may be empty sometimes is."""
    names = draw(st.sets(st.sampled_from(sorted(FIELDS)), max_size=6))
    values = {}
    for name in names:
        if name == "nextFundingTime":
            values[name] = str(draw(st.integers(0, 10**12)))
        else:
            empty = st.nothing() if name in REQUIRED else st.just("")
            values[name] = draw(TEXTS | empty)
    return values


@given(
    st.lists(st.tuples(st.booleans(), changes()), max_size=12),
    st.sampled_from(NumberMode),
)
def test_any_changes_give_what_a_plain_merge_gives(
    steps: list[tuple[bool, dict[str, str]]], mode: NumberMode
) -> None:
    driven = drive(mode=mode)
    reader = Reader(Market.LINEAR, number_of(mode))
    frames = [SNAPSHOT]
    for number, (whole, changed) in enumerate(steps):
        data = FIELDS | changed if whole else changed
        frames.append(ticker("snapshot" if whole else "delta", ts=number + 2, **data))
    for frame in frames:
        outcome: Outcome = driven.read(frame)
        assert outcome.unparsed == []
        wanted = reader.readings(json.loads(frame))
        check_events(outcome.rows, wanted, time=driven.time, ordinal=driven.ordinal - 1)

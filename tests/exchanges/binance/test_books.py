"""Particulars of Binance's quotes, diffs, partial books and snapshots."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from farm.entities import BookUpdate, Quote
from farm.exchanges.rules import MarketRules
from farm.types import NumberMode
from tests.exchanges.feeding import (
    BINANCE,
    BINANCE_COINM,
    BINANCE_SPOT,
    BINANCE_USDM,
    Drive,
    binance_quote,
    combined,
    depth_body,
)

MS = 1_000_000
modes = pytest.mark.parametrize("mode", list(NumberMode))
futures = pytest.mark.parametrize("rules", [BINANCE_USDM, BINANCE_COINM], ids=lambda r: r.key)
LEVELS = {"b": [["100.5", "1"], ["100.4", "0"]], "a": [["100.6", "3"]]}
IDS = {"U": 7, "u": 9, "pu": 5}


def drive(rules: MarketRules, *specs: str, mode: NumberMode = NumberMode.FLOAT) -> Drive:
    driven = Drive(rules, specs, numbers=mode, books=False)
    driven.open()
    return driven


# ----------------------------------------------------------------------------------------- quotes
@modes
def test_an_empty_side_of_a_quote_is_none(mode: NumberMode) -> None:
    driven = drive(BINANCE_SPOT, "quote", mode=mode)
    (quote,) = driven.read(binance_quote(1, ("0.00000000", "0.00000000"), ("2.5", "3"))).rows
    assert (quote.bid_price, quote.bid_quantity) == (None, None)
    assert (quote.ask_price, quote.ask_quantity) == (Decimal("2.5"), Decimal(3))
    (quote,) = driven.read(binance_quote(2, ("2.5", "3"), ("0", "0"))).rows
    assert (quote.ask_price, quote.ask_quantity) == (None, None)


def futures_quote(symbol: str = "BTCUSDT", **changes: Any) -> dict[str, Any]:
    data = {"e": "bookTicker", "u": 5, "s": symbol, "b": "1", "B": "2", "a": "3", "A": "4"}
    return data | {"T": 1790000000122, "E": 1790000000123} | changes


@futures
def test_a_futures_quote_has_times(rules: MarketRules) -> None:
    frame = combined("btcusdt@bookTicker", futures_quote(b="0", B="0"))
    (quote,) = drive(rules, "quote").read(frame).rows
    assert (quote.exchange_time, quote.event_time) == (1790000000122 * MS, 1790000000123 * MS)
    assert (quote.bid_price, quote.bid_quantity, quote.ask_price) == (None, None, 3.0)


@futures
def test_quotes_of_the_whole_market_name_their_symbols_and_their_market(
    rules: MarketRules,
) -> None:
    driven = Drive(rules, whole=["quote"], books=False)
    driven.open()
    rows = [futures_quote("A", st=1), futures_quote("B", st=2), futures_quote("C")]
    quotes = driven.read(*(combined("!bookTicker", row) for row in rows)).only(Quote)
    ours = {1: "A", 2: "B"}[rules.universe or 0]
    assert [quote.symbol for quote in quotes] == [ours, "C"]  # before 2026 none was marked
    assert driven.session.foreign == {"!bookTicker": 1}
    assert driven.session.statuses["!bookTicker"].frames == 3


# ------------------------------------------------------------------------------------------ books
SPEEDS = [
    (rules, spec)
    for rules in BINANCE
    for spec in rules.streams.specs
    if spec == "book" or spec.startswith("book@")
]
DEPTHS = [
    (rules, spec) for rules in BINANCE for spec in rules.streams.specs if spec.startswith("book:")
]


def book_frame(rules: MarketRules, spec: str, **changes: Any) -> bytes:
    stream = rules.streams.stream("BTCUSDT", spec)
    if rules is BINANCE_SPOT and stream.depth is not None:
        return combined(stream.name, json.loads(depth_body(9, LEVELS["b"], LEVELS["a"])))
    data = {"e": "depthUpdate", "E": 1790000000123, "T": 1790000000122, "s": "BTCUSDT"}
    return combined(stream.name, data | IDS | LEVELS | changes)


@pytest.mark.parametrize(("rules", "spec"), SPEEDS, ids=lambda v: getattr(v, "key", v))
def test_diffs_come_at_each_speed_under_one_feed(rules: MarketRules, spec: str) -> None:
    driven = drive(rules, spec)
    (update,) = driven.read(book_frame(rules, spec)).rows
    assert isinstance(update, BookUpdate)
    assert (update.is_snapshot, update.depth) == (False, None)
    assert (update.first_id, update.last_id) == (7, 9)
    spot = rules is BINANCE_SPOT
    assert update.previous_id == (None if spot else 5)
    assert update.exchange_time == (1790000000123 if spot else 1790000000122) * MS
    assert [status.stream.feed for status in driven.session.statuses.values()] == [
        f"{rules.key}/BTCUSDT/book"
    ]


@pytest.mark.parametrize(("rules", "spec"), DEPTHS, ids=lambda v: getattr(v, "key", v))
def test_partial_books_of_each_depth_and_speed_are_whole(rules: MarketRules, spec: str) -> None:
    driven = drive(rules, spec)
    (update,) = driven.read(book_frame(rules, spec)).rows
    depth = int(spec.removeprefix("book:").partition("@")[0])
    assert (update.is_snapshot, update.depth, update.last_id) == (True, depth, 9)
    first_id = 9 if rules is BINANCE_SPOT else 7
    assert (update.first_id, update.bid_levels[0].price) == (first_id, 100.5)
    assert [status.stream.feed for status in driven.session.statuses.values()] == [
        f"{rules.key}/BTCUSDT/book:{depth}"
    ]


@futures
def test_the_first_book_of_all_has_none_before_it(rules: MarketRules) -> None:
    """A live frame of 2022 has `pu` -1."""
    (update,) = drive(rules, "book:5").read(book_frame(rules, "book:5", pu=-1, b=[])).rows
    assert (update.previous_id, update.bid_levels) == (-1, [])


def test_a_spot_diff_needs_no_pu_and_a_futures_one_does() -> None:
    stream = "btcusdt@depth@100ms"
    data = {"e": "depthUpdate", "E": 1790000000123, "T": 1790000000122, "U": 7, "u": 9}
    frame = combined(stream, data | LEVELS)
    assert len(drive(BINANCE_SPOT, "book").read(frame).rows) == 1
    outcome = drive(BINANCE_USDM, "book").read(frame)
    assert (len(outcome.unparsed), outcome.rows) == (1, [])  # its ids will show the hole


def test_two_speeds_of_one_book_are_not_mixed() -> None:
    driven = Drive(BINANCE_USDM, discover=True, books=False)
    driven.open()
    first, other = (book_frame(BINANCE_USDM, spec) for spec in ("book", "book@0ms"))
    assert len(driven.read(first).rows) == 1
    outcome = driven.read(other)
    assert [kept.kind for kept in outcome.unparsed] == ["btcusdt@depth@0ms"]
    assert outcome.rows == []


# -------------------------------------------------------------------------------------- snapshots
@modes
@pytest.mark.parametrize("rules", BINANCE, ids=lambda rules: rules.key)
def test_a_snapshot_by_rest(rules: MarketRules, mode: NumberMode) -> None:
    driven = drive(rules, "book", mode=mode)
    body = json.loads(depth_body(7, [["1.5", "2"]], []))
    if rules is not BINANCE_SPOT:
        body |= {"E": 1790000000123, "T": 1790000000122}
    (update,) = driven.snapshot(json.dumps(body).encode()).rows
    assert (update.is_snapshot, update.depth) == (True, None)
    assert (update.first_id, update.last_id, update.previous_id) == (7, 7, None)
    assert [(level.price, level.quantity) for level in update.bid_levels] == [(1.5, 2)]
    times = (update.exchange_time, update.event_time)
    spot = rules is BINANCE_SPOT
    assert times == ((None, None) if spot else (1790000000122 * MS, 1790000000123 * MS))


@modes
@pytest.mark.parametrize("bad", ["NaN", "-1", "inf", "x", ""])
def test_a_snapshot_with_an_impossible_level_is_none(mode: NumberMode, bad: str) -> None:
    driven = drive(BINANCE_USDM, "book", mode=mode)
    body = depth_body(7, [["1.5", "2"], ["1.4", bad]])
    outcome = driven.snapshot(body)
    assert ([kept.raw for kept in outcome.unparsed], outcome.rows) == ([body], [])
    assert len(driven.fetches()) == 1  # the book still waits for one

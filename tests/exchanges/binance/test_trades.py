"""Particulars of Binance's trades; that every field is right, the recordings and samples show."""

from __future__ import annotations

from typing import Any

import pytest

from farm.entities import AggTrade, SpentIds, Trade
from farm.exchanges.rules import MarketRules
from farm.types import OrderType, Side
from tests.exchanges.feeding import (
    BINANCE_COINM,
    BINANCE_SPOT,
    BINANCE_USDM,
    Drive,
    binance_trade,
    combined,
)

MS = 1_000_000
futures = pytest.mark.parametrize("rules", [BINANCE_USDM, BINANCE_COINM], ids=lambda r: r.key)


def drive(rules: MarketRules = BINANCE_USDM, *specs: str) -> Drive:
    driven = Drive(rules, specs or ["trade"], books=False)
    driven.open()
    return driven


def placeholder(trade_id: int, **changes: Any) -> bytes:
    return binance_trade(trade_id, p="0", q="0", X="NA", **changes)


@pytest.mark.parametrize(("maker", "side"), [(True, Side.SELL), (False, Side.BUY)])
@pytest.mark.parametrize("rules", [BINANCE_SPOT, BINANCE_USDM, BINANCE_COINM], ids=lambda r: r.key)
def test_the_taker_sold_where_the_buyer_was_the_maker(
    rules: MarketRules, maker: bool, side: Side
) -> None:
    (trade,) = drive(rules).read(binance_trade(1, m=maker)).only(Trade)
    assert trade.side is side


@futures
def test_a_placeholder_is_no_trade_but_spends_its_id(rules: MarketRules) -> None:
    driven = drive(rules)
    outcome = driven.read(binance_trade(7, X="MARKET"), placeholder(8), binance_trade(9, X="ADL"))
    assert [trade.id for trade in outcome.only(Trade)] == ["7", "9"]
    (spent,) = outcome.only(SpentIds)
    assert (spent.first_id, spent.last_id, spent.symbol) == (8, 8, "BTCUSDT")
    assert (spent.market, spent.receive_time) == (rules.market, driven.time)
    assert spent.ordinal == driven.ordinal - 2
    assert (spent.exchange_time, spent.event_time) == (1790000000122 * MS, 1790000000123 * MS)
    assert driven.session.unknown_values == {}


def test_placeholders_of_one_read_stand_in_their_order() -> None:
    spent = drive().read(*(placeholder(n) for n in range(5, 9))).only(SpentIds)
    assert [(event.first_id, event.row) for event in spent] == [(n, 0) for n in range(5, 9)]
    assert [event.ordinal for event in spent] == sorted(event.ordinal for event in spent)


def test_a_placeholder_counts_as_a_frame_of_its_stream() -> None:
    driven = drive()
    driven.read(placeholder(1))
    assert driven.status("trade").frames == 1


@pytest.mark.parametrize(
    ("text", "made_by"),
    [
        ("MARKET", OrderType.MARKET),
        ("INSURANCE_FUND", OrderType.INSURANCE_FUND),
        ("ADL", OrderType.ADL),
        ("SOMETHING", OrderType.UNKNOWN),
        (None, None),
    ],
)
def test_what_made_a_fill_is_said_and_an_unknown_word_loses_no_trade(
    text: str | None, made_by: OrderType | None
) -> None:
    driven = drive()
    (trade,) = driven.read(binance_trade(1, X=text)).only(Trade)
    assert trade.order_type is made_by
    unknown = {"trade.X=SOMETHING": 1} if made_by is OrderType.UNKNOWN else {}
    assert driven.session.unknown_values == unknown


def test_trades_of_before_2020_say_nothing_of_what_made_them() -> None:
    (trade,) = drive().read(binance_trade(1)).only(Trade)
    assert trade.order_type is None


def test_spot_knows_no_placeholders() -> None:
    """`X` is no field of spot: whatever stands there, it is a trade."""
    outcome = drive(BINANCE_SPOT).read(binance_trade(1, X="NA"))
    assert [trade.order_type for trade in outcome.only(Trade)] == [None]
    assert outcome.only(SpentIds) == []


def agg_trade(**changes: Any) -> bytes:
    data = {"e": "aggTrade", "E": 1790000000123, "s": "BTCUSDT", "a": 5933014, "p": "0.001"}
    data |= {"q": "100", "f": 100, "l": 105, "T": 1790000000122, "m": True} | changes
    return combined("btcusdt@aggTrade", data)


def test_an_aggregate_is_a_kind_of_its_own_with_the_ids_it_covers() -> None:
    (agg,) = drive(BINANCE_USDM, "agg_trade").read(agg_trade(nq="40")).rows
    assert isinstance(agg, AggTrade)
    assert (agg.id, agg.first_trade_id, agg.last_trade_id) == ("5933014", 100, 105)
    assert (agg.quantity, agg.non_rpi_quantity, agg.side) == (100.0, 40.0, Side.SELL)


@pytest.mark.parametrize("changes", [{}, {"nq": None}])
def test_the_quantity_without_retail_liquidity_may_be_missing(changes: dict[str, Any]) -> None:
    (agg,) = drive(BINANCE_COINM, "agg_trade").read(agg_trade(**changes)).rows
    assert agg.non_rpi_quantity is None

"""Particulars of Binance's candles, mark prices, liquidations, tickers and contract news."""

from __future__ import annotations

from typing import Any

import pytest

from farm.entities import ContinuousKline, ContractInfo, Kline, Liquidation, MarkPrice, MiniTicker
from farm.exchanges.rules import MarketRules
from farm.types import NumberMode, Side, TimeFrame
from tests.exchanges.feeding import (
    BINANCE_COINM,
    BINANCE_SPOT,
    BINANCE_USDM,
    Drive,
    combined,
    text,
)

MS = 1_000_000
E = 1790000000123
modes = pytest.mark.parametrize("mode", list(NumberMode))
futures = pytest.mark.parametrize("rules", [BINANCE_USDM, BINANCE_COINM], ids=lambda r: r.key)


def drive(rules: MarketRules, *specs: str, whole: Any = (), **options: Any) -> Drive:
    driven = Drive(rules, specs, whole=whole, books=False, **options)
    driven.open()
    return driven


# ---------------------------------------------------------------------------------------- candles
def candle(**changes: Any) -> dict[str, Any]:
    zero = dict.fromkeys("ochlvqVQ", "0.0")
    return zero | {"t": 1000, "T": 1999, "f": 3, "L": 5, "n": 3, "x": True, "i": "1s"} | changes


def test_a_candle_without_trades_has_no_trade_ids() -> None:
    data = {"e": "kline", "E": 2000, "s": "BTCUSDT", "k": candle(f=-1, L=-1, n=0)}
    (kline,) = drive(BINANCE_SPOT, "kline:1s").read(combined("btcusdt@kline_1s", data)).rows
    assert isinstance(kline, Kline)
    assert (kline.first_trade_id, kline.last_trade_id, kline.trade_count) == (None, None, 0)
    assert (kline.open_time, kline.close_time, kline.closed) == (1000 * MS, 1999 * MS, True)


def test_a_month_is_no_minute() -> None:
    driven = drive(BINANCE_SPOT, "kline:1m", "kline:1M")
    frames = [
        combined(f"btcusdt@kline_{i}", {"e": "kline", "E": 1, "s": "X", "k": candle(i=i)})
        for i in ("1m", "1M")
    ]
    rows = driven.read(*frames).rows
    assert [row.interval for row in rows] == [TimeFrame.M1, TimeFrame.MO1]


@futures
def test_a_continuous_candle_is_of_a_pair_and_a_kind_of_its_own(rules: MarketRules) -> None:
    driven = drive(rules, "continuous_kline:next_quarter:1h")
    data = {"e": "continuous_kline", "E": 2000, "ps": "BTCUSDT", "ct": "NEXT_QUARTER"}
    frame = combined("btcusdt_next_quarter@continuousKline_1h", data | {"k": candle(i="1h")})
    (kline,) = driven.read(frame).rows
    assert isinstance(kline, ContinuousKline)
    assert (kline.symbol, kline.contract_type) == ("BTCUSDT", "next_quarter")
    assert kline.interval is TimeFrame.H1


# ------------------------------------------------------------------------------------ mark prices
def mark(symbol: str = "BTCUSDT", **changes: Any) -> dict[str, Any]:
    data = {"e": "markPriceUpdate", "E": E, "s": symbol, "p": "100.5", "i": "100.4"}
    return data | {"P": "100.3", "r": "-0.0001", "T": E + 1, "ap": "100.2"} | changes


def marks(*rows: dict[str, Any], mode: NumberMode = NumberMode.FLOAT) -> list[MarkPrice]:
    driven = drive(BINANCE_USDM, "mark_price", numbers=mode)
    frames = [combined("btcusdt@markPrice@1s", row) for row in rows]
    return driven.read(*frames).only(MarkPrice)


@modes
@pytest.mark.parametrize("rate", ["", "0.00000000", "0.0001"])
def test_a_dated_contract_has_no_funding(mode: NumberMode, rate: str) -> None:
    (price,) = marks(mark(r=rate, T=0), mode=mode)
    assert (price.funding_rate, price.next_funding_time) == (None, None)


@modes
def test_funding_may_be_negative_and_zero(mode: NumberMode) -> None:
    prices = marks(mark(), mark(r="0.00000000"), mode=mode)
    assert [float(price.funding_rate or 0) for price in prices] == [-0.0001, 0.0]
    assert None not in [price.funding_rate for price in prices]


@modes
def test_what_is_empty_or_left_out_is_none(mode: NumberMode) -> None:
    bare = {name: value for name, value in mark().items() if name not in ("i", "P", "ap", "r")}
    for price in marks(mark(i="", P="", ap="", r=""), bare, mode=mode):
        assert price.mark_price == type(price.mark_price)("100.5")
        assert price.index_price is price.settle_price is price.average_price is None
        assert price.funding_rate is None


# ------------------------------------------------------------------------------- the whole market
@modes
@futures
def test_a_list_gives_the_rows_of_our_market_each_with_its_place(
    rules: MarketRules, mode: NumberMode
) -> None:
    driven = drive(rules, whole=["mark_price"], numbers=mode)
    rows = [mark("A", st=1), mark("B", st=2), mark("C"), mark("D", st=1), mark("E", st=2)]
    prices = driven.read(combined("!markPrice@arr@1s", rows)).only(MarkPrice)
    ours = {1: [("A", 0), ("C", 2), ("D", 3)], 2: [("B", 1), ("C", 2), ("E", 4)]}
    assert [(price.symbol, price.row) for price in prices] == ours[rules.universe or 0]
    assert driven.session.foreign == {"!markPrice@arr@1s": 2}


def test_an_empty_list_is_a_message_too() -> None:
    driven = drive(BINANCE_USDM, whole=["mini_ticker"])
    outcome = driven.read(combined("!miniTicker@arr", []))
    assert (outcome.rows, outcome.unparsed) == ([], [])
    assert driven.session.statuses["!miniTicker@arr"].frames == 1


def test_spot_has_one_market_and_marks_nothing() -> None:
    driven = drive(BINANCE_SPOT, whole=["mini_ticker"])
    row = {"e": "24hrMiniTicker", "E": E, "s": "X", **dict.fromkeys("cohlvq", "1")}
    tickers = driven.read(combined("!miniTicker@arr", [row, row | {"s": "Y"}])).only(MiniTicker)
    assert [ticker.symbol for ticker in tickers] == ["X", "Y"]
    assert driven.session.foreign == {}


@modes
@pytest.mark.parametrize("bad", [{"i": "x"}, {"ap": "NaN"}, {"r": "inf"}, {"p": "-1"}, {"T": -1}])
def test_one_bad_row_takes_the_whole_message_with_it(mode: NumberMode, bad: dict[str, Any]) -> None:
    """A message is parsed or kept, never both: what stands before the bad row is taken back."""
    driven = drive(BINANCE_USDM, whole=["mark_price"], numbers=mode)
    good = mark("A", st=1)
    frame = combined("!markPrice@arr@1s", [good, mark("X", st=2), mark("B", st=1, **bad), good])
    outcome = driven.read(combined("!markPrice@arr@1s", [good]), frame)
    assert [kept.raw for kept in outcome.unparsed] == [frame]
    assert [price.symbol for price in outcome.only(MarkPrice)] == ["A"]
    assert len(outcome.gaps) == 1


# ----------------------------------------------------------------------------------- liquidations
def forced(side: str = "SELL", order: Any = (), **changes: Any) -> dict[str, Any]:
    known = {"s": "BTCUSDT", "S": side, "o": "LIMIT", "f": "IOC", "q": "0.014", "p": "9910"}
    known |= {"ap": "9900", "X": "FILLED", "l": "0.005", "z": "0.014", "T": E - 1}
    return {"e": "forceOrder", "E": E, "o": known | dict(order)} | changes


def test_the_side_of_a_liquidation_is_the_orders() -> None:
    driven = drive(BINANCE_USDM, "liquidation")
    frames = [combined("btcusdt@forceOrder", forced(side)) for side in ("SELL", "BUY", "Odd")]
    rows = driven.read(*frames).only(Liquidation)
    assert [row.side for row in rows] == [Side.SELL, Side.BUY, Side.UNKNOWN]
    assert driven.session.unknown_values == {"forceOrder.S=Odd": 1}
    assert (rows[0].price, rows[0].average_price) == (9910.0, 9900.0)
    assert (rows[0].quantity, rows[0].filled_quantity) == (0.014, 0.014)


@futures
@pytest.mark.parametrize("inside", [True, False])
def test_the_market_of_a_liquidation_stands_in_the_order_or_outside(
    rules: MarketRules, inside: bool
) -> None:
    """Live messages have it inside, the documents outside."""
    driven = drive(rules, whole=["liquidation"])
    rows = [
        forced(order={"s": name, "st": st}) if inside else forced(order={"s": name}, st=st)
        for name, st in (("A", 1), ("B", 2))
    ]
    frames = [combined("!forceOrder@arr", row) for row in [*rows, forced(order={"s": "C"})]]
    symbols = [row.symbol for row in driven.read(*frames).only(Liquidation)]
    assert symbols == [{1: "A", 2: "B"}[rules.universe or 0], "C"]


# ------------------------------------------------------------------------------ tickers, contracts
def test_best_bid_and_ask_are_spots_and_an_empty_side_is_none() -> None:
    numbers = dict.fromkeys("pPwcQohlvq", "1") | {"b": "0", "B": "0", "a": "2", "A": "3"}
    ids = {"O": 1, "C": 2, "F": -1, "L": -1, "n": 0}
    data = {"e": "24hrTicker", "E": E, "s": "BTCUSDT"} | numbers | ids
    (ticker,) = drive(BINANCE_SPOT, "ticker").read(combined("btcusdt@ticker", data)).rows
    assert (ticker.bid_price, ticker.bid_quantity) == (None, None)
    assert (ticker.ask_price, ticker.ask_quantity) == (2.0, 3.0)
    assert (ticker.first_trade_id, ticker.last_trade_id, ticker.trade_count) == (None, None, 0)


def contract(**changes: Any) -> dict[str, Any]:
    data = {"e": "contractInfo", "E": E, "s": "BTCUSDT_260925", "ps": "BTCUSDT"}
    data |= {"ct": "CURRENT_QUARTER", "dt": E + 5, "ot": E - 5, "cs": "PRE_DELIVERING"}
    return data | {"bks": [{"bs": 1, "mmr": 0.0065}], "st": 1} | changes


@pytest.mark.parametrize(
    ("changes", "pair", "onboarded", "delivered"),
    [
        ({}, "BTCUSDT", (E - 5) * MS, (E + 5) * MS),
        ({"dt": 4133404800000}, "BTCUSDT", (E - 5) * MS, None),  # a perpetual one never is
        ({"dt": 0, "ot": 0}, "BTCUSDT", None, None),
        ({"ps": None}, None, (E - 5) * MS, (E + 5) * MS),
    ],
)
def test_a_contract_is_listed_and_may_be_delivered(
    changes: dict[str, Any], pair: str | None, onboarded: int | None, delivered: int | None
) -> None:
    driven = drive(BINANCE_USDM, whole=["contract_info"])
    (info,) = driven.read(combined("!contractInfo", contract(**changes))).only(ContractInfo)
    assert (info.symbol, info.pair) == ("BTCUSDT_260925", pair)
    assert (info.contract_type, info.status) == ("CURRENT_QUARTER", "PRE_DELIVERING")
    assert (info.onboard_time, info.delivery_time) == (onboarded, delivered)


# --------------------------------------------------------------------------------- open interest
@futures
def test_an_answer_for_another_symbol_is_none_of_ours(rules: MarketRules) -> None:
    driven = drive(rules, "open_interest")
    body = text({"symbol": "ETHUSDT", "openInterest": "1", "time": E})
    outcome = driven.snapshot(body, "open_interest")
    assert [kept.raw for kept in outcome.unparsed] == [body]
    assert outcome.rows == outcome.gaps != []

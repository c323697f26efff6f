"""Particulars of Bybit's trades and liquidations."""

from __future__ import annotations

import json
from typing import Any

import pytest

from farm.entities import Liquidation, Trade
from farm.exchanges.rules import MarketRules
from farm.types import NumberMode, Side
from tests.exchanges.bybit.texts import samples
from tests.exchanges.feeding import (
    BYBIT_INVERSE,
    BYBIT_LINEAR,
    BYBIT_OPTION,
    Drive,
    bybit_trades,
    text,
)

MS = 1_000_000
modes = pytest.mark.parametrize("mode", list(NumberMode))


def read(*frames: bytes, rules: MarketRules = BYBIT_LINEAR, spec: str = "trade") -> list[Any]:
    driven = Drive(rules, [spec], ["BTCUSD" if rules is BYBIT_INVERSE else "BTCUSDT"], books=False)
    driven.open()
    outcome = driven.read(*frames)
    assert outcome.unparsed == []
    return outcome.rows


def test_every_trade_of_a_message_is_kept_up_to_the_largest() -> None:
    ids = [str(n) for n in range(1024)]
    trades = read(bybit_trades(*ids))
    assert [trade.id for trade in trades] == ids
    assert [trade.row for trade in trades] == list(range(1024))


def test_times_may_be_text_and_what_only_some_markets_give_may_be_missing() -> None:
    message = json.loads(bybit_trades("a"))
    for name in ("BT", "RPI", "seq", "L"):
        del message["data"][0][name]
    (trade,) = read(text(message | {"ts": "1790000000123"}))
    assert trade.event_time == 1790000000123 * MS
    assert (trade.block_trade, trade.rpi, trade.sequence) == (None, None, None)


def test_an_id_is_text_for_one_of_spot_is_no_float() -> None:
    (trade,) = read(bybit_trades("2280000001739247417"))
    assert trade.id == "2280000001739247417"


@pytest.mark.parametrize("number", ["", "9" * 65], ids=["empty", "too long"])
def test_what_is_no_id_is_quarantined(number: str) -> None:
    driven = Drive(BYBIT_LINEAR, ["trade"], ["BTCUSDT"], books=False)
    driven.open()
    outcome = driven.read(bybit_trades("a", number))
    assert (len(outcome.unparsed), outcome.only(Trade)) == (1, [])


@pytest.mark.parametrize(("word", "side"), [("Buy", Side.BUY), ("Sell", Side.SELL)])
def test_the_side_of_a_trade_is_the_takers(word: str, side: Side) -> None:
    (trade,) = read(bybit_trades("a", S=word))
    assert trade.side is side


# ---------------------------------------------------------------------------------------- options
CALL, PUT = "BTC-25JUN27-106000-C-USDT", "XRP-30OCT26-0.4-P-USDT"


def option_trades(*symbols: str, **changes: Any) -> bytes:
    (sample,) = (s for s in samples(BYBIT_OPTION) if s.spec == "trade")
    message = json.loads(sample.frame())
    row = message["data"][0] | changes
    return text(message | {"data": [row | {"s": symbol} for symbol in symbols]})


@modes
def test_trades_of_a_base_coin_are_of_many_options(mode: NumberMode) -> None:
    driven = Drive(BYBIT_OPTION, ["trade"], [CALL], numbers=mode, books=False)
    driven.open()
    assert list(driven.session.statuses) == ["publicTrade.BTC"]
    trades = driven.read(option_trades(CALL, PUT, CALL)).only(Trade)
    assert [(trade.symbol, trade.row) for trade in trades] == [(CALL, 0), (PUT, 1), (CALL, 2)]
    prices = {(float(t.mark_price or 0), float(t.index_price or 0)) for t in trades}
    assert prices == {(238.78, 83885.18)}
    assert {(float(t.mark_iv or 0), float(t.iv or 0)) for t in trades} == {(0.1389, 0.14)}
    assert {(trade.rpi, trade.order_type) for trade in trades} == {(None, None)}


def test_other_markets_give_no_prices_of_options() -> None:
    (trade,) = read(bybit_trades("a", mP="1", iP="2", mIv="3", iv="4"))
    assert (trade.mark_price, trade.index_price, trade.mark_iv, trade.iv) == (None,) * 4


def test_an_unknown_side_of_an_option_loses_no_trade() -> None:
    driven = Drive(BYBIT_OPTION, ["trade"], [CALL], books=False)
    driven.open()
    trades = driven.read(option_trades(CALL, S="Foo")).only(Trade)
    assert [trade.side for trade in trades] == [Side.UNKNOWN]
    assert driven.session.unknown_values == {"publicTrade.S=Foo": 1}


# ------------------------------------------------------------------------------------ liquidations
def liquidations(*sides: str, symbol: str = "BTCUSDT") -> bytes:
    rows = [{"T": 1, "s": symbol, "S": side, "v": "20000", "p": "0.045"} for side in sides]
    return text({"topic": f"allLiquidation.{symbol}", "type": "snapshot", "ts": 2, "data": rows})


def test_a_long_that_is_liquidated_sells() -> None:
    """The venue's `Buy` is the side of the position, ours is the order's."""
    rows = read(liquidations("Buy", "Sell"), spec="liquidation")
    assert [(row.side, row.row) for row in rows] == [(Side.SELL, 0), (Side.BUY, 1)]
    assert {type(row) for row in rows} == {Liquidation}
    assert {(row.price, row.quantity) for row in rows} == {(0.045, 20000.0)}
    assert {(row.average_price, row.filled_quantity) for row in rows} == {(None, None)}
    assert {(row.exchange_time, row.event_time) for row in rows} == {(1 * MS, 2 * MS)}


def test_several_may_be_equal_in_one_message() -> None:
    rows = read(
        liquidations("Buy", "Buy", symbol="BTCUSD"), rules=BYBIT_INVERSE, spec="liquidation"
    )
    assert [row.row for row in rows] == [0, 1]


def test_an_unknown_side_of_a_liquidation_is_counted() -> None:
    driven = Drive(BYBIT_LINEAR, ["liquidation"], books=False)
    driven.open()
    (row,) = driven.read(liquidations("Long")).only(Liquidation)
    assert row.side is Side.UNKNOWN
    assert driven.session.unknown_values == {"allLiquidation.S=Long": 1}

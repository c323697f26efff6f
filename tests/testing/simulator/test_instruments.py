from __future__ import annotations

from decimal import Decimal

import pytest

from farm.testing.simulator.instruments import instrument, usual_symbols
from farm.types import Exchange, Market


def test_known_symbols_have_the_ticks_of_their_market() -> None:
    steps = {
        market: (item.tick, item.lot, item.price_step, item.price_decimals)
        for market in (Market.SPOT, Market.LINEAR)
        for item in [instrument(Exchange.BYBIT, market, "BTCUSDT")]
    }
    assert steps == {
        Market.SPOT: ("0.1", "0.000001", 1, 1),
        Market.LINEAR: ("0.10", "0.001", 10, 2),
    }


def test_an_unknown_symbol_follows_from_name_and_seed() -> None:
    first = instrument(Exchange.BINANCE, Market.SPOT, "PEPEUSDC", seed=1)
    assert first == instrument(Exchange.BINANCE, Market.SPOT, "PEPEUSDC", seed=1)
    assert first != instrument(Exchange.BINANCE, Market.SPOT, "PEPEUSDC", seed=2)
    assert (first.base, first.quote) == ("PEPE", "USDC")
    assert first.price_decimals + first.size_decimals <= 8


def test_a_future_is_priced_as_the_perpetual_contract() -> None:
    for market, perpetual, dated in (
        (Market.USDM, "BTCUSDT", "BTCUSDT_260925"),
        (Market.COINM, "BTCUSD_PERP", "BTCUSD_260925"),
    ):
        one = instrument(Exchange.BINANCE, market, perpetual)
        other = instrument(Exchange.BINANCE, market, dated)
        assert (one.tick, one.lot, one.start) == (other.tick, other.lot, other.start)
        assert (one.contract.delivery, other.contract.delivery) == (0, 1790323200000)


@pytest.mark.parametrize(
    ("exchange", "market", "symbol", "price", "lots", "worth"),
    [
        (Exchange.BINANCE, Market.SPOT, "BTCUSDT", "100.00", "2.00000", "200"),
        (Exchange.BINANCE, Market.USDM, "BTCUSDT", "30000.10", "0.002", "60.0002"),
        (Exchange.BINANCE, Market.COINM, "BTCUSD_PERP", "30000.0", "3", "0.01"),
        (Exchange.BYBIT, Market.INVERSE, "BTCUSD", "30000.00", "1", "0.00003333"),
    ],
)
def test_the_worth_of_a_trade(
    exchange: Exchange, market: Market, symbol: str, price: str, lots: str, worth: str
) -> None:
    """Exact in the quote coin, or rounded down to 1e-8 in the base coin."""
    item = instrument(exchange, market, symbol)
    ticks = int(Decimal(price) / Decimal(item.tick))
    units = item.worth(ticks, int(Decimal(lots) / Decimal(item.lot)))
    assert Decimal(units).scaleb(-item.worth_decimals) == Decimal(worth)


def test_each_market_has_usual_symbols_and_knows_them() -> None:
    for exchange, markets in (
        (Exchange.BINANCE, (Market.SPOT, Market.USDM, Market.COINM)),
        (Exchange.BYBIT, (Market.SPOT, Market.LINEAR, Market.INVERSE, Market.OPTION)),
    ):
        for market in markets:
            for symbol in usual_symbols(exchange, market):
                item = instrument(exchange, market, symbol, seed=1)
                assert item == instrument(exchange, market, symbol, seed=2)
                assert item.price_decimals + item.size_decimals <= 8

from __future__ import annotations

import pytest

from farm.testing.simulator.contracts import Contract, Named, read_symbol
from farm.types import Exchange, Market

BINANCE, BYBIT = Exchange.BINANCE, Exchange.BYBIT


@pytest.mark.parametrize(
    ("exchange", "market", "symbol", "expected"),
    [
        (BINANCE, Market.SPOT, "1000SATSUSDT", Named("1000SATS", "USDT")),
        (BINANCE, Market.SPOT, "TUSDT", Named("T", "USDT")),
        (BINANCE, Market.SPOT, "币安人生USDT", Named("币安人生", "USDT")),
        (BINANCE, Market.SPOT, "ETHBTC", Named("ETH", "BTC")),
        (BINANCE, Market.SPOT, "USDT", Named("", "USDT")),
        (BINANCE, Market.USDM, "BTCUSDC",
         Named("BTC", "USDC", Contract("BTCUSDC", "PERPETUAL", "USDC"))),
        (BINANCE, Market.USDM, "BTCUSDT_260925",
         Named("BTC", "USDT", Contract("BTCUSDT", "CURRENT_QUARTER", "USDT", 1790323200000))),
        (BINANCE, Market.USDM, "BTCUSDT_261225",
         Named("BTC", "USDT", Contract("BTCUSDT", "NEXT_QUARTER", "USDT", 1798185600000))),
        (BINANCE, Market.COINM, "BTCUSD_PERP",
         Named("BTC", "USD", Contract("BTCUSD", "PERPETUAL", "BTC", 0, 100))),
        (BINANCE, Market.COINM, "ETHUSD_260925",
         Named("ETH", "USD", Contract("ETHUSD", "CURRENT_QUARTER", "ETH", 1790323200000, 10))),
        (BYBIT, Market.LINEAR, "1000000BABYDOGEUSDT",
         Named("1000000BABYDOGE", "USDT", Contract("", "LinearPerpetual", "USDT"))),
        (BYBIT, Market.LINEAR, "BTCPERP",
         Named("BTC", "USDC", Contract("", "LinearPerpetual", "USDC"))),
        (BYBIT, Market.LINEAR, "BTCUSDT-26SEP25",
         Named("BTC", "USDT", Contract("", "LinearFutures", "USDT", 1758873600000))),
        (BYBIT, Market.LINEAR, "BTC-26DEC25",
         Named("BTC", "USDC", Contract("", "LinearFutures", "USDC", 1766736000000))),
        (BYBIT, Market.INVERSE, "BTCUSD",
         Named("BTC", "USD", Contract("", "InversePerpetual", "BTC", 0, 1))),
        (BYBIT, Market.INVERSE, "BTCUSDZ26",
         Named("BTC", "USD", Contract("", "InverseFutures", "BTC", 1798185600000, 1))),
        (BYBIT, Market.OPTION, "BTC-25JUN27-106000-C-USDT",
         Named("BTC", "USDT", Contract("", "Call", "USDT", 1813910400000))),
        (BYBIT, Market.OPTION, "XRP-5JAN27-0.4-P",
         Named("XRP", "USDC", Contract("", "Put", "USDC", 1799136000000))),
    ],
)  # fmt: skip
def test_what_a_symbol_says(
    exchange: Exchange, market: Market, symbol: str, expected: Named
) -> None:
    assert read_symbol(exchange, market, symbol) == expected


@pytest.mark.parametrize("symbol", ["", "X", "X-Y", "X_Y", "BTCUSDQ", "A-31FEB27-1-C", "A_261399"])
def test_a_symbol_without_rules_is_taken_all_the_same(symbol: str) -> None:
    for exchange, markets in (
        (BINANCE, (Market.SPOT, Market.USDM, Market.COINM)),
        (BYBIT, (Market.SPOT, Market.LINEAR, Market.INVERSE, Market.OPTION)),
    ):
        for market in markets:
            assert read_symbol(exchange, market, symbol).contract.delivery == 0

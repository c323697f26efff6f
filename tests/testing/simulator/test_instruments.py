from __future__ import annotations

from farm.testing.simulator.instruments import instrument
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

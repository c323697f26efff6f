"""What streams are expected to cost."""

from __future__ import annotations

import pytest

from farm.cluster.rates import expected_events, expected_load
from farm.exchanges.rules import MarketRules
from tests.exchanges.feeding import ALL_RULES, BINANCE_USDM, BYBIT_OPTION


@pytest.mark.parametrize("rules", ALL_RULES, ids=lambda r: f"{r.exchange.value}-{r.market.value}")
def test_something_is_expected_of_every_stream_that_a_market_offers(rules: MarketRules) -> None:
    table = rules.streams
    streams = [table.stream("BTCUSDT", spec) for spec in table.specs]
    streams += [table.market_stream(spec) for spec in table.market_specs]
    for stream in streams:
        assert 0.0 < expected_load([stream]) < 1.0, stream
        assert expected_events([stream]) > 0.0, stream


def test_books_cost_more_than_quotes_and_those_more_than_trades_and_candles() -> None:
    specs = ["book", "quote", "trade", "kline:1m", "liquidation"]
    loads = [expected_load([BINANCE_USDM.streams.stream("A", spec)]) for spec in specs]
    assert loads == sorted(loads, reverse=True)
    assert len(set(loads)) == len(specs)


def test_a_whole_market_comes_at_once_where_the_venue_says_how_often() -> None:
    table = BINANCE_USDM.streams
    assert expected_events([table.market_stream("mark_price")]) == 500.0
    assert expected_load([table.market_stream("mark_price")]) == pytest.approx(500 * 3e-6)
    assert expected_events([table.market_stream("quote")]) == 100.0  # every 5 s
    assert expected_load([table.market_stream("liquidation")]) == pytest.approx(5 * 110e-6)


def test_loads_add_up() -> None:
    stream = BINANCE_USDM.streams.stream
    streams = [stream("A", "trade"), stream("B", "book"), stream("B", "quote")]
    assert expected_load(streams) == pytest.approx(110e-6 + 8 * 130e-6 + 5 * 110e-6)
    assert expected_events(streams) == 14.0
    assert expected_load(iter(streams)) == expected_load(streams)
    assert expected_load([]) == expected_events([]) == 0.0


def test_the_trades_of_a_base_coin_are_as_those_of_a_symbol() -> None:
    trades = BYBIT_OPTION.streams.stream("BTC-27NOV26-90000-C-USDT", "trade")
    assert expected_load([trades]) == expected_load([BINANCE_USDM.streams.stream("A", "trade")])

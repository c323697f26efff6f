from __future__ import annotations

import pytest

from farm.testing.names import lower, stream_symbol, topic_symbol, upper


@pytest.mark.parametrize(
    ("symbol", "name"),
    [
        ("BTCUSD_PERP", "btcusd_perp"),
        ("1000SATSUSDT", "1000satsusdt"),
        ("币安人生USDT", "币安人生usdt"),
        ("ÄUSDT", "Äusdt"),
    ],
)
def test_only_ascii_letters_change_case(symbol: str, name: str) -> None:
    assert lower(symbol) == name
    assert upper(name) == symbol


@pytest.mark.parametrize(
    ("stream", "symbol"),
    [
        ("btcusdt@depth@100ms", "BTCUSDT"),
        ("btcusdt_260925@trade", "BTCUSDT_260925"),
        ("btcusdt_perpetual@continuousKline_1m", "BTCUSDT_PERPETUAL"),
        ("!miniTicker@arr", ""),
        ("!bookTicker", ""),
    ],
)
def test_symbols_of_streams(stream: str, symbol: str) -> None:
    assert stream_symbol(stream) == symbol


@pytest.mark.parametrize(
    ("topic", "symbol"),
    [
        ("orderbook.50.BTCUSDT", "BTCUSDT"),
        ("orderbook.full.BTCUSDT", "BTCUSDT"),
        ("kline.D.BTCUSDT", "BTCUSDT"),
        ("publicTrade.BTC", "BTC"),
        ("tickers.XRP-30OCT26-0.4-P-USDT", "XRP-30OCT26-0.4-P-USDT"),
        ("orderbook.25.XRP-30OCT26-0.4-P-USDT", "XRP-30OCT26-0.4-P-USDT"),
    ],
)
def test_symbols_of_topics(topic: str, symbol: str) -> None:
    assert topic_symbol(topic) == symbol

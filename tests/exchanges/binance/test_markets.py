"""Binance's markets, against what its documents say."""

from __future__ import annotations

import pytest

from farm.exchanges.binance.markets import MARKETS, SPOT
from farm.types import Market

INTERVALS = [
    "1s",
    "1m",
    "3m",
    "5m",
    "15m",
    "30m",
    "1h",
    "2h",
    "4h",
    "6h",
    "8h",
    "12h",
    "1d",
    "3d",
    "1w",
    "1M",
]


def test_the_streams_are_the_documented_ones() -> None:
    assert set(MARKETS) == {Market.SPOT}
    names = {spec: SPOT.streams.stream("BTCUSDT", spec).name for spec in SPOT.streams.specs}
    assert names == {
        "trade": "btcusdt@trade",
        "agg_trade": "btcusdt@aggTrade",
        "quote": "btcusdt@bookTicker",
        "book": "btcusdt@depth@100ms",
        "book:5": "btcusdt@depth5@100ms",
        "book:10": "btcusdt@depth10@100ms",
        "book:20": "btcusdt@depth20@100ms",
        **{f"kline:{i}": f"btcusdt@kline_{i}" for i in INTERVALS},
    }


@pytest.mark.parametrize(
    ("ours", "documented"),
    [
        (SPOT.streams_per_connection, 1024),
        (SPOT.connect_rate.limit / SPOT.connect_rate.period, 300 / 300),
        (SPOT.rest_rate.limit / SPOT.rest_rate.period, 6000 / 60),
        (SPOT.control_rate.limit / SPOT.control_rate.period, 5),
        (SPOT.silence, 20 + 60),  # it pings every 20 s, and cuts after 60 s without a pong
    ],
)
def test_no_documented_limit_is_passed(ours: float, documented: float) -> None:
    assert 0 < ours <= documented


def test_partial_books_name_no_symbol_so_the_mode_is_combined() -> None:
    assert SPOT.ws_path == "/stream"
    assert SPOT.ping_interval is None  # the server pings

"""Binance's markets, against what its documents say."""

from __future__ import annotations

import pytest

from farm.exchanges.binance.markets import COINM, MARKETS, SPOT, USDM
from farm.exchanges.rules import MarketRules
from farm.types import Market

MINUTES = ["1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d"]
INTERVALS = [*MINUTES, "1w", "1M"]
SYMBOLS = {"binance/usdm": ("BTCUSDT", "btcusdt"), "binance/coinm": ("BTCUSD_PERP", "btcusd")}

futures = pytest.mark.parametrize("rules", [USDM, COINM], ids=lambda rules: rules.key)


def names_of(rules: MarketRules, symbol: str) -> dict[str, str]:
    return {spec: rules.streams.stream(symbol, spec).name for spec in rules.streams.specs}


def test_the_streams_of_spot_are_the_documented_ones() -> None:
    assert MARKETS == {Market.SPOT: SPOT, Market.USDM: USDM, Market.COINM: COINM}
    assert names_of(SPOT, "BTCUSDT") == {
        "trade": "btcusdt@trade",
        "agg_trade": "btcusdt@aggTrade",
        "quote": "btcusdt@bookTicker",
        "book": "btcusdt@depth@100ms",
        "book@100ms": "btcusdt@depth@100ms",
        "book@1000ms": "btcusdt@depth",
        **{f"book:{n}": f"btcusdt@depth{n}@100ms" for n in (5, 10, 20)},
        **{f"book:{n}@1000ms": f"btcusdt@depth{n}" for n in (5, 10, 20)},
        **{f"kline:{i}": f"btcusdt@kline_{i}" for i in ["1s", *INTERVALS]},
        "mini_ticker": "btcusdt@miniTicker",
        "ticker": "btcusdt@ticker",
    }
    assert {s: SPOT.streams.market_stream(s).name for s in SPOT.streams.market_specs} == {
        "mini_ticker": "!miniTicker@arr"
    }


@futures
def test_the_streams_of_futures_are_the_documented_ones(rules: MarketRules) -> None:
    symbol, pair = SYMBOLS[rules.key]
    name = symbol.lower()
    assert names_of(rules, symbol) == {
        "trade": f"{name}@trade",
        "agg_trade": f"{name}@aggTrade",
        "quote": f"{name}@bookTicker",
        "book": f"{name}@depth@100ms",
        "book@0ms": f"{name}@depth@0ms",
        "book@100ms": f"{name}@depth@100ms",
        "book@250ms": f"{name}@depth",
        "book@500ms": f"{name}@depth@500ms",
        **{f"book:{n}": f"{name}@depth{n}@100ms" for n in (5, 10, 20)},
        **{f"book:{n}@250ms": f"{name}@depth{n}" for n in (5, 10, 20)},
        **{f"book:{n}@500ms": f"{name}@depth{n}@500ms" for n in (5, 10, 20)},
        **{f"kline:{i}": f"{name}@kline_{i}" for i in INTERVALS},
        **{
            f"continuous_kline:{kind}:{i}": f"{pair}_{kind}@continuousKline_{i}"
            for kind in ("perpetual", "current_quarter", "next_quarter")
            for i in INTERVALS
        },
        "mark_price": f"{name}@markPrice@1s",
        "mark_price@3s": f"{name}@markPrice",
        "liquidation": f"{name}@forceOrder",
        "mini_ticker": f"{name}@miniTicker",
        "ticker": f"{name}@ticker",
        "open_interest": f"/openInterest?symbol={name}",
    }
    streams = {s: rules.streams.market_stream(s) for s in rules.streams.market_specs}
    assert {spec: stream.name for spec, stream in streams.items()} == {
        "quote": "!bookTicker",
        "mark_price": "!markPrice@arr@1s",
        "mark_price@3s": "!markPrice@arr",
        "mini_ticker": "!miniTicker@arr",
        "ticker": "!ticker@arr",
        "liquidation": "!forceOrder@arr",
        "contract_info": "!contractInfo",
    }
    assert streams["quote"].route == ("public" if rules is USDM else "")
    others = {stream.route for spec, stream in streams.items() if spec != "quote"}
    assert others == {"market" if rules is USDM else ""}


@pytest.mark.parametrize(
    ("ours", "documented"),
    [
        (SPOT.streams_per_connection, 1024),
        (SPOT.connect_rate.limit / SPOT.connect_rate.period, 300 / 300),
        (SPOT.rest_rate.limit / SPOT.rest_rate.period, 6000 / 60),
        (SPOT.control_rate.limit / SPOT.control_rate.period, 5),
        (SPOT.silence, 20 + 60),  # it pings every 20 s, and cuts after 60 s without a pong
        (USDM.streams_per_connection, 200),
        (USDM.rest_rate.limit / USDM.rest_rate.period, 2400 / 60),
        (USDM.control_rate.limit / USDM.control_rate.period, 10),
        (USDM.silence, 180 + 600),
        (COINM.streams_per_connection, 200),
        (COINM.silence, 180 + 600),
    ],
)
def test_no_documented_limit_is_passed(ours: float, documented: float) -> None:
    assert 0 < ours <= documented


def test_partial_books_name_no_symbol_so_the_mode_is_combined() -> None:
    assert SPOT.paths == {"": "/stream"}
    assert USDM.paths == {"public": "/public/stream", "market": "/market/stream"}
    assert COINM.paths == {"": "/stream"}
    assert all(rules.ping_interval is None for rules in MARKETS.values())  # the server pings


def test_the_addresses_are_the_documented_ones() -> None:
    assert {rules.ws_url for rules in MARKETS.values()} == {
        "wss://stream.binance.com:9443",
        "wss://fstream.binance.com",
        "wss://dstream.binance.com",
    }
    assert [rules.snapshot_path for rules in MARKETS.values()] == [
        "/api/v3/depth",
        "/fapi/v1/depth",
        "/dapi/v1/depth",
    ]
    assert [rules.poll.path for rules in MARKETS.values() if rules.poll is not None] == [
        "/fapi/v1/openInterest",
        "/dapi/v1/openInterest",
    ]

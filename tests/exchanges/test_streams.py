"""The user's words and the venues' names, both ways."""

from __future__ import annotations

import pytest

from farm.exchanges.rules import MarketRules
from farm.exchanges.streams import ANY_SYMBOL, REST_ROUTE, BookProcedure, Scope, Stream
from farm.types import DataType, Exchange, TimeFrame
from tests.exchanges.feeding import (
    ALL_RULES,
    BINANCE_COINM,
    BINANCE_SPOT,
    BINANCE_USDM,
    BYBIT_INVERSE,
    BYBIT_LINEAR,
    BYBIT_OPTION,
    BYBIT_SPOT,
)

EVERY_SPEC = [
    pytest.param(r, spec, id=f"{r.key} {spec}") for r in ALL_RULES for spec in r.streams.specs
]
EVERY_MARKET_SPEC = [
    pytest.param(r, spec, id=f"{r.key} {spec}")
    for r in ALL_RULES
    for spec in r.streams.market_specs
]
SYMBOLS = ["BTCUSDT", "1000SATSUSDT", "T", "币安人生USDT", "BTC-26DEC25", "BTCUSDT_260925"]


def feed_spec(rules: MarketRules, spec: str) -> str:
    """What the feed of a user's word is called: books with their depth, and no speeds."""
    default = {BYBIT_OPTION: "book:100"}.get(rules, "book:200")
    if rules.exchange is Exchange.BYBIT and spec == "book":
        return default
    if spec == "book:full":
        return "book"
    return spec.partition("@")[0]


@pytest.mark.parametrize(("rules", "spec"), EVERY_SPEC)
@pytest.mark.parametrize("symbol", SYMBOLS)
def test_every_name_is_recognised_as_the_stream_it_was_made_for(
    rules: MarketRules, spec: str, symbol: str
) -> None:
    stream = rules.streams.stream(symbol, spec)
    assert rules.streams.recognise(stream.name) == stream
    if stream.scope is Scope.BASE:
        symbol = symbol.partition("-")[0]
    elif stream.data_type is DataType.CONTINUOUS_KLINE:
        symbol = symbol.partition("_")[0]
    assert stream.symbol == symbol
    assert stream.feed == f"{rules.key}/{stream.symbol}/{feed_spec(rules, spec)}"
    assert stream.route in (*rules.paths, REST_ROUTE)


@pytest.mark.parametrize(("rules", "spec"), EVERY_MARKET_SPEC)
def test_streams_of_the_whole_market_are_recognised_too(rules: MarketRules, spec: str) -> None:
    stream = rules.streams.market_stream(spec)
    assert rules.streams.recognise(stream.name) == stream
    assert (stream.symbol, stream.scope) == (ANY_SYMBOL, Scope.MARKET)
    assert stream.feed == f"{rules.key}/*/{spec.partition('@')[0]}"
    assert stream.route in rules.paths


@pytest.mark.parametrize(
    ("rules", "spec", "name"),
    [
        (BINANCE_SPOT, "trade", "币安人生usdt@trade"),
        (BINANCE_SPOT, "kline:1m", "币安人生usdt@kline_1m"),
        (BINANCE_SPOT, "kline:1M", "币安人生usdt@kline_1M"),
        (BINANCE_SPOT, "book:20", "币安人生usdt@depth20@100ms"),
        (BINANCE_USDM, "mark_price", "币安人生usdt@markPrice@1s"),
        (BINANCE_COINM, "liquidation", "币安人生usdt@forceOrder"),
        (BYBIT_SPOT, "kline:1M", "kline.M.币安人生USDT"),
        (BYBIT_LINEAR, "kline:1h", "kline.60.币安人生USDT"),
        (BYBIT_LINEAR, "book", "orderbook.200.币安人生USDT"),
        (BYBIT_LINEAR, "quote", "orderbook.1.币安人生USDT"),
        (BYBIT_INVERSE, "liquidation", "allLiquidation.币安人生USDT"),
    ],
)
def test_names_are_the_venues(rules: MarketRules, spec: str, name: str) -> None:
    assert rules.streams.stream("币安人生USDT", spec).name == name


def test_only_ascii_letters_change_their_case() -> None:
    assert BINANCE_SPOT.streams.stream("ÄSZUSDT", "trade").name == "Äszusdt@trade"


@pytest.mark.parametrize(
    ("rules", "name"),
    [
        (BINANCE_SPOT, "btcusdt@forceOrder"),
        (BINANCE_SPOT, "btcusdt@kline_7m"),
        (BINANCE_SPOT, "btcusdt@kline_1m@+08:00"),
        (BINANCE_SPOT, "!bookTicker"),  # removed in 2022
        (BINANCE_SPOT, "!ticker@arr"),  # removed in 2026
        (BINANCE_SPOT, "btcusdt@depth@0ms"),
        (BINANCE_SPOT, "@trade"),
        (BINANCE_SPOT, ""),
        (BINANCE_USDM, "btcusdt@kline_1s"),
        (BINANCE_USDM, "btcusdt_next_year@continuousKline_1m"),
        (BINANCE_USDM, "btcusdt@rpiDepth@500ms"),
        (BINANCE_USDM, "!assetIndex@arr"),
        (BYBIT_LINEAR, "orderbook.500.BTCUSDT"),
        (BYBIT_LINEAR, "orderbook.rpi.BTCUSDT"),
        (BYBIT_LINEAR, "publicTrade."),
        (BYBIT_SPOT, "allLiquidation.BTCUSDT"),
        (BYBIT_INVERSE, "orderbook.full.BTCUSD"),
        (BYBIT_OPTION, "orderbook.1.BTC-26DEC25-100000-C"),
        (BYBIT_OPTION, "kline.1.BTC-26DEC25-100000-C"),
    ],
)
def test_a_name_of_no_stream_is_not_recognised(rules: MarketRules, name: str) -> None:
    assert rules.streams.recognise(name) is None


@pytest.mark.parametrize("rules", ALL_RULES, ids=lambda rules: rules.key)
@pytest.mark.parametrize("spec", ["book:7", "kline:", "kline:1", "", "trades"])
def test_an_impossible_word_is_a_key_error(rules: MarketRules, spec: str) -> None:
    with pytest.raises(KeyError):
        rules.streams.stream("BTCUSDT", spec)
    with pytest.raises(KeyError):
        rules.streams.market_stream(spec)


def test_a_stream_knows_its_kind_depth_interval_and_procedure() -> None:
    kline = BINANCE_SPOT.streams.stream("BTCUSDT", "kline:1M")
    assert (kline.data_type, kline.interval) == (DataType.KLINE, TimeFrame.MO1)
    assert kline.depth is kline.procedure is None
    full, part = (BINANCE_SPOT.streams.stream("BTCUSDT", spec) for spec in ("book", "book:5"))
    assert (full.depth, full.procedure) == (None, BookProcedure.DIFFS_BY_FIRST_ID)
    assert (part.depth, part.procedure) == (5, BookProcedure.WHOLE_EVERY_TIME)
    deep, whole = (BYBIT_LINEAR.streams.stream("BTCUSDT", f"book:{d}") for d in (1000, "full"))
    assert (deep.depth, deep.procedure) == (1000, BookProcedure.SNAPSHOT_IN_STREAM)
    assert (whole.depth, whole.procedure) == (None, BookProcedure.FULL_BY_REST)
    futures = BINANCE_COINM.streams.stream("BTCUSD_PERP", "book@0ms")
    assert (futures.depth, futures.procedure) == (None, BookProcedure.DIFFS_BY_PREVIOUS_ID)
    shown = [stream.shows_holes for stream in (kline, full, part, deep, whole, futures)]
    assert shown == [False, True, False, True, True, True]


@pytest.mark.parametrize(
    ("procedure", "by_rest"),
    [
        (BookProcedure.DIFFS_BY_FIRST_ID, True),
        (BookProcedure.DIFFS_BY_PREVIOUS_ID, True),
        (BookProcedure.FULL_BY_REST, True),
        (BookProcedure.SNAPSHOT_IN_STREAM, False),
        (BookProcedure.WHOLE_EVERY_TIME, False),
    ],
)
def test_some_books_begin_with_a_snapshot_by_rest(procedure: BookProcedure, by_rest: bool) -> None:
    assert procedure.needs_rest is by_rest


def test_a_continuous_candle_knows_its_contract_and_its_pair() -> None:
    stream = BINANCE_USDM.streams.stream("BTCUSDT", "continuous_kline:current_quarter:1h")
    assert stream.name == "btcusdt_current_quarter@continuousKline_1h"
    assert (stream.contract_type, stream.interval) == ("current_quarter", TimeFrame.H1)
    assert stream.feed == "binance/usdm/BTCUSDT/continuous_kline:current_quarter:1h"
    of_coin = BINANCE_COINM.streams.stream("BTCUSD_PERP", "continuous_kline:perpetual:1m")
    assert (of_coin.name, of_coin.symbol) == ("btcusd_perpetual@continuousKline_1m", "BTCUSD")


@pytest.mark.parametrize(
    ("rules", "spec", "kinds"),
    [
        (BYBIT_LINEAR, "ticker", ["ticker", "mark_price", "open_interest"]),
        (BYBIT_OPTION, "ticker", ["ticker", "mark_price", "open_interest"]),
        (BYBIT_SPOT, "ticker", ["ticker"]),
        (BINANCE_USDM, "ticker", ["ticker"]),
    ],
)
def test_a_stream_may_carry_several_feeds(rules: MarketRules, spec: str, kinds: list[str]) -> None:
    stream = rules.streams.stream("BTC", spec)
    assert stream.feeds == tuple(f"{rules.key}/BTC/{kind}" for kind in kinds)
    assert [kind.value for kind in DataType if stream.gives(kind)] == sorted(
        kinds, key=[kind.value for kind in DataType].index
    )


def carried(stream: Stream, *symbols: str) -> list[str]:
    return [symbol for symbol in symbols if stream.carries(symbol)]


def test_a_stream_carries_a_symbol_a_base_coin_or_a_market() -> None:
    options = ["BTC-26DEC25-100000-C", "BTC-26DEC25-100000-P-USDT", "ETH-26DEC25-4000-C"]
    trades = BYBIT_OPTION.streams.stream(options[0], "trade")
    assert (trades.name, trades.symbol) == ("publicTrade.BTC", "BTC")
    assert carried(trades, *options) == options[:2]
    ticker = BYBIT_OPTION.streams.stream(options[0], "ticker")
    assert carried(ticker, *options) == options[:1]
    assert carried(BINANCE_USDM.streams.market_stream("ticker"), "A", "B") == ["A", "B"]


@pytest.mark.parametrize(
    ("spec", "route"),
    [
        ("trade", "public"),
        ("quote", "public"),
        ("book", "public"),
        ("book@0ms", "public"),
        ("book:20", "public"),
        ("agg_trade", "market"),
        ("kline:1m", "market"),
        ("continuous_kline:perpetual:1m", "market"),
        ("mark_price", "market"),
        ("liquidation", "market"),
        ("mini_ticker", "market"),
        ("ticker", "market"),
        ("open_interest", REST_ROUTE),
    ],
)
def test_usdm_is_split_by_route_and_coinm_is_not(spec: str, route: str) -> None:
    assert BINANCE_USDM.streams.stream("BTCUSDT", spec).route == route
    expected = REST_ROUTE if route == REST_ROUTE else ""
    assert BINANCE_COINM.streams.stream("BTCUSD_PERP", spec).route == expected


def test_what_is_promised_is_not_sparse_and_what_tells_of_trades_is() -> None:
    for rules in ALL_RULES:
        streams = [rules.streams.stream("BTCUSDT", spec) for spec in rules.streams.specs]
        streams += [rules.streams.market_stream(spec) for spec in rules.streams.market_specs]
        for stream in streams:
            assert stream.every is None or not stream.sparse
            if stream.data_type in (DataType.TRADE, DataType.AGG_TRADE, DataType.LIQUIDATION):
                assert stream.sparse

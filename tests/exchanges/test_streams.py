"""The user's words and the venues' names, both ways."""

from __future__ import annotations

import pytest

from farm.exchanges.rules import MarketRules
from farm.exchanges.streams import BookProcedure
from farm.types import DataType, TimeFrame
from tests.exchanges.feeding import ALL_RULES, BINANCE_SPOT, BYBIT_LINEAR, BYBIT_SPOT

EVERY_SPEC = [
    pytest.param(r, spec, id=f"{r.key} {spec}") for r in ALL_RULES for spec in r.streams.specs
]
SYMBOLS = ["BTCUSDT", "1000SATSUSDT", "T", "币安人生USDT", "BTC-26DEC25"]


@pytest.mark.parametrize(("rules", "spec"), EVERY_SPEC)
@pytest.mark.parametrize("symbol", SYMBOLS)
def test_every_name_is_recognised_as_the_stream_it_was_made_for(
    rules: MarketRules, spec: str, symbol: str
) -> None:
    stream = rules.streams.stream(symbol, spec)
    assert rules.streams.recognise(stream.name) == stream
    assert stream.symbol == symbol
    assert stream.feed == f"{rules.key}/{symbol}/{stream.spec}"
    # Bybit's "book" is written out with its depth; all else keeps the user's words.
    assert stream.spec == ("book:200" if spec == "book" and rules is not BINANCE_SPOT else spec)


@pytest.mark.parametrize(
    ("rules", "spec", "name"),
    [
        (BINANCE_SPOT, "trade", "币安人生usdt@trade"),
        (BINANCE_SPOT, "kline:1m", "币安人生usdt@kline_1m"),
        (BINANCE_SPOT, "kline:1M", "币安人生usdt@kline_1M"),
        (BINANCE_SPOT, "book:20", "币安人生usdt@depth20@100ms"),
        (BYBIT_SPOT, "kline:1M", "kline.M.币安人生USDT"),
        (BYBIT_LINEAR, "kline:1h", "kline.60.币安人生USDT"),
        (BYBIT_LINEAR, "book", "orderbook.200.币安人生USDT"),
        (BYBIT_LINEAR, "quote", "orderbook.1.币安人生USDT"),
    ],
)
def test_names_are_the_venues(rules: MarketRules, spec: str, name: str) -> None:
    assert rules.streams.stream("币安人生USDT", spec).name == name


def test_only_ascii_letters_change_their_case() -> None:
    assert BINANCE_SPOT.streams.stream("ÄSZUSDT", "trade").name == "Äszusdt@trade"


@pytest.mark.parametrize(
    ("rules", "name"),
    [
        (BINANCE_SPOT, "btcusdt@ticker"),
        (BINANCE_SPOT, "btcusdt@kline_7m"),
        (BINANCE_SPOT, "@trade"),
        (BINANCE_SPOT, ""),
        (BYBIT_LINEAR, "tickers.BTCUSDT"),
        (BYBIT_LINEAR, "orderbook.500.BTCUSDT"),
        (BYBIT_LINEAR, "orderbook.rpi.BTCUSDT"),
        (BYBIT_LINEAR, "publicTrade."),
    ],
)
def test_a_name_of_no_stream_is_not_recognised(rules: MarketRules, name: str) -> None:
    assert rules.streams.recognise(name) is None


@pytest.mark.parametrize("rules", ALL_RULES)
@pytest.mark.parametrize("spec", ["book:7", "kline:", "kline:1", "", "trades"])
def test_an_impossible_word_is_a_key_error(rules: MarketRules, spec: str) -> None:
    with pytest.raises(KeyError):
        rules.streams.stream("BTCUSDT", spec)


def test_a_stream_knows_its_kind_depth_interval_and_procedure() -> None:
    kline = BINANCE_SPOT.streams.stream("BTCUSDT", "kline:1M")
    assert (kline.data_type, kline.interval) == (DataType.KLINE, TimeFrame.MO1)
    assert kline.depth is kline.procedure is None
    full, part = (BINANCE_SPOT.streams.stream("BTCUSDT", spec) for spec in ("book", "book:5"))
    assert (full.depth, full.procedure) == (None, BookProcedure.SNAPSHOT_BY_REST)
    assert (part.depth, part.procedure) == (5, BookProcedure.WHOLE_EVERY_TIME)
    deep = BYBIT_LINEAR.streams.stream("BTCUSDT", "book:1000")
    assert (deep.depth, deep.procedure) == (1000, BookProcedure.SNAPSHOT_IN_STREAM)
    assert [stream.shows_holes for stream in (kline, full, part, deep)] == [
        False,
        True,
        False,
        True,
    ]

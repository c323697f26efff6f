"""Simulated texts beside real ones: the same keys in the same order, the same kinds of values."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from typing import Any

import pytest

from farm.types import Exchange, Market
from tests.recordings import payload_file, recording
from tests.testing.simulator.stories import Story, read, tell

BINANCE, BYBIT = Exchange.BINANCE, Exchange.BYBIT
CALL, PUT = "BTC-25JUN27-106000-C-USDT", "BTC-25JUN27-106000-P-USDT"
SYMBOLS = {
    (BINANCE, Market.SPOT): ["BTCUSDT"],
    (BINANCE, Market.USDM): ["BTCUSDT", "XRPUSDT"],
    (BINANCE, Market.COINM): ["BTCUSD_PERP", "BTCUSD_211231"],
    (BYBIT, Market.SPOT): ["BTCUSDT"],
    (BYBIT, Market.LINEAR): ["BTCUSDT"],
    (BYBIT, Market.INVERSE): ["BTCUSD"],
    (BYBIT, Market.OPTION): [CALL, PUT],
}


@pytest.fixture(scope="module")
def stories() -> dict[tuple[Exchange, Market], Story]:
    return {
        (exchange, market): read(tell(exchange, market, symbols, 40))
        for (exchange, market), symbols in SYMBOLS.items()
    }


def shape(value: Any) -> Any:
    """Keys with the shapes of their values, in order; a number's size and a text's length go."""
    if isinstance(value, dict):
        return [(key, shape(item)) for key, item in value.items()]
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


def live_frames() -> list[Any]:
    lines = payload_file("live_frames_2026.ndjson").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    return [json.loads(r["raw"]) for r in records if r["venue"].startswith(("binance", "bybit"))]


LIVE = [
    (BINANCE, Market.COINM, "btcusd_perp@bookTicker"),
    (BINANCE, Market.COINM, "btcusd_perp@trade"),
    (BINANCE, Market.COINM, "btcusd_perp@markPrice@1s"),
    (BINANCE, Market.COINM, "btcusd_perp@depth@100ms"),
    (BINANCE, Market.USDM, "xrpusdt@forceOrder"),
    (BINANCE, Market.USDM, "!forceOrder@arr"),
    (BINANCE, Market.USDM, "btcusdt@aggTrade"),
    (BINANCE, Market.USDM, "btcusdt@trade"),
    (BYBIT, Market.OPTION, "publicTrade.BTC"),
]


@pytest.mark.parametrize(("exchange", "market", "stream"), LIVE, ids=lambda v: str(v))
def test_live_frames(
    stories: dict[tuple[Exchange, Market], Story],
    exchange: Exchange,
    market: Market,
    stream: str,
) -> None:
    simulated = stories[exchange, market][stream]
    real = [
        frame.get("data", frame) if exchange is BINANCE else frame
        for frame in live_frames()
        if stream in (frame.get("stream"), frame.get("topic"))
    ]
    full = [payload for payload in simulated if shape(payload) == shape(real[0])]
    assert full, f"{shape(simulated[0])} is not {shape(real[0])}"


def test_live_tickers_of_bybit(stories: dict[tuple[Exchange, Market], Story]) -> None:
    """Real frames leave fields out; those that they have, the simulated ones have too."""
    for frame in live_frames():
        topic = frame.get("topic", "")
        if not topic.startswith("tickers."):
            continue
        market = {"BTCUSD": Market.INVERSE, "BTCUSDT": Market.LINEAR}.get(
            topic.partition(".")[2], Market.OPTION
        )
        first = stories[BYBIT, market][topic][0]
        assert set(frame["data"]) <= set(first["data"])
        assert list(frame) == list(first)


def recorded(name: str) -> Iterator[Any]:
    for line in gzip.decompress(recording(name).read_bytes()).splitlines():
        fields = json.loads(line)
        if fields.get("t") == "recv":
            yield json.loads(fields["data"])


@pytest.mark.parametrize(
    ("market", "topic"),
    [
        (Market.LINEAR, "orderbook.200.BTCUSDT"),
        (Market.LINEAR, "publicTrade.BTCUSDT"),
        (Market.LINEAR, "kline.1.BTCUSDT"),
        (Market.LINEAR, "tickers.BTCUSDT"),
        (Market.SPOT, "orderbook.200.BTCUSDT"),
        (Market.SPOT, "publicTrade.BTCUSDT"),
        (Market.SPOT, "kline.1.BTCUSDT"),
        (Market.SPOT, "tickers.BTCUSDT"),
    ],
)
def test_recorded_frames_of_bybit(
    stories: dict[tuple[Exchange, Market], Story], market: Market, topic: str
) -> None:
    real = [m for m in recorded("session_bybit_20260809.jsonl.gz") if m.get("topic") == topic]
    # Both categories are in the file: spot puts the time first in books, trades and tickers, and
    # the type first in candles.
    first = {"kline": "type"}.get(topic.partition(".")[0], "topic, ts")
    is_spot = [", ".join(message).startswith(first) for message in real]
    mine = [m for m, spot in zip(real, is_spot, strict=True) if spot is (market is Market.SPOT)]
    assert shape(stories[BYBIT, market][topic][0]) == shape(mine[0])


@pytest.mark.parametrize(
    ("name", "market", "stream"),
    [
        ("session_binance_usdm_20210722.jsonl.gz", Market.USDM, "@kline_1m"),
        ("session_binance_coinm_20210722.jsonl.gz", Market.COINM, "@kline_1m"),
        ("session_binance_spot_20211012.jsonl.gz", Market.SPOT, "@kline_1m"),
        ("session_binance_spot_20211012.jsonl.gz", Market.SPOT, "@aggTrade"),
        ("session_binance_spot_20211012.jsonl.gz", Market.SPOT, "@bookTicker"),
        ("session_binance_spot_20211012.jsonl.gz", Market.SPOT, "@depth@100ms"),
    ],
)
def test_recorded_frames_of_binance(
    stories: dict[tuple[Exchange, Market], Story], name: str, market: Market, stream: str
) -> None:
    real = [m["data"] for m in recorded(name) if m["stream"].endswith(stream)]
    story = stories[BINANCE, market]
    simulated = story[SYMBOLS[BINANCE, market][0].lower() + stream]
    shapes = [shape(payload) for payload in real]
    assert shape(simulated[0]) in shapes


def documented(name: str) -> list[Any]:
    return [
        json.loads(json.loads(line)["raw"]) for line in payload_file(name).read_text().splitlines()
    ]


@pytest.mark.parametrize(
    ("name", "market"),
    [
        ("binance_usdm_documented.ndjson", Market.USDM),
        ("binance_coinm_documented.ndjson", Market.COINM),
    ],
)
@pytest.mark.parametrize(
    ("event", "stream"),
    [
        ("24hrTicker", "{symbol}@ticker"),
        ("24hrMiniTicker", "{symbol}@miniTicker"),
        ("continuous_kline", "{pair}_perpetual@continuousKline_1m"),
    ],
)
def test_documented_frames_of_binance_futures(
    stories: dict[tuple[Exchange, Market], Story],
    name: str,
    market: Market,
    event: str,
    stream: str,
) -> None:
    real = [frame for frame in documented(name) if isinstance(frame, dict) and frame["e"] == event]
    pair = {Market.USDM: "btcusdt", Market.COINM: "btcusd"}[market]
    symbol = {Market.USDM: "btcusdt", Market.COINM: "btcusd_perp"}[market]
    simulated = stories[BINANCE, market][stream.format(symbol=symbol, pair=pair)][0]
    assert shape(simulated) in [shape(frame) for frame in real]

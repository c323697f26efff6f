"""One message of every stream of Bybit, written by hand, with what its fields are.

Prices and the like are named by their paths within the message, as are times and ids.
"""

from __future__ import annotations

import json
from typing import Any

import attrs

from farm.exchanges.rules import MarketRules
from farm.exchanges.streams import Stream
from tests.exchanges.feeding import (
    BYBIT,
    BYBIT_INVERSE,
    BYBIT_LINEAR,
    BYBIT_OPTION,
    BYBIT_SPOT,
    text,
)

Path = tuple[str | int, ...]

SYMBOLS = {
    "bybit/spot": "BTCUSDT",
    "bybit/linear": "BTCUSDT",
    "bybit/inverse": "BTCUSD",
    "bybit/option": "BTC-25JUN27-106000-C-USDT",
}
TS = 1790000000123
DATA: Path = ("data",)
ROW: Path = ("data", 0)


@attrs.frozen
class Sample:
    """A message; `numbers`, `signed` (may be negative), `times` and `ids` are paths in it."""

    rules: MarketRules
    symbol: str
    spec: str
    message: dict[str, Any]
    numbers: list[Path]
    signed: list[Path] = attrs.field(factory=list)
    times: list[Path] = attrs.field(factory=list)
    ids: list[Path] = attrs.field(factory=list)

    @property
    def stream(self) -> Stream:
        return self.rules.streams.stream(self.symbol, self.spec)

    @property
    def id(self) -> str:
        return f"{self.rules.key} {self.stream.name}"

    def frame(self, *changes: tuple[Path, Any]) -> bytes:
        """The message, with other values at some paths."""
        message = json.loads(json.dumps(self.message))
        for path, value in changes:
            *way, last = path
            place = message
            for step in way:
                place = place[step]
            place[last] = value
        return text(message)


def at(under: Path, *names: str) -> list[Path]:
    return [(*under, name) for name in names]


def samples(rules: MarketRules) -> list[Sample]:
    """Of every kind of stream of this market; candles once, books of two depths and the full."""
    symbol = SYMBOLS[rules.key]
    found = [_trades(rules, symbol), _ticker(rules, symbol), _book(rules, symbol, "book")]
    if rules is BYBIT_OPTION:
        return [*found, _book(rules, symbol, "book:25")]
    found += [_quote(rules, symbol), _candle(rules, symbol), _book(rules, symbol, "book:50")]
    if rules is not BYBIT_INVERSE:
        found.append(_book(rules, symbol, "book:full"))
    return found if rules is BYBIT_SPOT else [*found, _liquidations(rules, symbol)]


def _message(rules: MarketRules, symbol: str, spec: str, data: Any, **more: Any) -> dict[str, Any]:
    topic = rules.streams.stream(symbol, spec).name
    return {"topic": topic, "type": "snapshot", "ts": TS, "data": data} | more


def _trades(rules: MarketRules, symbol: str) -> Sample:
    row = {"T": TS - 1, "s": symbol, "S": "Buy", "v": "0.105", "p": "65114.30", "i": "5f-a1"}
    row |= {"BT": False, "seq": 812_000_000_001}
    numbers = ["v", "p"]
    if rules is BYBIT_OPTION:
        row |= {"mP": "238.78", "iP": "83885.18", "mIv": "0.1389", "iv": "0.14"}
        numbers += ["mP", "iP", "mIv", "iv"]
    else:
        row |= {"L": "PlusTick", "RPI": True}
    message = _message(rules, symbol, "trade", [row])
    times, ids = [("ts",), (*ROW, "T")], [(*ROW, "seq")]
    return Sample(rules, symbol, "trade", message, at(ROW, *numbers), times=times, ids=ids)


def _book_data(symbol: str) -> dict[str, Any]:
    bids, asks = [["100.50", "1.25"], ["100.40", "0"]], [["100.60", "3.5"]]
    return {"s": symbol, "b": bids, "a": asks, "u": 177400507, "seq": 66544703342}


def _book(rules: MarketRules, symbol: str, spec: str) -> Sample:
    kind = "delta" if spec == "book:full" else "snapshot"
    message = _message(rules, symbol, spec, _book_data(symbol), type=kind, cts=TS - 2)
    levels = [(*DATA, side, 0, place) for side in "ba" for place in (0, 1)]
    times, ids = [("ts",), ("cts",)], at(DATA, "u", "seq")
    return Sample(rules, symbol, spec, message, levels, times=times, ids=ids)


def _quote(rules: MarketRules, symbol: str) -> Sample:
    book = _book(rules, symbol, "book")
    data = _book_data(symbol) | {"b": [["100.50", "1.25"]]}
    message = _message(rules, symbol, "quote", data, cts=TS - 2)
    return attrs.evolve(book, spec="quote", message=message)


def _candle(rules: MarketRules, symbol: str) -> Sample:
    row = {"start": 1789999980000, "end": 1790000039999, "interval": "1", "confirm": False}
    names = ("open", "close", "high", "low", "volume", "turnover")
    row |= dict(zip(names, ("65000.5", "65114.3", "65200", "64990", "12.5", "813000.25"),
                    strict=True)) | {"timestamp": TS - 1}  # fmt: skip
    message = _message(rules, symbol, "kline:1m", [row])
    times = [("ts",), *at(ROW, "start", "end", "timestamp")]
    return Sample(rules, symbol, "kline:1m", message, at(ROW, *names), times=times)


TICKER = {"lastPrice": "65114.30", "highPrice24h": "65282.30", "lowPrice24h": "64694.40"}
TICKER |= {"volume24h": "17573.912", "turnover24h": "1142118412.90"}
OPEN = {"prevPrice24h": "65008.70"}
DERIVATIVE = {"markPrice": "65117.44", "indexPrice": "65137.76", "openInterest": "59891.732"}
FUTURES = {"bid1Price": "65114.20", "bid1Size": "5.954", "ask1Price": "65114.30"}
FUTURES |= {"ask1Size": "10.470", "openInterestValue": "3899996265.01"}
OPTIONS = {"bidPrice": "22915", "bidSize": "18.55", "bidIv": "0.3285", "askPrice": "26205"}
OPTIONS |= {"askSize": "18.50", "askIv": "0.4489", "markPriceIv": "0.3868"}
OPTIONS |= {"underlyingPrice": "86977.1", "predictedDeliveryPrice": "86000"}
GREEKS = {"delta": "-0.5", "gamma": "0.00001", "vega": "100", "theta": "-40"}
WORDS = {"tickDirection": "ZeroPlusTick", "price24hPcnt": "-0.004837", "fundingIntervalHour": "8"}


def _ticker(rules: MarketRules, symbol: str) -> Sample:
    times, signed = [("ts",)], {}
    if rules is BYBIT_SPOT:
        numbers = TICKER | OPEN
    elif rules is BYBIT_OPTION:
        numbers, signed = TICKER | DERIVATIVE | OPTIONS, dict(GREEKS)
    else:
        numbers = TICKER | OPEN | DERIVATIVE | FUTURES
        signed = {"fundingRate": "-0.0000392"}
        times = [("ts",), (*DATA, "nextFundingTime")]
    due = {"nextFundingTime": "1790380800000"} if len(times) > 1 else {}
    data = {"symbol": symbol} | WORDS | numbers | signed | due
    message = _message(rules, symbol, "ticker", data, cs=24987956059)
    return Sample(
        rules,
        symbol,
        "ticker",
        message,
        at(DATA, *numbers),
        signed=at(DATA, *signed),
        times=times,
        ids=[("cs",)],
    )


def _liquidations(rules: MarketRules, symbol: str) -> Sample:
    row = {"T": TS - 5, "s": symbol, "S": "Sell", "v": "20000", "p": "0.04499"}
    message = _message(rules, symbol, "liquidation", [row])
    times = [("ts",), (*ROW, "T")]
    return Sample(rules, symbol, "liquidation", message, at(ROW, "v", "p"), times=times)


ALL = [sample for rules in BYBIT for sample in samples(rules)]
LINEAR_TICKER = _ticker(BYBIT_LINEAR, "BTCUSDT")

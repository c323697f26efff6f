"""One message of every stream of Binance, written by hand, with what its fields are.

Prices and the like are named by their paths within the payload, as are times and ids.
"""

from __future__ import annotations

import json
from typing import Any

import attrs

from farm.exchanges.rules import MarketRules
from farm.exchanges.streams import REST_ROUTE, Stream
from tests.exchanges.feeding import BINANCE, BINANCE_SPOT, BINANCE_USDM, Drive, Outcome, text

Path = tuple[str | int, ...]

SYMBOLS = {"binance/spot": "BTCUSDT", "binance/usdm": "BTCUSDT", "binance/coinm": "BTCUSD_PERP"}
E, T = 1790000000123, 1790000000122


@attrs.frozen
class Sample:
    """A payload; `numbers`, `signed` (may be negative), `times` and `ids` are paths in it."""

    rules: MarketRules
    stream: Stream
    data: Any
    numbers: list[Path]
    signed: list[Path] = attrs.field(factory=list)
    times: list[Path] = attrs.field(factory=list)
    ids: list[Path] = attrs.field(factory=list)

    @property
    def id(self) -> str:
        return f"{self.rules.key} {self.stream.name}"

    def frame(self, *changes: tuple[Path, Any]) -> bytes:
        """The message, with other values at some paths."""
        data = json.loads(json.dumps(self.data))
        for path, value in changes:
            *way, last = path
            place = data
            for step in way:
                place = place[step]
            place[last] = value
        is_answer = self.stream.route == REST_ROUTE
        return text(data if is_answer else {"stream": self.stream.name, "data": data})

    def read(self, drive: Drive, *changes: tuple[Path, Any]) -> Outcome:
        """Give it to a core, as a frame or as the answer of a poll."""
        if self.stream.route != REST_ROUTE:
            return drive.read(self.frame(*changes))
        return drive.snapshot(self.frame(*changes), self.stream.spec, self.stream.symbol)


def at(*names: str, under: Path = ()) -> list[Path]:
    return [(*under, name) for name in names]


def levels(*sides: str, under: Path = ()) -> list[Path]:
    return [(*under, side, 0, place) for side in sides for place in (0, 1)]


SIDES = {"b": [["83732.40", "0.680"], ["83732.30", "0"]], "a": [["83732.50", "2.458"]]}
CANDLE = {"t": 1789999980000, "T": 1790000039999, "s": "X", "i": "1m", "f": 100, "L": 200}
CANDLE |= {"o": "83700.10", "c": "83732.50", "h": "83740.00", "l": "83690.20", "v": "12.345"}
CANDLE |= {"n": 101, "x": False, "q": "1033000.5", "V": "6.1", "Q": "510000.25", "B": "0"}
MINI = {"c": "83732.50", "o": "83000.10", "h": "84000.00", "l": "82000.50", "v": "1234.5"}
MINI |= {"q": "103000000.75"}


def samples(rules: MarketRules) -> list[Sample]:
    """Of every kind of stream of this market; books and candles once each."""
    symbol = SYMBOLS[rules.key]
    of_all = [*_trades(rules, symbol), *_books(rules, symbol), *_candles(rules, symbol)]
    of_all += _tickers(rules, symbol)
    return of_all if rules is BINANCE_SPOT else of_all + _of_futures(rules, symbol)


def _stamped(rules: MarketRules, kind: str, symbol: str, **fields: Any) -> dict[str, Any]:
    data = {"e": kind, "E": E, "s": symbol} | fields
    return data if rules.universe is None else data | {"st": rules.universe}


def _trades(rules: MarketRules, symbol: str) -> list[Sample]:
    futures = rules is not BINANCE_SPOT
    fill = {"p": "83781.60", "q": "0.105", "T": T, "m": True}
    trade = _stamped(rules, "trade", symbol, t=1155839922, **fill)
    agg = _stamped(rules, "aggTrade", symbol, a=3466782974, f=8123344783, l=8123344785, **fill)
    trade |= {"X": "MARKET"} if futures else {"M": True}
    agg |= {"nq": "0.030"} if rules is BINANCE_USDM else {}
    stream = rules.streams.stream
    return [
        Sample(
            rules,
            stream(symbol, "trade"),
            trade,
            at("p", "q"),
            times=at("E", "T"),
            ids=at("t"),
        ),
        Sample(
            rules,
            stream(symbol, "agg_trade"),
            agg,
            at("p", "q", "nq") if "nq" in agg else at("p", "q"),
            times=at("E", "T"),
            ids=at("a", "f", "l"),
        ),
    ]


def _books(rules: MarketRules, symbol: str) -> list[Sample]:
    top = {"b": "83732.40", "B": "0.680", "a": "83732.50", "A": "2.458", "u": 11660059839759}
    ids = {"U": 11660059838224, "u": 11660059844303}
    if rules is BINANCE_SPOT:
        quote = top | {"s": symbol}
        diff = _stamped(rules, "depthUpdate", symbol, **ids, **SIDES)
        part: dict[str, Any] = {"lastUpdateId": 160, "bids": SIDES["b"], "asks": SIDES["a"]}
        sides, id_paths, part_ids = ("bids", "asks"), at("U", "u"), at("lastUpdateId")
        times, part_times = at("E"), []
    else:
        quote = _stamped(rules, "bookTicker", symbol, T=T, **top)
        ids |= {"pu": 11660059836647}
        diff = _stamped(rules, "depthUpdate", symbol, T=T, **ids, **SIDES)
        part, sides, id_paths, part_ids = diff, ("b", "a"), at("U", "u", "pu"), at("U", "u", "pu")
        times = part_times = at("E", "T")
    quote_times = [path for path in at("E", "T") if path[0] in quote]
    stream = rules.streams.stream
    tops = at("b", "B", "a", "A")
    book, partial = stream(symbol, "book"), stream(symbol, "book:20")
    return [
        Sample(rules, stream(symbol, "quote"), quote, tops, times=quote_times, ids=at("u")),
        Sample(rules, book, diff, levels("b", "a"), times=times, ids=id_paths),
        Sample(rules, partial, part, levels(*sides), times=part_times, ids=part_ids),
    ]


def _candle(rules: MarketRules, stream: Stream, data: dict[str, Any]) -> Sample:
    return Sample(
        rules,
        stream,
        data,
        at(*"ochlvqVQ", under=("k",)),
        times=[*at("E"), *at("t", "T", under=("k",))],
        ids=at("f", "L", "n", under=("k",)),
    )


def _candles(rules: MarketRules, symbol: str) -> list[Sample]:
    data = _stamped(rules, "kline", symbol, k=CANDLE)
    return [_candle(rules, rules.streams.stream(symbol, "kline:1m"), data)]


def _mini(rules: MarketRules, stream: Stream, symbol: str) -> Sample:
    data = _stamped(rules, "24hrMiniTicker", symbol, **MINI)
    return Sample(rules, stream, data, at(*"cohlvq"), times=at("E"))


def _ticker(rules: MarketRules, stream: Stream, symbol: str) -> Sample:
    more = {"p": "-88.17", "P": "-0.855", "w": "83500.25", "Q": "2.097", "O": 1789913600123}
    more |= {"C": 1790000000111, "F": 148927, "L": 181349, "n": 32423}
    names = "wcQohlvq"
    if rules is BINANCE_SPOT:
        more |= {"b": "83732.40", "B": "0.680", "a": "83732.50", "A": "2.458"}
        names += "bBaA"
    data = _stamped(rules, "24hrTicker", symbol, **MINI, **more)
    return Sample(
        rules,
        stream,
        data,
        at(*names),
        signed=at("p", "P"),
        times=at("E", "O", "C"),
        ids=at("F", "L", "n"),
    )


def _tickers(rules: MarketRules, symbol: str) -> list[Sample]:
    stream, whole = rules.streams.stream, rules.streams.market_stream
    found = [
        _mini(rules, stream(symbol, "mini_ticker"), symbol),
        _mini(rules, whole("mini_ticker"), symbol),
        _ticker(rules, stream(symbol, "ticker"), symbol),
    ]
    return found if rules is BINANCE_SPOT else [*found, _ticker(rules, whole("ticker"), symbol)]


def _mark(rules: MarketRules, stream: Stream, symbol: str) -> Sample:
    prices = {"p": "83732.50", "ap": "83732.51", "P": "83805.72", "i": "83786.17"}
    data = _stamped(rules, "markPriceUpdate", symbol, r="-0.00000573", T=1790380800000, **prices)
    unsigned = at("p", "ap", "P", "i")
    return Sample(rules, stream, data, unsigned, signed=at("r"), times=at("E", "T"))


def _liquidation(rules: MarketRules, stream: Stream, symbol: str) -> Sample:
    order = {"s": symbol, "S": "SELL", "o": "LIMIT", "f": "IOC", "q": "0.190", "p": "82338.30"}
    order |= {"ap": "82651.90", "X": "FILLED", "l": "0.155", "z": "0.190", "T": T}
    order |= {"ps": symbol, "st": rules.universe}
    data = {"e": "forceOrder", "E": E, "o": order}
    paths = at("q", "p", "ap", "z", under=("o",))
    return Sample(rules, stream, data, paths, times=[("E",), ("o", "T")])


def _of_futures(rules: MarketRules, symbol: str) -> list[Sample]:
    stream, whole = rules.streams.stream, rules.streams.market_stream
    pair = {"e": "continuous_kline", "E": E, "ps": symbol, "ct": "PERPETUAL", "k": CANDLE}
    contract = {"ps": symbol, "ct": "PERPETUAL", "dt": 1790380800000, "ot": 1569398400000}
    info = _stamped(rules, "contractInfo", symbol, cs="TRADING", **contract)
    interest = {"symbol": symbol, "openInterest": "84617.188", "time": T}
    quote = next(s for s in _books(rules, symbol) if s.stream.spec == "quote")
    return [
        _candle(rules, stream(symbol, "continuous_kline:perpetual:1m"), pair),
        _mark(rules, stream(symbol, "mark_price"), symbol),
        _mark(rules, whole("mark_price"), symbol),
        _liquidation(rules, stream(symbol, "liquidation"), symbol),
        _liquidation(rules, whole("liquidation"), symbol),
        attrs.evolve(quote, stream=whole("quote")),
        Sample(rules, whole("contract_info"), info, [], times=at("E", "dt", "ot")),
        Sample(
            rules, stream(symbol, "open_interest"), interest, at("openInterest"), times=at("time")
        ),
    ]


ALL = [sample for rules in BINANCE for sample in samples(rules)]

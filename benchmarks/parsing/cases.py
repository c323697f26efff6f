"""The cases of :mod:`benchmarks.parse`: which payloads, and how each contender reads them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import attrs
import msgspec

from benchmarks.parsing import by_hand
from benchmarks.parsing.by_hand import Build
from farm.entities import AggTrade, BookUpdate, Kline, MarkPrice, OpenInterest, Quote, Ticker, Trade
from farm.exchanges.binance.wire import (
    AggTradeWire,
    BookTickerWire,
    DepthWire,
    FuturesDepthWire,
    FuturesTradeWire,
    KlineWire,
    TradeWire,
    frame_decoder,
)
from farm.exchanges.bybit.wire import BookWire, KlinesWire, TickerWire, TradesWire, wire_decoder
from farm.exchanges.numbers import ParserContext
from farm.types import Exchange, Market

__all__ = ["CASES", "KEPT_BOOKS", "KeptBook", "ParseCase"]

SPOT = (Exchange.BINANCE, Market.SPOT)
USDM = (Exchange.BINANCE, Market.USDM)
LINEAR = (Exchange.BYBIT, Market.LINEAR)
_OLD_USDM = "session_binance_usdm_20210722.jsonl.gz"

Keep = Callable[[bytes], bool]


@attrs.frozen
class ParseCase:
    """Payloads of one shape.

    ``marker``, ``keep`` and ``file`` choose them out of a recording. ``kinds`` are the events that
    are counted, ``build`` makes them by hand (anew in each round, where it remembers something),
    ``floor`` decodes and does no more. ``channel`` is cryptofeed's word, "" where it has none.
    ``objects`` and ``columns`` are the goals against json and attrs.
    """

    name: str
    market: tuple[Exchange, Market]
    marker: bytes
    kinds: frozenset[type[Any]]
    build: Callable[[], Build]
    floor: msgspec.json.Decoder[Any]
    objects: float
    columns: float | None = None
    channel: str = ""
    keep: Keep = lambda _text: True
    file: str = ""
    why_not_cryptofeed: str = ""

    @property
    def is_book(self) -> bool:
        return BookUpdate in self.kinds


@attrs.frozen
class KeptBook:
    """Recorded changes of a book, in order, with all that is needed to keep it."""

    name: str
    market: tuple[Exchange, Market]
    marker: bytes
    file: str
    channel: str
    goal: float


def _levels(least: int, most: int) -> Keep:
    def keep(text: bytes) -> bool:
        data = json.loads(text)["data"]
        return least <= len(data["b"]) + len(data["a"]) <= most

    return keep


def _is_delta(text: bytes) -> bool:
    return b'"delta"' in text[:80]


def _deltas(least: int, most: int) -> Keep:
    has = _levels(least, most)
    return lambda text: _is_delta(text) and has(text)


def _fills(least: int, most: int) -> Keep:
    return lambda text: least <= len(json.loads(text)["data"]) <= most


def _always(build: Build) -> Callable[[], Build]:
    return lambda: build


_CONTEXT = ParserContext()


def _framed(wire: Any) -> msgspec.json.Decoder[Any]:
    return frame_decoder(wire, _CONTEXT)


def _plain(wire: Any) -> msgspec.json.Decoder[Any]:
    return wire_decoder(wire, _CONTEXT)


_TRADE, _BOOK, _KLINE = frozenset({Trade}), frozenset({BookUpdate}), frozenset({Kline})
_AGGREGATED = "its trades of Binance are the aggregated ones"

CASES: list[ParseCase] = [
    ParseCase(
        "binance trade", SPOT, b"@trade", _TRADE, _always(by_hand.spot_trade),
        _framed(TradeWire), 3.5, 5.0, why_not_cryptofeed=_AGGREGATED,
    ),
    ParseCase(
        "usdm trade", USDM, b"@trade", _TRADE, _always(by_hand.usdm_trade),
        _framed(FuturesTradeWire), 3.5, 5.0, why_not_cryptofeed=_AGGREGATED,
        keep=lambda text: b'"NA"' not in text,
    ),
    ParseCase(
        "usdm aggregate trade", USDM, b"@aggTrade", frozenset({AggTrade}),
        _always(by_hand.usdm_agg_trade), _framed(AggTradeWire), 3.5, 5.0, "TRADES",
        file=_OLD_USDM,
    ),
    ParseCase(
        "binance quote", SPOT, b"@book", frozenset({Quote}), _always(by_hand.spot_quote),
        _framed(BookTickerWire), 3.5, None, "TICKER",
    ),
    ParseCase(
        "binance diff, 40 levels", SPOT, b"@depth", _BOOK, _always(by_hand.spot_diff),
        _framed(DepthWire), 4.0, keep=_levels(35, 45),
        why_not_cryptofeed="its handler keeps the book: see below",
    ),
    ParseCase(
        "usdm diff, 40 levels", USDM, b"@depth", _BOOK, _always(by_hand.usdm_diff),
        _framed(FuturesDepthWire), 4.0, keep=_levels(35, 45),
        why_not_cryptofeed="its handler keeps the book: see below",
    ),
    ParseCase(
        "usdm kline", USDM, b"@kline_1m", _KLINE, _always(by_hand.usdm_kline),
        _framed(KlineWire), 3.5, 5.0, "CANDLES", file=_OLD_USDM,
    ),
    ParseCase(
        "bybit trades, 1 a message", LINEAR, b"publicTrade", _TRADE,
        _always(by_hand.bybit_trades), _plain(TradesWire), 3.5, 5.0, "TRADES", keep=_fills(1, 1),
    ),
    ParseCase(
        "bybit trades, 5 a message", LINEAR, b"publicTrade", _TRADE,
        _always(by_hand.bybit_trades), _plain(TradesWire), 2.5, 5.0, "TRADES", keep=_fills(4, 7),
    ),
    ParseCase(
        "bybit delta, 20 levels", LINEAR, b"orderbook.200", _BOOK, _always(by_hand.bybit_book),
        _plain(BookWire), 4.0, keep=_deltas(17, 23),
        why_not_cryptofeed="its handler keeps the book: see below",
    ),
    ParseCase(
        "bybit kline", LINEAR, b"kline.1.", _KLINE, _always(by_hand.bybit_klines),
        _plain(KlinesWire), 3.5, 5.0, "CANDLES", keep=_fills(1, 1),
    ),
    ParseCase(
        "bybit ticker", LINEAR, b"tickers.", frozenset({Ticker, MarkPrice, OpenInterest}),
        by_hand.bybit_ticker, _plain(TickerWire), 3.5, None,
        why_not_cryptofeed="its handler makes other events of it",
    ),
]  # fmt: skip

KEPT_BOOKS: list[KeptBook] = [
    KeptBook(
        "binance diffs, the book kept", SPOT, b"@depth",
        "binance_spot_btcusdt_20240808.log.gz", "L2_BOOK", 4.0,
    ),
    KeptBook(
        "bybit deltas, the book kept", LINEAR, b"orderbook.200.BTCUSDT",
        "session_bybit_20260809.jsonl.gz", "L2_BOOK", 4.0,
    ),
]  # fmt: skip

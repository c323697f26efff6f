"""Bybit's markets as data.

Sources: github.com/bybit-exchange/docs, ``v5/ws/connect.mdx`` (addresses, 10 args a request on
spot, 2000 args a connection on options, 21,000 characters of args, ping every 20 s),
``v5/websocket/public/*.mdx`` (topics, depths), ``v5/market/instrument.mdx`` and
``v5/rate-limit.mdx`` (600 requests in 5 s, 500 connections in 5 minutes).
"""

from __future__ import annotations

from collections.abc import Iterable

from farm.exchanges.rules import InstrumentRules, MarketRules, Rate
from farm.exchanges.streams import BookProcedure, Proof, Scope, StreamTable, StreamTemplate
from farm.types import DataType, Exchange, Market

__all__ = ["INVERSE", "LINEAR", "MARKETS", "OPTION", "SPOT"]

_INTERVALS = {
    "1m": "1",
    "3m": "3",
    "5m": "5",
    "15m": "15",
    "30m": "30",
    "1h": "60",
    "2h": "120",
    "4h": "240",
    "6h": "360",
    "12h": "720",
    "1d": "D",
    "1w": "W",
    "1M": "M",
}


def _books(default: int, depths: Iterable[int]) -> tuple[StreamTemplate, ...]:
    """``book`` is the book of the default depth."""
    return (
        StreamTemplate(
            DataType.BOOK,
            "book",
            f"orderbook.{default}.{{symbol}}",
            depth=default,
            procedure=BookProcedure.SNAPSHOT_IN_STREAM,
            proof=Proof.STEP_CHAIN,
        ),
        StreamTemplate(
            DataType.BOOK,
            "book:",
            "orderbook.{detail}.{symbol}",
            details={str(depth): str(depth) for depth in depths},
            procedure=BookProcedure.SNAPSHOT_IN_STREAM,
            proof=Proof.STEP_CHAIN,
        ),
    )


_TRADES = StreamTemplate(DataType.TRADE, "trade", "publicTrade.{symbol}", sparse=True)
_TRADES_BY_BASE = StreamTemplate(
    DataType.TRADE, "trade", "publicTrade.{symbol}", scope=Scope.BASE, sparse=True
)
# Depth 1 is sent every 3 s even where nothing changed.
_QUOTES = StreamTemplate(
    DataType.QUOTE, "quote", "orderbook.1.{symbol}", depth=1, proof=Proof.LATEST, every=3.0
)
_FULL_BOOK = StreamTemplate(
    DataType.BOOK,
    "book:",
    "orderbook.{detail}.{symbol}",
    details={"full": "full"},
    procedure=BookProcedure.FULL_BY_REST,
    proof=Proof.SNAPSHOT_CHAIN,
)
_KLINES = StreamTemplate(
    DataType.KLINE,
    "kline:",
    "kline.{detail}.{symbol}",
    details=_INTERVALS,
    proof=Proof.LATEST,
    sparse=True,
)
_SPOT_TICKER = StreamTemplate(DataType.TICKER, "ticker", "tickers.{symbol}", proof=Proof.LATEST)
_FUTURES_TICKER = StreamTemplate(
    DataType.TICKER,
    "ticker",
    "tickers.{symbol}",
    proof=Proof.LATEST,
    also=(DataType.MARK_PRICE, DataType.OPEN_INTEREST),
)
_LIQUIDATIONS = StreamTemplate(
    DataType.LIQUIDATION, "liquidation", "allLiquidation.{symbol}", sparse=True
)

_DEPTHS = (50, 200, 1000)
_SPOT_STREAMS = (_TRADES, _QUOTES, *_books(200, _DEPTHS), _FULL_BOOK, _KLINES, _SPOT_TICKER)
_INVERSE_STREAMS = (
    _TRADES,
    _QUOTES,
    *_books(200, _DEPTHS),
    _KLINES,
    _FUTURES_TICKER,
    _LIQUIDATIONS,
)
_LINEAR_STREAMS = (*_INVERSE_STREAMS, _FULL_BOOK)
# Other depths and candles are acknowledged on options, and never sent.
_OPTION_STREAMS = (_TRADES_BY_BASE, *_books(100, (25, 100)), _FUTURES_TICKER)


def _rules(
    market: Market,
    streams: tuple[StreamTemplate, ...],
    *,
    topics_per_request: int,
    page: int | None = 1000,
    full_book: bool = False,
    answers_by_topic: bool = False,
) -> MarketRules:
    category = (("category", market.value),)
    return MarketRules(
        exchange=Exchange.BYBIT,
        market=market,
        ws_url="wss://stream.bybit.com",
        paths={"": f"/v5/public/{market.value}"},
        rest_url="https://api.bybit.com",
        streams=StreamTable(Exchange.BYBIT, market, streams, lower_case=False),
        # No number is stated but for options; this keeps one connection's share of a crash, and
        # its args, small.
        streams_per_connection=500,
        topics_per_request=topics_per_request,
        control_rate=Rate(10, 1.0),
        connect_rate=Rate(500, 300.0),
        rest_rate=Rate(600, 5.0),
        weight_pool="bybit",
        silence=65.0,  # each of our pings, every 20 s, is answered
        instruments=InstrumentRules(
            "/v5/market/instruments-info",
            weight=1,
            params=(*category, ("limit", page)) if page is not None else category,
            page=page,
            by_base=market is Market.OPTION,
        ),
        request_characters=21_000,
        ping_interval=20.0,
        snapshot_path="/v5/market/full_orderbook" if full_book else "",
        snapshot_params=category,
        snapshot_weights=((10_000, 1),) if full_book else (),
        snapshot_limit=10_000 if full_book else 0,
        snapshot_choices=(10_000,) if full_book else (),  # it takes no number, and gives so many
        answers_by_topic=answers_by_topic,
    )


SPOT = _rules(Market.SPOT, _SPOT_STREAMS, topics_per_request=10, page=None, full_book=True)
# One bad name refuses the whole request, which is then halved to find it: requests stay small.
LINEAR = _rules(Market.LINEAR, _LINEAR_STREAMS, topics_per_request=50, full_book=True)
INVERSE = _rules(Market.INVERSE, _INVERSE_STREAMS, topics_per_request=50)
OPTION = _rules(Market.OPTION, _OPTION_STREAMS, topics_per_request=50, answers_by_topic=True)

MARKETS = {Market.SPOT: SPOT, Market.LINEAR: LINEAR, Market.INVERSE: INVERSE, Market.OPTION: OPTION}

"""Bybit's markets as data.

Sources: github.com/bybit-exchange/docs, ``v5/ws/connect.mdx`` (addresses, 10 args a request on
spot, 21,000 characters of args, ping every 20 s), ``v5/websocket/public/*.mdx`` (topics, depths)
and ``v5/rate-limit.mdx`` (600 requests in 5 s, 500 connections in 5 minutes).
"""

from __future__ import annotations

from farm.exchanges.rules import MarketRules, Rate
from farm.exchanges.streams import BookProcedure, StreamTable, StreamTemplate
from farm.types import DataType, Exchange, Market

__all__ = ["LINEAR", "MARKETS", "SPOT"]

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

_STREAMS = (
    StreamTemplate(DataType.TRADE, "trade", "publicTrade.{symbol}"),
    StreamTemplate(DataType.QUOTE, "quote", "orderbook.1.{symbol}", depth=1),
    StreamTemplate(
        DataType.BOOK,
        "book",
        "orderbook.200.{symbol}",
        depth=200,
        procedure=BookProcedure.SNAPSHOT_IN_STREAM,
    ),
    StreamTemplate(
        DataType.BOOK,
        "book:",
        "orderbook.{detail}.{symbol}",
        details={"50": "50", "200": "200", "1000": "1000"},
        procedure=BookProcedure.SNAPSHOT_IN_STREAM,
    ),
    StreamTemplate(DataType.KLINE, "kline:", "kline.{detail}.{symbol}", details=_INTERVALS),
)


def _rules(market: Market, topics_per_request: int) -> MarketRules:
    return MarketRules(
        exchange=Exchange.BYBIT,
        market=market,
        ws_url="wss://stream.bybit.com",
        ws_path=f"/v5/public/{market.value}",
        rest_url="https://api.bybit.com",
        streams=StreamTable(Exchange.BYBIT, market, _STREAMS, lower_case=False),
        # No number is stated; this keeps one connection's share of a crash, and its args, small.
        streams_per_connection=500,
        topics_per_request=topics_per_request,
        control_rate=Rate(10, 1.0),
        connect_rate=Rate(500, 300.0),
        rest_rate=Rate(600, 5.0),
        silence=65.0,  # each of our pings, every 20 s, is answered
        request_characters=21_000,
        ping_interval=20.0,
    )


SPOT = _rules(Market.SPOT, topics_per_request=10)
# One bad name refuses the whole request, which is then halved to find it: requests stay small.
LINEAR = _rules(Market.LINEAR, topics_per_request=50)

MARKETS = {Market.SPOT: SPOT, Market.LINEAR: LINEAR}

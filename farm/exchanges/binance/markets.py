"""Binance's markets as data.

Sources: github.com/binance/binance-spot-api-docs, ``web-socket-streams.md`` (streams, 1024 streams
a connection, 5 incoming messages a second, 300 attempts in 5 minutes) and ``rest-api.md``
(``REQUEST_WEIGHT`` 6000 a minute; depth of 1000 levels weighs 50).
"""

from __future__ import annotations

from farm.exchanges.rules import MarketRules, Rate
from farm.exchanges.streams import BookProcedure, StreamTable, StreamTemplate
from farm.types import DataType, Exchange, Market, TimeFrame

__all__ = ["MARKETS", "SPOT"]

_INTERVALS = {frame.value: frame.value for frame in TimeFrame}

_SPOT_STREAMS = (
    StreamTemplate(DataType.TRADE, "trade", "{symbol}@trade"),
    StreamTemplate(DataType.AGG_TRADE, "agg_trade", "{symbol}@aggTrade"),
    StreamTemplate(DataType.QUOTE, "quote", "{symbol}@bookTicker"),
    StreamTemplate(
        DataType.BOOK,
        "book",
        "{symbol}@depth@100ms",
        procedure=BookProcedure.SNAPSHOT_BY_REST,
    ),
    StreamTemplate(
        DataType.BOOK,
        "book:",
        "{symbol}@depth{detail}@100ms",
        details={"5": "5", "10": "10", "20": "20"},
        procedure=BookProcedure.WHOLE_EVERY_TIME,
    ),
    StreamTemplate(DataType.KLINE, "kline:", "{symbol}@kline_{detail}", details=_INTERVALS),
)

SPOT = MarketRules(
    exchange=Exchange.BINANCE,
    market=Market.SPOT,
    ws_url="wss://stream.binance.com:9443",
    # Combined mode, always: a partial book names no symbol, only its stream does.
    ws_path="/stream",
    rest_url="https://api.binance.com",
    streams=StreamTable(Exchange.BINANCE, Market.SPOT, _SPOT_STREAMS, lower_case=True),
    streams_per_connection=1024,
    topics_per_request=200,
    # 5 a second are allowed, and our pongs count. One at a time, so that a late burst and a
    # punctual one can't meet within a second of the venue's.
    control_rate=Rate(1, 0.3),
    connect_rate=Rate(300, 300.0),
    rest_rate=Rate(6000, 60.0),
    silence=65.0,  # the server pings every 20 s
    used_weight_header="x-mbx-used-weight-1m",
    snapshot_path="/api/v3/depth",
    snapshot_limit=1000,
    snapshot_weight=50,
)

MARKETS = {Market.SPOT: SPOT}

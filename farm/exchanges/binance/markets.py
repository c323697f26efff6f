"""Binance's markets as data.

Sources: github.com/binance/binance-spot-api-docs, ``web-socket-streams.md`` (streams, 1024 streams
a connection, 5 incoming messages a second, 300 attempts in 5 minutes, 24 hours) and
``rest-api.md`` (``REQUEST_WEIGHT`` 6000 a minute; depth of 1000 levels weighs 50). Futures:
developers.binance.com, "Websocket Market Streams" of USD-M and COIN-M and "Important WebSocket
Change Notice" (the routes ``/public`` and ``/market``), and the streams of
github.com/binance/binance-connector-python. That ``@trade`` is on ``/public``, and ``@0ms``, is
measured, not documented. 200 streams a connection is the older, safer of two figures.
"""

from __future__ import annotations

from farm.exchanges.rules import InstrumentRules, MarketRules, PollRules, Rate
from farm.exchanges.streams import (
    REST_ROUTE,
    BookProcedure,
    Proof,
    Scope,
    StreamTable,
    StreamTemplate,
)
from farm.types import DataType, Exchange, Market, TimeFrame

__all__ = ["COINM", "MARKETS", "SPOT", "USDM"]

_DAY = 86_400.0
_DEPTHS = ("5", "10", "20")
_CONTRACT_TYPES = ("perpetual", "current_quarter", "next_quarter")
_FRAMES = [frame.value for frame in TimeFrame]
_FUTURES_FRAMES = [frame for frame in _FRAMES if frame != "1s"]


def _depths(default: str, speeds: dict[str, str]) -> dict[str, str]:
    """``20`` is at the default speed, ``20@1000ms`` at another."""
    details = {depth: depth + speeds[default] for depth in _DEPTHS}
    for speed, suffix in speeds.items():
        if speed != default:
            details |= {f"{depth}@{speed}": depth + suffix for depth in _DEPTHS}
    return details


def _tickers(route: str = "") -> tuple[StreamTemplate, ...]:
    return (
        StreamTemplate(
            DataType.MINI_TICKER,
            "mini_ticker",
            "{symbol}@miniTicker",
            route=route,
            proof=Proof.LATEST,
            sparse=True,
        ),
        StreamTemplate(
            DataType.TICKER,
            "ticker",
            "{symbol}@ticker",
            route=route,
            proof=Proof.LATEST,
            sparse=True,
        ),
    )


_SPOT_SPEEDS = {"100ms": "@100ms", "1000ms": ""}
_SPOT_STREAMS = (
    StreamTemplate(DataType.TRADE, "trade", "{symbol}@trade", proof=Proof.TRADE_IDS, sparse=True),
    StreamTemplate(
        DataType.AGG_TRADE, "agg_trade", "{symbol}@aggTrade", proof=Proof.AGG_IDS, sparse=True
    ),
    StreamTemplate(DataType.QUOTE, "quote", "{symbol}@bookTicker", proof=Proof.LATEST),
    StreamTemplate(
        DataType.BOOK,
        "book",
        "{symbol}@depth@100ms",
        procedure=BookProcedure.DIFFS_BY_FIRST_ID,
        proof=Proof.DIFF_CHAIN,
    ),
    StreamTemplate(
        DataType.BOOK,
        "book@",
        "{symbol}@depth{detail}",
        details=_SPOT_SPEEDS,
        procedure=BookProcedure.DIFFS_BY_FIRST_ID,
        proof=Proof.DIFF_CHAIN,
    ),
    StreamTemplate(
        DataType.BOOK,
        "book:",
        "{symbol}@depth{detail}",
        details=_depths("100ms", _SPOT_SPEEDS),
        procedure=BookProcedure.WHOLE_EVERY_TIME,
        proof=Proof.WHOLE,
    ),
    StreamTemplate(
        DataType.KLINE,
        "kline:",
        "{symbol}@kline_{detail}",
        details={frame: frame for frame in _FRAMES},
        proof=Proof.LATEST,
        sparse=True,
    ),
    *_tickers(),
    StreamTemplate(
        DataType.MINI_TICKER,
        "mini_ticker",
        "!miniTicker@arr",
        scope=Scope.MARKET,
        proof=Proof.LATEST,
        every=1.0,
    ),
)

SPOT = MarketRules(
    exchange=Exchange.BINANCE,
    market=Market.SPOT,
    ws_url="wss://stream.binance.com:9443",
    # Combined mode, always: a partial book names no symbol, only its stream does.
    paths={"": "/stream"},
    rest_url="https://api.binance.com",
    streams=StreamTable(Exchange.BINANCE, Market.SPOT, _SPOT_STREAMS, lower_case=True),
    streams_per_connection=1024,
    topics_per_request=200,
    # 5 a second are allowed, and our pongs count. One at a time, so that a late burst and a
    # punctual one can't meet within a second of the venue's.
    control_rate=Rate(1, 0.3),
    connect_rate=Rate(300, 300.0),
    rest_rate=Rate(6000, 60.0),
    weight_pool="binance spot",
    silence=65.0,  # the server pings every 20 s
    instruments=InstrumentRules("/api/v3/exchangeInfo", weight=20),
    max_age=_DAY,
    used_weight_header="x-mbx-used-weight-1m",
    snapshot_path="/api/v3/depth",
    snapshot_weights=((100, 5), (500, 25), (1000, 50), (5000, 250)),
    snapshot_limit=1000,
    lists_subscriptions=True,
    microseconds=True,
)

_FUTURES_SPEEDS = {"100ms": "@100ms", "0ms": "@0ms", "250ms": "", "500ms": "@500ms"}
_FUTURES_PARTIAL_SPEEDS = {"100ms": "@100ms", "250ms": "", "500ms": "@500ms"}


def _futures_streams(public: str, market: str) -> tuple[StreamTemplate, ...]:
    """The streams of a futures market, whose book data take the route `public`."""
    return (
        StreamTemplate(
            DataType.TRADE,
            "trade",
            "{symbol}@trade",
            route=public,
            proof=Proof.TRADE_IDS,
            sparse=True,
        ),
        StreamTemplate(
            DataType.AGG_TRADE,
            "agg_trade",
            "{symbol}@aggTrade",
            route=market,
            proof=Proof.AGG_IDS,
            sparse=True,
        ),
        StreamTemplate(
            DataType.QUOTE, "quote", "{symbol}@bookTicker", route=public, proof=Proof.LATEST
        ),
        StreamTemplate(
            DataType.BOOK,
            "book",
            "{symbol}@depth@100ms",
            procedure=BookProcedure.DIFFS_BY_PREVIOUS_ID,
            route=public,
            proof=Proof.DIFF_CHAIN,
        ),
        StreamTemplate(
            DataType.BOOK,
            "book@",
            "{symbol}@depth{detail}",
            details=_FUTURES_SPEEDS,
            procedure=BookProcedure.DIFFS_BY_PREVIOUS_ID,
            route=public,
            proof=Proof.DIFF_CHAIN,
        ),
        StreamTemplate(
            DataType.BOOK,
            "book:",
            "{symbol}@depth{detail}",
            details=_depths("100ms", _FUTURES_PARTIAL_SPEEDS),
            procedure=BookProcedure.WHOLE_EVERY_TIME,
            route=public,
            proof=Proof.WHOLE,
        ),
        StreamTemplate(
            DataType.KLINE,
            "kline:",
            "{symbol}@kline_{detail}",
            details={frame: frame for frame in _FUTURES_FRAMES},
            route=market,
            proof=Proof.LATEST,
            sparse=True,
        ),
        StreamTemplate(
            DataType.CONTINUOUS_KLINE,
            "continuous_kline:",
            "{symbol}_{detail}",
            details={
                f"{kind}:{frame}": f"{kind}@continuousKline_{frame}"
                for kind in _CONTRACT_TYPES
                for frame in _FUTURES_FRAMES
            },
            route=market,
            proof=Proof.LATEST,
            sparse=True,
        ),
        StreamTemplate(
            DataType.MARK_PRICE,
            "mark_price",
            "{symbol}@markPrice@1s",
            route=market,
            proof=Proof.LATEST,
            every=1.0,
        ),
        StreamTemplate(
            DataType.MARK_PRICE,
            "mark_price@",
            "{symbol}@markPrice",
            details={"3s": ""},
            route=market,
            proof=Proof.LATEST,
            every=3.0,
        ),
        StreamTemplate(
            DataType.LIQUIDATION,
            "liquidation",
            "{symbol}@forceOrder",
            route=market,
            proof=Proof.LOSSY,
            sparse=True,
        ),
        *_tickers(market),
        StreamTemplate(
            DataType.OPEN_INTEREST,
            "open_interest",
            "/openInterest?symbol={symbol}",
            route=REST_ROUTE,
            proof=Proof.LATEST,
        ),
        *_whole_market(public, market),
    )


def _whole_market(public: str, market: str) -> tuple[StreamTemplate, ...]:
    """Streams of all symbols; since 2026-06-30 with rows of both futures markets in each."""

    def whole(
        kind: DataType,
        spec: str,
        name: str,
        route: str,
        *,
        every: float | None = None,
        proof: Proof = Proof.LATEST,
        details: dict[str, str] | None = None,
    ) -> StreamTemplate:
        return StreamTemplate(
            kind,
            spec,
            name,
            details=details or {},
            route=route,
            scope=Scope.MARKET,
            proof=proof,
            every=every,
            sparse=every is None,
        )

    return (
        whole(DataType.QUOTE, "quote", "!bookTicker", public, every=5.0),
        whole(DataType.MARK_PRICE, "mark_price", "!markPrice@arr@1s", market, every=1.0),
        whole(
            DataType.MARK_PRICE,
            "mark_price@",
            "!markPrice@arr",
            market,
            every=3.0,
            details={"3s": ""},
        ),
        whole(DataType.MINI_TICKER, "mini_ticker", "!miniTicker@arr", market, every=1.0),
        whole(DataType.TICKER, "ticker", "!ticker@arr", market, every=1.0),
        whole(DataType.LIQUIDATION, "liquidation", "!forceOrder@arr", market, proof=Proof.LOSSY),
        whole(
            DataType.CONTRACT_INFO, "contract_info", "!contractInfo", market, proof=Proof.NOTHING
        ),
    )


def _futures(
    market: Market, host: str, prefix: str, paths: dict[str, str], universe: int
) -> MarketRules:
    routes = ("public", "market") if "public" in paths else ("", "")
    return MarketRules(
        exchange=Exchange.BINANCE,
        market=market,
        ws_url=f"wss://{host[0]}stream.binance.com",
        paths=paths,
        rest_url=f"https://{host}.binance.com",
        streams=StreamTable(Exchange.BINANCE, market, _futures_streams(*routes), lower_case=True),
        streams_per_connection=200,
        topics_per_request=100,
        control_rate=Rate(1, 0.15),  # 10 a second are allowed, our pongs included
        connect_rate=Rate(300, 300.0),  # not stated; spot's
        rest_rate=Rate(2400, 60.0),
        weight_pool="binance futures",  # one for both markets since 2026-06-30
        silence=400.0,  # the server pings every 3 minutes
        instruments=InstrumentRules(f"{prefix}/exchangeInfo", weight=1),
        max_age=_DAY,
        used_weight_header="x-mbx-used-weight-1m",
        snapshot_path=f"{prefix}/depth",
        snapshot_weights=((50, 2), (100, 5), (500, 10), (1000, 20)),
        snapshot_limit=1000,
        snapshot_choices=(5, 10, 20, 50, 100, 500, 1000),
        poll=PollRules(f"{prefix}/openInterest", weight=1, every=60.0),
        universe=universe,
        lists_subscriptions=True,
    )


USDM = _futures(
    Market.USDM,
    "fapi",
    "/fapi/v1",
    {"public": "/public/stream", "market": "/market/stream"},
    universe=1,
)
COINM = _futures(Market.COINM, "dapi", "/dapi/v1", {"": "/stream"}, universe=2)

MARKETS = {Market.SPOT: SPOT, Market.USDM: USDM, Market.COINM: COINM}

"""orjson, and cattrs to structure what it gives: typed messages, then the same events of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs
import cattrs

from farm.entities import AggTrade, BookUpdate, Kline, OrderBookLevel, Quote, Trade
from farm.exchanges.numbers import MS
from farm.types import BookVerdict, Exchange, Market, OrderType, Side, TimeFrame

__all__ = ["MESSAGES", "by_orjson"]

SPOT = (Exchange.BINANCE, Market.SPOT)
USDM = (Exchange.BINANCE, Market.USDM)
LINEAR = (Exchange.BYBIT, Market.LINEAR)
SIDES = {"Buy": Side.BUY, "Sell": Side.SELL}


Prepare = Callable[[Sequence[list[bytes]]], Callable[[], int]]


@attrs.define
class TradeMessage:
    E: int
    s: str
    t: int
    p: float
    q: float
    T: int
    m: bool
    X: str | None = None


@attrs.define
class AggTradeMessage:
    E: int
    s: str
    a: int
    p: float
    q: float
    f: int
    l: int
    T: int
    m: bool


@attrs.define
class QuoteMessage:
    u: int
    s: str
    b: float
    B: float
    a: float
    A: float


@attrs.define
class DiffMessage:
    E: int
    s: str
    U: int
    u: int
    b: list[tuple[float, float]]
    a: list[tuple[float, float]]
    T: int | None = None
    pu: int | None = None


@attrs.define
class Candle:
    t: int
    T: int
    s: str
    i: str
    f: int
    L: int
    o: float
    c: float
    h: float
    l: float
    v: float
    n: int
    x: bool
    q: float
    V: float
    Q: float


@attrs.define
class KlineMessage:
    E: int
    k: Candle


@attrs.define
class Fill:
    T: int
    s: str
    S: str
    v: float
    p: float
    i: str
    BT: bool
    RPI: bool
    seq: int


@attrs.define
class FillsMessage:
    ts: int
    data: list[Fill]


@attrs.define
class BookData:
    s: str
    b: list[tuple[float, float]]
    a: list[tuple[float, float]]
    u: int
    seq: int


@attrs.define
class BookMessage:
    type: str
    ts: int
    cts: int
    data: BookData


@attrs.define
class CandleRow:
    start: int
    end: int
    open: float
    close: float
    high: float
    low: float
    volume: float
    turnover: float
    confirm: bool
    timestamp: int


@attrs.define
class CandlesMessage:
    topic: str
    ts: int
    data: list[CandleRow]


def spot_trade(d: TradeMessage) -> list[Any]:
    side = Side.SELL if d.m else Side.BUY
    return [Trade(*SPOT, d.s, str(d.t), d.p, d.q, side, d.T * MS, d.E * MS, 1, 0)]


def usdm_trade(d: TradeMessage) -> list[Any]:
    side = Side.SELL if d.m else Side.BUY
    assert d.X is not None
    return [
        Trade(*USDM, d.s, str(d.t), d.p, d.q, side, d.T * MS, d.E * MS, 1, 0, 0, None, None, None,
              OrderType(d.X.lower()))
    ]  # fmt: skip


def usdm_agg_trade(d: AggTradeMessage) -> list[Any]:
    side = Side.SELL if d.m else Side.BUY
    times = (d.T * MS, d.E * MS)
    return [AggTrade(*USDM, d.s, str(d.a), d.p, d.q, side, d.f, d.l, *times, 1, 0)]


def spot_quote(d: QuoteMessage) -> list[Any]:
    return [Quote(*SPOT, d.s, d.b, d.B, d.a, d.A, d.u, None, None, 1, 0)]


def levels(pairs: list[tuple[float, float]]) -> Any:
    return [OrderBookLevel(price, quantity) for price, quantity in pairs]


def diff(market: tuple[Exchange, Market]) -> Callable[[DiffMessage], list[Any]]:
    def build(d: DiffMessage) -> list[Any]:
        time = (d.E if d.T is None else d.T) * MS
        return [
            BookUpdate(*market, d.s, None, False, levels(d.b), levels(d.a), d.U, d.u, d.pu, None,
                       BookVerdict.SYNCING, time, d.E * MS, 1, 0)
        ]  # fmt: skip

    return build


def usdm_kline(d: KlineMessage) -> list[Any]:
    k, traded = d.k, d.k.f >= 0
    return [
        Kline(*USDM, k.s, TimeFrame(k.i), k.t * MS, k.T * MS, k.o, k.h, k.l, k.c, k.v, k.q, k.V,
              k.Q, k.n, k.f if traded else None, k.L if traded else None, k.x, d.E * MS, d.E * MS,
              1, 0)
    ]  # fmt: skip


def bybit_trades(message: FillsMessage) -> list[Any]:
    return [
        Trade(*LINEAR, d.s, d.i, d.p, d.v, SIDES[d.S], d.T * MS, message.ts * MS, 1, 0, row,
              d.seq, d.BT, d.RPI)
        for row, d in enumerate(message.data)
    ]  # fmt: skip


def bybit_book(message: BookMessage) -> list[Any]:
    d = message.data
    return [
        BookUpdate(*LINEAR, d.s, 200, message.type == "snapshot", levels(d.b), levels(d.a), d.u,
                   d.u, None, d.seq, BookVerdict.SYNCING, message.cts * MS, message.ts * MS, 1, 0)
    ]  # fmt: skip


def bybit_klines(message: CandlesMessage) -> list[Any]:
    symbol = message.topic.split(".")[2]
    return [
        Kline(*LINEAR, symbol, TimeFrame.M1, d.start * MS, d.end * MS, d.open, d.high, d.low,
              d.close, d.volume, d.turnover, None, None, None, None, None, d.confirm,
              d.timestamp * MS, message.ts * MS, 1, 0, row)
        for row, d in enumerate(message.data)
    ]  # fmt: skip


MESSAGES: dict[str, tuple[type[Any], bool, Callable[[Any], list[Any]]]] = {
    "binance trade": (TradeMessage, True, spot_trade),
    "usdm trade": (TradeMessage, True, usdm_trade),
    "usdm aggregate trade": (AggTradeMessage, True, usdm_agg_trade),
    "binance quote": (QuoteMessage, True, spot_quote),
    "binance diff, 40 levels": (DiffMessage, True, diff(SPOT)),
    "usdm diff, 40 levels": (DiffMessage, True, diff(USDM)),
    "usdm kline": (KlineMessage, True, usdm_kline),
    "bybit trades, 1 a message": (FillsMessage, False, bybit_trades),
    "bybit trades, 5 a message": (FillsMessage, False, bybit_trades),
    "bybit delta, 20 levels": (BookMessage, False, bybit_book),
    "bybit kline": (CandlesMessage, False, bybit_klines),
}
"""By case: the message, whether it stands in a frame's ``data``, and the events of it."""


def by_orjson(case: str) -> tuple[Callable[[Any], list[Any]], Prepare] | None:
    """How one frame becomes events, and the contender; None for a case that is not written out.

    ImportError without orjson.
    """
    import orjson

    if case not in MESSAGES:
        return None
    message, in_frame, build = MESSAGES[case]
    converter = cattrs.Converter()
    converter.structure({}, dict)  # what is made on first use is made here
    structure = converter.get_structure_hook(message)

    def one(raw: bytes) -> list[Any]:
        d = orjson.loads(raw)
        return build(structure(d["data"] if in_frame else d, message))

    def prepare(reads: Sequence[list[bytes]]) -> Callable[[], int]:
        return lambda: sum(len(one(raw)) for read in reads for raw in read)

    return one, prepare

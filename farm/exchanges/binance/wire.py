"""Binance's payloads as typed structs, and the way from each to events.

Field meanings: github.com/binance/binance-spot-api-docs, ``web-socket-streams.md``. All frames are
in combined form, ``{"stream": name, "data": payload}``. Only fields that are used are declared:
msgspec skips the rest, so a field that the venue adds changes nothing.
"""

from __future__ import annotations

from typing import Annotated, Any, Generic, TypeVar

import msgspec

from farm.entities import AggTrade, BookUpdate, Kline, Level, Quote, Trade
from farm.exchanges.numbers import MS, Id, Millis, Parser, exactly, number_type
from farm.exchanges.streams import BookProcedure, Stream
from farm.types import BookVerdict, DataType, Nanoseconds, NumberMode, Side

__all__ = ["parser_of", "snapshot_parser"]

N = TypeVar("N")
P = TypeVar("P")

_TradeId = Annotated[int, msgspec.Meta(ge=-1, le=2**63 - 1)]  # -1 in a candle without trades


class Frame(msgspec.Struct, Generic[P], gc=False):
    """A combined frame, of which the stream's name has been read already."""

    data: P


class TradeWire(msgspec.Struct, Generic[N], gc=False, tag_field="e", tag="trade"):
    """``<symbol>@trade``. ``m``: the buyer was the maker, so the taker sold."""

    E: Millis
    t: Id
    p: N
    q: N
    T: Millis
    m: bool


class AggTradeWire(msgspec.Struct, Generic[N], gc=False, tag_field="e", tag="aggTrade"):
    """``<symbol>@aggTrade``: trades ``f`` to ``l``, one taker order at one price."""

    E: Millis
    a: Id
    p: N
    q: N
    f: Id
    l: Id
    T: Millis
    m: bool


class BookTickerWire(msgspec.Struct, Generic[N], gc=False):
    """``<symbol>@bookTicker``: it carries neither type nor time."""

    u: Id
    b: N
    B: N
    a: N
    A: N


class DepthWire(msgspec.Struct, Generic[N], gc=False, tag_field="e", tag="depthUpdate"):
    """``<symbol>@depth``: absolute sizes; 0 deletes a level."""

    E: Millis
    U: Id
    u: Id
    b: list[Level[N]]
    a: list[Level[N]]


class PartialDepthWire(msgspec.Struct, Generic[N], gc=False, rename="camel"):
    """``<symbol>@depth20`` and the REST answer of ``/api/v3/depth``: same shape, no time."""

    last_update_id: Id
    bids: list[Level[N]]
    asks: list[Level[N]]


class CandleWire(msgspec.Struct, Generic[N], gc=False):
    """The candle in a kline event. ``V`` and ``Q`` are what takers bought."""

    t: Millis
    T: Millis
    f: _TradeId
    L: _TradeId
    o: N
    c: N
    h: N
    l: N
    v: N
    n: Id
    x: bool
    q: N
    V: N
    Q: N


class KlineWire(msgspec.Struct, Generic[N], gc=False, tag_field="e", tag="kline"):
    """``<symbol>@kline_<interval>``."""

    E: Millis
    k: CandleWire[N]


def _decoder(wire: Any, numbers: NumberMode) -> msgspec.json.Decoder[Any]:
    frame: Any = Frame
    return msgspec.json.Decoder(frame[wire[number_type(numbers)]], strict=False)


def _trades(numbers: NumberMode) -> Parser:
    decode = _decoder(TradeWire, numbers).decode
    buy, sell = Side.BUY, Side.SELL

    def parse(raw: bytes, stream: Stream, time: Nanoseconds, ordinal: int, rows: list[Any]) -> None:
        wire = decode(raw).data
        rows.append(
            Trade(
                stream.exchange,
                stream.market,
                stream.symbol,
                str(wire.t),
                wire.p,
                wire.q,
                sell if wire.m else buy,
                wire.T * MS,
                wire.E * MS,
                time,
                ordinal,
            )
        )

    return parse


def _agg_trades(numbers: NumberMode) -> Parser:
    decode = _decoder(AggTradeWire, numbers).decode
    buy, sell = Side.BUY, Side.SELL

    def parse(raw: bytes, stream: Stream, time: Nanoseconds, ordinal: int, rows: list[Any]) -> None:
        wire = decode(raw).data
        rows.append(
            AggTrade(
                stream.exchange,
                stream.market,
                stream.symbol,
                str(wire.a),
                wire.p,
                wire.q,
                sell if wire.m else buy,
                wire.f,
                wire.l,
                wire.T * MS,
                wire.E * MS,
                time,
                ordinal,
            )
        )

    return parse


def _quotes(numbers: NumberMode) -> Parser:
    decode = _decoder(BookTickerWire, numbers).decode

    def parse(raw: bytes, stream: Stream, time: Nanoseconds, ordinal: int, rows: list[Any]) -> None:
        wire = decode(raw).data
        rows.append(
            Quote(
                stream.exchange,
                stream.market,
                stream.symbol,
                wire.b or None,  # an empty side is sent as price 0
                wire.B if wire.b else None,
                wire.a or None,
                wire.A if wire.a else None,
                wire.u,
                None,
                None,
                time,
                ordinal,
            )
        )

    return parse


def _diffs(numbers: NumberMode) -> Parser:
    decode = _decoder(DepthWire, numbers).decode
    syncing = BookVerdict.SYNCING

    def parse(raw: bytes, stream: Stream, time: Nanoseconds, ordinal: int, rows: list[Any]) -> None:
        wire = decode(raw).data
        event_time = wire.E * MS
        rows.append(
            BookUpdate(
                stream.exchange,
                stream.market,
                stream.symbol,
                None,
                False,
                wire.b,
                wire.a,
                wire.U,
                wire.u,
                None,
                None,
                syncing,
                event_time,
                event_time,
                time,
                ordinal,
            )
        )

    return parse


def _partial_books(numbers: NumberMode) -> Parser:
    decode = _decoder(PartialDepthWire, numbers).decode

    def parse(raw: bytes, stream: Stream, time: Nanoseconds, ordinal: int, rows: list[Any]) -> None:
        rows.append(_whole_book(decode(raw).data, stream, time, ordinal))

    return parse


def _klines(numbers: NumberMode) -> Parser:
    decode = _decoder(KlineWire, numbers).decode

    def parse(raw: bytes, stream: Stream, time: Nanoseconds, ordinal: int, rows: list[Any]) -> None:
        wire = decode(raw).data
        candle, event_time = wire.k, wire.E * MS
        has_trades = candle.f >= 0  # a candle without trades has f = L = -1
        assert stream.interval is not None
        rows.append(
            Kline(
                stream.exchange,
                stream.market,
                stream.symbol,
                stream.interval,
                candle.t * MS,
                candle.T * MS,
                candle.o,
                candle.h,
                candle.l,
                candle.c,
                candle.v,
                candle.q,
                candle.V,
                candle.Q,
                candle.n,
                candle.f if has_trades else None,
                candle.L if has_trades else None,
                candle.x,
                event_time,
                event_time,
                time,
                ordinal,
            )
        )

    return parse


def parser_of(numbers: NumberMode, stream: Stream) -> Parser:
    """The parser of one stream's frames."""
    if stream.procedure is BookProcedure.WHOLE_EVERY_TIME:
        return exactly(numbers, BookUpdate, _partial_books(numbers))
    kind, make = {
        DataType.TRADE: (Trade, _trades),
        DataType.AGG_TRADE: (AggTrade, _agg_trades),
        DataType.QUOTE: (Quote, _quotes),
        DataType.BOOK: (BookUpdate, _diffs),
        DataType.KLINE: (Kline, _klines),
    }[stream.data_type]
    return exactly(numbers, kind, make(numbers))


def snapshot_parser(numbers: NumberMode) -> Parser:
    """The parser of REST depth answers."""
    wire: Any = PartialDepthWire
    decode = msgspec.json.Decoder(wire[number_type(numbers)], strict=False).decode

    def parse(raw: bytes, stream: Stream, time: Nanoseconds, ordinal: int, rows: list[Any]) -> None:
        rows.append(_whole_book(decode(raw), stream, time, ordinal))

    return exactly(numbers, BookUpdate, parse)


def _whole_book(
    wire: PartialDepthWire[Any], stream: Stream, time: Nanoseconds, ordinal: int
) -> BookUpdate:
    return BookUpdate(
        stream.exchange,
        stream.market,
        stream.symbol,
        stream.depth,
        True,
        wire.bids,
        wire.asks,
        wire.last_update_id,
        wire.last_update_id,
        None,
        None,
        BookVerdict.SYNCING,
        None,
        None,
        time,
        ordinal,
    )

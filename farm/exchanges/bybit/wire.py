"""Bybit's payloads as typed structs, and the way from each to events.

Field meanings: github.com/bybit-exchange/docs, ``v5/websocket/public/{trade,orderbook,kline}.mdx``.
The order of keys differs between categories and is never relied on; times may come as numbers or
as text.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import msgspec

from farm.entities import BookUpdate, Kline, Level, Quote, Trade
from farm.exchanges.numbers import MS, Id, Millis, Parser, exactly, number_type
from farm.exchanges.streams import Stream
from farm.types import BookVerdict, DataType, Nanoseconds, NumberMode, Side

__all__ = ["CountUnknown", "parser_of"]

N = TypeVar("N")

CountUnknown = Callable[[str], None]
"""Called with the place and text of a value that no document names."""

_SIDES = {"Buy": Side.BUY, "Sell": Side.SELL}


class TradeRow(msgspec.Struct, Generic[N], gc=False):
    """One fill. ``S`` is the taker's side, ``BT`` a block trade, ``seq`` the cross sequence."""

    T: Millis
    S: str
    v: N
    p: N
    i: str
    BT: bool | None = None
    RPI: bool | None = None
    seq: Id | None = None


class TradesWire(msgspec.Struct, Generic[N], gc=False):
    """``publicTrade.<symbol>``: up to 1,024 fills in match order."""

    ts: Millis
    data: list[TradeRow[N]]


class BookData(msgspec.Struct, Generic[N], gc=False):
    """Levels with absolute sizes; ``u`` steps by one within a topic, ``seq`` is venue-wide."""

    b: list[Level[N]]
    a: list[Level[N]]
    u: Id
    seq: Id | None = None


class BookWire(msgspec.Struct, Generic[N], gc=False):
    """``orderbook.<depth>.<symbol>``; ``cts`` is the engine's time, ``ts`` the push's."""

    type: str
    ts: Millis
    data: BookData[N]
    cts: Millis | None = None


class CandleRow(msgspec.Struct, Generic[N], gc=False):
    """One candle; ``timestamp`` is that of its last trade."""

    start: Millis
    end: Millis
    open: N
    close: N
    high: N
    low: N
    volume: N
    turnover: N
    confirm: bool
    timestamp: Millis | None = None


class KlinesWire(msgspec.Struct, Generic[N], gc=False):
    """``kline.<interval>.<symbol>``: a closed candle may come together with the one after it."""

    ts: Millis
    data: list[CandleRow[N]]


def _decoder(wire: Any, numbers: NumberMode) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(wire[number_type(numbers)], strict=False)


def _trades(numbers: NumberMode, count_unknown: CountUnknown) -> Parser:
    decode = _decoder(TradesWire, numbers).decode

    def parse(raw: bytes, stream: Stream, time: Nanoseconds, ordinal: int, rows: list[Any]) -> None:
        wire = decode(raw)
        event_time, exchange, market = wire.ts * MS, stream.exchange, stream.market
        symbol = stream.symbol
        for row, fill in enumerate(wire.data):
            side = _SIDES.get(fill.S)
            if side is None:
                side = Side.UNKNOWN
                count_unknown(f"publicTrade.S={fill.S}")
            rows.append(
                Trade(
                    exchange,
                    market,
                    symbol,
                    fill.i,
                    fill.p,
                    fill.v,
                    side,
                    fill.T * MS,
                    event_time,
                    time,
                    ordinal,
                    row,
                    fill.seq,
                    fill.BT,
                    fill.RPI,
                )
            )

    return parse


def _quotes(numbers: NumberMode) -> Parser:
    decode = _decoder(BookWire, numbers).decode
    last: dict[str, tuple[int, int, Nanoseconds]] = {}

    def parse(raw: bytes, stream: Stream, time: Nanoseconds, ordinal: int, rows: list[Any]) -> None:
        wire = decode(raw)
        if wire.type != "snapshot":  # depth 1 is snapshots only since 2025-03-20
            raise ValueError(f"orderbook.1 of type {wire.type!r}")
        data = wire.data
        # The venue repeats an unchanged quote every 3 s under the same u: no event. A frame that
        # is redelivered after a crash has the ordinal and time it had, and is none of those.
        known = last.get(stream.name)
        if known is not None and known[0] == data.u and known[1:] != (ordinal, time):
            return
        last[stream.name] = (data.u, ordinal, time)
        bid = data.b[0] if data.b else None
        ask = data.a[0] if data.a else None
        event_time = wire.ts * MS
        rows.append(
            Quote(
                stream.exchange,
                stream.market,
                stream.symbol,
                bid.price if bid else None,
                bid.quantity if bid else None,
                ask.price if ask else None,
                ask.quantity if ask else None,
                data.u,
                event_time if wire.cts is None else wire.cts * MS,
                event_time,
                time,
                ordinal,
                0,
                data.seq,
            )
        )

    return parse


def _books(numbers: NumberMode) -> Parser:
    decode = _decoder(BookWire, numbers).decode
    snapshot = {"snapshot": True, "delta": False}
    syncing = BookVerdict.SYNCING

    def parse(raw: bytes, stream: Stream, time: Nanoseconds, ordinal: int, rows: list[Any]) -> None:
        wire = decode(raw)
        data, event_time = wire.data, wire.ts * MS
        is_snapshot = snapshot.get(wire.type)
        if is_snapshot is None:
            raise ValueError(f"a book message of type {wire.type!r}")
        rows.append(
            BookUpdate(
                stream.exchange,
                stream.market,
                stream.symbol,
                stream.depth,
                # u = 1 is a restart of the service: the book is replaced, whatever the type says.
                is_snapshot or data.u == 1,
                data.b,
                data.a,
                data.u,
                data.u,
                None,
                data.seq,
                syncing,
                event_time if wire.cts is None else wire.cts * MS,
                event_time,
                time,
                ordinal,
            )
        )

    return parse


def _klines(numbers: NumberMode) -> Parser:
    decode = _decoder(KlinesWire, numbers).decode

    def parse(raw: bytes, stream: Stream, time: Nanoseconds, ordinal: int, rows: list[Any]) -> None:
        wire = decode(raw)
        event_time = wire.ts * MS
        assert stream.interval is not None
        for row, candle in enumerate(wire.data):
            rows.append(
                Kline(
                    stream.exchange,
                    stream.market,
                    stream.symbol,
                    stream.interval,
                    candle.start * MS,
                    candle.end * MS,
                    candle.open,
                    candle.high,
                    candle.low,
                    candle.close,
                    candle.volume,
                    candle.turnover,
                    None,
                    None,
                    None,
                    None,
                    None,
                    candle.confirm,
                    event_time if candle.timestamp is None else candle.timestamp * MS,
                    event_time,
                    time,
                    ordinal,
                    row,
                )
            )

    return parse


def parser_of(numbers: NumberMode, stream: Stream, count_unknown: CountUnknown) -> Parser:
    """The parser of one stream's frames."""
    if stream.data_type is DataType.TRADE:
        return exactly(numbers, Trade, _trades(numbers, count_unknown))
    kind, make = {
        DataType.QUOTE: (Quote, _quotes),
        DataType.BOOK: (BookUpdate, _books),
        DataType.KLINE: (Kline, _klines),
    }[stream.data_type]
    return exactly(numbers, kind, make(numbers))

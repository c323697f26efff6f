"""Binance's quotes, diffs, partial books and REST snapshots."""

from __future__ import annotations

from typing import Any

from farm.entities import BookUpdate, Quote
from farm.exchanges.binance.wire import (
    BookTickerWire,
    DepthWire,
    FuturesBookTickerWire,
    FuturesDepthWire,
    MarketBookTickerWire,
    PartialDepthWire,
    frame_decoder,
    payload_decoder,
)
from farm.exchanges.numbers import MS, US, Parser, ParserContext, exactly
from farm.exchanges.streams import Stream
from farm.types import BookVerdict, Nanoseconds

__all__ = [
    "diffs",
    "futures_diffs",
    "futures_partial_books",
    "futures_quotes",
    "market_quotes",
    "partial_books",
    "quotes",
    "snapshot_parser",
]


def quotes(context: ParserContext) -> Parser:
    """``@bookTicker`` on spot."""
    decode = frame_decoder(BookTickerWire, context).decode

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


def futures_quotes(context: ParserContext) -> Parser:
    """``@bookTicker`` on futures."""
    decode = frame_decoder(FuturesBookTickerWire, context).decode

    def parse(raw: bytes, stream: Stream, time: Nanoseconds, ordinal: int, rows: list[Any]) -> None:
        wire = decode(raw).data
        rows.append(_quote(wire, stream, stream.symbol, time, ordinal))

    return parse


def market_quotes(context: ParserContext) -> Parser:
    """``!bookTicker``: all symbols, those of both futures markets."""
    decode = frame_decoder(MarketBookTickerWire, context).decode
    universe, foreign = context.universe, context.foreign

    def parse(raw: bytes, stream: Stream, time: Nanoseconds, ordinal: int, rows: list[Any]) -> None:
        wire = decode(raw).data
        if wire.st is not None and wire.st != universe:
            foreign[stream.name] += 1
            return
        rows.append(_quote(wire, stream, wire.s, time, ordinal))

    return parse


def _quote(wire: Any, stream: Stream, symbol: str, time: Nanoseconds, ordinal: int) -> Quote:
    return Quote(
        stream.exchange,
        stream.market,
        symbol,
        wire.b or None,
        wire.B if wire.b else None,
        wire.a or None,
        wire.A if wire.a else None,
        wire.u,
        wire.T * MS,
        wire.E * MS,
        time,
        ordinal,
    )


def diffs(context: ParserContext) -> Parser:
    """``@depth`` on spot, whose only time is that of the push."""
    decode = frame_decoder(DepthWire, context).decode
    syncing, unit = BookVerdict.SYNCING, US if context.microseconds else MS

    def parse(raw: bytes, stream: Stream, time: Nanoseconds, ordinal: int, rows: list[Any]) -> None:
        wire = decode(raw).data
        event_time = wire.E * unit
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


def futures_diffs(context: ParserContext) -> Parser:
    """``@depth`` on futures."""
    return _futures_books(context, is_snapshot=False)


def futures_partial_books(context: ParserContext) -> Parser:
    """``@depth20`` on futures: the shape of a diff, and whole every time."""
    return _futures_books(context, is_snapshot=True)


def _futures_books(context: ParserContext, *, is_snapshot: bool) -> Parser:
    decode = frame_decoder(FuturesDepthWire, context).decode
    syncing = BookVerdict.SYNCING

    def parse(raw: bytes, stream: Stream, time: Nanoseconds, ordinal: int, rows: list[Any]) -> None:
        wire = decode(raw).data
        rows.append(
            BookUpdate(
                stream.exchange,
                stream.market,
                stream.symbol,
                stream.depth,
                is_snapshot,
                wire.b,
                wire.a,
                wire.U,
                wire.u,
                wire.pu,
                None,
                syncing,
                wire.T * MS,
                wire.E * MS,
                time,
                ordinal,
            )
        )

    return parse


def partial_books(context: ParserContext) -> Parser:
    """``@depth20`` on spot."""
    decode = frame_decoder(PartialDepthWire, context).decode

    def parse(raw: bytes, stream: Stream, time: Nanoseconds, ordinal: int, rows: list[Any]) -> None:
        rows.append(_whole_book(decode(raw).data, stream, time, ordinal))

    return parse


def snapshot_parser(context: ParserContext) -> Parser:
    """The parser of REST depth answers; their times are milliseconds, whatever the socket's are."""
    decode = payload_decoder(PartialDepthWire, context).decode

    def parse(raw: bytes, stream: Stream, time: Nanoseconds, ordinal: int, rows: list[Any]) -> None:
        rows.append(_whole_book(decode(raw), stream, time, ordinal))

    return exactly(context, parse)


def _whole_book(
    wire: PartialDepthWire[Any, Any, int], stream: Stream, time: Nanoseconds, ordinal: int
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
        None if wire.T is None else wire.T * MS,
        None if wire.E is None else wire.E * MS,
        time,
        ordinal,
    )

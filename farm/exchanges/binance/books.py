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
    bound_to_frames,
    frame_decoder,
    payload_decoder,
)
from farm.exchanges.bound import Bound
from farm.exchanges.fields import OF_STREAM, computed, of_stream, optional_time, same, time
from farm.exchanges.numbers import MS, Parser, ParserContext, exactly
from farm.exchanges.recipe import Recipe, Shape
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


_SHAPE = Shape(top="data")
_TOP = {
    **OF_STREAM,
    "bid_price": computed("wire.b or None"),  # an empty side is sent as price 0
    "bid_quantity": computed("wire.B if wire.b else None"),
    "ask_price": computed("wire.a or None"),
    "ask_quantity": computed("wire.A if wire.a else None"),
    "update_id": same("wire.u"),
}
_QUOTES = Recipe(
    Quote, {**_TOP, "exchange_time": computed("None"), "event_time": computed("None")}, _SHAPE
)
_FUTURES_QUOTES = Recipe(
    Quote, {**_TOP, "exchange_time": time("wire.T"), "event_time": time("wire.E")}, _SHAPE
)

_LEVELS = {
    **OF_STREAM,
    "bid_levels": same("wire.b"),
    "ask_levels": same("wire.a"),
    "first_id": same("wire.U"),
    "last_id": same("wire.u"),
    "sequence": computed("None"),
    "verdict": computed("syncing", syncing=BookVerdict.SYNCING),
    "event_time": time("wire.E"),
}
_DIFFS = Recipe(
    BookUpdate,
    {
        **_LEVELS,
        "depth": computed("None"),
        "is_snapshot": computed("False"),
        "previous_id": computed("None"),
        "exchange_time": time("wire.E"),  # the push's is the only one
    },
    _SHAPE,
)
_FUTURES_DIFFS = Recipe(
    BookUpdate,
    {
        **_LEVELS,
        "depth": of_stream("depth"),
        "is_snapshot": computed("False"),
        "previous_id": same("wire.pu"),
        "exchange_time": time("wire.T"),
    },
    _SHAPE,
)
_FUTURES_PARTIAL_BOOKS = Recipe(
    BookUpdate, {**_FUTURES_DIFFS.fields, "is_snapshot": computed("True")}, _SHAPE
)
_WHOLE_BOOK = {
    **_LEVELS,
    "depth": of_stream("depth"),
    "is_snapshot": computed("True"),
    "bid_levels": same("wire.bids"),
    "ask_levels": same("wire.asks"),
    "first_id": same("wire.last_update_id"),
    "last_id": same("wire.last_update_id"),
    "previous_id": computed("None"),
    "exchange_time": optional_time("wire.T"),
    "event_time": optional_time("wire.E"),
}
_PARTIAL_BOOKS = Recipe(BookUpdate, _WHOLE_BOOK, _SHAPE)
_SNAPSHOTS = Recipe(BookUpdate, _WHOLE_BOOK)


def quotes(context: ParserContext) -> Parser:
    """``@bookTicker`` on spot."""
    return bound_to_frames(_QUOTES, BookTickerWire, context)


def futures_quotes(context: ParserContext) -> Parser:
    """``@bookTicker`` on futures."""
    return bound_to_frames(_FUTURES_QUOTES, FuturesBookTickerWire, context)


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
    """``@depth`` on spot."""
    return bound_to_frames(_DIFFS, DepthWire, context)


def futures_diffs(context: ParserContext) -> Parser:
    """``@depth`` on futures."""
    return bound_to_frames(_FUTURES_DIFFS, FuturesDepthWire, context)


def futures_partial_books(context: ParserContext) -> Parser:
    """``@depth20`` on futures: the shape of a diff, and whole every time."""
    return bound_to_frames(_FUTURES_PARTIAL_BOOKS, FuturesDepthWire, context)


def partial_books(context: ParserContext) -> Parser:
    """``@depth20`` on spot."""
    return bound_to_frames(_PARTIAL_BOOKS, PartialDepthWire, context)


def snapshot_parser(context: ParserContext) -> Parser:
    """The parser of REST depth answers; their times are milliseconds, whatever the socket's are."""
    decode = payload_decoder(PartialDepthWire, context).decode
    return exactly(context, Bound(_SNAPSHOTS, decode, context))

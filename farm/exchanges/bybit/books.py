"""Bybit's quotes, books and the snapshots of its full books.

Source: github.com/bybit-exchange/docs, ``v5/websocket/public/orderbook.mdx``.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

from farm.entities import BookUpdate, Quote
from farm.exchanges.bybit.wire import BookWire, FullBookReply, bound_to_messages, wire_decoder
from farm.exchanges.fields import OF_STREAM, computed, of_stream, optional_time, same, time
from farm.exchanges.numbers import MS, Parser, ParserContext, exactly
from farm.exchanges.recipe import Recipe, Shape
from farm.exchanges.streams import BookProcedure, Stream
from farm.types import BookVerdict, Nanoseconds

__all__ = ["books", "quotes", "snapshot_parser"]


def quotes(context: ParserContext) -> Parser:
    """``orderbook.1``."""
    decode = wire_decoder(BookWire, context).decode
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


_WORDS = {"snapshot": True, "delta": False}
_TYPE = attrgetter("type")


def _are_plain(_wires: Sequence[Any], tops: Sequence[Any]) -> bool:
    return _WORDS.keys() >= set(map(_TYPE, tops))


def _look(
    _context: ParserContext,
    _wire: object,
    top: BookWire[Any],
    _stream: Stream,
    _time: Nanoseconds,
    _ordinal: int,
) -> bool:
    if top.type not in _WORDS:
        raise ValueError(f"a book message of type {top.type!r}")
    return True


def _look_at_reply(
    _context: ParserContext,
    _wire: object,
    top: FullBookReply[Any],
    _stream: Stream,
    _time: Nanoseconds,
    _ordinal: int,
) -> bool:
    if top.ret_code:
        raise ValueError(f"retCode {top.ret_code}")
    return True


_LEVELS = {
    **OF_STREAM,
    "depth": of_stream("depth"),
    "bid_levels": same("wire.b"),
    "ask_levels": same("wire.a"),
    "first_id": same("wire.u"),
    "last_id": same("wire.u"),
    "previous_id": computed("None"),
    "sequence": same("wire.seq"),
    "verdict": computed("syncing", syncing=BookVerdict.SYNCING),
}
_BOOKS = Recipe(
    BookUpdate,
    {
        **_LEVELS,
        # u = 1 is a restart of the service: the book is replaced, whatever the type says; but a
        # full book begins with a snapshot by REST, always.
        "is_snapshot": computed(
            "words[top.type] or (wire.u == 1 and stream.procedure is not full)",
            words=_WORDS,
            full=BookProcedure.FULL_BY_REST,
        ),
        "exchange_time": optional_time("top.cts", otherwise="top.ts * unit"),
        "event_time": time("top.ts"),
    },
    Shape(wire="data"),
    look=_look,
    is_plain=_are_plain,
)
_SNAPSHOTS = Recipe(
    BookUpdate,
    {
        **_LEVELS,
        "is_snapshot": computed("True"),
        "exchange_time": optional_time("wire.cts", otherwise="wire.ts * unit"),
        "event_time": time("wire.ts"),
    },
    Shape(wire="result"),
    look=_look_at_reply,
)


def books(context: ParserContext) -> Parser:
    """``orderbook.<depth>``, the full book's among them."""
    return bound_to_messages(_BOOKS, BookWire, context)


def snapshot_parser(context: ParserContext) -> Parser:
    """The parser of ``/v5/market/full_orderbook`` answers."""
    return exactly(context, bound_to_messages(_SNAPSHOTS, FullBookReply, context))

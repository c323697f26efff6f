"""Bybit's quotes, books and the snapshots of its full books.

Source: github.com/bybit-exchange/docs, ``v5/websocket/public/orderbook.mdx``.
"""

from __future__ import annotations

from typing import Any

from farm.entities import BookUpdate, Quote
from farm.exchanges.bybit.wire import BookWire, FullBookReply, wire_decoder
from farm.exchanges.numbers import MS, Parser, ParserContext, exactly
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


def books(context: ParserContext) -> Parser:
    """``orderbook.<depth>``, the full book's among them."""
    decode = wire_decoder(BookWire, context).decode
    snapshot = {"snapshot": True, "delta": False}
    syncing, full = BookVerdict.SYNCING, BookProcedure.FULL_BY_REST

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
                # u = 1 is a restart of the service: the book is replaced, whatever the type says;
                # but a full book begins with a snapshot by REST, always.
                is_snapshot or (data.u == 1 and stream.procedure is not full),
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


def snapshot_parser(context: ParserContext) -> Parser:
    """The parser of ``/v5/market/full_orderbook`` answers."""
    decode = wire_decoder(FullBookReply, context).decode

    def parse(raw: bytes, stream: Stream, time: Nanoseconds, ordinal: int, rows: list[Any]) -> None:
        reply = decode(raw)
        if reply.ret_code:
            raise ValueError(f"retCode {reply.ret_code}")
        book = reply.result
        event_time = book.ts * MS
        rows.append(
            BookUpdate(
                stream.exchange,
                stream.market,
                stream.symbol,
                stream.depth,
                True,
                book.b,
                book.a,
                book.u,
                book.u,
                None,
                book.seq,
                BookVerdict.SYNCING,
                event_time if book.cts is None else book.cts * MS,
                event_time,
                time,
                ordinal,
            )
        )

    return exactly(context, parse)

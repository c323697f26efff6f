"""Binance's candles, mark prices, liquidations, tickers, contract news and open interest.

Each kind has a maker, which turns one payload into one event; the same makers serve the stream of
a symbol and the stream of the whole market, whose rows name their symbols themselves and are, since
2026-06-30, of both futures markets.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import attrs

from farm.entities import (
    ContinuousKline,
    ContractInfo,
    Event,
    Kline,
    Liquidation,
    MarkPrice,
    MiniTicker,
    OpenInterest,
    Ticker,
)
from farm.exchanges.binance.wire import (
    ContinuousKlineWire,
    ContractInfoWire,
    ForceOrderWire,
    KlineWire,
    MarkPriceWire,
    MiniTickerWire,
    OpenInterestWire,
    TickerWire,
    bound_to_frames,
    frame_decoder,
    payload_decoder,
)
from farm.exchanges.fields import OF_STREAM, computed, of_stream, same, time
from farm.exchanges.numbers import MS, US, Parser, ParserContext, exactly, number_of
from farm.exchanges.recipe import Recipe, Shape
from farm.exchanges.streams import Stream
from farm.types import DataType, Nanoseconds, Side

__all__ = ["MADE", "continuous_klines", "klines", "of_market", "of_symbol", "poll_parser"]

_SIDES = {"BUY": Side.BUY, "SELL": Side.SELL}
_PERPETUAL = 4_133_404_800_000
"""The delivery time of contracts that are never delivered (2100-12-25)."""


Maker: TypeAlias = Callable[[Any, Stream, str, Nanoseconds, int, int], Event]
"""Make an event: (payload, stream, symbol, receive time, ordinal, row)."""


@attrs.frozen
class MadeFrom:
    """How one kind is made: the wire struct, the maker for a context, and where its payload names
    its symbol and its market."""

    wire: Any
    maker: Callable[[ParserContext], Maker]
    symbol: Callable[[Any], str] = lambda wire: wire.s
    universe: Callable[[Any], int | None] = lambda wire: wire.st


def of_symbol(made: MadeFrom, context: ParserContext) -> Parser:
    """The parser of one symbol's stream."""
    decode = frame_decoder(made.wire, context).decode
    make = made.maker(context)

    def parse(raw: bytes, stream: Stream, time: Nanoseconds, ordinal: int, rows: list[Any]) -> None:
        rows.append(make(decode(raw).data, stream, stream.symbol, time, ordinal, 0))

    return parse


def of_market(made: MadeFrom, context: ParserContext) -> Parser:
    """The parser of a whole market's stream: a list or a single payload, ours and others'."""
    decode = frame_decoder(made.wire, context, many=True).decode
    make, universe, foreign = made.maker(context), context.universe, context.foreign

    def parse(raw: bytes, stream: Stream, time: Nanoseconds, ordinal: int, rows: list[Any]) -> None:
        data = decode(raw).data
        ours, others = [], 0
        for row, wire in enumerate(data if isinstance(data, list) else [data]):
            if made.universe(wire) in (None, universe):
                ours.append(make(wire, stream, made.symbol(wire), time, ordinal, row))
            else:
                others += 1
        rows += ours  # only now: a bad row takes its whole message with it
        if others:
            foreign[stream.name] += others

    return parse


# -------------------------------------------------------------------------------------- candles
_CANDLE = {
    **OF_STREAM,
    "interval": of_stream("interval"),
    "open_time": time("wire.t"),
    "close_time": time("wire.T"),
    "open": same("wire.o"),
    "high": same("wire.h"),
    "low": same("wire.l"),
    "close": same("wire.c"),
    "base_volume": same("wire.v"),
    "quote_volume": same("wire.q"),
    "taker_buy_base_volume": same("wire.V"),
    "taker_buy_quote_volume": same("wire.Q"),
    "trade_count": same("wire.n"),
    # A candle without trades has f = L = -1.
    "first_trade_id": computed("wire.f if wire.f >= 0 else None"),
    "last_trade_id": computed("wire.L if wire.f >= 0 else None"),
    "closed": same("wire.x"),
    "exchange_time": time("top.E"),
    "event_time": time("top.E"),
}
_IN_FRAMES = Shape(top="data", wire="k")
_KLINES = Recipe(Kline, _CANDLE, _IN_FRAMES)
_CONTINUOUS_KLINES = Recipe(
    ContinuousKline,
    {**_CANDLE, "contract_type": computed('stream.contract_type or ""')},
    _IN_FRAMES,
)


def klines(context: ParserContext) -> Parser:
    """``@kline_<interval>``."""
    return bound_to_frames(_KLINES, KlineWire, context)


def continuous_klines(context: ParserContext) -> Parser:
    """``@continuousKline_<interval>``."""
    return bound_to_frames(_CONTINUOUS_KLINES, ContinuousKlineWire, context)


# --------------------------------------------------------------------------------------- prices
def mark_prices(context: ParserContext) -> Maker:
    """``@markPrice``; a dated contract has no funding."""
    numbers = context.numbers

    def make(
        wire: MarkPriceWire[Any, Any, int],
        stream: Stream,
        symbol: str,
        time: Nanoseconds,
        ordinal: int,
        row: int,
    ) -> MarkPrice:
        event_time = wire.E * MS
        funding = number_of(numbers, wire.r, signed=True)
        return MarkPrice(
            stream.exchange,
            stream.market,
            symbol,
            wire.p,
            number_of(numbers, wire.i),
            number_of(numbers, wire.ap),
            number_of(numbers, wire.P),
            funding if wire.T else None,  # 0 where none is ever due
            wire.T * MS or None,
            event_time,
            event_time,
            time,
            ordinal,
            row,
        )

    return make


def liquidations(context: ParserContext) -> Maker:
    """``@forceOrder``: ``S`` is the order's side already."""
    unknown = context.unknown

    def make(
        wire: ForceOrderWire[Any, Any, int],
        stream: Stream,
        symbol: str,
        time: Nanoseconds,
        ordinal: int,
        row: int,
    ) -> Liquidation:
        order = wire.o
        side = _SIDES.get(order.S)
        if side is None:
            side = Side.UNKNOWN
            unknown.note("forceOrder.S", order.S)
        return Liquidation(
            stream.exchange,
            stream.market,
            symbol,
            side,
            order.p,
            order.q,
            order.ap,
            order.z,
            order.T * MS,
            wire.E * MS,
            time,
            ordinal,
            row,
        )

    return make


def mini_tickers(context: ParserContext) -> Maker:
    """``@miniTicker``."""
    unit = US if context.microseconds else MS

    def make(
        wire: MiniTickerWire[Any, Any, int],
        stream: Stream,
        symbol: str,
        time: Nanoseconds,
        ordinal: int,
        row: int,
    ) -> MiniTicker:
        event_time = wire.E * unit
        return MiniTicker(
            stream.exchange,
            stream.market,
            symbol,
            wire.c,
            wire.o,
            wire.h,
            wire.l,
            wire.v,
            wire.q,
            event_time,
            event_time,
            time,
            ordinal,
            row,
        )

    return make


def tickers(context: ParserContext) -> Maker:
    """``@ticker``."""
    unit = US if context.microseconds else MS

    def make(
        wire: TickerWire[Any, Any, int],
        stream: Stream,
        symbol: str,
        time: Nanoseconds,
        ordinal: int,
        row: int,
    ) -> Ticker:
        event_time = wire.E * unit
        return Ticker(
            stream.exchange,
            stream.market,
            symbol,
            wire.c,
            wire.o,
            wire.h,
            wire.l,
            wire.v,
            wire.q,
            wire.p,
            wire.P,
            wire.w,
            wire.Q,
            wire.b or None,  # an empty side is sent as price 0
            wire.B if wire.b else None,
            wire.a or None,
            wire.A if wire.a else None,
            wire.O * unit,
            wire.C * unit,
            wire.F if wire.F >= 0 else None,
            wire.L if wire.L >= 0 else None,
            wire.n,
            event_time,
            event_time,
            time,
            ordinal,
            row,
        )

    return make


def contract_infos(context: ParserContext) -> Maker:  # noqa: ARG001
    """``!contractInfo``."""

    def make(
        wire: ContractInfoWire[Any, Any, int],
        stream: Stream,
        symbol: str,
        time: Nanoseconds,
        ordinal: int,
        row: int,
    ) -> ContractInfo:
        event_time = wire.E * MS
        return ContractInfo(
            stream.exchange,
            stream.market,
            symbol,
            wire.ps,
            wire.ct,
            wire.cs,
            wire.ot * MS or None,
            wire.dt * MS if 0 < wire.dt < _PERPETUAL else None,
            event_time,
            event_time,
            time,
            ordinal,
            row,
        )

    return make


def poll_parser(context: ParserContext) -> Parser:
    """The parser of ``/openInterest`` answers."""
    decode = payload_decoder(OpenInterestWire, context).decode

    def parse(raw: bytes, stream: Stream, time: Nanoseconds, ordinal: int, rows: list[Any]) -> None:
        wire = decode(raw)
        if wire.symbol != stream.symbol:
            raise ValueError(f"asked for {stream.symbol}, answered {wire.symbol!r}")
        rows.append(
            OpenInterest(
                stream.exchange,
                stream.market,
                stream.symbol,
                wire.open_interest,
                None,
                wire.time * MS,
                None,
                time,
                ordinal,
            )
        )

    return exactly(context, parse)


MADE: dict[DataType, MadeFrom] = {
    DataType.MARK_PRICE: MadeFrom(MarkPriceWire, mark_prices),
    DataType.LIQUIDATION: MadeFrom(
        ForceOrderWire,
        liquidations,
        symbol=lambda wire: wire.o.s,
        universe=lambda wire: wire.o.st if wire.st is None else wire.st,
    ),
    DataType.MINI_TICKER: MadeFrom(MiniTickerWire, mini_tickers),
    DataType.TICKER: MadeFrom(TickerWire, tickers),
    DataType.CONTRACT_INFO: MadeFrom(ContractInfoWire, contract_infos),
}
"""How each kind is made."""

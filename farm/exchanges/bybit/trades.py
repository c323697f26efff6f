"""Bybit's trades and liquidations.

Sources: github.com/bybit-exchange/docs, ``v5/websocket/public/trade.mdx`` and
``all-liquidation.mdx``: there ``Buy`` means that a *long position* was liquidated, by an order that
sold.
"""

from __future__ import annotations

from typing import Any

from farm.entities import Liquidation, Trade
from farm.exchanges.bybit.wire import (
    LiquidationsWire,
    OptionTradesWire,
    TradesWire,
    wire_decoder,
)
from farm.exchanges.numbers import MS, Parser, ParserContext
from farm.exchanges.streams import Stream
from farm.types import Nanoseconds, Side

__all__ = ["liquidations", "option_trades", "trades"]

_SIDES = {"Buy": Side.BUY, "Sell": Side.SELL}
_ORDER_SIDES = {"Buy": Side.SELL, "Sell": Side.BUY}


def trades(context: ParserContext) -> Parser:
    """``publicTrade`` of a symbol."""
    decode, unknown = wire_decoder(TradesWire, context).decode, context.unknown

    def parse(raw: bytes, stream: Stream, time: Nanoseconds, ordinal: int, rows: list[Any]) -> None:
        wire = decode(raw)
        event_time, exchange, market = wire.ts * MS, stream.exchange, stream.market
        symbol = stream.symbol
        for row, fill in enumerate(wire.data):
            side = _SIDES.get(fill.S)
            if side is None:
                side = Side.UNKNOWN
                unknown.note("publicTrade.S", fill.S)
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


def option_trades(context: ParserContext) -> Parser:
    """``publicTrade`` of a base coin: every row names its option."""
    decode, unknown = wire_decoder(OptionTradesWire, context).decode, context.unknown

    def parse(raw: bytes, stream: Stream, time: Nanoseconds, ordinal: int, rows: list[Any]) -> None:
        wire = decode(raw)
        event_time = wire.ts * MS
        for row, fill in enumerate(wire.data):
            side = _SIDES.get(fill.S)
            if side is None:
                side = Side.UNKNOWN
                unknown.note("publicTrade.S", fill.S)
            rows.append(
                Trade(
                    stream.exchange,
                    stream.market,
                    fill.s,
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
                    None,
                    fill.mark_price,
                    fill.index_price,
                    fill.mark_iv,
                    fill.iv,
                )
            )

    return parse


def liquidations(context: ParserContext) -> Parser:
    """``allLiquidation``."""
    decode, unknown = wire_decoder(LiquidationsWire, context).decode, context.unknown

    def parse(raw: bytes, stream: Stream, time: Nanoseconds, ordinal: int, rows: list[Any]) -> None:
        wire = decode(raw)
        event_time = wire.ts * MS
        for row, order in enumerate(wire.data):
            side = _ORDER_SIDES.get(order.S)
            if side is None:
                side = Side.UNKNOWN
                unknown.note("allLiquidation.S", order.S)
            rows.append(
                Liquidation(
                    stream.exchange,
                    stream.market,
                    stream.symbol,
                    side,
                    order.p,
                    order.v,
                    None,
                    None,
                    order.T * MS,
                    event_time,
                    time,
                    ordinal,
                    row,
                )
            )

    return parse

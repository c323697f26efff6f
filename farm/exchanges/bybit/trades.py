"""Bybit's trades and liquidations.

Sources: github.com/bybit-exchange/docs, ``v5/websocket/public/trade.mdx`` and
``all-liquidation.mdx``: there ``Buy`` means that a *long position* was liquidated, by an order that
sold.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

from farm.entities import Liquidation, Trade
from farm.exchanges.bybit.wire import (
    LiquidationsWire,
    OptionTradesWire,
    TradesWire,
    bound_to_messages,
    wire_decoder,
)
from farm.exchanges.fields import OF_STREAM, same, side, time
from farm.exchanges.numbers import MS, Parser, ParserContext
from farm.exchanges.recipe import Recipe, Shape
from farm.exchanges.streams import Stream
from farm.types import Nanoseconds, Side

__all__ = ["liquidations", "option_trades", "trades"]

_SIDES = {"Buy": Side.BUY, "Sell": Side.SELL}
_ORDER_SIDES = {"Buy": Side.SELL, "Sell": Side.BUY}
_SIDE = attrgetter("S")


def _are_plain(wires: Sequence[Any], _tops: Sequence[Any]) -> bool:
    return _SIDES.keys() >= set(map(_SIDE, wires))


def _look(
    context: ParserContext,
    wire: Any,
    _top: object,
    _stream: Stream,
    _time: Nanoseconds,
    _ordinal: int,
) -> bool:
    if wire.S not in _SIDES:
        context.unknown.note("publicTrade.S", wire.S)
    return True


_FILL = {
    **OF_STREAM,
    "id": same("wire.i"),
    "price": same("wire.p"),
    "quantity": same("wire.v"),
    "side": side("wire.S", _SIDES),
    "exchange_time": time("wire.T"),
    "event_time": time("top.ts"),
    "sequence": same("wire.seq"),
    "block_trade": same("wire.BT"),
    "rpi": same("wire.RPI"),
}
_SHAPE = Shape(wire="data", many=True)
_TRADES = Recipe(Trade, _FILL, _SHAPE, look=_look, is_plain=_are_plain)
_OPTION_TRADES = Recipe(
    Trade,
    {
        **_FILL,
        "symbol": same("wire.s"),  # the stream is of a base coin
        "mark_price": same("wire.mark_price"),
        "index_price": same("wire.index_price"),
        "mark_iv": same("wire.mark_iv"),
        "iv": same("wire.iv"),
    },
    _SHAPE,
    look=_look,
    is_plain=_are_plain,
)


def trades(context: ParserContext) -> Parser:
    """``publicTrade`` of a symbol."""
    return bound_to_messages(_TRADES, TradesWire, context)


def option_trades(context: ParserContext) -> Parser:
    """``publicTrade`` of a base coin: every row names its option."""
    return bound_to_messages(_OPTION_TRADES, OptionTradesWire, context)


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

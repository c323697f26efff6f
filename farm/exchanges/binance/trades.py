"""Binance's trades and aggregate trades.

Sources: github.com/binance/binance-spot-api-docs, ``web-socket-streams.md``; that futures send
placeholders (``X: NA``, price and quantity 0), each of which spends a trade id: issues of
hftbacktest (263) and nautilus_trader (2588), and live frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

from farm.entities import AggTrade, SpentIds, Trade
from farm.exchanges.binance.wire import AggTradeWire, FuturesTradeWire, TradeWire, bound_to_frames
from farm.exchanges.fields import OF_STREAM, lookup, same, taker_side, text, time
from farm.exchanges.numbers import MS, Parser, ParserContext
from farm.exchanges.recipe import Recipe, Shape
from farm.exchanges.streams import Stream
from farm.types import Nanoseconds, OrderType

__all__ = ["agg_trades", "futures_trades", "trades"]

_PLACEHOLDER = "NA"
_ORDER_TYPES = {
    None: None,
    "MARKET": OrderType.MARKET,
    "INSURANCE_FUND": OrderType.INSURANCE_FUND,
    "ADL": OrderType.ADL,
}
_KNOWN = frozenset(_ORDER_TYPES)
_MADE_BY = attrgetter("X")

_SHAPE = Shape(top="data")
_FILL = {
    **OF_STREAM,
    "id": text("wire.t"),
    "price": same("wire.p"),
    "quantity": same("wire.q"),
    "side": taker_side("wire.m"),
    "exchange_time": time("wire.T"),
    "event_time": time("wire.E"),
}


def _are_plain(wires: Sequence[Any], _tops: Sequence[Any]) -> bool:
    return _KNOWN.issuperset(map(_MADE_BY, wires))


def _look(
    context: ParserContext,
    wire: FuturesTradeWire[Any, Any, int],
    _top: object,
    stream: Stream,
    time: Nanoseconds,
    ordinal: int,
) -> bool:
    """Placeholders are no trades, but their ids count."""
    made_by = wire.X
    if made_by == _PLACEHOLDER:
        context.extras.append(_spent(wire, stream, time, ordinal))
        return False
    if made_by not in _KNOWN:
        context.unknown.note("trade.X", made_by)
    return True


def _spent(
    wire: FuturesTradeWire[Any, Any, int], stream: Stream, time: Nanoseconds, ordinal: int
) -> SpentIds:
    return SpentIds(
        stream.exchange,
        stream.market,
        stream.symbol,
        wire.t,
        wire.t,
        wire.T * MS,
        wire.E * MS,
        time,
        ordinal,
    )


_TRADES = Recipe(Trade, _FILL, _SHAPE, number="wire.t")
_FUTURES_TRADES = Recipe(
    Trade,
    {**_FILL, "order_type": lookup("wire.X", _ORDER_TYPES, OrderType.UNKNOWN)},
    _SHAPE,
    number="wire.t",
    look=_look,
    is_plain=_are_plain,
)
_AGG_TRADES = Recipe(
    AggTrade,
    {
        **_FILL,
        "id": text("wire.a"),
        "first_trade_id": same("wire.f"),
        "last_trade_id": same("wire.l"),
        "non_rpi_quantity": same("wire.nq"),
    },
    _SHAPE,
    number="wire.a",
)


def trades(context: ParserContext) -> Parser:
    """``@trade`` on spot."""
    return bound_to_frames(_TRADES, TradeWire, context)


def futures_trades(context: ParserContext) -> Parser:
    """``@trade`` on futures."""
    return bound_to_frames(_FUTURES_TRADES, FuturesTradeWire, context)


def agg_trades(context: ParserContext) -> Parser:
    """``@aggTrade``."""
    return bound_to_frames(_AGG_TRADES, AggTradeWire, context)

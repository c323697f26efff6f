"""Binance's trades and aggregate trades.

Sources: github.com/binance/binance-spot-api-docs, ``web-socket-streams.md``; that futures send
placeholders (``X: NA``, price and quantity 0), each of which spends a trade id: issues of
hftbacktest (263) and nautilus_trader (2588), and live frames.
"""

from __future__ import annotations

from typing import Any

from farm.entities import AggTrade, SpentIds, Trade
from farm.exchanges.binance.wire import (
    AggTradeWire,
    FuturesTradeWire,
    TradeWire,
    frame_decoder,
)
from farm.exchanges.numbers import MS, US, Parser, ParserContext
from farm.exchanges.streams import Stream
from farm.types import Nanoseconds, OrderType, Side

__all__ = ["agg_trades", "futures_trades", "trades"]

_PLACEHOLDER = "NA"
_ORDER_TYPES = {
    None: None,
    "MARKET": OrderType.MARKET,
    "INSURANCE_FUND": OrderType.INSURANCE_FUND,
    "ADL": OrderType.ADL,
}


def trades(context: ParserContext) -> Parser:
    """``@trade`` on spot."""
    decode = frame_decoder(TradeWire, context).decode
    buy, sell, unit = Side.BUY, Side.SELL, US if context.microseconds else MS

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
                wire.T * unit,
                wire.E * unit,
                time,
                ordinal,
            )
        )

    return parse


def futures_trades(context: ParserContext) -> Parser:
    """``@trade`` on futures: placeholders are no trades, but their ids count."""
    decode = frame_decoder(FuturesTradeWire, context).decode
    buy, sell, known = Side.BUY, Side.SELL, _ORDER_TYPES
    extras, unknown = context.extras, context.unknown

    def parse(raw: bytes, stream: Stream, time: Nanoseconds, ordinal: int, rows: list[Any]) -> None:
        wire = decode(raw).data
        made_by = wire.X
        if made_by == _PLACEHOLDER:
            extras.append(_spent(wire, stream, time, ordinal))
            return
        order_type = known.get(made_by, OrderType.UNKNOWN)
        if order_type is OrderType.UNKNOWN:
            unknown.note("trade.X", made_by)
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
                0,
                None,
                None,
                None,
                order_type,
            )
        )

    return parse


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


def agg_trades(context: ParserContext) -> Parser:
    """``@aggTrade``."""
    decode = frame_decoder(AggTradeWire, context).decode
    buy, sell, unit = Side.BUY, Side.SELL, US if context.microseconds else MS

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
                wire.T * unit,
                wire.E * unit,
                time,
                ordinal,
                0,
                wire.nq,
            )
        )

    return parse

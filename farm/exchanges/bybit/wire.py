"""Bybit's payloads as typed structs.

Field meanings: github.com/bybit-exchange/docs, ``v5/websocket/public/*.mdx``. The order of keys
differs between categories and is never relied on; times may come as numbers or as text.
"""

from __future__ import annotations

from typing import Annotated, Any, Generic, TypeVar

import msgspec

from farm.entities import Level
from farm.exchanges.bound import Bound
from farm.exchanges.numbers import Id, Millis, Parser, ParserContext, number_type
from farm.exchanges.recipe import Recipe

__all__ = [
    "BookWire",
    "FullBookReply",
    "KlinesWire",
    "LiquidationsWire",
    "OptionTradesWire",
    "TickerWire",
    "TradesWire",
    "bound_to_messages",
    "wire_decoder",
]

N = TypeVar("N")
TradeId = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
"""UUIDs on derivatives, numbers on spot; what is longer is no id."""


class TradeRow(msgspec.Struct, Generic[N], gc=False):
    """One fill. ``S`` is the taker's side, ``BT`` a block trade, ``seq`` the cross sequence."""

    T: Millis
    S: str
    v: N
    p: N
    i: TradeId
    BT: bool | None = None
    RPI: bool | None = None
    seq: Id | None = None


class TradesWire(msgspec.Struct, Generic[N], gc=False):
    """``publicTrade.<symbol>``: up to 1,024 fills in match order."""

    ts: Millis
    data: list[TradeRow[N]]


class OptionTradeRow(msgspec.Struct, Generic[N], gc=False):
    """One fill of an option, with mark price, index and implied volatilities as of then."""

    T: Millis
    s: str
    S: str
    v: N
    p: N
    i: TradeId
    BT: bool | None = None
    RPI: bool | None = None
    seq: Id | None = None
    mark_price: N | None = msgspec.field(default=None, name="mP")
    index_price: N | None = msgspec.field(default=None, name="iP")
    mark_iv: N | None = msgspec.field(default=None, name="mIv")
    iv: N | None = None


class OptionTradesWire(msgspec.Struct, Generic[N], gc=False):
    """``publicTrade.<base coin>``: fills of all options on it."""

    ts: Millis
    data: list[OptionTradeRow[N]]


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


class FullBook(msgspec.Struct, Generic[N], gc=False):
    """The book in the answer of ``/v5/market/full_orderbook``."""

    b: list[Level[N]]
    a: list[Level[N]]
    ts: Millis
    u: Id
    seq: Id
    cts: Millis | None = None


class FullBookReply(msgspec.Struct, Generic[N], gc=False, rename="camel"):
    """That answer; ``retCode`` is 0 where it is one."""

    ret_code: int
    result: FullBook[N]


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

    data: list[CandleRow[N]]
    ts: Millis


class TickerWire(msgspec.Struct, Generic[N], gc=False):
    """``tickers.<symbol>``: a snapshot, then only the fields that changed; spot and options send
    snapshots alone. ``cs`` is the cross sequence."""

    ts: Millis
    data: dict[str, Any]
    type: str = "snapshot"
    cs: Id | None = None


class LiquidationRow(msgspec.Struct, Generic[N], gc=False):
    """One liquidation: ``S`` is the side of the *position*, ``p`` the bankruptcy price."""

    T: Millis
    S: str
    v: N
    p: N


class LiquidationsWire(msgspec.Struct, Generic[N], gc=False):
    """``allLiquidation.<symbol>``."""

    ts: Millis
    data: list[LiquidationRow[N]]


def wire_decoder(wire: Any, context: ParserContext) -> msgspec.json.Decoder[Any]:
    """The decoder of messages of such a shape."""
    return msgspec.json.Decoder(wire[number_type(context.numbers)], strict=False)


def bound_to_messages(recipe: Recipe, wire: Any, context: ParserContext) -> Parser:
    """The parser of messages of such a shape: one for all streams of a session."""
    parser = context.shared.get(recipe)
    if parser is None:
        decode = wire_decoder(wire, context).decode
        parser = context.shared[recipe] = Bound(recipe, decode, context)
    return parser

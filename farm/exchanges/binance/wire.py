"""Binance's payloads as typed structs.

Field meanings: github.com/binance/binance-spot-api-docs, ``web-socket-streams.md``, and the market
streams of USD-M and COIN-M at developers.binance.com. All frames are in combined form,
``{"stream": name, "data": payload}``. Only fields that are used are declared: msgspec skips the
rest, so a field that the venue adds changes nothing.

Type parameters: ``N`` a price or quantity, ``S`` a number that may be negative, ``T`` a time.
``st`` tells the market of a row (1 USD-M, 2 COIN-M) since 2026-06-30, and is absent before.
"""

from __future__ import annotations

from types import GenericAlias
from typing import Annotated, Any, Generic, TypeVar

import msgspec

from farm.entities import Level
from farm.exchanges.bound import Bound
from farm.exchanges.numbers import (
    MS,
    US,
    Id,
    Micros,
    Millis,
    Parser,
    ParserContext,
    number_type,
    signed_type,
)
from farm.exchanges.recipe import Recipe

__all__ = [
    "AggTradeWire",
    "BookTickerWire",
    "CandleWire",
    "ContinuousKlineWire",
    "ContractInfoWire",
    "DepthWire",
    "ForceOrderWire",
    "Frame",
    "FuturesBookTickerWire",
    "FuturesDepthWire",
    "FuturesTradeWire",
    "KlineWire",
    "MarkPriceWire",
    "MarketBookTickerWire",
    "MiniTickerWire",
    "OpenInterestWire",
    "PartialDepthWire",
    "TickerWire",
    "TradeWire",
    "bound_to_frames",
    "frame_decoder",
    "payload_decoder",
]

N = TypeVar("N")
S = TypeVar("S")
T_ = TypeVar("T_")
P = TypeVar("P")

_OrMinusOne = Annotated[int, msgspec.Meta(ge=-1, le=2**63 - 1)]  # -1 where there is none


class Frame(msgspec.Struct, Generic[P], gc=False):
    """A combined frame, of which the stream's name has been read already."""

    data: P


class TradeWire(msgspec.Struct, Generic[N, S, T_], gc=False, tag_field="e", tag="trade"):
    """``<symbol>@trade``. ``m``: the buyer was the maker, so the taker sold."""

    E: T_
    t: Id
    p: N
    q: N
    T: T_
    m: bool


class FuturesTradeWire(msgspec.Struct, Generic[N, S, T_], gc=False, tag_field="e", tag="trade"):
    """The same on futures. ``X``: what made the fill; ``NA`` is a placeholder, not a trade."""

    E: T_
    t: Id
    p: N
    q: N
    T: T_
    m: bool
    X: str | None = None


class AggTradeWire(msgspec.Struct, Generic[N, S, T_], gc=False, tag_field="e", tag="aggTrade"):
    """``<symbol>@aggTrade``: trades ``f`` to ``l``; ``nq`` leaves out fills against RPI orders."""

    E: T_
    a: Id
    p: N
    q: N
    f: Id
    l: Id
    T: T_
    m: bool
    nq: N | None = None


class BookTickerWire(msgspec.Struct, Generic[N, S, T_], gc=False):
    """``<symbol>@bookTicker`` on spot: it carries neither type nor time."""

    u: Id
    b: N
    B: N
    a: N
    A: N


class FuturesBookTickerWire(
    msgspec.Struct, Generic[N, S, T_], gc=False, tag_field="e", tag="bookTicker"
):
    """The same on futures, with times."""

    u: Id
    b: N
    B: N
    a: N
    A: N
    T: T_
    E: T_


class MarketBookTickerWire(
    msgspec.Struct, Generic[N, S, T_], gc=False, tag_field="e", tag="bookTicker"
):
    """``!bookTicker``."""

    s: str
    u: Id
    b: N
    B: N
    a: N
    A: N
    T: T_
    E: T_
    st: int | None = None


class DepthWire(msgspec.Struct, Generic[N, S, T_], gc=False, tag_field="e", tag="depthUpdate"):
    """``<symbol>@depth`` on spot: absolute sizes; 0 deletes a level."""

    E: T_
    U: Id
    u: Id
    b: list[Level[N]]
    a: list[Level[N]]


class FuturesDepthWire(
    msgspec.Struct, Generic[N, S, T_], gc=False, tag_field="e", tag="depthUpdate"
):
    """The same on futures; ``pu`` is the ``u`` before. Partial books (``@depth20``) have this shape
    too: only the stream's name tells them apart. ``pu`` is -1 where nothing was before."""

    E: T_
    T: T_
    U: Id
    u: Id
    pu: _OrMinusOne
    b: list[Level[N]]
    a: list[Level[N]]


class PartialDepthWire(msgspec.Struct, Generic[N, S, T_], gc=False, rename="camel"):
    """``<symbol>@depth20`` on spot, which has no time, and the REST answer of ``/depth``, which has
    times on futures."""

    last_update_id: Id
    bids: list[Level[N]]
    asks: list[Level[N]]
    T: T_ | None = msgspec.field(default=None, name="T")
    E: T_ | None = msgspec.field(default=None, name="E")


class CandleWire(msgspec.Struct, Generic[N, T_], gc=False):
    """The candle in a kline event. ``V`` and ``Q`` are what takers bought."""

    t: T_
    T: T_
    f: _OrMinusOne
    L: _OrMinusOne
    o: N
    c: N
    h: N
    l: N
    v: N
    n: Id
    x: bool
    q: N
    V: N
    Q: N


class KlineWire(msgspec.Struct, Generic[N, S, T_], gc=False, tag_field="e", tag="kline"):
    """``<symbol>@kline_<interval>``."""

    E: T_
    k: CandleWire[N, T_]


class ContinuousKlineWire(
    msgspec.Struct, Generic[N, S, T_], gc=False, tag_field="e", tag="continuous_kline"
):
    """``<pair>_<contract type>@continuousKline_<interval>``."""

    E: T_
    k: CandleWire[N, T_]


class MarkPriceWire(
    msgspec.Struct, Generic[N, S, T_], gc=False, tag_field="e", tag="markPriceUpdate"
):
    """``<symbol>@markPrice``: mark ``p``, its average ``ap``, index ``i``, estimated settlement
    ``P``, funding rate ``r`` due at ``T``; a dated contract has ``r`` empty and ``T`` 0."""

    s: str
    E: T_
    p: N
    T: T_
    r: str = ""
    P: str = ""
    i: str = ""
    ap: str = ""
    st: int | None = None


class ForcedOrder(msgspec.Struct, Generic[N, S, T_], gc=False):
    """The order of a liquidation: ``S`` its side, ``ap`` and ``z`` what was filled of it."""

    s: str
    S: str
    q: N
    p: N
    ap: N
    z: N
    T: T_
    st: int | None = None


class ForceOrderWire(msgspec.Struct, Generic[N, S, T_], gc=False, tag_field="e", tag="forceOrder"):
    """``<symbol>@forceOrder``. ``st`` stands here by the documents, in ``o`` on live sockets."""

    E: T_
    o: ForcedOrder[N, S, T_]
    st: int | None = None


class MiniTickerWire(
    msgspec.Struct, Generic[N, S, T_], gc=False, tag_field="e", tag="24hrMiniTicker"
):
    """``<symbol>@miniTicker``."""

    s: str
    E: T_
    c: N
    o: N
    h: N
    l: N
    v: N
    q: N
    st: int | None = None


class TickerWire(msgspec.Struct, Generic[N, S, T_], gc=False, tag_field="e", tag="24hrTicker"):
    """``<symbol>@ticker``; best bid and ask (``b``, ``a``) on spot only."""

    s: str
    E: T_
    p: S
    P: S
    w: N
    c: N
    Q: N
    o: N
    h: N
    l: N
    v: N
    q: N
    O: T_
    C: T_
    F: _OrMinusOne
    L: _OrMinusOne
    n: Id
    b: N | None = None
    B: N | None = None
    a: N | None = None
    A: N | None = None
    st: int | None = None


class ContractInfoWire(
    msgspec.Struct, Generic[N, S, T_], gc=False, tag_field="e", tag="contractInfo"
):
    """``!contractInfo``: contract type, delivery and onboarding time, status."""

    E: T_
    s: str
    ct: str
    dt: T_
    ot: T_
    cs: str
    ps: str | None = None
    st: int | None = None


class OpenInterestWire(msgspec.Struct, Generic[N, S, T_], gc=False, rename="camel"):
    """The REST answer of ``/openInterest``."""

    symbol: str
    open_interest: N
    time: T_


def _typed(wire: Any, context: ParserContext) -> Any:
    mode = context.numbers
    time = Micros if context.microseconds else Millis
    return wire[number_type(mode), signed_type(mode), time]


def frame_decoder(
    wire: Any, context: ParserContext, *, many: bool = False
) -> msgspec.json.Decoder[Any]:
    """The decoder of combined frames with such a payload; with `many` it may be a list of them."""
    frame: Any = Frame
    payload = _typed(wire, context)
    if many:
        payload = GenericAlias(list, (payload,)) | payload
    return msgspec.json.Decoder(frame[payload], strict=False)


def bound_to_frames(recipe: Recipe, wire: Any, context: ParserContext) -> Parser:
    """The parser of combined frames with such a payload: one for all streams of a session."""
    parser = context.shared.get(recipe)
    if parser is None:
        decode = frame_decoder(wire, context).decode
        unit = US if context.microseconds else MS
        parser = context.shared[recipe] = Bound(recipe, decode, context, unit=unit)
    return parser


def payload_decoder(wire: Any, context: ParserContext) -> msgspec.json.Decoder[Any]:
    """The decoder of bare payloads: answers by REST."""
    return msgspec.json.Decoder(_typed(wire, context), strict=False)

"""The messages and objects of those who are written by hand."""

from __future__ import annotations

from typing import Any

import msgspec

from farm import Exchange, Market, Side, Trade

__all__ = ["COMBINED", "from_json", "from_wire"]

MS = 1_000_000


class TradeWire(msgspec.Struct, gc=False):
    """``data`` of a trade."""

    E: int
    s: str
    t: int
    p: float
    q: float
    T: int
    m: bool


class Combined(msgspec.Struct, gc=False):
    """A frame of a combined stream."""

    data: TradeWire


COMBINED = msgspec.json.Decoder(Combined, strict=False)


def from_wire(wire: TradeWire, time: int, ordinal: int) -> Trade:
    """A trade from a typed message."""
    return Trade(
        Exchange.BINANCE,
        Market.SPOT,
        wire.s,
        str(wire.t),
        wire.p,
        wire.q,
        Side.SELL if wire.m else Side.BUY,
        wire.T * MS,
        wire.E * MS,
        time,
        ordinal,
    )


def from_json(data: dict[str, Any], time: int, ordinal: int) -> Trade:
    """A trade from a parsed one."""
    return Trade(
        Exchange.BINANCE,
        Market.SPOT,
        data["s"],
        str(data["t"]),
        float(data["p"]),
        float(data["q"]),
        Side.SELL if data["m"] else Side.BUY,
        data["T"] * MS,
        data["E"] * MS,
        time,
        ordinal,
    )

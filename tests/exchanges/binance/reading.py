"""A second reading of Binance's text: which events a payload means, field by field.

Written from the documents, with `json` alone: nothing here knows of the parsers or their schemas.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from farm.entities import (
    AggTrade,
    BookUpdate,
    ContinuousKline,
    ContractInfo,
    Kline,
    Liquidation,
    MarkPrice,
    MiniTicker,
    OpenInterest,
    Quote,
    SpentIds,
    Ticker,
    Trade,
)
from farm.types import BookVerdict, Exchange, Market, OrderType, Side, TimeFrame

MS = 1_000_000
US = 1_000
NEVER = 4_133_404_800_000  # the delivery time of perpetual contracts
UNIVERSES = {Market.USDM: 1, Market.COINM: 2}
ORDER_TYPES = {
    None: None,
    "MARKET": OrderType.MARKET,
    "INSURANCE_FUND": OrderType.INSURANCE_FUND,
    "ADL": OrderType.ADL,
}

Number: TypeAlias = Callable[[str], Any]
Reading: TypeAlias = tuple[type, dict[str, Any]]


def readings(
    market: Market, stream: str, data: Any, number: Number, unit: int = MS
) -> list[Reading]:
    """The events that the payload of a combined frame means; of our market, where it has two."""
    rows = data if isinstance(data, list) else [data]
    found = []
    for row, d in enumerate(rows):
        if stream.startswith("!") and universe_of(d) not in (None, UNIVERSES.get(market)):
            continue
        kind, fields = _reading(market, stream, d, number, unit)
        found.append((kind, {"exchange": Exchange.BINANCE, "market": market, "row": row} | fields))
    return found


def universe_of(d: dict[str, Any]) -> int | None:
    """How a row marks its market: on liquidations within the order, or by the documents outside."""
    return d.get("st", d.get("o", {}).get("st") if isinstance(d.get("o"), dict) else None)


def snapshot_reading(market: Market, symbol: str, d: dict[str, Any], number: Number) -> Reading:
    """The answer to a REST request for a depth snapshot."""
    kind, fields = _whole_book(d, number)
    times = {"exchange_time": at(d.get("T")), "event_time": at(d.get("E")), "depth": None}
    same = {"exchange": Exchange.BINANCE, "market": market, "symbol": symbol, "row": 0}
    return kind, same | fields | times


def interest_reading(market: Market, d: dict[str, Any], number: Number) -> Reading:
    """The answer to a REST request for the open interest."""
    same = {"exchange": Exchange.BINANCE, "market": market, "symbol": d["symbol"], "row": 0}
    return OpenInterest, same | {
        "open_interest": number(d["openInterest"]),
        "value": None,
        "exchange_time": at(d["time"]),
        "event_time": None,
    }


def at(time: int | None, unit: int = MS) -> int | None:
    return None if time is None else time * unit


def levels(rows: list[list[str]], number: Number) -> list[tuple[Any, Any]]:
    return [(number(price), number(quantity)) for price, quantity in rows]


def _reading(market: Market, stream: str, d: Any, number: Number, unit: int) -> Reading:
    name, _, topic = stream.partition("@")
    whole = name.startswith("!")
    topic = name[1:] if whole else topic
    kind, fields = _reader(market, topic)(d, number, unit, topic)
    if kind is ContinuousKline:
        name, fields["contract_type"] = name.split("_", 1)
    if "symbol" not in fields:
        fields["symbol"] = d["s"] if whole else ascii_upper(name)
    return kind, fields


def ascii_upper(name: str) -> str:
    return "".join(c.upper() if c.isascii() else c for c in name)


def _reader(market: Market, topic: str) -> Callable[..., Reading]:
    for start, reader in _READERS.items():
        if topic.startswith(start):
            return reader
    assert topic.startswith("depth"), topic
    if market is not Market.SPOT:
        return _futures_book
    return _diff if depth_of(topic) is None else _partial


def pushed(d: dict[str, Any], unit: int) -> dict[str, Any]:
    """The times of what has the push's alone."""
    return {"exchange_time": d["E"] * unit, "event_time": d["E"] * unit}


def _trade(d: Any, number: Number, unit: int, _topic: str) -> Reading:
    times = {"exchange_time": d["T"] * unit, "event_time": d["E"] * unit}
    if d.get("X") == "NA":
        return SpentIds, times | {"first_id": d["t"], "last_id": d["t"]}
    absent = ("sequence", "block_trade", "rpi", "mark_price", "index_price", "mark_iv", "iv")
    return Trade, dict.fromkeys(absent) | times | {
        "id": str(d["t"]),
        "price": number(d["p"]),
        "quantity": number(d["q"]),
        "side": Side.SELL if d["m"] else Side.BUY,
        "order_type": ORDER_TYPES[d.get("X")],
    }


def _agg_trade(d: Any, number: Number, unit: int, _topic: str) -> Reading:
    return AggTrade, {
        "id": str(d["a"]),
        "price": number(d["p"]),
        "quantity": number(d["q"]),
        "side": Side.SELL if d["m"] else Side.BUY,
        "first_trade_id": d["f"],
        "last_trade_id": d["l"],
        "exchange_time": d["T"] * unit,
        "event_time": d["E"] * unit,
        "non_rpi_quantity": number(d["nq"]) if "nq" in d else None,
    }


def _top(d: Any, number: Number) -> dict[str, Any]:
    """Best bid and ask; a side that is empty has price 0."""
    bid, ask = number(d["b"]), number(d["a"])
    return {
        "bid_price": bid or None,
        "bid_quantity": number(d["B"]) if bid else None,
        "ask_price": ask or None,
        "ask_quantity": number(d["A"]) if ask else None,
    }


def _quote(d: Any, number: Number, unit: int, _topic: str) -> Reading:
    times = {"exchange_time": at(d.get("T"), unit), "event_time": at(d.get("E"), unit)}
    return Quote, _top(d, number) | times | {"update_id": d["u"], "sequence": None}


def _diff(d: Any, number: Number, unit: int, _topic: str) -> Reading:
    return BookUpdate, pushed(d, unit) | {
        "depth": None,
        "is_snapshot": False,
        "bid_levels": levels(d["b"], number),
        "ask_levels": levels(d["a"], number),
        "first_id": d["U"],
        "last_id": d["u"],
        "previous_id": None,
        "sequence": None,
        "verdict": BookVerdict.SYNCING,
    }


def depth_of(topic: str) -> int | None:
    digits = topic.removeprefix("depth").partition("@")[0]
    return int(digits) if digits else None


def _futures_book(d: Any, number: Number, unit: int, topic: str) -> Reading:
    kind, fields = _diff(d, number, unit, topic)
    depth = depth_of(topic)
    return kind, fields | {
        "depth": depth,
        "is_snapshot": depth is not None,
        "previous_id": d["pu"],
        "exchange_time": d["T"] * unit,
    }


def _whole_book(d: Any, number: Number) -> Reading:
    return BookUpdate, {
        "is_snapshot": True,
        "bid_levels": levels(d["bids"], number),
        "ask_levels": levels(d["asks"], number),
        "first_id": d["lastUpdateId"],
        "last_id": d["lastUpdateId"],
        "previous_id": None,
        "sequence": None,
        "verdict": BookVerdict.SYNCING,
    }


def _partial(d: Any, number: Number, _unit: int, topic: str) -> Reading:
    kind, fields = _whole_book(d, number)
    times = {"exchange_time": None, "event_time": None}
    return kind, fields | times | {"depth": depth_of(topic)}


def _kline(d: Any, number: Number, unit: int, _topic: str) -> Reading:
    k = d["k"]
    return Kline, pushed(d, unit) | {
        "interval": TimeFrame(k["i"]),
        "open_time": k["t"] * unit,
        "close_time": k["T"] * unit,
        "open": number(k["o"]),
        "high": number(k["h"]),
        "low": number(k["l"]),
        "close": number(k["c"]),
        "base_volume": number(k["v"]),
        "quote_volume": number(k["q"]),
        "taker_buy_base_volume": number(k["V"]),
        "taker_buy_quote_volume": number(k["Q"]),
        "trade_count": k["n"],
        "first_trade_id": k["f"] if k["f"] != -1 else None,
        "last_trade_id": k["L"] if k["L"] != -1 else None,
        "closed": k["x"],
    }


def _continuous_kline(d: Any, number: Number, unit: int, topic: str) -> Reading:
    return ContinuousKline, _kline(d, number, unit, topic)[1]


def _mark_price(d: Any, number: Number, unit: int, _topic: str) -> Reading:
    def maybe(name: str) -> Any:
        return number(d[name]) if d.get(name) else None

    return MarkPrice, pushed(d, unit) | {
        "mark_price": number(d["p"]),
        "index_price": maybe("i"),
        "average_price": maybe("ap"),
        "settle_price": maybe("P"),
        "funding_rate": maybe("r") if d["T"] else None,
        "next_funding_time": d["T"] * unit if d["T"] else None,
    }


def _liquidation(d: Any, number: Number, unit: int, _topic: str) -> Reading:
    order = d["o"]
    return Liquidation, {
        "symbol": order["s"],
        "side": {"BUY": Side.BUY, "SELL": Side.SELL}[order["S"]],
        "price": number(order["p"]),
        "quantity": number(order["q"]),
        "average_price": number(order["ap"]),
        "filled_quantity": number(order["z"]),
        "exchange_time": order["T"] * unit,
        "event_time": d["E"] * unit,
    }


def _mini_ticker(d: Any, number: Number, unit: int, _topic: str) -> Reading:
    return MiniTicker, pushed(d, unit) | {
        "last_price": number(d["c"]),
        "open_price": number(d["o"]),
        "high_price": number(d["h"]),
        "low_price": number(d["l"]),
        "base_volume": number(d["v"]),
        "quote_volume": number(d["q"]),
    }


NO_OPTION = [
    "sequence",
    "underlying_price",
    "bid_iv",
    "ask_iv",
    "mark_iv",
    "delta",
    "gamma",
    "vega",
    "theta",
    "bid_price",
    "bid_quantity",
    "ask_price",
    "ask_quantity",
]


def _ticker(d: Any, number: Number, unit: int, topic: str) -> Reading:
    fields = dict.fromkeys(NO_OPTION) | _mini_ticker(d, number, unit, topic)[1]
    return Ticker, fields | (_top(d, number) if "b" in d else {}) | {
        "price_change": number(d["p"]),
        "price_change_percent": number(d["P"]),
        "weighted_average_price": number(d["w"]),
        "last_quantity": number(d["Q"]),
        "open_time": d["O"] * unit,
        "close_time": d["C"] * unit,
        "first_trade_id": d["F"] if d["F"] != -1 else None,
        "last_trade_id": d["L"] if d["L"] != -1 else None,
        "trade_count": d["n"],
    }


def _contract_info(d: Any, _number: Number, unit: int, _topic: str) -> Reading:
    return ContractInfo, pushed(d, unit) | {
        "pair": d.get("ps"),
        "contract_type": d["ct"],
        "status": d["cs"],
        "onboard_time": d["ot"] * unit,
        "delivery_time": d["dt"] * unit if d["dt"] != NEVER else None,
    }


_READERS: dict[str, Callable[..., Reading]] = {
    "trade": _trade,
    "aggTrade": _agg_trade,
    "bookTicker": _quote,
    "kline_": _kline,
    "continuousKline_": _continuous_kline,
    "markPrice": _mark_price,
    "forceOrder": _liquidation,
    "miniTicker": _mini_ticker,
    "ticker": _ticker,
    "contractInfo": _contract_info,
}
"""By the start of the topic in a stream's name; the topic of ``!ticker@arr`` is ``ticker``."""

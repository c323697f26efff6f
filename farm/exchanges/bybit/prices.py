"""Bybit's candles and tickers.

Sources: github.com/bybit-exchange/docs, ``v5/websocket/public/kline.mdx`` and ``ticker.mdx``. A
ticker of a derivative is a snapshot and then only what changed. The changes are merged, so that
every event is whole; mark price, index, funding and open interest come out as events of their own,
for on Bybit they stand nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import msgspec

from farm.entities import Event, Kline, MarkPrice, OpenInterest, Ticker
from farm.exchanges.bybit.wire import KlinesWire, TickerWire, bound_to_messages, wire_decoder
from farm.exchanges.fields import OF_STREAM, computed, of_stream, optional_time, same, time
from farm.exchanges.numbers import MS, Millis, Parser, ParserContext, number_of
from farm.exchanges.recipe import Recipe, Shape
from farm.exchanges.streams import Stream
from farm.types import Nanoseconds, NumberMode

__all__ = ["klines", "tickers"]


_KLINES = Recipe(
    Kline,
    {
        **OF_STREAM,
        "interval": of_stream("interval"),
        "open_time": time("wire.start"),
        "close_time": time("wire.end"),
        "open": same("wire.open"),
        "high": same("wire.high"),
        "low": same("wire.low"),
        "close": same("wire.close"),
        "base_volume": same("wire.volume"),
        "quote_volume": same("wire.turnover"),
        "taker_buy_base_volume": computed("None"),
        "taker_buy_quote_volume": computed("None"),
        "trade_count": computed("None"),
        "first_trade_id": computed("None"),
        "last_trade_id": computed("None"),
        "closed": same("wire.confirm"),
        "exchange_time": optional_time("wire.timestamp", otherwise="top.ts * unit"),
        "event_time": time("top.ts"),
    },
    Shape(wire="data", many=True),
)


def klines(context: ParserContext) -> Parser:
    """``kline.<interval>``."""
    return bound_to_messages(_KLINES, KlinesWire, context)


# What is known of a symbol is a list of these.
_KNOWN = (
    "last_price",
    "open_price",
    "high_price",
    "low_price",
    "base_volume",
    "quote_volume",
    "bid_price",
    "bid_quantity",
    "ask_price",
    "ask_quantity",
    "underlying_price",
    "bid_iv",
    "ask_iv",
    "mark_iv",
    "delta",
    "gamma",
    "vega",
    "theta",
    # Behind here stands what goes to events of other kinds.
    "mark_price",
    "index_price",
    "settle_price",
    "funding_rate",
    "next_funding_time",
    "open_interest",
    "open_interest_value",
)
_PLACES = {name: place for place, name in enumerate(_KNOWN)}
_LAST, _MARK, _INTEREST = 0, _PLACES["mark_price"], _PLACES["open_interest"]
_FUNDING_TIME = _PLACES["next_funding_time"]


def _known(name: str) -> str:
    return f"wire[{_PLACES[name]}]"


_TICKERS = Recipe(
    Ticker,
    {
        **OF_STREAM,
        **dict.fromkeys(
            (
                "price_change",
                "price_change_percent",
                "weighted_average_price",
                "last_quantity",
                "open_time",
                "close_time",
                "first_trade_id",
                "last_trade_id",
                "trade_count",
            ),
            computed("None"),
        ),
        **{name: same(_known(name)) for name in _KNOWN[:_MARK]},
        # An empty side is sent as price 0.
        "bid_price": computed(f"{_known('bid_price')} or None"),
        "bid_quantity": computed(f"{_known('bid_quantity')} if {_known('bid_price')} else None"),
        "ask_price": computed(f"{_known('ask_price')} or None"),
        "ask_quantity": computed(f"{_known('ask_quantity')} if {_known('ask_price')} else None"),
        "exchange_time": time("top.ts"),
        "event_time": time("top.ts"),
        "sequence": same("top.cs"),
    },
)
"""Of what is known (``wire``) and the message that changed it (``top``)."""

# The venue's names, which differ between derivatives and options, and ours.
_NAMES = {
    "lastPrice": "last_price",
    "prevPrice24h": "open_price",
    "highPrice24h": "high_price",
    "lowPrice24h": "low_price",
    "volume24h": "base_volume",
    "turnover24h": "quote_volume",
    "bid1Price": "bid_price",
    "bid1Size": "bid_quantity",
    "ask1Price": "ask_price",
    "ask1Size": "ask_quantity",
    "bidPrice": "bid_price",
    "bidSize": "bid_quantity",
    "askPrice": "ask_price",
    "askSize": "ask_quantity",
    "bidIv": "bid_iv",
    "askIv": "ask_iv",
    "markPriceIv": "mark_iv",
    "underlyingPrice": "underlying_price",
    "delta": "delta",
    "gamma": "gamma",
    "vega": "vega",
    "theta": "theta",
    "markPrice": "mark_price",
    "indexPrice": "index_price",
    "predictedDeliveryPrice": "settle_price",
    "fundingRate": "funding_rate",
    "nextFundingTime": "next_funding_time",
    "openInterest": "open_interest",
    "openInterestValue": "open_interest_value",
}
_SIGNED = {"funding_rate", "delta", "gamma", "vega", "theta"}
_FIELDS = {name: (_PLACES[ours], ours in _SIGNED) for name, ours in _NAMES.items()}
_State: TypeAlias = list[Any]
_Times: TypeAlias = tuple[Nanoseconds, Nanoseconds, Nanoseconds, int, int]
"""Exchange time, event time, receive time, ordinal, row."""


def tickers(context: ParserContext) -> Parser:
    """``tickers``."""
    decode = wire_decoder(TickerWire, context).decode
    states: dict[str, _State] = {}
    extras, unknown, numbers = context.extras, context.unknown, context.numbers
    make_rows = _TICKERS.make_rows

    def parse(raw: bytes, stream: Stream, time: Nanoseconds, ordinal: int, rows: list[Any]) -> None:
        wire = decode(raw)
        if wire.type == "snapshot":
            state: _State = [None] * len(_KNOWN)
        elif wire.type != "delta":
            raise ValueError(f"a ticker of type {wire.type!r}")
        elif (known := states.get(stream.name)) is None:
            unknown["tickers: a delta before its snapshot"] += 1
            return  # the snapshot, which is on its way, has all of it
        else:
            state = known.copy()  # a bad message changes nothing
        changed = _merge(state, wire.data, numbers)
        if state[_LAST] is None:
            raise ValueError("a ticker without lastPrice")
        states[stream.name] = state
        rows += make_rows((state,), (wire,), (stream,), (ordinal,), (0,), time, MS)
        if changed >= _MARK:
            event_time = wire.ts * MS
            times = (event_time, event_time, time, ordinal, 0)
            _add_others(stream, state, times, wire.data, extras)

    return parse


def _merge(state: _State, changes: Mapping[str, Any], numbers: NumberMode) -> int:
    """Take what changed; the last place that did."""
    find, last, in_floats = _FIELDS.get, -1, numbers is NumberMode.FLOAT
    for name, told in changes.items():
        field = find(name)
        if field is None:
            continue
        place, signed = field
        if place == _FUNDING_TIME:  # empty or 0 on dated contracts
            due = 0 if told == "" else msgspec.convert(told, Millis, strict=False)
            state[place] = due * MS or None
        elif in_floats and type(told) is str and told and not signed:  # what almost all are
            state[place] = number = float(told)
            if not 0.0 <= number <= 1e300:
                raise ValueError(f"{name} is {told!r}, not a number that a venue can mean")
        else:
            state[place] = number_of(numbers, str(told), signed=signed)
        if place > last:
            last = place
    return last


def _add_others(
    stream: Stream,
    state: _State,
    times: _Times,
    changes: Mapping[str, Any],
    extras: list[Event],
) -> None:
    """The events of other kinds of which something changed."""
    places = {_FIELDS[name][0] for name in changes if name in _FIELDS}
    if state[_MARK] is not None and not places.isdisjoint(range(_MARK, _INTEREST)):
        extras.append(_mark_price(stream, state, times))
    if state[_INTEREST] is not None and max(places) >= _INTEREST:
        value = state[_INTEREST + 1]
        place = stream.exchange, stream.market, stream.symbol
        extras.append(OpenInterest(*place, state[_INTEREST], value, *times))


def _mark_price(stream: Stream, state: _State, times: _Times) -> MarkPrice:
    mark, index, settle, funding, due = state[_MARK:_INTEREST]
    place = stream.exchange, stream.market, stream.symbol
    return MarkPrice(*place, mark, index, None, settle, funding, due, *times)

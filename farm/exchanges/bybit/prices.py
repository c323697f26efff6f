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

from farm.entities import Kline, MarkPrice, OpenInterest, Ticker
from farm.exchanges.bybit.wire import KlinesWire, TickerWire, wire_decoder
from farm.exchanges.numbers import MS, Millis, Parser, ParserContext, number_of
from farm.exchanges.streams import Stream
from farm.types import Nanoseconds, NumberMode

__all__ = ["klines", "tickers"]


def klines(context: ParserContext) -> Parser:
    """``kline.<interval>``."""
    decode = wire_decoder(KlinesWire, context).decode

    def parse(raw: bytes, stream: Stream, time: Nanoseconds, ordinal: int, rows: list[Any]) -> None:
        wire = decode(raw)
        event_time = wire.ts * MS
        assert stream.interval is not None
        for row, candle in enumerate(wire.data):
            rows.append(
                Kline(
                    stream.exchange,
                    stream.market,
                    stream.symbol,
                    stream.interval,
                    candle.start * MS,
                    candle.end * MS,
                    candle.open,
                    candle.high,
                    candle.low,
                    candle.close,
                    candle.volume,
                    candle.turnover,
                    None,
                    None,
                    None,
                    None,
                    None,
                    candle.confirm,
                    event_time if candle.timestamp is None else candle.timestamp * MS,
                    event_time,
                    time,
                    ordinal,
                    row,
                )
            )

    return parse


# The venue's names, which differ between derivatives and options, and ours.
_FIELDS = {
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
    "openInterest": "open_interest",
    "openInterestValue": "open_interest_value",
}
_SIGNED = {"funding_rate", "delta", "gamma", "vega", "theta"}
_Place: TypeAlias = tuple[Nanoseconds, Nanoseconds, Nanoseconds, int, int]
"""Exchange time, event time, receive time, ordinal, row."""

_FUNDING_TIME = "nextFundingTime"
_MARK_FIELDS = {"markPrice", "indexPrice", "predictedDeliveryPrice", "fundingRate", _FUNDING_TIME}
_INTEREST_FIELDS = {"openInterest", "openInterestValue"}


def tickers(context: ParserContext) -> Parser:
    """``tickers``."""
    decode = wire_decoder(TickerWire, context).decode
    states: dict[str, dict[str, Any]] = {}
    extras, unknown, numbers = context.extras, context.unknown, context.numbers

    def parse(raw: bytes, stream: Stream, time: Nanoseconds, ordinal: int, rows: list[Any]) -> None:
        wire = decode(raw)
        if wire.type == "snapshot":
            state: dict[str, Any] = {}
        elif wire.type != "delta":
            raise ValueError(f"a ticker of type {wire.type!r}")
        elif (known := states.get(stream.name)) is None:
            unknown["tickers: a delta before its snapshot"] += 1
            return  # the snapshot, which is on its way, has all of it
        else:
            state = known.copy()
        changes = wire.data
        _merge(state, changes, numbers)
        place = (wire.ts * MS, wire.ts * MS, time, ordinal, 0)
        ticker = _ticker(stream, state, place, wire.cs)
        states[stream.name] = state
        rows.append(ticker)
        if state.get("mark_price") is not None and not _MARK_FIELDS.isdisjoint(changes):
            extras.append(_mark_price(stream, state, place))
        if state.get("open_interest") is not None and not _INTEREST_FIELDS.isdisjoint(changes):
            extras.append(_open_interest(stream, state, place))

    return parse


def _merge(state: dict[str, Any], changes: Mapping[str, Any], numbers: NumberMode) -> None:
    for name, value in changes.items():
        field = _FIELDS.get(name)
        if field is not None:
            state[field] = number_of(numbers, str(value), signed=field in _SIGNED)
        elif name == _FUNDING_TIME:  # empty or 0 on dated contracts
            due = 0 if value == "" else msgspec.convert(value, Millis, strict=False)
            state["next_funding_time"] = due * MS or None


def _ticker(
    stream: Stream, state: Mapping[str, Any], place: _Place, sequence: int | None
) -> Ticker:
    get = state.get
    if get("last_price") is None:
        raise ValueError("a ticker without lastPrice")
    bid, ask = get("bid_price"), get("ask_price")
    return Ticker(
        stream.exchange,
        stream.market,
        stream.symbol,
        state["last_price"],
        get("open_price"),
        get("high_price"),
        get("low_price"),
        get("base_volume"),
        get("quote_volume"),
        None,
        None,
        None,
        None,
        bid or None,  # an empty side is sent as price 0
        get("bid_quantity") if bid else None,
        ask or None,
        get("ask_quantity") if ask else None,
        None,
        None,
        None,
        None,
        None,
        *place,
        sequence,
        get("underlying_price"),
        get("bid_iv"),
        get("ask_iv"),
        get("mark_iv"),
        get("delta"),
        get("gamma"),
        get("vega"),
        get("theta"),
    )


def _mark_price(stream: Stream, state: Mapping[str, Any], place: _Place) -> MarkPrice:
    return MarkPrice(
        stream.exchange,
        stream.market,
        stream.symbol,
        state["mark_price"],
        state.get("index_price"),
        None,
        state.get("settle_price"),
        state.get("funding_rate"),
        state.get("next_funding_time"),
        *place,
    )


def _open_interest(stream: Stream, state: Mapping[str, Any], place: _Place) -> OpenInterest:
    return OpenInterest(
        stream.exchange,
        stream.market,
        stream.symbol,
        state["open_interest"],
        state.get("open_interest_value"),
        *place,
    )

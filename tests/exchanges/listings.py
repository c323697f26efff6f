"""Listings for tests: the recorded ones, and instruments made up."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

from farm.entities import Instrument
from farm.exchanges.registry import rules_of
from farm.exchanges.rules import MarketRules
from farm.storage.capture import CaptureEvent, CaptureRecord, capture_market, read_capture
from farm.types import Exchange, Market, NumberMode
from tests.recordings import recording

MS = 1_000_000
T0 = 1_790_000_000_000_000_000

NUMBER: dict[NumberMode, Callable[[str], Any]] = {
    NumberMode.FLOAT: float,
    NumberMode.DECIMAL: Decimal,
}


def recorded_listings(name: str) -> Iterator[tuple[MarketRules, CaptureRecord]]:
    """The listings in a recording, each with the rules of its market."""
    for record in read_capture(recording(name)):
        listing = "exchangeInfo" in record.url or "instruments-info" in record.url
        if record.event is CaptureEvent.REPLY and listing:
            market = capture_market(record.url)
            assert market is not None
            yield rules_of(*market), record


def body(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def instrument(symbol: str, **terms: Any) -> Instrument:
    """An instrument that trades, of Binance spot where nothing else is said."""
    known: dict[str, Any] = {
        "exchange": Exchange.BINANCE,
        "market": Market.SPOT,
        "base": symbol,
        "quote": "USDT",
        "settle": None,
        "pair": None,
        "contract_type": None,
        "status": "TRADING",
        "trading": True,
        "tick_size": 0.01,
        "lot_size": 0.001,
        "min_quantity": 0.001,
        "min_notional": 5.0,
        "contract_size": None,
        "launch_time": None,
        "delivery_time": None,
        "valid_from": T0,
        "exchange_time": None,
        "event_time": None,
        "receive_time": T0,
        "ordinal": 0,
    }
    return Instrument(symbol=symbol, **(known | terms))


def listing_of(*instruments: Instrument) -> dict[str, Instrument]:
    return {item.symbol: item for item in instruments}

"""Bybit's list of what it trades, ``instruments-info``, as the recordings show it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from farm.testing.listing import Listing
from farm.testing.simulator.instruments import Instrument
from farm.types import Market

__all__ = ["amended_rows", "instrument_row"]

_LAUNCH = "1584230400000"


def instrument_row(market: Market, item: Instrument, status: str = "Trading") -> str:
    """One row of the list."""
    return _ROWS[market](item, status)


def amended_rows(recorded: str, market: Market, listing: Listing) -> str:
    """A recorded answer after symbols were listed or delisted, as it is where none was."""
    if not listing.hidden and not listing.added:
        return recorded
    answer = json.loads(recorded)
    rows: dict[str, Any] = {row["symbol"]: row for row in answer["result"]["list"]}
    for symbol in listing.hidden:
        rows.pop(symbol, None)
    for symbol in listing.added:
        rows[symbol] = json.loads(instrument_row(market, listing.instrument(symbol)))
    answer["result"]["list"] = list(rows.values())
    return json.dumps(answer, separators=(",", ":"), ensure_ascii=False)


def _spot(item: Instrument, status: str) -> str:
    return (
        f'{{"symbol":"{item.symbol}","baseCoin":"{item.base}","quoteCoin":"{item.quote}",'
        f'"innovation":"0","status":"{status}","marginTrading":"utaOnly","stTag":"0",'
        f'"lotSizeFilter":{{"basePrecision":"{item.lot}","minOrderQty":"{item.lot}"}},'
        f'"priceFilter":{{"tickSize":"{item.tick}"}},"symbolType":""}}'
    )


def _perpetual(item: Instrument, status: str) -> str:
    delivery = item.contract.delivery
    return (
        f'{{"symbol":"{item.symbol}","contractType":"{item.contract.kind}","status":"{status}",'
        f'"baseCoin":"{item.base}","quoteCoin":"{item.quote}","launchTime":"{_LAUNCH}",'
        f'"deliveryTime":"{delivery}","deliveryFeeRate":"{"0" if delivery else ""}",'
        f'"priceScale":"{item.price_decimals}","priceFilter":{{"minPrice":"{item.tick}",'
        f'"maxPrice":"1999999.80","tickSize":"{item.tick}"}},"lotSizeFilter":'
        f'{{"maxOrderQty":"1000000","minOrderQty":"{item.lot}","qtyStep":"{item.lot}",'
        '"minNotionalValue":"5"},"unifiedMarginTrade":true,'
        f'"fundingInterval":{0 if delivery else 480},"settleCoin":"{item.contract.settle}",'
        '"copyTrading":"both","isPreListing":false,"preListingInfo":null,"displayName":"",'
        '"symbolType":""}'
    )


def _option(item: Instrument, status: str) -> str:
    return (
        f'{{"symbol":"{item.symbol}","status":"{status}","baseCoin":"{item.base}",'
        f'"quoteCoin":"{item.quote}","settleCoin":"{item.contract.settle}",'
        f'"optionsType":"{item.contract.kind}","launchTime":"{_LAUNCH}",'
        f'"deliveryTime":"{item.contract.delivery}","deliveryFeeRate":"0.00015",'
        f'"priceFilter":{{"minPrice":"{item.tick}","maxPrice":"1110000",'
        f'"tickSize":"{item.tick}"}},"lotSizeFilter":{{"maxOrderQty":"500",'
        f'"minOrderQty":"{item.lot}","qtyStep":"{item.lot}"}},"displayName":""}}'
    )


_ROWS: Mapping[Market, Callable[[Instrument, str], str]] = {
    Market.SPOT: _spot,
    Market.LINEAR: _perpetual,
    Market.INVERSE: _perpetual,
    Market.OPTION: _option,
}

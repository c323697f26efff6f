"""Binance's list of what it trades, ``exchangeInfo``, as the recordings show it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from farm.testing.listing import Listing
from farm.testing.simulator.binance.contract_info import ONBOARD
from farm.testing.simulator.contracts import PERPETUAL_DELIVERY
from farm.testing.simulator.instruments import Instrument
from farm.types import Market

__all__ = ["amended", "depth_names", "exchange_info", "open_interest"]


def exchange_info(
    market: Market, listing: Listing, seen: list[str], now_ms: int, limit: int
) -> str:
    """The whole answer. `limit`: the weight that a minute has. `seen`: symbols met so far."""
    row = _ROWS[market]
    symbols = ",".join(
        row(item, listing.statuses.get(item.symbol, "TRADING"))
        for item in listing.instruments(seen)
    )
    return (
        f'{{"timezone":"UTC","serverTime":{now_ms},{_HEADS[market]}"rateLimits":['
        '{"rateLimitType":"REQUEST_WEIGHT","interval":"MINUTE","intervalNum":1,'
        f'"limit":{limit}}}],"exchangeFilters":[],"symbols":[{symbols}]}}'
    )


def amended(recorded: str, market: Market, listing: Listing) -> str:
    """A recorded answer after symbols were listed or delisted, as it is where none was."""
    if not listing.hidden and not listing.added:
        return recorded
    info = json.loads(recorded)
    rows: dict[str, Any] = {row["symbol"]: row for row in info["symbols"]}
    for symbol in listing.hidden:
        if symbol in listing.statuses and symbol in rows:
            key = "contractStatus" if "contractStatus" in rows[symbol] else "status"
            rows[symbol][key] = listing.statuses[symbol]
        else:
            rows.pop(symbol, None)
    for symbol in listing.added:
        rows[symbol] = json.loads(_ROWS[market](listing.instrument(symbol), "TRADING"))
    info["symbols"] = list(rows.values())
    return json.dumps(info, separators=(",", ":"), ensure_ascii=False)


def depth_names(item: Instrument) -> str:
    """How COIN-M's depth replies name their symbol."""
    return f'"symbol":"{item.symbol}","pair":"{item.contract.pair}",'


def open_interest(item: Instrument, now_ms: int) -> str:
    """An answer to ``/openInterest`` where the source brought none: a thousand usual orders."""
    names, kind = f'"symbol":"{item.symbol}",', ""
    if item.contract.size:
        names = depth_names(item)
        kind = f'"contractType":"{item.contract.kind}",'
    amount = f"{item.typical * 1000 * float(item.lot):.{item.size_decimals}f}"
    return f'{{{names}"openInterest":"{amount}",{kind}"time":{now_ms}}}'


def _spot_row(item: Instrument, status: str) -> str:
    tick, lot = (f"{float(step):.8f}" for step in (item.tick, item.lot))
    return (
        f'{{"symbol":"{item.symbol}","status":"{status}","baseAsset":"{item.base}",'
        f'"baseAssetPrecision":8,"quoteAsset":"{item.quote}","quotePrecision":8,'
        f'"quoteAssetPrecision":8,"baseCommissionPrecision":8,'
        '"quoteCommissionPrecision":8,"orderTypes":["LIMIT","LIMIT_MAKER","MARKET"],'
        '"isSpotTradingAllowed":true,"isMarginTradingAllowed":false,"filters":['
        f'{{"filterType":"PRICE_FILTER","minPrice":"{tick}","maxPrice":"1000000.00000000",'
        f'"tickSize":"{tick}"}},{{"filterType":"LOT_SIZE","minQty":"{lot}",'
        f'"maxQty":"9000.00000000","stepSize":"{lot}"}},{{"filterType":"NOTIONAL",'
        '"minNotional":"5.00000000","applyMinToMarket":true,"maxNotional":"9000000.00000000",'
        '"applyMaxToMarket":false,"avgPriceMins":5}],"permissions":[],'
        '"permissionSets":[["SPOT"]]}'
    )


def _usdm_row(item: Instrument, status: str) -> str:
    return (
        f"{_contract_head(item)},"
        f'"status":"{status}","maintMarginPercent":"2.5000","requiredMarginPercent":"5.0000",'
        f"{_contract_coins(item)},"
        f'"underlyingType":"COIN","underlyingSubType":[],"settlePlan":0,"triggerProtect":"0.0500",'
        f'"liquidationFee":"0.012000","marketTakeBound":"0.30",{_filters(item)},'
        f'{{"notional":"5","filterType":"MIN_NOTIONAL"}}],{_ORDERS}}}'
    )


def _coinm_row(item: Instrument, status: str) -> str:
    return (
        f"{_contract_head(item)},"
        f'"contractStatus":"{status}","contractSize":{item.contract.size},'
        '"maintMarginPercent":"2.5000","requiredMarginPercent":"5.0000",'
        f"{_contract_coins(item)},"
        f'"equalQtyPrecision":4,"maxMoveOrderLimit":10000,"triggerProtect":"0.0500",'
        f'"underlyingType":"COIN","underlyingSubType":[],{_filters(item)}],{_ORDERS},'
        '"liquidationFee":"0.006000","marketTakeBound":"0.30"}'
    )


def _contract_head(item: Instrument) -> str:
    contract = item.contract
    return (
        f'{{"symbol":"{item.symbol}","pair":"{contract.pair}","contractType":"{contract.kind}",'
        f'"deliveryDate":{contract.delivery or PERPETUAL_DELIVERY},"onboardDate":{ONBOARD}'
    )


def _contract_coins(item: Instrument) -> str:
    return (
        f'"baseAsset":"{item.base}","quoteAsset":"{item.quote}",'
        f'"marginAsset":"{item.contract.settle}","pricePrecision":{item.price_decimals},'
        f'"quantityPrecision":{item.size_decimals},"baseAssetPrecision":8,"quotePrecision":8'
    )


def _filters(item: Instrument) -> str:
    """The open list of filters; a tick has no trailing zeros there (0.10 is 0.1)."""
    tick = item.tick.rstrip("0").rstrip(".") if "." in item.tick else item.tick
    return (
        f'"filters":[{{"minPrice":"{tick}","maxPrice":"1000000","filterType":"PRICE_FILTER",'
        f'"tickSize":"{tick}"}},{{"stepSize":"{item.lot}","filterType":"LOT_SIZE",'
        f'"maxQty":"1000000","minQty":"{item.lot}"}},{{"stepSize":"{item.lot}",'
        f'"filterType":"MARKET_LOT_SIZE","maxQty":"100000","minQty":"{item.lot}"}}'
    )


_ORDERS = (
    '"orderTypes":["LIMIT","MARKET","STOP","STOP_MARKET","TAKE_PROFIT","TAKE_PROFIT_MARKET",'
    '"TRAILING_STOP_MARKET"],"timeInForce":["GTC","IOC","FOK","GTX"]'
)
_HEADS = {Market.SPOT: "", Market.USDM: '"futuresType":"U_MARGINED",', Market.COINM: ""}
_ROWS: Mapping[Market, Callable[[Instrument, str], str]] = {
    Market.SPOT: _spot_row,
    Market.USDM: _usdm_row,
    Market.COINM: _coinm_row,
}

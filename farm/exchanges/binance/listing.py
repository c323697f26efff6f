"""Binance's ``exchangeInfo`` as typed structs, and the way from each entry to its terms.

Sources: github.com/binance/binance-spot-api-docs, ``rest-api.md`` ("Exchange information"),
``filters.md`` and ``enums.md`` (symbol status); developers.binance.com, "Exchange Information" of
USD-M and COIN-M. Steps come from the filters alone: ``pricePrecision`` is no tick size.
"""

from __future__ import annotations

import msgspec

from farm.exchanges.listing import Amount, Envelope, ListingFormat, Moment, Terms

__all__ = ["LISTING"]

_TRADING = "TRADING"
_NEVER = "4133404800000"
"""The ``deliveryDate`` of perpetuals, 2100-12-25. One that is to be delisted has a real date."""


class FilterWire(msgspec.Struct, rename="camel", gc=False):
    """A filter of any type, with the fields of those that are used."""

    filter_type: str
    tick_size: Amount = None
    step_size: Amount = None
    min_qty: Amount = None
    min_notional: Amount = None
    notional: Amount = None


class SymbolWire(msgspec.Struct, rename="camel", gc=False):
    """An entry of ``symbols``; ``contractStatus`` and ``contractSize`` are of COIN-M."""

    symbol: str
    base_asset: str
    quote_asset: str
    filters: list[FilterWire]
    status: str | None = None
    contract_status: str | None = None
    contract_type: str | None = None
    contract_size: Amount = None
    pair: str | None = None
    margin_asset: str | None = None
    onboard_date: Moment = None
    delivery_date: Moment = None


class ExchangeInfoWire(msgspec.Struct, rename="camel", gc=False):
    """``/api/v3/exchangeInfo`` and its kin: every symbol in one answer."""

    symbols: list[msgspec.Raw]
    server_time: Moment = None


_EXCHANGE_INFO = msgspec.json.Decoder(ExchangeInfoWire)
_SYMBOL = msgspec.json.Decoder(SymbolWire)
_ABSENT = FilterWire("")


def _open(body: bytes) -> Envelope:
    wire = _EXCHANGE_INFO.decode(body)
    return Envelope(wire.symbols, wire.server_time)


def _terms(raw: msgspec.Raw) -> Terms:
    wire = _SYMBOL.decode(raw)
    filters = {item.filter_type: item for item in wire.filters}
    # Spot has moved from MIN_NOTIONAL to NOTIONAL; futures write `notional` in MIN_NOTIONAL.
    worth = filters.get("NOTIONAL") or filters.get("MIN_NOTIONAL", _ABSENT)
    lots = filters.get("LOT_SIZE", _ABSENT)
    status = wire.contract_status or wire.status
    return Terms(
        symbol=wire.symbol,
        base=wire.base_asset,
        quote=wire.quote_asset,
        settle=wire.margin_asset,
        pair=wire.pair,
        contract_type=wire.contract_type,
        status=status,
        trading=status == _TRADING,
        tick_size=filters.get("PRICE_FILTER", _ABSENT).tick_size,
        lot_size=lots.step_size,
        min_quantity=lots.min_qty,
        min_notional=worth.notional if worth.min_notional is None else worth.min_notional,
        contract_size=wire.contract_size,
        launch_time=wire.onboard_date,
        delivery_time=None if str(wire.delivery_date) == _NEVER else wire.delivery_date,
    )


LISTING = ListingFormat(_open, _terms)
"""How Binance writes listings, on every market."""

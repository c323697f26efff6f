"""What the symbol of an instrument says: its coins and, of a derivative, its contract.

Collectors must not split symbols (the venues' instrument lists say it all); the fakes, which
write those lists, may.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import attrs

from farm.types import Exchange, Market

__all__ = ["PERPETUAL_DELIVERY", "Contract", "Named", "read_symbol"]

PERPETUAL_DELIVERY = 4_133_404_800_000
"""The delivery date that Binance gives to perpetual contracts, ms."""

_QUOTES = ("USDT", "USDC", "FDUSD", "BTC", "ETH", "EUR")
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_QUARTERS = {"H": 3, "M": 6, "U": 9, "Z": 12}
# Deliveries after this one are of the next quarter: the simulated markets open in August 2026.
_QUARTER_ENDS = 1_790_812_800_000


@attrs.frozen
class Contract:
    """What a derivative is. On spot there is none, and everything is empty.

    ``kind``: the venue's word (``PERPETUAL``, ``LinearFutures``, ``Call``). ``settle``: the coin
    of margin and profit. ``delivery``: ms since the epoch, 0 for never. ``size``: what one lot is
    worth in the quote coin where lots count that (COIN-M contracts, Bybit's inverse dollars); 0
    where lots count the base coin.
    """

    pair: str = ""
    kind: str = ""
    settle: str = ""
    delivery: int = 0
    size: int = 0


@attrs.frozen
class Named:
    """What a symbol says."""

    base: str
    quote: str
    contract: Contract = attrs.Factory(Contract)


def read_symbol(exchange: Exchange, market: Market, symbol: str) -> Named:
    """Takes a symbol apart. One that follows no rule of its market is a coin against a default."""
    return _READERS[exchange, market](symbol)


def _spot(symbol: str) -> Named:
    quote = next((q for q in _QUOTES if symbol.endswith(q) and symbol != q), "USDT")
    return Named(symbol.removesuffix(quote), quote)


def _usdm(symbol: str) -> Named:
    pair, _, date = symbol.partition("_")
    coins = _spot(pair)
    kind, delivery = _binance_term(date)
    return Named(coins.base, coins.quote, Contract(pair, kind, coins.quote, delivery))


def _coinm(symbol: str) -> Named:
    pair, _, date = symbol.partition("_")
    base = pair.removesuffix("USD")
    kind, delivery = _binance_term(date.removeprefix("PERP"))
    size = 100 if base == "BTC" else 10
    return Named(base, "USD", Contract(pair, kind, base, delivery, size))


def _binance_term(date: str) -> tuple[str, int]:
    """``260925`` is a day; no date is a perpetual contract."""
    if len(date) != 6 or not date.isdecimal():
        return "PERPETUAL", 0
    delivery = _eight_o_clock(2000 + int(date[:2]), int(date[2:4]), int(date[4:]))
    quarter = "CURRENT_QUARTER" if delivery < _QUARTER_ENDS else "NEXT_QUARTER"
    return quarter, delivery


def _linear(symbol: str) -> Named:
    name, dash, date = symbol.partition("-")
    in_usdc = name.endswith("PERP") or (dash and not name.endswith("USDT"))
    quote = "USDC" if in_usdc else "USDT"
    base = name.removesuffix("PERP" if in_usdc else "USDT")
    kind = "LinearFutures" if dash else "LinearPerpetual"
    return Named(base, quote, Contract("", kind, quote, _bybit_day(date)))


def _inverse(symbol: str) -> Named:
    base, _, quarter = symbol.rpartition("USD")
    if not quarter:
        return Named(base, "USD", Contract("", "InversePerpetual", base, 0, 1))
    month, year = _QUARTERS.get(quarter[0], 12), quarter[1:]
    delivery = _eight_o_clock(2000 + int(year), month, 25) if year.isdecimal() else 0
    return Named(base, "USD", Contract("", "InverseFutures", base, delivery, 1))


def _option(symbol: str) -> Named:
    """``BTC-25JUN27-106000-C-USDT``; without a last part it settles in USDC."""
    base, date, _, side, settle = (*symbol.split("-"), "", "", "", "")[:5]
    settle = settle or "USDC"
    kind = "Put" if side == "P" else "Call"
    return Named(base, settle, Contract("", kind, settle, _bybit_day(date)))


def _bybit_day(text: str) -> int:
    """``5JUN27`` as ms since the epoch, 0 for what is no day."""
    day, month, year = text[:-5], text[-5:-2], text[-2:]
    if month not in _MONTHS or not (day.isdecimal() and year.isdecimal()):
        return 0
    return _eight_o_clock(2000 + int(year), _MONTHS.index(month) + 1, int(day))


def _eight_o_clock(year: int, month: int, day: int) -> int:
    """When contracts are delivered, ms; 0 for a day that no calendar has."""
    try:
        return round(datetime(year, month, day, 8, tzinfo=UTC).timestamp()) * 1000
    except ValueError:
        return 0


_READERS: Mapping[tuple[Exchange, Market], Callable[[str], Named]] = {
    (Exchange.BINANCE, Market.SPOT): _spot,
    (Exchange.BINANCE, Market.USDM): _usdm,
    (Exchange.BINANCE, Market.COINM): _coinm,
    (Exchange.BYBIT, Market.SPOT): _spot,
    (Exchange.BYBIT, Market.LINEAR): _linear,
    (Exchange.BYBIT, Market.INVERSE): _inverse,
    (Exchange.BYBIT, Market.OPTION): _option,
}

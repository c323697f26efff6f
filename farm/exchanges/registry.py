"""Which markets farm speaks: their rules, by exchange and market."""

from __future__ import annotations

from farm.exchanges.binance.markets import MARKETS as BINANCE
from farm.exchanges.bybit.markets import MARKETS as BYBIT
from farm.exchanges.rules import MarketRules
from farm.types import Exchange, Market

__all__ = ["MARKETS", "rules_of"]

MARKETS: dict[tuple[Exchange, Market], MarketRules] = {
    (rules.exchange, rules.market): rules for table in (BINANCE, BYBIT) for rules in table.values()
}
"""The rules of every market that farm speaks."""


def rules_of(exchange: Exchange, market: Market) -> MarketRules:
    """The rules of a market; KeyError where farm does not speak it."""
    return MARKETS[exchange, market]

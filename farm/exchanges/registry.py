"""Which markets farm speaks: their rules and protocol cores, by exchange and market."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from farm.exchanges.binance.markets import MARKETS as BINANCE
from farm.exchanges.binance.session import BinanceSession
from farm.exchanges.bybit.markets import MARKETS as BYBIT
from farm.exchanges.bybit.session import BybitSession
from farm.exchanges.core import CoreSession
from farm.exchanges.rules import MarketRules
from farm.exchanges.streams import Stream
from farm.types import Exchange, Market

__all__ = ["MARKETS", "make_session", "rules_of"]

_SESSIONS: dict[Exchange, type[CoreSession]] = {
    Exchange.BINANCE: BinanceSession,
    Exchange.BYBIT: BybitSession,
}

MARKETS: dict[tuple[Exchange, Market], MarketRules] = {
    (rules.exchange, rules.market): rules for table in (BINANCE, BYBIT) for rules in table.values()
}
"""The rules of every market that farm speaks."""


def rules_of(exchange: Exchange, market: Market) -> MarketRules:
    """The rules of a market; KeyError where farm does not speak it."""
    return MARKETS[exchange, market]


def make_session(rules: MarketRules, streams: Sequence[Stream], **options: Any) -> CoreSession:
    """The protocol core for one connection of a market; options as of :class:`CoreSession`."""
    return _SESSIONS[rules.exchange](rules, streams, **options)

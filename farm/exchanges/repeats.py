"""Trades that a venue sends twice, where ids prove nothing but who they are."""

from __future__ import annotations

from collections.abc import Iterable

from farm.entities import Trade
from farm.types import Symbol

__all__ = ["MAX_REMEMBERED", "RecentIds"]

MAX_REMEMBERED = 1000
"""Trades of a symbol whose ids are remembered: what is sent twice is sent again soon."""


class RecentIds:
    """The ids of the latest trades of each symbol."""

    def __init__(self) -> None:
        self._by_symbol: dict[Symbol, dict[str, None]] = {}  # in the order in which they came

    def repeats(self, rows: Iterable[Trade]) -> list[Trade]:
        """Those of these trades that were seen before; from now on all of them were."""
        found = []
        for row in rows:
            known = self._by_symbol.get(row.symbol)
            if known is None:
                known = self._by_symbol[row.symbol] = {}
            if row.id in known:
                found.append(row)
                continue
            known[row.id] = None
            if len(known) > MAX_REMEMBERED:
                del known[next(iter(known))]
        return found

    def forget(self, symbol: Symbol) -> None:
        """This symbol is collected no longer."""
        self._by_symbol.pop(symbol, None)

"""Trades that a venue sends twice, where ids prove nothing but who they are."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from farm.entities import Trade
from farm.types import Symbol

__all__ = ["MAX_REMEMBERED", "MAX_SYMBOLS", "RecentIds"]

MAX_REMEMBERED = 1000
"""Trades of a symbol whose ids are remembered: what is sent twice is sent again soon."""

MAX_SYMBOLS = 5000
"""Symbols whose trades are remembered: options expire, and their coin's stream goes on."""


class RecentIds:
    """The ids of the latest trades of each symbol."""

    def __init__(self) -> None:
        self._by_symbol: dict[Symbol, tuple[set[str], deque[str]]] = {}

    def repeats(self, rows: Iterable[Trade]) -> list[Trade]:
        """Those of these trades that were seen before; from now on all of them were."""
        found, by_symbol = [], self._by_symbol
        for row in rows:
            recent = by_symbol.get(row.symbol)
            if recent is None:
                if len(by_symbol) >= MAX_SYMBOLS:
                    del by_symbol[next(iter(by_symbol))]
                recent = by_symbol[row.symbol] = (set(), deque())
            known, order = recent
            number = row.id
            if number in known:
                found.append(row)
                continue
            known.add(number)
            order.append(number)
            if len(order) > MAX_REMEMBERED:
                known.remove(order.popleft())
        return found

    def are_new(self, symbol: Symbol, ids: list[str]) -> bool:
        """Whether none of these was seen before, as almost always; then all of them are from now
        on. Nothing is changed else."""
        recent = self._by_symbol.get(symbol)
        if recent is None:
            return False
        known, order = recent
        fresh = set(ids)
        if len(fresh) < len(ids) or not known.isdisjoint(fresh):
            return False
        known |= fresh
        order += ids
        while len(order) > MAX_REMEMBERED:
            known.remove(order.popleft())
        return True

    def forget(self, symbol: Symbol) -> None:
        """This symbol is collected no longer, or all options on this coin."""
        names = (
            name for name in self._by_symbol if name == symbol or name.startswith(f"{symbol}-")
        )
        for name in list(names):
            del self._by_symbol[name]

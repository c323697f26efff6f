"""The levels of one book: a dict for the sizes, a sorted list for the prices, on each side.

Each side is sorted best *last*, so that the busy end of the book is the cheap end of the list.

A snapshot shows so many levels and no more. What lies beyond the worst of them, its *horizon*, is
unknown but for the levels that changed since.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Any

from farm.entities import AnyLevel, OrderBookLevel
from farm.types import Number

__all__ = ["BookSide", "Levels"]


def _itself(price: Number) -> Number:
    return price


def _negative(price: Any) -> Any:
    """Its own inverse, to the last digit: arithmetic would round a Decimal as its context says."""
    return price.copy_negate() if isinstance(price, Decimal) else -price


class BookSide:
    """One side: ``sign`` is 1 for bids and -1 for asks, which makes the best key the largest.

    ``horizon`` is the worst price that the snapshot showed, where it was cut there; None where the
    side is known whole.
    """

    __slots__ = ("_key", "_keys", "_sizes", "horizon")

    def __init__(self, sign: int) -> None:
        self._key: Callable[[Number], Number] = _itself if sign > 0 else _negative
        self._sizes: dict[Number, Number] = {}
        self._keys: list[Number] = []
        self.horizon: Number | None = None

    def __len__(self) -> int:
        return len(self._keys)

    def replace(self, levels: Sequence[AnyLevel], limit: int | None = None) -> None:
        """Forget everything and take these levels; those of size 0 are none.

        `limit`: no more levels than these can have been shown, so if there are as many, the side
        is cut at its worst price.
        """
        self._sizes = {level.price: level.quantity for level in levels if level.quantity}
        self._keys = sorted(map(self._key, self._sizes))
        is_cut = limit is not None and len(levels) >= limit and len(self._keys) > 0
        self.horizon = self._key(self._keys[0]) if is_cut else None

    def apply(self, levels: Iterable[AnyLevel]) -> None:
        """Set each level to its absolute size; 0 deletes, and deleting what is not there is normal
        (it was beyond the snapshot's window)."""
        sizes, keys, key = self._sizes, self._keys, self._key
        for level in levels:
            price, quantity = level.price, level.quantity
            if quantity:
                if price not in sizes:
                    insort(keys, key(price))
                sizes[price] = quantity
            elif sizes.pop(price, None) is not None:
                del keys[bisect_left(keys, key(price))]

    def best(self) -> tuple[Number, Number] | None:
        """Price and quantity of the best level, or None."""
        if not self._keys:
            return None
        price = self._key(self._keys[-1])
        return price, self._sizes[price]

    def top(self, depth: int | None = None) -> list[OrderBookLevel]:
        """The best `depth` levels, best first; all of them for None."""
        sizes = self._sizes
        horizon = None if self.horizon is None else self._key(self.horizon)
        keys = self._keys if depth is None else self._keys[-depth:] if depth > 0 else []
        levels = []
        for key in reversed(keys):
            price = self._key(key)
            authoritative = horizon is None or key >= horizon
            levels.append(OrderBookLevel(price, sizes[price], authoritative))
        return levels


class Levels:
    """Both sides of a book."""

    __slots__ = ("asks", "bids")

    def __init__(self) -> None:
        self.bids = BookSide(1)
        self.asks = BookSide(-1)

    def replace(
        self, bids: Sequence[AnyLevel], asks: Sequence[AnyLevel], limit: int | None = None
    ) -> None:
        """Take a snapshot of at most `limit` levels a side (None: it shows all there is)."""
        self.bids.replace(bids, limit)
        self.asks.replace(asks, limit)

    def apply(self, bids: Sequence[AnyLevel], asks: Sequence[AnyLevel]) -> None:
        """Apply a diff, which often has one side only."""
        if bids:
            self.bids.apply(bids)
        if asks:
            self.asks.apply(asks)

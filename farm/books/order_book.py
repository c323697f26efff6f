"""The levels of one book: a dict for the sizes, a sorted list for the prices, on each side.

Each side is sorted best *last*, so that the busy end of the book is the cheap end of the list.

A snapshot shows so many levels and no more. What lies beyond the worst of them, its *horizon*, is
unknown but for the levels that changed since.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, insort
from collections.abc import Callable, Sequence
from decimal import Decimal
from operator import ge, le, neg
from typing import Any

from farm.entities import AnyLevel, OrderBookLevel
from farm.types import Number

__all__ = ["BookSide", "Levels"]


def _negation(price: Any) -> Callable[[Any], Any]:
    """What negates prices of this type, and is its own inverse to the last digit: arithmetic would
    round a Decimal as its context says."""
    return Decimal.copy_negate if isinstance(price, Decimal) else neg


def _packed(numbers: list[Any]) -> Sequence[Any]:
    """Numbers as they go to another process: of a thousand books there are millions."""
    return array("d", numbers) if numbers and isinstance(numbers[0], float) else numbers


class BookSide:
    """One side: ``sign`` is 1 for bids and -1 for asks.

    The prices are sorted as keys of which the best is the largest: themselves on the bid side, and
    negated on the ask side. ``horizon`` is the worst price that the snapshot showed, where it was
    cut there; None where the side is known whole.
    """

    __slots__ = ("_is_bid", "_keys", "_sizes", "horizon")

    def __init__(self, sign: int) -> None:
        self._is_bid = sign > 0
        self._sizes: dict[Number, Number] = {}
        self._keys: list[Any] = []
        self.horizon: Number | None = None

    def __len__(self) -> int:
        return len(self._keys)

    def __getstate__(self) -> tuple[Any, ...]:
        prices = self._turned(self._keys)
        sizes = list(map(self._sizes.__getitem__, prices))
        return self._is_bid, _packed(prices), _packed(sizes), self.horizon

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self._is_bid, prices, sizes, self.horizon = state
        self._sizes = dict(zip(prices, sizes, strict=True))
        self._keys = self._turned(list(prices))

    def replace(self, levels: Sequence[AnyLevel], limit: int | None = None) -> None:
        """Forget everything and take these levels; those of size 0 are none.

        `limit`: no more levels than these can have been shown, so if there are as many, the side
        is cut at its worst price.
        """
        self._sizes = {level.price: level.quantity for level in levels if level.quantity}
        self._keys = sorted(self._turned(list(self._sizes)))
        is_cut = limit is not None and len(levels) >= limit and len(self._keys) > 0
        self.horizon = self._turned(self._keys[:1])[0] if is_cut else None

    def apply(self, levels: Sequence[AnyLevel]) -> None:
        """Set each level to its absolute size; 0 deletes, and deleting what is not there is normal
        (it was beyond the snapshot's window)."""
        if not levels:
            return
        sizes, keys = self._sizes, self._keys
        negate = None if self._is_bid else _negation(levels[0].price)
        for level in levels:
            price, quantity = level.price, level.quantity
            if price in sizes:
                if quantity:
                    sizes[price] = quantity
                else:
                    del sizes[price]
                    del keys[bisect_left(keys, price if negate is None else negate(price))]
            elif quantity:
                sizes[price] = quantity
                insort(keys, price if negate is None else negate(price))

    def size(self, price: Number) -> Number:
        """The quantity at a price, 0 for none."""
        return self._sizes.get(price, 0)

    def pairs(self) -> list[tuple[Number, Number]]:
        """Price and quantity of every level, in no order."""
        return list(self._sizes.items())

    def best(self) -> tuple[Number, Number] | None:
        """Price and quantity of the best level, or None."""
        if not self._keys:
            return None
        price = self._keys[-1]
        if not self._is_bid:
            price = _negation(price)(price)
        return price, self._sizes[price]

    def top(self, depth: int | None = None) -> list[OrderBookLevel]:
        """The best `depth` levels, best first; all of them for None."""
        sizes, horizon = self._sizes, self.horizon
        keys = self._keys if depth is None else self._keys[-depth:] if depth > 0 else []
        prices = self._turned(keys[::-1])
        if horizon is None:
            return [OrderBookLevel(price, sizes[price]) for price in prices]
        reaches = ge if self._is_bid else le
        return [OrderBookLevel(price, sizes[price], reaches(price, horizon)) for price in prices]

    def _turned(self, numbers: list[Any]) -> list[Any]:
        """Prices as keys, or keys as prices."""
        if self._is_bid or not numbers:
            return numbers
        return list(map(_negation(numbers[0]), numbers))


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

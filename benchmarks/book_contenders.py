"""Books as others keep them, and farm's, with one set of verbs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from itertools import islice
from operator import neg
from typing import Any, Protocol, TypeAlias

from benchmarks.book_payloads import Change
from farm.books.order_book import Levels
from farm.entities import Level

__all__ = ["BOOKS", "TOP", "Book", "FarmBook", "Side"]

TOP = 20
"""Levels a side that are read."""

Side: TypeAlias = Sequence[tuple[float, float]]


class Book(Protocol):
    """A contender's book. ``levels`` makes changes into what it takes, before the timing."""

    @staticmethod
    def levels(changes: Sequence[Change]) -> Sequence[Any]: ...
    def start(self, bids: Sequence[Any], asks: Sequence[Any]) -> None: ...
    def apply(self, bids: Sequence[Any], asks: Sequence[Any]) -> None: ...
    def top(self) -> tuple[Any, Any]: ...
    def shown(self) -> tuple[Side, Side]: ...


class FarmBook:
    """farm's: a dict for the sizes and a sorted list for the prices."""

    def __init__(self) -> None:
        book = Levels()
        self.start, self.apply = book.replace, book.apply
        self._bids, self._asks = book.bids, book.asks

    @staticmethod
    def levels(changes: Sequence[Change]) -> Sequence[Any]:
        return [Level(price, quantity) for price, quantity in changes]

    def top(self) -> tuple[Any, Any]:
        return self._bids.top(TOP), self._asks.top(TOP)

    def shown(self) -> tuple[Side, Side]:
        bids, asks = ([(level.price, level.quantity) for level in side] for side in self.top())
        return bids, asks


class SortedDictBook:
    """A SortedDict a side."""

    def __init__(self) -> None:
        make = import_module("sortedcontainers").SortedDict
        self._bids, self._asks = make(neg), make()

    @staticmethod
    def levels(changes: Sequence[Change]) -> Sequence[Change]:
        return changes

    def start(self, bids: Sequence[Change], asks: Sequence[Change]) -> None:
        self._bids.update(bids)
        self._asks.update(asks)

    def apply(self, bids: Sequence[Change], asks: Sequence[Change]) -> None:
        for side, changes in ((self._bids, bids), (self._asks, asks)):
            for price, quantity in changes:
                if quantity:
                    side[price] = quantity
                else:
                    side.pop(price, None)

    def top(self) -> tuple[Any, Any]:
        return list(islice(self._bids.items(), TOP)), list(islice(self._asks.items(), TOP))

    shown = top


class OrderBookBook:
    """The ``order-book`` package."""

    def __init__(self) -> None:
        book = import_module("order_book").OrderBook()
        self._book, self._bids, self._asks = book, book.bids, book.asks

    @staticmethod
    def levels(changes: Sequence[Change]) -> Sequence[Change]:
        return changes

    def start(self, bids: Sequence[Change], asks: Sequence[Change]) -> None:
        book = self._book
        book.bids, book.asks = dict(bids), dict(asks)
        self._bids, self._asks = book.bids, book.asks

    def apply(self, bids: Sequence[Change], asks: Sequence[Change]) -> None:
        for side, changes in ((self._bids, bids), (self._asks, asks)):
            for price, quantity in changes:
                if quantity:
                    side[price] = quantity
                elif price in side:
                    del side[price]

    def top(self) -> tuple[Any, Any]:
        bids, asks = self._bids.index, self._asks.index
        return (
            [bids(place) for place in range(min(TOP, len(self._bids)))],
            [asks(place) for place in range(min(TOP, len(self._asks)))],
        )

    shown = top


BOOKS: dict[str, tuple[Callable[[], Book], str | None]] = {
    "farm": (FarmBook, None),
    "sortedcontainers, by hand": (SortedDictBook, "sortedcontainers"),
    "order-book (C)": (OrderBookBook, "order_book"),
}
"""Contenders, and the module that each needs."""

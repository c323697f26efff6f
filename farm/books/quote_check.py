"""The check of truth: a quote that carries the id of a book update must equal the book's top.

Source: measured on recordings (spot 564 of 564, USD-M 629 of 629, COIN-M 1,124 of 1,124): after an
update with final id ``u``, a ``bookTicker`` with the same ``u`` shows the same best bid and ask.
Either may come first, up to 82 messages apart, so both sides are remembered.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import islice
from typing import Any, TypeAlias

from farm.entities import Quote
from farm.types import Number

__all__ = ["QuoteCheck"]

Best: TypeAlias = tuple[Number, Number] | None

REMEMBERED = 1_024
"""Book tops kept for quotes that come after them."""

MOVED = 128
"""And of those as many as go to another process with their book."""

MAX_WAITING = 50_000
"""Quotes kept for a book that has yet to get there; beyond that the oldest are let go."""


class QuoteCheck:
    """Compares quotes with the tops of one book. ``compared`` and ``wrong`` count."""

    def __init__(self) -> None:
        self.compared = 0
        self.wrong = 0
        # Ordered dicts: a plain one looks for its first key past all those that were deleted.
        self._waiting: OrderedDict[int, Quote] = OrderedDict()  # to most of them no book ever comes
        self._tops: OrderedDict[int, tuple[Best, Best]] = OrderedDict()
        self._at: int | None = None

    def __getstate__(self) -> dict[str, Any]:
        tops = islice(reversed(self._tops.items()), MOVED)
        return self.__dict__ | {"_tops": OrderedDict(reversed(list(tops)))}

    def clear(self) -> None:
        """The book is no longer what these were to be compared with."""
        self._tops.clear()
        self._at = None

    def forget_quotes(self) -> None:
        """No book will come to the ids of the quotes that wait."""
        self._waiting.clear()

    def has_stood_at(self, update_id: int) -> bool:
        """Whether the book that stands, or stood last, came by this id not long ago."""
        return update_id in self._tops

    def quote(self, quote: Quote) -> bool:
        """Take a quote; False if it contradicts the book."""
        update_id = quote.update_id
        top = self._tops.get(update_id)
        if top is not None:
            return self._compare(top, quote)
        if self._at is None or update_id > self._at:
            waiting = self._waiting
            waiting[update_id] = quote
            if len(waiting) > MAX_WAITING:
                waiting.popitem(last=False)
        return True

    def book(self, update_id: int, bid: Best, ask: Best) -> bool:
        """The book stands at `update_id` with this top; False if a quote contradicts that."""
        self._at = update_id
        waiting = self._waiting
        quote = waiting.pop(update_id, None)
        while waiting:  # ids rise: what is older can never be compared
            oldest = next(iter(waiting))
            if oldest > update_id:
                break
            del waiting[oldest]
        tops = self._tops
        tops[update_id] = (bid, ask)
        if len(tops) > REMEMBERED:
            tops.popitem(last=False)
        return quote is None or self._compare((bid, ask), quote)

    def _compare(self, top: tuple[Best, Best], quote: Quote) -> bool:
        self.compared += 1
        if top == _shown(quote):
            return True
        self.wrong += 1
        return False


def _shown(quote: Quote) -> tuple[Best, Best]:
    bid_price, bid_quantity = quote.bid_price, quote.bid_quantity
    ask_price, ask_quantity = quote.ask_price, quote.ask_quantity
    bid = None if bid_price is None or bid_quantity is None else (bid_price, bid_quantity)
    ask = None if ask_price is None or ask_quantity is None else (ask_price, ask_quantity)
    return bid, ask

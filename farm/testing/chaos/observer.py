"""What a user of the farm under test sees: events as they come, and books as they stand."""

from __future__ import annotations

from collections import Counter

import attrs
import trio

from farm import BookVerdict, Farm, Gap, OrderBook, Trade
from farm.testing.chaos.truth import NOW, BookTruth, Truth, book_key
from farm.types import Symbol

__all__ = ["Observer"]

LOOK_EVERY = 0.25
"""Seconds between two looks at the books."""

OLDEST = 150.0
"""Seconds for which a book may say *verified* though the venue's went on: what is silent is found
dead in that time."""

MOST_CONTRADICTIONS = 20
"""How many of one run are listed."""


@attrs.define(eq=False)
class Observer:
    """Collects trades and gaps, and compares every book that says *verified* with the truth.

    ``delivered``: how often each trade came, by symbol and id; ``gaps``: all that were told, those
    of its own queue included. ``compared``: books that said *verified* and were looked at;
    ``oldest``: the greatest age of one, in seconds. ``pause``: seconds that are taken over each
    batch; at the end it is set to 0.
    """

    farm: Farm
    symbols: tuple[Symbol, ...]
    truth: Truth
    pause: float
    room: int
    delivered: Counter[tuple[Symbol, str]] = attrs.field(factory=Counter)
    gaps: list[Gap] = attrs.field(factory=list)
    contradictions: list[str] = attrs.field(factory=list)
    compared: int = 0
    oldest: float = 0.0

    async def read(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Take events until the farm has ended, as slowly as the plan says."""
        async with self.farm.subscribe(Trade, Gap, max_bytes=self.room) as batches:
            task_status.started()
            async for batch in batches:
                for row in batch:
                    if isinstance(row, Gap):
                        self.gaps.append(row)
                    else:
                        self._take(row)
                if self.pause:
                    await trio.sleep(self.pause)

    async def watch_books(self) -> None:
        """Look at the books until cancelled."""
        while True:
            self.look()
            await trio.sleep(LOOK_EVERY)

    def look(self) -> None:
        """Compare every book that says *verified*."""
        for symbol in self.symbols:
            book = self.farm.book(symbol)
            if book.verdict is BookVerdict.VERIFIED:
                self._compare(book, self.truth.books[symbol])

    def is_whole(self) -> bool:
        """Whether every book is verified and equals the venue's as it is now."""
        for symbol in self.symbols:
            book, truth = self.farm.book(symbol), self.truth.books[symbol]
            if book.verdict is not BookVerdict.VERIFIED or _key(book) != truth.key:
                return False
        return True

    def _take(self, trade: Trade) -> None:
        self.delivered[trade.symbol, trade.id] += 1
        true = self.truth.trades.get(trade.symbol, {}).get(trade.id)
        if true is None:
            self._contradict(f"{trade.symbol} trade {trade.id} never happened")
        elif (true.price, true.quantity) != (trade.price, trade.quantity):
            told = f"{trade.price} x {trade.quantity}, not {true.price} x {true.quantity}"
            self._contradict(f"{trade.symbol} trade {trade.id} was told as {told}")

    def _compare(self, book: OrderBook, truth: BookTruth) -> None:
        self.compared += 1
        until = truth.states.get(_key(book))
        if until is None:
            self._contradict(f"{book.symbol} says verified at {book.update_id}, and never was so")
        elif until != NOW:
            age = trio.current_time() - until
            self.oldest = max(self.oldest, age)
            if age > OLDEST:
                self._contradict(f"{book.symbol} says verified, and is {age:.0f} s old")

    def _contradict(self, text: str) -> None:
        if len(self.contradictions) < MOST_CONTRADICTIONS:
            self.contradictions.append(text)


def _key(book: OrderBook) -> int:
    levels = [(True, level.price, level.quantity) for level in book.bids]
    levels += [(False, level.price, level.quantity) for level in book.asks]
    return book_key((is_bid, float(price), float(size)) for is_bid, price, size in levels)

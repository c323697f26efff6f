"""What a user of the farm under test sees: events as they come, and books as they stand."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import attrs
import trio

from farm import BookVerdict, Farm, Gap, OrderBook, Quote, Subscription, Trade
from farm.testing.chaos.plan import ChaosPlan
from farm.testing.chaos.truth import NOW, BookTruth, Truth, book_key, quote_id
from farm.types import Nanoseconds, Symbol

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
    """Collects trades, quotes and gaps, and compares all that farm says with the truth.

    ``trades`` and ``quotes``: how often each came, by symbol and id; ``latest``: when the venue
    told of the last quote of a symbol that came. ``gaps``: all that were told, those of its own
    queue included, whose edges are ``own``. ``received``: the receive times of what
    came, by feed. ``promised``: when it was first seen of a feed that
    the venue sends it. ``compared``: books that said *verified* and were looked at; ``oldest``: the
    greatest age of one, in seconds. ``pause``: seconds that are taken over each batch; at the end
    it is set to 0.
    """

    farm: Farm
    plan: ChaosPlan
    truth: Truth
    pause: float = attrs.field(default=attrs.Factory(lambda self: self.plan.pause, takes_self=True))
    trades: Counter[tuple[Symbol, str]] = attrs.field(factory=Counter)
    quotes: Counter[tuple[Symbol, str]] = attrs.field(factory=Counter)
    latest: dict[Symbol, float] = attrs.field(factory=dict)
    gaps: list[Gap] = attrs.field(factory=list)
    received: defaultdict[str, list[Nanoseconds]] = attrs.field(factory=lambda: defaultdict(list))
    own: set[str] = attrs.field(factory=set)
    promised: dict[str, float] = attrs.field(factory=dict)
    contradictions: list[str] = attrs.field(factory=list)
    compared: int = 0
    oldest: float = 0.0

    async def read(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Take events until the farm has ended, as slowly as the plan says."""
        kinds: list[type[Any]] = [Trade, Gap]
        if "quote" in self.plan.specs:
            kinds.append(Quote)
        subscription: Subscription[Any]
        async with self.farm.subscribe(*kinds, max_bytes=self.plan.room) as subscription:
            task_status.started()
            async for batch in subscription:
                for row in batch:
                    self._take(row)
                if self.pause:
                    await trio.sleep(self.pause)
            self.own = {gap.edge for gap in subscription.gaps}

    async def watch(self) -> None:
        """Look until cancelled."""
        while True:
            self.look()
            await trio.sleep(LOOK_EVERY)

    def look(self) -> None:
        """Compare every book that says *verified*, and see what is promised."""
        for feed in self.farm.stats().feeds:
            if feed.state in ("acknowledged", "live"):
                self.promised.setdefault(feed.feed, trio.current_time())
        for symbol in self.plan.symbols:
            book = self.farm.book(symbol)
            if book.verdict is BookVerdict.VERIFIED:
                self._compare(book, self.truth.books[symbol])

    def is_whole(self) -> bool:
        """Whether every book is verified and equals the venue's as it is now."""
        for symbol in self.plan.symbols:
            book, truth = self.farm.book(symbol), self.truth.books[symbol]
            if book.verdict is not BookVerdict.VERIFIED or _key(book) != truth.key:
                return False
        return True

    def _take(self, row: Trade | Quote | Gap) -> None:
        if isinstance(row, Gap):
            self._take_gap(row)
        elif isinstance(row, Quote):
            self._take_quote(row)
        else:
            self._take_trade(row)

    def _take_gap(self, gap: Gap) -> None:
        """A trade that comes after it was called missing is late; one before it was no loss."""
        self.gaps.append(gap)
        if gap.first_id is None or gap.last_id is None:
            return
        if gap.feed not in self.plan.trade_feeds(gap.symbol):
            return
        trades = self.truth.trades.get(gap.symbol, {})
        spent = self.truth.spent.get(gap.symbol, ())
        said = f"{gap.feed}: a gap of the ids {gap.first_id} to {gap.last_id} holds"
        for number in map(str, range(gap.first_id, gap.last_id + 1)):
            if self.trades[gap.symbol, number]:
                self._contradict(f"{said} {number}, which had been delivered")
            elif number not in trades and number not in spent:
                self._contradict(f"{said} {number}, which there never was")
                return  # nor, it may be, were the billions that follow

    def _take_quote(self, quote: Quote) -> None:
        bid = None if quote.bid_price is None else (quote.bid_price, quote.bid_quantity)
        ask = None if quote.ask_price is None else (quote.ask_price, quote.ask_quantity)
        self.received[self.plan.quote_feed(quote.symbol)].append(quote.receive_time)
        number = quote_id(quote.update_id, bid, ask)
        self.quotes[quote.symbol, number] += 1
        true = self.truth.quote(quote.symbol, number)
        if true is None:
            self._contradict(f"{quote.symbol} quote {number} was never told")
        else:
            self.latest[quote.symbol] = true.moment

    def _take_trade(self, trade: Trade) -> None:
        self.trades[trade.symbol, trade.id] += 1
        for feed in self.plan.trade_feeds(trade.symbol):
            self.received[feed].append(trade.receive_time)
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

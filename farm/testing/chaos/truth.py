"""What a simulated venue truly did: its trades, and every state that its books were ever in.

It reads the venue's texts by itself, with nothing of what is under test: errors on both sides would
cancel out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Protocol, TypeAlias

import attrs
import trio

from farm.testing.source import Push, full_book_reply, reply_symbol
from farm.types import Symbol

__all__ = [
    "BookTruth",
    "Told",
    "TrueQuote",
    "TrueTrade",
    "Truth",
    "book_key",
    "quote_id",
    "quote_of",
]

Level: TypeAlias = tuple[bool, float, float]
"""Whether it is a bid, price, quantity."""

NOW = math.inf


class Told(Protocol):
    """Something that the venue told, and when, in seconds on Trio's clock."""

    @property
    def id(self) -> str: ...

    @property
    def moment(self) -> float: ...


@attrs.frozen
class TrueTrade:
    """A trade that happened, and when the venue told of it, in seconds on Trio's clock."""

    id: str
    price: float
    quantity: float
    moment: float


@attrs.frozen
class TrueQuote:
    """A top of a book, by :func:`quote_id`, and when the venue first told of it, in seconds on
    Trio's clock."""

    id: str
    moment: float


def quote_id(update_id: int, bid: Sequence[Any] | None, ask: Sequence[Any] | None) -> str:
    """All that a quote says, in one text: its update id, then price and quantity of either side,
    None where it is empty."""
    sides = ("nothing" if s is None else f"{float(s[0])} x {float(s[1])}" for s in (bid, ask))
    return f"{update_id}: {' / '.join(sides)}"


def book_key(levels: Iterable[Level]) -> int:
    """One number for a whole book, whatever the order of its levels."""
    key = 0
    for level in levels:
        key ^= hash(level)
    return key


@attrs.define(eq=False)
class BookTruth:
    """A book as the venue tells it. ``states``: each state that it ever was in, by its key, and
    until when, in seconds on Trio's clock (:data:`NOW` for the one that it is in)."""

    last_id: int = 0
    key: int = 0
    states: dict[int, float] = attrs.field(factory=dict)
    _levels: dict[tuple[bool, float], float] = attrs.field(factory=dict)

    def replace(self, bids: Any, asks: Any, last_id: int, now: float) -> None:
        """The book is exactly this."""
        before, self.key = self.key, 0
        self._levels.clear()
        self._note(before, bids, asks, last_id, now)

    def change(self, bids: Any, asks: Any, last_id: int, now: float) -> None:
        """These levels have these quantities now."""
        self._note(self.key, bids, asks, last_id, now)

    def _note(self, before: int, bids: Any, asks: Any, last_id: int, now: float) -> None:
        for is_bid, side in ((True, bids), (False, asks)):
            for price, quantity in side:
                self._set(is_bid, float(price), float(quantity))
        self.last_id = last_id
        if self.states:
            self.states[before] = now
        self.states[self.key] = NOW

    def _set(self, is_bid: bool, price: float, quantity: float) -> None:
        before = self._levels.pop((is_bid, price), None)
        if before is not None:
            self.key ^= hash((is_bid, price, before))
        if quantity:
            self._levels[is_bid, price] = quantity
            self.key ^= hash((is_bid, price, quantity))


def quote_of(push: Push) -> tuple[Symbol, str] | None:
    """Symbol and :func:`quote_id` of what a stream of quotes says; None of another stream."""
    if push.stream.endswith("@bookTicker"):
        message = json.loads(push.text)
        bid, ask = (message["b"], message["B"]), (message["a"], message["A"])
        sides = (side if float(side[0]) else None for side in (bid, ask))
        return message["s"], quote_id(message["u"], *sides)
    if push.stream.startswith("orderbook.1."):
        data = json.loads(push.text)["data"]
        sides = (side[0] if side else None for side in (data["b"], data["a"]))
        return data["s"], quote_id(data["u"], *sides)
    return None


def _note(quotes: dict[Symbol, dict[str, TrueQuote]], symbol: Symbol, number: str) -> None:
    known = quotes.setdefault(symbol, {})
    known.setdefault(number, TrueQuote(number, trio.current_time()))


class Truth:
    """Takes note of all that a venue says of some streams, heard by a client or not.

    `books` names the streams whose messages make the books, and whose these are. ``trades`` and
    ``quotes``: by symbol and id, in the order in which they were told. ``spent``: ids that a venue
    used up for no trade. ``greetings``: quotes that a subscriber was told of as the state that it
    found, and when; they are no news to anybody, so nobody is owed them.
    """

    def __init__(self, books: dict[str, Symbol]) -> None:
        self.trades: dict[Symbol, dict[str, TrueTrade]] = {}
        self.quotes: dict[Symbol, dict[str, TrueQuote]] = {}
        self.greetings: dict[Symbol, dict[str, TrueQuote]] = {}
        self.spent: dict[Symbol, set[str]] = {}
        self.books: dict[Symbol, BookTruth] = {symbol: BookTruth() for symbol in books.values()}
        self._streams = books
        self._symbols: Collection[Symbol] = set(books.values())

    def take(self, push: Push) -> None:
        """The venue says this now."""
        name = push.stream
        if name in self._streams:
            self._take_book(self.books[self._streams[name]], json.loads(push.text))
        elif name.endswith("@trade"):
            self._take_binance_trade(json.loads(push.text))
        elif name.startswith("publicTrade."):
            for row in json.loads(push.text)["data"]:
                self._trade(row["s"], row["i"], row["p"], row["v"])
        elif quote := quote_of(push):
            _note(self.quotes, *quote)
        elif (symbol := reply_symbol(name)) in self.books:
            snapshot = json.loads(push.text)
            self._replace(self.books[symbol], snapshot, snapshot["lastUpdateId"])
        elif name.startswith("/full_orderbook"):
            self._take_full_book(name, json.loads(push.text)["result"])

    def greet(self, push: Push) -> None:
        """A new subscriber is told this first."""
        if quote := quote_of(push):
            _note(self.greetings, *quote)

    def quote(self, symbol: Symbol, number: str) -> TrueQuote | None:
        """The quote of this :func:`quote_id`, if there ever was one."""
        quotes = self.quotes.get(symbol, {})
        return quotes.get(number) or self.greetings.get(symbol, {}).get(number)

    def _take_binance_trade(self, message: Any) -> None:
        if message.get("X") == "NA":
            self.spent.setdefault(message["s"], set()).add(str(message["t"]))
        else:
            self._trade(message["s"], str(message["t"]), message["p"], message["q"])

    def _trade(self, symbol: Symbol, number: str, price: str, quantity: str) -> None:
        trade = TrueTrade(number, float(price), float(quantity), trio.current_time())
        self.trades.setdefault(symbol, {})[number] = trade

    def _take_book(self, book: BookTruth, message: Any) -> None:
        if "topic" not in message:  # Binance
            if message["u"] > book.last_id:
                book.change(message["b"], message["a"], message["u"], trio.current_time())
            return
        data = message["data"]
        if message["type"] == "snapshot":
            book.replace(data["b"], data["a"], data["u"], trio.current_time())
        elif book.states:
            book.change(data["b"], data["a"], data["u"], trio.current_time())

    def _take_full_book(self, name: str, result: Any) -> None:
        book = self.books.get(result["s"])
        if book is not None and f"orderbook.full.{result['s']}" in self._streams:
            assert name == full_book_reply(result["s"])
            book.replace(result["b"], result["a"], result["u"], trio.current_time())

    def _replace(self, book: BookTruth, snapshot: Any, last_id: int) -> None:
        book.replace(snapshot["bids"], snapshot["asks"], last_id, trio.current_time())

"""What a fake Binance knows of its market: books, and answers that the source brought."""

from __future__ import annotations

import re
from collections.abc import Collection

import attrs

from farm.testing.binance_listing import depth_names
from farm.testing.listing import Listing
from farm.testing.markets import BinanceRules
from farm.testing.names import upper
from farm.testing.source import Push, reply_symbol
from farm.testing.venue_book import DepthShape, DiffBook

__all__ = ["BinanceMarket", "Waiting"]


@attrs.define(eq=False)
class Waiting:
    """A depth request that came before the snapshot did; ``text`` is its answer, once there."""

    limit: int
    text: str = ""


class BinanceMarket:
    """Books by symbol, joined from snapshots and diffs. ``replies``: by resource and query.

    ``empty_books``: a book of which the source told nothing is empty, not unknown.
    """

    def __init__(self, rules: BinanceRules, listing: Listing, *, empty_books: bool) -> None:
        self.replies: dict[str, str] = {}
        self._rules = rules
        self._listing = listing
        self._empty_books = empty_books
        self._diff = re.compile(f"(.+?)(?:{rules.diff_stream})")
        self._books: dict[str, DiffBook] = {}
        self._waiting: dict[str, list[Waiting]] = {}
        self._diff_symbols: dict[str, str | None] = {}

    def take(self, push: Push) -> None:
        """Takes note of a push."""
        if (symbol := reply_symbol(push.stream)) is not None:
            book = self.book(symbol)
            book.take_snapshot(push.text)
            for waiting in self._waiting.pop(symbol, ()):
                waiting.text = book.snapshot(waiting.limit)
        elif push.stream.startswith("/"):
            self.replies[push.stream] = push.text
        elif (symbol := self._diff_symbol(push.stream)) is not None:
            self.book(symbol).take_diff(push.text)

    def book(self, symbol: str) -> DiffBook:
        """The book of a symbol as far as it is known."""
        if symbol not in self._books:
            names = depth_names(self._listing.instrument(symbol)) if self._rules.named_depth else ""
            shape = DepthShape(self._rules.timed_depth, names)
            self._books[symbol] = DiffBook(shape, 1 if self._empty_books else None)
        return self._books[symbol]

    def symbols(self) -> Collection[str]:
        """Those that the source has told of books of."""
        return self._books.keys()

    def wait(self, symbol: str, limit: int) -> Waiting:
        """A place in the queue for a snapshot that the source has not come to."""
        waiting = Waiting(limit)
        self._waiting.setdefault(symbol, []).append(waiting)
        return waiting

    def follows(self, streams: Collection[str], symbol: str) -> bool:
        """Whether the diffs of a symbol are among these streams."""
        return any(self._diff_symbol(stream) == symbol for stream in streams)

    def is_diff(self, stream: str) -> bool:
        """Whether a stream carries the diffs of a book."""
        return self._diff_symbol(stream) is not None

    def _diff_symbol(self, stream: str) -> str | None:
        """The symbol of a diff stream, None for any other."""
        if stream not in self._diff_symbols:
            match = self._diff.fullmatch(stream)
            self._diff_symbols[stream] = upper(match[1]) if match else None
        return self._diff_symbols[stream]

"""Partial books: each message is the whole of what the stream shows."""

from __future__ import annotations

from farm.books.base import BookSync
from farm.entities import BookUpdate
from farm.types import BookVerdict, Nanoseconds

__all__ = ["WholeBookSync"]


class WholeBookSync(BookSync):
    """Binance ``@depth5``, ``@depth10``, ``@depth20``.

    Nothing can be missed within a message, and nothing proves that a message was not (the ids of
    the futures' are those of the book, not of the messages): *unverifiable*.
    """

    def _snapshot(self, update: BookUpdate) -> None:
        self._levels.replace(update.bid_levels, update.ask_levels)
        self.verdict = BookVerdict.UNVERIFIABLE
        self._took(update)

    def lost(self, time: Nanoseconds) -> None:  # noqa: ARG002
        """Stale until the next message, which is whole."""
        self._stale()

    def _ask(self, time: Nanoseconds) -> None:
        """Nothing is asked for: the next message comes by itself."""

    def _forget(self) -> None:
        """Nothing is gathered."""

    def _diff(self, update: BookUpdate) -> None:
        raise ValueError(f"a diff on {update.symbol}'s stream of whole books")

"""What a fake Bybit knows of its market: books, tickers, and answers that the source brought."""

from __future__ import annotations

from collections.abc import Collection

from farm.testing.names import topic_symbol
from farm.testing.source import Push
from farm.testing.venue_book import TopicBook, TopicTicker

__all__ = ["BybitMarket"]

_FULL = "orderbook.full."
_FULL_REPLY = "/full_orderbook?symbol="


class BybitMarket:
    """The state of each topic that starts with a snapshot. ``replies``: by resource and query.

    ``empty_books``: a book of which the source told nothing is empty, not unknown.
    """

    def __init__(self, *, empty_books: bool) -> None:
        self.replies: dict[str, str] = {}
        self._empty_books = empty_books
        self._books: dict[str, TopicBook] = {}
        self._tickers: dict[str, TopicTicker] = {}

    def take(self, push: Push) -> None:
        """Takes note of a push."""
        if push.stream.startswith("orderbook."):
            self._book(push.stream).take(push.text)
        elif push.stream.startswith("tickers."):
            self._tickers.setdefault(push.stream, TopicTicker()).take(push.text)
        elif push.stream.startswith(_FULL_REPLY):
            symbol = push.stream.removeprefix(_FULL_REPLY)
            self._book(f"{_FULL}{symbol}").take_reply(push.text)
        elif push.stream.startswith("/"):
            self.replies[push.stream] = push.text

    def snapshot(self, topic: str, now_ms: int) -> str | None:
        """What a new subscriber of a topic gets first; None for nothing."""
        if topic.startswith("tickers."):
            ticker = self._tickers.get(topic)
            return None if ticker is None else ticker.snapshot()
        if not topic.startswith("orderbook.") or topic.startswith(_FULL):
            return None
        book = self._books.get(topic)
        if book is not None and book.update_id is not None:
            return book.snapshot()
        return _empty(topic, now_ms) if self._empty_books else None

    def full_book(self, symbol: str, now_ms: int) -> str | None:
        """The ``result`` of a request for a full book, None where it isn't known."""
        book = self._books.get(f"{_FULL}{symbol}")
        if book is not None and book.update_id is not None:
            return book.reply()
        if not self._empty_books:
            return None
        return f'{{{_EMPTY.format(symbol=symbol)},"ts":{now_ms},"cts":{now_ms}}}'

    def symbols(self) -> Collection[str]:
        """Those that the source has told of books of."""
        return {topic_symbol(topic) for topic in self._books}

    def _book(self, topic: str) -> TopicBook:
        return self._books.setdefault(topic, TopicBook())


_EMPTY = '"s":"{symbol}","b":[],"a":[],"u":2,"seq":1'


def _empty(topic: str, now_ms: int) -> str:
    data = _EMPTY.format(symbol=topic_symbol(topic))
    return f'{{"topic":"{topic}","type":"snapshot","ts":{now_ms},"data":{{{data}}},"cts":{now_ms}}}'

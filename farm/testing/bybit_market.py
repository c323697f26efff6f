"""What a fake Bybit knows of its market: books, tickers, and answers that the source brought."""

from __future__ import annotations

import json
import re
from collections.abc import Collection

import attrs

from farm.testing.names import topic_symbol
from farm.testing.source import Push
from farm.testing.venue_book import TopicBook, TopicTicker

__all__ = ["BybitMarket", "is_book_delta"]

_UPDATE_ID = re.compile(r'"u":\s*(\d+)')
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
        self._anew: set[str] = set()
        self._before: dict[str, int] = {}

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

    def begin_anew(self) -> None:
        """The server was started again: the first who asks for a book finds its ids at 1."""
        self._anew |= self._books.keys()

    def renumbered(self, push: Push) -> Push:
        """A push with the ids that books have since the server was started again."""
        if not self._before:
            return push
        topic = push.stream
        if topic.startswith(_FULL_REPLY):
            topic = _FULL + topic.removeprefix(_FULL_REPLY)
        before, found = self._before.get(topic), _UPDATE_ID.search(push.text)
        if before is None or found is None:
            return push
        update_id = int(found[1]) - before
        if update_id < 1:  # the source begins anew by itself
            del self._before[topic]
            return push
        text = f"{push.text[: found.start(1)]}{update_id}{push.text[found.end(1) :]}"
        return attrs.evolve(push, text=text)

    def _begin(self, topic: str) -> None:
        if topic not in self._anew:
            return
        self._anew.remove(topic)
        book = self._books[topic]
        if book.update_id is not None:
            self._before[topic] = self._before.get(topic, 0) + book.update_id - 1
            book.update_id = 1

    def snapshot(self, topic: str, now_ms: int) -> str | None:
        """What a new subscriber of a topic gets first; None for nothing."""
        self._begin(topic)
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
        topic = f"{_FULL}{symbol}"
        self._begin(topic)
        book = self._books.get(topic)
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


def is_book_delta(push: Push) -> bool:
    """Whether a push changes a book, and is not the whole of it."""
    if not push.stream.startswith("orderbook."):
        return False
    kind: str = json.loads(push.text)["type"]
    return kind == "delta"

"""Mirrors: books that are kept in a shard and read in the parent.

The shard says what changed, not what it received: the sizes that the touched prices have now, or
the whole book where it was made anew. So a mirror follows no procedure of a venue's, and is what
the book was after the bundle that it came with. Where the link drops anything, the mirrors behind
it are stale until their books have been sent whole again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, Generic, TypeAlias, TypeVar

import msgspec

from farm.books.base import BookSync
from farm.books.order_book import Levels
from farm.entities import BookUpdate, Level, OrderBook
from farm.errors import LinkError
from farm.exchanges.streams import Stream
from farm.types import BookVerdict, Nanoseconds, Number, NumberMode

__all__ = ["BookNews", "Mirror", "decode_news", "encode_news", "image_of", "news_of", "stale"]

Side = list[Level[Any]]
N = TypeVar("N", float, Decimal)


class _News(msgspec.Struct, Generic[N], array_like=True):
    """What a book has become. ``whole``: bids and asks are all its levels, else those that changed;
    the horizons say how far its snapshot reached. ``lost``: nothing but that something was."""

    feed: str
    verdict: BookVerdict
    whole: bool
    update_id: int | None
    sequence: int | None
    exchange_time: Nanoseconds | None
    receive_time: Nanoseconds | None
    horizons: tuple[N | None, N | None]
    bids: list[tuple[N, N]]
    asks: list[tuple[N, N]]
    lost: bool = False


BookNews: TypeAlias = _News[Any]


def image_of(book: BookSync) -> BookNews:
    """All of a book."""
    levels = book.levels
    return _news(book, levels.bids.pairs(), levels.asks.pairs(), whole=True)


def news_of(book: BookSync, updates: Iterable[BookUpdate]) -> BookNews:
    """What these updates may have changed."""
    levels = book.levels
    bids = {level.price for update in updates for level in update.bid_levels}
    asks = {level.price for update in updates for level in update.ask_levels}
    return _news(
        book,
        [(price, levels.bids.size(price)) for price in bids],
        [(price, levels.asks.size(price)) for price in asks],
        whole=False,
    )


def stale(feed: str) -> BookNews:
    """That what follows may not adjoin what was told of this book."""
    return _nothing(feed, BookVerdict.STALE, lost=True)


def _nothing(feed: str, verdict: BookVerdict, *, lost: bool = False) -> BookNews:
    return BookNews(
        feed,
        verdict,
        whole=False,
        update_id=None,
        sequence=None,
        exchange_time=None,
        receive_time=None,
        horizons=(None, None),
        bids=[],
        asks=[],
        lost=lost,
    )


def _news(
    book: BookSync,
    bids: list[tuple[Number, Number]],
    asks: list[tuple[Number, Number]],
    *,
    whole: bool,
) -> BookNews:
    copy = book.book(0)
    return BookNews(
        book.stream.feed,
        book.verdict,
        whole,
        copy.update_id,
        copy.sequence,
        copy.exchange_time,
        copy.receive_time,
        (book.levels.bids.horizon, book.levels.asks.horizon),
        bids,
        asks,
    )


class Mirror:
    """A book of another process.

    Until it was sent whole it is *syncing*, and *stale* where that may have to happen again.
    """

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self._levels = Levels()
        self._news = _nothing(stream.feed, BookVerdict.SYNCING)
        self._stands = False

    def take(self, news: BookNews) -> None:
        """What the shard says."""
        if news.whole and _is_nothing_yet(news):
            if self._stands:
                self.lost()
            return  # what it was is still shown
        if news.whole:
            self._levels.replace(_levels(news.bids), _levels(news.asks))
            self._stands = True
        elif news.lost:
            self.lost()
            return
        elif self._stands:
            self._levels.apply(_levels(news.bids), _levels(news.asks))
        else:
            return
        self._levels.bids.horizon, self._levels.asks.horizon = news.horizons
        self._news = news

    def lost(self) -> None:
        """It can't be known what the book is now."""
        self._stands = False
        self._news.verdict = BookVerdict.STALE

    @property
    def verdict(self) -> BookVerdict:
        """What the shard said of it last."""
        return self._news.verdict

    def book(self, depth: int | None = None) -> OrderBook:
        """A copy of the book, its best `depth` levels a side, with its verdict."""
        stream, news = self.stream, self._news
        return OrderBook(
            stream.exchange,
            stream.market,
            stream.symbol,
            self._levels.bids.top(depth),
            self._levels.asks.top(depth),
            news.verdict,
            news.update_id,
            news.sequence,
            news.exchange_time,
            news.receive_time,
        )


def _is_nothing_yet(news: BookNews) -> bool:
    """Whether it is of a book that has just begun, maybe anew in another process."""
    begins = news.verdict is BookVerdict.SYNCING and news.update_id is None
    return begins and not news.bids and not news.asks


def _levels(pairs: Sequence[tuple[Any, Any]]) -> Side:
    return [Level(price, quantity) for price, quantity in pairs]


_encoder = msgspec.msgpack.Encoder()
_decoders: dict[NumberMode, msgspec.msgpack.Decoder[list[BookNews]]] = {
    NumberMode.FLOAT: msgspec.msgpack.Decoder(list[_News[float]]),
    NumberMode.DECIMAL: msgspec.msgpack.Decoder(list[_News[Decimal]]),
}


def encode_news(news: Sequence[BookNews]) -> bytes:
    """News of books as bytes; Decimals as their exact text."""
    return _encoder.encode(news)


def decode_news(data: bytes, numbers: NumberMode) -> list[BookNews]:
    """The inverse. LinkError for anything else."""
    try:
        return _decoders[numbers].decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise LinkError(f"no news of books: {error}") from error

"""The outlet: a shard's edge to its parent, and what of its events goes there at all.

Only what somebody in the parent reads is sent. Like every reader's, its queue is bounded, and what
does not fit is a gap, so that a slow parent costs the shard's connections nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias, cast

import attrs
import numpy as np
import trio

from farm.actors.hub import Filter
from farm.actors.losses import lose_bundles
from farm.actors.mailbox import Mailbox
from farm.batch import Batch, Origin
from farm.books.base import BookSync
from farm.bundle import Bundle
from farm.cluster.codec import encode_bundle
from farm.cluster.link import Frame, FrameKind, Link
from farm.cluster.messages import Reader
from farm.cluster.mirror import BookNews, encode_news, image_of, news_of, stale
from farm.entities import BookUpdate, Gap, Quote
from farm.types import BookVerdict, DataType, Exchange, Market, Symbol

__all__ = ["LINK_EDGE", "Outlet", "Parcel"]

LINK_EDGE = "shard>parent"

SEND_BYTES = 128 * 2**10
"""What waits is sent together, about so much of it in one go."""

_NEWS_BYTES = 40  # what a level weighs in the queue

_Where: TypeAlias = tuple[Exchange | None, Market | None]


@attrs.define(eq=False)
class Parcel:
    """A bundle on its way to the parent, and what its books have become by it."""

    bundle: Bundle
    books: list[BookNews] = attrs.field(factory=list)

    @property
    def nbytes(self) -> int:
        """What it weighs in a queue."""
        levels = sum(len(news.bids) + len(news.asks) for news in self.books)
        return self.bundle.nbytes + _NEWS_BYTES * levels


class Outlet:
    """Takes a shard's bundles, and sends the parent what it wants of them.

    `book_of` finds a book by its feed. ``bundles`` and ``events`` count what was sent; ``passed``,
    of the parcels that there were (``offered``), those that were sent, or were said to be lost.
    """

    def __init__(self, book_of: Callable[[str], BookSync | None], max_bytes: int) -> None:
        self.bundles = self.events = self.passed = 0
        self.mailbox: Mailbox[Parcel] = Mailbox(LINK_EDGE, lose=self._lose, max_bytes=max_bytes)
        self._lose_bundle = lose_bundles(LINK_EDGE)
        self._book_of = book_of
        self._wanted: dict[DataType, dict[_Where, set[Symbol] | None]] = {}
        self._mirrored: dict[str, dict[str, BookVerdict | None]] = defaultdict(dict)  # by line
        self._sent = trio.lowlevel.ParkingLot()
        self._has_ended = False

    # ---------------------------------------------------------------------------- what is wanted
    def read_by(self, readers: Iterable[Reader]) -> None:
        """What is read in the parent from now on."""
        self._wanted = {}
        for reader in readers:
            wanted = self._wanted.setdefault(reader.kind, {})
            where = reader.exchange, reader.market
            known = wanted.get(where, set())
            if known is None or reader.symbols is None:
                wanted[where] = None
            else:
                wanted[where] = known | set(reader.symbols)

    def mirror(self, line: str, feed: str) -> None:
        """Have a book of a line mirrored from now on, or begin its mirror anew."""
        self._mirrored[line][feed] = None
        self.refresh()

    async def leave(self, line: str) -> None:
        """A line has ended here, and goes on elsewhere: wait until all that it gave was sent, or is
        lost. Its books are no longer ours to tell of."""
        self._mirrored.pop(line, None)
        put = self.offered
        while self.passed < put and not self._has_ended:
            await self._sent.park()

    @property
    def offered(self) -> int:
        """How many parcels there were."""
        return self.mailbox.offered

    def refresh(self) -> None:
        """Tell of books that became what they are without a bundle."""
        for line, mirrored in self._mirrored.items():
            for feed, before in mirrored.items():
                book = self._book_of(feed)
                if book is not None and book.verdict is not before:
                    mirrored[feed] = book.verdict
                    stream = book.stream
                    origin = Origin(stream.exchange, stream.market, line, 0)
                    self.mailbox.put(Parcel(Bundle(origin, 0, 0), [image_of(book)]))

    # ----------------------------------------------------------------------------- what is taken
    def deliver(self, bundle: Bundle) -> None:
        """Queue what is wanted of a bundle."""
        books: list[BookNews] = []
        if self._mirrored:
            mirrored = self._mirrored.get(line_of(bundle.origin.connection))
            if mirrored:
                books = self._news(mirrored, bundle)
        batches = [part for batch in bundle.batches if (part := self._part(batch, bundle))]
        if batches or books:
            sent = Bundle(bundle.origin, bundle.serial, bundle.receive_time, batches)
            sent.nbytes = bundle.nbytes
            self.mailbox.put(Parcel(sent, books))

    def _part(self, batch: Batch[Any], bundle: Bundle) -> Batch[Any] | None:
        wanted = self._wanted.get(batch.data_type)
        if wanted is None:
            return None
        exchange, market = bundle.origin.exchange, bundle.origin.market
        symbols: set[Symbol] = set()
        for (on_exchange, on_market), some in wanted.items():
            if on_exchange in (None, exchange) and on_market in (None, market):
                if some is None:
                    return batch
                symbols |= some
        if not symbols:
            return None
        parts = Filter(frozenset({batch.kind}), frozenset(symbols)).apply(bundle)
        return parts[0] if parts else None

    def _news(self, mirrored: dict[str, BookVerdict | None], bundle: Bundle) -> list[BookNews]:
        updates: dict[tuple[Symbol, int | None], list[BookUpdate]] = defaultdict(list)
        for batch in bundle.batches:
            if batch.kind is BookUpdate:
                for update in batch.rows:
                    updates[update.symbol, update.depth].append(update)
        found = []
        for feed in self._concerned(mirrored, bundle):
            before, book = mirrored[feed], self._book_of(feed)
            if book is None:
                continue
            touched = updates.get((book.stream.symbol, book.stream.depth), ())
            made_anew = book.verdict is not before or any(u.is_snapshot for u in touched)
            if made_anew:
                found.append(image_of(book))
            elif touched:
                found.append(news_of(book, touched))
            mirrored[feed] = book.verdict
        return found

    @staticmethod
    def _concerned(mirrored: Iterable[str], bundle: Bundle) -> list[str]:
        """The feeds of those books that a bundle may have changed."""
        symbols: set[Symbol] = set()
        for batch in bundle.batches:
            if batch.kind is Gap:
                return list(mirrored)
            if batch.kind in (BookUpdate, Quote):
                symbols.update(_symbols_of(batch))
        if bundle.ended is not None or bundle.down or bundle.asked or bundle.dropped:
            return list(mirrored)
        return [feed for feed in mirrored if feed.split("/", 3)[2] in symbols] if symbols else []

    def _lose(self, loss: Parcel | None, parcel: Parcel, quarantined: bool) -> Parcel:
        """Fold a parcel into the loss; the mirrors behind it have to begin anew."""
        books = {news.feed: news for news in loss.books} if loss is not None else {}
        for news in parcel.books:
            books[news.feed] = stale(news.feed)
            for mirrored in self._mirrored.values():
                if news.feed in mirrored:
                    mirrored[news.feed] = None
        lost = self._lose_bundle(loss.bundle if loss else None, parcel.bundle, quarantined)
        return Parcel(lost, list(books.values()))

    # ------------------------------------------------------------------------------ what is sent
    async def run(self, link: Link) -> None:
        """Send until the mailbox ends."""
        try:
            await self._run(link)
        finally:
            self._has_ended = True
            self._sent.unpark_all()

    async def _run(self, link: Link) -> None:
        frames: list[Frame] = []
        size = 0
        with self.mailbox.reader("outlet") as reader:
            async for parcel in reader:
                frames += self._frames(parcel)
                size += parcel.nbytes
                if size >= SEND_BYTES or not len(self.mailbox):
                    await link.send(frames)
                    reader.acknowledge()
                    frames, size, self.passed = [], 0, self.mailbox.passed
                    self._sent.unpark_all()

    def _frames(self, parcel: Parcel) -> list[Frame]:
        bundle = parcel.bundle
        frames: list[Frame] = []
        if bundle.batches:
            frames.append((FrameKind.BUNDLE, encode_bundle(bundle)))
            self.bundles += 1
            self.events += sum(map(len, bundle.batches))
        if parcel.books:
            frames.append((FrameKind.BOOKS, encode_news(parcel.books)))
        return frames


def _symbols_of(batch: Batch[Any]) -> Iterable[Symbol]:
    if batch.has_rows:
        return (row.symbol for row in batch.rows)
    names = batch.columns["symbol"]
    assert isinstance(names, np.ndarray)
    return cast("list[Symbol]", names.tolist())


def line_of(connection: str) -> str:
    """The line that a connection, or a lane, belongs to."""
    return connection.partition("~")[0]

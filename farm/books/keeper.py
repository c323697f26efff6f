"""All books of one connection: which update and which quote belongs to which."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

import attrs

from farm.batch import Batch
from farm.books.sync import SNAPSHOT_LEVELS, BookSync, RestSync, make_sync
from farm.bundle import Bundle
from farm.entities import BookUpdate, Gap, Quote
from farm.exchanges.outages import stream_gap
from farm.exchanges.streams import Stream
from farm.types import DataType, GapCause, NumberMode, Symbol

__all__ = ["BookKeeper"]

Key: TypeAlias = tuple[Symbol, int | None]

# Causes of gaps recorded upstream that a book cannot see in its ids before more has gone wrong.
_LOST_ON_THE_WAY = {GapCause.OVERFLOW, GapCause.QUARANTINE}


class BookKeeper:
    """Keeps the books of the streams that one connection carries.

    `streams` names them; it is asked again where an unknown one turns up. `resync` is called with
    a stream whose book must start anew, and with its need: of several that wait for a snapshot by
    REST the one of the greatest comes first. `paced`: bundles say (``asked``) when such requests
    are sent, and a book buffers nothing before; False for recordings, where nobody asks.
    `snapshot_levels` is how many levels a side those snapshots are asked for.
    """

    def __init__(
        self,
        streams: Callable[[], Iterable[Stream]],
        resync: Callable[[Stream, int], None],
        numbers: NumberMode = NumberMode.FLOAT,
        *,
        paced: bool = True,
        snapshot_levels: int = SNAPSHOT_LEVELS,
    ) -> None:
        self._streams = streams
        self._resync = resync
        self._numbers = numbers
        self._paced = paced
        self._snapshot_levels = snapshot_levels
        self._books: dict[Key, BookSync] = {}
        self._checked: dict[Symbol, list[BookSync]] = {}  # those that quotes can be compared with
        self._by_feed: dict[str, BookSync] = {}
        self._unsettled: list[BookSync] = []  # those that have gaps to tell or a resync to ask for
        self.learn()

    @property
    def books(self) -> Iterable[BookSync]:
        """The books kept."""
        return self._books.values()

    def book_of(self, feed: str) -> BookSync | None:
        """The book of a feed, if it is kept here."""
        return self._by_feed.get(feed)

    def take(self, bundle: Bundle) -> Bundle:
        """Bring the books up to date, set verdicts, and add the gaps that this shows."""
        if bundle.asked:
            self._asked(bundle.asked)
        for batch in bundle.batches:
            if batch.kind is Gap:
                self._gaps(batch)
        for batch in bundle.batches:
            if batch.kind is BookUpdate:
                self._updates(batch)
            elif batch.kind is Quote and self._checked:
                self._quotes(batch)
        if bundle.ended is not None or bundle.down:
            for book in self._books.values():
                if bundle.down is None or book.stream.feed in bundle.down:
                    book.ended()
        for feed in bundle.dropped:
            self._drop(feed)
        return self._settle(bundle)

    def interrupted(self, bundle: Bundle) -> list[Gap]:
        """The keeper crashed in the middle of this bundle: no book that it is about can be trusted
        any more; the gaps that record it."""
        gaps, time = [], bundle.receive_time
        for book in self._touched(bundle):
            book.lost(time)
            self._note(book)
            gaps.append(
                stream_gap(
                    book.stream,
                    GapCause.CRASH,
                    start=time,
                    end=time,
                    receive_time=time,
                    ordinal=0,
                    edge="aggregator",
                )
            )
        return gaps

    def _touched(self, bundle: Bundle) -> list[BookSync]:
        """The books that this bundle may change."""
        feeds = {*bundle.asked, *bundle.dropped, *(bundle.down or ())}
        keys: set[Key] = set()
        quoted: set[Symbol] = set()
        for batch in bundle.batches:
            if batch.kind is Gap:
                feeds |= {gap.feed for gap in batch.rows}
            elif batch.kind is BookUpdate:
                keys |= {(update.symbol, update.depth) for update in batch.rows}
            elif batch.kind is Quote:
                quoted |= {quote.symbol for quote in batch.rows}
        all_end = bundle.ended is not None and bundle.down is None
        return [
            book
            for key, book in self._books.items()
            if all_end
            or key in keys
            or book.stream.feed in feeds
            or (key[0] in quoted and book.shares_quote_ids)
        ]

    # ----------------------------------------------------------------------------- which are kept
    def learn(self) -> None:
        """Make the books of streams that are new; of two speeds of one book the first is kept."""
        for stream in self._streams():
            key = (stream.symbol, stream.depth)
            if stream.data_type is not DataType.BOOK or key in self._books:
                continue
            book = make_sync(stream, snapshot_levels=self._snapshot_levels, paced=self._paced)
            self._books[key] = self._by_feed[stream.feed] = book
            if book.shares_quote_ids:
                self._checked.setdefault(stream.symbol, []).append(book)

    def _drop(self, feed: str) -> None:
        """Forget a book that is collected no longer; what it found missing is still told."""
        book = self._by_feed.pop(feed, None)
        if book is None:
            return
        symbol = book.stream.symbol
        del self._books[symbol, book.stream.depth]
        if book.shares_quote_ids:
            self._checked[symbol].remove(book)
            if not self._checked[symbol]:
                del self._checked[symbol]
        book.wants_resync = False

    # ------------------------------------------------------------------------------- what they take
    def _asked(self, feeds: Iterable[str]) -> None:
        for feed in feeds:
            if feed not in self._by_feed:
                self.learn()
            book = self._by_feed.get(feed)
            if isinstance(book, RestSync):
                book.asked()

    def _updates(self, batch: Batch[BookUpdate]) -> None:
        books = self._books
        for update in batch.rows:
            book = books.get((update.symbol, update.depth))
            if book is None:
                self.learn()
                book = books.get((update.symbol, update.depth))
                if book is None:  # it was under way when its stream was dropped
                    continue
            book.update(update)
            self._note(book)

    def _quotes(self, batch: Batch[Quote]) -> None:
        checked = self._checked
        for quote in batch.rows:
            for book in checked.get(quote.symbol, ()):
                book.quote(quote)
                self._note(book)

    def _gaps(self, batch: Batch[Gap]) -> None:
        for gap in batch.rows:
            if gap.cause in _LOST_ON_THE_WAY and gap.feed in self._by_feed:
                book = self._by_feed[gap.feed]
                book.lost(gap.receive_time)
                self._note(book)

    # ----------------------------------------------------------------------------- what they give
    def _note(self, book: BookSync) -> None:
        if book.wants_resync or book.gaps:
            self._unsettled.append(book)

    def _settle(self, bundle: Bundle) -> Bundle:
        """Pass on what the books ask for, and put what they found missing into the bundle."""
        found: list[Gap] = []
        for book in self._unsettled:
            if book.wants_resync:
                book.wants_resync = False
                self._resync(book.stream, book.need)
            found += book.gaps
            book.gaps = []
        self._unsettled.clear()
        return self.with_gaps(bundle, found) if found else bundle

    def with_gaps(self, bundle: Bundle, gaps: list[Gap]) -> Bundle:
        """The bundle and these gaps; the given one stays as it is, for it may be redelivered."""
        known = [gap for batch in bundle.batches if batch.kind is Gap for gap in batch.rows]
        rows = known + gaps
        for row, gap in enumerate(rows):
            gap.row = row
        batch = Batch(Gap, rows=rows, origins=[(bundle.origin, len(rows))], numbers=self._numbers)
        others = [batch for batch in bundle.batches if batch.kind is not Gap]
        return attrs.evolve(bundle, batches=[*others, batch])

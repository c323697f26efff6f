"""Keeping books: from snapshots and diffs to a book and a verdict on it.

One :class:`BookSync` keeps one book by its venue's procedure, written out in numbered steps beside
the code. It is pure: what it finds missing it leaves in ``gaps``, what it needs it says by
``wants_resync``; the caller records the one and has the other done.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque

from farm.books.order_book import Levels
from farm.books.quote_check import QuoteCheck
from farm.entities import BookUpdate, Gap, OrderBook, Quote
from farm.exchanges.outages import stream_gap
from farm.exchanges.streams import BookProcedure, Stream
from farm.types import BookVerdict, GapCause, Nanoseconds

__all__ = ["BookSync", "DiffSync", "SnapshotSync", "WholeBookSync", "make_sync"]

MAX_BUFFERED = 3_000
"""Diffs kept while a snapshot is awaited: five minutes of a 100 ms stream, some 12 MB. A snapshot
that comes later is newer than what was let go."""

RESYNC_PATIENCE = 15_000_000_000
"""Nanoseconds of received updates after which an unanswered request for a snapshot is repeated."""


class BookSync(ABC):
    """The book of one stream.

    ``verdict`` is what is known of it now. ``gaps`` and ``wants_resync`` are for the caller to
    take. ``shares_quote_ids`` says whether the venue's quotes have ids of the same space.
    Counters: ``snapshots`` and ``diffs`` seen, ``applied`` (diffs that changed the book),
    ``repeats`` (diffs older than the book, passed over), ``resyncs`` (how often a book that had
    stood was asked for anew).
    """

    shares_quote_ids = False

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.verdict = BookVerdict.SYNCING
        self.gaps: list[Gap] = []
        self.wants_resync = False
        self.check = QuoteCheck()
        self.snapshots = self.diffs = self.applied = self.repeats = self.resyncs = 0
        self._levels = Levels()
        self._update_id: int | None = None
        self._sequence: int | None = None
        self._exchange_time: Nanoseconds | None = None
        self._receive_time: Nanoseconds | None = None
        self._asked_at: Nanoseconds | None = None
        self._contradicted_at: Nanoseconds | None = None
        self._last_good: Nanoseconds | None = None

    # ---------------------------------------------------------------------------------- procedure
    @abstractmethod
    def _diff(self, update: BookUpdate) -> None:
        """Take a diff."""

    @abstractmethod
    def _snapshot(self, update: BookUpdate) -> None:
        """Take a snapshot."""

    @abstractmethod
    def _forget(self) -> None:
        """Forget what was gathered for a synchronisation under way."""

    # -------------------------------------------------------------------------------------- verbs
    def update(self, update: BookUpdate) -> None:
        """Take an update and set its verdict to what is known of the book just after it."""
        self._receive_time = update.receive_time
        if update.is_snapshot:
            self.snapshots += 1
            self._snapshot(update)
        else:
            self.diffs += 1
            self._diff(update)
        update.verdict = self.verdict

    def quote(self, quote: Quote) -> None:
        """Compare a quote of the same id space with the book, now or when the book gets there."""
        if not self.check.quote(quote):
            self._contradicted(quote.receive_time, quote.ordinal)

    def ended(self) -> None:
        """The connection is gone, and with it the chain: stale until synchronised again."""
        self._stale()

    def lost(self, time: Nanoseconds) -> None:
        """Updates may have been lost on the way here (and were recorded by who lost them)."""
        if self.verdict is not BookVerdict.SYNCING:
            self._stale()
        self._forget()
        self._ask(time)

    def book(self, depth: int | None = None) -> OrderBook:
        """A copy of the book, its best `depth` levels a side, with its verdict."""
        stream = self.stream
        return OrderBook(
            stream.exchange,
            stream.market,
            stream.symbol,
            self._levels.bids.top(depth),
            self._levels.asks.top(depth),
            self.verdict,
            self._update_id,
            self._sequence,
            self._exchange_time,
            self._receive_time,
        )

    # ------------------------------------------------------------------------------------ helpers
    def _stale(self) -> None:
        self.verdict = BookVerdict.STALE
        self._asked_at = None
        self.check.clear()
        self._forget()

    def _ask(self, time: Nanoseconds) -> None:
        """Ask for a resync, unless one was asked for and has not had its time yet."""
        if self._asked_at is None or time - self._asked_at > RESYNC_PATIENCE:
            self._asked_at = time
            self.wants_resync = True
            self.resyncs += self.verdict is not BookVerdict.SYNCING

    def _broken(self, update: BookUpdate, first_missing: int, last_missing: int) -> None:
        """The chain of ids broke before `update`: record it and go stale."""
        self._note_hole(self._last_good, update, first_missing, last_missing)
        self._stale()

    def _note_hole(
        self,
        start: Nanoseconds | None,
        update: BookUpdate,
        first_missing: int,
        last_missing: int,
    ) -> None:
        """Record that updates are missing before `update`."""
        ids = (first_missing, last_missing) if first_missing <= last_missing else None
        self.gaps.append(
            stream_gap(
                self.stream,
                GapCause.SEQUENCE_BREAK,
                start=start,
                end=update.receive_time,
                receive_time=update.receive_time,
                ordinal=update.ordinal,
                ids=ids,
            )
        )

    def _contradicted(self, time: Nanoseconds, ordinal: int) -> None:
        """The book and a quote of the same id differ, or the book is crossed: one of them lies."""
        self.gaps.append(
            stream_gap(
                self.stream,
                GapCause.CONTRADICTED,
                start=self._last_good,
                end=time,
                receive_time=time,
                ordinal=ordinal,
            )
        )
        before, self._contradicted_at = self._contradicted_at, time
        self._stale()
        self.verdict = BookVerdict.SUSPECT
        if before is not None and time - before < RESYNC_PATIENCE:
            self._asked_at = time  # a venue that contradicts itself again is not to be hammered
        self._ask(time)

    def _took(self, update: BookUpdate) -> None:
        """The book now stands at `update`: check it against itself and against quotes."""
        self._update_id = update.last_id
        self._sequence = update.sequence
        if update.exchange_time is not None:
            self._exchange_time = update.exchange_time
        bid, ask = self._levels.bids.best(), self._levels.asks.best()
        crossed = bid is not None and ask is not None and bid[0] >= ask[0]
        agrees = not self.shares_quote_ids or self.check.book(update.last_id, bid, ask)
        if crossed or not agrees:
            self._contradicted(update.receive_time, update.ordinal)
        else:
            self._last_good = update.receive_time


class DiffSync(BookSync):
    """Binance spot: diffs by the stream, the snapshot by REST.

    Source: github.com/binance/binance-spot-api-docs, ``web-socket-streams.md``, "How to manage a
    local order book correctly" (as corrected on 2025-11-12).

    1. Open the stream and buffer its diffs; note ``U`` of the first.
    2. Get a snapshot by REST.
    3. If its ``lastUpdateId`` is below that ``U`` (less one: then the two still join), it is too
       old: get another.
    4. Drop buffered diffs with ``u <= lastUpdateId``; the next must have
       ``U <= lastUpdateId + 1 <= u``.
    5. The book is the snapshot; apply the buffered diffs, then each as it comes:
       ``u <= local`` is old, ``U > local + 1`` is a gap: start again at 2, buffering.
    """

    shares_quote_ids = True

    def __init__(self, stream: Stream) -> None:
        super().__init__(stream)
        self._synced = False
        self._buffer: deque[BookUpdate] = deque()
        self._newest: BookUpdate | None = None  # of the diffs that came, in the book or not
        self._newest_id = -1  # its last id, remembered through losses

    def ended(self) -> None:
        super().ended()
        self._newest = None
        self._newest_id = -1

    def lost(self, time: Nanoseconds) -> None:
        super().lost(time)
        self._newest = None

    def _forget(self) -> None:
        self._synced = False
        self._buffer.clear()

    def _diff(self, update: BookUpdate) -> None:
        before, known = self._newest, len(self.gaps)
        if before is None or update.last_id > before.last_id:
            self._newest = update
            self._newest_id = update.last_id
        self._advance(update)
        if before is not None and update.first_id > before.last_id + 1 and len(self.gaps) == known:
            # A snapshot covers the hole, so the book is whole; the record of diffs is not.
            self._note_hole(before.receive_time, update, before.last_id + 1, update.first_id - 1)

    def _advance(self, update: BookUpdate) -> None:
        if self._synced:
            self._step(update)  # step 5
        if not self._synced:
            self._gather(update)

    def _gather(self, update: BookUpdate) -> None:
        """Steps 1 and 2; a break within the buffer starts it anew."""
        buffer = self._buffer
        if buffer and update.last_id <= buffer[-1].last_id:
            self.repeats += 1
            return
        if buffer and update.first_id > buffer[-1].last_id + 1:
            self._broken(update, buffer[-1].last_id + 1, update.first_id - 1)
        if len(buffer) >= MAX_BUFFERED:
            buffer.popleft()  # published already; only the snapshot must be newer now
        buffer.append(update)
        self._ask(update.receive_time)

    def _snapshot(self, update: BookUpdate) -> None:
        if self._synced:
            return  # an answer to a question asked twice
        buffer = self._buffer
        # Step 3; where nothing is buffered yet, all diffs that came must be in the snapshot.
        needed = buffer[0].first_id - 1 if buffer else self._newest_id
        if update.last_id < needed:
            self._asked_at = None
            self._ask(update.receive_time)
            return
        self._asked_at = None
        self._levels.replace(update.bid_levels, update.ask_levels)
        self._synced = True
        self.verdict = BookVerdict.VERIFIED
        pending, self._buffer = buffer, deque()
        self._took(update)
        for diff in pending:  # steps 4 and 5; gathered again, if a quote contradicts the book
            self._advance(diff)

    def _step(self, update: BookUpdate) -> None:
        local = self._update_id
        assert local is not None
        if update.last_id <= local:
            self.repeats += 1
        elif update.first_id > local + 1:
            self._broken(update, local + 1, update.first_id - 1)
        else:
            self._levels.apply(update.bid_levels, update.ask_levels)
            self.applied += 1
            self._took(update)


class SnapshotSync(BookSync):
    """Bybit: snapshot and deltas by the stream.

    Source: github.com/bybit-exchange/docs, ``v5/websocket/public/orderbook.mdx``; that ``u`` steps
    by one is measured, not promised (2,142 of 2,142 deltas), so it is a check here.

    1. On a snapshot, at any time, replace the whole book.
    2. ``u = 1`` is a restart of the service: the message replaces the book, whatever its type
       (the parser marks it as a snapshot).
    3. On a delta ``u`` must be one more than the last; ``seq`` must not fall. An old ``u`` under
       a new ``seq`` is no repeat: the service restarted, and its ``u = 1`` was missed.
    4. On a break subscribe the topic again and wait for its snapshot.
    """

    def __init__(self, stream: Stream) -> None:
        super().__init__(stream)
        self._synced = False

    def _forget(self) -> None:
        self._synced = False

    def _snapshot(self, update: BookUpdate) -> None:
        self._levels.replace(update.bid_levels, update.ask_levels)
        self._synced = True
        self._asked_at = None
        self.verdict = BookVerdict.VERIFIED
        self._took(update)

    def _diff(self, update: BookUpdate) -> None:
        if not self._synced:
            if self._asked_at is None:  # the snapshot is on its way: a topic begins with one
                self._asked_at = update.receive_time
            self._ask(update.receive_time)
            return
        last = self._update_id
        assert last is not None
        falls = (
            self._sequence is not None
            and update.sequence is not None
            and update.sequence < self._sequence
        )
        if update.last_id == last + 1 and not falls:
            self._levels.apply(update.bid_levels, update.ask_levels)
            self.applied += 1
            self._took(update)
        elif update.last_id <= last and update.sequence == self._sequence:
            self.repeats += 1
        else:
            self._broken(update, last + 1, update.last_id - 1)
            self._ask(update.receive_time)


class WholeBookSync(BookSync):
    """Partial books: each message is the whole of what the stream shows, so nothing can be missed
    within it and nothing proves that a message was not: *unverifiable*."""

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


_PROCEDURES: dict[BookProcedure, type[BookSync]] = {
    BookProcedure.SNAPSHOT_BY_REST: DiffSync,
    BookProcedure.SNAPSHOT_IN_STREAM: SnapshotSync,
    BookProcedure.WHOLE_EVERY_TIME: WholeBookSync,
}


def make_sync(stream: Stream) -> BookSync:
    """The keeper of a book stream's book."""
    assert stream.procedure is not None, f"{stream.feed} is no book"
    return _PROCEDURES[stream.procedure](stream)

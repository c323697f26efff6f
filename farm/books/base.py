"""One book: its levels, its verdict, and what every procedure does with them.

It is pure: what it finds missing it leaves in ``gaps``, what it needs it says by ``wants_resync``;
the caller records the one and has the other done.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from farm.books.order_book import Levels
from farm.books.quote_check import QuoteCheck
from farm.entities import BookUpdate, Gap, OrderBook, Quote
from farm.exchanges.outages import stream_gap
from farm.exchanges.streams import Stream
from farm.types import BookVerdict, GapCause, Nanoseconds

__all__ = ["RESYNC_PATIENCE", "STOOD", "BookSync"]

RESYNC_PATIENCE = 15_000_000_000
"""Nanoseconds of received updates after which an unanswered request for a snapshot is repeated."""

STOOD = 2**32
"""What it adds to the need of a book that it had stood: more than diffs can."""


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
        self._stood = False  # it has been verified, so somebody may rely on it
        self._diffs_when_whole = 0
        self._heeds_quotes = True
        self._blind = False  # the top lies beyond what the snapshot showed
        self._renews = False  # a new snapshot is wanted, while what is here goes on

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
        if self._heeds_quotes and not self.check.quote(quote) and not self._blind:
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

    def moved(self) -> None:
        """It is kept by another process now: what was asked for has to be asked for anew."""
        self._asked_at = None

    @property
    def need(self) -> int:
        """How urgently it wants its snapshot: more comes first. A book that had stood goes before
        one that never did; then the one that was changed more often since it was last whole."""
        return STOOD * self._stood + self.diffs - self._diffs_when_whole

    @property
    def levels(self) -> Levels:
        """Its levels as they stand, not to be changed."""
        return self._levels

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
    def _stands(self) -> None:
        self.verdict = BookVerdict.VERIFIED
        self._stood = True

    def _falls(self, verdict: BookVerdict) -> None:
        """The book is whole no longer: what it was is still shown, under `verdict`."""
        if self.verdict is BookVerdict.VERIFIED:
            self._diffs_when_whole = self.diffs
        self.verdict = verdict
        self._asked_at = None
        self.check.clear()
        self._forget()

    def _stale(self) -> None:
        self._falls(BookVerdict.STALE)

    def _ask(self, time: Nanoseconds) -> None:
        """Ask for a resync, unless one was asked for and has not had its time yet."""
        if self._asked_at is None or time - self._asked_at > RESYNC_PATIENCE:
            self._asked_at = time
            self.wants_resync = True
            self.resyncs += self._stood

    def _note_hole(
        self,
        start: Nanoseconds | None,
        update: BookUpdate,
        first_missing: int = 0,
        last_missing: int = -1,
    ) -> None:
        """Record that updates are missing before `update`; which, if their ids tell."""
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
        self._falls(BookVerdict.SUSPECT)
        if before is not None and time - before < RESYNC_PATIENCE:
            self._asked_at = time  # a venue that contradicts itself again is not to be hammered
        self._ask(time)

    def _took(self, update: BookUpdate, *, compares: bool = True) -> None:
        """The book now stands at `update`: check it against itself, and `compares` with quotes."""
        self._update_id = update.last_id
        self._sequence = update.sequence
        if update.exchange_time is not None:
            self._exchange_time = update.exchange_time
        levels = self._levels
        bid, ask = levels.bids.best(), levels.asks.best()
        crossed = bid is not None and ask is not None and bid[0] >= ask[0]
        compares = compares and self.shares_quote_ids
        agrees = not compares or self.check.book(update.last_id, bid, ask)
        bid_horizon, ask_horizon = levels.bids.horizon, levels.asks.horizon
        knows = (bid_horizon is None or (bid is not None and bid[0] >= bid_horizon)) and (
            ask_horizon is None or (ask is not None and ask[0] <= ask_horizon)
        )
        if crossed or (knows and not agrees):
            self._contradicted(update.receive_time, update.ordinal)
            return
        self._last_good = update.receive_time
        if knows is self._blind:
            self._see(knows)

    def _see(self, knows: bool) -> None:
        """The top left what the snapshot showed, or came back to it.

        Nothing was lost, and each diff goes into the book. But beyond the snapshot only levels that
        changed since are known, so a better one than the best here may stand between them.
        """
        self._blind = not knows
        if knows:
            self._stands()
        else:
            self._diffs_when_whole = self.diffs
            self._renews = True
            self.verdict = BookVerdict.SYNCING

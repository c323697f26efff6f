"""Books of which the stream sends changes alone: they begin with a snapshot by REST.

What the procedures of several venues share, whose ids differ: buffering, joining, the record of
holes. A procedure says by ids how a diff follows another and how it joins a snapshot.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import deque

from farm.books.base import RESYNC_PATIENCE, BookSync
from farm.entities import BookUpdate
from farm.exchanges.streams import Stream
from farm.types import BookVerdict, Nanoseconds

__all__ = ["MAX_BUFFERED", "RestSync"]

MAX_BUFFERED = 3_000
"""Diffs kept while a snapshot is awaited: five minutes of a 100 ms stream, some 12 MB. A snapshot
that comes later is newer than what was let go."""


class RestSync(BookSync):
    """The book of one stream, joined from a snapshot by REST and the diffs around it.

    With `paced` nothing is buffered until :meth:`asked` says that the request was sent: thousands
    of books may have to wait their turn, and what a snapshot contains needs no buffering. Of the
    diffs before only the newest is remembered, since no snapshot may be older than that.

    Three states: *gathering* diffs until a snapshot joins; *ahead*, where the snapshot was taken
    and the stream has yet to reach it; *joined*, where each diff follows the one before.
    A book may also outgrow its snapshot: its top moved beyond the worst price there. Then it goes
    on, and diffs are gathered besides until a new snapshot joins.

    ``ids_may_fall`` says whether the venue's ids may go back. Then a stream behind the snapshot
    may never reach it, and the book is not called verified before it has.
    """

    ids_may_fall = True

    def __init__(self, stream: Stream, *, snapshot_levels: int, paced: bool) -> None:
        super().__init__(stream)
        self._snapshot_levels = snapshot_levels
        self._paced = paced
        self._gathers = self._heeds_quotes = not paced  # diffs for a snapshot that is to come
        self._buffer: deque[BookUpdate] = deque()
        self._synced = False  # the levels are a snapshot's and what followed it
        self._ahead: BookUpdate | None = None  # that snapshot, until the stream has reached it
        self._newest: BookUpdate | None = None  # of the diffs that came, in the book or not
        self._lost_after: BookUpdate | None = None  # what is missing after this one is on record

    # ------------------------------------------------------------------------------ the ids' rules
    @abstractmethod
    def _before(self, update: BookUpdate) -> int:
        """The id that the book must have reached for this diff to follow."""

    @abstractmethod
    def _follows(self, update: BookUpdate, last: BookUpdate) -> bool:
        """Whether nothing is missing between two diffs."""

    @abstractmethod
    def _is_repeat(self, update: BookUpdate, newest: BookUpdate) -> bool:
        """Whether a diff that does not follow the newest one came before."""

    @abstractmethod
    def _is_old(self, update: BookUpdate, snapshot: BookUpdate) -> bool:
        """Whether a snapshot contains a diff, which is to be dropped then."""

    @abstractmethod
    def _joins(self, update: BookUpdate, snapshot: BookUpdate) -> bool:
        """Whether a diff that is not old may be the first on top of a snapshot."""

    def _is_at(self, update: BookUpdate, snapshot: BookUpdate) -> bool:
        """Whether a snapshot shows the book just after this diff."""
        return update.last_id == snapshot.last_id

    # -------------------------------------------------------------------------------------- verbs
    def asked(self) -> None:
        """From here on what comes may have to be joined to the answer.

        So may the newest of what came: a venue's REST side may lag behind its stream a little.
        """
        if not self._synced or self._renews:
            self._gathers = self._heeds_quotes = True
            if self._newest is not None and not self._buffer:
                self._buffer.append(self._newest)

    def ended(self) -> None:
        self._gathers = not self._paced
        super().ended()
        self._newest = None

    def lost(self, time: Nanoseconds) -> None:
        super().lost(time)
        self._lost_after = self._newest

    def _forget(self) -> None:
        self._synced = False
        self._ahead = None
        self._blind = self._renews = False
        self._buffer.clear()
        self._heeds_quotes = self._gathers
        if not self._gathers:
            self.check.forget_quotes()

    # ---------------------------------------------------------------------------------- procedure
    def _diff(self, update: BookUpdate) -> None:
        newest = self._newest
        if newest is not None and not self._follows(update, newest):
            if self._is_repeat(update, newest):
                self.repeats += 1
                return
            self._breaks(update, newest)
        self._newest = update
        self._advance(update)

    def _advance(self, update: BookUpdate) -> None:
        if self._synced:
            self._step(update)
        if not self._synced or self._renews:
            self._gather(update)

    def _breaks(self, update: BookUpdate, newest: BookUpdate) -> None:
        """Diffs are missing before `update`, or the ids went back.

        That is put on record even where a snapshot covers it: the book is whole then, and the
        record of diffs is not.
        """
        joined = self._synced and self._ahead is None
        if newest is not self._lost_after:
            start = self._last_good if joined else newest.receive_time
            self._note_hole(start, update, newest.last_id + 1, self._before(update))
        if update.last_id <= newest.last_id:
            self.check.forget_quotes()  # they are of ids that come no more
        if joined:
            self._stale()
        elif self._buffer:  # a request is under way, and its answer may join what follows
            self._buffer.clear()
            self.verdict = BookVerdict.STALE

    def _gather(self, update: BookUpdate) -> None:
        if self._gathers:
            if len(self._buffer) >= MAX_BUFFERED:
                self._buffer.popleft()  # published already; only the snapshot must be newer now
            self._buffer.append(update)
        self._ask(update.receive_time)

    def _step(self, update: BookUpdate) -> None:
        """A diff on top of the book; it is known to follow the one before it, if there was one."""
        if self._ahead is None or self._reaches(update, self._ahead):
            self._levels.apply(update.bid_levels, update.ask_levels)
            self.applied += 1
            self._took(update)

    def _reaches(self, update: BookUpdate, snapshot: BookUpdate) -> bool:
        """Bring the stream nearer to the snapshot; whether this diff is the first on top of it."""
        if self._is_at(update, snapshot):
            self.repeats += 1
            self._joined()
            self._took(update)
            return False
        if self._is_old(update, snapshot):
            self.repeats += 1
            if self.ids_may_fall:
                self.verdict = BookVerdict.SYNCING
            if update.receive_time - snapshot.receive_time > RESYNC_PATIENCE:
                self._renews = True  # the two may be of different times of the venue
            return False
        if not self._joins(update, snapshot):
            self._stale()  # the snapshot is older than what the stream began with
            return False
        self._joined()
        return True

    def _joined(self) -> None:
        self._ahead = None
        self._stands()
        if self._renews:
            self._renews = False
            self._gathers = not self._paced
            self._buffer.clear()

    def _snapshot(self, update: BookUpdate) -> None:
        if self._synced and not self._renews:
            return  # an answer to a question asked twice
        newest = self._newest
        first = next((diff for diff in self._buffer if not self._is_old(diff, update)), None)
        reached = newest is not None and self._is_at(newest, update)
        if first is not None:
            fits = self._joins(first, update)
        else:
            fits = newest is None or reached or self._is_old(newest, update)
        self._asked_at = None
        if not fits:
            self._ask(update.receive_time)  # too old: at once another
            return
        self._levels.replace(update.bid_levels, update.ask_levels, self._snapshot_levels)
        self._synced = self._heeds_quotes = True
        self._blind = self._renews = False
        self._ahead = update
        if first is not None or reached or newest is None or not self.ids_may_fall:
            self._stands()
        else:
            self.verdict = BookVerdict.SYNCING
        pending, self._buffer = self._buffer, deque()
        if reached:  # and the snapshot contains all of them
            self._ahead = None
            self.repeats += len(pending)
            pending.clear()
        # Between the ids of two diffs the stream shows no book that a quote could be held against.
        self._took(update, compares=reached)
        for diff in pending:  # gathered again, if one of them contradicts the book
            self._advance(diff)
        if self._synced and not self._renews:
            self._gathers = not self._paced

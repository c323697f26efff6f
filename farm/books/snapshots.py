"""Bybit's other books: snapshot and deltas by the stream."""

from __future__ import annotations

from farm.books.base import BookSync
from farm.entities import BookUpdate
from farm.exchanges.streams import Stream
from farm.types import Nanoseconds

__all__ = ["SnapshotSync"]


class SnapshotSync(BookSync):
    """Bybit ``orderbook.{25,50,100,200,1000}``.

    Source: github.com/bybit-exchange/docs, ``v5/websocket/public/orderbook.mdx``; that ``u`` steps
    by one is measured, not promised (2,142 of 2,142 deltas), so it is a check here.

    1. On a snapshot, at any time, replace the whole book.
    2. ``u = 1`` is a restart of the service: the message replaces the book, whatever its type
       (the parser marks it as a snapshot).
    3. On a delta ``u`` must be one more than the last; ``seq`` must not fall. An old ``u`` under
       a new ``seq`` is no repeat: the service restarted, and its ``u = 1`` was missed.
    4. On a break subscribe the topic again and wait for its snapshot. What the venue would have
       sent between the two subscriptions is missing, and nothing tells how much that is.
    """

    def __init__(self, stream: Stream) -> None:
        super().__init__(stream)
        self._synced = False
        self._hole_since: Nanoseconds | None = None  # when a book that stood was given up

    def _forget(self) -> None:
        self._synced = False

    def _ask(self, time: Nanoseconds) -> None:
        super()._ask(time)
        if self.wants_resync and self._stood and self._hole_since is None:
            self._hole_since = time

    def _snapshot(self, update: BookUpdate) -> None:
        if self._hole_since is not None:
            self._note_hole(self._hole_since, update)
            self._hole_since = None
        self._levels.replace(update.bid_levels, update.ask_levels)
        self._synced = True
        self._asked_at = None
        self._stands()
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
            self._note_hole(self._last_good, update, last + 1, update.last_id - 1)
            self._stale()
            self._ask(update.receive_time)

"""Binance: diffs by the stream, the snapshot by REST.

Spot and futures differ in how a diff follows another and how it joins a snapshot; that is all.
``U`` and ``u`` are the first and last id of a diff, ``pu`` the last of the diff before it,
``lastUpdateId`` the snapshot's.
"""

from __future__ import annotations

from farm.books.by_rest import RestSync
from farm.entities import BookUpdate

__all__ = ["FuturesDiffSync", "SpotDiffSync"]


class SpotDiffSync(RestSync):
    """Binance spot: ids step by one, so ``U`` says what a diff follows.

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
    ids_may_fall = False

    def _before(self, update: BookUpdate) -> int:
        return update.first_id - 1

    def _follows(self, update: BookUpdate, last: BookUpdate) -> bool:
        return update.first_id <= last.last_id + 1 and update.last_id > last.last_id

    def _is_repeat(self, update: BookUpdate, newest: BookUpdate) -> bool:
        return update.last_id <= newest.last_id

    def _is_old(self, update: BookUpdate, snapshot: BookUpdate) -> bool:
        return update.last_id <= snapshot.last_id

    def _joins(self, update: BookUpdate, snapshot: BookUpdate) -> bool:
        return update.first_id <= snapshot.last_id + 1


class FuturesDiffSync(RestSync):
    """Binance USD-M and COIN-M: ids skip, so each diff names the one before it by ``pu``.

    Source: developers.binance.com, "How to manage a local order book correctly" of USD-M and of
    COIN-M. That a first diff may join by ``pu`` alone is said by github.com/tardis-dev/tardis-node
    and dev.binance.vision topic 4072: on quiet symbols the documented test never succeeds.

    1. Open the stream and buffer its diffs.
    2. Get a snapshot by REST.
    3. Drop buffered diffs with ``u < lastUpdateId``. (One with ``u == lastUpdateId`` changes
       nothing, and proves that the stream has reached the snapshot.)
    4. The next must have ``U <= lastUpdateId <= u``, or ``pu == lastUpdateId``. Between ``pu`` and
       ``U`` this book has no ids, so both together say ``pu <= lastUpdateId <= u``. If ``pu`` is
       above it, the snapshot is too old: get another.
    5. The book is the snapshot; apply the buffered diffs, then each as it comes: ``pu`` must be
       ``u`` of the one before, else there is a gap: start again at 2, buffering. Where ids went
       back (the venue restarted), it shows as that too.
    """

    shares_quote_ids = True

    def _before(self, update: BookUpdate) -> int:
        assert update.previous_id is not None
        return update.previous_id

    def _follows(self, update: BookUpdate, last: BookUpdate) -> bool:
        return update.previous_id == last.last_id

    def _is_repeat(self, update: BookUpdate, newest: BookUpdate) -> bool:
        """Only what was surely here before: other old ids may be those of a restart."""
        if update.last_id == newest.last_id:
            return update.previous_id == newest.previous_id
        return update.last_id < newest.last_id and (
            self.check.has_stood_at(update.last_id)
            or any(update.last_id == diff.last_id for diff in self._buffer)
        )

    def _is_old(self, update: BookUpdate, snapshot: BookUpdate) -> bool:
        return update.last_id < snapshot.last_id

    def _joins(self, update: BookUpdate, snapshot: BookUpdate) -> bool:
        return self._before(update) <= snapshot.last_id

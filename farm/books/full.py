"""Bybit's full book: deltas by the stream, the snapshot by REST."""

from __future__ import annotations

from farm.books.by_rest import RestSync
from farm.entities import BookUpdate
from farm.types import BookVerdict

__all__ = ["FullSync"]


class FullSync(RestSync):
    """Bybit ``orderbook.full``.

    Source: github.com/bybit-exchange/docs, ``v5/websocket/public/full-ob.mdx``, "Full Order Book
    Synchronization Procedure". ``u`` steps by one and starts over at 1, ``seq`` rises for ever but
    not by one; snapshots have both.

    1. Subscribe and buffer the deltas. Where ``u`` does not step by one, clear the buffer and
       begin again; a delta whose ``seq`` falls is to be discarded.
    2. Get a snapshot by REST.
    3. If its ``seq`` is below that of the first buffered delta, it is too old: get another.
       (Unless ``u`` of that delta is one more than the snapshot's: then the two still join.)
    4. Discard buffered deltas with a ``seq`` below the snapshot's. If ``seq`` is equal and ``u``
       is not, get another snapshot.
    5. Where both are equal the stream has reached the snapshot: the book is the snapshot; apply
       the buffered deltas after it, then each as it comes. ``u`` must be one more than the last,
       else there is a gap: start again at 2, buffering. An old ``u`` under a new ``seq`` is no
       repeat: the book was reset, and its ``u = 1`` was missed.
    6. ``u = 1`` resets the book: get a snapshot. With empty sides the symbol was delisted, is in
       an auction or changes its tick size: the book is empty, and so may the snapshot be. An empty
       one is no book: ask again when deltas come.

    Deltas have ``is_snapshot`` False whatever their ``u``: only what REST gave is a snapshot.
    """

    def _diff(self, update: BookUpdate) -> None:
        newest = self._newest
        if update.last_id == 1 and (newest is None or _sequence(update) > _sequence(newest)):
            self._reset(update)
        super()._diff(update)

    def _reset(self, update: BookUpdate) -> None:
        self._falls(BookVerdict.STALE if self._stood else BookVerdict.SYNCING)
        self._newest = None  # announced by the venue: nothing is known to be missing
        if not update.bid_levels and not update.ask_levels:
            self._levels.replace((), ())

    def _snapshot(self, update: BookUpdate) -> None:
        if update.bid_levels or update.ask_levels:
            super()._snapshot(update)
            return
        if not self._synced:
            self._levels.replace((), ())
        self._asked_at = update.receive_time

    # ------------------------------------------------------------------------------ the ids' rules
    def _before(self, update: BookUpdate) -> int:
        return update.last_id - 1

    def _follows(self, update: BookUpdate, last: BookUpdate) -> bool:
        return update.last_id == last.last_id + 1 and _sequence(update) >= _sequence(last)

    def _is_repeat(self, update: BookUpdate, newest: BookUpdate) -> bool:
        sequence, newest_sequence = _sequence(update), _sequence(newest)
        return sequence < newest_sequence or (
            sequence == newest_sequence and update.last_id <= newest.last_id
        )

    def _is_old(self, update: BookUpdate, snapshot: BookUpdate) -> bool:
        return _sequence(update) < _sequence(snapshot)

    def _joins(self, update: BookUpdate, snapshot: BookUpdate) -> bool:
        if _sequence(update) == _sequence(snapshot):
            return update.last_id == snapshot.last_id
        return update.last_id == snapshot.last_id + 1

    def _is_at(self, update: BookUpdate, snapshot: BookUpdate) -> bool:
        return update.last_id == snapshot.last_id and _sequence(update) == _sequence(snapshot)


def _sequence(update: BookUpdate) -> int:
    assert update.sequence is not None
    return update.sequence

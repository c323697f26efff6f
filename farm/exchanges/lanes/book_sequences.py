"""Diffs of books: steps as other ids are, with snapshots between them.

Binance's snapshots come by REST and are of no lane: they always pass. Bybit's come in the stream,
where a lane's subscription begins; while the chain goes on on another lane they are copies of what
passed. Bybit's ids start over when its service restarts, ``sequence`` never does: what is older by
it than what passed is stale.
"""

from __future__ import annotations

from farm.batch import Origin
from farm.entities import BookUpdate
from farm.exchanges.lanes.coverage import Coverage, Lane
from farm.exchanges.lanes.identity import Rule
from farm.exchanges.lanes.sequences import Sequence, Waiting
from farm.exchanges.lanes.tracks import ALIVE, Kept, Verdict, is_echo
from farm.types import Nanoseconds

__all__ = ["Diffs", "Steps"]


class Diffs(Sequence):
    """Binance's diffs."""

    def take(self, row: BookUpdate, lane: Lane, origin: Origin) -> Verdict:
        return True if row.is_snapshot else super().take(row, lane, origin)


class Steps(Sequence):
    """Bybit's deltas, and the snapshots in their stream; `by_rest`: those are of no lane.

    ``wants_snapshot``: the next snapshot passes, whatever its id: the book behind asked for one, or
    a hole was passed on, after which it will.
    """

    def __init__(self, rule: Rule, feed: str, coverage: Coverage, *, by_rest: bool) -> None:
        super().__init__(rule, feed, coverage)
        self.wants_snapshot = False
        self._by_rest = by_rest
        self._mark = -1  # of what passed last: its sequence; its id, where it has none

    def take(self, row: BookUpdate, lane: Lane, origin: Origin) -> Verdict:
        if row.is_snapshot and self._by_rest:
            return True
        last = row.last_id
        mark = last if row.sequence is None else row.sequence
        goes_back = self._move(row, lane, last, mark)
        known = self.last
        if row.is_snapshot:
            return self._snapshot(_waiting(row, lane, origin, mark))
        if known is not None and (mark < self._mark or last <= known):
            # Ids below under a higher sequence: the service restarted, and its 1 was missed.
            if mark > self._mark or (goes_back and self._counts_anew(row)):
                return self._start_over(_waiting(row, lane, origin, mark))
            return False
        if known is None or last > known + 1:
            return self._ahead(_waiting(row, lane, origin, mark))
        self._mark = mark
        self._advance(row, last)
        if self._waiting:
            return [Kept(row, lane, origin), *self.settle(row.receive_time)]
        return True

    def gone(self, lane: Lane, time: Nanoseconds) -> None:
        super().gone(lane, time)
        if self.last is not None:
            return
        for entry in [e for e in self._waiting if e.is_snapshot and e.lane is not lane]:
            if time >= entry.since + ALIVE:  # see `is_echo`
                self._waiting.remove(entry)
                entry.lane.held -= 1
                entry.lane.copies += 1

    # ---------------------------------------------------------------------------------- snapshots
    def _snapshot(self, entry: Waiting) -> Verdict:
        known = self.last
        others = [o for o in self._coverage.carriers(self.feed) if o is not entry.lane]
        if self.wants_snapshot or not others:
            return self._start_over(entry)
        if known is None:  # the state that a subscription began with, which may have passed
            return self._ahead(entry)
        if entry.row.sequence is None and entry.last == 1:
            is_restart = known != 1  # all that can be told without a sequence
        elif entry.last > known and entry.mark >= self._mark:
            return self._ahead(entry)
        else:
            is_restart = entry.mark > self._mark
        return self._start_over(entry) if is_restart else False

    def _start_over(self, entry: Waiting) -> Verdict:
        """It replaces what was, and older ones that waited can't pass after it."""
        passing: list[Kept] = []
        for older in [e for e in self._waiting if e.mark < entry.mark]:
            self._waiting.remove(older)
            older.lane.held -= 1
            if self._is_copy(older):
                older.lane.copies += 1
            else:
                self._pass(older)
                passing.append(older)
        self._pass(entry)
        self.wants_snapshot |= not entry.is_snapshot
        return [*passing, entry, *self.settle(entry.row.receive_time)]

    # ------------------------------------------------------------------------------- what differs
    def _is_overdue(self, entry: Waiting, now: Nanoseconds) -> bool:
        if self.last is None and entry.is_snapshot:
            # A state that nothing followed tells nothing about the lane that it waits for.
            return any(
                super(Steps, self)._is_overdue(other, now)
                for other in self._waiting
                if not other.is_snapshot
            )
        return super()._is_overdue(entry, now)

    def _follows(self, entry: Waiting) -> bool:
        if entry.is_snapshot:
            return self.wants_snapshot
        return super()._follows(entry)

    def _is_copy(self, entry: Waiting) -> bool:
        if entry.is_snapshot:
            if self.last is None:
                return is_echo(entry, self._coverage, self.feed)
            if self.wants_snapshot:
                return False
        return super()._is_copy(entry)

    def _pass(self, entry: Waiting) -> None:
        leaves_hole = self.last is not None and entry.last > self.last + 1
        self.wants_snapshot = not entry.is_snapshot and (self.wants_snapshot or leaves_hole)
        self._mark = entry.mark
        self._advance(entry.row, entry.last)

    def _move(self, row: BookUpdate, lane: Lane, last: int, mark: int) -> bool:
        """Note how far the lane is; whether it does not come there from ids before."""
        position = self._positions.get(lane)
        if position is None:
            self._begins(row, lane, last, last, mark)
            return True
        before = position.last
        if last > before + 1 and not row.is_snapshot:
            self._jumped(lane, before, last)
        position.last, position.time = last, row.receive_time
        position.mark = max(position.mark, mark)
        return last <= before


def _waiting(row: BookUpdate, lane: Lane, origin: Origin, mark: int) -> Waiting:
    return Waiting(row, lane, origin, row.last_id, row.last_id, mark, mark, row.is_snapshot)

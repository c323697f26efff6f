"""Feeds whose ids step: an event passes if it follows the last one, whoever brings it.

An event that is ahead of that shows that its lane lost something. It waits until another lane has
brought what is between, or no lane can any more; then the hole is real, and is found and recorded
by what stands behind the lanes (trade continuity, the books).
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from operator import attrgetter
from typing import Any

import attrs

from farm.batch import Origin
from farm.exchanges.lanes.coverage import FOREVER, Coverage, Lane
from farm.exchanges.lanes.identity import Rule
from farm.exchanges.lanes.tracks import PATIENCE, Kept, Track, Verdict
from farm.types import Nanoseconds

__all__ = ["MAX_WAITING", "Position", "Sequence", "Waiting"]

MAX_WAITING = 10_000
"""Events of a feed that wait; of more the first pass, and leave their hole."""

MAX_RECENT = 512
"""Events that are remembered to tell how many of them a lane has jumped over."""

MAX_HOLES = 100
"""Holes that are remembered, so that an event which comes after all is not taken for a copy."""

RESET_AFTER: Nanoseconds = 60_000_000_000
"""What comes so long after the last new event is no copy: the venue counts anew (test networks are
reset every month)."""


@attrs.frozen(eq=False)
class Waiting(Kept):
    """An event that is ahead: the ids that it covers, the mark that it has, and the mark of a lane
    that can bring nothing of what is before it."""

    first: int
    last: int
    mark: int
    needs: int
    is_snapshot: bool = False


_ORDER = attrgetter("last", "is_snapshot")


@attrs.define(eq=False)
class Position:
    """How far a lane is on one feed: the last id and mark that it brought, and when; ``first`` is
    the id that it began with."""

    first: int
    last: int
    mark: int
    time: Nanoseconds


class Sequence(Track):
    """What has passed of trades, of aggregate trades, and of Binance's diffs, whose snapshots by
    REST are of no lane and always pass. ``last`` is the last id that passed."""

    def __init__(self, rule: Rule, feed: str, coverage: Coverage) -> None:
        super().__init__(feed, coverage)
        assert rule.span is not None
        self.last: int | None = None
        self._span = rule.span
        self._late = rule.late
        self._passed_at: Nanoseconds = 0  # when the last event passed, by its receive time
        self._waiting: list[Waiting] = []  # by their last id
        self._positions: dict[Lane, Position] = {}
        self._recent: deque[int] = deque(maxlen=MAX_RECENT)
        self._jumps: list[tuple[Lane, int, int]] = []  # over what may still pass: both ends
        self._holes: deque[tuple[int, int]] = deque(maxlen=MAX_HOLES)

    @property
    def waits(self) -> bool:
        return bool(self._waiting)

    # -------------------------------------------------------------------------------------- verbs
    def take(self, row: Any, lane: Lane, origin: Origin) -> Verdict:
        first, last = self._span(row)
        position = self._positions.get(lane)
        before = -1
        if position is None:
            self._begins(row, lane, first, last, last)
        else:
            before = position.last
            if first > before + 1:
                self._jumped(lane, before, first)
            if last > before:
                position.last = position.mark = last
            position.time = row.receive_time
        known = self.last
        if known is None or first > known + 1:
            return self._ahead(Waiting(row, lane, origin, first, last, last, first))
        if last <= known:
            goes_back = before < 0 or last <= before
            return self._is_no_copy(row, first, last, goes_back=goes_back)
        self._advance(row, last)
        if self._waiting:
            return [Kept(row, lane, origin), *self.settle(row.receive_time)]
        return True

    def gone(self, lane: Lane, time: Nanoseconds) -> None:  # noqa: ARG002
        self._positions.pop(lane, None)

    def settle(self, now: Nanoseconds) -> list[Kept]:
        waiting, passing, done = self._waiting, list[Kept](), 0
        for entry in waiting:
            if self._is_copy(entry):
                entry.lane.copies += 1
            elif self._follows(entry) or not self._must_wait(entry, now, len(waiting) - done):
                self._pass(entry)
                passing.append(entry)
            else:
                break
            entry.lane.held -= 1
            done += 1
        del waiting[:done]
        return passing

    def covers(self, new: Lane, old: Lane) -> bool:
        """Whether what `old` may still bring is sure to come on `new`."""
        if any(entry.lane is new and not entry.is_snapshot for entry in self._waiting):
            return False
        began, ends = self._positions.get(new), self._positions.get(old)
        if ends is None:
            return True
        if began is None:
            # Quiet, or acknowledged and never sent: what goes on on the one must on the other.
            return ends.time < new.up.get(self.feed, FOREVER) + PATIENCE
        return self.last is None or began.first <= self.last + 1

    # --------------------------------------------------------------------------- what must wait
    def _ahead(self, entry: Waiting) -> Verdict:
        """It does not follow: it waits, unless nobody can bring what is between."""
        lane, waiting = entry.lane, self._waiting
        if self.last is None and not self._coverage.elders(lane, self.feed):
            self._pass(entry)
            return [entry, *self.settle(entry.row.receive_time)]
        at = bisect_left(waiting, _ORDER(entry), key=_ORDER)
        is_copy = at < len(waiting) and _ORDER(waiting[at]) == _ORDER(entry)
        if not is_copy:
            waiting.insert(at, entry)
            lane.held += 1
        passing = self.settle(entry.row.receive_time)  # where its lane was the one waited for
        if not passing:
            return False if is_copy else None
        lane.copies += is_copy
        return passing

    def _must_wait(self, entry: Waiting, now: Nanoseconds, waiting: int) -> bool:
        """Whether a lane may still bring what lies before `entry`, and there is time for it."""
        if waiting > MAX_WAITING or self._is_overdue(entry, now):
            return False
        if self.last is None:
            return bool(self._coverage.elders(entry.lane, self.feed))
        positions = self._positions
        return any(
            lane not in positions or positions[lane].mark < entry.needs
            for lane in self._coverage.carriers(self.feed)
        )

    def _is_overdue(self, entry: Waiting, now: Nanoseconds) -> bool:
        return now - entry.since >= PATIENCE

    def _follows(self, entry: Waiting) -> bool:
        return self.last is not None and entry.first <= self.last + 1

    def _is_copy(self, entry: Waiting) -> bool:
        return self.last is not None and entry.last <= self.last

    def _is_no_copy(self, row: Any, first: int, last: int, *, goes_back: bool) -> bool:
        """Whether an event that is not ahead is new all the same; `goes_back`: its lane does not
        come to it from ids before."""
        if goes_back and self._counts_anew(row):
            self._advance(row, last)
            return True
        return self._late and self._fills_hole(first, last)

    def _counts_anew(self, row: Any) -> bool:
        return bool(row.receive_time > self._passed_at + RESET_AFTER)

    # -------------------------------------------------------------------------------- what passes
    def _pass(self, entry: Waiting) -> None:
        if self.last is not None and entry.first > self.last + 1:
            self._holes.append((self.last + 1, entry.first - 1))
        self._advance(entry.row, entry.last)

    def _advance(self, row: Any, last: int) -> None:
        self.last = last
        self._passed_at = row.receive_time
        self._recent.append(last)
        if self._jumps:
            self._count_jumps(last)

    def _fills_hole(self, first: int, last: int) -> bool:
        """Whether others were let by before this came."""
        for hole in self._holes:
            low, high = hole
            if low <= first and last <= high:
                self._holes.remove(hole)
                parts = ((low, first - 1), (last + 1, high))
                self._holes.extend(part for part in parts if part[0] <= part[1])
                return True
        return False

    # -------------------------------------------------------------------------------------- lanes
    def _begins(self, row: Any, lane: Lane, first: int, last: int, mark: int) -> None:
        lane.goes_up(self.feed, row.receive_time)  # it delivers, whatever was said of it
        self._positions[lane] = Position(first, last, mark, row.receive_time)

    def _jumped(self, lane: Lane, last: int, first: int) -> None:
        """The lane went on from `last` to `first`: it misses what passed or will pass between."""
        lane.misses += sum(last < number < first for number in self._recent)
        if self.last is None or self.last < first - 1:
            self._jumps.append((lane, last, first))

    def _count_jumps(self, number: int) -> None:
        for jump in list(self._jumps):
            lane, last, first = jump
            lane.misses += last < number < first
            if number >= first - 1:
                self._jumps.remove(jump)

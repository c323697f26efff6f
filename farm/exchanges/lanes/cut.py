"""Feeds whose events have nothing to tell copies by: one lane's pass, up to an instant."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from farm.batch import Origin
from farm.exchanges.lanes.coverage import Coverage, Lane
from farm.exchanges.lanes.identity import content_of
from farm.exchanges.lanes.tracks import MAX_AGE, Kept, Track, Verdict
from farm.types import Nanoseconds

__all__ = ["Cut"]

MAX_WAITING = 1_000
"""Events that a lane has and the primary one has not brought."""


class Cut(Track):
    """Passes what one lane brings, the primary; another takes over where that one ends.

    Others' events are kept until the primary has brought them: what it had not when it ended is
    passed on then. `on_cut` is told the instant.
    """

    def __init__(
        self, feed: str, coverage: Coverage, on_cut: Callable[[str, Nanoseconds], None]
    ) -> None:
        super().__init__(feed, coverage)
        self._on_cut = on_cut
        self._primary: Lane | None = None
        self._cut_at: Nanoseconds | None = None
        self._early: dict[Lane, deque[Kept]] = {}  # what the primary has not brought yet
        self._owed: dict[Lane, deque[tuple[Any, Nanoseconds]]] = {}  # what it was first with

    @property
    def waits(self) -> bool:
        return any(self._early.values())

    def take(self, row: Any, lane: Lane, origin: Origin) -> Verdict:
        kept = Kept(row, lane, origin)
        if self._settles_debt(kept):
            return False
        passing = self._take_over(lane) if self._primary is None else []
        if lane is self._primary:
            self._passes(kept)
            return [*passing, kept] if passing else True
        early = self._early.setdefault(lane, deque(maxlen=MAX_WAITING))
        lane.held += len(early) < MAX_WAITING
        early.append(kept)
        return None

    def gone(self, lane: Lane, time: Nanoseconds) -> None:
        if lane is self._primary:
            self._primary, self._cut_at = None, time or lane.time
        else:
            lane.held -= len(self._early.pop(lane, ()))
        self._owed.pop(lane, None)

    def settle(self, now: Nanoseconds) -> list[Kept]:
        if self._primary is None:
            return self._take_over(None)
        # What a primary that goes on did not bring, it missed: its own core knows of that.
        missed = min(now, self._primary.time) - MAX_AGE
        for lane, early in self._early.items():
            while early and early[0].since < missed:
                early.popleft()
                lane.held -= 1
        return []

    def _take_over(self, default: Lane | None) -> list[Kept]:
        """Make the oldest lane that carries the feed the primary one; what it has that passes."""
        lane = next(iter(self._coverage.carriers(self.feed)), default)
        if lane is None:
            return []
        self._primary = lane
        if self._cut_at is not None:
            self._on_cut(self.feed, self._cut_at)
            self._cut_at = None
        passing = list(self._early.pop(lane, ()))
        lane.held -= len(passing)
        for kept in passing:
            self._passes(kept)
        return passing

    def _passes(self, kept: Kept) -> None:
        """It passes: each other lane has brought it already, or still owes its copy; perhaps also
        one that is not known to carry the feed yet."""
        content = content_of(type(kept.row))(kept.row)
        for lane in (*self._coverage.lanes, *self._coverage.expected):
            if lane is kept.lane:
                continue
            early = self._early.get(lane, ())
            copy = next((e for e in early if content_of(type(e.row))(e.row) == content), None)
            if copy is not None:
                self._early[lane].remove(copy)
                lane.held -= 1
                lane.copies += 1
            else:
                owed = self._owed.setdefault(lane, deque(maxlen=MAX_WAITING))
                owed.append((content, kept.since))

    def _settles_debt(self, kept: Kept) -> bool:
        """Whether it is the copy of what the primary was first with."""
        owed = self._owed.get(kept.lane)
        if not owed:
            return False
        while owed and owed[0][1] < kept.since - MAX_AGE:
            owed.popleft()
        content = content_of(type(kept.row))(kept.row)
        found = next((entry for entry in owed if entry[0] == content), None)
        if found is not None:
            owed.remove(found)
        return found is not None

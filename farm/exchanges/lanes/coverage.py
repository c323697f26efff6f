"""Coverage: which lane carried which feed when, and what of an outage nobody carried.

Every lane's core records its own outages. Of such a record only that part is a loss in which no
other lane carried the feed; and where several were down at once, it is recorded once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import TypeAlias

import attrs

from farm.bundle import Bundle
from farm.entities import Gap
from farm.exchanges.outages import SHARD_EDGE, VENUE_EDGE
from farm.types import GapCause, Nanoseconds

__all__ = ["FOREVER", "Coverage", "Interval", "Lane", "outside", "overlap"]

Interval: TypeAlias = tuple[Nanoseconds, Nanoseconds]

FOREVER: Nanoseconds = 2**63 - 1

MAX_INTERVALS = 64
"""Past outages of a feed that are remembered, of each lane and of those recorded."""

_OUTAGES = (GapCause.DISCONNECT, GapCause.SILENCE, GapCause.REFUSED)


@attrs.define(eq=False)
class Lane:
    """One connection of a line.

    ``number`` counts lanes in the order in which they were added. ``up``: the feeds that it carries
    and since when; ``down``: those that it carried before, and the last instant known good;
    ``time``: when it last received anything; ``outcome``: what its last bundle gave, for the case
    that it is delivered again. ``dead``: nothing of it is processed any more. The counters are
    those of :class:`~farm.exchanges.lanes.merger.LaneShare`.
    """

    name: str
    number: int
    up: dict[str, Nanoseconds] = attrs.field(factory=dict)
    down: dict[str, Nanoseconds] = attrs.field(factory=dict)
    time: Nanoseconds = 0
    outcome: Bundle | None = None
    firsts: int = 0
    copies: int = 0
    misses: int = 0
    held: int = 0
    outages: int = 0
    dead: bool = False
    _past: dict[str, deque[Interval]] = attrs.field(factory=dict)

    def goes_up(self, feed: str, time: Nanoseconds) -> None:
        """From `time` on it carries this feed."""
        if feed not in self.up and not self.dead:
            self.up[feed] = time
            self.was_down(feed, self.down.pop(feed, 0), time)

    def goes_down(self, feed: str, time: Nanoseconds) -> None:
        """It carries this feed no longer; `time` is the last instant known good."""
        if self.up.pop(feed, None) is not None:
            self.down[feed] = time

    def was_down(self, feed: str, start: Nanoseconds, end: Nanoseconds) -> None:
        """It did not carry this feed then, as is known by now."""
        self._past.setdefault(feed, deque(maxlen=MAX_INTERVALS)).append((start, end))

    def downs(self, feed: str) -> list[Interval]:
        """When it did not carry this feed."""
        past = list(self._past.get(feed, ()))
        if feed in self.up:
            return past
        return [*past, (self.down.get(feed, 0), FOREVER)]

    def drop(self, feed: str) -> None:
        """The feed is collected no longer."""
        for known in (self.up, self.down, self._past):
            known.pop(feed, None)

    def forget_the_past(self) -> None:
        """What was before today's state can't matter any more."""
        self._past.clear()


class Coverage:
    """The lanes of one line: those that live (``lanes``, oldest first), and those let go of.
    ``expected`` are lanes of another process, which is to go on with the line."""

    def __init__(self) -> None:
        self.lanes: list[Lane] = []
        self.expected: list[Lane] = []
        self.by_name: dict[str, Lane] = {}  # also those that were let go of
        self.gone: deque[Lane] = deque(maxlen=4)
        self.orphans: dict[str, Nanoseconds] = {}  # feeds that a removed lane left to nobody
        self._recorded: dict[str, deque[Interval]] = {}
        self._crashes: set[tuple[str, Nanoseconds | None]] = set()
        self._excused: dict[str, deque[Interval]] = {}  # outages for which another lane stood in

    def add(self, lane: Lane) -> None:
        """One more lane."""
        self.lanes.append(lane)
        self.by_name[lane.name] = lane

    def carriers(self, feed: str) -> list[Lane]:
        """The lanes that carry this feed now, oldest first."""
        return [lane for lane in self.lanes if feed in lane.up]

    def elders(self, lane: Lane, feed: str) -> list[Lane]:
        """The lanes that carry this feed since before `lane` did."""
        place = lane.up.get(feed, FOREVER), lane.number
        return [other for other in self.carriers(feed) if (other.up[feed], other.number) < place]

    def goes_up(self, lane: Lane, feed: str, time: Nanoseconds) -> Interval | None:
        """The lane carries the feed; when nobody did, if that is on no record yet."""
        lane.goes_up(feed, time)
        recorded = self._recorded.get(feed)
        if recorded and recorded[-1][1] == FOREVER:
            recorded[-1] = (recorded[-1][0], time)
        since = self.orphans.pop(feed, None)
        if since is None or since >= time:  # it carried the feed before that one was let go of
            return None
        if not (lost := self._unrecorded(feed, [(since, time)])):
            return None
        self._record(feed, lost)
        return lost[0][0], lost[-1][1]

    def clip(self, lane: Lane, gap: Gap) -> list[Gap]:
        """What is left of the record of a lane's outage; other gaps stay as they are."""
        if gap.edge == SHARD_EDGE:
            return self._of_crash(gap)
        if gap.cause not in _OUTAGES or gap.edge != VENUE_EDGE:
            return [gap]
        start = 0 if gap.start_time is None else gap.start_time
        end = FOREVER if gap.end_time is None else gap.end_time
        if end < start:  # the wall clock was set back meanwhile: nothing can be compared by it
            return [gap]
        if end == FOREVER:
            lane.goes_down(gap.feed, start)
        else:
            lane.was_down(gap.feed, start, end)
        missed = self._missed(lane, gap.feed, start, end)
        lane.outages += not missed
        excused = outside([(start, end)], missed)
        if excused:
            known = self._excused.setdefault(gap.feed, deque(maxlen=MAX_INTERVALS))
            known.extend(excused)
        lost = self._unrecorded(gap.feed, missed)
        self._record(gap.feed, lost)
        return [
            gap if part == (start, end) else _bounded(gap, part, open_end=gap.end_time is None)
            for part in lost
        ]

    def _of_crash(self, gap: Gap) -> list[Gap]:
        """Every lane records what a process before it had lost: the first to be back is right."""
        crash = gap.feed, gap.start_time
        if crash in self._crashes:
            return []
        self._crashes.add(crash)
        return [gap]

    def let_go(self, lane: Lane, time: Nanoseconds) -> list[tuple[str, Interval]]:
        """The lane is retired: what it missed and nobody made up for, by feed.

        For others' outages since it last received anything it has stood in by name only: it may
        have been dead for as long, and nobody will find out any more.
        """
        self.lanes.remove(lane)
        losses: list[tuple[str, Interval]] = []
        for feed in lane.up:
            unproven = overlap(self._excused.get(feed, ()), [(lane.time, time)])
            for start, end in unproven:
                lost = self._unrecorded(feed, self._missed(lane, feed, start, end))
                self._record(feed, lost)
                losses += ((feed, part) for part in lost)
        if self.lanes:  # else its own last bundle says it, or else nothing ever will
            for feed, since in lane.down.items():
                lost = self._unrecorded(feed, self._missed(lane, feed, since, time))
                self._record(feed, lost)
                losses += ((feed, part) for part in lost)
            for feed in (*lane.up, *lane.down):
                if not self.carriers(feed):
                    self.orphans.setdefault(feed, time)
        for feed in list(lane.up):
            lane.goes_down(feed, time)
            lane.was_down(feed, lane.time, time)  # as far as anything proves
        if len(self.gone) == self.gone.maxlen:
            self._forget(self.gone[0])
        self.gone.append(lane)
        return losses

    def drop(self, lane: Lane, feed: str) -> bool:
        """The lane's feed is collected no longer; whether that is so for the whole line."""
        lane.drop(feed)
        if self.carriers(feed):
            return False
        for other in (*self.lanes, *self.gone):
            other.drop(feed)
        self._recorded.pop(feed, None)
        self._excused.pop(feed, None)
        self.orphans.pop(feed, None)
        return True

    def reset(self) -> None:
        """Forget everything but what the lanes carry now."""
        for lane in self.gone:
            self._forget(lane)
        self.gone.clear()
        self.orphans.clear()
        self._recorded.clear()
        self._excused.clear()
        for lane in self.lanes:
            lane.forget_the_past()

    def _forget(self, lane: Lane) -> None:
        if self.by_name.get(lane.name) is lane:  # a living one may have its name
            del self.by_name[lane.name]

    def _missed(
        self, lane: Lane, feed: str, start: Nanoseconds, end: Nanoseconds
    ) -> list[Interval]:
        """When in that time no other lane carried the feed either."""
        missed = [(start, end)]
        for other in (*self.lanes, *self.gone):
            if other is not lane:
                missed = overlap(missed, other.downs(feed))
        return missed

    def _unrecorded(self, feed: str, lost: list[Interval]) -> list[Interval]:
        return outside(lost, self._recorded.get(feed, ()))

    def _record(self, feed: str, lost: list[Interval]) -> None:
        if lost:
            self._recorded.setdefault(feed, deque(maxlen=MAX_INTERVALS)).extend(lost)


def _bounded(gap: Gap, part: Interval, *, open_end: bool) -> Gap:
    start, end = part
    return attrs.evolve(
        gap, start_time=start or None, end_time=None if open_end and end == FOREVER else end
    )


def _merged(intervals: Iterable[Interval]) -> list[Interval]:
    """In order, and none overlapping or touching another."""
    merged: list[Interval] = []
    for start, end in sorted(intervals):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def overlap(ones: Iterable[Interval], others: Iterable[Interval]) -> list[Interval]:
    """Where both are; an instant counts only where one of `ones` is no more than that."""
    found = []
    known = _merged(others)
    for start, end in _merged(ones):
        for low, high in known:
            first, last = max(start, low), min(end, high)
            if first < last or first == last == start == end:
                found.append((first, last))
    return found


def outside(ones: Iterable[Interval], others: Iterable[Interval]) -> list[Interval]:
    """What of `ones` is in none of `others`."""
    left = _merged(ones)
    for low, high in _merged(others):
        parts = []
        for start, end in left:
            if low <= start and end <= high:
                continue
            if high <= start or end <= low:
                parts.append((start, end))
                continue
            parts += [part for part in ((start, low), (high, end)) if part[0] < part[1]]
        left = parts
    return left

"""Lanes: several connections that carry the same streams, merged into one flow of events.

The first copy of an event passes, so what one lane loses another makes up for, and its loss is
visible in its share only. Lanes may be there for good, or for the time in which a new connection
takes over from an old one. What makes two events copies is data: see
:mod:`~farm.exchanges.lanes.identity`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable
from typing import Any

import attrs

from farm.bundle import Bundle
from farm.entities import Gap
from farm.exchanges.lanes.book_sequences import Steps
from farm.exchanges.lanes.coverage import Coverage, Interval, Lane
from farm.exchanges.lanes.draft import Draft, rows_by_kind
from farm.exchanges.lanes.identity import key_of
from farm.exchanges.lanes.sequences import Sequence
from farm.exchanges.lanes.track_table import TrackTable
from farm.exchanges.lanes.tracks import Kept, Track
from farm.exchanges.outages import stream_gap
from farm.exchanges.streams import Stream
from farm.types import GapCause, Nanoseconds, NumberMode

__all__ = ["LaneMerger", "LaneShare"]

LINGER: Nanoseconds = 10_000_000_000
"""How long after a lane was let go of the last one's copies of its events may still come."""

MAX_CUTS = 100

_LOST_ON_THE_WAY = (GapCause.OVERFLOW, GapCause.QUARANTINE)


@attrs.frozen
class LaneShare:
    """What one lane contributed while there were several.

    ``firsts``: its events that passed; ``copies``: those that another had brought before;
    ``held``: those that wait now; ``outages``: records of its own outages that were not passed on
    because others made up for them. ``misses``: events that passed and which it jumped over while
    it carried their feed. Only ids that step can tell that, so it counts contiguous kinds alone,
    and of very long jumps the end.
    """

    firsts: int = 0
    copies: int = 0
    misses: int = 0
    held: int = 0
    outages: int = 0


class LaneMerger:
    """Merges the lanes of one line. A lane is named by its connection (``origin.connection``).

    `streams` names what the line carries; it is asked again where an unknown feed turns up. While
    there is one lane its bundles are passed on as they are.
    """

    def __init__(
        self,
        streams: Callable[[], Iterable[Stream]],
        numbers: NumberMode = NumberMode.FLOAT,
    ) -> None:
        self.cuts: deque[tuple[str, Nanoseconds]] = deque(maxlen=MAX_CUTS)
        self._streams = streams
        self._numbers = numbers
        self._coverage = Coverage()
        self._tracks = TrackTable(streams, self._coverage, self._on_cut)
        self._solo: Lane | None = None  # the only lane, of which nothing is to be compared
        self._added = 0
        self._now: Nanoseconds = 0  # the latest receive time
        self._linger_until: Nanoseconds = 0
        self._holding: set[Track] = set()
        self._backlog: list[Kept] = []  # passes with the next bundle

    @property
    def lanes(self) -> list[str]:
        """The lanes that there are, oldest first."""
        return [lane.name for lane in self._coverage.lanes]

    # -------------------------------------------------------------------------------------- lanes
    def add(self, lane: str) -> None:
        """One more lane, to be named before it connects; ValueError for one that there is."""
        lanes = self._coverage.lanes
        if lane in self.lanes:
            raise ValueError(f"there is a lane {lane!r} already")
        self._added += 1
        if lanes:
            self._solo = None
        else:
            self._tracks.clear()
            self._coverage.reset()
        self._coverage.add(Lane(lane, self._added))
        if len(lanes) == 1 and not self._backlog:
            self._solo = lanes[0]

    def remove(self, lane: str, time: Nanoseconds) -> list[Gap]:
        """This lane is let go of; gaps for what it missed and no other lane made up for. KeyError
        for one that there is not. Its last bundle may be taken before or after this."""
        leaving = next((known for known in self._coverage.lanes if known.name == lane), None)
        if leaving is None:
            raise KeyError(lane)
        self._solo = None
        losses = self._coverage.let_go(leaving, time)
        self._linger_until = max(self._now, time) + LINGER
        self._backlog += self._leaves(leaving, self._tracks.all())
        return self._gaps(losses, time)

    def bury(self, lane: str) -> frozenset[str]:
        """What this lane receives is not processed any more, so it carries nothing; the feeds that
        nobody carries now."""
        dead = self._coverage.by_name[lane]
        feeds = list(dead.up)
        dead.dead = True
        for feed in feeds:
            dead.goes_down(feed, dead.time)
        tracks = [track for feed in feeds for track in self._tracks.of(feed)]
        self._backlog += self._leaves(dead, tracks)
        return frozenset(feed for feed in feeds if not self._coverage.carriers(feed))

    def covers(self, new: str, old: str) -> bool:
        """Whether everything that `old` carries is carried by `new`, so that `old` can be let go
        of without a loss."""
        by_name = self._coverage.by_name
        taking, leaving = by_name.get(new), by_name.get(old)
        if taking is None or leaving is None or not leaving.up.keys() <= taking.up.keys():
            return False
        tracks = (track for feed in leaving.up for track in self._tracks.of(feed))
        return all(track.covers(taking, leaving) for track in tracks if isinstance(track, Sequence))

    def expect_lanes(self, names: Iterable[str]) -> None:
        """These lanes of another process are to go on with the line: from now on it is kept track
        of what passes, so that their copies of it can be told. None: nobody is any more."""
        expected = self._coverage.expected
        expected.clear()
        for name in names:
            self._added += 1
            expected.append(Lane(name, self._added))
        if expected:
            self._solo = None

    def take_in(self, names: Iterable[str]) -> None:
        """These are the lanes with which this process goes on, whether they were expected or not;
        those of the process before stay until they are removed."""
        expected = {lane.name: lane for lane in self._coverage.expected}
        self._coverage.expected.clear()
        for name in names:
            lane = expected.get(name)
            if lane is None:
                self.add(name)
            else:
                self._coverage.add(lane)

    def forget_deliveries(self) -> None:
        """No bundle that was taken will be delivered again."""
        for lane in self._coverage.by_name.values():
            lane.outcome = None

    def expect_snapshot(self, feed: str) -> None:
        """The book of this feed was asked to start anew: the next snapshot in its stream passes,
        though it may be older than what another lane has brought."""
        for track in self._tracks.of(feed):
            if isinstance(track, Steps):
                track.wants_snapshot = True

    def shares(self) -> dict[str, LaneShare]:
        """What each lane contributed so far."""
        return {
            lane.name: LaneShare(lane.firsts, lane.copies, lane.misses, lane.held, lane.outages)
            for lane in self._coverage.lanes
        }

    # ------------------------------------------------------------------------------------ bundles
    def take(self, bundle: Bundle) -> Bundle:
        """What of a bundle passes, and what it lets pass of others'; a bundle that is delivered
        again gives what it gave the first time."""
        lane = self._solo
        if lane is None:
            return self._merge(bundle)
        if lane.outcome is not None:  # of the time when there were several
            if lane.outcome.serial == bundle.serial and bundle.origin.connection == lane.name:
                return lane.outcome
            lane.outcome = None
        if bundle.up or bundle.ended is not None or bundle.down or bundle.dropped:
            self._note(lane, bundle)
        if bundle.heard:
            lane.time = bundle.receive_time
        return bundle

    def _note(self, lane: Lane, bundle: Bundle) -> None:
        """What the bundle tells of its lane."""
        for feed in bundle.up:
            lane.goes_up(feed, bundle.receive_time)
        for feed in _down(lane, bundle):
            lane.goes_down(feed, lane.time)
        for feed in bundle.dropped:
            lane.drop(feed)

    def _merge(self, bundle: Bundle) -> Bundle:
        lane = self._coverage.by_name.get(bundle.origin.connection)
        if lane is None:
            return bundle  # of nobody that is known
        if lane.outcome is not None and lane.outcome.serial == bundle.serial:
            return lane.outcome
        self._now = max(self._now, bundle.receive_time)
        if bundle.batches:
            self._numbers = bundle.batches[0].numbers
        draft = Draft(bundle, self._numbers)
        draft.add(self._backlog)
        if bundle.up:
            self._goes_up(lane, bundle, draft)
        if bundle.heard:
            lane.time = bundle.receive_time
        for kind, rows in rows_by_kind(bundle):
            if kind is Gap:
                self._take_gaps(rows, lane, draft)
            else:
                self._rows(kind, rows, lane, draft)
        down = self._goes_down(lane, bundle, draft)
        dropped = bundle.dropped
        if dropped:
            dropped = tuple(feed for feed in dropped if self._drop(lane, feed, draft))
        if self._holding:
            draft.add(self._settle(self._holding))
        outcome = lane.outcome = draft.finish(down, dropped)
        self._backlog = []
        self._rest()
        return outcome

    # --------------------------------------------------------------------------------- what is in
    def _take_gaps(self, gaps: Iterable[Gap], lane: Lane, draft: Draft) -> None:
        for gap in gaps:
            draft.gaps += self._coverage.clip(lane, gap)
            if gap.cause in _LOST_ON_THE_WAY:
                self.expect_snapshot(gap.feed)  # its book can't be what it was

    def _rows(self, kind: type[Any], rows: Iterable[Any], lane: Lane, draft: Draft) -> None:
        """Take rows of one kind: each goes on, or waits, or is a copy."""
        find, key_of_row = self._tracks.of_kind(kind).get, key_of(kind)
        passing, origin = draft.part(kind).rows, draft.origin
        firsts = copies = 0
        for row in rows:
            track = find(key_of_row(row))
            if track is None:
                track = self._tracks.make(row)
            verdict = track.take(row, lane, origin)
            if verdict is True:
                passing.append(row)
                firsts += 1
            elif verdict is False:
                copies += 1
            elif verdict is None:
                self._holding.add(track)
            else:
                draft.add(verdict)
        lane.firsts += firsts
        lane.copies += copies

    def _goes_up(self, lane: Lane, bundle: Bundle, draft: Draft) -> None:
        time = bundle.receive_time
        for feed in bundle.up:
            lost = self._coverage.goes_up(lane, feed, time)
            if lost is not None:
                draft.gaps += self._gaps([(feed, lost)], time)

    def _goes_down(self, lane: Lane, bundle: Bundle, draft: Draft) -> frozenset[str] | None:
        """The feeds that nobody carries any more, of those that the lane carries no longer; None
        for none, and at the end of the only lane for all."""
        feeds, coverage = _down(lane, bundle), self._coverage
        if feeds:
            for feed in feeds:
                lane.goes_down(feed, lane.time)
            tracks = [track for feed in feeds for track in self._tracks.of(feed)]
            draft.add(self._leaves(lane, tracks))
        if not feeds or (bundle.ended is not None and len(coverage.lanes) == 1):
            return None
        return frozenset(feed for feed in feeds if not coverage.carriers(feed))

    def _drop(self, lane: Lane, feed: str, draft: Draft) -> bool:
        """A feed is collected no longer on this lane; whether that is so for all of them."""
        everywhere = self._coverage.drop(lane, feed)
        tracks = self._tracks.of(feed)
        draft.add(self._leaves(lane, tracks))
        if everywhere:
            self._holding.difference_update(tracks)
            self._tracks.drop(feed)
        return everywhere

    def _leaves(self, lane: Lane, tracks: Iterable[Track]) -> list[Kept]:
        """A lane carries these no longer; what waited for it and passes now."""
        for track in tracks:
            track.gone(lane, lane.down.get(track.feed, 0))
        return self._settle(tracks)

    def _settle(self, tracks: Iterable[Track]) -> list[Kept]:
        """What these kept back and passes now."""
        passing: list[Kept] = []
        for track in list(tracks):
            passing += track.settle(self._now)
            if not track.waits:
                self._holding.discard(track)
        return passing

    # ------------------------------------------------------------------------------------ helpers
    def _rest(self) -> None:
        """Where one lane is left and can bring no copy any more, nothing is compared."""
        coverage, is_settled = self._coverage, self._now >= self._linger_until
        lanes, awaits = coverage.lanes, coverage.orphans or coverage.expected
        if len(lanes) == 1 and is_settled and not (self._holding or awaits):
            self._tracks.clear()
            coverage.reset()
            self._solo = lanes[0]

    def _gaps(self, losses: Iterable[tuple[str, Interval]], time: Nanoseconds) -> list[Gap]:
        streams = {feed: stream for stream in self._streams() for feed in stream.feeds}
        return [
            stream_gap(
                streams[feed],
                GapCause.DISCONNECT,
                start=part[0] or None,
                end=part[1],
                receive_time=time,
                ordinal=0,
                feed=feed,
            )
            for feed, part in losses
            if feed in streams
        ]

    def _on_cut(self, feed: str, time: Nanoseconds) -> None:
        self.cuts.append((feed, time))


def _down(lane: Lane, bundle: Bundle) -> Collection[str]:
    """The feeds that its lane carries no longer: those found dead, or all with its connection."""
    if bundle.ended is not None:
        return list(lane.up)
    return bundle.down or ()

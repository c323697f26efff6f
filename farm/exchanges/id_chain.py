"""The chain of ids of one feed of trades: what adjoins, what is missing, what an outage cost."""

from __future__ import annotations

from collections import deque
from typing import Any

import attrs

from farm.entities import AggTrade, Gap, SpentIds
from farm.exchanges.outages import stream_gap
from farm.exchanges.streams import Proof, Scope, Stream
from farm.types import Completeness, GapCause, GapUnit, Nanoseconds

__all__ = ["ContinuityCounts", "IdChain", "starts_over"]

_BY_IDS = (Proof.TRADE_IDS, Proof.AGG_IDS)
_SETTLED_BY_IDS = (GapCause.DISCONNECT, GapCause.SILENCE)

START_OVER = 1_000
"""What is lower by more than so many ids, and later, was counted anew; else it is a repeat, though
the engine's clock may have been set back in between."""

MAX_HOLES = 100
"""Holes of a feed that are remembered, to tell an id that comes late from one that repeats."""


@attrs.frozen
class ContinuityCounts:
    """What the ids of one feed proved so far.

    ``checked``: events whose ids stand in the chain; ``missing``: ids recorded as missing;
    ``spent``: ids that the venue used up without an event; ``repeats``: events that had been seen;
    ``late``: events that came after they were recorded as missing; ``unadjoined``: aggregate
    trades whose fills do not adjoin those before, though their own ids do; ``disproved``: outages
    in which nothing was lost, and which were not passed on; ``open``: gaps passed on without ids
    of which the ids have not shown (yet) that nothing was lost.
    """

    proof: Proof
    checked: int = 0
    missing: int = 0
    spent: int = 0
    repeats: int = 0
    late: int = 0
    unadjoined: int = 0
    disproved: int = 0
    open: int = 0

    @property
    def completeness(self) -> Completeness:
        """What may be said of the events so far."""
        if self.proof not in _BY_IDS or not (self.checked or self.spent):
            return Completeness.UNKNOWN
        if self.missing or self.open:
            return Completeness.INCOMPLETE
        return Completeness.COMPLETE


class IdChain:
    """The ids of one feed.

    ``expected`` is the id that can only come next, or -1 where the next event needs a closer look:
    it is the first, or a gap waits for what it shows. Then ``next_id`` is what would adjoin.
    ``latest`` is the last event in the chain, or whatever else has its exchange and receive time.

    A lower id with a later time of the engine is neither late nor a repeat: the venue counts anew
    (test networks are reset every month). What lay between is unknown, and the chain begins again.
    """

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.proven = stream.proof in _BY_IDS and stream.scope is Scope.SYMBOL
        self.expected = -1
        self.next_id: int | None = None
        self.next_trade: int | None = None  # of aggregate trades: the fill that would adjoin
        self.latest: Any = None
        self.held: Gap | None = None
        self.missing = self.spent = self.repeats = self.late = 0
        self.unadjoined = self.disproved = 0
        self._first_id = 0
        self._began: Nanoseconds = 0  # when the first event of the chain came
        self._checked_before = 0  # in the chains before this one
        self._holes: deque[tuple[int, int]] = deque(maxlen=MAX_HOLES)
        self._unsettled = 0  # gaps passed on since the last event, on which the next has a say
        self._open = 0  # and those on which no id can have

    def step(self, first: int, last: int, row: Any) -> Gap | None:
        """Take an event, or ids spent without one; the gap that it shows, if any."""
        awaited = self.expected if self.expected >= 0 else self.next_id
        if awaited is None:
            self._first_id = awaited = first
            self._began = row.receive_time
        if last < awaited:
            if self.latest is None or not starts_over(awaited, self.latest, last, row):
                self._seen(last)
                return None
            return self._begin_anew(first, last, row)
        gap = self._hole(awaited, first - 1, row) if first > awaited else None
        if type(row) is SpentIds:
            self.spent += last - max(first, awaited) + 1
        elif type(row) is AggTrade:
            adjoins = self.next_trade in (None, row.first_trade_id)
            self.unadjoined += gap is None and not adjoins
            self.next_trade = row.last_trade_id + 1
        if gap is None and self.held is not None:
            self.disproved += 1
        self.held = None
        self._unsettled = 0
        self.expected = last + 1
        self.latest = row
        return gap

    def take_gap(self, gap: Gap, *, may_hold: bool) -> bool:
        """Take a gap without ids; whether it is held back until ids settle it."""
        if self.expected < 0 and self.next_id is None:
            self._open += 1
            return False
        if gap.end_time is not None and gap.end_time <= self.latest.receive_time:
            return self._take_past(gap)
        self._look_closer()
        if gap.cause not in _SETTLED_BY_IDS or not may_hold:
            self._unsettled += 1
            return False
        if self.held is None:
            self.held = gap
        else:
            self.held = attrs.evolve(
                self.held,
                end_time=gap.end_time,
                receive_time=gap.receive_time,
                ordinal=gap.ordinal,
            )
        return True

    def _take_past(self, gap: Gap) -> bool:
        """Take a gap that is told after events which came after it: the next one has no say. Where
        the chain had begun before, its ids have shown already what was missing."""
        if gap.start_time is not None and self._began <= gap.start_time:
            self.disproved += 1
            return True
        self._open += 1
        return False

    def lose(self) -> None:
        """Events of the chain were lost on their way to the readers, which no id can show."""
        self._open += 1

    def let_go(self) -> Gap | None:
        """The gap held back, as it is: no id will settle it."""
        gap, self.held = self.held, None
        self._unsettled += gap is not None
        return gap

    def counts(self) -> ContinuityCounts:
        """What was found so far."""
        stream = self.stream
        if not self.proven:
            proof = Proof.NOTHING if stream.proof in _BY_IDS else stream.proof
            return ContinuityCounts(proof, repeats=self.repeats)
        return ContinuityCounts(
            stream.proof,
            self._checked(),
            self.missing,
            self.spent,
            self.repeats,
            self.late,
            self.unadjoined,
            self.disproved,
            self._open + self._unsettled,
        )

    def _checked(self) -> int:
        """What of the ids between the first and the last was an event."""
        awaited = self.expected if self.expected >= 0 else self.next_id
        if awaited is None:
            return 0
        return self._checked_before + awaited - self._first_id - self.missing - self.spent

    def _look_closer(self) -> None:
        if self.expected >= 0:
            self.next_id, self.expected = self.expected, -1

    def _seen(self, number: int) -> None:
        hole = self._hole_of(number)
        if hole is None:
            self.repeats += 1
            return
        self.late += 1
        self._holes.remove(hole)
        parts = (hole[0], number - 1), (number + 1, hole[1])
        self._holes.extend(part for part in parts if part[0] <= part[1])

    def _hole_of(self, number: int) -> tuple[int, int] | None:
        return next((hole for hole in self._holes if hole[0] <= number <= hole[1]), None)

    def _begin_anew(self, first: int, last: int, row: Any) -> Gap:
        gap = self.held or self._gap(row, None)
        self._checked_before = self._checked() + self.missing + self.spent
        self._holes.clear()
        self._open += 1
        self._first_id = self.next_id = first
        self._began = row.receive_time
        self.expected, self.next_trade, self.held = -1, None, None
        self.step(first, last, row)
        return gap

    def _hole(self, first: int, last: int, row: Any) -> Gap:
        """Ids are missing before `row`: the one record of it, also where an outage explains it."""
        size = last - first + 1
        self.missing += size
        self._holes.append((first, last))
        if self.held is not None:
            return attrs.evolve(
                self.held,
                first_id=first,
                last_id=last,
                size=size,
                unit=GapUnit.IDS,
                receive_time=row.receive_time,
                ordinal=row.ordinal,
            )
        return self._gap(row, (first, last))

    def _gap(self, row: Any, ids: tuple[int, int] | None) -> Gap:
        """What is missing between the last event in the chain and `row`."""
        return stream_gap(
            self.stream,
            GapCause.SEQUENCE_BREAK,
            start=None if self.latest is None else self.latest.receive_time,
            end=row.receive_time,
            receive_time=row.receive_time,
            ordinal=row.ordinal,
            ids=ids,
        )


def starts_over(known: int, latest: Any, number: int, row: Any) -> bool:
    """Whether the venue counts anew with `row`, whose id is `number`, after `latest`, whose id was
    about `known`."""
    if number >= known - START_OVER or latest.exchange_time is None or row.exchange_time is None:
        return False
    return bool(row.exchange_time > latest.exchange_time)

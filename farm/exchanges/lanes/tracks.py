"""Tracks: what of one feed has passed; for each way of telling copies a track of its own.

For each event that a lane brings a track says what becomes of it. Here are those for feeds whose
events have an identity or an age; :mod:`~farm.exchanges.lanes.sequences` has those whose ids step,
:mod:`~farm.exchanges.lanes.cut` those that have nothing. The rules are in
:mod:`~farm.exchanges.lanes.identity`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable, Hashable
from typing import Any, TypeAlias

import attrs

from farm.batch import Origin
from farm.exchanges.lanes.coverage import Coverage, Lane
from farm.exchanges.lanes.identity import Rule, content_of
from farm.types import Nanoseconds

__all__ = ["PATIENCE", "Kept", "Newest", "Track", "Unique", "Verdict", "is_echo"]

PATIENCE: Nanoseconds = 2_000_000_000
"""How long an event waits for what another lane may still bring, by receive times."""

ALIVE: Nanoseconds = 1_000_000_000
"""A lane that delivered anything so much later would have delivered what was sent before."""

MAX_SEEN = 20_000
"""Identities that are remembered of a feed."""

FEW_SEEN = 256
MAX_AGE: Nanoseconds = 60_000_000_000
"""And of more than `FEW_SEEN` only those of the last minute: no copy comes later."""

MAX_GROUPS = 8
"""Candles of a feed that may still change."""


@attrs.frozen(eq=False)
class Kept:
    """An event kept back, and where it came from."""

    row: Any
    lane: Lane
    origin: Origin

    @property
    def since(self) -> Nanoseconds:
        """When it came."""
        return int(self.row.receive_time)


Verdict: TypeAlias = bool | list[Kept] | None
"""What becomes of an event: it passes, it does not (a copy), it waits; or these pass now."""


class Track(ABC):
    """What of one feed has passed."""

    def __init__(self, feed: str, coverage: Coverage) -> None:
        self.feed = feed
        self._coverage = coverage

    @property
    def waits(self) -> bool:
        """Whether it keeps events back."""
        return False

    @abstractmethod
    def take(self, row: Any, lane: Lane, origin: Origin) -> Verdict:
        """Take an event that a lane brings."""

    def gone(self, lane: Lane, time: Nanoseconds) -> None:  # noqa: B027
        """This lane carries the feed no longer; `time` is the last instant known good, 0 where
        there was none."""

    def settle(self, now: Nanoseconds) -> list[Kept]:  # noqa: ARG002
        """What was kept back and passes now: lanes came and went, or time did."""
        return []


def is_echo(kept: Kept, coverage: Coverage, feed: str) -> bool:
    """Whether the state that a subscription began with had passed before it was kept track of:
    a lane that carried the feed before has nothing to say of it, and goes on."""
    others = (lane for lane in coverage.carriers(feed) if lane is not kept.lane)
    return any(lane.time >= kept.since + ALIVE for lane in others)


class Unique(Track):
    """Passes what was not seen, as it comes."""

    def __init__(self, rule: Rule, feed: str, coverage: Coverage) -> None:
        super().__init__(feed, coverage)
        assert rule.identity is not None
        self._identity: Callable[[Any], Any] = rule.identity
        self._numbered = rule.numbered
        self._greets = rule.greets
        self._seen: set[Hashable] = set()
        self._latest: Any = None  # of identities that rise
        self._order: deque[tuple[Hashable, Nanoseconds]] = deque()
        self._message: tuple[Origin, int] | None = None
        self._in_message: Counter[Hashable] = Counter()
        self._greeting: Kept | None = None
        self._greeted: set[Lane] = set()

    @property
    def waits(self) -> bool:
        return self._greeting is not None

    def take(self, row: Any, lane: Lane, origin: Origin) -> Verdict:
        identity = self._identity(row)
        if self._numbered:
            identity = identity, self._count(identity, (origin, row.ordinal))
        greets = self._greets and self._is_greeting(lane)
        if identity in self._seen:
            return False
        if greets:
            if self._seen and identity < self._latest:
                return False  # the state before it was kept track of
            if not self._seen and self._greeting is None:
                self._greeting = Kept(row, lane, origin)
                lane.held += 1
                return None
        self._note(identity, row.receive_time)
        return True

    def gone(self, lane: Lane, time: Nanoseconds) -> None:
        self._greeted.discard(lane)
        kept = self._greeting
        if kept is not None and kept.lane is not lane and time >= kept.since + ALIVE:
            self._is_copy(kept)

    def settle(self, now: Nanoseconds) -> list[Kept]:  # noqa: ARG002
        kept = self._greeting
        if kept is None:
            return []
        coverage, identity = self._coverage, self._identity(kept.row)
        if self._seen:  # known by now, or older than what is, or else ahead of it
            is_new = identity > self._latest
        elif is_echo(kept, coverage, self.feed):
            is_new = False
        elif any(lane is not kept.lane for lane in coverage.carriers(self.feed)):
            return []
        else:
            is_new = True
        if not is_new:
            self._is_copy(kept)
            return []
        self._greeting = None
        kept.lane.held -= 1
        self._note(identity, kept.since)
        return [kept]

    def _is_copy(self, kept: Kept) -> None:
        self._greeting = None
        kept.lane.held -= 1
        kept.lane.copies += 1

    def _is_greeting(self, lane: Lane) -> bool:
        """Whether it is the state that the subscription of a lane which is not alone began with."""
        if lane in self._greeted:
            return False
        self._greeted.add(lane)
        return bool(self._coverage.elders(lane, self.feed))

    def _count(self, identity: Hashable, message: tuple[Origin, int]) -> int:
        """How many equal ones came in this message before."""
        if message != self._message:
            self._message = message
            self._in_message.clear()
        self._in_message[identity] += 1
        return self._in_message[identity]

    def _note(self, identity: Any, time: Nanoseconds) -> None:
        order = self._order
        if self._greets and (not self._seen or identity > self._latest):
            self._latest = identity
        self._seen.add(identity)
        order.append((identity, time))
        while len(order) > FEW_SEEN and (len(order) > MAX_SEEN or order[0][1] < time - MAX_AGE):
            self._seen.discard(order.popleft()[0])


@attrs.define(eq=False)
class _Known:
    """The newest event of a group, and who brought it."""

    rank: Any
    row: Any
    lane: Lane


class Newest(Track):
    """Passes what is newer than the last that passed."""

    def __init__(self, rule: Rule, feed: str, coverage: Coverage) -> None:
        super().__init__(feed, coverage)
        assert rule.rank is not None
        self._rank = rule.rank
        self._group = rule.group
        self._restamped = rule.restamped
        self._newest: dict[Any, _Known] = {}

    def take(self, row: Any, lane: Lane, origin: Origin) -> Verdict:  # noqa: ARG002
        group = None if self._group is None else self._group(row)
        rank = self._rank(row)
        known = self._newest.get(group)
        if known is None:
            return self._begin(group, _Known(rank, row, lane))
        if rank < known.rank:
            return False
        # Of one lane two events of one rank are two events, unless they say the same.
        if (self._restamped or rank == known.rank) and (
            (rank == known.rank and lane is not known.lane) or _same(row, known.row)
        ):
            return False
        known.rank, known.row, known.lane = rank, row, lane
        return True

    def _begin(self, group: Any, known: _Known) -> bool:
        newest = self._newest
        if len(newest) >= MAX_GROUPS:
            oldest = min(newest)
            if group < oldest:
                return False
            del newest[oldest]
        newest[group] = known
        return True


def _same(row: Any, other: Any) -> bool:
    content = content_of(type(row))
    return content(row) == content(other)

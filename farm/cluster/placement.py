"""Which line runs in which shard: by load, expected at first and then learned from reports.

A *line* is the connection, or the lanes, that carry some streams of a market; a *load* is CPU
seconds a second, a share of a core. No I/O, no Trio: the pool in the parent asks, and does.

Moves end by themselves. A shard is relieved while it is above `OVERLOAD`, and no move brings one
above `ROOM`, so under constant loads no line has a reason to come back.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import attrs

from farm.cluster.rates import expected_events, expected_load
from farm.exchanges.streams import Stream

__all__ = ["Move", "Placement", "shards_for"]

OVERLOAD = 0.85
"""Share of a core above which a shard is relieved."""

SUSTAINED = 10.0
"""Seconds for which each of its reports must have said so."""

ROOM = 0.6
"""Share of a core below which a move must leave its target."""

QUIET = 300.0
"""Seconds for which a line stays where it is after a move of it, also one that failed."""

SMOOTHING = 5.0
"""Seconds over which reports are averaged."""


def shards_for(lines: int, processes: int) -> int:
    """How many shards to run of the `processes` asked for: never more than there are lines."""
    return min(lines, processes)


@attrs.frozen
class Move:
    """One line that is to go from one shard to another."""

    line: str
    source: int
    target: int


@attrs.define(eq=False)
class _Line:
    """``shard``: None while it is nowhere. ``event_cost``: CPU seconds an event, expected.
    ``learned``: the weight of what the load was learned from, 0 while it is only expected, and
    soon 1. It is not moved before ``quiet``."""

    shard: int | None = None
    load: float = 0.0
    learned: float = 0.0
    quiet: float = -math.inf
    event_cost: float = 0.0
    _expected: float = 0.0

    def carry(self, streams: Iterable[Stream]) -> None:
        """Its load changes as the expected one does."""
        streams = list(streams)
        load, events = expected_load(streams), expected_events(streams)
        self.load = self.load * load / self._expected if self._expected else load
        self.event_cost = load / events if events else 0.0
        self._expected = load

    def learn(self, share: float, weight: float) -> None:
        """Average what was measured, and nothing else: the expected load has no part in it."""
        self.learned += weight * (1.0 - self.learned)
        self.load += weight / self.learned * (share - self.load)


@attrs.define(eq=False)
class _Shard:
    """``reported``: the time of its last report. ``hot_since``: that of the first of those, up to
    the last, that were all above `OVERLOAD`."""

    reported: float | None = None
    hot_since: float | None = None

    @property
    def is_overloaded(self) -> bool:
        if self.reported is None or self.hot_since is None:
            return False
        return self.reported - self.hot_since >= SUSTAINED


class Placement:
    """Where each line runs. LookupError, everywhere: a line or a shard that it does not know."""

    def __init__(self) -> None:
        self._shards: dict[int, _Shard] = {}
        self._lines: dict[str, _Line] = {}
        self._move: Move | None = None

    # ---------------------------------------------------------------------------------- questions
    @property
    def shards(self) -> list[int]:
        """The shards that take lines, in order."""
        return sorted(self._shards)

    @property
    def under_way(self) -> Move | None:
        """The move that has begun, until its end is told."""
        return self._move

    def lines(self, shard: int) -> list[str]:
        """The lines of a shard, heaviest first. A line under way counts with its source."""
        self._shard(shard)
        here = [(name, line.load) for name, line in self._lines.items() if line.shard == shard]
        return [name for name, _ in sorted(here, key=lambda pair: -pair[1])]

    def shard_of(self, line: str) -> int | None:
        """Where a line runs; None while it is nowhere, because its shard was removed."""
        return self._line(line).shard

    def load(self, shard: int) -> float:
        """The load of a shard: that of its lines."""
        self._shard(shard)
        return self._loads()[shard][0]

    # -------------------------------------------------------------------------- shards and lines
    def add_shard(self, shard: int) -> None:
        """A shard that takes lines from now on. ValueError: it does so already."""
        if shard in self._shards:
            raise ValueError(f"shard {shard} is there already")
        self._shards[shard] = _Shard()

    def remove_shard(self, shard: int) -> list[str]:
        """A shard that is gone or parked; its lines, heaviest first, which are then nowhere.

        What was learned of them is kept for when they are placed again. A move from it or to it
        is over.
        """
        names = self.lines(shard)
        for name in names:
            self._lines[name].shard = None
        del self._shards[shard]
        if self._move is not None and shard in (self._move.source, self._move.target):
            self._move = None
        return names

    def place(self, line: str, streams: Iterable[Stream], *, on: int | None = None) -> int:
        """Put a new line, or one that is nowhere, on a shard: `on`, or that of the least load.

        Among equals it is the one with the fewest lines, then the lowest number. LookupError: there
        is no shard. ValueError: the line is on one already.
        """
        known = self._lines.get(line)
        if known is not None and known.shard is not None:
            raise ValueError(f"line {line!r} is on shard {known.shard} already")
        if on is not None:
            self._shard(on)
        elif self._shards:
            on = _least_loaded(self._loads())
        else:
            raise LookupError(f"there is no shard for line {line!r}")
        if known is None:
            known = self._lines[line] = _Line()
        known.carry(streams)
        known.shard = on
        return on

    def carry(self, line: str, streams: Iterable[Stream]) -> None:
        """A line carries these streams from now on: some were added, or left out."""
        self._line(line).carry(streams)

    def forget(self, line: str) -> None:
        """A line that is closed. A move of it is over."""
        self._line(line)
        del self._lines[line]
        if self._move is not None and self._move.line == line:
            self._move = None

    # ------------------------------------------------------------------------------------ reports
    def note(self, shard: int, now: float, cpu: float, events: Mapping[str, float]) -> None:
        """What a shard reports: `cpu`, its share of a core since its last report, and the events a
        second of each of its lines. `now` is monotonic, in seconds.

        The CPU is shared out to the lines by their events, weighted by what those are expected to
        cost. A line that has said nothing yet keeps its expected load; so does what a first report
        tells of, for a start is no measure. Lines that are placed elsewhere (they come by a move)
        have their share and don't learn by it; unknown ones (just closed) are passed over.
        """
        place = self._shard(shard)
        if place.reported is not None and now > place.reported:
            weight = 1.0 - math.exp((place.reported - now) / SMOOTHING)
            self._share_out(shard, cpu, events, weight)
        place.reported = now
        if cpu <= OVERLOAD:
            place.hot_since = None
        elif place.hot_since is None:
            place.hot_since = now

    def _share_out(
        self, shard: int, cpu: float, events: Mapping[str, float], weight: float
    ) -> None:
        costs = {
            name: rate * self._lines[name].event_cost
            for name, rate in events.items()
            if name in self._lines
        }
        total = sum(costs.values())
        for name, cost in costs.items():
            line = self._lines[name]
            if line.shard == shard and (cost or line.learned):
                line.learn(cpu * cost / total if total else 0.0, weight)

    # -------------------------------------------------------------------------------------- moves
    def next_move(self, now: float) -> Move | None:
        """The move that relieves an overloaded shard most, if there is one; it is then under way.

        The heaviest of these shards first. None while another move is under way, and where none
        helps.
        """
        if self._move is not None:
            return None
        loads = self._loads()
        overloaded = [shard for shard, state in self._shards.items() if state.is_overloaded]
        for source in sorted(overloaded, key=lambda shard: (-loads[shard][0], shard)):
            self._move = self._relief(source, loads, now)
            if self._move is not None:
                self._lines[self._move.line].quiet = now + QUIET
                return self._move
        return None

    def begin(self, line: str, target: int, now: float) -> Move:
        """A move that somebody wants, whatever the loads are. LookupError: another one is under
        way, or the line or the shard is unknown."""
        if self._move is not None:
            raise LookupError(f"{self._move.line!r} is being moved")
        known = self._line(line)
        self._shard(target)
        if known.shard is None or known.shard == target:
            raise LookupError(f"{line!r} can't be moved from shard {known.shard} to {target}")
        known.quiet = now + QUIET
        self._move = Move(line, known.shard, target)
        return self._move

    def moved(self, now: float) -> None:
        """The move under way has come to its end: its line runs on the target."""
        move = self._end_move(now)
        self._lines[move.line].shard = move.target

    def stayed(self, now: float) -> None:
        """The move under way has failed: its line runs on the source as before."""
        self._end_move(now)

    def _end_move(self, now: float) -> Move:
        move, self._move = self._move, None
        if move is None:
            raise LookupError("no move is under way")
        self._lines[move.line].quiet = now + QUIET
        for shard in (move.source, move.target):
            self._shards[shard].hot_since = None  # what was measured before is past
        return move

    def _relief(
        self, source: int, loads: Mapping[int, tuple[float, int]], now: float
    ) -> Move | None:
        """The line whose going leaves the greater of two loads smallest, and where it would go.

        A line that is alone never goes: it would be as heavy there as here.
        """
        others = {s: loads[s] for s, state in self._shards.items() if state.hot_since is None}
        if not others:
            return None
        target = _least_loaded(others)
        there, here = others[target][0], loads[source][0]
        best, least = None, here
        for name, line in self._lines.items():
            if line.shard != source or not line.learned or now < line.quiet:
                continue
            greater = max(here - line.load, there + line.load)
            if there + line.load < ROOM and greater < least:
                best, least = name, greater
        return None if best is None else Move(best, source, target)

    # ------------------------------------------------------------------------------------- inside
    def _shard(self, shard: int) -> _Shard:
        try:
            return self._shards[shard]
        except KeyError:
            raise LookupError(f"there is no shard {shard}") from None

    def _line(self, line: str) -> _Line:
        try:
            return self._lines[line]
        except KeyError:
            raise LookupError(f"there is no line {line!r}") from None

    def _loads(self) -> dict[int, tuple[float, int]]:
        """The load and the number of lines of each shard."""
        loads = dict.fromkeys(self._shards, (0.0, 0))
        for line in self._lines.values():
            if line.shard is not None:
                load, count = loads[line.shard]
                loads[line.shard] = load + line.load, count + 1
        return loads


def _least_loaded(loads: Mapping[int, tuple[float, int]]) -> int:
    return min(loads, key=lambda shard: (loads[shard], shard))

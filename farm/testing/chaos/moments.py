"""When a wall clock that jumps showed a time: never, once, or several times."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from farm.testing.wall_clock import ClockJump
from farm.types import Nanoseconds

__all__ = ["Moments"]


@attrs.frozen
class Moments:
    """Looks back at a wall clock. ``started``: a moment of its start, in seconds on Trio's clock,
    ``showed`` what it showed then, ``jumps`` all that it made since."""

    started: float
    showed: Nanoseconds
    jumps: Sequence[ClockJump]

    def of(self, time: Nanoseconds) -> list[float]:
        """The moments at which it showed `time`; of a time that was jumped over, or never came,
        the nearest ones."""
        jumps = self.jumps
        starts = [(self.started, self.showed)]
        starts += [(jump.time, jump.before + round(jump.seconds * 1e9)) for jump in jumps]
        ends = [(jump.time, jump.before) for jump in jumps]
        found = []
        for place, (moment, showed) in enumerate(starts):
            until = ends[place][1] if place < len(ends) else None
            if showed <= time and (until is None or time <= until):
                found.append(moment + (time - showed) / 1e9)
        if found:
            return found
        return [min((*starts, *ends), key=lambda end: abs(end[1] - time))[0]]

"""How exchanges count what a client may do."""

from __future__ import annotations

import math
from collections import deque

import attrs

__all__ = ["RateWindow", "WeightWindow"]


@attrs.define(eq=False)
class RateWindow:
    """At most ``limit`` events within any ``seconds``; None is without limit."""

    limit: int | None
    seconds: float
    _times: deque[float] = attrs.field(factory=deque, init=False)

    def admit(self, now: float) -> bool:
        """Counts one event at `now`; False where it is one too many."""
        if self.limit is None:
            return True
        while self._times and self._times[0] <= now - self.seconds:
            self._times.popleft()
        if len(self._times) >= self.limit:
            return False
        self._times.append(now)
        return True


@attrs.define(eq=False)
class WeightWindow:
    """A weight budget that starts anew every ``seconds``, counted from the first request."""

    limit: int
    seconds: float = 60.0
    used: int = attrs.field(default=0, init=False)
    _ends: float = attrs.field(default=-math.inf, init=False)

    def spend(self, weight: int, now: float) -> bool:
        """Counts a request; False where it goes beyond the limit (it counts all the same)."""
        if now >= self._ends:
            self.used = 0
            self._ends = now + self.seconds
        self.used += weight
        return self.used <= self.limit

    def retry_after(self, now: float) -> int:
        """Whole seconds until the budget starts anew."""
        return max(1, math.ceil(self._ends - now))

"""How exchanges count what a client may do."""

from __future__ import annotations

import math
from collections import deque

import attrs

__all__ = ["BAN", "OK", "TOO_MANY", "RateWindow", "RequestWindow", "WeightWindow"]

OK, TOO_MANY, BAN = 200, 429, 418
"""The HTTP statuses that :meth:`WeightWindow.judge` gives."""


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
    """Binance's weight budget of one address, which starts anew every ``seconds``.

    It is counted from the first request. Who calls again before a refusal's time is over is
    banned for ``ban_seconds``. Fakes may share one, as USD-M and COIN-M do.
    """

    limit: int
    seconds: float = 60.0
    ban_seconds: float = 120.0
    used: int = attrs.field(default=0, init=False)
    _ends: float = attrs.field(default=-math.inf, init=False)
    _refused_until: float = attrs.field(default=-math.inf, init=False)
    _banned_until: float = attrs.field(default=-math.inf, init=False)

    def spend(self, weight: int, now: float) -> bool:
        """Counts a request; False where it goes beyond the limit (it counts all the same)."""
        if now >= self._ends:
            self.used = 0
            self._ends = now + self.seconds
        self.used += weight
        return self.used <= self.limit

    def judge(self, weight: int, now: float) -> int:
        """Counts a request and says with which status it is answered."""
        if now >= self._banned_until and now < self._refused_until:
            self._banned_until = now + self.ban_seconds
        if now < self._banned_until:
            return BAN
        if self.spend(weight, now):
            return OK
        self._refused_until = self._ends
        return TOO_MANY

    def retry_after(self, now: float) -> int:
        """Whole seconds until requests are welcome again."""
        return max(1, math.ceil(max(self._ends, self._banned_until) - now))


@attrs.define(eq=False)
class RequestWindow:
    """Bybit's budget of requests of one address: one beyond ``limit`` within ``seconds`` bans it
    for ``ban_seconds``. None is without limit."""

    limit: int | None
    seconds: float = 5.0
    ban_seconds: float = 600.0
    _window: RateWindow = attrs.field(init=False)
    _banned_until: float = attrs.field(default=-math.inf, init=False)

    def __attrs_post_init__(self) -> None:
        self._window = RateWindow(self.limit, self.seconds)

    def admit(self, now: float) -> bool:
        """Counts a request; False where it is refused."""
        if now < self._banned_until:
            return False
        if self._window.admit(now):
            return True
        self._banned_until = now + self.ban_seconds
        return False

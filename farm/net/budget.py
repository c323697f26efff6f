"""A budget over a sliding window, on Trio's clock.

For what venues count per IP address: REST weight per minute, connection attempts per five
minutes, control messages per second. One budget is shared by everyone who spends from it.
"""

from __future__ import annotations

from collections import deque

import trio

from farm.errors import BudgetExceeded

__all__ = ["Budget"]


class Budget:
    """Never grants more than `limit` within any window of `period` seconds.

    A grant counts from the moment it is made until `period` seconds later, exclusively. Venues
    count on arrival, by their own clock and often in fixed windows: leave them a margin in
    `limit`, and tell :meth:`observe` what they say.
    """

    def __init__(self, limit: int, period: float, name: str) -> None:
        if limit < 1 or period <= 0:
            raise ValueError(f"budget {name!r}: limit and period must be positive")
        self.limit = limit
        self.period = period
        """Seconds."""
        self.name = name
        self._spent: deque[tuple[float, int]] = deque()  # (when it ceases to count, amount)
        self._used = 0
        self._paused_until = -float("inf")
        self._turn = trio.StrictFIFOLock()

    def __repr__(self) -> str:
        return f"<Budget {self.name!r}: {self.limit} in {self.period:g} s>"

    @property
    def used(self) -> int:
        """What counts against the limit now; may exceed it after :meth:`observe`."""
        self._expire(trio.current_time())
        return self._used

    @property
    def available(self) -> int:
        """What would be granted at once, if nobody waits; 0 during a pause."""
        now = trio.current_time()
        self._expire(now)
        return max(0, self.limit - self._used) if now >= self._paused_until else 0

    @property
    def waiting(self) -> int:
        """How many callers wait for a grant."""
        statistics = self._turn.statistics()
        return statistics.tasks_waiting + statistics.locked

    async def acquire(self, amount: int = 1) -> None:
        """Wait until `amount` may be spent, and spend it. First come, first served.

        Cancelled, it has spent nothing and left the queue. Raises BudgetExceeded for more than
        could ever be granted.
        """
        self._see_possible(amount)
        async with self._turn:
            # Again after each sleep: a pause or an observation may have come meanwhile. Neither
            # makes anything ready sooner, so nothing needs to wake us.
            while (ready := self._ready_time(amount)) > trio.current_time():  # noqa: ASYNC110
                await trio.sleep_until(ready)
            self._spend(amount)

    def pause(self, seconds: float) -> None:
        """Grant nothing for the next `seconds` (Retry-After); the longest pause counts."""
        self._paused_until = max(self._paused_until, trio.current_time() + seconds)

    def observe(self, used: int) -> None:
        """Take over the venue's own count if it is the larger: others share our address."""
        excess = used - self.used
        if excess > 0:
            self._spend(excess)

    def _see_possible(self, amount: int) -> None:
        if amount < 1:
            raise ValueError(f"budget {self.name!r}: cannot acquire {amount}")
        if amount > self.limit:
            raise BudgetExceeded(f"budget {self.name!r}: {amount} exceeds the limit {self.limit}")

    def _ready_time(self, amount: int) -> float:
        """When `amount` can be spent, as far as is known now."""
        self._expire(trio.current_time())
        ready = self._paused_until
        left = self._used
        for end, spent in self._spent:
            if left + amount <= self.limit:
                break
            left -= spent
            ready = max(ready, end)
        return ready

    def _spend(self, amount: int) -> None:
        self._spent.append((trio.current_time() + self.period, amount))
        self._used += amount

    def _expire(self, now: float) -> None:
        while self._spent and self._spent[0][0] <= now:
            self._used -= self._spent.popleft()[1]

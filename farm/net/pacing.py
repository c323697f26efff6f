"""Waiting before a read, so that more than one message comes of it.

A wake costs tens of microseconds, whether it brings one message or a hundred. A line on which
messages come one by one, thousands a second, may wait a little and take them together; a quiet one
must not, for there nothing would come together and the one message would only be late.
"""

from __future__ import annotations

import math

import trio

from farm.net.reading import READ_BYTES

__all__ = ["Pacing"]

WORTHWHILE = 2.0
"""Messages that must be expected within the budget, for a wait to be worth it."""

MEMORY = 0.1
"""Seconds over which the rate is estimated, or five budgets if that is more: else one message of a
quiet line would look like many."""


class Pacing:
    """When the next read of a line may come, of which no message shall wait for longer than
    `budget` seconds, but for the millisecond that a wait may be late: so a budget is
    :data:`~farm.config.rules.LEAST_LATENCY_BUDGET` or more."""

    def __init__(self, budget: float) -> None:
        self._budget = budget
        self._memory = max(MEMORY, 5 * budget)
        self._rate = 0.0  # messages a second
        self._last = -math.inf  # the time of the last read
        self._backlog = False

    def note(self, messages: int, nbytes: int, time: float) -> None:
        """A read at `time`, on Trio's clock, brought so much."""
        faded = math.exp((self._last - time) / self._memory)
        self._rate = self._rate * faded + messages / self._memory
        self._last = time
        self._backlog = nbytes >= READ_BYTES // 2

    async def wait(self) -> None:
        """Wait out the budget since the last read, where that is worth it.

        Where a read was half full or more it is not: more may be waiting already, and a line that
        falls behind is cut by the venue.
        """
        if self._backlog or self._rate * self._budget < WORTHWHILE:
            return
        ready = self._last + self._budget
        if ready > trio.current_time():
            await trio.sleep_until(ready)

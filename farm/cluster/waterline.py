"""The waterline: up to when all that was received has gone through every queue."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from farm.types import Nanoseconds

__all__ = ["Queue", "Waterline"]

ROUNDS = 2
"""Times that one look goes through all stages at most: that under way, and where nothing waits
anywhere one from now on."""


class Queue(Protocol):
    """What counts the items that were put into it, and those that it is done with."""

    @property
    def offered(self) -> int: ...
    @property
    def passed(self) -> int: ...


class Waterline:
    """Follows what was received until a certain time through queues that may never be empty.

    1. Note the time, and how much was put into the queues of the first stage until then.
    2. When so much was taken out again, all of that is in the second stage, or beyond: note how
       much was put into that, and so on.
    3. When it has left the last stage all that was received until that time is done with.

    `stages` gives the queues in the order in which things go through them.
    """

    def __init__(
        self,
        stages: Callable[[], Sequence[Sequence[Queue]]],
        now: Callable[[], Nanoseconds],
    ) -> None:
        self._stages = stages
        self._now = now
        self._through = self._began = now()
        self._place = 0
        self._marks = self._note()

    def look(self) -> Nanoseconds:
        """How far it has risen."""
        rounds = 0
        while rounds < ROUNDS and all(queue.passed >= put for queue, put in self._marks):
            self._place += 1
            if self._place == len(self._stages()):
                self._through, self._began, self._place = self._began, self._now(), 0
                rounds += 1
            self._marks = self._note()
        return self._through

    def _note(self) -> list[tuple[Queue, int]]:
        return [(queue, queue.offered) for queue in self._stages()[self._place]]

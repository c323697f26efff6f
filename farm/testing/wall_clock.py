"""A wall clock that a test owns: it follows Trio's clock, and jumps when it is told to."""

from __future__ import annotations

import attrs
import trio

from farm.types import Nanoseconds

__all__ = ["START", "ClockJump", "WallClock"]

START: Nanoseconds = 1_786_320_000_000_000_000
"""2026-08-10 00:00 UTC."""


@attrs.frozen
class ClockJump:
    """One jump. ``time``: when, in seconds on Trio's clock; ``before``: what the wall clock showed
    then; ``seconds``: by how much it was moved, below zero for backwards."""

    time: float
    before: Nanoseconds
    seconds: float


class WallClock:
    """Nanoseconds since the epoch, UTC: call it. Under a virtual clock it is virtual too.

    It shows `start` when it is first called or moved, and from then on runs with Trio's clock.
    ``jumps`` has every jump, oldest first.
    """

    def __init__(self, start: Nanoseconds = START) -> None:
        self.jumps: list[ClockJump] = []
        self._start = start
        self._origin: float | None = None

    def __call__(self) -> Nanoseconds:
        now = trio.current_time()
        if self._origin is None:
            self._origin = now
        return self._start + round((now - self._origin) * 1e9)

    def jump(self, seconds: float) -> None:
        """Move the clock by so much, as an operator or a time server might."""
        self.jumps.append(ClockJump(trio.current_time(), self(), seconds))
        self._start += round(seconds * 1e9)

"""What turns a market's happenings into a venue's texts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import attrs

from farm.testing.simulator.matching import MatchResult
from farm.testing.source import Push

__all__ = ["MILLISECOND", "Part", "Timer", "VenueWriter", "Writers"]

MILLISECOND = 1_000_000


@attrs.define(eq=False)
class Timer:
    """Says something at every multiple of ``period``; ``due`` is the next, all in nanoseconds."""

    period: int
    say: Callable[[int], Iterator[Push]]
    due: int = 0

    def start(self, now: int) -> None:
        self.due = now - now % self.period + self.period


class VenueWriter(Protocol):
    """The voice of one venue for one symbol, or a part of it."""

    @property
    def timers(self) -> Sequence[Timer]:
        """What is told at regular times."""

    def opening(self, now: int) -> Iterator[Push]:
        """The state that the market opens with, silent."""

    def on_order(self, now: int, result: MatchResult) -> Iterator[Push]:
        """What is told at once after an order was matched."""


class Part:
    """A part of a voice that says nothing at the opening and on orders, unless it does."""

    def opening(self, now: int) -> Iterator[Push]:  # noqa: ARG002
        yield from ()

    def on_order(self, now: int, result: MatchResult) -> Iterator[Push]:  # noqa: ARG002
        yield from ()


@attrs.define(eq=False)
class Writers:
    """Several writers that speak for one symbol, in turn."""

    parts: Sequence[VenueWriter]
    timers: Sequence[Timer] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.timers = [timer for part in self.parts for timer in part.timers]

    def opening(self, now: int) -> Iterator[Push]:
        for part in self.parts:
            yield from part.opening(now)

    def on_order(self, now: int, result: MatchResult) -> Iterator[Push]:
        for part in self.parts:
            yield from part.on_order(now, result)

"""Who opens lines: this process, or one of its shards."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Protocol, TypeVar

import trio

from farm.actors.hub import Filter
from farm.actors.supervisor import LifecycleEvent, Supervisor
from farm.bundle import Bundle
from farm.config import CollectorConfig
from farm.entities import OrderBook
from farm.exchanges.rules import MarketRules
from farm.exchanges.streams import Stream
from farm.monitor.stats import FarmStats
from farm.pipeline.line import PastLanes
from farm.pipeline.venues import Venues
from farm.types import Nanoseconds

__all__ = ["BookView", "LineSource", "PlannedLine"]


class Rest(Protocol):
    """Who may have something to say when all has ended; ``left`` counts the reads that wait here to
    be processed."""

    @property
    def left(self) -> int: ...

    async def publish_rest(
        self, publish: Callable[[Bundle], Awaitable[None]], now: Callable[[], Nanoseconds]
    ) -> None:
        """All has ended: publish what is still to be said."""


class PlannedLine(Rest, Protocol):
    """A line as its collector has it: ``planned`` are its streams by name; ``full``: it takes no
    more."""

    planned: dict[str, Stream]
    full: bool

    @property
    def rules(self) -> MarketRules: ...

    def streams(self) -> list[Stream]:
        """What it carries."""


class BookView(Protocol):
    """A book that can be read, wherever it is kept."""

    stream: Stream

    def book(self, depth: int | None = None) -> OrderBook:
        """A copy of it, its best `depth` levels a side."""


L = TypeVar("L", bound=PlannedLine)


class LineSource(Protocol[L]):
    """Opens and changes lines; ``past`` counts what those had seen that are no more."""

    lines: list[L]
    past: PastLanes

    def connect_in(self, connections: Supervisor, changes: trio.Nursery, venues: Venues) -> None:
        """Where connections run, where changes of them take their time, and who makes them."""

    async def open_line(self, collector: CollectorConfig, streams: Sequence[Stream]) -> L:
        """A line for these streams, all of one route."""

    def add(self, line: L, streams: Sequence[Stream]) -> None:
        """Collect more streams on a line."""

    def remove(self, line: L, streams: Sequence[Stream]) -> None:
        """Collect these streams of a line no longer."""

    def books(self) -> Sequence[BookView]:
        """The books of all lines."""

    def read_by(self, filters: Iterable[Filter]) -> None:
        """What is read in this process, from now on."""

    def stats(self, own: FarmStats) -> FarmStats:
        """What this process knows of itself (`own`), and what others know."""

    def rests(self) -> Sequence[Rest]:
        """Who may have something to say when all has ended."""

    def unwritten(self) -> str:
        """What others could not store in the end, in words."""

    def take_note(self, event: LifecycleEvent) -> None:
        """Hear what happened to an actor of this process."""

    async def settled(self) -> None:
        """Wait until what was opened runs, or can't: that is raised."""

    def see_open(self) -> None:
        """LocalProtocolError where the farm is ending: nothing can be changed any more."""

    def stop(self) -> None:
        """Start nothing any more: the connections are about to end."""

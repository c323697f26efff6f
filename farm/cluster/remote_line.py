"""A line that runs in a shard, as the parent has it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs

from farm.bundle import Bundle
from farm.cluster.left_behind import LostRecords, crash_gaps
from farm.cluster.messages import LineReport, OpenLine
from farm.config import CollectorConfig
from farm.exchanges.rules import MarketRules
from farm.exchanges.streams import Stream
from farm.types import Nanoseconds, NumberMode

__all__ = ["RemoteLine"]


@attrs.define(eq=False)
class RemoteLine:
    """``shard`` is the number of the process that has it. ``down_since``, by stream: what of it is
    lost from then on, and on no record yet."""

    name: str
    collector: CollectorConfig
    planned: dict[str, Stream]
    numbers: NumberMode
    shard: int
    full: bool = False
    next_lane: int = 1
    down_since: dict[str, Nanoseconds] = attrs.field(factory=dict)
    report: LineReport | None = None
    _back_at: dict[str, Nanoseconds] = attrs.field(factory=dict)

    @property
    def rules(self) -> MarketRules:
        """The rules of its market."""
        return self.collector.rules

    @property
    def left(self) -> int:
        """What waits here to be processed: nothing, for that is the shard's matter."""
        return 0

    def streams(self) -> list[Stream]:
        """What it carries."""
        return list(self.planned.values())

    def opening(self, *, held: bool = False, first_lane: int | None = None) -> OpenLine:
        """How a shard is told to open it. Lanes of a process that is gone are never named again."""
        lost = {} if held else {n: t for n, t in self.down_since.items() if n in self.planned}
        lane = self.next_lane if first_lane is None else first_lane
        return OpenLine(self.name, self.collector, self.streams(), lane, lost, held)

    def take(self, report: LineReport, time: Nanoseconds) -> None:
        """What its shard says at `time`."""
        self.report = report
        self.next_lane = max(self.next_lane, report.next_lane)
        for name in report.up:
            if name in self.down_since:
                self._back_at.setdefault(name, time)

    def is_safe(self, time: Nanoseconds) -> None:
        """What was received until then is on disk, and so is the record of what came back."""
        for name, back in list(self._back_at.items()):
            if back < time:
                del self._back_at[name]
                self.down_since.pop(name, None)

    def lost(self, since: Nanoseconds) -> None:
        """Its shard is gone, and what it received since then.

        Of any stream there may have been something: it may have come up since the last report.
        """
        known = {} if self.report is None else self.report.down
        self.report = None
        self._back_at.clear()
        # It may have opened more lanes since it last said how many: none may be named again.
        self.next_lane += LANES_UNTOLD
        for name in self.planned:
            self.down_since.setdefault(name, min(known.get(name, since), since))

    def ended(self) -> None:
        """Its shard ended as it should, with all that was lost on record."""
        self.down_since.clear()
        self._back_at.clear()

    @property
    def untold(self) -> dict[str, Nanoseconds]:
        """What was lost of its streams, by name, as far as they are not back."""
        return {
            name: since
            for name, since in self.down_since.items()
            if name in self.planned and name not in self._back_at
        }

    async def publish_rest(
        self, publish: Callable[[Bundle], Awaitable[None]], now: Callable[[], Nanoseconds]
    ) -> None:
        """All ends: record what is lost since its shard failed."""
        time, untold = now(), self.untold
        records = LostRecords(self.numbers)
        records.put(self.name, crash_gaps(self.streams(), untold, time, time), time)
        await records.publish_rest(publish, now)
        self.down_since.clear()


LANES_UNTOLD = 10
"""More than the lanes that a line opens between two reports."""

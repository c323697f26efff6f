"""A merger of one feed, and the connections that bring it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from farm.batch import Batch, Origin
from farm.bundle import Bundle
from farm.entities import Gap, SpentIds
from farm.exchanges.lanes.merger import LaneMerger
from tests.exchanges.lanes.copies import (
    BYBIT_BOOK,
    SPOT_TRADES,
    Copied,
)
from tests.exchanges.trading import outage

MS = 1_000_000

SECOND = 1_000 * MS


class Connection:
    """One lane of a rig: makes its bundles, one read at each millisecond that the rig counts."""

    def __init__(self, rig: Rig, name: str, number: int) -> None:
        self.rig = rig
        self.name = name
        self.number = number
        self.epoch = 1
        self.serial = self.ordinal = 0
        self.last_time = 0

    def read(self, *numbers: int, up: bool = False, greet: int | None = None) -> list[Any]:
        """Events by their numbers, in one read; what came out of the merger."""
        feed, rig = self.rig.feed, self.rig
        time, rows = rig.tick(), []
        if greet is not None and feed.greet is not None:
            rows.append(feed.greet(greet, self.number, (time, self.ordinal)))
        for n in numbers:
            self.ordinal += 1
            rows.append(feed.make(n, self.number, (time, self.ordinal)))
        return self.give(*rows, up=(feed.stream.feed,) if up else ())

    def give(self, *rows: Any, **more: Any) -> list[Any]:
        return rig_rows(self.rig.take(self.bundle(*rows, **more)))

    def bundle(self, *rows: Any, **more: Any) -> Bundle:
        self.serial += 1
        stream = self.rig.feed.stream
        origin = Origin(stream.exchange, stream.market, self.name, self.epoch)
        by_kind: dict[Any, list[Any]] = {}
        for row in rows:
            by_kind.setdefault(type(row), []).append(row)
        batches = [
            Batch(k, rows=some, origins=[(origin, len(some))]) for k, some in by_kind.items()
        ]
        if "ended" not in more:
            self.last_time = self.rig.time
            more = {"heard": True} | more
        return Bundle(origin, self.serial, self.rig.time, batches, **more)

    def end(self) -> Bundle:
        """The connection breaks; the next is another epoch."""
        self.rig.tick()
        bundle = self.rig.take(self.bundle(ended="reset by peer"))
        self.epoch += 1
        self.ordinal = 0
        return bundle

    def back(self, since: int) -> list[Any]:
        """It is subscribed again, and its core records what it missed."""
        time, stream = self.rig.tick(), self.rig.feed.stream
        return self.give(outage(stream, since, time), up=(stream.feed,))


class Rig:
    """A merger of lanes that carry one feed; what came out of it, in order."""

    def __init__(self, feed: Copied = SPOT_TRADES, lanes: Sequence[str] = ("a", "b")) -> None:
        self.feed = feed
        self.merger = LaneMerger(lambda: [feed.stream])
        self.time = 1_000_000 * SECOND
        self.step = MS
        self.out: list[Bundle] = []
        self.again = False  # whether each bundle is delivered twice
        self.lanes = [self.add(name) for name in lanes]

    def tick(self) -> int:
        self.time += self.step
        return self.time

    def add(self, name: str) -> Connection:
        self.merger.add(name)
        return Connection(self, name, len(self.merger.lanes) - 1)

    def take(self, bundle: Bundle) -> Bundle:
        outcome = self.merger.take(bundle)
        if self.again:
            assert self.merger.take(bundle) is outcome
        for batch in outcome.batches:
            assert len(batch) == len(batch.rows) > 0
        self.out.append(outcome)
        return outcome

    def remove(self, lane: Connection) -> list[Gap]:
        return self.merger.remove(lane.name, self.time)

    @property
    def rows(self) -> list[Any]:
        return [row for bundle in self.out for row in rig_rows(bundle)]

    @property
    def numbers(self) -> list[int]:
        """The numbers of the events that passed; of a snapshot that of its state, below zero."""
        return [self.number(row) for row in self.rows if not isinstance(row, Gap)]

    def number(self, row: Any) -> int:
        number = self.feed.number(row)
        is_greeting = self.feed is BYBIT_BOOK and row.is_snapshot
        return -number if is_greeting else number

    @property
    def gaps(self) -> list[tuple[int | None, int | None]]:
        rows = [row for row in self.rows if isinstance(row, Gap)]
        return [(gap.start_time, gap.end_time) for gap in rows]

    def up(self, *numbers: int) -> None:
        """All lanes carry the feed, and delivered these."""
        for lane in self.lanes:
            lane.read(*numbers, up=True, greet=numbers[0] - 1)
        for lane in self.lanes:
            lane.read(*numbers)
        self.out.clear()


def rig_rows(bundle: Bundle) -> list[Any]:
    """The rows of a bundle, of trades and of spent ids together in the order of their ids."""
    rows = [row for batch in bundle.batches for row in batch.rows]
    if any(type(row) is SpentIds for row in rows):
        rows.sort(key=lambda row: row.first_id if type(row) is SpentIds else int(row.id))
    return rows

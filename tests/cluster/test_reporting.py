"""What a shard tells of itself: that it lives, up to when it is safe, and how its lines are."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from farm.actors.mailbox import Mailbox, Overflow
from farm.bundle import Bundle
from farm.cluster.messages import Beat, FromShard, Lines, Reader, Report
from farm.cluster.outlet import LINK_EDGE, Outlet
from farm.cluster.reporting import REPORT_EVERY, Reporting
from farm.config import CollectorConfig
from farm.entities import Trade
from farm.exchanges.session import StreamState
from farm.monitor.memory import resident_bytes
from farm.monitor.stats import EdgeStats
from farm.pipeline import Environment, Line, Pipeline, Settings
from farm.pipeline.lane import SessionOptions
from farm.pipeline.line import make_line
from farm.storage.directory import open_data_directory
from farm.storage.parquet import ParquetStore
from farm.storage.quarantine import QuarantineStore
from farm.types import BookVerdict, DataType, NumberMode
from tests.books.feeding import SPOT, Feed
from tests.cluster.links import Way
from tests.cluster.test_outlet import bundle
from tests.storage.events import NOON, trades

COLLECTOR = CollectorConfig("binance", "spot", ["BTCUSDT"], ["trade", "book", "quote", "ticker"])
TRADE, BOOK, QUOTE, TICKER = (stream.name for stream in COLLECTOR.streams_of())


@attrs.define(eq=False)
class Shard:
    """A pipeline that nothing runs in, and what is told of it."""

    time: int = NOON
    every: float = 0.25
    memory_limit: int | None = None
    book_of: Callable[[str], Any] = lambda _feed: None
    said: list[FromShard] = attrs.field(factory=list)
    limits: list[str] = attrs.field(factory=list)
    pipeline: Pipeline = attrs.field(init=False)
    outlet: Outlet = attrs.field(init=False)
    reporting: Reporting = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.pipeline = Pipeline(Settings(), environment=Environment(wall_clock=lambda: self.time))
        self.outlet = Outlet(self.book_of, 1000)
        self.reporting = Reporting(
            self.pipeline,
            self.outlet,
            self.said.append,
            every=self.every,
            memory_limit=self.memory_limit,
            on_limit=self.limits.append,
        )

    def of(self, kind: type[Any]) -> list[Any]:
        return [message for message in self.said if type(message) is kind]

    async def told(self, seconds: float) -> None:
        """Let it tell for so long."""
        with trio.move_on_after(seconds):
            await self.reporting.run()

    async def beats(self, time: int) -> Beat:
        """A beat at that time."""
        self.time = time
        await self.told(0.0)
        beat: Beat = self.of(Beat)[-1]
        assert beat.time == time
        return beat

    def add_line(self, lanes: int = 1) -> Line:
        line = make_line(
            "binance/spot#1",
            COLLECTOR.rules,
            Settings(),
            SessionOptions(),
            Overflow.DROP_OLDEST,
            QuarantineStore(),
            COLLECTOR.streams_of(),
            first_lane=3,
        )
        for _ in range(lanes):
            line.new_lane()
        self.pipeline.lines.append(line)
        return line


# ------------------------------------------------------------------------------------------ rhythm
async def test_it_beats_as_often_as_it_is_told_to(autojump_clock: MockClock) -> None:
    """From the first moment on; all it knows it tells more seldom."""
    shard = Shard()
    await shard.told(4 * REPORT_EVERY - 0.1)
    assert len(shard.of(Beat)) == 16
    assert len(shard.of(Report)) == 4
    assert [type(message) for message in shard.said[:4]] == [Lines, Beat, Report, Beat]


async def test_a_beat_says_when_and_what_the_process_takes(autojump_clock: MockClock) -> None:
    shard = Shard()
    beat = await shard.beats(NOON + 5)
    assert beat.memory == pytest.approx(resident_bytes(), rel=0.5)
    sum(range(2_000_000))
    later = await shard.beats(NOON + 7)
    assert later.cpu > beat.cpu > 0
    assert (beat.time, later.time) == (NOON + 5, NOON + 7)


async def test_that_a_process_takes_more_memory_than_it_may_is_told_once(
    autojump_clock: MockClock,
) -> None:
    """What is to come of it is for others to say; its last beat tells the parent how much."""
    shard = Shard(memory_limit=1000)
    await shard.told(10.0)
    (reason,) = shard.limits
    assert re.fullmatch(r"memory limit passed: [\d,]+ bytes of 1,000", reason)
    (beat,) = shard.of(Beat)
    assert shard.said[-1] is beat
    assert beat.memory > 1000


async def test_a_process_within_its_limit_goes_on(autojump_clock: MockClock) -> None:
    shard = Shard(memory_limit=2**50)
    await shard.told(1.1)
    assert len(shard.of(Beat)) == 5
    assert shard.limits == []


async def test_mirrors_hear_of_books_that_changed_without_a_bundle(
    autojump_clock: MockClock,
) -> None:
    feed = Feed(SPOT)
    feed.snapshot(10, {5: 1}, {9: 1})
    shard = Shard(book_of=lambda _: feed.sync)
    shard.outlet.mirror("binance/spot#1", SPOT.feed)
    assert shard.outlet.mailbox.offered == 1
    await shard.told(0.0)
    assert shard.outlet.mailbox.offered == 1
    feed.sync.ended()
    await shard.told(0.0)
    assert shard.outlet.mailbox.offered == 2
    assert feed.verdict is BookVerdict.STALE


# ------------------------------------------------------------------------------------- what is safe
@pytest.fixture
def store(tmp_path: Path) -> Iterator[ParquetStore]:
    with open_data_directory(tmp_path, NumberMode.FLOAT) as directory:
        yield ParquetStore(directory)


async def test_where_nothing_waits_all_is_safe(autojump_clock: MockClock) -> None:
    shard = Shard()
    assert [(await shard.beats(NOON + n)).safe for n in (0, 1, 9)] == [NOON, NOON + 1, NOON + 9]


async def test_what_no_file_holds_is_not_safe(
    store: ParquetStore, autojump_clock: MockClock
) -> None:
    shard = Shard()
    shard.pipeline.store = store
    assert (await shard.beats(NOON + 1)).safe == NOON + 1
    store.add(trades([2, 5]), 0.0)
    store.add(trades([4], symbol="ETHUSDT"), 0.0)
    assert (await shard.beats(NOON + 10)).safe == NOON + 2
    bitcoin, ether = store.pending()
    store.write(bitcoin)
    assert (await shard.beats(NOON + 20)).safe == NOON + 4
    store.write(ether)
    assert (await shard.beats(NOON + 30)).safe == NOON + 30


def of_lane(line: Line, shard: Shard) -> Mailbox[Any]:
    return line.lanes[0].inputs


def of_line(line: Line, shard: Shard) -> Mailbox[Any]:
    return line.bundles


def of_sink(line: Line, shard: Shard) -> Mailbox[Any]:
    return shard.pipeline._sink_box


@pytest.mark.parametrize("find", [of_lane, of_line, of_sink])
async def test_what_waits_anywhere_is_not_safe(
    find: Callable[[Line, Shard], Mailbox[Any]],
    store: ParquetStore,
    autojump_clock: MockClock,
) -> None:
    """Before the parser or behind it, or before the store."""
    shard = Shard()
    shard.pipeline.store = store
    box = find(shard.add_line(), shard)
    assert (await shard.beats(NOON + 1)).safe == NOON + 1
    shard.time = NOON + 2
    box.put(bundle((Trade, "BTCUSDT")))
    for n in (3, 4, 9):
        assert (await shard.beats(NOON + n)).safe == NOON + 1
    with box.reader() as reader:
        await reader.next()
        assert (await shard.beats(NOON + 10)).safe <= NOON + 2, "it is still in hand"
        reader.acknowledge()
        assert (await shard.beats(NOON + 11)).safe == NOON + 11


async def test_what_the_parent_has_not_is_not_safe(autojump_clock: MockClock) -> None:
    """What waits to be sent, and what is being sent."""
    shard = Shard()
    way = Way()
    way.outlet = shard.outlet
    shard.outlet.read_by([Reader(DataType.TRADE, None, None, None)])
    async with way.open():
        way.hold()
        assert (await shard.beats(NOON + 1)).safe == NOON + 1
        shard.time = NOON + 2
        for serial in range(3):
            shard.outlet.deliver(bundle((Trade, "BTCUSDT"), serial=serial))
        assert (await shard.beats(NOON + 3)).safe == NOON + 1
        await wait_all_tasks_blocked()
        assert len(shard.outlet.mailbox) == 0, "all is being sent"
        assert (await shard.beats(NOON + 4)).safe <= NOON + 2
        await way.go_on()
        assert (await shard.beats(NOON + 5)).safe == NOON + 5
    assert [one.serial for one in way.bundles] == [0, 1, 2]


# --------------------------------------------------------------------------------------- its report
async def test_a_report_has_the_account_of_the_link(autojump_clock: MockClock) -> None:
    shard = Shard()
    shard.outlet.read_by([Reader(DataType.TRADE, None, None, None)])
    for serial in range(12):
        shard.outlet.deliver(bundle((Trade, "BTCUSDT"), serial=serial))
    (edge,) = [edge for edge in shard.reporting.report().stats.edges if edge.edge == LINK_EDGE]
    assert edge == EdgeStats(LINK_EDGE, 12, 0, 2, 10)


async def test_a_report_says_how_each_line_is() -> None:
    shard = Shard()
    line = shard.add_line()
    (lane,) = line.lanes
    statuses = lane.session.statuses
    statuses[TRADE].state, statuses[TRADE].last_time = StreamState.LIVE, NOON + 1
    statuses[BOOK].state = StreamState.ACKNOWLEDGED
    statuses[QUOTE].state, statuses[QUOTE].down_since = StreamState.DOWN, NOON + 3
    statuses[TICKER].state = StreamState.REQUESTED
    lane.counters.frames = 17
    lines = shard.reporting.report().lines
    (told,) = lines.lines
    assert lines.time == NOON
    assert (told.line, told.next_lane, told.frames) == ("binance/spot#1", 4, 17)
    assert (told.up, told.down) == ([TRADE, BOOK], {QUOTE: NOON + 3})
    assert told.delivering == line.delivering()
    assert set(told.delivering) == {TRADE, BOOK, QUOTE, TICKER}


async def test_how_lines_are_is_told_before_the_beat_whenever_it_changed(
    autojump_clock: MockClock,
) -> None:
    """A beat says up to when all is well: which streams are up by then has to be known. What
    changes with every read, such as the number of frames, waits for a report."""
    shard = Shard()
    (lane,) = shard.add_line().lanes
    status = lane.session.statuses[TRADE]
    changes: list[Callable[[], None]] = [
        lambda: setattr(status, "state", StreamState.LIVE),
        lambda: setattr(status, "down_since", NOON),
        lambda: setattr(status, "down_since", None),
        lambda: setattr(shard.pipeline.lines[0], "next_lane", 9),
        shard.pipeline.lines.clear,
    ]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(shard.reporting.run)
        await trio.sleep(0.6)
        for number, change in enumerate(changes, 1):
            shard.time = NOON + number
            lane.counters.frames += 1
            change()
            await trio.sleep(0.5)
        nursery.cancel_scope.cancel()
    told = [message for message in shard.said if type(message) is not Report]
    pairs = [(one, other) for one, other in pairwise(told) if isinstance(one, Lines)]
    assert [type(beat) for _, beat in pairs] == [Beat] * 6
    lines = [lines for lines, _ in pairs]
    assert lines == shard.of(Lines)
    assert [one.time - NOON for one in lines] == [0, 1, 2, 3, 4, 5]
    up = [[line.up for line in one.lines] for one in lines]
    assert up == [[[]], [[TRADE]], [[]], [[TRADE]], [[TRADE]], []]


async def test_what_one_lane_carries_is_up() -> None:
    shard = Shard()
    line = shard.add_line(lanes=2)
    first, second = (lane.session.statuses[TRADE] for lane in line.lanes)
    first.state, first.down_since = StreamState.DOWN, NOON
    second.state = StreamState.LIVE
    for number, lane in enumerate(line.lanes, 1):
        lane.counters.frames = number
    (told,) = shard.reporting.report().lines.lines
    assert (told.up, told.down) == ([TRADE], {})
    assert (told.next_lane, told.frames) == (5, 3)


def test_a_shard_without_lines_has_something_to_say() -> None:
    shard = Shard()
    report = shard.reporting.report()
    assert report.lines.lines == []
    assert [process.name for process in report.stats.processes] == ["main"]


def test_lost_bundles_are_none_of_what_waits() -> None:
    """The account balances, however many were dropped."""
    shard = Shard()
    shard.outlet.read_by([Reader(DataType.TRADE, None, None, None)])
    for serial in range(100):
        shard.outlet.deliver(bundle((Trade, "BTCUSDT"), serial=serial, nbytes=serial * 13 % 700))
        edge = shard.reporting.report().stats.edges[-1]
        assert edge.offered == edge.taken + edge.dropped + edge.waiting == serial + 1


def test_an_empty_bundle_is_not_sent() -> None:
    shard = Shard()
    shard.outlet.read_by([Reader(DataType.TRADE, None, None, None)])
    origin = bundle().origin
    shard.outlet.deliver(Bundle(origin, 1, NOON))
    assert shard.reporting.report().stats.edges[-1].offered == 0

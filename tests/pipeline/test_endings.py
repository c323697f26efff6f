"""What is left when a stage's grace is over, or where an actor was given up: gaps, all of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trio.lowlevel
from trio.testing import wait_all_tasks_blocked

from farm import Farm, Gap, GapCause, GapUnit, Trade, open_farm
from farm.actors import Child, Health, Lifecycle, LifecycleEvent
from farm.actors.mailbox import Overflow
from farm.batch import Batch, Origin
from farm.bundle import Bundle
from farm.errors import RestartsExceeded, StorageFailed
from farm.exchanges.registry import rules_of
from farm.exchanges.session import Closed, Finished, Frames, Input, Lost, Opened, StreamStatus
from farm.groups import leaves
from farm.pipeline import Lane, Line, Pipeline, Settings
from farm.pipeline.endings import words_without_core
from farm.pipeline.environment import Environment
from farm.pipeline.lane import SessionOptions
from farm.pipeline.line import make_line
from farm.storage.files import WrittenFile
from farm.storage.parquet import ParquetStore, read_batches
from farm.storage.partition import Partition
from farm.storage.quarantine import QuarantineStore, quarantine_files
from farm.testing import FakeBinance, Flood, MarketSimulator, Recorded, open_fake
from farm.types import DataType, Exchange, Market, NumberMode
from tests.actors.lines import SECOND, Inputs, rows, told, trade_ids
from tests.actors.test_supervisor import GREATEST
from tests.effort import moments
from tests.exchanges.feeding import binance_trade
from tests.farms import collector, until

TRADES = "binance/spot/BTCUSDT/trade"


def live() -> FakeBinance:
    symbols = ["BTCUSDT", "ETHUSDT"]
    market = MarketSimulator(Exchange.BINANCE, Market.SPOT, symbols, seed=2, rate=400)
    return FakeBinance(market, pace=Recorded(speed=2.0))


def config_of(fake: FakeBinance, symbols: list[str], **more: Any) -> dict[str, Any]:
    """Trades alone, so that each frame is one event."""
    supervision = {"backoff_initial": 0.01, "drain_seconds": 1.0}
    one = collector("binance", "spot", symbols, ["trade"], fake)
    supervision |= more.pop("supervision", {})
    one |= more.pop("collector", {})
    return {"collectors": [one], "supervision": supervision} | more


@attrs.define
class Kept:
    rows: list[Any] = attrs.field(factory=list)

    @property
    def trades(self) -> list[Trade]:
        return [row for row in self.rows if type(row) is Trade]

    @property
    def gaps(self) -> list[Gap]:
        return [row for row in self.rows if type(row) is Gap]


async def keep(farm: Farm, kept: Kept, task_status: trio.TaskStatus[None]) -> None:
    async with farm.subscribe(Trade, Gap, max_bytes=10**9) as batches:
        task_status.started()
        async for batch in batches:
            kept.rows += batch.rows


@asynccontextmanager
async def running(config: dict[str, Any], kept: Kept) -> AsyncIterator[Farm]:
    async with trio.open_nursery() as nursery, open_farm(config) as farm:
        await nursery.start(keep, farm, kept)
        await until(lambda: len(kept.trades) > 20)
        yield farm


def stuck(line: Line) -> None:
    """From now on its aggregator waits for ever to publish."""

    async def publish(_bundle: Bundle) -> None:
        await trio.sleep_forever()

    assert line.aggregator_child is not None
    line.aggregator_child.actor._publish = publish  # type: ignore[attr-defined]


def break_core(lane: Lane) -> None:
    """From now on its core crashes on every frame."""
    lane.session._reads = None  # type: ignore[assignment]


def break_keeper(line: Line) -> None:
    """From now on what keeps the books crashes on every bundle."""

    def crash(_bundle: Bundle) -> Bundle:
        raise ZeroDivisionError("a bug")

    line.keeper.take = crash  # type: ignore[method-assign]


def given_up(child: Child | None) -> bool:
    return child is not None and child.given_up


async def test_what_waits_when_the_grace_is_over_is_recorded_event_by_event(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Bundles wait for an aggregator that hangs, and so frames for the parser: both are lost."""
    kept = Kept()
    async with open_fake(live()) as fake:
        config = config_of(fake, ["BTCUSDT"], mailbox_bytes=30_000, data=str(tmp_path))
        async with running(config, kept) as farm:
            (line,) = farm._pipeline.lines
            (lane,) = line.lanes
            stuck(line)
            await until(lambda: len(lane.inputs) > 5)
        stats = farm.stats()
    by_edge = {gap.edge: gap for gap in kept.gaps}
    assert by_edge.keys() == {"connection>parser", "parser>aggregator"}
    assert len(kept.gaps) == 2
    bundles, frames = by_edge["parser>aggregator"], by_edge["connection>parser"]
    assert (bundles.feed, bundles.cause, bundles.unit) == (
        TRADES,
        GapCause.OVERFLOW,
        GapUnit.EVENTS,
    )
    assert (frames.feed, frames.cause, frames.unit) == (TRADES, GapCause.OVERFLOW, GapUnit.FRAMES)
    assert bundles.size is not None
    assert frames.size is not None
    answers = 1  # to the request to subscribe
    assert len(kept.trades) + bundles.size + frames.size == stats.totals.frames - answers
    assert kept.trades[-1].receive_time <= (bundles.start_time or 0)
    assert stats.totals.gaps == 2
    stored = [row for batch in read_batches(tmp_path, Gap) for row in batch]
    assert {gap.edge: gap.size for gap in stored} == {e: g.size for e, g in by_edge.items()}
    assert "they are recorded as gaps" in caplog.text


async def test_what_two_lanes_left_is_recorded_once_a_feed() -> None:
    kept = Kept()
    async with open_fake(live()) as fake:
        config = config_of(fake, ["BTCUSDT"], mailbox_bytes=20_000, collector={"lanes": 2})
        async with running(config, kept) as farm:
            (line,) = farm._pipeline.lines
            await until(lambda: all(lane.is_running for lane in line.lanes))
            stuck(line)
            await until(lambda: all(len(lane.inputs) > 5 for lane in line.lanes))
    assert {gap.edge for gap in kept.gaps} == {"connection>parser", "parser>aggregator"}
    assert {gap.feed for gap in kept.gaps} == {TRADES}
    ids = [int(trade.id) for trade in kept.trades]
    assert ids == sorted(set(ids))
    starts = [gap.start_time or 0 for gap in kept.gaps]
    assert min(starts) > kept.trades[0].receive_time


PARKING = {"escalate": "park", "intensity": 0}


async def test_what_a_parked_parser_left_is_recorded_at_the_end() -> None:
    kept = Kept()
    async with open_fake(live()) as fake:
        config = config_of(fake, ["BTCUSDT", "ETHUSDT"], supervision=PARKING)
        async with running(config, kept) as farm:
            (lane,) = farm._pipeline.lines[0].lanes
            break_core(lane)
            await until(lambda: given_up(lane.parser_child) and len(lane.inputs) > 20)
        stats = farm.stats()
    answers = 1
    lost = stats.totals.frames - answers - len(kept.trades)
    assert {gap.symbol for gap in kept.gaps} == {"BTCUSDT", "ETHUSDT"}
    assert {(gap.cause, gap.edge, gap.unit, gap.size) for gap in kept.gaps} == {
        (GapCause.CRASH, "connection>parser", GapUnit.FRAMES, lost)
    }
    assert stats.totals.gaps == len(kept.gaps) == 2


async def test_what_a_parked_parser_left_is_recorded_when_its_lane_is_let_go() -> None:
    kept = Kept()
    async with open_fake(live()) as fake:
        config = config_of(fake, ["BTCUSDT"], supervision=PARKING)
        async with running(config, kept) as farm:
            (line,) = farm._pipeline.lines
            (lane,) = line.lanes
            break_core(lane)
            await until(lambda: given_up(lane.parser_child) and len(lane.inputs) > 20)
            assert farm._pipeline.sources is not None
            farm._pipeline.sources.rotate_soon(line, lane, "a test wants it")
            await until(lambda: farm.stats().totals.rotations == 1)
            count = len(kept.trades)
            await until(lambda: len(kept.trades) > count + 20)
    crash, *rest = [gap for gap in kept.gaps if gap.cause is GapCause.CRASH]
    assert rest == []
    assert (crash.feed, crash.edge) == (TRADES, "connection>parser")
    ids = [int(trade.id) for trade in kept.trades]
    assert ids == sorted(set(ids))


async def test_what_a_parked_aggregator_left_is_recorded_when_its_line_is_closed() -> None:
    kept = Kept()
    async with open_fake(live()) as fake:
        config = config_of(fake, ["BTCUSDT"], supervision=PARKING)
        config["collectors"].append(config_of(fake, ["ETHUSDT"])["collectors"][0])
        async with running(config, kept) as farm:
            line, _ = farm._pipeline.lines
            break_keeper(line)
            await until(lambda: given_up(line.aggregator_child) and len(line.bundles) > 20)
            farm.remove_symbols("BTCUSDT", collector=0)
            await until(lambda: len(farm._pipeline.lines) == 1)
            (gap,) = kept.gaps  # before the farm ends
            count = len(kept.trades)
            await until(lambda: len(kept.trades) > count + 20)
    assert (gap.feed, gap.edge, gap.unit) == (TRADES, "parser>aggregator", GapUnit.EVENTS)
    assert gap.size is not None
    assert gap.size > 20
    assert kept.gaps == [gap]


# The sink ----------------------------------------------------------------------------------------


@pytest.fixture
def long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Actors rest for as long as they may before they are started again."""
    monkeypatch.setattr(Environment, "rng", lambda _self, _name: GREATEST)


def stored(directory: Path, kind: type[Any]) -> list[Any]:
    return [row for batch in read_batches(directory, kind) for row in batch]


def store_of(farm: Farm) -> ParquetStore:
    store = farm._pipeline.store
    assert store is not None
    return store


def sizes(gaps: list[Gap]) -> int:
    return sum(gap.size or 0 for gap in gaps)


@contextmanager
def failing() -> Iterator[list[BaseException]]:
    """The errors that end what is in it."""
    faults: list[BaseException] = []
    with pytest.raises(ExceptionGroup) as caught:
        yield faults
    faults += leaves(caught.value)


async def test_stopped_while_the_sink_rests_it_tries_once_more(
    tmp_path: Path, long_pauses: None
) -> None:
    """The disk was full and is well again: what waits for it must not be given up unasked."""
    kept = Kept()
    tries: list[Partition] = []
    rest = {"backoff_initial": 30, "backoff_cap": 30, "drain_seconds": 10}
    async with open_fake(live()) as fake:
        config = config_of(fake, ["BTCUSDT"], data=str(tmp_path), supervision=rest)
        async with running(config | {"storage": {"flush_seconds": 0.01}}, kept) as farm:
            store = store_of(farm)
            write = store.write

            def full(partition: Partition) -> None:
                tries.append(partition)
                raise OSError(28, "No space left on device")

            store.write = full  # type: ignore[method-assign, assignment]
            await until(lambda: tries != [])
            store.write = write  # type: ignore[method-assign]
    assert len(tries) == 1
    assert kept.gaps == []
    assert stored(tmp_path, Trade) == kept.trades


@pytest.mark.parametrize("escalate", ["raise", "park"])
async def test_a_sink_that_is_given_up_leaves_all_on_the_disk_that_can_be_written(
    tmp_path: Path, long_pauses: None, escalate: str
) -> None:
    """From some moment on it crashes on each trade, twice on two of them. While it rests others
    come, which wait."""
    kept = Kept()
    often = {"escalate": escalate, "intensity": 3, "backoff_initial": 0.2, "backoff_cap": 0.2}
    often |= {"drain_seconds": 10}
    async with open_fake(live()) as fake:
        config = config_of(fake, ["BTCUSDT"], data=str(tmp_path), supervision=often)
        with failing() as faults:
            async with running(config, kept) as farm:
                store, taken = store_of(farm), list(kept.trades)
                add = store.add

                def crash(batch: Batch[Any], now: float) -> None:
                    if batch.kind is Trade:
                        raise ZeroDivisionError("a bug")
                    add(batch, now)

                store.add = crash  # type: ignore[method-assign]
                box = farm._pipeline._sink_box
                await until(lambda: box.quarantine_count == 2 and len(box) > 20)
                await until(lambda: escalate == "park")  # else this is ended
        stats = farm.stats()
    (fault,) = faults
    on_disk, gaps = stored(tmp_path, Trade), stored(tmp_path, Gap)
    assert on_disk == kept.trades[: len(on_disk)]
    assert len(on_disk) >= len(taken)
    assert len(quarantine_files(tmp_path)) == 2
    answers = 1
    assert len(kept.trades) + sizes(kept.gaps) == stats.totals.frames - answers
    assert len(on_disk) + sizes(gaps) == stats.totals.frames - answers
    by_cause = {gap.cause: gap for gap in gaps if gap.edge == "aggregator>sink"}
    assert by_cause.keys() == {GapCause.QUARANTINE, GapCause.OVERFLOW}
    assert stats.totals.gaps == len(gaps)
    told = "reads that waited for the sink are recorded as gaps"
    if escalate == "park":
        assert type(fault) is StorageFailed
        assert told in str(fault)
    else:
        assert str(fault) == "sink crashed more than 3 times in 60 s"
        (note,) = fault.__notes__
        assert told in note


@pytest.mark.parametrize("escalate", ["raise", "park"])
async def test_when_the_sink_is_given_up_subscribers_hear_of_what_waits_in_the_stages(
    tmp_path: Path, escalate: str
) -> None:
    kept = Kept()
    given = {"escalate": escalate, "intensity": 0}
    async with open_fake(live()) as fake:
        config = config_of(
            fake, ["BTCUSDT"], data=str(tmp_path), mailbox_bytes=30_000, supervision=given
        )
        with failing() as faults:
            async with running(config, kept) as farm:
                (line,) = farm._pipeline.lines
                (lane,) = line.lanes
                assert line.aggregator_child is not None
                aggregator: Any = line.aggregator_child.actor
                publish = aggregator._publish
                stuck(line)
                await until(lambda: len(lane.inputs) > 5)
                aggregator._publish = publish  # this one read alone is stuck
                crashes: list[float] = []

                def crash(now: float) -> list[Partition]:
                    crashes.append(now)
                    raise ZeroDivisionError("a bug")

                store_of(farm).due = crash  # type: ignore[method-assign]
                await until(lambda: crashes != [] and escalate == "park")  # else this is ended
        stats = farm.stats()
    answers = 1
    assert {gap.edge for gap in kept.gaps} == {"connection>parser", "parser>aggregator"}
    assert len(kept.trades) + sizes(kept.gaps) == stats.totals.frames - answers
    on_disk, gaps = stored(tmp_path, Trade), stored(tmp_path, Gap)
    assert len(on_disk) + sizes(gaps) == stats.totals.frames - answers
    assert stats.totals.gaps == len(gaps)
    (fault,) = faults
    assert isinstance(fault, StorageFailed if escalate == "park" else RestartsExceeded)


async def test_a_partition_that_cannot_be_written_keeps_no_other_from_the_disk(
    tmp_path: Path,
) -> None:
    kept = Kept()
    supervision = {"backoff_cap": 0.02, "drain_seconds": 10}
    async with open_fake(live()) as fake:
        config = config_of(
            fake, ["BTCUSDT", "ETHUSDT"], data=str(tmp_path), supervision=supervision
        )
        with failing() as faults:
            async with running(config, kept) as farm:
                store = store_of(farm)
                write = store.write

                def crash(partition: Partition) -> WrittenFile | None:
                    if (partition.symbol, partition.data_type) == ("BTCUSDT", DataType.TRADE):
                        raise ZeroDivisionError("a bug")
                    return write(partition)

                store.write = crash  # type: ignore[method-assign]
                await until(
                    lambda: {trade.symbol for trade in kept.trades} == {"BTCUSDT", "ETHUSDT"}
                )
    eth = [trade for trade in kept.trades if trade.symbol == "ETHUSDT"]
    assert stored(tmp_path, Trade) == eth
    (fault,) = faults
    left = len(kept.trades) - len(eth)
    assert str(fault) == "sink crashed more than 5 times in 60 s"
    assert fault.__notes__ == [f"{left} rows were not written within the grace period"]


async def test_whenever_it_ends_every_frame_is_an_event_or_in_a_gap() -> None:
    """Stopped in the middle of a flood, with no time at all, or next to none."""
    for moment in moments(20):
        kept = Kept()
        market = MarketSimulator(
            Exchange.BINANCE, Market.SPOT, ["BTCUSDT"], seed=2, rate=3_000, seconds=30
        )
        async with open_fake(FakeBinance(market, pace=Flood(start_after=1))) as fake:
            drain = 0.0 if moment % 2 else moment * 0.001
            config = config_of(fake, ["BTCUSDT"], supervision={"drain_seconds": drain})
            async with running(config, kept) as farm:
                await trio.sleep(moment * 0.01)
            frames = farm.stats().totals.frames
        sizes = [gap.size or 0 for gap in kept.gaps]
        assert len(kept.trades) + sum(sizes) == frames - 1


async def test_the_order_of_start_and_stop_can_be_followed_and_nothing_goes_on_running() -> None:
    kept = Kept()
    story: list[LifecycleEvent] = []

    async def follow(pipeline: Pipeline, task_status: trio.TaskStatus[None]) -> None:
        with pipeline.events() as events:
            task_status.started()
            async for event in events:
                story.append(event)  # noqa: PERF401 (each as it comes)

    async with (
        open_fake(live()) as fake,
        trio.open_nursery() as nursery,
        running(config_of(fake, ["BTCUSDT"]), kept) as farm,
    ):
        await nursery.start(follow, farm._pipeline)
        fake.break_connections()
        await until(lambda: farm.stats().totals.reconnects == 1)
    # The stream has ended with the farm, else this would wait for ever.
    stopped = [event.actor for event in story if event.what is Lifecycle.STOPPED]
    name = "binance/spot#1"
    places = {actor: stopped.index(actor) for actor in stopped}
    assert places.keys() == {
        name,
        f"{name} parser",
        f"{name} aggregator",
        "binance/spot#instruments",
        "instruments",
        "sink",
    }
    assert len(stopped) == len(places)
    assert max(places[name], places["binance/spot#instruments"]) < places[f"{name} parser"]
    assert places[f"{name} parser"] < places[f"{name} aggregator"] < places["sink"]
    assert [event.error for event in story if event.what is Lifecycle.STOPPED] == [None] * 6
    again = [e.what.value for e in story if e.actor == name]
    assert again == ["weather", "restarted", "healthy", "stopped"]
    assert stats_of(farm) == ["stopped"]


def stats_of(farm: Farm) -> list[str]:
    return [connection.status for connection in farm.stats().connections]


async def test_what_is_added_while_a_line_is_closed_gets_another() -> None:
    kept = Kept()
    async with open_fake(live()) as fake, running(config_of(fake, ["BTCUSDT"]), kept) as farm:
        (line,) = farm._pipeline.lines
        farm.remove_symbols("BTCUSDT")
        await until(lambda: line.full)
        await farm.add_symbols("ETHUSDT")
        await until(lambda: kept.trades[-1].symbol == "ETHUSDT")
        assert line not in farm._pipeline.lines


# The last words of a core ------------------------------------------------------------------------


@pytest.mark.parametrize("crashes", [2, 1_000])
async def test_what_was_down_is_recorded_though_the_core_crashes_on_its_last_input(
    crashes: int,
) -> None:
    """Twice, and what says that nothing follows is quarantined; or whenever it is told."""
    kept, left = Kept(), [crashes]
    async with open_fake(live()) as fake, running(config_of(fake, ["BTCUSDT"]), kept) as farm:
        (line,) = farm._pipeline.lines
        (lane,) = line.lanes
        core: Any = lane.session
        take = core._take

        def crash(item: Input, harvest: Any) -> Any:
            if isinstance(item, Finished) and left[0]:
                left[0] -= 1
                raise ZeroDivisionError("a bug")
            return take(item, harvest)

        core._take = crash
        down_since = kept.trades[-1].receive_time
        lane.session.statuses["btcusdt@trade"].down_since = down_since
    assert lane.inputs.quarantine_count == 1
    (gap,) = kept.gaps
    assert (gap.feed, gap.edge, gap.start_time, gap.size) == (TRADES, "venue", down_since, None)
    assert gap.cause is (GapCause.DISCONNECT if crashes == 2 else GapCause.CRASH)
    assert (gap.end_time or 0) > down_since
    assert line.merger.lanes == []


START = 1_000


def status(**more: Any) -> StreamStatus:
    stream = rules_of(Exchange.BINANCE, Market.SPOT).streams.stream("BTCUSDT", "trade")
    return StreamStatus(stream, **more)


def words(
    known: StreamStatus, *left: Input
) -> list[tuple[int | None, int | None, str, int | None]]:
    """What is said of a stream in place of its core: start, end, edge, and size."""
    origin = Origin(Exchange.BINANCE, Market.SPOT, "c", 2)
    bundle = words_without_core([known], left, origin, NumberMode.FLOAT, 9_000)
    assert bundle.final
    gaps = [gap for batch in bundle.batches for gap in batch]
    assert {gap.cause for gap in gaps} <= {GapCause.CRASH}
    return [(gap.start_time, gap.end_time, gap.edge, gap.size) for gap in gaps]


def lost(frames: int, start: int) -> Lost:
    return Lost(2, frames, start, start + 50, "connection>parser", quarantined=False)


@pytest.mark.parametrize("left", [(), (lost(5, START),), (Closed(2, START, "reset by peer"),)])
def test_of_a_stream_that_was_never_subscribed_nothing_was_lost(left: tuple[Input, ...]) -> None:
    assert words(status(), *left) == []


def test_what_was_lost_may_have_been_any_streams_and_counts_once() -> None:
    known = status(last_time=START - 10)
    assert words(known) == []
    assert words(known, lost(0, START)) == []
    assert words(known, lost(5, START), Opened(3, START, 0.0), lost(2, START + 90)) == [
        (START, 9_000, "connection>parser", 7)
    ]


def test_a_stream_that_was_down_before_the_loss_has_missed_all_since_then() -> None:
    known = status(acknowledged_at=1, down_since=START - 10)
    assert words(known) == words(known, lost(5, START)) == [(START - 10, 9_000, "venue", None)]
    after = status(acknowledged_at=1, down_since=START + 10)
    assert words(after, lost(5, START)) == [(START, 9_000, "connection>parser", 5)]


def test_where_the_connection_has_ended_every_stream_has_missed_what_came_after() -> None:
    known = status(last_time=START - 10, acknowledged_at=1)
    gone = [(START - 10, 9_000, "venue", None)]
    assert words(known, Closed(2, START, "reset by peer")) == gone
    assert words(known, Opened(3, START, 0.0)) == gone
    assert words(known, Closed(2, START, "bye", intended=True)) == []
    silent = status(acknowledged_at=1)
    assert words(silent, Closed(2, START, "reset by peer")) == [(START, 9_000, "venue", None)]


# A parser that is cut while it sends -------------------------------------------------------------


async def cut_in_sending() -> tuple[Line, Lane, Bundle]:
    """A connection broke and came back, and its parser is ended while it waits for room for what
    tells of that. In the same read there is a trade."""
    inputs = Inputs().open().read(binance_trade(1))
    before = len(inputs.items)
    inputs.close().open()
    answer = inputs.items[-1]
    assert isinstance(answer, Frames)
    answer.frames.append(binance_trade(2))
    one = line_of(mailbox_bytes=1)
    (lane,) = one.lanes
    for item in inputs.items[:before]:
        lane.session.handle(item)
    for item in inputs.items[before:]:
        lane.inputs.put(item)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lane.parser(one.bundles).run, Health(lambda: None))
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    lane.inputs.put(inputs.read(binance_trade(3)).items[-1])
    assert lane.parsing is not None
    assert lane.parsing.sending is not None
    return one, lane, lane.parsing.sending


def line_of(**settings: Any) -> Line:
    rules = rules_of(Exchange.BINANCE, Market.SPOT)
    streams = [rules.streams.stream("BTCUSDT", "trade")]
    one = make_line(
        "c",
        rules,
        Settings(**settings),
        SessionOptions(),
        Overflow.DROP_OLDEST,
        QuarantineStore(),
        streams,
    )
    one.new_lane()
    return one


async def test_of_what_a_cut_parser_was_sending_events_are_lost_and_gaps_are_passed_on() -> None:
    one, _, _ = await cut_in_sending()
    published: list[Bundle] = []

    async def publish(bundle: Bundle) -> None:
        await trio.lowlevel.checkpoint()
        published.append(bundle)

    await one.publish_rest(publish, lambda: 9 * SECOND)
    assert trade_ids(published) == []
    assert told(rows(Gap, published)) == [
        ("BTCUSDT/trade", "overflow", "parser>aggregator", 1),
        ("BTCUSDT/trade", "disconnect", "venue", None),
        ("BTCUSDT/trade", "overflow", "connection>parser", 1),
    ]
    assert published[-1].final


async def test_what_a_cut_parser_was_sending_is_sent_when_its_lane_ends() -> None:
    one, lane, cut = await cut_in_sending()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.end_lane, lane, lambda: 9 * SECOND)
        reader = one.bundles.reader()
        bundles = [await reader.next() for _ in range(4)]
    closed, again, left, last = bundles
    assert closed.ended is not None
    assert again is cut
    assert trade_ids(bundles) == [2]
    assert told(rows(Gap, bundles)) == [
        ("BTCUSDT/trade", "disconnect", "venue", None),
        ("BTCUSDT/trade", "overflow", "connection>parser", 1),
    ]
    assert rows(Gap, [left]) != []
    assert last.final
    assert lane.cut is None

"""What is left when a stage's grace is over, or where an actor was given up: gaps, all of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from farm import Farm, Gap, GapCause, GapUnit, Trade, open_farm
from farm.actors import Child, Lifecycle, LifecycleEvent
from farm.bundle import Bundle
from farm.pipeline import Lane, Line, Pipeline
from farm.storage.parquet import read_batches
from farm.testing import FakeBinance, Flood, MarketSimulator, Recorded, open_fake
from farm.types import Exchange, Market
from tests.effort import moments
from tests.farms import collector, until

TRADES = "binance/spot/BTCUSDT/trade"


def live() -> FakeBinance:
    symbols = ["BTCUSDT", "ETHUSDT"]
    market = MarketSimulator(Exchange.BINANCE, Market.SPOT, symbols, seed=2, rate=400)
    return FakeBinance(market, pace=Recorded(speed=2.0))


def config_of(fake: FakeBinance, symbols: list[str], **more: Any) -> dict[str, Any]:
    """Trades alone, so that each frame is one event."""
    supervision = {"backoff_initial": 0.01, "drain_seconds": 0.3}
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
    lane.session._routes = None  # type: ignore[assignment]


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

"""The benchmark of shards: what it names has really happened, and nothing was lost by it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

from benchmarks import shard_work, shards
from benchmarks.contenders.farm_shards import is_quiet
from benchmarks.contenders.race import RaceFailed
from benchmarks.shard_farms import children
from benchmarks.shard_link import BARE, FRESH, MADE, ROWS, Crossing, cross, parents_end
from benchmarks.shard_replay import BOOKS, TRADES_AND_QUOTES, Replay, Venue
from benchmarks.shard_times import longest_pause
from benchmarks.shard_work import ALONE, ONE_SHARD, TWO_SHARDS, Work, measure, work_cases
from farm import BookUpdate, FarmStats, Quote, Trade, open_farm
from farm.entities import Event
from farm.pipeline import Environment
from tests.effort import runs
from tests.farms import until

CONFIG: dict[str, Any] = {
    "exchange": "binance",
    "market": "spot",
    "symbols": ["BTCUSDT"],
    "endpoints": {"ws": "ws://127.0.0.1:1", "rest": "http://127.0.0.1:1"},
}


# -------------------------------------------------------------------------------------------- work
def test_two_shards_process_what_was_made_for_them_and_the_parent_reads_it() -> None:
    told = measure(Work("w", TRADES_AND_QUOTES, 500, True), 2)
    assert (told["events"], told["gaps"]) == (2_000, 0)
    assert min(told["seconds"], told["cpu"], told["cpu of shards"]) > 0


async def replayed(
    streams: tuple[str, ...], names: list[str], of_each: int, kinds: list[type[Event]], path: Path
) -> tuple[list[Event], FarmStats]:
    """All events of one connection, in this process, and how the farm is when they have come."""
    venue = Venue(Replay(streams, of_each, str(path)))
    events: list[Event] = []
    collectors = [CONFIG | {"streams": names}]
    environment = Environment(open_stream=venue.open_stream)
    async with (
        open_farm({"collectors": collectors}, environment=environment) as farm,
        farm.subscribe(*kinds) as batches,
    ):
        await until(lambda: is_quiet(farm, len(streams)))
        venue.begin()
        with trio.fail_after(30):
            async for batch in batches:
                events += (event for event in batch if not getattr(event, "is_snapshot", False))
                if len(events) == (of_each + 1) * len(streams):
                    break
        return events, farm.stats()


async def test_every_trade_and_quote_is_replayed_once_and_in_order(tmp_path: Path) -> None:
    kinds: list[type[Event]] = [Trade, Quote]
    events, stats = await replayed(TRADES_AND_QUOTES, ["trade", "quote"], 700, kinds, tmp_path)
    for kind, name in ((Trade, "id"), (Quote, "update_id")):
        ids = [int(getattr(event, name)) for event in events if type(event) is kind]
        assert ids == list(range(ids[0], ids[0] + 701))
    assert stats.totals.gaps == 0


async def test_a_replayed_book_stays_verified_over_its_return_to_the_start(tmp_path: Path) -> None:
    _, stats = await replayed(BOOKS, ["book"], 2_000, [BookUpdate], tmp_path)
    book = next(feed.book for feed in stats.feeds if feed.book is not None)
    assert (book.verdict, book.snapshots, book.resyncs) == ("verified", 1, 0)


def test_events_that_did_not_come_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"events": 1_000, "gaps": 0}
    monkeypatch.setattr(shard_work, "told_by", lambda *_: said)
    work = Work("w", TRADES_AND_QUOTES, 250, False)
    assert measure(work, 1) == said
    for wrong in ({"events": 999}, {"gaps": 1}):
        monkeypatch.setattr(shard_work, "told_by", lambda *_, w=wrong: said | w)
        with pytest.raises(RaceFailed, match="of 1000 events"):
            measure(work, 1)


def test_two_shards_are_held_against_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def fake(work: Work, count: int) -> dict[str, float]:
        events = work.of_each * len(work.streams) * 2
        seconds = {0: 3.0, 1: 4.0, 2: 2.0}[count]
        return {"events": events, "seconds": seconds, "cpu": 1.0, "cpu of shards": 3.0}

    monkeypatch.setattr(shard_work, "measure", fake)
    monkeypatch.setattr(shard_work, "_LOOP", "pass")
    *works, loops = work_cases(1, quick=False)
    assert len(works) == 3
    for case in works:
        assert [figure.contender for figure in case.figures] == [TWO_SHARDS, ONE_SHARD, ALONE]
        assert [(goal.ratio, goal.met) for goal in case.goals] == [(2.0, True)]
    assert all(figure.median > 0 for figure in loops.figures)


# -------------------------------------------------------------------------------------------- link
@pytest.mark.parametrize("paced", [False, True])
@pytest.mark.parametrize("what", ["trades", "quotes", "book diffs"])
def test_all_events_cross_and_are_looked_at(what: str, paced: bool) -> None:
    with parents_end() as end:
        for size in (1, 30):
            crossing = Crossing(what, size, 20, paced)
            for read in ("columns", "objects"):
                crossed = cross(crossing, end, lambda _bundle: None, read)
                assert crossed.events == crossing.events == 20 * size
                assert min(crossed.shard, crossed.parent) > 0
            assert cross(crossing, end, lambda _bundle: None, "nothing").events == 0


def test_batches_are_as_large_as_they_are_named() -> None:
    made = Crossing("trades", 25, 4, False).bundles()
    assert [[len(batch) for batch in bundle.batches] for bundle in made] == [[25]] * 4
    assert not any(batch.has_rows for bundle in made for batch in bundle.batches)


# ------------------------------------------------------------------------------------------- times
def test_a_pause_reaches_from_one_event_to_the_next_or_to_an_end() -> None:
    assert longest_pause([1.0, 2.0, 5.0, 6.0], 0.0, 7.0) == 3.0
    assert longest_pause([1.0, 2.0], 0.0, 7.0) == 5.0
    assert longest_pause([4.0, 9.0], 0.0, 7.0) == 4.0
    assert longest_pause([], 2.0, 7.0) == 5.0


def test_children_are_found_until_they_have_ended() -> None:
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    with subprocess.Popen(command) as process:
        assert process.pid in children(os.getpid())
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert process.pid not in children(os.getpid())


# --------------------------------------------------------------------------------------- all of it
@pytest.mark.skipif(runs(1) < 2, reason="takes 10 s of two cores: see tests.effort")
def test_a_quick_run_has_everything_and_loses_nothing() -> None:
    report = shards.run(1, quick=True)
    figures = {figure.contender for case in report.cases for figure in case.figures}
    assert {ALONE, ONE_SHARD, TWO_SHARDS, FRESH, MADE, ROWS, BARE} <= figures
    names = [case.name for case in report.cases]
    assert len(names) == len(set(names)) == 9
    for case in report.cases:
        for figure in case.figures:
            assert figure.delivered in (None, 1.0)
            assert len(figure.values) == 1
            assert figure.median > 0
    assert json.dumps(report.to_json())

"""Shards that are killed, crash, hang, outgrow their memory and do not start: real processes and
real signals."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from farm import open_farm
from farm.actors.lifecycle import Lifecycle
from farm.cluster.process import start_process
from farm.errors import ShardError
from farm.pipeline import Environment
from farm.pipeline.environment import StartedProcess
from farm.types import BookVerdict
from tests.cluster.farms import (
    FEEDS,
    LINEAR,
    MIB,
    SPOT,
    by_feed,
    config_of,
    nothing_is_left,
    open_cluster,
    open_fakes,
    see_accounted,
    see_crash_gaps,
    see_stored,
    stored,
)
from tests.effort import runs
from tests.farms import until


@pytest.fixture(autouse=True)
def _nothing_is_left(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with nothing_is_left(caplog):
        yield


# Killed -------------------------------------------------------------------------------------------


async def test_a_killed_shard_is_replaced_and_what_that_cost_is_on_record(tmp_path: Path) -> None:
    for run in range(runs(1)):
        data = tmp_path / str(run)
        async with open_cluster(data=str(data)) as cluster:
            await cluster.beats()
            other = cluster.process(2).pid
            hit = await cluster.hit(1)
            await cluster.replaced(hit)
            await cluster.trading()
            assert cluster.process(2).pid == other
            assert cluster.process(1).restarts == 1
            assert cluster.process(1).reason.endswith("killed by SIGKILL")
        see_crash_gaps(cluster.gaps, hit)
        see_accounted(cluster.fakes, cluster.trades, cluster.gaps)
        see_stored(data, cluster, hit)


async def test_a_shard_is_killed_as_soon_as_it_delivers() -> None:
    for _ in range(runs(1)):
        async with open_cluster() as cluster:
            await until(lambda: any(feed.startswith(SPOT) for feed in cluster.trades))
            hit = await cluster.hit(1)
            await cluster.replaced(hit)
            await cluster.trading()
        see_crash_gaps(cluster.gaps, hit)
        see_accounted(cluster.fakes, cluster.trades, cluster.gaps)


async def test_a_shard_is_killed_again_and_again_as_soon_as_it_is_back() -> None:
    async with open_cluster(
        cluster={"intensity": 1000}, supervision={"backoff_initial": 0.01}
    ) as cluster:
        await cluster.trading()
        for _ in range(runs(2)):
            before = len(cluster.gaps)
            await cluster.hit(1)
            await until(lambda before=before: len(cluster.gaps) > before)  # type: ignore[misc]
        await cluster.trading()
    assert by_feed(cluster.gaps).keys() == FEEDS[SPOT]
    see_accounted(cluster.fakes, cluster.trades, cluster.gaps)


async def test_a_shard_that_is_killed_before_its_streams_are_back_has_one_gap(
    tmp_path: Path,
) -> None:
    async with open_cluster(data=str(tmp_path)) as cluster:
        await cluster.trading()
        cluster.fakes[SPOT].kill()  # nobody comes back
        first = await cluster.hit(1)
        await cluster.replaced(first)
        second = await cluster.hit(1)
        await cluster.replaced(second)
        await cluster.fakes[SPOT].revive()
        await cluster.trading()
        assert cluster.process(1).restarts == 2
    see_crash_gaps(cluster.gaps, first, second)
    see_accounted(cluster.fakes, cluster.trades, cluster.gaps)
    see_stored(tmp_path, cluster, first, second)


async def test_all_shards_are_killed_at_once(tmp_path: Path) -> None:
    for run in range(runs(1)):
        data = tmp_path / str(run)
        async with open_cluster(data=str(data)) as cluster:
            await cluster.beats()
            hits = [await cluster.hit(1), await cluster.hit(2)]
            for hit in hits:
                await cluster.replaced(hit)
            await cluster.trading()
        see_crash_gaps(cluster.gaps, *hits)
        see_accounted(cluster.fakes, cluster.trades, cluster.gaps)
        see_stored(data, cluster, *hits)


async def test_a_book_is_stale_at_once_and_until_it_is_whole_again() -> None:
    async with open_cluster() as cluster:
        await cluster.trading()
        bybit = cluster.fakes[LINEAR]
        bybit.filter = lambda _connection, _push: False
        seen = bybit.connections_accepted
        hit = await cluster.hit(2)
        await until(lambda: cluster.process(2).pid != hit.pid)
        assert cluster.verdicts(LINEAR) == {BookVerdict.STALE}
        before = cluster.book(LINEAR)
        await until(lambda: bybit.connections_accepted > seen)
        await until(lambda: cluster.process(2).connections == 1)
        assert cluster.book(LINEAR) == before  # nobody has told of it
        bybit.filter = None
        for connection in bybit.connections:
            connection.reset()
        await cluster.trading()
        assert cluster.book(LINEAR) != before


# The end of a farm whose shard was killed ---------------------------------------------------------


async def test_a_farm_ends_when_the_streams_are_just_back(tmp_path: Path) -> None:
    for run in range(runs(1)):
        data = tmp_path / str(run)
        async with open_cluster(data=str(data)) as cluster:
            await cluster.trading()
            hit = await cluster.hit(1)
            await until(lambda: len(cluster.gaps) >= len(FEEDS[SPOT]))
        see_crash_gaps(cluster.gaps, hit)
        see_stored(data, cluster, hit)


async def test_a_farm_ends_before_the_streams_are_back(tmp_path: Path) -> None:
    async with open_cluster(data=str(tmp_path)) as cluster:
        await cluster.trading()
        cluster.fakes[SPOT].kill()
        hit = await cluster.hit(1)
        await cluster.replaced(hit)
    see_crash_gaps(cluster.gaps, hit)
    see_stored(tmp_path, cluster, hit)


async def test_a_farm_ends_while_a_shard_has_no_process(tmp_path: Path) -> None:
    """It has no time for a process that is about to start, and does not wait for its end in vain:
    that would be the grace of a stage that hangs."""
    async with open_cluster(data=str(tmp_path), cluster={"spare": False}) as cluster:
        await cluster.trading()
        hit = await cluster.hit(1)
        await until(lambda: cluster.process(1).pid == 0)
        with cluster.farm.lifecycle() as events:
            cluster.farm.stop()
            stopped = [event async for event in events if event.what is Lifecycle.STOPPED]
    assert [event.error for event in stopped if event.actor == "shard 1"] == [None]
    assert cluster.states() == ["stopped", "stopped"]
    see_crash_gaps(cluster.gaps, hit)
    see_stored(tmp_path, cluster, hit)


async def test_a_shard_is_killed_in_the_drain(tmp_path: Path) -> None:
    for run in range(runs(1)):
        data = tmp_path / str(run)
        async with open_cluster(data=str(data)) as cluster:
            await cluster.beats()
            cluster.farm.stop()
            hit = await cluster.hit(1)
        assert cluster.states() == ["stopped", "stopped"]
        see_crash_gaps(cluster.gaps, hit)
        see_accounted(cluster.fakes, cluster.trades, cluster.gaps)
        see_stored(data, cluster, hit)


# Other ways to fail -------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGABRT, signal.SIGSEGV])
async def test_a_shard_that_crashes(number: signal.Signals) -> None:
    async with open_cluster() as cluster:
        await cluster.trading()
        hit = await cluster.hit(1, number)
        await cluster.replaced(hit)
        await cluster.trading()
        assert cluster.process(1).reason.endswith(f"killed by {number.name}")
    see_crash_gaps(cluster.gaps, hit)
    see_accounted(cluster.fakes, cluster.trades, cluster.gaps)


async def test_a_shard_that_hangs() -> None:
    async with open_cluster(cluster={"heartbeat_seconds": 0.1, "hang_seconds": 1.0}) as cluster:
        await cluster.trading()
        hit = await cluster.hit(1, signal.SIGSTOP)
        await cluster.replaced(hit)
        await cluster.trading()
        assert "said nothing for 1 s" in cluster.process(1).reason
    see_crash_gaps(cluster.gaps, hit)
    see_accounted(cluster.fakes, cluster.trades, cluster.gaps)


async def test_a_shard_that_fails_too_often_is_parked_and_the_others_go_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_cluster(data=str(tmp_path), cluster={"intensity": 1}) as cluster:
        with cluster.farm.lifecycle() as events:
            await cluster.trading()
            first = await cluster.hit(1)
            await cluster.replaced(first)
            await cluster.trading()
            second = await cluster.hit(1)
            await until(lambda: cluster.states() == ["parked", "running"])
            async for event in events:
                if event.actor == "shard 1" and event.what is Lifecycle.PARKED:
                    break
        assert "shard 1 crashed more than 1 times in 60 s: it is parked" in caplog.text
        assert cluster.process(1).pid == 0
        await cluster.trading(LINEAR)
        assert cluster.verdicts(SPOT) == {BookVerdict.STALE}
        before_end = time.time_ns()
    see_crash_gaps(cluster.gaps[: len(FEEDS[SPOT])], first)
    see_crash_gaps(cluster.gaps[len(FEEDS[SPOT]) :], second)
    see_accounted(cluster.fakes, cluster.trades, cluster.gaps)
    see_stored(tmp_path, cluster, first, second)
    _, gaps = stored(tmp_path)
    assert all(gap.end_time is not None and gap.end_time >= before_end for gap in gaps)


# What is started in place of a shard.
ENDS_AT_ONCE = "import sys; sys.exit('no room at the inn')"
HOARDS_WHEN_TOLD = """
import signal
from farm.cluster.shard import main
hoard = []
signal.signal(signal.SIGUSR1, lambda *_: hoard.append(b"x" * (512 << 20)))
main()
"""


class Starts:
    """Starts shards, but for those from `first` to `last`, counted from 1: they run `program`."""

    def __init__(self, program: str, first: int, last: int) -> None:
        self.count = 0
        self._program = program
        self._others = range(first, last + 1)

    async def __call__(self, name: str, nursery: trio.Nursery) -> StartedProcess:
        self.count += 1
        command = None
        if self.count in self._others:
            command = [sys.executable, "-c", self._program]
        return await start_process(name, nursery, command=command)


async def test_a_shard_that_ends_in_start_up_ends_the_farm_that_is_about_to_open() -> None:
    environment = Environment(start_shard=Starts(ENDS_AT_ONCE, 2, 2))
    with pytest.raises(
        ShardError, match=r"shard \d did not start: exit code 1: no room at the inn"
    ):
        async with open_fakes() as fakes, open_farm(config_of(fakes), environment=environment):
            pytest.fail("it has opened")


async def test_a_shard_whose_later_processes_end_in_start_up_is_started_again() -> None:
    starts = Starts(ENDS_AT_ONCE, 3, 5)
    async with open_cluster(
        environment=Environment(start_shard=starts),
        cluster={"spare": False},
        supervision={"backoff_initial": 0.01},
    ) as cluster:
        await cluster.trading()
        hit = await cluster.hit(1)
        await cluster.replaced(hit)
        await cluster.trading()
        assert cluster.process(1).restarts == 1
        assert starts.count == 6
        assert "no room at the inn" in cluster.process(1).reason
    see_crash_gaps(cluster.gaps, hit)
    see_accounted(cluster.fakes, cluster.trades, cluster.gaps)


async def test_a_spare_that_does_not_start_is_no_failure_of_a_shard(
    caplog: pytest.LogCaptureFixture,
) -> None:
    starts = Starts(ENDS_AT_ONCE, 3, 3)
    async with open_cluster(environment=Environment(start_shard=starts)) as cluster:
        await until(lambda: "no spare process" in caplog.text)
        await cluster.trading()
        hit = await cluster.hit(1)
        await cluster.replaced(hit)
        await cluster.trading()
        assert cluster.process(1).restarts == 1
    see_crash_gaps(cluster.gaps, hit)


async def test_a_memory_limit_below_what_a_shard_takes_parks_it() -> None:
    limits = {"memory_limit": 64 * MIB, "intensity": 1}
    async with open_cluster(cluster=limits, supervision={"backoff_initial": 0.01}) as cluster:
        await until(lambda: cluster.states() == ["parked", "parked"])
        for number in (1, 2):
            assert "memory limit passed" in cluster.process(number).reason
            assert cluster.process(number).restarts == 1


async def test_a_shard_that_outgrows_its_memory_is_replaced(tmp_path: Path) -> None:
    starts = Starts(HOARDS_WHEN_TOLD, 1, 2)
    async with open_cluster(
        environment=Environment(start_shard=starts),
        data=str(tmp_path),
        cluster={"memory_limit": 384 * MIB},
    ) as cluster:
        await cluster.beats()
        hit = await cluster.hit(1, signal.SIGUSR1)
        await cluster.replaced(hit)
        await cluster.trading()
        assert "memory limit passed" in cluster.process(1).reason
    see_crash_gaps(cluster.gaps, hit)
    see_accounted(cluster.fakes, cluster.trades, cluster.gaps)
    see_stored(tmp_path, cluster, hit)

"""What becomes of lines whose shard is cut short, or is parked for good; shards in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from farm import Farm, Gap, Trade
from farm.errors import ShardError
from farm.exchanges.outages import SHARD_EDGE
from farm.monitor.stats import ProcessStats
from farm.storage.reader import read_batches
from farm.testing import open_fake
from farm.types import GapCause, Market
from tests.cluster.in_process import sources_of
from tests.cluster.trading import Trading, UserReader, all_live, unrecorded, until
from tests.effort import runs
from tests.farms import SYMBOLS, feed

SPOT = SYMBOLS[Market.SPOT]


def shard(farm: Farm, number: int) -> ProcessStats:
    (found,) = [p for p in farm.stats().processes if p.name == f"shard {number}"]
    return found


def stored(data: Path, kind: type[Any]) -> list[Any]:
    return [row for batch in read_batches(data, kind) for row in batch.rows]


def see_crash(gaps: list[Gap]) -> None:
    """One of each feed, by the crash of a process."""
    assert len({gap.feed for gap in gaps}) == len(gaps), gaps
    assert {(gap.cause, gap.edge) for gap in gaps} == {(GapCause.CRASH, SHARD_EDGE)}


def see_stored_or_lost(data: Path, reader: UserReader) -> None:
    """Every trade that was read is in a file, or in a gap that is in one."""
    kept = {(trade.symbol, trade.id) for trade in stored(data, Trade)}
    gaps = {gap.symbol: gap for gap in stored(data, Gap) if gap.feed.endswith("/trade")}
    missing = [t for t in reader.of(Trade) if (t.symbol, t.id) not in kept]
    assert missing, "nothing was lost: the test is void"
    for trade in missing:
        mine = gaps[trade.symbol]
        assert mine.start_time <= trade.receive_time <= mine.end_time, (trade, mine)


# --------------------------------------------------------------------------------------- cut short
@pytest.mark.parametrize("aborted", [False, True], ids=["drained", "aborted"])
async def test_what_a_shard_had_that_is_cancelled_at_the_end_is_on_record(
    aborted: bool, tmp_path: Path, autojump_clock: MockClock
) -> None:
    """It hangs, and is given up when its time to end in is over: before that is seen otherwise."""
    trading, reader = Trading("binance/spot", "trade book", seconds=60.0), UserReader()
    trading.more = {"supervision": {"drain_seconds": 1.0}, "cluster": {"hang_seconds": 600.0}}
    async with trading.open(2, reader, data=str(tmp_path)) as farm:
        await until(lambda: all_live(farm))
        await trio.sleep(3)
        hanging = trading.world.shard(1)
        symbols = [line.streams()[0].symbol for line in sources_of(farm).lines if line.shard == 1]
        hanging.stop()
        stopped = trading.world.wall_clock()
        await trio.sleep(0.5)
        if aborted:
            trading.world.shard(2).stop()
            symbols = list(SPOT)
    for gaps in (reader.of(Gap), stored(tmp_path, Gap)):
        see_crash(gaps)
        assert {gap.feed for gap in gaps} == {
            f"binance/spot/{symbol}/{word}" for symbol in symbols for word in ("trade", "book")
        }
        assert all(gap.start_time <= stopped < gap.end_time for gap in gaps)
    see_stored_or_lost(tmp_path, reader)


async def test_what_two_lanes_lost_with_their_shard_is_recorded_once(
    autojump_clock: MockClock,
) -> None:
    """By the lane that is back first: from then on nothing is missing."""
    for seed in range(runs(3)):
        trading = Trading("binance/spot", "trade quote book", lanes=2, seconds=20.0, seed=seed)
        reader, control = UserReader(), UserReader()
        async with (
            open_fake(trading.fake),
            trading.farm(1, control),
            trading.farm(2, reader) as farm,
        ):
            await until(lambda farm=farm: all_live(farm))
            await trio.sleep(2 + 0.37 * seed)
            trading.world.shard(1).kill()
            await until(lambda farm=farm: shard(farm, 1).restarts == 1)
            await until(lambda farm=farm: all_live(farm) and lanes_of(farm) == 4)
            await trading.all_traded()
        see_crash(reader.of(Gap))
        assert len(reader.of(Gap)) == 3
        assert unrecorded(reader, control) == []
        assert reader.repeated() == {}


def lanes_of(farm: Farm) -> int:
    return sum(connection.status == "running" for connection in farm.stats().connections)


# ------------------------------------------------------------------------------------------ parked
@asynccontextmanager
async def parked(
    trading: Trading, *numbers: int, reader: UserReader | None = None, **more: Any
) -> AsyncIterator[Farm]:
    """A farm of two shards, of which these are parked."""
    async with trading.open(2, reader, cluster={"intensity": 0}, **more) as farm:
        await until(lambda: all_live(farm))
        await trio.sleep(3)
        for number in numbers:
            trading.world.shard(number).kill()
        await until(lambda: all(shard(farm, number).state == "parked" for number in numbers))
        yield farm


async def test_of_one_that_is_parked_nothing_is_said_but_why(autojump_clock: MockClock) -> None:
    """Nothing of how it was: that is over."""
    async with parked(Trading("binance/spot", "trade book"), 1) as farm:
        await trio.sleep(3)
        dead, well = shard(farm, 1), shard(farm, 2)
        assert (dead.rate, dead.cpu, dead.memory, dead.pid) == (None, None, None, 0)
        assert "killed by SIGKILL" in dead.reason
        assert dead.connections == 0
        assert dead.events > 0, "what it had counted stays"
        assert well.rate
        assert well.cpu == pytest.approx(0.1, rel=0.5)
        for found in (found for found in farm.stats().feeds if found.state):
            if found.feed.startswith(f"binance/spot/{SPOT[0]}/"):
                assert (found.state, found.reason) == ("down", dead.reason)
            else:
                assert (found.state, found.reason) == ("live", ""), found.feed


async def test_while_it_is_started_anew_its_feeds_are_down(autojump_clock: MockClock) -> None:
    trading = Trading("binance/spot", "trade book")
    async with trading.open(2, cluster={"spare": False}) as farm:
        await until(lambda: all_live(farm))
        await trio.sleep(2)
        assert shard(farm, 1).rate
        trading.world.may_start = lambda _name: False
        trading.world.shard(1).kill()
        await until(lambda: shard(farm, 1).state == "restarting")
        again = shard(farm, 1)
        assert (again.rate, again.cpu) == (None, None)
        name = f"binance/spot/{SPOT[0]}/trade"
        found = feed(farm.stats(), name)
        assert (found.state, found.reason) == ("down", again.reason)
        assert again.reason
        trading.world.may_start = lambda _name: True
        await until(lambda: shard(farm, 1).state == "running")
        await until(lambda: feed(farm.stats(), name).state == "live")
        assert feed(farm.stats(), name).reason == ""


@pytest.mark.parametrize("number", [1, 2])
async def test_no_new_line_is_placed_on_one_that_is_parked(
    number: int, autojump_clock: MockClock
) -> None:
    """Though it has least to do."""
    async with parked(Trading("binance/usdm", specs="trade"), number) as farm:
        sources = sources_of(farm)
        before = {line.name for line in sources.lines}
        for place in range(len(SYMBOLS[Market.USDM])):
            await farm.add_streams("mark_price", collector=place)  # takes another route
        new = [line for line in sources.lines if line.name not in before]
        assert len(new) > 1
        assert {line.shard for line in new} == {3 - number}
        await until(lambda: feed(farm.stats(), "binance/usdm/BTCUSDT/mark_price").state == "live")


async def test_streams_that_are_added_to_a_line_of_one_are_down_and_on_record_at_the_end(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """From when they were wanted on."""
    trading, reader = Trading("binance/spot", "trade", seconds=60.0), UserReader()
    async with parked(trading, 1, reader=reader, data=str(tmp_path)) as farm:
        await trio.sleep(1)
        added = trading.world.wall_clock()
        await farm.add_streams("quote", collector=0)
        await trio.sleep(1)
        found = feed(farm.stats(), f"binance/spot/{SPOT[0]}/quote")
        assert (found.state, found.reason) == ("down", shard(farm, 1).reason)
        assert reader.of(Gap) == []
        before_end = trading.world.wall_clock()
    for gaps in (reader.of(Gap), stored(tmp_path, Gap)):
        see_crash(gaps)
        times = {gap.feed.rpartition("/")[2]: gap for gap in gaps}
        assert set(times) == {"trade", "quote"}
        assert times["quote"].start_time == added
        assert times["trade"].start_time < added
        assert all(gap.end_time >= before_end for gap in gaps)
    see_stored_or_lost(tmp_path, reader)


async def test_where_all_are_parked_nothing_can_be_opened(autojump_clock: MockClock) -> None:
    """The farm stands, and says so."""
    async with parked(Trading("binance/usdm", specs="trade"), 1, 2) as farm:
        with pytest.raises(ShardError, match="every shard failed too often and is parked"):
            await farm.add_streams("mark_price", collector=0)
        states = {found.feed: found.state for found in farm.stats().feeds if found.state}
        assert set(states.values()) == {"down"}

"""What shards have in memory of streams that are no longer theirs: a loss, if they die with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from farm import Gap, Trade
from farm.actors.hub import Hub
from farm.bundle import Bundle
from farm.cluster.left_behind import LeftBehind, LostRecords, crash_gaps
from farm.config import CollectorConfig
from farm.monitor.feeds import FeedCounters
from farm.storage.reader import read_batches
from farm.types import GapCause, GapUnit, NumberMode
from tests.actors.lines import bundle_box
from tests.cluster.in_process import InProcess, sources_of
from tests.cluster.trading import Trading, UserReader, all_live, until

SPOT = CollectorConfig("binance", "spot", ["BTCUSDT"], ["trade", "book", "quote"])
STREAMS = SPOT.streams_of()
TRADE, BOOK, QUOTE = (stream.name for stream in STREAMS)
LINE = "binance/spot#1"


def times(found: list[tuple[str, list[Gap]]]) -> dict[str, tuple[int | None, int | None]]:
    """What is lost, by feed; all of it of the one line."""
    assert {line for line, _ in found} <= {LINE}
    gaps = [gap for _, some in found for gap in some]
    assert len({gap.feed for gap in gaps}) == len(gaps)
    return {gap.feed.rpartition("/")[2]: (gap.start_time, gap.end_time) for gap in gaps}


# ---------------------------------------------------------------------------------- what is kept
def test_what_is_not_safe_is_lost_with_the_shard() -> None:
    """From where all was safe to when the streams went."""
    left = LeftBehind()
    left.leave(1, LINE, STREAMS[:2], 100, {})
    left.is_safe(1, 100)  # what was received in that moment may not be
    assert times(left.lost(1, 70, 300)) == {"trade": (70, 100), "book": (70, 100)}
    assert left.lost(1, 70, 300) == [], "it is said once"


def test_what_was_lost_before_is_lost_since_then() -> None:
    """The record of it may be what is lost now."""
    left = LeftBehind()
    since = {TRADE: 20, QUOTE: 5, BOOK: 90}
    left.leave(1, LINE, STREAMS[:2], 100, since)
    since.clear()  # the line goes on, without them
    assert times(left.lost(1, 70, 300)) == {"trade": (20, 100), "book": (70, 100)}


def test_what_is_safe_is_no_loss() -> None:
    left = LeftBehind()
    left.leave(1, LINE, STREAMS, 100, {TRADE: 20})
    left.is_safe(1, 101)
    assert left.lost(1, 101, 300) == []


def test_one_is_safe_before_another() -> None:
    left = LeftBehind()
    for place, stream in enumerate(STREAMS):
        left.leave(1, LINE, [stream], 100 + 10 * place, {})
    left.is_safe(1, 105)
    assert times(left.lost(1, 105, 300)) == {"book": (105, 110), "quote": (105, 120)}


def test_a_shard_that_ended_as_it_should_has_lost_nothing() -> None:
    left = LeftBehind()
    left.leave(1, LINE, STREAMS, 100, {})
    left.ended(1)
    assert left.lost(1, 70, 300) == []


def test_each_shard_counts_for_itself() -> None:
    left = LeftBehind()
    left.leave(1, LINE, STREAMS[:1], 100, {})
    left.leave(2, LINE, STREAMS[1:], 100, {})
    left.is_safe(1, 500)
    left.ended(3)
    assert left.lost(1, 500, 600) == []
    assert times(left.lost(2, 70, 300)) == {"book": (70, 100), "quote": (70, 100)}


def test_a_loss_is_a_gap_of_each_feed_by_the_crash_of_a_process() -> None:
    linear = CollectorConfig("bybit", "linear", ["BTCUSDT"], ["ticker", "trade"])
    streams = linear.streams_of()
    ticker = next(stream for stream in streams if len(stream.feeds) > 1)
    gaps = crash_gaps(streams, {ticker.name: 5}, 9, 20)
    assert [gap.feed for gap in gaps] == list(ticker.feeds)
    for gap in gaps:
        assert (gap.edge, gap.cause) == ("shard", GapCause.CRASH)
        assert (gap.unit, gap.size, gap.repaired) == (GapUnit.UNKNOWN, None, False)
        assert (gap.start_time, gap.end_time, gap.receive_time) == (5, 9, 20)


# ------------------------------------------------------------------------------ how it is recorded
def some_gaps(count: int = 1) -> list[Gap]:
    return crash_gaps(STREAMS[:count], {TRADE: 1, BOOK: 2, QUOTE: 3}, 9, 20)


def shown(bundles: list[Bundle]) -> list[str]:
    return [gap.feed.rpartition("/")[2] for one in bundles for gap in one.batches[0].rows]


async def test_records_are_published_in_order_once() -> None:
    records = LostRecords(NumberMode.DECIMAL)
    published: list[Bundle] = []

    async def publish(bundle: Bundle) -> None:
        published.append(bundle)

    records.put(LINE, some_gaps(3), 40)
    records.put(LINE, [], 50)
    records.put(LINE, some_gaps(1), 60)
    assert records.left == 0, "no reads wait here"
    await records.publish_rest(publish, lambda: 99)
    await records.publish_rest(publish, lambda: 99)
    first, second = published
    assert (first.receive_time, second.receive_time) == (40, 60)
    assert [gap.row for gap in first.batches[0].rows] == [0, 1, 2]
    assert first.batches[0].origins == [(first.origin, 3)]
    assert first.batches[0].numbers is NumberMode.DECIMAL
    assert second.serial > first.serial
    assert first.origin.connection not in {LINE, *(f"{LINE}~{n}" for n in range(9))}


async def test_a_reader_passes_over_none_of_a_line() -> None:
    """Neither of those that are said at once, nor of those that are said at the end, which are
    somebody else's: it knows them by their line alone."""
    hub = Hub(FeedCounters(), lambda _: None)
    seen: list[Bundle] = []
    hub.listen(seen.append)
    for count in (1, 2, 3):
        records = LostRecords(NumberMode.FLOAT)
        records.put(LINE, some_gaps(count), 40)
        await records.publish_rest(hub.publish, lambda: 99)
    assert shown(seen) == ["trade", "trade", "book", "trade", "book", "quote"]


async def test_several_that_publish_at_the_same_time_publish_each_record_once(
    autojump_clock: MockClock,
) -> None:
    """Each that has something to say begins to, and a store may have no room."""
    hub, store = Hub(FeedCounters(), lambda _: None), bundle_box("aggregator>sink", max_items=1)
    hub.store(store)
    seen: list[Bundle] = []
    hub.listen(seen.append)
    records = LostRecords(NumberMode.FLOAT)
    stored: list[Bundle] = []
    async with trio.open_nursery() as nursery:
        for stream in STREAMS:
            records.put(LINE, crash_gaps([stream], {stream.name: 1}, 9, 20), 40)
            nursery.start_soon(records.publish_rest, hub.publish, lambda: 99)
        await wait_all_tasks_blocked()
        reader = store.reader()
        with trio.fail_after(1):
            stored += [await reader.next() for _ in STREAMS]
        await wait_all_tasks_blocked()
    store.close()
    stored += [bundle async for bundle in reader]
    assert shown(stored) == shown(seen) == ["trade", "book", "quote"]


async def test_a_record_that_was_not_taken_is_still_to_be_published() -> None:
    records = LostRecords(NumberMode.FLOAT)
    records.put(LINE, some_gaps(1), 40)
    published: list[Bundle] = []

    async def refuse(_: Bundle) -> None:
        raise OSError("no room")

    async def publish(bundle: Bundle) -> None:
        published.append(bundle)

    async def wait(_: Bundle) -> None:
        await trio.sleep_forever()

    with pytest.raises(OSError, match="no room"):
        await records.publish_rest(refuse, lambda: 99)
    with trio.CancelScope() as scope:
        scope.cancel()
        await records.publish_rest(wait, lambda: 99)
    await records.publish_rest(publish, lambda: 99)
    assert shown(published) == ["trade"]


# ------------------------------------------------------------------------------------- in a cluster
def stored(data: Path, kind: type[Any], symbol: str) -> list[Any]:
    return [row for batch in read_batches(data, kind) for row in batch.rows if row.symbol == symbol]


def see_stored_or_lost(data: Path, reader: UserReader, symbol: str) -> None:
    """Each trade that was read is in a file or in a gap that is, and each feed has one gap; who
    reads is told of it too."""
    gaps = stored(data, Gap, symbol)
    assert {(gap.cause, gap.edge) for gap in gaps} == {(GapCause.CRASH, "shard")}
    assert sorted(gap.feed.rpartition("/")[2] for gap in gaps) == ["book", "trade"]
    said = [gap for gap in reader.of(Gap) if gap.symbol == symbol]
    assert {gap.feed: gap.start_time for gap in said} == {gap.feed: gap.start_time for gap in gaps}
    (mine,) = [gap for gap in gaps if gap.feed.endswith("/trade")]
    kept = {trade.id for trade in stored(data, Trade, symbol)}
    missing = [t for t in reader.of(Trade) if t.symbol == symbol and t.id not in kept]
    assert missing, "nothing was lost: the test is void"
    for trade in missing:
        assert mine.start_time <= trade.receive_time <= mine.end_time, (trade, mine)


async def test_of_a_line_that_moved_what_its_old_process_had_is_lost_with_it(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    trading, reader = Trading("binance/spot", "trade book", seconds=60.0), UserReader()
    async with trading.open(2, reader, data=str(tmp_path)) as farm:
        await until(lambda: all_live(farm))
        await trio.sleep(3)
        sources = sources_of(farm)
        line = sources.lines[0]
        source, symbol = line.shard, line.streams()[0].symbol
        sources.moves.move(line, 3 - source)
        await until(lambda: sources.moves.made == 1)
        await trio.sleep(2)
        trading.world.shard(source).kill()
        await trio.sleep(5)
        assert [gap.symbol for gap in reader.of(Gap)] == [symbol] * 2
    see_stored_or_lost(tmp_path, reader, symbol)
    assert [p.restarts for p in farm.stats().processes if p.name == f"shard {source}"] == [1]


async def test_of_a_line_that_moved_nothing_is_lost_when_it_was_safe(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    trading, reader = Trading("binance/spot", "trade book", seconds=60.0), UserReader()
    trading.more = {"storage": {"flush_seconds": 1.0}}
    async with trading.open(2, reader, data=str(tmp_path)) as farm:
        await until(lambda: all_live(farm))
        sources = sources_of(farm)
        line = sources.lines[0]
        source, symbol = line.shard, line.streams()[0].symbol
        sources.moves.move(line, 3 - source)
        await until(lambda: sources.moves.made == 1)
        await trio.sleep(5)
        trading.world.shard(source).kill()
        await trio.sleep(5)
    assert reader.of(Gap) == []
    kept = [trade.id for trade in stored(tmp_path, Trade, symbol)]
    assert sorted(kept) == sorted(t.id for t in reader.of(Trade) if t.symbol == symbol)


@pytest.mark.parametrize("killed", [True, False])
async def test_what_was_removed_is_lost_with_the_process_that_had_it(
    killed: bool, tmp_path: Path, autojump_clock: MockClock
) -> None:
    """And only then: where the process ends as it should, all of it is in files."""
    trading, reader = Trading("binance/spot", "trade book", seconds=60.0), UserReader()
    async with trading.open(2, reader, data=str(tmp_path)) as farm:
        await until(lambda: all_live(farm))
        await trio.sleep(3)
        line = sources_of(farm).lines[0]
        shard, symbol = line.shard, line.streams()[0].symbol
        farm.remove_symbols([symbol], collector=0)
        await trio.sleep(1)
        if killed:
            trading.world.shard(shard).kill()
        await trio.sleep(5)
    if killed:
        see_stored_or_lost(tmp_path, reader, symbol)
    else:
        assert reader.of(Gap) == []
        kept = [trade.id for trade in stored(tmp_path, Trade, symbol)]
        assert sorted(kept) == sorted(t.id for t in reader.of(Trade) if t.symbol == symbol)


async def test_a_stream_that_is_removed_and_one_that_stays_are_each_on_record(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """The one when the process is gone, the other when it is back."""
    trading, reader = Trading("binance/spot", "trade book", seconds=60.0), UserReader()
    async with trading.open(2, reader, data=str(tmp_path)) as farm:
        await until(lambda: all_live(farm))
        await trio.sleep(3)
        line = sources_of(farm).lines[0]
        shard, symbol = line.shard, line.streams()[0].symbol
        farm.remove_streams("book", collector=0)
        await trio.sleep(1)
        trading.world.shard(shard).kill()
        await trio.sleep(5)
        assert sorted(g.feed.rpartition("/")[2] for g in reader.of(Gap)) == ["book", "trade"]
    see_stored_or_lost(tmp_path, reader, symbol)


async def test_what_is_removed_while_its_process_is_gone_is_on_record_at_once_and_at_the_end(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Of one line some is removed, and said by the parent, and the rest is, when all ends."""
    trading, reader = Trading("binance/spot", "trade book", seconds=60.0), UserReader()
    async with trading.open(2, reader, data=str(tmp_path), cluster={"intensity": 0}) as farm:
        await until(lambda: all_live(farm))
        await trio.sleep(3)
        line = sources_of(farm).lines[0]
        symbol = line.streams()[0].symbol
        trading.world.shard(line.shard).kill()
        await until(lambda: farm.stats().processes[line.shard].state == "parked")
        assert reader.of(Gap) == []
        farm.remove_streams("book", collector=0)
        await trio.sleep(1)
        assert [gap.feed.rpartition("/")[2] for gap in reader.of(Gap)] == ["book"]
    see_stored_or_lost(tmp_path, reader, symbol)


async def test_what_is_removed_while_its_dead_process_is_waited_for_is_on_record(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its link has ended, and the system takes its time to say by what."""
    wait = InProcess.wait

    async def wait_longer(process: InProcess) -> str:
        reason = await wait(process)
        await trio.sleep(0.5)
        return reason

    monkeypatch.setattr(InProcess, "wait", wait_longer)
    trading, reader = Trading("binance/spot", "trade book", seconds=60.0), UserReader()
    async with trading.open(2, reader, data=str(tmp_path)) as farm:
        await until(lambda: all_live(farm))
        await trio.sleep(3)
        line = sources_of(farm).lines[0]
        symbol = line.streams()[0].symbol
        trading.world.shard(line.shard).kill()
        await trio.sleep(0.2)
        farm.remove_streams("book", collector=0)
        await trio.sleep(5)
    see_stored_or_lost(tmp_path, reader, symbol)

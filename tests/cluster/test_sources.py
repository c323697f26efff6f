"""Farms in several processes, all of them within this one: what a user has of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from farm import (
    BookVerdict,
    Farm,
    FarmStats,
    Gap,
    Quote,
    Trade,
    UnknownFeed,
    UnknownSymbol,
)
from farm.actors.supervisor import Lifecycle
from farm.cluster import outlet
from farm.errors import LocalProtocolError, ShardError
from farm.testing import MarketSimulator, Recorded, open_fake
from farm.testing.chaos.stored import stored_gaps, stored_trades
from farm.types import GapCause
from tests.cluster.in_process import ClusterWorld, sources_of
from tests.cluster.trading import (
    APART,
    Trading,
    UserReader,
    all_live,
    assert_same,
    books_of,
    books_stand,
    unrecorded,
    until,
)
from tests.effort import moments, runs
from tests.farms import MARKET_NAMES, collector, fake_of, feed, market_of

FEW = "trade quote book"


def shards(farm: Farm) -> list[str]:
    return [process.name for process in farm.stats().processes if process.name != "main"]


def came(farm: Farm) -> int:
    """Events that shards sent here."""
    return sum(shard.events for shard in sources_of(farm).shards.values())


# ------------------------------------------------------------------------------- what a user reads
async def collected(
    name: str, processes: int, lanes: int
) -> tuple[UserReader, FarmStats, dict[str, object]]:
    """A market from its beginning to its end, in a world of its own."""
    trading, reader = Trading(name, lanes=lanes, seconds=8.0), UserReader()
    async with trading.open(processes, reader) as farm:
        books_of(farm)
        await trading.all_traded()
        await until(lambda: books_stand(farm))
        trading.assert_books_are_the_venues(farm)
        books = {feed: (book.bids, book.asks) for feed, book in books_of(farm).items()}
    assert trading.world.living == []
    assert trading.world.network.streams_open == 0
    return reader, farm.stats(), dict(books)


@pytest.mark.parametrize(("processes", "lanes"), [(2, 1), (4, 2)])
@pytest.mark.parametrize("name", MARKET_NAMES)
async def test_what_is_read_is_the_same_in_one_process_and_in_several(
    name: str, processes: int, lanes: int, autojump_clock: MockClock
) -> None:
    alone, stats, books = await collected(name, 1, lanes)
    read, of_shards, mirrored = await collected(name, processes, lanes)
    assert [process.name for process in stats.processes] == ["main"]
    lines = {c.name.partition("~")[0] for c in of_shards.connections}
    expected = 0 if len(lines) == 1 else min(processes, len(lines))
    assert len(of_shards.processes) == 1 + expected
    assert_same(read, alone)
    assert read.of(Gap) == []
    assert len(read.of(Trade)) == len(alone.of(Trade)) > 20
    assert mirrored == books
    assert told(of_shards) == told(stats)
    assert of_shards.totals == stats.totals
    for edge in of_shards.edges:
        assert (edge.waiting, edge.offered) == (0, edge.taken + edge.dropped), edge.edge


def told(stats: FarmStats) -> dict[str, object]:
    """What is said of each feed, but for moments."""
    return {
        f.feed: (f.state, f.reason, f.events, f.gaps, f.book, f.continuity) for f in stats.feeds
    }


async def test_one_connection_needs_no_shard(autojump_clock: MockClock) -> None:
    trading, reader = Trading("bybit/option", seconds=4.0), UserReader()
    async with trading.open(8, reader) as farm:
        assert shards(farm) == []
        await trading.all_traded()
    assert reader.of(Trade)
    assert trading.world.started == []


async def test_there_are_no_more_shards_than_connections(autojump_clock: MockClock) -> None:
    trading = Trading("binance/spot", specs=FEW)
    async with trading.open(8) as farm:
        assert shards(farm) == ["shard 1", "shard 2"]
        await until(lambda: all_live(farm))
        assert trading.world.living == ["shard 1", "shard 2", "spare shard"]
    assert trading.world.living == []


async def test_no_spare_where_none_is_wanted(autojump_clock: MockClock) -> None:
    trading = Trading("binance/spot", specs=FEW)
    async with trading.open(2, cluster={"spare": False}) as farm:
        await until(lambda: all_live(farm))
        assert trading.world.living == ["shard 1", "shard 2"]
        trading.world.shard(1).kill()
        await until(lambda: sorted(trading.world.living) == ["shard 1", "shard 2"])
        await until(lambda: all_live(farm))


# --------------------------------------------------------------------------------- what is sent
async def test_what_nobody_reads_is_not_sent(autojump_clock: MockClock) -> None:
    trading = Trading("binance/spot", specs=FEW)
    async with trading.open(2) as farm:
        await until(lambda: all_live(farm))
        await trio.sleep(2)
        assert came(farm) == 0
        async with farm.subscribe(Trade, symbols="BTCUSDT") as trades:
            got = [row async for row in some(trades, 10)]
            assert {(type(row), row.symbol) for row in got} == {(Trade, "BTCUSDT")}
            async with farm.subscribe(Quote) as quotes:
                rows = [row async for row in some(quotes, 10)]
                assert {row.symbol for row in rows} == {"BTCUSDT", "ETHUSDT"}
            await trio.sleep(0.1)
            assert {type(row) for row in [row async for row in some(trades, 10)]} == {Trade}
        await trio.sleep(0.1)
        before = came(farm)
        await trio.sleep(2)
        assert came(farm) == before
        kinds = {name.split("/")[3] for name in counted(farm)}
    assert {"trade", "quote", "book"} <= kinds


async def some(batches: object, count: int) -> AsyncIterator[Trade]:
    """The rows of the next batches, until there are so many."""
    seen = 0
    while seen < count:
        batch = await batches.receive()  # type: ignore[attr-defined]
        for row in batch.rows:
            seen += 1
            yield row


def counted(farm: Farm) -> set[str]:
    return {f.feed for f in farm.stats().feeds if f.events}


# ------------------------------------------------------------------------- what changes on the way
async def test_symbols_come_and_go(autojump_clock: MockClock) -> None:
    trading, reader = Trading("binance/spot", specs="trade book"), UserReader()
    async with trading.open(2, reader) as farm:
        books_of(farm)
        await until(lambda: books_stand(farm))
        farm.remove_symbols("ETHUSDT", collector=1)
        gone = len([t for t in reader.of(Trade) if t.symbol == "ETHUSDT"])
        with pytest.raises(UnknownSymbol):
            farm.book("ETHUSDT")
        await trio.sleep(2)
        assert len([t for t in reader.of(Trade) if t.symbol == "ETHUSDT"]) <= gone + 2
        assert feed(farm.stats(), "binance/spot/ETHUSDT/trade").state == "ended"
        assert await farm.add_symbols("ETHUSDT", collector=0) == ["ETHUSDT"]
        farm.book("ETHUSDT")
        await until(lambda: books_stand(farm))
        await until(lambda: all_live(farm))
        name = "binance/spot/ETHUSDT/trade"
        await until(lambda: feed(farm.stats(), name).state in ("live", "acknowledged"))
        await trading.all_traded()
        trading.assert_books_are_the_venues(farm)
        assert [len(line.planned) for line in sources_of(farm).lines] == [4]


async def test_streams_come_and_go(autojump_clock: MockClock) -> None:
    trading, reader = Trading("binance/spot", specs="trade"), UserReader()
    async with trading.open(2) as farm, trio.open_nursery() as nursery:
        with pytest.raises(UnknownFeed):
            farm.book("BTCUSDT")
        for place in (0, 1):
            await farm.add_streams(["book", "quote"], collector=place)
        await nursery.start(reader.read, farm)
        books_of(farm)
        await until(lambda: books_stand(farm))
        for place in (0, 1):
            farm.remove_streams("trade", collector=place)
        await trio.sleep(0.5)
        seen = len(reader.of(Trade))
        await trio.sleep(2)
        assert len(reader.of(Trade)) == seen > 0
        await trading.all_traded()
        trading.assert_books_are_the_venues(farm)
        assert set(reader.gaps_by_feed()) == set()
        farm.stop()


@pytest.mark.parametrize("name", ["binance/spot", "bybit/linear"])
async def test_patterns_follow_the_listing(name: str, autojump_clock: MockClock) -> None:
    """What is listed on the way goes on a line of a shard, and what is delisted goes."""
    world = ClusterWorld()
    exchange, market = market_of(name)
    source = MarketSimulator(exchange, market, ["BTCUSDT", "ETHUSDT"], seed=3, rate=20, seconds=60)
    fake = fake_of(
        exchange, market, source, symbols=["BTCUSDT"], pace=Recorded(), network=world.network
    )
    async with open_fake(fake):
        one = collector(exchange.value, market.value, ["*USDT"], ["trade", "book"], fake)
        config = {
            "collectors": [one],
            "processes": 3,
            "instruments": {"refresh_seconds": 1.0},
        }
        async with world.farm(config) as farm, farm.subscribe(Trade) as trades:
            assert shards(farm) == ["shard 1"]
            assert farm.instrument("BTCUSDT").trading
            fake.list_symbol("ETHUSDT")
            with trio.fail_after(60):
                async for batch in trades:
                    if any(trade.symbol == "ETHUSDT" for trade in batch.rows):
                        break
            books_of(farm)
            await until(lambda: books_stand(farm))
            fake.delist_symbol("BTCUSDT")
            await until(lambda: feed(farm.stats(), f"{name}/BTCUSDT/trade").state == "ended")
            assert farm.book("ETHUSDT").verdict is BookVerdict.VERIFIED


# ------------------------------------------------------------------------------------------- ends
@asynccontextmanager
async def trading_farm(**more: object) -> AsyncIterator[tuple[Farm, Trading, UserReader]]:
    trading, reader = Trading("binance/spot", specs=FEW, rate=60.0, seconds=15.0), UserReader()
    async with trading.open(2, reader, **more) as farm:
        await until(lambda: all_live(farm))
        yield farm, trading, reader


async def test_what_was_received_is_delivered_when_it_stops(autojump_clock: MockClock) -> None:
    async with trading_farm() as (farm, trading, reader):
        await trio.sleep(3)
        farm.stop()
        await farm.wait()
        with pytest.raises(LocalProtocolError):
            await farm.add_symbols("SOLUSDT", collector=0)
    stats = farm.stats()
    events = sum(f.events for f in stats.feeds if not f.feed.endswith("/instrument"))
    assert len(reader.rows) == events
    assert {process.state for process in stats.processes[1:]} == {"stopped"}
    assert all(shard.unreconciled == 0 for shard in sources_of(farm).shards.values())
    assert trading.world.living == []


async def test_aborted_it_is_over_at_once(autojump_clock: MockClock) -> None:
    async with trading_farm() as (farm, trading, _):
        began = trio.current_time()
        farm.abort()
        await farm.wait()
        assert trio.current_time() - began < 1.5
    assert trading.world.living == []


async def test_an_error_of_the_body_comes_out_as_it_is(autojump_clock: MockClock) -> None:
    trading = Trading("binance/spot", specs=FEW)
    async with open_fake(trading.fake):
        with pytest.raises(ZeroDivisionError):
            await _fail_in(trading)
    assert trading.world.living == []


async def _fail_in(trading: Trading) -> None:
    async with trading.world.farm(trading.config(2)) as farm:
        await until(lambda: all_live(farm))
        raise ZeroDivisionError


async def test_a_cancelled_farm_drains(autojump_clock: MockClock) -> None:
    trading = Trading("binance/spot", specs=FEW)
    async with open_fake(trading.fake):
        with trio.move_on_after(5):
            async with trading.world.farm(trading.config(2)) as farm:
                await trio.sleep_forever()
    stats = farm.stats()
    assert {process.state for process in stats.processes[1:]} == {"stopped"}
    assert stats.totals.gaps == 0
    assert trading.world.living == []


@pytest.mark.parametrize("moment", moments(4))
async def test_cancelled_in_its_start_nothing_is_left(
    moment: int, autojump_clock: MockClock
) -> None:
    trading = Trading("binance/spot", specs=FEW)
    async with open_fake(trading.fake):
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:

                async def cancel() -> None:
                    await trio.sleep(0.01 * moment)
                    scope.cancel()

                nursery.start_soon(cancel)
                async with trading.world.farm(trading.config(2)):
                    await trio.sleep_forever()
    assert scope.cancelled_caught
    assert trading.world.living == []


async def test_a_shard_that_cannot_start_is_an_error_of_the_start(
    autojump_clock: MockClock,
) -> None:
    trading = Trading("binance/spot", specs=FEW)
    trading.world.may_start = lambda name: name != "shard 2"
    async with open_fake(trading.fake):
        with pytest.raises(ShardError, match="shard 2 did not start: exit code 3: it can't be"):
            async with trading.world.farm(trading.config(2)):
                pytest.fail("it began all the same")
    assert trading.world.living == []


# ----------------------------------------------------------------------------------------- deaths
async def test_what_happens_to_shards_and_in_them_is_told(autojump_clock: MockClock) -> None:
    async with trading_farm() as (farm, trading, _):
        with farm.lifecycle() as events:
            trading.world.shard(1).kill()
            heard = []
            with trio.fail_after(10):
                async for event in events:
                    heard.append((event.actor, event.what))
                    if is_up_again(*heard[-1]):
                        break
    assert heard[0] == ("shard 1", Lifecycle.CRASHED)
    assert ("shard 1", Lifecycle.RESTARTED) in heard
    assert not any(actor.startswith("shard 2") for actor, _ in heard)


def is_up_again(actor: str, what: Lifecycle) -> bool:
    """Whether that is a connection of the first shard's new process."""
    is_connection = actor.startswith("shard 1/binance/spot#1~") and actor.count(" ") == 1
    return is_connection and what is Lifecycle.HEALTHY


async def test_counts_never_go_down(autojump_clock: MockClock) -> None:
    async with trading_farm() as (farm, trading, _):
        books_of(farm)
        before: dict[str, tuple[int, ...]] = {}
        for step in range(80):
            if step in (20, 40, 60):
                trading.world.shard(1 + step // 20 % 2).kill()
            await trio.sleep(0.1)
            now = counts(farm)
            for name, numbers in before.items():
                assert all(a <= b for a, b in zip(numbers, now[name], strict=True)), name
            before = now
        assert [process.restarts for process in farm.stats().processes[1:]] == [1, 2]


def counts(farm: Farm) -> dict[str, tuple[int, ...]]:
    """Of each feed, and of all."""
    stats = farm.stats()
    totals = stats.totals
    found: dict[str, tuple[int, ...]] = {"all": (totals.frames, totals.events, totals.gaps)}
    for f in stats.feeds:
        found[f.feed] = f.events, f.gaps
    return found


KILLS = runs(10)


@pytest.mark.parametrize("moment", range(KILLS))
async def test_whenever_a_shard_dies_its_loss_is_on_record_once(
    moment: int, autojump_clock: MockClock
) -> None:
    """From the farm's first moment on; and the other shard is not touched."""
    world = ClusterWorld(seed=moment)
    trading = Trading("binance/spot", specs=FEW, rate=60.0, seconds=8.0, seed=moment, world=world)
    reader, control = UserReader(), UserReader()
    async with open_fake(trading.fake), trading.farm(1, control), trading.farm(2, reader) as farm:
        books_of(farm)
        await trio.sleep(3.0 * moment / KILLS)
        world.shard(1).kill()
        await until(lambda: restarts(farm) == 1)
        assert books_of(farm)["binance/spot/BTCUSDT/book"].verdict is not BookVerdict.VERIFIED
        await until(lambda: books_stand(farm))
        await trading.all_traded()
        trading.assert_books_are_the_venues(farm)
    assert unrecorded(reader, control) == []
    assert reader.repeated() == {}
    assert {gap.symbol for gap in reader.of(Gap)} <= {"BTCUSDT"}
    assert set(reader.gaps_by_feed().values()) <= {1}
    assert {(gap.cause, gap.edge) for gap in reader.of(Gap)} <= {(GapCause.CRASH, "shard")}
    if moment > KILLS / 8:  # all was up
        assert len(reader.gaps_by_feed()) == len(FEW.split())


@pytest.mark.parametrize("moment", moments(2))
@pytest.mark.parametrize("send_bytes", [1_000, outlet.SEND_BYTES])
async def test_what_was_on_its_way_to_the_parent_is_on_record(
    send_bytes: int, moment: int, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its way is jammed: a second of what it received waits in it when it dies."""
    monkeypatch.setattr(outlet, "SEND_BYTES", send_bytes)
    world = ClusterWorld(seed=moment, link_delay=0.02)
    trading = Trading("binance/spot", specs=FEW, rate=200.0, seconds=8.0, world=world)
    reader, control = UserReader(), UserReader()
    async with open_fake(trading.fake), trading.farm(1, control), trading.farm(2, reader) as farm:
        books_of(farm)
        await until(lambda: all_live(farm))
        shard = world.shard(1)
        shard._end._outward.limit = 1_000
        await trio.sleep(2 + 0.13 * moment)
        shard.kill()
        await trio.sleep(1)
        await until(lambda: books_stand(farm))
        await trading.all_traded()
        trading.assert_books_are_the_venues(farm)
    assert unrecorded(reader, control) == []
    assert reader.repeated() == {}
    assert set(reader.gaps_by_feed().values()) == {1}


@pytest.mark.parametrize("removes", [False, True])
@pytest.mark.parametrize("moment", moments(2))
async def test_what_a_shard_had_not_stored_is_on_record(
    moment: int, removes: bool, tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Each trade is stored once, or within a stored gap; also of a stream that was removed."""
    world, data = ClusterWorld(seed=moment), tmp_path / "data"
    trading = Trading("binance/spot", specs=FEW, rate=60.0, seconds=14.0, world=world)
    reader, control = UserReader(), UserReader()
    stored = {"data": str(data), "storage": {"flush_seconds": 3.0}}
    async with (
        open_fake(trading.fake),
        trading.farm(1, control),
        trading.farm(2, reader, **stored) as farm,
    ):
        await until(lambda: all_live(farm))
        await trio.sleep(4)
        removed = world.wall_clock()
        if removes:
            farm.remove_streams("trade", collector=0)
        await trio.sleep(1.7 * moment)
        world.shard(1).kill()
        await trio.sleep(1)
        await until(lambda: all_live(farm))
        await trading.all_traded()
    had = Counter(stored_trades(data))
    assert set(had.values()) == {1}
    kept = UserReader(rows=stored_gaps(data))
    kept.rows += [trade for trade in control.of(Trade) if (trade.symbol, trade.id) in had]
    lost = unrecorded(kept, control)
    if removes:
        lost = [t for t in lost if t.symbol != "BTCUSDT" or t.receive_time < removed]
    assert lost == []
    assert set(reader.gaps_by_feed().values()) == {1}


ON_THE_WAY = 30_000_000
"""Nanoseconds for which a trade may be on its way to one farm that another has got already."""


@pytest.mark.parametrize("moment", moments(6))
async def test_whenever_it_stops_after_a_death_the_loss_is_on_record_once(
    moment: int, autojump_clock: MockClock
) -> None:
    world = ClusterWorld(seed=moment)
    trading = Trading("binance/spot", specs=FEW, rate=60.0, seconds=8.0, seed=moment, world=world)
    reader, control = UserReader(), UserReader()
    async with open_fake(trading.fake), trading.farm(1, control), trading.farm(2, reader) as farm:
        await trio.sleep(3)
        world.shard(1).kill()
        await trio.sleep(0.05 * moment)
        stopped = trio.current_time()
        ended = world.wall_clock() - ON_THE_WAY
        farm.stop()
        await farm.wait()
        assert trio.current_time() - stopped < 2
    lost = [trade for trade in unrecorded(reader, control) if trade.receive_time < ended - APART]
    assert lost == []
    assert reader.repeated() == {}
    assert sorted(reader.gaps_by_feed().values()) == [1] * len(FEW.split())


async def test_one_that_hangs_is_replaced(autojump_clock: MockClock) -> None:
    for seed in range(runs(2)):
        world = ClusterWorld(seed=seed)
        trading = Trading("binance/spot", specs=FEW, rate=60.0, seconds=12.0, world=world)
        reader, control = UserReader(), UserReader()
        async with (
            open_fake(trading.fake),
            trading.farm(1, control),
            trading.farm(2, reader, cluster={"hang_seconds": 2.0}) as farm,
        ):
            await trio.sleep(3 + 0.1 * seed)
            hanging = world.shard(2)
            hanging.stop()
            await until(hanging.gone.is_set, 10)
            await until(lambda: all_live(farm))
            (process,) = [p for p in farm.stats().processes if p.name == "shard 2"]
            assert "said nothing for 2 s" in process.reason
            await trading.all_traded()
        assert unrecorded(reader, control) == []
        assert {gap.symbol for gap in reader.of(Gap)} == {"ETHUSDT"}
        assert set(reader.gaps_by_feed().values()) == {1}


async def test_one_that_is_stopped_for_a_moment_is_not(autojump_clock: MockClock) -> None:
    async with trading_farm() as (farm, trading, reader):
        shard = trading.world.shard(1)
        shard.stop()
        await trio.sleep(2)
        shard.go_on()
        await trading.all_traded()
        assert restarts(farm) == 0
    assert reader.of(Gap) == []
    for ids in reader.trade_ids().values():
        assert ids == list(range(ids[0], ids[-1] + 1))


async def test_one_that_fails_too_often_is_parked_and_the_rest_goes_on(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with trading_farm(cluster={"intensity": 2}) as (farm, trading, reader):
        for count in (1, 2):
            trading.world.shard(1).kill()
            await until(lambda count=count: restarts(farm) == count)
            await until(lambda: "shard 1" in trading.world.living)
            await until(lambda: all_live(farm))
        trading.world.shard(1).kill()
        await until(lambda: farm.stats().processes[1].state == "parked")
        assert "shard 1" not in trading.world.living
        assert feed(farm.stats(), "binance/spot/BTCUSDT/trade").state == "down"
        await trading.all_traded()
    assert {gap.symbol for gap in reader.of(Gap)} == {"BTCUSDT"}
    ids = reader.trade_ids()["ETHUSDT"]
    assert ids == list(range(ids[0], ids[-1] + 1))
    latest = {gap.feed: gap for gap in reader.of(Gap)}
    assert all(gap.end_time == max(g.end_time for g in latest.values()) for gap in latest.values())
    assert "parked" in caplog.text


def restarts(farm: Farm) -> int:
    """Of the first shard."""
    return farm.stats().processes[1].restarts


async def test_new_symbols_do_not_go_to_a_shard_that_is_parked(autojump_clock: MockClock) -> None:
    """A line of its own needs a shard that lives."""
    trading = Trading("binance/usdm", specs="trade", seconds=15.0)
    async with trading.open(2, cluster={"intensity": 0}) as farm:
        await until(lambda: all_live(farm))
        trading.world.shard(1).kill()
        await until(lambda: farm.stats().processes[1].state == "parked")
        await farm.add_streams("mark_price", collector=1)  # takes another route
        name = "binance/usdm/ETHUSDT/mark_price"
        await until(lambda: feed(farm.stats(), name).state == "live")

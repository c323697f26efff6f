"""Connections replaced live, lanes that make up for each other, and what changes while it runs."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import attrs
import pytest
import trio

from farm import BookVerdict, Completeness, Farm, Gap, SpentIds, Trade, open_farm
from farm.entities import EVENT_KINDS
from farm.pipeline.line import Line
from farm.testing import FakeExchange, MarketSimulator, Push, Recorded, open_fake
from farm.testing.connection import Connection
from farm.types import DataType, Market
from tests.effort import runs
from tests.farms import MARKET_NAMES, SYMBOLS, collector, fake_of, market_of, until

STREAMS = {
    "binance/spot": ["trade", "agg_trade", "quote", "book", "kline:1m", "ticker"],
    "binance/usdm": ["trade", "agg_trade", "quote", "book", "mark_price", "liquidation"],
    "binance/coinm": ["trade", "agg_trade", "quote", "book", "book:10", "mark_price"],
    "bybit/spot": ["trade", "quote", "book:50", "ticker", "kline:1m"],
    "bybit/linear": ["trade", "quote", "book", "ticker", "liquidation"],
    "bybit/inverse": ["trade", "quote", "book", "ticker", "kline:1m"],
    "bybit/option": ["trade", "book", "ticker"],
}


@attrs.define
class Kept:
    """What a subscriber got, in order."""

    rows: list[Any] = attrs.field(factory=list)

    def of(self, kind: type[Any]) -> list[Any]:
        return [row for row in self.rows if type(row) is kind]


async def keep(farm: Farm, kept: Kept, task_status: trio.TaskStatus[None]) -> None:
    feeds = [feed for feed in farm.stats().feeds if feed.state]
    kinds = {EVENT_KINDS[DataType(feed.feed.split("/")[3].split(":")[0])] for feed in feeds}
    async with farm.subscribe(*kinds, Gap, SpentIds, max_bytes=10**9) as batches:
        task_status.started()
        async for batch in batches:
            kept.rows += batch.rows


def live(name: str, seed: int = 1, **options: Any) -> FakeExchange:
    """A market that goes on by itself, twice as fast as time."""
    exchange, market = market_of(name)
    source = MarketSimulator(exchange, market, SYMBOLS[market], seed=seed, rate=60)
    return fake_of(exchange, market, source, pace=Recorded(speed=2.0), **options)


def config_of(name: str, fake: FakeExchange, **changes: Any) -> dict[str, Any]:
    exchange, market = market_of(name)
    one = collector(exchange.value, market.value, SYMBOLS[market], STREAMS[name], fake)
    return {"collectors": [one | changes], "supervision": {"backoff_initial": 0.05}}


def trade_ids_step(kept: Kept) -> bool:
    """Every trade once and in order; ids that were spent without one fill the rest."""
    trades: dict[str, list[int]] = {}
    for trade in kept.of(Trade):
        trades.setdefault(trade.symbol, []).append(int(trade.id))
    in_order = all(ids == sorted(set(ids)) for ids in trades.values())
    for spent in kept.of(SpentIds):
        trades.setdefault(spent.symbol, []).extend(range(spent.first_id, spent.last_id + 1))
    whole = all(sorted(ids) == list(range(min(ids), max(ids) + 1)) for ids in trades.values())
    return bool(trades) and in_order and whole


def identities(kept: Kept) -> Counter[tuple[Any, ...]]:
    return Counter((row.symbol, row.id) for row in kept.of(Trade))


def books_are_whole(farm: Farm) -> bool:
    books = [feed.book for feed in farm.stats().feeds if feed.book is not None]
    good = {BookVerdict.VERIFIED.value, BookVerdict.UNVERIFIABLE.value}
    return bool(books) and all(book.verdict in good and not book.wrong for book in books)


@pytest.mark.parametrize("name", MARKET_NAMES)
async def test_a_connection_is_replaced_without_a_gap_and_without_a_copy(name: str) -> None:
    """Make before break: ids go on, books stay verified, nothing is lost or comes twice."""
    kept = Kept()
    async with (
        open_fake(live(name)) as fake,
        trio.open_nursery() as nursery,
        open_farm(config_of(name, fake)) as farm,
    ):
        await nursery.start(keep, farm, kept)
        await until(lambda: books_are_whole(farm) and farm.stats().totals.events > 200)
        lines = list(farm._pipeline.lines)
        sources = farm._pipeline.sources
        assert sources is not None
        for line in lines:
            sources.rotate_soon(line, line.lanes[0], "a test wants it")
        await until(lambda: farm.stats().totals.rotations == len(lines))
        events = farm.stats().totals.events
        await until(lambda: farm.stats().totals.events > events + 100)
        assert books_are_whole(farm)
        stats = farm.stats()
    assert kept.of(Gap) == []
    assert stats.totals.reconnects == 0
    assert max(identities(kept).values()) == 1
    assert len({c.name for c in stats.connections}) == len(lines)
    assert all(c.name.endswith("~2") for c in stats.connections)
    if name.startswith("binance"):
        assert trade_ids_step(kept)
        continuity = [f.continuity for f in stats.feeds if f.continuity is not None]
        assert {c.completeness for c in continuity} <= {
            Completeness.COMPLETE.value,
            Completeness.UNKNOWN.value,  # nothing came yet
        }


async def test_a_connection_is_replaced_though_something_was_removed_from_it() -> None:
    name = "binance/spot"
    kept = Kept()
    async with (
        open_fake(live(name)) as fake,
        trio.open_nursery() as nursery,
        open_farm(config_of(name, fake)) as farm,
    ):
        await nursery.start(keep, farm, kept)
        await until(lambda: books_are_whole(farm) and lanes_are_up(farm))
        farm.remove_symbols("ETHUSDT")
        await until(lambda: "ethusdt@trade" not in fake.subscribed())
        rotate(farm)
        await until(lambda: farm.stats().totals.rotations == 1)
        await until(lambda: len(fake.connections) == 1)
    assert kept.of(Gap) == []


async def test_a_new_connection_that_breaks_at_once_takes_nothing_over() -> None:
    """It is cut while the old one still runs beside it: the old one must stay."""
    name = "binance/spot"
    for turn in range(runs(3)):
        kept = Kept()
        async with (
            open_fake(live(name, seed=turn)) as fake,
            trio.open_nursery() as nursery,
            open_farm(config_of(name, fake)) as farm,
        ):
            await nursery.start(keep, farm, kept)
            await until(lambda: books_are_whole(farm) and lanes_are_up(farm))
            (line,) = farm._pipeline.lines
            (old,) = line.lanes
            rotate(farm)
            await until(lambda line=line: len(line.lanes) == 2 and covers(line))
            fake.connections[-1].reset()
            await until(lambda line=line: not covers(line))
            assert old.is_running
            await until(lambda: farm.stats().totals.rotations == 1)
            assert old not in line.lanes
            await until(lambda: books_are_whole(farm))
        assert kept.of(Gap) == []
        assert trade_ids_step(kept)


async def test_after_a_connection_was_replaced_a_parked_aggregator_shows() -> None:
    """The line goes on being watched under the name of its new connection."""
    name = "binance/spot"
    async with open_fake(live(name)) as fake:
        config = config_of(name, fake)
        config["supervision"] |= {"escalate": "park", "intensity": 0}
        async with open_farm(config) as farm:
            await until(lambda: books_are_whole(farm))
            rotate(farm)
            await until(lambda: farm.stats().totals.rotations == 1 and books_are_whole(farm))
            (line,) = farm._pipeline.lines

            def failing(_bundle: object) -> None:
                raise RuntimeError("a bug")

            line.keeper.take = failing  # type: ignore[method-assign, assignment]
            await until(lambda: farm.book("BTCUSDT").verdict is BookVerdict.STALE)
            (connection,) = farm.stats().connections
            assert connection.status == "parked"


@pytest.mark.parametrize(
    ("name", "lanes"), [("binance/spot", 1), ("bybit/linear", 1), ("binance/spot", 2)]
)
async def test_whatever_is_added_removed_and_replaced_the_rest_goes_on(
    name: str, lanes: int
) -> None:
    """Changes at random, at random moments: what stays has no gap and no copy."""
    symbols = SYMBOLS[market_of(name)[1]]
    for seed in range(runs(1)):
        rng, kept = random.Random(seed), Kept()
        async with (
            open_fake(live(name, seed=seed)) as fake,
            trio.open_nursery() as nursery,
            open_farm(config_of(name, fake, lanes=lanes)) as farm,
        ):
            await nursery.start(keep, farm, kept)
            await until(lambda: books_are_whole(farm) and lanes_are_up(farm))
            for _ in range(15):
                await change(farm, rng, [s for s in symbols if s != "BTCUSDT"])
                await trio.sleep(rng.random() * 0.4)
            done = farm.stats().totals.rotations
            rotate(farm)
            await until(lambda done=done: farm.stats().totals.rotations > done)
            await until(lambda: lanes_are_up(farm))
            stats = farm.stats()
        assert [gap for gap in kept.of(Gap) if gap.symbol == "BTCUSDT"] == []
        assert max(identities(kept).values()) == 1
        assert (stats.totals.reconnects, sum(c.crashes for c in stats.connections)) == (0, 0)


async def change(farm: Farm, rng: random.Random, symbols: list[str]) -> None:
    """Add or remove one of these symbols, or replace a connection."""
    collected = farm._pipeline.rosters[0].symbols
    symbol = rng.choice(symbols)
    if rng.random() < 0.3:
        rotate(farm, rng)
    elif symbol in collected:
        farm.remove_symbols(symbol)
    else:
        await farm.add_symbols(symbol)


def rotate(farm: Farm, rng: random.Random | None = None) -> None:
    line = farm._pipeline.lines[0]
    lane = line.lanes[0] if rng is None else rng.choice(line.lanes)
    assert farm._pipeline.sources is not None
    farm._pipeline.sources.rotate_soon(line, lane, "a test wants it")


def covers(line: Line) -> bool:
    """Whether the second lane carries all that the first does."""
    first, second = line.lanes
    return line.merger.covers(second.name, first.name)


async def test_a_server_that_goes_down_is_left_in_time() -> None:
    kept = Kept()
    async with (
        open_fake(live("binance/spot")) as fake,
        trio.open_nursery() as nursery,
        open_farm(config_of("binance/spot", fake)) as farm,
    ):
        await nursery.start(keep, farm, kept)
        await until(lambda: books_are_whole(farm))
        (old,) = fake.connections
        fake.announce_shutdown()  # type: ignore[attr-defined]
        await until(lambda: farm.stats().totals.rotations == 1)
        assert old not in fake.connections
        await until(lambda: books_are_whole(farm))
    assert kept.of(Gap) == []
    assert trade_ids_step(kept)


async def test_old_connections_are_replaced_before_the_venue_cuts_them() -> None:
    """The fake cuts connections after eight seconds, and never has to."""
    fake = live("binance/spot")
    fake.max_age = 8.0  # type: ignore[attr-defined]
    kept = Kept()
    async with (
        open_fake(fake),
        trio.open_nursery() as nursery,
        open_farm(config_of("binance/spot", fake, rotate_seconds=3.0)) as farm,
    ):
        await nursery.start(keep, farm, kept)
        await until(lambda: farm.stats().totals.rotations == 2)
        stats = farm.stats()
    assert stats.totals.reconnects == 0
    assert kept.of(Gap) == []
    assert trade_ids_step(kept)


@pytest.mark.parametrize("name", ["binance/spot", "binance/usdm", "bybit/linear"])
async def test_what_one_of_two_lanes_loses_nobody_misses(name: str) -> None:
    """One lane loses every tenth message of the market, the other none."""
    for seed in range(runs(1)):
        names: dict[Connection, int] = {}
        counts: Counter[Connection] = Counter()

        def loses(connection: Connection, push: Push, names: Any = names, n: Any = counts) -> bool:
            number = names.setdefault(connection, len(names))
            n[connection] += 1
            return number % 2 == 0 or n[connection] % 10 != 0 or push.stream.startswith("/")

        kept = Kept()
        async with (
            open_fake(live(name, seed=seed, filter=loses)) as fake,
            trio.open_nursery() as nursery,
            open_farm(config_of(name, fake, lanes=2)) as farm,
        ):
            await nursery.start(keep, farm, kept)
            await until(lambda: books_are_whole(farm))
            await until(lambda: farm.stats().totals.events > 1_500)
            stats = farm.stats()
        assert kept.of(Gap) == []
        assert max(identities(kept).values()) == 1
        if name.startswith("binance"):
            assert trade_ids_step(kept)
        assert all(connection.firsts > 0 for connection in stats.connections)
        assert sum(connection.misses for connection in stats.connections) > 0


async def test_a_lane_that_dies_is_not_missed() -> None:
    kept = Kept()
    name = "binance/spot"
    async with (
        open_fake(live(name)) as fake,
        trio.open_nursery() as nursery,
        open_farm(config_of(name, fake, lanes=2)) as farm,
    ):
        await nursery.start(keep, farm, kept)
        await until(lambda: books_are_whole(farm) and len(fake.connections) == 2)
        for _ in range(3):
            await until(lambda: len(fake.connections) == 2 and lanes_are_up(farm))
            fake.connections[0].reset()
            before = farm.stats().totals.events
            await until(lambda before=before: farm.stats().totals.events > before + 100)
            assert books_are_whole(farm)
        await until(lambda: farm.stats().totals.reconnects == 3 and lanes_are_up(farm))
    assert kept.of(Gap) == []
    assert trade_ids_step(kept)


def lanes_are_up(farm: Farm) -> bool:
    return all(
        status.state.value in ("acknowledged", "live")
        for line in farm._pipeline.lines
        for lane in line.lanes
        for status in lane.session.statuses.values()
    )


async def test_when_all_lanes_die_the_loss_is_recorded_once_a_feed() -> None:
    kept = Kept()
    name = "binance/spot"
    async with (
        open_fake(live(name)) as fake,
        trio.open_nursery() as nursery,
        open_farm(config_of(name, fake, lanes=2)) as farm,
    ):
        await nursery.start(keep, farm, kept)
        await until(lambda: books_are_whole(farm) and lanes_are_up(farm))
        await until(lambda: min_events(farm) > 10)
        fake.kill()
        await until(lambda: not fake.connections)
        await trio.sleep(0.3)  # the market goes on meanwhile
        await fake.revive()
        await until(lambda: lanes_are_up(farm) and books_are_whole(farm))
        before = farm.stats().totals.events
        await until(lambda: farm.stats().totals.events > before + 300)
    trades = [gap for gap in kept.of(Gap) if gap.feed.endswith("/trade")]
    assert {gap.symbol for gap in trades} == set(SYMBOLS[Market.SPOT])
    for symbol in SYMBOLS[Market.SPOT]:
        missing = missing_ids(kept, symbol)
        recorded = {
            number
            for gap in trades
            if gap.symbol == symbol and gap.first_id is not None and gap.last_id is not None
            for number in range(gap.first_id, gap.last_id + 1)
        }
        assert missing == recorded != set()
    assert max(identities(kept).values()) == 1


def min_events(farm: Farm) -> int:
    return min(feed.events for feed in farm.stats().feeds if feed.feed.endswith("/trade"))


def missing_ids(kept: Kept, symbol: str) -> set[int]:
    ids = [int(trade.id) for trade in kept.of(Trade) if trade.symbol == symbol]
    return set(range(min(ids), max(ids) + 1)) - set(ids)


async def test_exchanges_have_all_the_kinds_that_are_collected_here() -> None:
    """The rotation of every kind is tested above only if the fakes send every kind."""
    for name in MARKET_NAMES:
        async with open_fake(live(name)) as fake, open_farm(config_of(name, fake)) as farm:
            wanted = [s for s in STREAMS[name] if s not in ("liquidation", "kline:1m")]
            await until(lambda farm=farm, wanted=wanted: all_deliver(farm, wanted))


def all_deliver(farm: Farm, specs: list[str]) -> bool:
    delivered = {feed.feed.split("/")[3] for feed in farm.stats().feeds if feed.events}
    return set(specs) <= {spec if spec in specs else spec.split(":")[0] for spec in delivered}

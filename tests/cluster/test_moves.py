"""Lines that go from shard to shard while a market trades: nothing is missing or comes twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from farm import Farm, Gap, Quote, Trade
from farm.cluster import outlet
from farm.cluster.messages import Delivering, ExpectHeir, HandOver, OpenLine, TakeOver
from farm.cluster.moves import Moves
from farm.cluster.remote_line import RemoteLine
from farm.cluster.remote_shard import RemoteShard
from farm.cluster.sources import ClusterSources
from farm.testing import open_fake
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
from tests.farms import MARKET_NAMES, feed

FEW = "trade quote book"
DELAY = 0.01
"""Seconds that a link takes, so that each step of a move takes its time."""


@attrs.define
class Moving:
    """A farm of two shards, and one of one process that sees the same market."""

    trading: Trading
    read: UserReader = attrs.field(factory=UserReader)
    control_read: UserReader = attrs.field(factory=UserReader)
    farm: Farm = attrs.field(init=False)
    control: Farm = attrs.field(init=False)

    @property
    def world(self) -> ClusterWorld:
        return self.trading.world

    @property
    def sources(self) -> ClusterSources:
        return sources_of(self.farm)

    @property
    def moves(self) -> Moves:
        return self.sources.moves

    @property
    def lines(self) -> list[RemoteLine]:
        return [line for line in self.sources.lines if line.rules.key == self.trading.name]

    @asynccontextmanager
    async def run(self, **more: Any) -> AsyncIterator[Moving]:
        """Both farms, all of whose streams and books are there."""
        trading = self.trading
        async with (
            open_fake(trading.fake),
            trading.farm(1, self.control_read) as self.control,
            trading.farm(2, self.read, **more) as self.farm,
        ):
            books_of(self.farm), books_of(self.control)
            await until(lambda: all_live(self.farm) and books_stand(self.farm))
            yield self

    def stand(self) -> int:
        """How many connections do."""
        return sum(c.status == "running" for c in self.farm.stats().connections)

    def begin(self, line: RemoteLine) -> tuple[int, int]:
        """Have it moved to the other shard: from where, and to where."""
        source, target = line.shard, 3 - line.shard
        self.moves.move(line, target)
        return source, target

    async def move(self, line: RemoteLine) -> None:
        """Have it moved, and see that its books are whole at any time."""
        _, target = self.begin(line)
        with trio.fail_after(60):
            while line.shard != target:
                assert books_stand(self.farm)
                await trio.sleep(0.01)
        assert books_stand(self.farm)

    async def traded(self) -> None:
        """The market is at its end, and the books are its books."""
        await self.trading.all_traded()
        await until(lambda: books_stand(self.farm))
        self.trading.assert_books_are_the_venues(self.farm)
        ours, theirs = books_of(self.farm), books_of(self.control)
        assert {feed: (b.bids, b.asks) for feed, b in ours.items()} == {
            feed: (b.bids, b.asks) for feed, b in theirs.items()
        }

    def assert_nothing_is_missing(self) -> None:
        assert self.read.of(Gap) == []
        assert self.read.repeated() == {}
        assert_same(self.read, self.control_read)


def binance(**more: Any) -> Moving:
    """Spot, a few streams; what links take is told apart."""
    world = ClusterWorld(seed=more.pop("seed", 1), link_delay=more.pop("delay", 0.0))
    given = {"specs": FEW, "rate": 40.0, "seconds": 12.0} | more
    return Moving(Trading("binance/spot", world=world, **given))


# ------------------------------------------------------------------------------------ as it should
@pytest.mark.parametrize("lanes", [1, 2])
@pytest.mark.parametrize("name", [name for name in MARKET_NAMES if name != "bybit/option"])
async def test_lines_move_in_the_middle_of_trading(
    name: str, lanes: int, autojump_clock: MockClock
) -> None:
    moving = Moving(Trading(name, lanes=lanes, seconds=12.0))
    async with moving.run():
        line, other = moving.lines[0], moving.lines[-1]
        await moving.move(line)
        await moving.move(other)
        assert moving.moves.made == 2
        await moving.traded()
        connections = {c.name.partition("~")[0] for c in moving.farm.stats().connections}
        assert connections == {line.name for line in moving.lines}
    moving.assert_nothing_is_missing()
    assert moving.farm.stats().totals.gaps == 0


async def test_options_have_one_line_and_move_beside_another(autojump_clock: MockClock) -> None:
    """A line of spot gives them a second shard."""
    world = ClusterWorld(seed=2)
    options = Trading("bybit/option", seconds=15.0, world=world)
    spot = Trading("bybit/spot", specs="trade", seconds=15.0, world=world)
    reader, control = UserReader(), UserReader()
    async with open_fake(options.fake), open_fake(spot.fake):
        both = [*options.collectors(), *spot.collectors()]
        options.more = {"collectors": both}
        async with (
            options.farm(1, control),
            options.farm(2, reader) as farm,
        ):
            books_of(farm)
            await until(lambda: all_live(farm) and books_stand(farm))
            sources = sources_of(farm)
            (line,) = [line for line in sources.lines if line.rules.key == "bybit/option"]
            sources.moves.move(line, 3 - line.shard)
            await until(lambda: sources.moves.made == 1)
            await options.all_traded()
            assert books_stand(farm)
    assert reader.of(Gap) == []
    assert reader.repeated() == {}
    assert_same(reader, control)


async def test_a_line_moves_there_and_back_again(autojump_clock: MockClock) -> None:
    """No process tells of the books of a line that has left it, or that it only holds."""
    moving = binance(rate=20.0, seconds=25.0)
    async with moving.run():
        line = moving.lines[0]
        for _ in range(4):
            await moving.move(line)
            await trio.sleep(0.5)
        await moving.traded()
        assert [s for s in moving.farm.stats().feeds if s.book and s.book.resyncs] == []
    moving.assert_nothing_is_missing()
    counts = moving.farm.stats()
    expected = {f.feed: f.continuity for f in moving.control.stats().feeds}
    for found in counts.feeds:
        if found.continuity is not None:
            other = expected[found.feed]
            assert other is not None
            assert found.continuity.completeness == other.completeness
            assert found.continuity.missing == 0


async def test_a_move_beside_which_others_go_on(autojump_clock: MockClock) -> None:
    """One is moved at a time."""
    moving = binance()
    async with moving.run():
        line, other = moving.lines
        moving.begin(line)
        with pytest.raises(LookupError, match="is being moved"):
            moving.begin(other)
        with pytest.raises(LookupError):
            moving.moves.move(other, 7)
        await until(lambda: moving.moves.made == 1)
        await moving.traded()
    moving.assert_nothing_is_missing()


async def test_what_is_stored_is_stored_once(tmp_path: Path, autojump_clock: MockClock) -> None:
    moving = binance()
    moving.trading.more = {"storage": {"flush_seconds": 1.0}}
    async with moving.run(data=str(tmp_path / "data")):
        await moving.move(moving.lines[0])
        await moving.move(moving.lines[0])
        await moving.move(moving.lines[1])
        await moving.traded()
    moving.assert_nothing_is_missing()
    assert sorted(stored_trades(tmp_path / "data")) == sorted(
        (trade.symbol, trade.id) for trade in moving.read.of(Trade)
    )
    assert moving.farm.stats().rows_written == sum(f.events for f in moving.farm.stats().feeds)


async def test_a_new_process_does_not_overtake_the_old_one(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the way from the old one is jammed, what the new one sends comes after it all the
    same: else ids come out of order, and mirrors go wrong."""
    monkeypatch.setattr(outlet, "SEND_BYTES", 1000)
    moving = binance(delay=0.02, rate=200.0)
    async with moving.run():
        line = moving.lines[0]
        source, _ = moving.begin(line)
        await until(lambda: moving.moves._now is not None and moving.moves._now.opened)
        await trio.sleep(1)
        way = moving.world.shard(source)._end._outward
        usual, way.limit = way.limit, 1000
        await until(lambda: moving.moves.made == 1)
        await trio.sleep(3)
        way.limit = usual
        await moving.traded()
    moving.assert_nothing_is_missing()
    for ids in moving.read.trade_ids().values():
        assert ids == list(range(ids[0], ids[-1] + 1))


# -------------------------------------------------------------------------- what happens meanwhile
STEPS = [ExpectHeir, OpenLine, Delivering, HandOver, TakeOver]
"""What the parent tells in a move, one after the other."""

SOON = [2.4 * (place + 0.5) / runs(1) for place in range(runs(1))]
"""How much later something happens, in times that a link takes."""


@asynccontextmanager
async def at_step(step: type[Any], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[trio.Event]:
    """An event for when the parent has told this."""
    told, send = trio.Event(), RemoteShard.send

    def sending(shard: RemoteShard, message: Any) -> None:
        send(shard, message)
        if isinstance(message, step):
            told.set()

    monkeypatch.setattr(RemoteShard, "send", sending)
    yield told
    monkeypatch.setattr(RemoteShard, "send", send)


async def in_a_move(
    moving: Moving, step: type[Any], later: float, monkeypatch: pytest.MonkeyPatch
) -> tuple[int, int]:
    """Begin a move of the first line and wait until it is so far: from where to where it goes."""
    async with at_step(step, monkeypatch) as told:
        ends = moving.begin(moving.lines[0])
        with trio.fail_after(30):
            await told.wait()
    await trio.sleep(later * DELAY)
    return ends


@pytest.mark.parametrize("later", SOON)
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("victim", ["source", "target"])
async def test_whoever_dies_in_a_move_the_line_goes_on_and_its_loss_is_on_record(
    victim: str,
    step: type[Any],
    later: float,
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    moving = binance(delay=DELAY)
    async with moving.run():
        source, target = await in_a_move(moving, step, later, monkeypatch)
        moving.world.shard(source if victim == "source" else target).kill()
        await trio.sleep(1)
        await until(lambda: moving.moves._now is None)
        await until(lambda: all_live(moving.farm) and books_stand(moving.farm))
        await until(lambda: moving.stand() == 2)
        await moving.traded()
        moving.begin(moving.lines[0])
        await until(lambda: moving.moves._now is None)
    assert unrecorded(moving.read, moving.control_read) == []
    assert moving.read.repeated() == {}
    for ids in moving.read.trade_ids().values():
        assert ids == sorted(ids)
    assert {(gap.cause, gap.edge) for gap in moving.read.of(Gap)} <= {(GapCause.CRASH, "shard")}
    assert set(moving.read.gaps_by_feed().values()) <= {1}


UP = ("live", "acknowledged")


def state_of(farm: Farm, word: str) -> str:
    """Of a feed of the line that moves."""
    return feed(farm.stats(), f"binance/spot/BTCUSDT/{word}").state


@pytest.mark.parametrize("later", SOON)
@pytest.mark.parametrize("step", STEPS)
async def test_streams_come_and_go_in_a_move(
    step: type[Any],
    later: float,
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    moving = binance(delay=DELAY)
    async with moving.run():
        farm = moving.farm
        _, target = await in_a_move(moving, step, later, monkeypatch)
        await farm.add_streams(["agg_trade", "book:5"], collector=0)
        farm.remove_streams("quote", collector=0)
        await until(lambda: moving.moves.made == 1)
        line = moving.lines[0]
        assert line.shard == target
        words = ("agg_trade", "book:5", "trade", "book")
        await until(lambda: all(state_of(farm, word) in UP for word in words))
        assert state_of(farm, "quote") == "ended"
        await trio.sleep(1)
        seen = len([row for row in moving.read.of(Quote) if row.symbol == "BTCUSDT"])
        await moving.trading.all_traded()
        await until(lambda: books_stand(farm))
        moving.trading.assert_books_are_the_venues(farm)
        assert seen == len([row for row in moving.read.of(Quote) if row.symbol == "BTCUSDT"])
        assert len(line.planned) == 4
        assert [p.restarts for p in farm.stats().processes] == [0, 0, 0]
    assert moving.read.of(Gap) == []
    for ids in moving.read.trade_ids().values():
        assert ids == list(range(ids[0], ids[-1] + 1))


@pytest.mark.parametrize("later", SOON)
@pytest.mark.parametrize("step", STEPS)
async def test_a_line_is_closed_in_a_move(
    step: type[Any],
    later: float,
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    moving = binance(delay=DELAY)
    async with moving.run():
        farm = moving.farm
        await in_a_move(moving, step, later, monkeypatch)
        farm.remove_symbols("BTCUSDT", collector=0)
        await until(lambda: len(farm.stats().connections) == 1)
        await until(lambda: moving.moves._now is None)
        assert await farm.add_symbols("BTCUSDT", collector=0) == ["BTCUSDT"]
        books_of(farm)
        await until(lambda: len(farm.stats().connections) == 2)
        await until(lambda: all_live(farm) and books_stand(farm))
        await moving.move(next(line for line in moving.lines if line.name.endswith("#3")))
        await moving.trading.all_traded()
        moving.trading.assert_books_are_the_venues(farm)
        assert [p.restarts for p in farm.stats().processes] == [0, 0, 0]
    assert moving.read.of(Gap) == []
    assert moving.read.repeated() == {}


@pytest.mark.parametrize("later", SOON)
@pytest.mark.parametrize("step", STEPS)
async def test_all_stops_in_a_move(
    step: type[Any],
    later: float,
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was received is delivered, and there is a record of the rest, if there is one."""
    moving = binance(delay=DELAY)
    async with moving.run():
        await in_a_move(moving, step, later, monkeypatch)
        began, ended = trio.current_time(), moving.world.wall_clock()
        moving.farm.stop()
        await moving.farm.wait()
        assert trio.current_time() - began < 3
    lost = unrecorded(moving.read, moving.control_read)
    assert [trade for trade in lost if trade.receive_time < ended - 2 * APART] == []
    assert moving.read.repeated() == {}
    assert moving.world.living == []


async def test_what_is_lost_while_the_old_ones_last_words_are_on_their_way_is_on_record(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new one dies, and the old one opens the line again when it is heard that it had ended."""
    moving = binance(delay=DELAY, rate=200.0)
    async with moving.run():
        source, target = await in_a_move(moving, HandOver, 0.0, monkeypatch)
        way = moving.world.shard(source)._end._outward
        usual, way.limit = way.limit, 0
        moving.world.shard(target).kill()
        await trio.sleep(0.5)
        way.limit = usual
        way._changed()
        await until(lambda: moving.stand() == 2 and all_live(moving.farm))
        await moving.traded()
    assert unrecorded(moving.read, moving.control_read) == []
    assert {gap.symbol for gap in moving.read.of(Gap)} == {"BTCUSDT", "ETHUSDT"}
    assert set(moving.read.gaps_by_feed().values()) == {1}


@pytest.mark.parametrize("moment", moments(3))
async def test_what_a_process_dies_with_that_a_line_has_left_is_on_record(
    moment: int, tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Its last rows there were in memory yet; whoever reads had them, and the store never will."""
    data = tmp_path / "data"
    moving = binance(seed=moment)
    moving.trading.more = {"storage": {"flush_seconds": 4.0}}
    async with moving.run(data=str(data)):
        source = moving.lines[0].shard
        await trio.sleep(0.5)
        await moving.move(moving.lines[0])
        await trio.sleep(1.5 * moment)
        moving.world.shard(source).kill()
        await trio.sleep(1)
        await until(lambda: moving.stand() == 2 and all_live(moving.farm))
        await moving.traded()
    kept = UserReader(rows=stored_gaps(data))
    had = Counter(stored_trades(data))
    assert set(had.values()) == {1}
    kept.rows += [t for t in moving.control_read.of(Trade) if (t.symbol, t.id) in had]
    assert unrecorded(kept, moving.control_read) == []
    assert unrecorded(moving.read, moving.control_read) == []
    assert moving.read.repeated() == {}


async def test_a_line_that_does_not_catch_up_stays(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("farm.cluster.moves.CATCH_UP_SECONDS", 5.0)
    moving = binance()
    async with moving.run():
        line = moving.lines[0]
        before = {id(connection) for connection in moving.trading.fake.connections}
        moving.trading.fake.filter = lambda connection, _push: id(connection) in before
        source, _ = moving.begin(line)
        await trio.sleep(3)
        assert moving.moves._now is not None
        await until(lambda: moving.moves._now is None)
        assert (line.shard, moving.moves.made) == (source, 0)
        await until(lambda: len(moving.farm.stats().connections) == 2)
        moving.trading.fake.filter = None
        await moving.move(line)
        await moving.traded()
    moving.assert_nothing_is_missing()


# -------------------------------------------------------------------------------------- by itself
async def test_an_overloaded_shard_is_relieved(autojump_clock: MockClock) -> None:
    """Of four lines on two shards one goes where there is room, once."""
    trading = Trading("binance/usdm", specs="trade quote mark_price", rate=40.0, seconds=60.0)
    moving = Moving(trading)
    async with moving.run():
        shards = {line.name: line.shard for line in moving.lines}
        assert sorted(shards.values()) == [1, 1, 2, 2]
        trading.world.loads = {"shard 1": 0.95, "shard 2": 0.1}
        await trio.sleep(8)
        assert moving.moves._now is None
        await until(lambda: moving.moves.made == 1, 20)
        moved = [line for line in moving.lines if line.shard != shards[line.name]]
        assert [line.shard for line in moved] == [2]
        trading.world.loads = {"shard 1": 0.5, "shard 2": 0.5}
        await trading.all_traded()
        assert moving.moves.made == 1
    moving.assert_nothing_is_missing()


async def test_a_lone_line_does_not_move_by_itself(autojump_clock: MockClock) -> None:
    moving = binance(seconds=30.0, rate=20.0)
    async with moving.run():
        moving.world.loads = {"shard 1": 0.99, "shard 2": 0.1}
        await moving.trading.all_traded()
        assert moving.moves.made == 0
    moving.assert_nothing_is_missing()


async def test_lines_move_all_the_time(autojump_clock: MockClock) -> None:
    """To and fro, while connections take over from one another."""
    for seed in range(runs(1)):
        moving = binance(seed=seed, seconds=40.0, rate=30.0, lanes=2)
        async with moving.run():
            for number in range(6):
                await moving.move(moving.lines[number % 2])
            await moving.traded()
        moving.assert_nothing_is_missing()

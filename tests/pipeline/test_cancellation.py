"""A whole farm cancelled at every step of its life: it drains, ends in time, and leaves nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from farm import Farm, Gap, Trade, open_farm
from farm.batch import Origin
from farm.errors import LocalProtocolError
from farm.exchanges.session import Closed, Finished, Frames, Input, Lost, Opened
from farm.pipeline.endings import last_words, words_without_core
from farm.testing import FakeBinance, FarmWorld, MarketSimulator, Push, Recorded, open_fake
from farm.testing.chaos.ledger import Account
from farm.testing.chaos.moments import Moments
from farm.testing.chaos.stored import left_behind, stored_gaps, stored_trades
from farm.testing.chaos.truth import Truth
from farm.testing.moments import Moment, at_every_moment
from farm.testing.wall_clock import START
from farm.types import Exchange, Market, NumberMode
from tests.actors.lines import session as core_of
from tests.effort import runs
from tests.exchanges.feeding import binance_trade, text
from tests.farms import collector

SYMBOLS = ["BTCUSDT", "ETHUSDT"]
FEEDS = {symbol: {f"binance/spot/{symbol}/trade"} for symbol in SYMBOLS}
MOST = runs(10)
DRAIN = 5.0
LONGEST = 3 * DRAIN + 1.0  # three stages, each with its grace, and what `open_farm` adds

ON_THE_WAY = 0.05
"""Seconds for which a trade may have been under way to the farm when that was ended."""

Body = Callable[[Farm, FakeBinance], Awaitable[None]]


class Venue(FakeBinance):
    """A venue of whose trades the truth takes note."""

    def __init__(self, truth: Truth, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._truth = truth

    def take(self, push: Push) -> None:
        self._truth.take(push)
        super().take(push)


@attrs.define(eq=False)
class World:
    """A farm, its venue, and what its user was given."""

    data: Path
    config: dict[str, Any] = attrs.field(factory=dict)
    truth: Truth = attrs.field(factory=lambda: Truth({}))
    world: FarmWorld = attrs.field(factory=FarmWorld)
    delivered: Counter[tuple[str, str]] = attrs.field(factory=Counter)
    gaps: list[Gap] = attrs.field(factory=list)
    left: float = 0.0  # when the body had ended
    ended: float = 0.0
    venue: Venue = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.world.wall_clock()
        market = MarketSimulator(Exchange.BINANCE, Market.SPOT, SYMBOLS, rate=10.0, levels=50)
        self.venue = Venue(self.truth, market, pace=Recorded(), network=self.world.network)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """The venue, and the readers of the farm, who are not cancelled with it."""
        async with open_fake(self.venue):
            yield
            await trio.sleep(1)
            assert self.venue.connections == []
        assert self.world.network.streams_open == 0

    async def farm(self, body: Body, readers: trio.Nursery) -> None:
        """Open a farm for the time of its body."""
        one = collector("binance", "spot", SYMBOLS, ["trade", "book"], self.venue)
        config = {
            "collectors": [one | self.config],
            "data": str(self.data),
            "supervision": {"drain_seconds": DRAIN, "backoff_initial": 0.1},
        }
        try:
            async with open_farm(config, environment=self.world.environment) as farm:
                await readers.start(self._read, farm)
                try:
                    await body(farm, self.venue)
                finally:
                    self.left = trio.current_time()
        finally:
            self.ended = trio.current_time()

    async def _read(self, farm: Farm, task_status: trio.TaskStatus[None]) -> None:
        async with farm.subscribe(Trade, Gap) as batches:
            task_status.started()
            async for batch in batches:
                for row in batch:
                    if isinstance(row, Gap):
                        self.gaps.append(row)
                    else:
                        self.delivered[row.symbol, row.id] += 1

    def judge_files(self) -> list[tuple[str, str]]:
        """The trades on the disk, each of them once, in files that are whole."""
        stored = stored_trades(self.data)
        assert len(stored) == len(set(stored))
        assert left_behind(self.data) == []
        return stored

    def judge(self, body: Body, until: float) -> None:
        """Every trade was delivered or is in a gap, and every one that was delivered is stored."""
        stored = self.judge_files()
        account = Account(
            self.truth,
            self.delivered,
            self.gaps,
            FEEDS,
            unknown=set(),
            eaten=set(),
            moments=Moments(0.0, START, []).of,
            slack=ON_THE_WAY,
            until=until,
        )
        if body is not changes:  # what was not wanted for a while is not owed
            assert account.balance().violations == []
        assert account.unstored(stored, stored_gaps(self.data)) == []


async def starts(farm: Farm, venue: FakeBinance) -> None:
    async with farm.subscribe(Trade) as batches:
        await batches.receive()


async def runs_on(farm: Farm, venue: FakeBinance) -> None:
    await trio.sleep(3)


async def reconnects(farm: Farm, venue: FakeBinance) -> None:
    await trio.sleep(1)
    venue.break_connections()
    await trio.sleep(2)


async def rotates(farm: Farm, venue: FakeBinance) -> None:
    await trio.sleep(1)
    venue.announce_shutdown()
    await trio.sleep(5)


async def changes(farm: Farm, venue: FakeBinance) -> None:
    await trio.sleep(0.7)
    farm.remove_symbols(SYMBOLS)
    await trio.sleep(0.5)
    await farm.add_symbols(SYMBOLS)
    await trio.sleep(1)


async def as_long_as_it_lives(body: Body, farm: Farm, venue: FakeBinance) -> None:
    """Do this, but no longer than the farm lives."""

    async def wait() -> None:
        await farm.wait()
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        with suppress(trio.EndOfChannel):
            await body(farm, venue)
        nursery.cancel_scope.cancel()


BODIES: list[Body] = [starts, runs_on, reconnects, rotates, changes]


@pytest.mark.parametrize("body", BODIES)
def test_a_farm_cancelled_at_any_step_drains_and_ends(body: Body, tmp_path: Path) -> None:
    async def trial(moment: Moment) -> None:
        world = World(tmp_path / f"{moment.step}")
        async with world.opened(), trio.open_nursery() as readers:
            with moment.cancels() as scope:
                await world.farm(body, readers)
        began = moment.time if scope.cancelled_caught else world.left
        assert world.ended - began <= LONGEST
        world.judge(body, until=began - ON_THE_WAY)

    at_every_moment(trial, most=MOST)


@pytest.mark.parametrize("body", BODIES)
def test_a_farm_stopped_at_any_step_drains_and_ends(body: Body, tmp_path: Path) -> None:
    async def trial(moment: Moment) -> None:
        world = World(tmp_path / f"{moment.step}")

        async def until_stopped(farm: Farm, venue: FakeBinance) -> None:
            with moment.calls(farm.stop), suppress(LocalProtocolError):  # too late for a change
                await as_long_as_it_lives(body, farm, venue)

        async with world.opened(), trio.open_nursery() as readers:
            await world.farm(until_stopped, readers)
        began = moment.time if moment.came else world.left
        assert world.ended - began <= LONGEST
        world.judge(body, until=began - ON_THE_WAY)

    at_every_moment(trial, most=MOST)


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("leaving", [False, True])
def test_a_farm_aborted_at_any_step_ends_at_once(body: Body, leaving: bool, tmp_path: Path) -> None:
    """While it works, or while it drains: what is queued is lost, but files are whole."""

    async def trial(moment: Moment) -> None:
        world = World(tmp_path / f"{moment.step}")

        async def until_aborted(farm: Farm, venue: FakeBinance) -> None:
            farms.append(farm)
            with ExitStack() as stack:
                stack.enter_context(moment.calls(farm.abort))
                if leaving:
                    leave.push(stack.pop_all())
                await as_long_as_it_lives(body, farm, venue)

        farms: list[Farm] = []
        async with world.opened(), trio.open_nursery() as readers:
            with ExitStack() as leave:  # it may come while the farm is left
                await world.farm(until_aborted, readers)
        if moment.came:
            assert world.ended == moment.time
        states = {connection.status for connection in farms[0].stats().connections}
        assert states <= {"stopped"}
        world.judge_files()

    at_every_moment(trial, most=MOST)


@pytest.mark.parametrize("body", [reconnects, rotates])
@pytest.mark.parametrize("who", ["source", "parser", "aggregator"])
def test_an_actor_that_is_cut_off_leaves_a_record_of_what_it_did_not_do(
    who: str, body: Body, tmp_path: Path
) -> None:
    async def trial(moment: Moment) -> None:
        world = World(tmp_path / f"{moment.step}")

        async def cut_off(farm: Farm, venue: FakeBinance) -> None:
            line = farm._pipeline.lines[0]
            lane = line.lanes[0]
            child = {
                "source": lane.source_child,
                "parser": lane.parser_child,
                "aggregator": line.aggregator_child,
            }[who]
            assert child is not None
            with moment.calls(child._scope.cancel):
                await body(farm, venue)

        async with world.opened(), trio.open_nursery() as readers:
            await world.farm(cut_off, readers)
        # A connection that is ended on purpose promises nothing of what comes after it.
        until = moment.time if moment.came and who == "source" else world.left
        world.judge(body, until=until - ON_THE_WAY)

    at_every_moment(trial, most=MOST)


# The last words -----------------------------------------------------------------------------------

GRANTED = text({"result": None, "id": 1})
LIVE: list[Input] = [Opened(1, 100, 0.0), Frames(1, 200, 0, [GRANTED, binance_trade(7)], 2, 2)]
"""A connection whose stream has delivered."""


def test_the_end_of_a_connection_that_no_core_has_heard_of_is_a_gap_until_now() -> None:
    """Though not a single frame is lost: it was parked, and nobody asked for the streams again."""
    session = core_of("trade")
    asked = [
        Opened(1, 100, 0.0),
        Frames(1, 200, 0, [text({"result": None, "id": 1}), binance_trade(7)], 2, 2),
    ]
    for item in asked:
        session.handle(item)
    statuses = list(session.statuses.values())
    origin = Origin(Exchange.BINANCE, Market.SPOT, "c", 2)

    def words(*left: Input) -> list[tuple[str, int | None, int | None, int | None]]:
        bundle = words_without_core(statuses, left, origin, NumberMode.FLOAT, 900)
        assert bundle.final
        gaps = [gap for batch in bundle.batches for gap in batch]
        return [(gap.edge, gap.start_time, gap.end_time, gap.size) for gap in gaps]

    assert words(Closed(1, 500, "reset"), Opened(2, 600, 1.0)) == [("venue", 200, 900, None)]
    assert words(Opened(2, 600, 1.0)) == [("venue", 200, 900, None)]
    assert words(Closed(1, 500, "closed by us", intended=True)) == []
    assert words(Lost(1, 3, 300, 400, "e", False), Closed(1, 500, "")) == [("e", 300, 900, 3)]
    assert words(Lost(1, 0, 300, 400, "e", False)) == []


@pytest.mark.parametrize("intended", [False, True])
def test_a_core_is_told_in_the_end_of_what_its_connection_went_through(intended: bool) -> None:
    session = core_of("trade")
    for item in (
        Opened(1, 100, 0.0),
        Frames(1, 200, 0, [text({"result": None, "id": 1}), binance_trade(7)], 2, 2),
    ):
        session.handle(item)
    left = [Closed(1, 500, "reset", intended), Finished(600)]
    said = last_words(session, left, 900)
    gaps = [gap for bundle in said for batch in bundle.batches for gap in batch]
    found = [(gap.edge, gap.start_time, gap.end_time) for gap in gaps]
    assert found == ([] if intended else [("venue", 200, 900)])
    assert [bundle.final for bundle in said][-1:] == [True]
    assert [bundle.serial for bundle in said] == sorted({bundle.serial for bundle in said})

"""A farm and its exchanges in a world of their own."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from farm import BookVerdict, Exchange, Market, Trade
from farm.errors import ConfigError
from farm.testing import FakeBinance, FarmWorld, MarketSimulator, Recorded
from farm.testing.world import run_in_place

DAY = 86_400.0


def spot(world: FarmWorld, **options: object) -> FakeBinance:
    source = MarketSimulator(Exchange.BINANCE, Market.SPOT, ["BTCUSDT", "ETHUSDT"], rate=2.0)
    return FakeBinance(source, pace=Recorded(), network=world.network, **options)  # type: ignore[arg-type]


async def test_hours_pass_and_nothing_is_left(autojump_clock: MockClock) -> None:
    world = FarmWorld()
    fake = spot(world)
    async with world.open_farm(fake, streams=["trade", "book"]) as farm:
        async with farm.subscribe(Trade) as batches:
            first = await batches.receive()
        await trio.sleep(3600.0)
        assert farm.book("ETHUSDT").verdict is BookVerdict.VERIFIED
        assert abs(world.wall_clock() - first[0].receive_time) < 2 * 3600 * 10**9
        assert world.network.streams_open > 0
    assert world.network.streams_open == 0
    assert trio.current_time() > 3600.0


async def test_some_of_the_symbols(autojump_clock: MockClock) -> None:
    world = FarmWorld()
    async with world.open_farm(spot(world), streams=["trade"], symbols=["ETHUSDT"]) as farm:
        assert {feed.feed.split("/")[2] for feed in farm.stats().feeds} == {"ETHUSDT"}


async def test_a_text_is_one_name(autojump_clock: MockClock) -> None:
    world = FarmWorld()
    async with world.open_farm(spot(world), streams="trade", symbols="ETHUSDT") as farm:
        assert [feed.feed for feed in farm.stats().feeds] == ["binance/spot/ETHUSDT/trade"]


async def test_what_cannot_be_opened_says_why(autojump_clock: MockClock) -> None:
    world = FarmWorld()
    with pytest.raises(ValueError, match="no exchange"):
        async with world.open_farm(streams=["trade"]):
            pass
    anything = FakeBinance([], network=world.network)
    with pytest.raises(ValueError, match="name symbols="):
        async with world.open_farm(anything, streams=["trade"]):
            pass
    with pytest.raises(ConfigError, match="nonsense"):
        async with world.open_farm(spot(world), streams=["nonsense"]):
            pass
    assert world.network.streams_open == 0


async def test_blocking_work_is_done_in_place(autojump_clock: MockClock) -> None:
    assert await run_in_place(lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        await run_in_place(lambda: 1 // 0)

from __future__ import annotations

import json

import trio

from farm import Farm, FeedStats, open_farm
from farm.testing import FakeBinance, MarketSimulator, Recorded, open_fake
from farm.types import Exchange, Market
from tests.farms import collector, feed, until

START = 1_700_000_000_000_000_000


def fake() -> FakeBinance:
    market = MarketSimulator(
        Exchange.BINANCE, Market.SPOT, ["BTCUSDT"], seed=1, rate=300, start=START
    )
    return FakeBinance(market, pace=Recorded())


async def test_every_configured_feed_is_listed_from_the_start() -> None:
    async with open_fake(FakeBinance([], symbols=["BTCUSDT"])) as venue:
        one = collector("binance", "spot", ["BTCUSDT"], ["trade", "kline:1m", "book:20"], venue)
        async with open_farm({"collectors": [one]}) as farm:
            await until(lambda: {f.state for f in farm.stats().feeds} == {"acknowledged", ""})
            stats = farm.stats()
    specs = ["book:20", "instrument", "kline:1m", "trade"]
    assert [f.feed.split("/")[-1] for f in stats.feeds] == specs
    collected = [f for f in stats.feeds if f.state]
    assert {(f.events, f.gaps, f.last_time, f.lag_ms, f.rate) for f in collected} == {
        (0, 0, None, None, None)
    }
    book = feed(stats, "binance/spot/BTCUSDT/book:20").book
    assert book is not None
    assert book.verdict == "syncing"
    assert feed(stats, "binance/spot/BTCUSDT/trade").book is None


async def test_figures_of_a_feed_and_of_its_connection() -> None:
    async with open_fake(fake()) as venue:
        one = collector("binance", "spot", ["BTCUSDT"], ["trade", "quote", "book"], venue)
        async with open_farm({"collectors": [one]}) as farm:
            await until(lambda: farm.stats().totals.events > 200)
            stats = farm.stats()
    trades = feed(stats, "binance/spot/BTCUSDT/trade")
    assert trades.state == "live"
    assert trades.events > 0
    assert trades.rate is not None
    assert trades.rate > 0
    assert trades.lag_ms is not None
    assert trades.last_time is not None
    exchange_ms = trades.last_time / 1e6 - trades.lag_ms  # the market opened at START
    assert 0 <= exchange_ms - START / 1e6 < 60_000
    assert feed(stats, "binance/spot/BTCUSDT/quote").lag_ms is None  # the venue gives no time
    (connection,) = stats.connections
    assert (connection.status, connection.connects, connection.crashes) == ("running", 1, 0)
    assert connection.frames == stats.totals.frames > 0
    assert connection.bytes > connection.frames
    assert stats.totals.events == sum(f.events for f in stats.feeds)
    assert stats.rows_written is stats.files_written is None
    assert json.loads(json.dumps(stats.to_dict()))["totals"]["events"] == stats.totals.events


def trades(farm: Farm) -> FeedStats:
    return feed(farm.stats(), "binance/spot/BTCUSDT/trade")


async def test_a_feed_of_a_dead_connection_is_down_and_its_rate_falls() -> None:
    async with open_fake(fake()) as venue:
        one = collector("binance", "spot", ["BTCUSDT"], ["trade"], venue)
        async with open_farm({"collectors": [one]}) as farm:
            await until(lambda: farm.stats().totals.events > 20)
            venue.kill()
            await until(lambda: trades(farm).state == "down")
            assert farm.stats().connections[0].status != "running"
            before = trades(farm).rate
            assert before is not None
            await trio.sleep(0.1)
            after = trades(farm).rate
            assert after is not None
            assert after < before
        assert trades(farm).gaps == 1  # down until the end
        assert farm.stats() == farm.stats()  # time stands still once the farm has ended

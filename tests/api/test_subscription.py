from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from farm import Gap, Quote, Trade, open_farm
from farm.actors.hub import Filter
from farm.api.subscription import Subscription
from farm.batch import Batch
from farm.bundle import Bundle
from farm.cluster.outlet import LINK_EDGE
from farm.pipeline import Pipeline, Settings
from farm.testing import FakeBinance, Flood, MarketSimulator, Recorded, open_fake
from farm.types import Exchange, GapCause, GapUnit, Market
from tests.effort import runs
from tests.farms import collector, feed, until
from tests.storage.events import ORIGIN, trade

SYMBOLS = ["BTCUSDT", "ETHUSDT"]


def live_market(seed: int = 1) -> FakeBinance:
    market = MarketSimulator(Exchange.BINANCE, Market.SPOT, SYMBOLS, seed=seed, rate=300)
    return FakeBinance(market, pace=Recorded())


async def test_it_must_be_opened_and_only_once() -> None:
    async with open_fake(live_market()) as fake:
        one = collector("binance", "spot", SYMBOLS, ["trade"], fake)
        async with open_farm({"collectors": [one]}) as farm:
            batches = farm.subscribe(Trade)
            with pytest.raises(RuntimeError, match="is read within"):
                await batches.receive()
            async with batches:
                assert (await batches.receive()).kind is Trade
            with pytest.raises(RuntimeError, match="opened once"):
                async with batches:
                    pass


async def test_symbols_and_kinds_are_chosen() -> None:
    async with open_fake(live_market()) as fake:
        one = collector("binance", "spot", SYMBOLS, ["trade", "quote"], fake)
        async with (
            open_farm({"collectors": [one]}) as farm,
            farm.subscribe(Trade, symbols=["ETHUSDT"]) as ether,
            farm.subscribe(Trade, Quote) as everything,
        ):
            for _ in range(20):
                batch = await ether.receive()
                assert {trade.symbol for trade in batch} == {"ETHUSDT"}
                assert batch.nbytes > 0
            kinds = {(await everything.receive()).kind for _ in range(40)}
            assert kinds == {Trade, Quote}


async def test_a_cancelled_receive_loses_nothing() -> None:
    market = MarketSimulator(
        Exchange.BINANCE, Market.SPOT, ["BTCUSDT"], seed=2, seconds=runs(20), rate=300
    )
    async with open_fake(FakeBinance(market, pace=Recorded(speed=10, start_after=1))) as fake:
        one = collector("binance", "spot", ["BTCUSDT"], ["trade"], fake)
        got: list[int] = []
        cancelled = 0
        async with (
            open_farm({"collectors": [one]}) as farm,
            farm.subscribe(Trade) as batches,
        ):
            while not fake.finished.is_set() or len(got) < fake.sent["btcusdt@trade"]:
                with trio.move_on_after(0.001) as scope:
                    batch = await batches.receive()
                    got += [int(trade.id) for trade in batch]
                cancelled += scope.cancelled_caught
        assert cancelled > 10
        assert got == list(range(got[0], got[0] + fake.sent["btcusdt@trade"]))


async def test_gaps_of_a_slow_reader_come_inline_where_they_are_wanted() -> None:
    market = MarketSimulator(Exchange.BINANCE, Market.SPOT, ["BTCUSDT"], seed=3, seconds=20)
    async with open_fake(FakeBinance(market, pace=Flood(start_after=1))) as fake:
        one = collector("binance", "spot", ["BTCUSDT"], ["trade"], fake)
        async with (
            open_farm({"collectors": [one]}) as farm,
            farm.subscribe(Trade, Gap, max_bytes=10_000) as slow,
        ):
            await fake.finished.wait()
            sent = fake.sent["btcusdt@trade"]
            name = "binance/spot/BTCUSDT/trade"
            await until(lambda: feed(farm.stats(), name).events == sent)
            first = await slow.receive()
            assert first.kind is Gap
            (gap,) = first.rows
            farm.stop()
            rest = sum([len(batch) async for batch in slow])
            assert gap.size == sent - rest
            assert slow.gaps == [gap]
            assert slow.dropped > 0


async def test_a_farm_that_is_left_closes_its_subscriptions() -> None:
    async with open_fake(live_market()) as fake:
        one = collector("binance", "spot", SYMBOLS, ["trade"], fake)
        async with trio.open_nursery() as nursery:
            ended = trio.Event()
            async with open_farm({"collectors": [one]}) as farm:

                async def read() -> None:
                    async with farm.subscribe(Trade) as batches:
                        async for _ in batches:
                            pass
                    ended.set()

                nursery.start_soon(read)
                await until(lambda: farm.stats().totals.events > 10)
            with trio.fail_after(5):
                await ended.wait()


async def test_leaving_a_subscription_ends_who_still_waits_on_it() -> None:
    async with open_fake(FakeBinance([], symbols=SYMBOLS)) as fake:
        one = collector("binance", "spot", SYMBOLS, ["trade"], fake)
        async with open_farm({"collectors": [one]}) as farm, trio.open_nursery() as nursery:
            batches = farm.subscribe(Trade)
            got: list[object] = []

            async def read() -> None:
                got.extend([batch async for batch in batches])

            async with batches:
                nursery.start_soon(read)
                await trio.testing.wait_all_tasks_blocked(0.01)
    assert got == []


def lost(feed: str, size: int, time: int, edge: str = LINK_EDGE) -> Gap:
    exchange, market, symbol, _ = feed.split("/")
    return Gap(
        exchange=Exchange(exchange),
        market=Market(market),
        symbol=symbol,
        feed=feed,
        edge=edge,
        cause=GapCause.OVERFLOW,
        first_id=None,
        last_id=None,
        start_time=time,
        end_time=time + 5,
        size=size,
        unit=GapUnit.EVENTS,
        repaired=False,
        receive_time=time + 5,
        ordinal=0,
    )


@pytest.mark.parametrize("kinds", [(Trade,), (Trade, Gap)])
@pytest.mark.parametrize("conflate", [False, True])
async def test_what_was_lost_on_the_way_from_a_shard_is_kept_as_far_as_it_was_asked_for(
    kinds: tuple[type[Any], ...], conflate: bool
) -> None:
    """One a feed; it comes inline only where gaps were asked for, and then all of them do."""
    pipeline = Pipeline(Settings())
    wanted = Filter(frozenset(kinds), frozenset({"BTCUSDT"}), Exchange.BINANCE)
    mine, other = "binance/spot/BTCUSDT/trade", "binance/spot/BTCUSDT/quote"
    given = [
        [lost(mine, 3, 10), lost(other, 4, 10), lost("binance/spot/ETHUSDT/trade", 5, 10)],
        [lost(mine, 2, 20)],
        [lost("bybit/spot/BTCUSDT/trade", 7, 20)],
        [lost(mine, 100, 30, "venue"), lost(mine, 200, 30, "aggregator>somebody else")],
    ]
    subscription: Subscription[Any]
    subscription = Subscription(pipeline, wanted, "me", 10**6, conflate=conflate)
    async with subscription:
        for serial, rows in enumerate(given, 1):
            gaps = Batch.of(rows, connection="a")
            told = Bundle(gaps.origins[0][0], serial, 50, [gaps])
            pipeline.hub.relay(told)
            pipeline.hub.relay_losses(gaps)
        pipeline.hub.relay(Bundle(ORIGIN, 9, 50, [Batch.of([trade(1)])]))
        subscription._mailbox.close()
        inline = [row for batch in [b async for b in subscription] for row in batch.rows]
    (kept,) = subscription.gaps
    assert (kept.feed, kept.edge, kept.size) == (mine, LINK_EDGE, 5)
    assert (kept.start_time, kept.end_time) == (10, 25)
    gaps_inline = [row.size for row in inline if isinstance(row, Gap)]
    assert gaps_inline == ([3, 4, 2, 100, 200] if Gap in kinds else [])
    assert [row for row in inline if not isinstance(row, Gap)] == [trade(1)]
    assert given[0][0].size == 3, "what others have of it is not changed"

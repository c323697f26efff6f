from __future__ import annotations

import pytest
import trio
import trio.testing

from farm import Gap, Quote, Trade, open_farm
from farm.testing import FakeBinance, Flood, MarketSimulator, Recorded, open_fake
from farm.types import Exchange, Market
from tests.effort import runs
from tests.farms import collector, feed, until

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

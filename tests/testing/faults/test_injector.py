"""Whatever goes wrong, the exchange ends, and nothing of it is left."""

from __future__ import annotations

import random

import pytest
import trio
from trio.testing import MockClock

from farm.testing import (
    BINANCE_SPOT,
    FakeBinance,
    FakeBybit,
    FakeExchange,
    FaultScript,
    MarketSimulator,
    MemoryNetwork,
    Recorded,
    WallClock,
)
from farm.testing.faults import KINDS
from farm.types import Exchange, Market
from tests.effort import runs
from tests.testing.faults.world import LINEAR, RawClient, World

BINANCE_STREAMS = ["btcusdt@trade", "btcusdt@depth@100ms", "btcusdt@bookTicker"]
BYBIT_STREAMS = ["publicTrade.BTCUSDT", "orderbook.50.BTCUSDT", "tickers.BTCUSDT"]

MOST = 1 << 22


def exchange(world: World, venue: Exchange, script: FaultScript, *, tls: bool) -> FakeExchange:
    market = Market.SPOT if venue is Exchange.BINANCE else Market.LINEAR
    source = MarketSimulator(venue, market, ["BTCUSDT"], seed=1, rate=20)
    clock = WallClock()
    if venue is Exchange.BINANCE:
        return FakeBinance(
            source, rules=BINANCE_SPOT, pace=Recorded(), hold_for_snapshots=False, tls=tls,
            network=world.network, faults=script, wall_clock=clock,
        )  # fmt: skip
    return FakeBybit(
        source, market, pace=Recorded(), tls=tls, network=world.network, faults=script,
        wall_clock=clock,
    )  # fmt: skip


async def read(client: RawClient) -> None:
    """Reads to the end, or until it is more than a client would take in one message."""
    size = 0
    try:
        while size < MOST and (data := await client.stream.receive_some()):
            size += len(data)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass


async def listen(world: World, fake: FakeExchange, rng: random.Random) -> None:
    """A client that comes again and again, asks, listens a while, and goes without a word."""
    binance = isinstance(fake, FakeBinance)
    while True:
        await trio.sleep(rng.uniform(0, 1))
        client = None
        with trio.move_on_after(rng.uniform(0, 8)):
            try:
                if rng.random() < 0.3:
                    target = "/api/v3/depth?symbol=BTCUSDT" if binance else "/v5/market/time"
                    client = await world.ask(fake, target)
                else:
                    path = f"/ws/{'/'.join(BINANCE_STREAMS)}" if binance else LINEAR
                    client = await world.ws(fake, path)
                    if not binance:
                        await client.send({"op": "subscribe", "args": BYBIT_STREAMS})
                await read(client)
            except (OSError, trio.BrokenResourceError):
                pass
        if client is not None and rng.random() < 0.7:
            await trio.aclose_forcefully(client.stream)


async def live(world: World, venue: Exchange, seed: int, seconds: float) -> list[str]:
    """An exchange in trouble for so long; what its faults did, as lines."""
    rng = random.Random(f"clients:{seed}")
    streams = BINANCE_STREAMS if venue is Exchange.BINANCE else BYBIT_STREAMS
    script = FaultScript.random(
        seed, streams, seconds=20, count=25, tls=seed % 2 == 0, wall_clock=True
    )
    async with (
        world.opened(exchange(world, venue, script, tls=seed % 2 == 0)) as fake,
        trio.open_nursery() as nursery,
    ):
        for _ in range(3):
            nursery.start_soon(listen, world, fake, random.Random(rng.random()))
        await trio.sleep(seconds)
        nursery.cancel_scope.cancel()
    struck = {id(fault) for fault in script if fault.at < seconds}
    assert {id(event.fault) for event in fake.fault_log} <= struck
    return [event.fault.word for event in fake.fault_log]


@pytest.mark.parametrize("venue", [Exchange.BINANCE, Exchange.BYBIT])
def test_nothing_is_left_whatever_goes_wrong_and_whenever_it_ends(venue: Exchange) -> None:
    seen: set[str] = set()
    for seed in range(runs(30)):
        clock = MockClock(autojump_threshold=0)
        seconds = random.Random(seed).uniform(0, 40)
        seen.update(trio.run(live, World(MemoryNetwork(), 1), venue, seed, seconds, clock=clock))
    assert seen <= set(KINDS)
    assert len(seen) > 5


def test_on_sockets_too() -> None:
    for seed in range(runs(4)):
        trio.run(live, World(None, 1), Exchange.BINANCE, seed, 0.5)

"""A reader that falls behind never stops the pongs, and what it costs is on record."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio

from farm import Gap, Quote, Trade, open_farm
from farm.actors.parser import ParserActor
from farm.actors.supervisor import Health
from farm.testing import BINANCE_RULES, FakeBinance, MarketSimulator, Recorded, open_fake
from farm.testing.connection import Connection
from farm.types import Exchange, GapCause, Market
from tests.farms import collector, feed, until

SYMBOLS = ["BTCUSDT", "ETHUSDT"]
PING_EVERY = 0.05
PONG_WITHIN = 2.0  # else the venue cuts the connection, which would be a gap, too


class Hold:
    """Parsers hang from `hung` on until `released`."""

    def __init__(self) -> None:
        self.hung = trio.Event()
        self.released = trio.Event()


@pytest.fixture
def hold(monkeypatch: pytest.MonkeyPatch) -> Hold:
    hold = Hold()
    run = ParserActor.run

    async def hang_for_a_time(parser: ParserActor, health: Health) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run, parser, health)
            await hold.hung.wait()
            nursery.cancel_scope.cancel()
        await hold.released.wait()
        await run(parser, health)

    monkeypatch.setattr(ParserActor, "run", hang_for_a_time)
    return hold


def venue() -> FakeBinance:
    rules = attrs.evolve(
        BINANCE_RULES[Market.SPOT],
        ping_interval=PING_EVERY,
        pong_timeout=PONG_WITHIN,
        messages_per_second=None,  # pongs count
    )
    market = MarketSimulator(Exchange.BINANCE, Market.SPOT, SYMBOLS, seed=5, rate=2000)
    return FakeBinance(market, rules=rules, pace=Recorded())


def config(fake: FakeBinance, **more: Any) -> dict[str, Any]:
    return {"collectors": [collector("binance", "spot", SYMBOLS, ["trade", "quote"], fake)], **more}


async def many_pongs(fake: FakeBinance, count: int = 20) -> None:
    """Wait until the venue has been answered so often on each of its connections."""
    await until(lambda: len(fake.connections) > 0)
    for connection in fake.connections:
        for _ in range(count):
            await next_pong(connection)


async def next_pong(connection: Connection) -> None:
    before = connection.last_pong
    await until(lambda: connection.last_pong > before)


def overflows(gaps: list[Gap], edge: str) -> dict[str, int]:
    return {
        gap.feed: gap.size or 0
        for gap in gaps
        if gap.edge == edge and gap.cause is GapCause.OVERFLOW
    }


FEEDS = {f"binance/spot/{symbol}/{kind}" for symbol in SYMBOLS for kind in ("trade", "quote")}


async def test_a_parser_that_hangs_stops_no_pong_and_every_stream_has_its_gap(hold: Hold) -> None:
    async with (
        open_fake(venue()) as fake,
        open_farm(config(fake, mailbox_bytes=20_000)) as farm,
        farm.subscribe(Gap) as gaps,
    ):
        # Not just any event: a parser that hangs before its connection stands asks for none.
        await until(lambda: all(feed(farm.stats(), name).events for name in FEEDS))
        hold.hung.set()
        (lane,) = farm._pipeline.lines[0].lanes
        await until(lambda: lane.inputs.dropped > 20)
        await many_pongs(fake)
        assert lane.inputs.nbytes <= 20_000
        hold.released.set()
        batch = await gaps.receive()
        assert set(overflows(batch.rows, "connection>parser")) == FEEDS
        assert fake.connections_accepted == lane.counters.connects == 1


async def test_a_subscriber_that_is_slow_stops_no_pong_and_loses_alone() -> None:
    async with (
        open_fake(venue()) as fake,
        open_farm(config(fake)) as farm,
        farm.subscribe(Trade, Quote, max_bytes=20_000) as slow,
    ):
        await many_pongs(fake)
        await until(lambda: slow.dropped > 100)
        await many_pongs(fake)
        (lane,) = farm._pipeline.lines[0].lanes
        assert (lane.inputs.dropped, lane.counters.connects) == (0, 1)
        assert sum(f.gaps for f in farm.stats().feeds) == 0
        farm.stop()
        got = [row async for batch in slow for row in batch]
        lost = overflows(slow.gaps, "aggregator>subscriber 1")
        assert set(lost) == FEEDS
        events = sum(feed(farm.stats(), name).events for name in FEEDS)
        assert len(got) + sum(lost.values()) == events


async def test_a_slow_conflating_subscriber_has_the_newest_and_a_record_of_the_rest() -> None:
    async with (
        open_fake(venue()) as fake,
        open_farm(config(fake)) as farm,
        farm.subscribe(Quote, Gap, conflate=True) as slow,
        farm.subscribe(Quote) as quick,
    ):
        await many_pongs(fake)
        await until(lambda: slow.dropped > 100)
        farm.stop()
        every = [quote async for batch in quick for quote in batch]
        newest = {quote.symbol: quote for quote in every}
        got = [row async for batch in slow for row in batch]
        quotes = [row for row in got if isinstance(row, Quote)]
        lost = overflows(slow.gaps, "aggregator>subscriber 1")
        assert {quote.symbol: quote for quote in quotes} == newest
        assert len(quotes) + sum(lost.values()) == len(every)
        own = [g for g in got if isinstance(g, Gap) and g.edge == "aggregator>subscriber 1"]
        assert sum(gap.size or 0 for gap in own) == sum(lost.values())

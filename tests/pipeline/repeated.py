"""Farms that are to say the same, to the byte, however often they run and in whatever order Trio
runs their tasks.

``python -m tests.pipeline.repeated`` prints what :data:`TROUBLE` says in short, for comparison with
another process.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import attrs
import msgspec
import trio
import trio.testing

from farm import Farm, FarmStats, open_farm
from farm.batch import Batch
from farm.columns import LevelColumn
from farm.entities import EVENT_KINDS, Event, data_type_of, feed_of
from farm.storage.reader import read_batches
from farm.testing import FakeExchange, FarmWorld, FaultScript, MarketSimulator, Recorded, open_fake
from farm.testing.chaos.crashes import Crash, Stage, crash
from farm.testing.chaos.scheduling import seeded_scheduling
from tests.farms import SYMBOLS, collector, fake_of, market_of

MOMENT = 0.0371
"""Seconds beyond a whole number: the user does nothing at the same instant as the market."""


@attrs.frozen
class Line:
    """One event as it is compared. ``place``: what stands for it in the total order of all; kinds
    that came in one frame may share the rest of it. ``text``: all that there is of it."""

    feed: str
    place: tuple[int, str, int, int, int, str]
    text: bytes


@attrs.frozen
class Venue:
    """A market to collect from, and what goes wrong there. ``more``: keys of the collector."""

    name: str
    streams: Sequence[str]
    script: str = ""
    lanes: int = 1
    more: dict[str, Any] = attrs.field(factory=dict)


@attrs.frozen
class Play:
    """What is run again and again. ``config``: tables of the configuration."""

    venues: Sequence[Venue]
    crashes: Sequence[Crash] = ()
    seconds: float = 60.0
    config: dict[str, Any] = attrs.field(factory=dict)


@attrs.define
class Told:
    """What a farm told its reader, in the order in which it did.

    ``hits``: what the faults did; ``last`` is how the farm stood before it was closed."""

    lines: list[Line] = attrs.field(factory=list)
    hits: list[tuple[float, str, str, str]] = attrs.field(factory=list)
    last: FarmStats | None = None

    def take(self, batch: Batch[Any]) -> None:
        self.lines += lines_of(batch)

    def feeds(self) -> dict[str, list[bytes]]:
        """The events of each feed, its gaps among them, in order."""
        feeds: dict[str, list[bytes]] = {}
        for line in self.lines:
            feeds.setdefault(line.feed, []).append(line.text)
        return feeds

    def merged(self) -> list[Line]:
        """All of them in the total order."""
        return in_order(self.lines)

    def market(self, name: str) -> dict[str, list[bytes]]:
        """:meth:`feeds` of one market."""
        return {feed: lines for feed, lines in self.feeds().items() if feed.startswith(f"{name}/")}

    def digest(self) -> str:
        """The same as a few characters."""
        return hashlib.sha256(repr((sorted(self.feeds().items()), self.hits)).encode()).hexdigest()


def lines_of(batch: Batch[Any]) -> Iterator[Line]:
    """The events of a batch."""
    kind = data_type_of(batch.kind).value
    connections, epochs = batch.columns["connection"], batch.columns["epoch"]
    assert not isinstance(connections, LevelColumn)
    assert not isinstance(epochs, LevelColumn)
    for row, connection, epoch in zip(batch, connections.tolist(), epochs.tolist(), strict=True):
        place = (row.receive_time, connection, epoch, row.ordinal, row.row, kind)
        text = msgspec.json.encode((kind, connection, epoch, row))
        yield Line(feed_of(row), place, text)


def in_order(lines: Collection[Line]) -> list[Line]:
    """Sorted by the total order, which leaves no two events at one place."""
    assert len({line.place for line in lines}) == len(lines)
    return sorted(lines, key=lambda line: line.place)


def stored(data: Path) -> list[Line]:
    """What a data directory holds, in the total order."""
    kinds: Collection[type[Event]] = EVENT_KINDS.values()
    batches = (batch for kind in kinds for batch in read_batches(data, kind))
    return in_order([line for batch in batches for line in lines_of(batch)])


Beside: TypeAlias = Callable[[FarmWorld, trio.Nursery], Awaitable[dict[str, Any]]]
"""Opens something else to collect from, in a nursery; the collector of it."""


def perform(
    play: Play,
    scheduling: int,
    *,
    seed: int = 7,
    data: Path | None = None,
    beside: Beside | None = None,
) -> Told:
    """Run the farm of `seed` in a Trio of its own, its tasks in the order of `scheduling`."""
    run = partial(_perform, play, seed, data, beside)
    with _silently(), seeded_scheduling(scheduling):
        return trio.run(run, clock=trio.testing.MockClock(autojump_threshold=0))


@contextmanager
def _silently() -> Iterator[None]:
    """What goes wrong here does so on purpose."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


async def _perform(play: Play, seed: int, data: Path | None, beside: Beside | None) -> Told:
    world, told = FarmWorld(seed), Told()
    async with trio.open_nursery() as nursery, AsyncExitStack() as stack:
        config: dict[str, Any] = {"collectors": [], **play.config}
        if data is not None:
            config["data"] = str(data)
        fakes = []
        for venue in play.venues:
            fakes.append(await stack.enter_async_context(open_fake(_fake(venue, world))))
            config["collectors"].append(_collector(venue, fakes[-1]))
        if beside is not None:
            config["collectors"].append(await beside(world, nursery))
        async with open_farm(config, environment=world.environment) as farm:
            # First of all, so that nothing is missed; and it is closed when the farm has ended.
            batches = farm.subscribe(*_kinds_of(farm), max_bytes=1 << 30)
            await stack.enter_async_context(batches)
            nursery.start_soon(_read, batches, told.take)
            nursery.start_soon(_crash, farm, play.crashes)
            await trio.sleep(play.seconds + MOMENT)
            told.last = farm.stats()
        nursery.cancel_scope.cancel()
    told.hits = [
        (event.time, event.fault.word, event.connection, event.stream)
        for fake in fakes
        for event in fake.fault_log
    ]
    return told


def _fake(venue: Venue, world: FarmWorld) -> FakeExchange:
    exchange, market = market_of(venue.name)
    source = MarketSimulator(exchange, market, SYMBOLS[market], seed=3, rate=6.0, levels=60)
    return fake_of(
        exchange,
        market,
        source,
        pace=Recorded(),
        network=world.network,
        faults=FaultScript.parse(f"# seed 4\n{venue.script}"),
        wall_clock=world.wall_clock,
    )


def _collector(venue: Venue, fake: FakeExchange) -> dict[str, Any]:
    exchange, market = market_of(venue.name)
    symbols = SYMBOLS[market]
    given = collector(exchange.value, market.value, symbols, list(venue.streams), fake)
    return given | {"lanes": venue.lanes} | venue.more


def _kinds_of(farm: Farm) -> list[type[Event]]:
    """The kinds that a farm tells of."""
    told = {feed.feed.split("/")[3].split(":")[0] for feed in farm.stats().feeds}
    return [kind for word, kind in EVENT_KINDS.items() if word.value in told | _ALWAYS]


_ALWAYS = {"gap", "instrument", "spent_ids"}


async def _read(batches: Any, take: Callable[[Batch[Any]], None]) -> None:
    async for batch in batches:
        take(batch)


async def _crash(farm: Farm, crashes: Sequence[Crash]) -> None:
    for planned in crashes:
        await trio.sleep_until(planned.at + MOMENT)
        crash(farm._pipeline, planned)


TROUBLE = Play(
    [
        Venue(
            "binance/spot",
            ["trade", "agg_trade", "quote", "book", "book:5", "kline:1m"],
            """
            4 reset
            8 sequence_break btcusdt@depth@100ms
            10 reorder btcusdt@trade by=3
            12 half_open
            21 restart seconds=4
            26 snapshot_too_old count=2
            27 reset
            34 rest_timeout seconds=20
            35 corrupt ethusdt@trade how=garbage
            36 drop btcusdt@trade count=2
            38 sequence_break btcusdt@depth@100ms
            42 delay btcusdt@trade seconds=2
            46 clock_jump seconds=-3.5
            50 close
            """,
        ),
        Venue(
            "binance/usdm",
            ["trade", "quote", "book", "mark_price", "open_interest", "liquidation"],
            """
            4 reset connection=c1
            9 drop btcusdt@trade count=3
            11 sequence_break btcusdt@depth@100ms
            14 half_open connection=c2
            22 restart seconds=3
            25 snapshot_too_old
            30 no_data ethusdt@trade seconds=3
            36 reorder ethusdt@trade by=4 connection=c5
            40 corrupt btcusdt@bookTicker how=fragments
            44 rest_reset count=3
            59 restart seconds=30
            """,
            lanes=2,
            more={"poll_seconds": 5.0},
        ),
        Venue(
            "bybit/linear",
            ["trade", "quote", "book:50", "ticker", "liquidation"],
            """
            5 no_ack
            6 reset
            11 sequence_break orderbook.50.BTCUSDT
            16 stall seconds=3
            22 restart seconds=2
            30 corrupt publicTrade.BTCUSDT how=truncate
            33 reject count=2 status=503
            34 reset
            """,
        ),
    ],
    [
        Crash(17, Stage.PARSER),
        Crash(28, Stage.AGGREGATOR, after=True),
        Crash(31, Stage.PARSER, times=2),
        Crash(39, Stage.CONNECTION),
        Crash(41, Stage.SINK),
    ],
)
"""Three markets, of which one has two lanes; everything goes wrong, and one is down at the end."""


if __name__ == "__main__":
    print(perform(TROUBLE, 0).digest())  # noqa: T201

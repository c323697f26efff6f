"""Lines that go from one process to another: two pipelines, and who reads what both publish."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import attrs
import trio

from farm.bundle import Bundle
from farm.config import CollectorConfig, load_config
from farm.entities import BookUpdate, Gap, SpentIds, Trade, data_type_of, feed_of
from farm.exchanges.lanes.identity import Way, content_of, rule_of
from farm.exchanges.plan import plan_connections
from farm.exchanges.streams import Stream
from farm.pipeline import Line, Pipeline, Settings
from farm.pipeline.handover import OVERLAP, line_is_ready
from farm.pipeline.sources import Sources
from farm.testing import FakeExchange, FarmWorld, MarketSimulator, Recorded, open_fake
from farm.types import BookVerdict, DataType
from tests.farms import SYMBOLS, collector, fake_of, market_of

STREAMS = {
    "binance/spot": "trade agg_trade quote book book:5 kline:1s ticker mini_ticker",
    "binance/usdm": "trade agg_trade quote book mark_price liquidation ticker open_interest",
    "binance/coinm": "trade agg_trade quote book book:10 mark_price liquidation",
    "bybit/spot": "trade quote book:50 book:full ticker kline:1m",
    "bybit/linear": "trade quote book ticker liquidation",
    "bybit/inverse": "trade quote book ticker kline:1m",
    "bybit/option": "trade book ticker",
}


MAX_COPIES = 20
"""States that a state may repeat."""


@attrs.define
class Reader:
    """Who reads what all processes publish, as the parent does. ``again`` counts bundles that it
    passed over, for it had seen their serial or a later one of the same connection."""

    rows: list[Any] = attrs.field(factory=list)
    bundles: int = 0
    again: int = 0
    _seen: dict[str, int] = attrs.field(factory=dict)

    def take(self, bundle: Bundle) -> None:
        self.bundles += 1
        connection = bundle.origin.connection
        if self._seen.get(connection, -1) >= bundle.serial:
            self.again += 1
            return
        self._seen[connection] = bundle.serial
        for batch in bundle.batches:
            self.rows += batch.rows

    def of(self, kind: type[Any]) -> list[Any]:
        return [row for row in self.rows if type(row) is kind]

    def by_feed(self) -> dict[str, list[Any]]:
        """What events say, by feed and in order: of states each once, for copies say the same."""
        found: dict[str, list[Any]] = {}
        for row in self.rows:
            if isinstance(row, Gap) or (isinstance(row, BookUpdate) and row.is_snapshot):
                continue
            said = found.setdefault(_feed(row), [])
            content = content_of(type(row))(row)
            if not (_is_state(row) and content in said[-MAX_COPIES:]):
                said.append(content)
        return found

    def repeated(self) -> dict[tuple[Any, ...], int]:
        """Trades that came more than once."""
        counts = Counter((trade.symbol, trade.id) for trade in self.of(Trade))
        return {trade: count for trade, count in counts.items() if count > 1}


def _feed(row: Any) -> str:
    return f"{row.symbol} spent" if type(row) is SpentIds else feed_of(row)


def _is_state(row: Any) -> bool:
    if type(row) in (BookUpdate, SpentIds):
        return False
    return rule_of(row.exchange, row.market, DataType(data_type_of(type(row)))).way is Way.NEWEST


@attrs.define
class Process:
    """A pipeline whose lines a test opens; a ``dead`` one publishes to nobody."""

    pipeline: Pipeline
    sources: Sources = attrs.field(init=False)
    dead: bool = False

    def books(self) -> dict[str, Any]:
        """Its books by feed: the levels."""
        return {
            book.stream.feed: (book.book().bids, book.book().asks)
            for line in self.pipeline.lines
            for book in line.keeper.books
        }

    def are_whole(self) -> bool:
        """Whether its books are, and none was ever contradicted."""
        good = (BookVerdict.VERIFIED, BookVerdict.UNVERIFIABLE)
        books = [book for line in self.pipeline.lines for book in line.keeper.books]
        return all(book.verdict in good and not book.check.wrong for book in books)


@attrs.define
class Moving:
    """A market, and how it is collected."""

    name: str
    lanes: int = 1
    seconds: float = 15.0
    specs: str = ""
    seed: int = 1
    rate: float = 12.0
    settings: Settings = attrs.field(factory=Settings)
    world: FarmWorld = attrs.field(factory=FarmWorld)
    fake: FakeExchange = attrs.field(init=False)
    collector: CollectorConfig = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        exchange, market = market_of(self.name)
        source = MarketSimulator(
            exchange,
            market,
            SYMBOLS[market],
            seed=self.seed,
            rate=self.rate,
            seconds=self.seconds,
            levels=60,
        )
        self.fake = fake_of(exchange, market, source, pace=Recorded(), network=self.world.network)

    def configure(self) -> None:
        """The addresses are known when the exchange is open."""
        exchange, market = market_of(self.name)
        specs = (self.specs or STREAMS[self.name]).split()
        one = collector(exchange.value, market.value, SYMBOLS[market], specs, self.fake)
        one["lanes"] = self.lanes
        if "open_interest" in specs:
            one["poll_seconds"] = 1.0
        (self.collector,) = load_config({"collectors": [one]}).collectors

    def plan(self) -> list[list[Stream]]:
        """The streams of each line."""
        table = self.collector.rules.streams
        streams = [
            table.stream(symbol, spec)
            for symbol in self.collector.symbols
            for spec in self.collector.streams
        ]
        return plan_connections(streams, self.collector.rules)

    @asynccontextmanager
    async def process(self, reader: Reader) -> AsyncIterator[Process]:
        """A process whose lines publish to `reader`."""
        opened = trio.Event()

        async def drive(sources: Sources) -> None:
            process.sources = sources
            opened.set()
            await trio.sleep_forever()

        pipeline = Pipeline(self.settings, drive=drive, environment=self.world.environment)
        process = Process(pipeline)
        pipeline.hub.listen(lambda bundle: None if process.dead else reader.take(bundle))
        async with trio.open_nursery() as nursery:
            await nursery.start(pipeline.run)
            await opened.wait()
            try:
                yield process
            finally:
                pipeline.stop()

    @asynccontextmanager
    async def processes(self, *readers: Reader) -> AsyncIterator[list[Process]]:
        """A process for each reader, and the market."""
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(open_fake(self.fake))
            self.configure()
            yield [await stack.enter_async_context(self.process(reader)) for reader in readers]

    async def open_lines(self, process: Process) -> list[Line]:
        """All lines, as a farm begins."""
        return [
            await process.sources.open_line(self.collector, streams, name=f"{self.name}#{number}")
            for number, streams in enumerate(self.plan(), 1)
        ]


async def hand_over(process: Process, line: Line) -> bytes:
    """Have a process hand over a line of which nothing was given up."""
    state = await process.sources.hand_over(line)
    assert state is not None
    return state


async def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait for a condition, by Trio's clock; trio.TooSlowError where it does not come true."""
    with trio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110 (nobody signals it)
            await trio.sleep(0.05)


def is_up(line: Line) -> bool:
    """Whether the venue sends all streams, on every lane."""
    return all(
        status.state.value in ("acknowledged", "live")
        for lane in line.lanes
        for status in lane.session.statuses.values()
    )


async def open_heir(line: Line, old: Process, new: Process) -> Line:
    """Open the line in the new process as well, held."""
    assert line.collector is not None
    first = old.sources.expect_heir(line)
    return await new.sources.open_line(
        line.collector,
        list(line.planned.values()),
        name=line.name,
        first_lane=first,
        held=True,
    )


async def ready(heir: Line, line: Line) -> None:
    """Wait until the heir has all that the line has, for a while."""
    with trio.fail_after(60):
        since = trio.current_time()
        while trio.current_time() < since + OVERLAP:
            await trio.sleep(0.1)
            if not line_is_ready(heir, line.delivering()):
                since = trio.current_time()


async def move(line: Line, old: Process, new: Process) -> Line:
    """Have a line go over from the old process to the new one."""
    heir = await open_heir(line, old, new)
    await ready(heir, line)
    state = await hand_over(old, line)
    await new.sources.take_over(heir, state)
    return heir

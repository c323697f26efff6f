"""A market in memory, and what a user of a farm on it reads."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio

from farm import BookVerdict, Farm, Gap, Instrument, OrderBook, Trade
from farm.entities import EVENT_KINDS
from farm.errors import UnknownFeed
from farm.exchanges.registry import rules_of
from farm.testing import FakeBinance, FakeBybit, FakeExchange, MarketSimulator, Recorded, open_fake
from farm.types import DataType
from tests.cluster.in_process import ClusterWorld
from tests.farms import SYMBOLS, collector, fake_of, market_of
from tests.pipeline.moving import STREAMS, Reader

__all__ = [
    "Trading",
    "UserReader",
    "all_live",
    "assert_same",
    "books_of",
    "books_stand",
    "unrecorded",
    "until",
]

APART = 45_000_000
"""Nanoseconds between the arrivals of one event on two connections, at most: the network's delays,
of what is asked for and of what comes."""

GOOD = (BookVerdict.VERIFIED, BookVerdict.UNVERIFIABLE)


@attrs.define
class UserReader(Reader):
    """Who subscribes everything."""

    async def read(self, farm: Farm, task_status: trio.TaskStatus[None]) -> None:
        """Until the farm ends."""
        kinds = [kind for kind in EVENT_KINDS.values() if _is_collected(farm, kind)]
        async with farm.subscribe(*kinds) as batches:
            task_status.started()
            async for batch in batches:
                if batch.kind is not Instrument:  # who comes first has them, and that is a race
                    self.rows += batch.rows

    def trade_ids(self) -> dict[str, list[int]]:
        """By symbol, where ids are numbers."""
        found: dict[str, list[int]] = {}
        for trade in self.of(Trade):
            found.setdefault(trade.symbol, []).append(int(trade.id))
        return found

    def gaps_by_feed(self) -> Counter[str]:
        return Counter(gap.feed for gap in self.of(Gap))


@attrs.define
class Trading:
    """A market, and farms on it: each symbol has a collector of its own, and so a connection at
    least."""

    name: str
    specs: str = ""
    lanes: int = 1
    seconds: float = 20.0
    seed: int = 1
    rate: float = 20.0
    world: ClusterWorld = attrs.field(factory=ClusterWorld)
    more: dict[str, Any] = attrs.field(factory=dict)
    fake: FakeExchange = attrs.field(init=False)

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

    def config(self, processes: int, **more: Any) -> dict[str, Any]:
        """The configuration; the exchange is open."""
        return {"collectors": self.collectors(), "processes": processes, **self.more, **more}

    def collectors(self) -> list[dict[str, Any]]:
        exchange, market = market_of(self.name)
        specs = (self.specs or STREAMS[self.name]).split()
        extra: dict[str, Any] = {"lanes": self.lanes}
        if "open_interest" in specs:
            extra["poll_seconds"] = 1.0
        groups = [[symbol] for symbol in SYMBOLS[market]]
        if self.name == "bybit/option":
            groups = [SYMBOLS[market]]  # whose trades are one stream
        return [
            collector(exchange.value, market.value, group, specs, self.fake) | extra
            for group in groups
        ]

    @asynccontextmanager
    async def open(
        self, processes: int, reader: UserReader | None = None, **more: Any
    ) -> AsyncIterator[Farm]:
        """The exchange, and a farm on it that this reader reads."""
        async with open_fake(self.fake), self.farm(processes, reader, **more) as farm:
            yield farm

    @asynccontextmanager
    async def farm(
        self, processes: int, reader: UserReader | None = None, **more: Any
    ) -> AsyncIterator[Farm]:
        """A farm; the exchange is open."""
        async with (
            trio.open_nursery() as nursery,
            self.world.farm(self.config(processes, **more)) as farm,
        ):
            if reader is not None:
                await nursery.start(reader.read, farm)
            yield farm

    async def all_traded(self) -> None:
        """Wait until the market has ended, and what it sent has arrived."""
        with trio.fail_after(2 * self.seconds + 60):
            await self.fake.finished.wait()
        await trio.sleep(2)

    # -------------------------------------------------------------------------------------- books
    def book_feeds(self) -> list[tuple[str, str]]:
        """Symbol and word of every book that is collected."""
        return [
            (symbol, spec)
            for one in self.collectors()
            for symbol in one["symbols"]
            for spec in one["streams"]
            if spec.partition(":")[0].partition("@")[0] == "book"
        ]

    def venue_book(self, symbol: str) -> dict[str, dict[float, float]]:
        """The deepest book of a symbol that is collected, as the exchange has it."""
        market, depths = self.fake._market, rules_of(*market_of(self.name)).streams  # type: ignore[attr-defined]
        if isinstance(self.fake, FakeBinance):
            text = market.book(symbol).snapshot(10_000)
            found = json.loads(text)
            return {side: _levels(found[side]) for side in ("bids", "asks")}
        assert isinstance(self.fake, FakeBybit)
        specs = [spec for name, spec in self.book_feeds() if name == symbol]
        topics = [depths.stream(symbol, spec).name for spec in specs]
        book = max((market._books[topic] for topic in topics), key=lambda b: len(b._levels.bids))
        found = json.loads(book.data())
        return {"bids": _levels(found["b"]), "asks": _levels(found["a"])}

    def assert_books_are_the_venues(self, farm: Farm) -> None:
        """What the farm has of each is what the exchange has."""
        for symbol in {symbol for symbol, _ in self.book_feeds()}:
            book, truth = farm.book(symbol), self.venue_book(symbol)
            assert book.verdict in GOOD, (symbol, book.verdict)
            assert book.bids, symbol
            sides = (("bids", book.bids), ("asks", book.asks))
            for side, levels in sides:
                said = {level.price: level.quantity for level in levels if level.authoritative}
                true = truth[side]
                if len(true) > len(said):  # the venue's text is deeper than what it sends
                    true = {price: true[price] for price in said if price in true}
                assert said == true, (symbol, side)


def _is_collected(farm: Farm, kind: type[Any]) -> bool:
    try:
        farm.subscribe(kind)
    except UnknownFeed:
        return False
    return True


def _levels(pairs: list[list[str]]) -> dict[float, float]:
    return {float(price): float(quantity) for price, quantity in pairs}


def unrecorded(reader: UserReader, control: UserReader) -> list[Trade]:
    """Trades that the control read and this reader did not, and of which no gap tells; of before
    its first one there need be none."""
    gaps = reader.of(Gap)
    had: dict[str, set[str]] = {}
    first: dict[str, int] = {}
    for trade in reader.of(Trade):
        had.setdefault(trade.symbol, set()).add(trade.id)
        first.setdefault(trade.symbol, trade.receive_time)
    return [
        trade
        for trade in control.of(Trade)
        if trade.id not in had.get(trade.symbol, set())
        and trade.receive_time > first.get(trade.symbol, trade.receive_time) + APART
        and not any(_tells_of(gap, trade) for gap in gaps)
    ]


def _tells_of(gap: Gap, trade: Trade) -> bool:
    if gap.symbol != trade.symbol or not gap.feed.endswith("/trade"):
        return False
    assert gap.start_time is not None
    assert gap.end_time is not None
    return gap.start_time - APART <= trade.receive_time <= gap.end_time + APART


def assert_same(read: UserReader, expected: UserReader) -> None:
    """Both read the same of every feed, whenever they began."""
    got, wanted = read.by_feed(), expected.by_feed()
    assert got.keys() == wanted.keys()
    for feed, rows in got.items():
        common = min(len(rows), len(wanted[feed]))
        assert rows[-common:] == wanted[feed][-common:], feed


def books_of(farm: Farm) -> dict[str, OrderBook]:
    """Every book that is collected; asked for the first time they are syncing."""
    return {view.stream.feed: view.book() for view in farm._books()}  # type: ignore[attr-defined]


def books_stand(farm: Farm) -> bool:
    """Whether those that are asked for are whole, and none was contradicted."""
    stats = farm.stats()
    wrong = [feed.feed for feed in stats.feeds if feed.book is not None and feed.book.wrong]
    assert wrong == []
    return all(book.verdict in GOOD for book in books_of(farm).values())


def all_live(farm: Farm) -> bool:
    """Whether the exchange sends all streams."""
    carried = ("live", "acknowledged")
    feeds = [feed for feed in farm.stats().feeds if feed.state not in ("", "ended")]
    return bool(feeds) and all(
        feed.state in carried or feed.feed.split("/")[3] == DataType.OPEN_INTEREST.value
        for feed in feeds
    )


async def until(
    condition: Callable[[], bool], seconds: float = 60.0, *, every: float = 0.05
) -> None:
    """Wait for a condition, by Trio's clock; trio.TooSlowError where it does not come true."""
    with trio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110 (nobody signals it)
            await trio.sleep(every)

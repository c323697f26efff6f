"""Farms in real processes on fake exchanges, of which everything that they told is known."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from farm import Farm, Gap, OrderBook, Trade, open_farm
from farm.entities import Event, feed_of
from farm.exchanges.outages import SHARD_EDGE
from farm.monitor.stats import FarmStats, ProcessStats
from farm.pipeline import Environment
from farm.storage.reader import read_batches
from farm.testing import FakeBinance, FakeBybit, FakeExchange, MarketSimulator, Push, Recorded
from farm.testing import open_fake as open_exchange
from farm.types import BookVerdict, Exchange, GapCause, Market
from tests.farms import until

SYMBOLS = ["BTCUSDT", "ETHUSDT"]
SPOT = "binance/spot"  # on shard 1
LINEAR = "bybit/linear"  # on shard 2
MARKETS = (SPOT, LINEAR)
STREAMS = ["trade", "quote", "book"]
MIB = 2**20
FEEDS = {
    SPOT: {f"{SPOT}/{symbol}/{spec}" for symbol in SYMBOLS for spec in STREAMS},
    LINEAR: {
        f"{LINEAR}/{symbol}/{spec}" for symbol in SYMBOLS for spec in ("trade", "quote", "book:200")
    },
}
"""The feeds of each shard."""

IN_FLIGHT = 2_000_000_000  # ns: far more than what a trade is on its way from venue to shard


class TellingFake(FakeExchange):
    """Keeps in mind when it told of which trade: ``told``, by symbol and id (ns)."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.told: dict[str, dict[str, int]] = defaultdict(dict)
        super().__init__(*args, **options)

    def take(self, push: Push) -> None:
        for symbol, trade in _trades_in(push):
            self.told[symbol][trade] = time.time_ns()
        super().take(push)  # type: ignore[safe-super]


class TellingBinance(TellingFake, FakeBinance):
    pass


class TellingBybit(TellingFake, FakeBybit):
    pass


def _trades_in(push: Push) -> Iterator[tuple[str, str]]:
    if push.stream.endswith("@trade"):
        told = json.loads(push.text)
        yield told["s"], str(told["t"])
    elif push.stream.startswith("publicTrade."):
        for trade in json.loads(push.text)["data"]:
            yield trade["s"], trade["i"]


@attrs.define
class Cluster:
    """A farm of two shards, what was told to it, and who reads all of its trades and gaps."""

    farm: Farm
    fakes: dict[str, TellingFake]
    trades: dict[str, list[Trade]] = attrs.field(factory=lambda: defaultdict(list))
    gaps: list[Gap] = attrs.field(factory=list)

    async def read(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Until the farm ends."""
        async with self.farm.subscribe(Trade, Gap) as batches:
            task_status.started()
            async for batch in batches:
                for row in batch.rows:
                    if isinstance(row, Gap):
                        self.gaps.append(row)
                    else:
                        self.trades[feed_of(row)].append(row)

    # ------------------------------------------------------------------------------- its shards
    def process(self, number: int) -> ProcessStats:
        """What is known of a shard."""
        (found,) = [p for p in self.farm.stats().processes if p.name == f"shard {number}"]
        return found

    def states(self) -> list[str]:
        """How the shards are."""
        return [self.process(number).state for number in (1, 2)]

    def pids(self) -> list[int]:
        """Of the shards, 0 where there is none now."""
        return [self.process(number).pid for number in (1, 2)]

    async def hit(self, number: int, signal_number: int = signal.SIGKILL) -> Hit:
        """Send a shard a signal; it is for the caller to see what comes of it."""
        await until(lambda: self.process(number).pid != 0)
        hit = Hit(number, self.process(number).pid, time.time_ns())
        os.kill(hit.pid, signal_number)
        hit.after = time.time_ns()
        return hit

    async def replaced(self, hit: Hit) -> None:
        """Wait until another process has the shard's place."""
        await until(lambda: self.process(hit.shard).pid not in (0, hit.pid))

    # --------------------------------------------------------------------------------- its books
    def book(self, name: str, symbol: str = SYMBOLS[0]) -> OrderBook:
        exchange, market = name.split("/")
        return self.farm.book(symbol, exchange=exchange, market=market, depth=5)

    def verdicts(self, name: str) -> set[BookVerdict]:
        return {self.book(name, symbol).verdict for symbol in SYMBOLS}

    # ------------------------------------------------------------------------------- what it does
    async def trading(self, *names: str, count: int = 3) -> None:
        """Wait until each feed of these markets has brought new trades, and the books stand."""
        names = names or MARKETS
        feeds = [f"{name}/{symbol}/trade" for name in names for symbol in SYMBOLS]
        wanted = {feed: len(self.trades[feed]) + count for feed in feeds}
        await until(lambda: all(len(self.trades[feed]) >= wanted[feed] for feed in feeds))
        verified = {name: {BookVerdict.VERIFIED} for name in names}
        await until(lambda: {name: self.verdicts(name) for name in names} == verified)

    async def beats(self) -> None:
        """Wait until the shards have traded for some beats: each has reported it."""
        await self.trading()
        await until(lambda: all(self.process(number).events > 50 for number in (1, 2)))


@attrs.define
class Hit:
    """A signal that was sent to a process of a shard, between two instants (ns)."""

    shard: int
    pid: int
    before: int
    after: int = 0


@asynccontextmanager
async def open_fakes(rate: float = 200.0) -> AsyncIterator[dict[str, TellingFake]]:
    """A market for each of two shards, which lasts as long as the block."""
    spot = MarketSimulator(Exchange.BINANCE, Market.SPOT, SYMBOLS, rate=rate, levels=60)
    linear = MarketSimulator(Exchange.BYBIT, Market.LINEAR, SYMBOLS, rate=rate, levels=60)
    async with (
        open_exchange(TellingBinance(spot, pace=Recorded())) as binance,
        open_exchange(TellingBybit(linear, Market.LINEAR, pace=Recorded())) as bybit,
    ):
        yield {SPOT: binance, LINEAR: bybit}


def config_of(fakes: dict[str, TellingFake], **more: Any) -> dict[str, Any]:
    places = {name: {"ws": fake.ws_url, "rest": fake.rest_url} for name, fake in fakes.items()}
    return config_at(places, **more)


def config_at(endpoints: dict[str, dict[str, str]], **more: Any) -> dict[str, Any]:
    """A farm of two shards, one for each market."""
    collectors = [
        {
            "exchange": exchange,
            "market": market,
            "symbols": SYMBOLS,
            "streams": STREAMS,
            "endpoints": endpoints[f"{exchange}/{market}"],
        }
        for exchange, market in (name.split("/") for name in MARKETS)
    ]
    return {"processes": 2, "collectors": collectors, **more}


@contextmanager
def open_served(rate: float = 200.0) -> Iterator[dict[str, dict[str, str]]]:
    """The same markets in a process of their own: their addresses."""
    specs = [f"{name}:{','.join(SYMBOLS)}" for name in MARKETS]
    command = [sys.executable, "-m", "farm.testing.serve", *specs, "--rate", str(rate)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["endpoints"]
        process.terminate()


@asynccontextmanager
async def open_cluster(
    *, rate: float = 200.0, environment: Environment | None = None, **more: Any
) -> AsyncIterator[Cluster]:
    """A farm in two shards, and who reads all; at the end every account has to agree."""
    async with open_fakes(rate) as fakes:
        async with (
            trio.open_nursery() as nursery,
            open_farm(config_of(fakes, **more), environment=environment) as farm,
        ):
            cluster = Cluster(farm, fakes)
            await nursery.start(cluster.read)
            yield cluster
        see_reconciled(farm.stats())


# What must hold ----------------------------------------------------------------------------------


def see_reconciled(stats: FarmStats) -> None:
    """Every queue is empty, and what went in came out, or was dropped."""
    for edge in stats.edges:
        assert edge.offered == edge.taken + edge.dropped, edge
        assert edge.waiting == 0, edge


def by_feed(gaps: Iterable[Gap]) -> Counter[str]:
    return Counter(gap.feed for gap in gaps)


def see_crash_gaps(gaps: Iterable[Gap], *hits: Hit) -> None:
    """Of these gaps each feed of the shards that were hit has one, and no other feed any; each
    contains the time of what was done to its shard."""
    found = list(gaps)
    hurt = [feed for hit in {hit.shard: hit for hit in hits}.values() for feed in feeds_of(hit)]
    assert by_feed(found) == Counter(hurt), found
    for gap in found:
        assert (gap.cause, gap.edge) == (GapCause.CRASH, SHARD_EDGE), gap
        assert gap.start_time is not None
        assert gap.end_time is not None
        for hit in hits:
            if gap.feed in feeds_of(hit):
                assert gap.start_time <= hit.after, (gap, hit)
                assert gap.end_time >= hit.before, (gap, hit)


def feeds_of(hit: Hit) -> set[str]:
    return FEEDS[MARKETS[hit.shard - 1]]


def see_accounted(
    fakes: dict[str, TellingFake], trades: dict[str, list[Trade]], gaps: Iterable[Gap]
) -> None:
    """Every trade that was told came once, or its time is in a gap of its feed; but for what was
    told before the first and after the last that came."""
    gaps = list(gaps)
    for name, fake in fakes.items():
        for symbol, told in fake.told.items():
            feed = f"{name}/{symbol}/trade"
            counts = Counter(trade.id for trade in trades[feed])
            assert set(counts.values()) <= {1}, f"{feed}: {counts.most_common(3)}"
            assert counts.keys() <= told.keys(), feed
            ids = list(told)
            places = [place for place, trade in enumerate(ids) if trade in counts]
            mine = [gap for gap in gaps if gap.feed == feed]
            for trade in ids[places[0] : places[-1]] if places else ():
                if trade not in counts:
                    assert any(_covers(gap, told[trade]) for gap in mine), (
                        f"{feed}: trade {trade} of {told[trade]} is on no record: {mine}"
                    )


def see_stored(data: Path, cluster: Cluster, *hits: Hit) -> None:
    """The same of what is stored: each trade once or in a gap, and one gap for each feed that was
    hit, however often it was: a record that was lost with a process is in the one that follows."""
    trades, gaps = stored(data)
    see_crash_gaps(gaps, *hits)
    see_accounted(cluster.fakes, trades, gaps)
    for feed, read in cluster.trades.items():
        kept = {trade.id for trade in trades[feed]}
        mine = [gap for gap in gaps if gap.feed == feed]
        for trade in read:
            assert trade.id in kept or any(_contains(gap, trade.receive_time) for gap in mine), (
                f"{trade} was read, and is neither stored nor in a gap: {mine}"
            )


def _contains(gap: Gap, time: int) -> bool:
    assert gap.start_time is not None
    assert gap.end_time is not None
    return gap.start_time <= time <= gap.end_time


def _covers(gap: Gap, time: int) -> bool:
    """Whether what was sent then may have been lost in this gap, whose times are of receipt."""
    assert gap.start_time is not None
    assert gap.end_time is not None
    return gap.start_time - IN_FLIGHT <= time <= gap.end_time


def stored(data: Path) -> tuple[dict[str, list[Trade]], list[Gap]]:
    """The trades of each feed and the gaps that are in a data directory."""
    trades: dict[str, list[Trade]] = defaultdict(list)
    for trade in _rows(data, Trade):
        trades[feed_of(trade)].append(trade)
    return trades, list(_rows(data, Gap))


def _rows(data: Path, kind: type[Event]) -> Iterator[Any]:
    for batch in read_batches(data, kind):
        yield from batch.rows


@contextmanager
def nothing_is_left(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No process and no descriptor outlives the block, and nothing that a shard sent got lost."""
    before = descriptors(), children()
    yield
    assert (descriptors(), children()) == before
    told = [record.getMessage() for record in caplog.get_records("call")]
    assert not [text for text in told if "of which" in text]


def descriptors() -> dict[str, str]:
    """The open ones of this process, and what they are."""
    gc.collect()
    found = {}
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found[entry.name] = str(entry.readlink())
        except FileNotFoundError:
            continue  # that of the directory itself
    return found


def children() -> set[int]:
    """Processes that this one has not reaped."""
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        found.update(map(int, (task / "children").read_text().split()))
    return found

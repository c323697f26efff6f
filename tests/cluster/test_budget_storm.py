"""What a venue counts by address holds over all processes, also when all die at once."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import attrs
import pytest
from trio.testing import MockClock

from farm import Farm
from farm.exchanges.registry import MARKETS, rules_of
from farm.exchanges.rules import MarketRules, Rate
from farm.testing import (
    FakeBinance,
    FakeBybit,
    FakeExchange,
    Push,
    Recorded,
    WeightWindow,
    open_fake,
)
from farm.testing.limits import RateWindow
from farm.testing.network import MemoryNetwork
from farm.testing.wall_clock import START
from farm.types import Exchange
from tests.cluster.in_process import ClusterWorld
from tests.cluster.trading import until
from tests.effort import runs
from tests.farms import collector, fake_of, market_of

SHARDS = 8

FULL = 50
CONNECTIONS = runs(4)
"""Of each shard. With fewer than `FULL` the venue's limits are lower by as much."""

WINDOW = 300.0
"""Seconds in which venues count connections."""

DIFF_EVERY = 30.0
LONGEST = 2 * WINDOW + 2 * WINDOW
"""Seconds for which the market goes on."""


def most_within(times: Iterable[float], seconds: float) -> int:
    """The most of these moments that lie within any window of so many seconds."""
    ordered, most, begin = sorted(times), 0, 0
    for end, time in enumerate(ordered):
        while ordered[begin] <= time - seconds:
            begin += 1
        most = max(most, end - begin + 1)
    return most


def _calm_world() -> ClusterWorld:
    """Without delays: those make up for one another, but for some that are chance, and what is left
    for these, a share of the limit, is not enough where that is low."""
    return ClusterWorld(network=MemoryNetwork())


@attrs.define
class Storm:
    """A market of as many symbols as there are connections, on each of which is one."""

    name: str
    specs: tuple[str, ...]
    shards: int = SHARDS
    connections: int = CONNECTIONS
    limit: int = 0
    world: ClusterWorld = attrs.field(factory=_calm_world)
    attempts: list[float] = attrs.field(factory=list)
    fake: FakeExchange = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        exchange, market = market_of(self.name)
        options: dict[str, Any] = {"symbols": self.symbols, "empty_books": True}
        if exchange is Exchange.BINANCE:
            options["hold_for_snapshots"] = False
        network = self.world.network
        diffs = list(self._diffs())
        self.fake = fake_of(exchange, market, diffs, pace=Recorded(), network=network, **options)
        share, fake = self.connections / FULL, self.fake
        assert isinstance(fake, FakeBinance | FakeBybit)
        assert fake.rules.connections_per_5_minutes is not None
        self.limit = round(fake.rules.connections_per_5_minutes * share)
        fake._connects = Noting(self.limit, WINDOW, moments=self.attempts)
        if isinstance(fake, FakeBinance):
            fake.weights = WeightWindow(round(fake.rules.weight_per_minute * share))

    def rules(self) -> MarketRules:
        """The market's, whose limits are lower by as much as the fake's."""
        rules, share = rules_of(*market_of(self.name)), self.connections / FULL
        lower = {
            name: Rate(round(rate.limit * share), rate.period)
            for name, rate in (("connect_rate", rules.connect_rate), ("rest_rate", rules.rest_rate))
        }
        return attrs.evolve(rules, **lower)

    @property
    def symbols(self) -> list[str]:
        return [f"S{number}USDT" for number in range(self.shards * self.connections)]

    def _diffs(self) -> Iterator[Push]:
        """A change of each book now and then: without one nobody asks for a snapshot."""
        if self.name.startswith("bybit"):
            return
        table = rules_of(*market_of(self.name)).streams
        streams = [(symbol, table.stream(symbol, "book").name) for symbol in self.symbols]
        for count in range(round(LONGEST / DIFF_EVERY)):
            now = START + round(count * DIFF_EVERY * 1e9)
            for symbol, stream in streams:
                diff = {
                    "e": "depthUpdate",
                    "E": now // 1_000_000,
                    "T": now // 1_000_000,
                    "s": symbol,
                    "U": count + 2,
                    "u": count + 2,
                    "pu": count + 1,
                    "b": [["1.00", str(count + 1)]],
                    "a": [["2.00", "1"]],
                }
                yield Push(now, stream, json.dumps(diff))

    @property
    def config(self) -> dict[str, object]:
        exchange, market = self.name.split("/")
        return {
            "collectors": [
                collector(exchange, market, [symbol], list(self.specs), self.fake)
                for symbol in self.symbols
            ],
            "processes": self.shards,
            "cluster": {"heartbeat_seconds": 5.0, "hang_seconds": 20.0},
        }

    def all_are_up(self, farm: Farm) -> bool:
        """Whether every connection stands, with every stream and every book."""
        stats = farm.stats()
        standing = [c for c in stats.connections if c.status == "running"]
        if len(standing) < len(self.symbols):
            return False
        feeds = [feed for feed in stats.feeds if feed.state]
        return all(
            feed.state in ("live", "acknowledged")
            and (feed.book is None or feed.book.verdict == "verified")
            for feed in feeds
        )

    def assert_limits_were_kept(self) -> None:
        assert self.fake.connections_refused == 0
        assert most_within(self.attempts, WINDOW) <= self.limit
        assert {call.status for call in self.fake.rest_log} == {200}


@attrs.define(eq=False)
class Noting(RateWindow):
    """Counts as fakes do, and notes the moments."""

    moments: list[float] = attrs.field(kw_only=True, factory=list)

    def admit(self, now: float) -> bool:
        self.moments.append(now)
        return super().admit(now)


def restarts(farm: Farm) -> list[int]:
    return [process.restarts for process in farm.stats().processes if process.name != "main"]


@pytest.mark.parametrize("name", ["binance/spot", "binance/usdm", "bybit/linear"])
async def test_when_all_shards_die_at_once_the_venue_sees_no_more_than_it_allows(
    name: str, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    storm = Storm(name, ("trade", "book"))
    monkeypatch.setitem(MARKETS, market_of(name), storm.rules())
    async with open_fake(storm.fake), storm.world.farm(storm.config) as farm:
        await until(lambda: storm.all_are_up(farm), 4 * WINDOW, every=5.0)
        assert len(storm.attempts) == len(storm.symbols)
        for number in range(1, storm.shards + 1):
            storm.world.shard(number).kill()
        await until(lambda: set(restarts(farm)) == {1}, every=0.01)
        await until(lambda: storm.all_are_up(farm), 4 * WINDOW, every=5.0)
        assert len(storm.attempts) >= 2 * len(storm.symbols)
        assert set(restarts(farm)) == {1}
    storm.assert_limits_were_kept()

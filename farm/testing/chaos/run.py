"""One chaos run: a farm on a fake exchange where things go wrong, and the judgement on it."""

from __future__ import annotations

import json
import logging
import math
import tempfile
import traceback
from pathlib import Path
from typing import Any

import attrs
import trio
import trio.testing

from farm import Farm, FarmStats, Gap, open_farm
from farm.pipeline import Environment
from farm.testing.binance import FakeBinance
from farm.testing.bybit import FakeBybit
from farm.testing.chaos.crashes import crash
from farm.testing.chaos.ledger import Account, Balance
from farm.testing.chaos.moments import Moments
from farm.testing.chaos.observer import LOOK_EVERY, Observer
from farm.testing.chaos.plan import ChaosPlan
from farm.testing.chaos.scheduling import seeded_scheduling
from farm.testing.chaos.stored import left_behind, stored_gaps, stored_trades
from farm.testing.chaos.truth import Truth
from farm.testing.clock import Recorded
from farm.testing.faults.kinds import (
    Corrupt,
    Delay,
    Drop,
    NoData,
    Reject,
    Reorder,
    RestStatus,
    Stall,
)
from farm.testing.faults.script import FaultScript
from farm.testing.markets import BINANCE_RULES
from farm.testing.network import DELAYS
from farm.testing.server import FakeExchange, open_fake
from farm.testing.simulator import MarketSimulator
from farm.testing.source import Push
from farm.testing.wall_clock import START
from farm.testing.world import FarmWorld
from farm.types import Exchange, Symbol

__all__ = ["ChaosResult", "run_chaos"]

DRAIN = 10.0
"""Seconds of grace that each stage has at the end."""

RECOVERY = 400.0
"""Seconds after the last fault within which all must be well again, bans aside."""

REAL_RECOVERY = 60.0
FRAME_TIME = 1.0
"""Seconds within which the next frame of a connection comes."""

BANS = {403: 600.0, 418: 120.0, 429: 60.0}
"""Seconds for which no more is asked of a venue after such an answer that names no time itself."""

MARGIN = 1.0
"""What the venue told in the last second before the end may have been on its way."""

_EATING = (Drop, Corrupt, NoData)
"""Faults that leave nothing whole of a frame."""


@attrs.frozen
class ChaosResult:
    """How a run went: ``violations`` is empty where all was well.

    ``recovered``: seconds after the last fault until every stream was live and every book whole.
    ``closing``: seconds that the end took. ``compared``: books that said *verified* and were
    compared with the truth; ``oldest``: the greatest age of one in seconds. ``hits``: what the
    faults did.
    """

    plan: ChaosPlan
    violations: list[str]
    balance: Balance | None = None
    compared: int = 0
    oldest: float = 0.0
    recovered: float = math.nan
    closing: float = math.nan
    hits: int = 0


@attrs.frozen
class _Stored:
    """What the data directory holds."""

    trades: list[tuple[Symbol, str]]
    gaps: list[Gap]


@attrs.define(eq=False)
class _Outcome:
    """What a run leaves behind for its judges."""

    violations: list[str] = attrs.field(factory=list)
    observer: Observer | None = None
    stats: FarmStats | None = None
    stored: _Stored | None = None
    until: float = 0.0
    recovered: float = math.nan
    closing: float = math.nan
    hits: int = 0
    eaten: set[tuple[Symbol, str]] = attrs.field(factory=set)


def run_chaos(plan: ChaosPlan) -> ChaosResult:
    """Carry a plan out, in a Trio of its own, and judge what came of it."""
    outcome = _Outcome()
    run = _Run(plan, outcome)
    clock = None if plan.real else trio.testing.MockClock(autojump_threshold=0)
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)  # what goes wrong here does so on purpose
    try:
        with seeded_scheduling(plan.seed):
            trio.run(run.run, clock=clock)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        outcome.violations.append("".join(traceback.format_exception(error)))
    finally:
        logging.disable(before)
    return _judge(plan, outcome, run)


class _Run:
    """One run in progress."""

    def __init__(self, plan: ChaosPlan, outcome: _Outcome) -> None:
        self.plan = plan
        self.outcome = outcome
        self.world = FarmWorld(plan.seed)
        self.network = None if plan.real else self.world.network
        self.clock = self.world.wall_clock
        self.truth = Truth(plan.book_streams())
        self.started, self.showed = 0.0, START

    async def run(self) -> None:
        """Run, and see that nothing is left."""
        before = trio.lowlevel.current_statistics().tasks_living
        self.started, self.showed = trio.current_time(), self.clock()
        with tempfile.TemporaryDirectory() as directory:
            data = Path(directory, "data") if self.plan.stored else None
            exchange = self._exchange()
            async with open_fake(exchange):
                try:
                    await self._collect(self._config(exchange, Path(directory), data))
                finally:
                    self.outcome.hits = len(exchange.fault_log)
                    self.outcome.eaten = _eaten(exchange)
            if data is not None:
                self.outcome.stored = _Stored(stored_trades(data), stored_gaps(data))
                self.outcome.violations += [f"{file} is left" for file in left_behind(data)]
        left = trio.lowlevel.current_statistics().tasks_living - before
        if left:
            self.outcome.violations.append(f"{left} tasks are left")
        if self.network is not None and self.network.streams_open:
            self.outcome.violations.append(f"{self.network.streams_open} streams are left open")

    async def _collect(self, config: dict[str, Any]) -> None:
        plan, outcome = self.plan, self.outcome
        async with trio.open_nursery() as nursery:
            async with open_farm(config, environment=self._environment()) as farm:
                observer = outcome.observer = Observer(
                    farm, plan.symbols, self.truth, plan.pause, plan.room
                )
                await nursery.start(observer.read)
                async with trio.open_nursery() as watching:
                    watching.start_soon(observer.watch_books)
                    watching.start_soon(self._crash, farm)
                    await trio.sleep(plan.seconds)
                    await self._recover(farm, observer)
                    watching.cancel_scope.cancel()
                outcome.until = trio.current_time() - MARGIN - _slack(plan.script)
                observer.pause = 0.0
                started = trio.current_time()
            outcome.closing = trio.current_time() - started
            outcome.stats = farm.stats()

    def _exchange(self) -> FakeExchange:
        plan = self.plan
        source = MarketSimulator(
            plan.exchange, plan.market, plan.symbols, seed=plan.seed, rate=plan.rate, levels=60
        )
        options: dict[str, Any] = {
            "pace": Recorded(),
            "network": self.network,
            "faults": plan.script,
            "wall_clock": self.clock,
            "tls": plan.tls,
        }
        if plan.exchange is Exchange.BINANCE:
            return _WatchedBinance(self.truth, source, rules=BINANCE_RULES[plan.market], **options)
        return _WatchedBybit(self.truth, source, plan.market, **options)

    def _config(self, exchange: FakeExchange, directory: Path, data: Path | None) -> dict[str, Any]:
        plan = self.plan
        endpoints = {"ws": exchange.ws_url, "rest": exchange.rest_url}
        if exchange.authority is not None:
            file = directory / "authority.pem"
            file.write_bytes(exchange.authority)
            endpoints["ca_file"] = str(file)
        collector = {
            "exchange": plan.exchange.value,
            "market": plan.market.value,
            "symbols": list(plan.symbols),
            "streams": list(plan.specs),
            "lanes": plan.lanes,
            "endpoints": endpoints,
        }
        supervision: dict[str, Any] = {"drain_seconds": DRAIN}
        if plan.real:
            supervision |= {"backoff_initial": 0.1, "backoff_cap": 1.0}
        stored = {} if data is None else {"data": str(data)}
        return {"collectors": [collector], "supervision": supervision, **stored}

    def _environment(self) -> Environment:
        if self.network is None:
            return Environment(wall_clock=self.clock, seed=self.plan.seed)
        return self.world.environment

    async def _crash(self, farm: Farm) -> None:
        for planned in sorted(self.plan.crashes, key=lambda planned: planned.at):
            await trio.sleep_until(self.started + planned.at)
            crash(farm._pipeline, planned)  # noqa: SLF001 (a bug in it asks nobody either)

    async def _recover(self, farm: Farm, observer: Observer) -> None:
        """Wait until all is well, three times in a row."""
        limit = REAL_RECOVERY if self.plan.real else RECOVERY + _bans(self.plan.script)
        started, well = trio.current_time(), 0
        while trio.current_time() - started < limit:
            well = well + 1 if observer.is_whole() and _all_live(farm.stats()) else 0
            if well == 3:
                self.outcome.recovered = trio.current_time() - started
                return
            await trio.sleep(LOOK_EVERY)
        states = [f"{feed.feed} {feed.state} {feed.reason}" for feed in farm.stats().feeds]
        books = [f"{symbol} {farm.book(symbol).verdict.value}" for symbol in self.plan.symbols]
        self.outcome.violations.append(f"not well again after {limit:.0f} s: {states} {books}")


class _WatchedBinance(FakeBinance):
    """A venue of whose texts the truth takes note."""

    def __init__(self, truth: Truth, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._truth = truth

    def take(self, push: Push) -> None:
        self._truth.take(push)
        super().take(push)


class _WatchedBybit(FakeBybit):
    """The same of Bybit."""

    def __init__(self, truth: Truth, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._truth = truth

    def take(self, push: Push) -> None:
        self._truth.take(push)
        super().take(push)


def _all_live(stats: FarmStats) -> bool:
    return all(feed.state in ("live", "acknowledged", "") for feed in stats.feeds)


def _eaten(exchange: FakeExchange) -> set[tuple[Symbol, str]]:
    """The trades of which the faults left nothing whole."""
    eaten: set[tuple[Symbol, str]] = set()
    for event in exchange.fault_log:
        if event.push is None or not isinstance(event.fault, _EATING):
            continue
        message = json.loads(event.push.text)
        if event.stream.endswith("@trade"):
            eaten.add((message["s"], str(message["t"])))
        elif event.stream.startswith("publicTrade."):
            eaten |= {(row["s"], row["i"]) for row in message["data"]}
    return eaten


def _bans(script: FaultScript) -> float:
    """For how long the faults may keep a client away, in seconds."""
    refusals = (fault for fault in script if isinstance(fault, Reject | RestStatus))
    return sum(BANS.get(fault.status, 0.0) * fault.count for fault in refusals)


def _slack(script: FaultScript) -> float:
    """For how long things were on their way or held back, in seconds."""
    held = sum(fault.seconds for fault in script if isinstance(fault, Delay | Stall))
    return (
        DELAYS[1]
        + held
        + sum(fault.by * FRAME_TIME for fault in script if isinstance(fault, Reorder))
    )


def _unknown(plan: ChaosPlan, stats: FarmStats) -> set[Symbol]:
    """Symbols of whose trades farm says that it can't know whether they are complete."""
    proven = {
        feed.feed
        for feed in stats.feeds
        if feed.continuity is not None and feed.continuity.completeness != "unknown"
    }
    return {symbol for symbol in plan.symbols if not plan.trade_feeds(symbol) & proven}


def _stored_faults(stored: _Stored, account: Account) -> list[str]:
    """What a user was told and the files have not, or twice."""
    found = []
    if lost := account.unstored(stored.trades, stored.gaps):
        found.append(f"{len(lost)} trades were delivered and not stored: {lost[:5]}")
    if twice := len(stored.trades) - len(set(stored.trades)):
        found.append(f"{twice} trades were stored twice")
    return found


def _judge(plan: ChaosPlan, outcome: _Outcome, run: _Run) -> ChaosResult:
    observer, stats = outcome.observer, outcome.stats
    violations = list(outcome.violations)
    if observer is None or stats is None:
        return ChaosResult(plan, violations or ["the farm never ran"])
    violations += observer.contradictions
    account = Account(
        run.truth,
        observer.delivered,
        observer.gaps,
        feeds={symbol: plan.trade_feeds(symbol) for symbol in plan.symbols},
        unknown=_unknown(plan, stats),
        eaten=outcome.eaten,
        moments=Moments(run.started, run.showed, run.clock.jumps).of,
        slack=_slack(plan.script),
        until=outcome.until,
    )
    balance = account.balance()
    violations += balance.violations
    if outcome.stored is not None:
        violations += _stored_faults(outcome.stored, account)
    if outcome.closing > 3 * DRAIN + 1:
        violations.append(f"the end took {outcome.closing:.1f} s")
    return ChaosResult(
        plan,
        violations,
        balance,
        observer.compared,
        observer.oldest,
        outcome.recovered,
        outcome.closing,
        outcome.hits,
    )

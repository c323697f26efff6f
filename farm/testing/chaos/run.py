"""One chaos run: a farm on a fake exchange where things go wrong, and the judgement on it."""

from __future__ import annotations

import logging
import tempfile
import traceback
from pathlib import Path
from typing import Any

import trio
import trio.testing

from farm import Farm, FarmStats, open_farm
from farm.pipeline import Environment
from farm.testing.chaos.crashes import crash
from farm.testing.chaos.judge import judge
from farm.testing.chaos.moments import Moments
from farm.testing.chaos.observer import LOOK_EVERY, Observer
from farm.testing.chaos.outcome import DRAIN, ChaosResult, Outcome, Stored
from farm.testing.chaos.patience import bans, slack
from farm.testing.chaos.plan import ChaosPlan
from farm.testing.chaos.scheduling import seeded_scheduling
from farm.testing.chaos.stored import left_behind, stored_gaps, stored_trades, wrongly_stored
from farm.testing.chaos.truth import Truth
from farm.testing.chaos.venues import eaten, watched_venue
from farm.testing.server import FakeExchange, open_fake
from farm.testing.wall_clock import START
from farm.testing.world import FarmWorld

__all__ = ["run_chaos"]

RECOVERY = 400.0
"""Seconds after the last fault within which all must be well again, bans aside."""

REAL_RECOVERY = 60.0

MARGIN = 1.0
"""What the venue told in the last second before the end may have been on its way."""


MOST_LISTED = 5
"""Stored rows that are named."""


def run_chaos(plan: ChaosPlan) -> ChaosResult:
    """Carry a plan out, in a Trio of its own, and judge what came of it."""
    outcome = Outcome()
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
    return judge(plan, outcome, run.truth, run.moments)


class _Run:
    """One run in progress."""

    def __init__(self, plan: ChaosPlan, outcome: Outcome) -> None:
        self.plan = plan
        self.outcome = outcome
        self.world = FarmWorld(plan.seed)
        self.network = None if plan.real else self.world.network
        self.clock = self.world.wall_clock
        self.truth = Truth(plan.book_streams())
        self.started, self.showed = 0.0, START

    @property
    def moments(self) -> Moments:
        """When the clock of the farm showed what."""
        return Moments(self.started, self.showed, self.clock.jumps)

    async def run(self) -> None:
        """Run, and see that nothing is left."""
        before = trio.lowlevel.current_statistics().tasks_living
        self.started, self.showed = trio.current_time(), self.clock()
        with tempfile.TemporaryDirectory() as directory:
            data = Path(directory, "data") if self.plan.stored else None
            exchange = watched_venue(self.plan, self.truth, self.network, self.clock)
            async with open_fake(exchange):
                try:
                    await self._collect(self._config(exchange, Path(directory), data))
                finally:
                    self.outcome.hits = len(exchange.fault_log)
                    self.outcome.eaten = eaten(exchange.fault_log)
            if data is not None:
                self.outcome.stored = Stored(stored_trades(data), stored_gaps(data))
                self.outcome.violations += wrongly_stored(data, self.truth)[:MOST_LISTED]
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
                observer = outcome.observer = Observer(farm, plan, self.truth)
                await nursery.start(observer.read)
                async with trio.open_nursery() as watching:
                    watching.start_soon(observer.watch)
                    watching.start_soon(self._crash, farm)
                    await trio.sleep(plan.seconds)
                    await self._recover(farm, observer)
                    watching.cancel_scope.cancel()
                outcome.until = trio.current_time() - MARGIN - slack(plan.script)
                observer.pause = 0.0
                started = trio.current_time()
            outcome.closing = trio.current_time() - started
            outcome.stats = farm.stats()

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
        limit = REAL_RECOVERY if self.plan.real else RECOVERY + bans(self.plan.script)
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


def _all_live(stats: FarmStats) -> bool:
    return all(feed.state in ("live", "acknowledged", "") for feed in stats.feeds)

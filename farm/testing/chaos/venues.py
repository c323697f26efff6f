"""Fake exchanges that tell the truth as well: to whoever keeps it, beside their clients."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from farm.testing.binance import FakeBinance
from farm.testing.bybit import FakeBybit
from farm.testing.chaos.plan import ChaosPlan
from farm.testing.chaos.truth import Truth, quote_of
from farm.testing.clock import Recorded
from farm.testing.connection import Connection
from farm.testing.faults.kinds import Drop, NoData
from farm.testing.faults.log import FaultEvent
from farm.testing.markets import BINANCE_RULES
from farm.testing.network import MemoryNetwork
from farm.testing.server import FakeExchange
from farm.testing.simulator import MarketSimulator
from farm.testing.source import Push
from farm.testing.wall_clock import WallClock
from farm.types import Exchange, Symbol

__all__ = ["eaten", "watched_venue"]

_EATING = (Drop, NoData)
"""Faults that swallow a frame before its client could see a byte of it."""


class _WatchedBinance(FakeBinance):
    def __init__(self, truth: Truth, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._truth = truth

    def take(self, push: Push) -> None:
        self._truth.take(push)
        super().take(push)


class _WatchedBybit(FakeBybit):
    def __init__(self, truth: Truth, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._truth = truth

    def take(self, push: Push) -> None:
        self._truth.take(self._market.renumbered(push))
        super().take(push)

    def deliver_first(self, connection: Connection, push: Push) -> None:
        self._truth.greet(push)
        super().deliver_first(connection, push)


def watched_venue(
    plan: ChaosPlan, truth: Truth, network: MemoryNetwork | None, clock: WallClock
) -> FakeExchange:
    """The venue of a plan, of whose texts `truth` takes note."""
    source = MarketSimulator(
        plan.exchange, plan.market, plan.symbols, seed=plan.seed, rate=plan.rate, levels=60
    )
    options: dict[str, Any] = {
        "pace": Recorded(),
        "network": network,
        "faults": plan.script,
        "wall_clock": clock,
        "tls": plan.tls,
    }
    if plan.exchange is Exchange.BINANCE:
        return _WatchedBinance(truth, source, rules=BINANCE_RULES[plan.market], **options)
    return _WatchedBybit(truth, source, plan.market, **options)


def eaten(log: Iterable[FaultEvent]) -> set[tuple[Symbol, str]]:
    """The trades and quotes of which the faults left nothing, by symbol and id."""
    found: set[tuple[Symbol, str]] = set()
    for event in log:
        if event.push is None or not isinstance(event.fault, _EATING):
            continue
        if event.stream.endswith("@trade"):
            message = json.loads(event.push.text)
            found.add((message["s"], str(message["t"])))
        elif event.stream.startswith("publicTrade."):
            found |= {(row["s"], row["i"]) for row in json.loads(event.push.text)["data"]}
        elif quote := quote_of(event.push):
            found.add(quote)
    return found

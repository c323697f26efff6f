"""A watcher of instruments on a scripted venue: what its tests stand on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import h11
import trio

from farm.actors.instruments import InstrumentWatcher
from farm.actors.supervisor import Health, Lifecycle, LifecycleEvent, Policy, Supervisor
from farm.entities import Instrument
from farm.errors import ConnectionLost
from farm.exchanges.instruments import Changes
from farm.exchanges.registry import rules_of
from farm.exchanges.rules import MarketRules
from farm.net.budget import Budget
from farm.net.rest import RestClient
from farm.types import Exchange, Market, NumberMode
from tests.exchanges.listings import T0, body
from tests.net.test_rest import Answer, MemoryDial, Server

BINANCE = rules_of(Exchange.BINANCE, Market.SPOT)
LINEAR = rules_of(Exchange.BYBIT, Market.LINEAR)
REFRESH = 300.0
SECOND = 1_000_000_000
POLICY = Policy(backoff_initial=1.0, backoff_cap=4.0, intensity=2, period=60.0)


def spot(*symbols: str, tick: str = "0.01", status: str = "TRADING") -> Answer:
    """Binance's answer that lists `symbols`; one without quote asset is written ``X?``."""
    filters = [{"filterType": "PRICE_FILTER", "tickSize": tick}]
    entries = [
        {"symbol": symbol.rstrip("?"), "status": status, "baseAsset": "B", "filters": filters}
        | ({} if symbol.endswith("?") else {"quoteAsset": "USDT"})
        for symbol in symbols
    ]
    return Answer(body=body({"serverTime": 1_790_000_000_000, "symbols": entries}))


def linear(*symbols: str, cursor: str = "") -> Answer:
    """Bybit's answer: one page."""
    entries = [
        {
            "symbol": symbol,
            "status": "Trading",
            "baseCoin": "B",
            "quoteCoin": "USDT",
            "priceFilter": {"tickSize": "0.1"},
            "lotSizeFilter": {"qtyStep": "0.1"},
        }
        for symbol in symbols
    ]
    return Answer(body=body({"retCode": 0, "result": {"list": entries, "nextPageCursor": cursor}}))


class Venue(Server):
    """Gives scripted answers, the last one for ever; notes when it was asked for what."""

    def __init__(self, *answers: Answer | Callable[[], Answer]) -> None:
        super().__init__(self._note)
        self.answers = list(answers)
        self.asked: list[tuple[float, dict[str, str]]] = []
        self.paths: set[str] = set()

    def _note(self, request: h11.Request) -> Answer:
        target = urlsplit(request.target.decode())
        self.paths.add(target.path)
        self.asked.append((trio.current_time(), dict(parse_qsl(target.query))))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return answer() if callable(answer) else answer

    @property
    def times(self) -> list[float]:
        return [time for time, _ in self.asked]

    @property
    def queries(self) -> list[dict[str, str]]:
        return [query for _, query in self.asked]


async def inline(work: Callable[[], Any]) -> Any:
    """On a mock clock nothing may run in threads."""
    return work()


class Rig:
    """A watcher of a venue, and what it told."""

    def __init__(self, client: RestClient, rules: MarketRules, **options: Any) -> None:
        self.told: list[tuple[float, Changes]] = []
        self.life: list[LifecycleEvent] = []
        self.failing = 0
        self.watcher = InstrumentWatcher(
            f"{rules.key} instruments",
            rules,
            client,
            options.pop("numbers", NumberMode.FLOAT),
            lambda: T0 + round(trio.current_time() * SECOND),
            options.pop("refresh", REFRESH),
            self._note,
            **({"run_sync": inline} | options),
        )

    def _note(self, changes: Changes) -> None:
        if self.failing:
            self.failing -= 1
            raise RuntimeError("a reader with a fault")
        assert self.watcher.listing.keys() >= {item.symbol for item in changes.listed}
        self.told.append((trio.current_time(), changes))

    async def run(self) -> None:
        """One run of the actor, which is to end: within the time of a few listings."""
        with trio.fail_after(10 * REFRESH):
            await self.watcher.run(Health(lambda: None))

    async def supervise(self) -> None:
        await Supervisor(POLICY, weather=(ConnectionLost,), on_event=self.life.append).run(
            self.watcher
        )

    def failures(self, what: Lifecycle = Lifecycle.WEATHER) -> list[str]:
        return [str(event.error) for event in self.life if event.what is what]

    @property
    def symbols(self) -> list[str]:
        return list(self.watcher.listing)

    @property
    def said(self) -> list[tuple[list[str], list[str], list[str]]]:
        """Symbols listed, delisted and changed, each time that changes were told."""
        return [
            (names(changes.listed), names(changes.delisted), names(changes.changed))
            for _, changes in self.told
        ]


def names(instruments: Iterable[Instrument]) -> list[str]:
    return [item.symbol for item in instruments]


@asynccontextmanager
async def watching(
    venue: Venue,
    rules: MarketRules = BINANCE,
    *,
    budget: Budget | None = None,
    supervised: bool = True,
    **options: Any,
) -> AsyncIterator[Rig]:
    dial = MemoryDial(venue)
    async with trio.open_nursery() as nursery:
        dial.nursery = nursery
        budget = budget or Budget(10_000, 60.0, "weight")
        async with RestClient("http://a.test", budget=budget, open_stream=dial) as client:
            rig = Rig(client, rules, **options)
            if supervised:
                nursery.start_soon(rig.supervise)
            yield rig
        nursery.cancel_scope.cancel()

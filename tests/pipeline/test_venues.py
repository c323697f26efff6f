from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

from farm.actors.mailbox import Overflow
from farm.config import CollectorConfig, Endpoints
from farm.exchanges.registry import rules_of
from farm.pipeline import Environment, Settings
from farm.pipeline.line import make_line
from farm.pipeline.venues import Venues
from farm.types import Exchange, Market
from tests.pipeline.test_line import line

NOWHERE = Endpoints(ws="ws://127.0.0.1:9", rest="http://127.0.0.1:9")
ELSEWHERE = Endpoints(ws="ws://127.0.0.2:9", rest="http://127.0.0.2:9")


def collector(endpoints: Endpoints) -> CollectorConfig:
    return CollectorConfig("binance", "spot", ["BTCUSDT"], endpoints=endpoints)


async def wiring_of(venues: Venues, endpoints: Endpoints) -> Any:
    connection = await venues.connect(line(), collector(endpoints))
    return connection._wiring


async def test_connections_to_one_address_share_its_budgets() -> None:
    async with AsyncExitStack() as stack:
        venues = Venues(Environment(), stack)
        first, second = [await wiring_of(venues, NOWHERE) for _ in range(2)]
        other = await wiring_of(venues, ELSEWHERE)
    assert first.connect_budget is second.connect_budget
    assert first.connect_budget is not other.connect_budget
    assert first.fetcher is second.fetcher
    assert first.fetcher is not other.fetcher
    assert first.control_budget is not second.control_budget  # counted by connection
    rules = rules_of(collector(NOWHERE).exchange, collector(NOWHERE).market)
    assert first.connect_budget.limit == rules.connect_rate.limit
    assert first.fetcher._client.budget.limit == rules.rest_rate.limit


async def test_markets_on_one_host_share_its_budget_of_connections() -> None:
    async with AsyncExitStack() as stack:
        venues = Venues(Environment(), stack)
        limits = set()
        for market in ("spot", "linear"):
            rules = rules_of(Exchange.BYBIT, Market(market))
            one = make_line(market, rules, [], Settings(), overflow=Overflow.DROP_OLDEST)
            config = CollectorConfig("bybit", market, ["BTCUSDT"], endpoints=NOWHERE)
            limits.add(id((await venues.connect(one, config))._wiring.connect_budget))
    assert len(limits) == 1

"""What connections to one venue share, and the sources that venues give to lanes."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

import pytest
import trio

from farm.actors.connection import ConnectionActor
from farm.actors.mailbox import Overflow
from farm.actors.poll import PollActor
from farm.actors.supervisor import Health
from farm.config import CollectorConfig, Endpoints
from farm.errors import ConnectionLost, RestError
from farm.exchanges.registry import rules_of
from farm.exchanges.streams import REST_ROUTE
from farm.pipeline import Environment, Lane, Settings
from farm.pipeline.lane import SessionOptions, make_lane
from farm.pipeline.venues import MARGIN, ROTATE_AT, Venues
from farm.storage.quarantine import QuarantineStore
from farm.types import Exchange, Market

NOWHERE = Endpoints(ws="ws://127.0.0.1:9", rest="http://127.0.0.1:9")
ELSEWHERE = Endpoints(ws="ws://127.0.0.2:9", rest="http://127.0.0.2:9")


def collector(
    endpoints: Endpoints = NOWHERE, exchange: str = "binance", market: str = "spot", **more: Any
) -> CollectorConfig:
    return CollectorConfig(exchange, market, ["BTCUSDT"], endpoints=endpoints, **more)


def lane(config: CollectorConfig, number: int = 1) -> Lane:
    name = f"{config.rules.key}#{number}"
    return make_lane(
        name,
        config.rules,
        [],
        Settings(),
        SessionOptions(),
        Overflow.DROP_OLDEST,
        QuarantineStore(),
    )


async def source_of(
    venues: Venues, config: CollectorConfig, route: str = "", number: int = 1
) -> Any:
    one = lane(config, number)
    await venues.connect(one, route, config, lambda _reason: None)
    return one.source


async def wiring_of(venues: Venues, config: CollectorConfig, route: str = "") -> Any:
    return (await source_of(venues, config, route))._wiring


async def test_connections_to_one_address_share_its_budgets() -> None:
    async with AsyncExitStack() as stack:
        venues = Venues(Environment(), stack)
        first, second = [await wiring_of(venues, collector()) for _ in range(2)]
        other = await wiring_of(venues, collector(ELSEWHERE))
    assert first.connect_budget is second.connect_budget
    assert first.connect_budget is not other.connect_budget
    assert first.fetcher is second.fetcher
    assert first.fetcher is not other.fetcher
    assert first.control_budget is not second.control_budget  # counted by connection
    rules = collector().rules
    assert first.connect_budget.limit == int(MARGIN * rules.connect_rate.limit)
    assert first.fetcher._client.budget.limit == int(MARGIN * rules.rest_rate.limit)


async def test_markets_on_one_host_share_its_budget_of_connections() -> None:
    async with AsyncExitStack() as stack:
        venues = Venues(Environment(), stack)
        limits = {
            id((await wiring_of(venues, collector(NOWHERE, "bybit", market))).connect_budget)
            for market in ("spot", "linear")
        }
    assert len(limits) == 1


async def test_the_two_futures_markets_share_one_rest_weight_and_spot_has_its_own() -> None:
    live = Endpoints()
    async with AsyncExitStack() as stack:
        venues = Venues(Environment(), stack)
        for endpoints in (live, NOWHERE):
            spot, usdm, coinm = [
                (await venues.client(collector(endpoints, market=market))).budget
                for market in ("spot", "usdm", "coinm")
            ]
            assert usdm is coinm
            assert spot is not usdm
            assert (spot.limit, usdm.limit) == (5760, 2304)


async def test_each_route_has_its_path_and_microseconds_are_asked_for_in_it() -> None:
    async with AsyncExitStack() as stack:
        venues = Venues(Environment(), stack)
        usdm = collector(market="usdm")
        paths = {
            route: (await source_of(venues, usdm, route))._url.removeprefix("ws://127.0.0.1:9")
            for route in usdm.rules.paths
        }
        assert paths == {"public": "/public/stream", "market": "/market/stream"}
        precise = await source_of(venues, collector(time_unit="microsecond"))
        assert precise._url.endswith("/stream?timeUnit=MICROSECOND")


async def test_a_connection_is_replaced_before_the_venue_ends_it() -> None:
    async with AsyncExitStack() as stack:
        venues = Venues(Environment(), stack)
        ages = {(await source_of(venues, collector()))._rotate_after for _ in range(20)}
        day = rules_of(Exchange.BINANCE, Market.SPOT).max_age
        assert day == 86_400
        assert all(day * ROTATE_AT[0] <= age <= day * ROTATE_AT[1] for age in ages)
        assert len(ages) == 20  # not all at once
        endless = await source_of(venues, collector(NOWHERE, "bybit", "linear"))
        assert endless._rotate_after == float("inf")
        young = await source_of(venues, collector(rotate_seconds=30.0))
        assert young._rotate_after == 30.0


async def test_polled_feeds_have_a_poller_in_place_of_a_connection() -> None:
    async with AsyncExitStack() as stack:
        venues = Venues(Environment(), stack)
        usdm = collector(market="usdm", poll_seconds=7.0)
        poller = await source_of(venues, usdm, REST_ROUTE)
        assert isinstance(poller, PollActor)
        assert (poller._rules.every, poller._rules.path) == (7.0, "/fapi/v1/openInterest")
        assert isinstance(await source_of(venues, usdm, "public"), ConnectionActor)


async def test_with_a_seed_the_ages_are_those_of_the_lanes_in_whatever_order_they_open() -> None:
    async def ages(*numbers: int) -> dict[int, float]:
        async with AsyncExitStack() as stack:
            venues = Venues(Environment(seed=3), stack)
            return {
                number: (await source_of(venues, collector(), "", number))._rotate_after
                for number in numbers
            }

    first = await ages(1, 2, 3)
    assert await ages(3, 1, 2) == first
    assert len(set(first.values())) == 3


async def test_everything_connects_by_the_one_way_out() -> None:
    tried: list[tuple[str, int]] = []

    async def open_stream(host: str, port: int) -> trio.abc.Stream:
        tried.append((host, port))
        raise OSError("no way out")

    environment = Environment(open_stream=open_stream)
    async with AsyncExitStack() as stack:
        venues = Venues(environment, stack)
        client = await venues.client(collector())
        with pytest.raises(RestError, match="no way out"):
            await client.get("/")
        with pytest.raises(ConnectionLost, match="no way out"):
            await (await source_of(venues, collector())).run(Health(lambda: None))
    assert tried == [("127.0.0.1", 9)] * 2


async def test_snapshots_are_asked_for_again_by_the_seed() -> None:
    async with AsyncExitStack() as stack:
        pauses = []
        for seed in (5, 5, 6):
            venues = Venues(Environment(seed=seed), stack)
            fetcher = (await wiring_of(venues, collector())).fetcher
            pauses.append([fetcher._pause(feed, 3) for feed in ("a", "b", "a")])
    assert pauses[0] == pauses[1] != pauses[2]


async def test_a_latency_budget_reaches_the_connections_of_its_collector() -> None:
    async with AsyncExitStack() as stack:
        venues = Venues(Environment(), stack)
        assert (await wiring_of(venues, collector())).options.latency_budget == 0
        patient = collector(latency_budget=0.002)
        assert (await wiring_of(venues, patient)).options.latency_budget == 0.002

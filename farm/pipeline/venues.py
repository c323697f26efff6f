"""What connections to one venue share: REST clients and budgets, which venues count by address."""

from __future__ import annotations

import random
import ssl
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlsplit

import attrs

from farm.actors.connection import ConnectionActor, Wiring
from farm.actors.poll import PollActor
from farm.actors.snapshots import SnapshotFetcher
from farm.config import CollectorConfig
from farm.exchanges.rules import MarketRules, Rate
from farm.exchanges.streams import REST_ROUTE
from farm.net.budget import Budget
from farm.net.rest import RestClient
from farm.net.tls import create_ssl_context
from farm.net.websocket import WebSocketOptions
from farm.pipeline.environment import Environment
from farm.pipeline.lane import Lane

__all__ = ["Venues"]

ROTATE_AT = (0.95, 0.985)
"""When a connection is replaced, as shares of the venue's limit of its age: drawn between the two,
so that connections which were opened together are not replaced together."""

MARGIN = 0.96
"""The share of a venue's limits an address that is used: venues count on arrival, by a clock of
their own, so that what was sent within one minute may arrive within another."""

MICROSECONDS = "?timeUnit=MICROSECOND"


class Venues:
    """Connects lanes with their venues. REST clients are closed with `stack`."""

    def __init__(self, environment: Environment, stack: AsyncExitStack) -> None:
        self._environment = environment
        self._stack = stack
        self._budgets: dict[tuple[str, str], Budget] = {}
        self._clients: dict[tuple[str, str, Path | None], RestClient] = {}
        self._fetchers: dict[RestClient, SnapshotFetcher] = {}

    async def connect(
        self, lane: Lane, route: str, collector: CollectorConfig, on_rotate: Callable[[str], None]
    ) -> None:
        """Give a lane its source: a connection, or what polls in its place."""
        if route == REST_ROUTE:
            lane.source = await self._poller(lane, collector)
        else:
            lane.source = await self._connection(lane, route, collector, on_rotate)
        lane.counters = lane.source.counters

    async def client(self, collector: CollectorConfig) -> RestClient:
        """The REST client of a collector, shared by all that call the same host for its market."""
        rules, endpoints = collector.rules, collector.endpoints
        url = endpoints.rest or rules.rest_url
        key = (rules.weight_pool, url, endpoints.ca_file)
        if key not in self._clients:
            client = RestClient(
                url,
                # Markets that share a budget have hosts of their own; an address of the user's
                # own stands for all markets of the pool there.
                budget=self._budget(
                    rules.weight_pool,
                    urlsplit(endpoints.rest or "").hostname or "",
                    rules.rest_rate,
                ),
                used_weight_header=rules.used_weight_header,
                ssl_context=_ssl_context(endpoints.ca_file),
                open_stream=self._environment.dial,
            )
            self._clients[key] = await self._stack.enter_async_context(client)
        return self._clients[key]

    async def _connection(
        self, lane: Lane, route: str, collector: CollectorConfig, on_rotate: Callable[[str], None]
    ) -> ConnectionActor:
        rules, environment, endpoints = collector.rules, self._environment, collector.endpoints
        url = (endpoints.ws or rules.ws_url) + rules.paths[route]
        if collector.time_unit == "microsecond":
            url += MICROSECONDS
        wiring = Wiring(
            mailbox=lane.inputs,
            commands=lane.executed,
            connect_budget=self._budget("connect", urlsplit(url).netloc, rules.connect_rate),
            control_budget=Budget(
                max(1, int(rules.control_rate.limit)),
                rules.control_rate.period,
                f"{lane.name} control",
            ),
            fetcher=await self._fetcher(collector) if rules.snapshot_path else None,
            wall_clock=environment.wall_clock,
            ssl_context=_ssl_context(endpoints.ca_file),
            options=WebSocketOptions(latency_budget=collector.latency_budget),
            open_stream=environment.dial,
            on_rotate=on_rotate,
        )
        return ConnectionActor(
            lane.name,
            url,
            wiring,
            silence=rules.silence,
            rotate_after=_rotate_after(collector, rules, environment.rng(f"{lane.name} rotation")),
        )

    async def _poller(self, lane: Lane, collector: CollectorConfig) -> PollActor:
        rules = collector.rules.poll
        assert rules is not None, f"{collector.rules.key} has nothing to poll"
        if collector.poll_seconds is not None:
            rules = attrs.evolve(rules, every=collector.poll_seconds)
        return PollActor(
            lane.name,
            rules,
            lambda: lane.streams,
            await self.client(collector),
            lane.inputs,
            self._environment.wall_clock,
        )

    async def _fetcher(self, collector: CollectorConfig) -> SnapshotFetcher:
        client = await self.client(collector)
        if client not in self._fetchers:
            self._fetchers[client] = SnapshotFetcher(client, rng=self._environment.rng)
        return self._fetchers[client]

    def budget(self, what: str, host: str, limit: int, period: float) -> Budget:
        """The budget of this address at a host, shared by everything that calls it."""
        key = (what, host)
        if key not in self._budgets:
            self._budgets[key] = self._environment.make_budget(what, host, limit, period)
        return self._budgets[key]

    def _budget(self, what: str, host: str, rate: Rate) -> Budget:
        return self.budget(what, host, max(1, int(rate.limit * MARGIN)), rate.period)


def _rotate_after(collector: CollectorConfig, rules: MarketRules, rng: random.Random) -> float:
    if collector.rotate_seconds is not None:
        return collector.rotate_seconds
    return float("inf") if rules.max_age is None else rules.max_age * rng.uniform(*ROTATE_AT)


def _ssl_context(ca_file: Path | None) -> ssl.SSLContext | None:
    if ca_file is None:
        return None
    context = create_ssl_context()
    context.load_verify_locations(ca_file)
    return context

"""What connections to one venue share: REST clients and budgets, which venues count by address."""

from __future__ import annotations

import ssl
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlsplit

from farm.actors.connection import ConnectionActor, Wiring
from farm.actors.snapshots import SnapshotFetcher
from farm.config import CollectorConfig
from farm.exchanges.rules import MarketRules, Rate
from farm.net.budget import Budget
from farm.net.rest import RestClient
from farm.net.tls import create_ssl_context
from farm.pipeline.environment import Environment
from farm.pipeline.line import Line

__all__ = ["Venues"]


class Venues:
    """Connects lines with their venues. REST clients are closed with `stack`."""

    def __init__(self, environment: Environment, stack: AsyncExitStack) -> None:
        self._environment = environment
        self._stack = stack
        self._budgets: dict[tuple[str, str], Budget] = {}
        self._fetchers: dict[str, SnapshotFetcher] = {}

    async def connect(self, line: Line, collector: CollectorConfig) -> ConnectionActor:
        """Give a line its connection actor."""
        rules, environment, endpoints = line.rules, self._environment, collector.endpoints
        ssl_context = _ssl_context(endpoints.ca_file)
        url = (endpoints.ws or rules.ws_url) + rules.ws_path
        wiring = Wiring(
            mailbox=line.inputs,
            commands=line.executed,
            connect_budget=self._budget("connect", url, rules.connect_rate),
            control_budget=_budget(f"{line.name} control", rules.control_rate),
            fetcher=await self._fetcher(endpoints.rest or rules.rest_url, rules, ssl_context),
            wall_clock=environment.wall_clock,
            ssl_context=ssl_context,
            open_stream=environment.open_stream,
        )
        line.connection = ConnectionActor(line.name, url, wiring, silence=rules.silence)
        line.counters = line.connection.counters
        return line.connection

    async def _fetcher(
        self, url: str, rules: MarketRules, ssl_context: ssl.SSLContext | None
    ) -> SnapshotFetcher | None:
        if not rules.snapshot_path:
            return None
        if url not in self._fetchers:
            client = RestClient(
                url,
                budget=self._budget("weight", url, rules.rest_rate),
                used_weight_header=rules.used_weight_header,
                ssl_context=ssl_context,
                network_backend=self._environment.network_backend,
            )
            await self._stack.enter_async_context(client)
            self._fetchers[url] = SnapshotFetcher(client)
        return self._fetchers[url]

    def _budget(self, what: str, url: str, rate: Rate) -> Budget:
        """The budget of a host, shared by everything that calls it."""
        key = (what, urlsplit(url).netloc)
        if key not in self._budgets:
            self._budgets[key] = _budget(" ".join(key), rate)
        return self._budgets[key]


def _budget(name: str, rate: Rate) -> Budget:
    return Budget(rate.limit, rate.period, name)


def _ssl_context(ca_file: Path | None) -> ssl.SSLContext | None:
    if ca_file is None:
        return None
    context = create_ssl_context()
    context.load_verify_locations(ca_file)
    return context

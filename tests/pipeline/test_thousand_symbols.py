"""A thousand symbols on each market: within every limit, which the fake exchanges enforce.

They cut off who sends too many messages, names too many streams, opens too many connections or
spends too much weight; here nobody is.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from farm import Farm, open_farm
from farm.exchanges.registry import rules_of
from farm.testing import FakeExchange, Push, open_fake
from farm.types import Exchange, Market
from tests.farms import MARKET_NAMES, collector, fake_of, market_of, until

COUNT = 1_000

# Nothing of which the venue promises messages: these markets are silent, and a machine that is slow
# enough would rightly find such streams dead. On USD-M and COIN-M aggregate trades take another
# route than trades.
STREAMS = {
    ("binance", "spot"): ["trade", "book"],
    ("binance", "usdm"): ["trade", "book", "agg_trade"],
    ("binance", "coinm"): ["trade", "book", "agg_trade"],
    ("bybit", "option"): ["book", "ticker"],
}
BYBIT_STREAMS = ["trade", "book:50", "kline:1m"]

# What 1,000 snapshots of which fit into the weight of a minute.
LEVELS = {Market.SPOT: 100, Market.USDM: 50, Market.COINM: 50}


def names(exchange: Exchange, market: Market) -> list[str]:
    """Symbols as the market spells them, of odd kinds among them."""
    if market is Market.OPTION:
        return [f"BTC-25JUN27-{10_000 + i * 500}-C-USDT" for i in range(COUNT)]
    tail = {Market.COINM: "USD_PERP", Market.INVERSE: "USD"}.get(market, "USDT")
    odd = ["T", "1000SATS", "0G", "1INCH"]
    if exchange is Exchange.BINANCE and market is not Market.COINM:
        odd.append("币安人生")
    return [f"{base}{tail}" for base in (*odd, *(f"C{i}X" for i in range(COUNT - len(odd))))]


def is_cut_off(fake: FakeExchange) -> bool:
    return fake.connections_refused > 0 or any(call.status != 200 for call in fake.rest_log)


@pytest.mark.parametrize("name", MARKET_NAMES)
async def test_a_thousand_symbols_are_subscribed_within_all_limits(name: str) -> None:
    exchange, market = market_of(name)
    symbols = names(exchange, market)
    rules = rules_of(exchange, market)
    streams = STREAMS.get((exchange.value, market.value), BYBIT_STREAMS)
    fake = fake_of(exchange, market, list[Push](), symbols=symbols, empty_books=True)
    async with open_fake(fake):
        one = collector(exchange.value, market.value, symbols, streams, fake)
        if exchange is Exchange.BINANCE:
            one["snapshot_levels"] = LEVELS[market]
        async with open_farm({"collectors": [one]}) as farm:
            await until(lambda: is_cut_off(fake) or all_acknowledged(farm))
            stats = farm.stats()
            carried = [len(connection.streams) for connection in fake.connections]
    assert not is_cut_off(fake)
    assert fake.connections_accepted == len(carried) == len(stats.connections)
    assert sum(carried) == COUNT * len(streams)
    assert max(carried) <= rules.streams_per_connection
    assert stats.totals.reconnects == stats.totals.gaps == stats.totals.quarantined == 0
    assert all(len(args) <= rules.topics_per_request for args in requests(fake))
    named = Counter(arg for args in requests(fake) for arg in args)
    assert len(named) == COUNT * len(streams)
    assert set(named.values()) == {1}  # nothing is asked for twice


def all_acknowledged(farm: Farm) -> bool:
    states = Counter(feed.state for feed in farm.stats().feeds if feed.state)
    return states.total() >= COUNT and states.keys() <= {"acknowledged", "live"}


def requests(fake: FakeExchange) -> list[list[str]]:
    """The names in each subscribe request."""
    found = []
    for message in fake.subscribe_log:
        text: dict[str, Any] = json.loads(message.text)
        if "SUBSCRIBE" in (text.get("method"), str(text.get("op")).upper()):
            found.append(text.get("params") or text.get("args") or [])
    return found

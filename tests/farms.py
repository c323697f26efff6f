"""Farms on fake exchanges: what the tests of the whole line share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import trio

from farm import Farm, FarmStats, FeedStats
from farm.exchanges.registry import MARKETS
from farm.testing import BINANCE_RULES, FakeBinance, FakeBybit, FakeExchange, Source
from farm.types import Exchange, Market

DEADLINE = 60.0  # seconds until a condition that should come true is given up


def collector(
    exchange: str, market: str, symbols: list[str], streams: list[str], fake: FakeExchange
) -> dict[str, Any]:
    return {
        "exchange": exchange,
        "market": market,
        "symbols": symbols,
        "streams": streams,
        "endpoints": {"ws": fake.ws_url, "rest": fake.rest_url},
    }


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition; trio.TooSlowError where it does not come true."""
    with trio.fail_after(DEADLINE):
        while not condition():  # noqa: ASYNC110 (nobody signals it)
            await trio.sleep(0.005)


def feed(stats: FarmStats, name: str) -> FeedStats:
    (found,) = [feed for feed in stats.feeds if feed.feed == name]
    return found


async def all_received(farm: Farm, fake: FakeExchange) -> None:
    """Wait until the farm has read every frame that the market sent, to its last one."""
    await fake.finished.wait()
    sent = sum(fake.sent.values())
    await until(lambda: sum(feed.events for feed in farm.stats().feeds) >= sent)


def fake_of(exchange: Exchange, market: Market, source: Source, **options: Any) -> FakeExchange:
    """The fake exchange of a market."""
    if exchange is Exchange.BINANCE:
        return FakeBinance(source, rules=BINANCE_RULES[market], **options)
    return FakeBybit(source, market, **options)


MARKET_NAMES = [f"{exchange.value}/{market.value}" for exchange, market in MARKETS]
"""``binance/spot`` and so on, all that farm speaks."""


def market_of(name: str) -> tuple[Exchange, Market]:
    exchange, market = name.split("/")
    return Exchange(exchange), Market(market)


SYMBOLS = {
    Market.SPOT: ["BTCUSDT", "ETHUSDT"],
    Market.USDM: ["BTCUSDT", "ETHUSDT"],
    Market.COINM: ["BTCUSD_PERP", "ETHUSD_PERP"],
    Market.LINEAR: ["BTCUSDT", "ETHUSDT"],
    Market.INVERSE: ["BTCUSD", "ETHUSD"],
    Market.OPTION: ["BTC-25JUN27-106000-C-USDT", "BTC-25JUN27-106000-P-USDT"],
}
"""Two symbols of each market."""

"""Which lists of instruments are asked for, and what of them is published."""

from __future__ import annotations

from typing import Any

from farm import Instrument, open_farm
from farm.testing import FakeExchange, MarketSimulator, Recorded, open_fake
from tests.farms import collector, fake_of, market_of, until


def live(name: str, symbols: list[str]) -> FakeExchange:
    exchange, market = market_of(name)
    source = MarketSimulator(exchange, market, symbols, seed=3, rate=60)
    return fake_of(exchange, market, source, pace=Recorded())


def listed(fake: FakeExchange) -> list[str]:
    """The requests for lists that it answered."""
    return [call.target for call in fake.rest_log if "nfo" in call.target.partition("?")[0]]


def config_of(name: str, symbols: list[str], fake: FakeExchange) -> dict[str, Any]:
    exchange, market = name.split("/")
    return {"collectors": [collector(exchange, market, symbols, ["trade"], fake)]}


async def test_only_the_terms_of_collected_symbols_are_published_each_once() -> None:
    symbols = ["BTCUSDT", "ETHUSDT", "SOLUSDT"]
    async with (
        open_fake(live("binance/spot", symbols)) as fake,
        open_farm(config_of("binance/spot", symbols[:2], fake)) as farm,
        farm.subscribe(Instrument) as batches,
    ):
        first = await batches.receive()
        await farm.add_symbols("SOLUSDT")
        second = await batches.receive()
        farm.stop()
        assert [batch async for batch in batches] == []
    assert [item.symbol for item in (*first, *second)] == symbols
    assert first.origins[0][0].connection == "binance/spot#instruments"


async def test_several_collectors_of_a_market_share_one_list() -> None:
    async with open_fake(live("binance/spot", ["BTCUSDT", "ETHUSDT"])) as fake:
        both = [
            collector("binance", "spot", [symbol], ["trade"], fake)
            for symbol in ("BTCUSDT", "ETHUSDT")
        ]
        async with open_farm({"collectors": both}) as farm:
            assert farm.instrument("ETHUSDT").symbol == "ETHUSDT"
        assert len(listed(fake)) == 1


async def test_another_server_without_rest_has_no_list_and_the_venue_is_not_asked_about_it() -> (
    None
):
    async with open_fake(live("bybit/linear", ["BTCUSDT"])) as fake:
        config = config_of("bybit/linear", ["BTCUSDT", "NOSUCHUSDT"], fake)
        del config["collectors"][0]["endpoints"]["rest"]
        async with open_farm(config) as farm:
            name = "bybit/linear/NOSUCHUSDT/trade"
            await until(lambda: {f.feed: f.state for f in farm.stats().feeds}.get(name) == "failed")
            assert farm._pipeline.listings is not None
            assert farm._pipeline.listings.watchers == []
        assert fake.rest_log == []


async def test_options_are_listed_by_the_coins_that_are_collected() -> None:
    symbols = ["BTC-25JUN27-106000-C-USDT", "ETH-25JUN27-4000-C-USDT"]
    async with open_fake(live("bybit/option", symbols)) as fake:
        async with open_farm(config_of("bybit/option", ["BTC-*", "ETH-*"], fake)) as farm:
            assert farm.instrument(symbols[1]).base == "ETH"
            assert farm.instrument(symbols[0]).base == "BTC"
        coins = {target.partition("baseCoin=")[2].partition("&")[0] for target in listed(fake)}
    assert coins == {"BTC", "ETH"}


async def test_a_venue_whose_list_cannot_be_had_costs_the_start_its_patience_alone() -> None:
    async with open_fake(live("binance/spot", ["BTCUSDT"])) as fake:
        fake._rest.stop()
        config = config_of("binance/spot", ["BTCUSDT"], fake)
        config["instruments"] = {"start_seconds": 0.1}
        async with open_farm(config) as farm:
            await until(
                lambda: {f.state for f in farm.stats().feeds} == {"live"}
            )  # trades come all the same

from __future__ import annotations

import os
from typing import Any

import pytest

from farm import open_farm
from farm.config import load_config
from farm.exchanges.registry import MARKETS
from farm.pipeline import forecast
from farm.pipeline.forecast import connections_of, processes_for, usable_cores
from farm.testing import Push, open_fake
from farm.types import Exchange, Market
from tests.farms import fake_of

SYMBOLS = [f"C{i}USDT" for i in range(450)]


def config_of(market: str, symbols: list[str], streams: list[str], **changes: Any) -> Any:
    exchange, name = market.split("/")
    one = {"exchange": exchange, "market": name, "symbols": symbols, "streams": streams}
    return {"collectors": [one | changes]}


@pytest.mark.parametrize(
    ("config", "connections"),
    [
        (config_of("binance/spot", ["BTCUSDT"], ["trade", "quote", "book"]), 1),
        (config_of("binance/usdm", ["BTCUSDT"], ["trade", "mark_price"]), 2),  # two routes
        (config_of("binance/usdm", ["BTCUSDT"], ["trade", "open_interest"]), 2),  # one is polled
        (config_of("binance/usdm", SYMBOLS, ["trade"]), 3),
        (config_of("binance/usdm", SYMBOLS, ["trade"], lanes=2), 3),  # lanes stay together
        (config_of("binance/usdm", [], ["trade"], market_streams=["ticker"]), 1),
        (config_of("binance/usdm", ["BTCUSDT", "*USDC"], ["trade"]), None),
    ],
)
def test_connections_are_counted_before_there_are_any(
    config: dict[str, Any], connections: int | None
) -> None:
    assert connections_of(load_config(config)) == connections


async def test_what_is_forecast_is_what_is_opened() -> None:
    fake = fake_of(Exchange.BINANCE, Market.USDM, list[Push](), symbols=SYMBOLS, empty_books=True)
    async with open_fake(fake):
        endpoints = {"ws": fake.ws_url, "rest": fake.rest_url}
        config = config_of("binance/usdm", SYMBOLS, ["trade", "mark_price"], endpoints=endpoints)
        for shard in ({}, {"shard": "2/8"}):
            loaded = load_config(config | shard)
            async with open_farm(loaded) as farm:
                assert len(farm.stats().connections) == connections_of(loaded)


def test_a_share_has_fewer_connections() -> None:
    config = config_of("binance/usdm", SYMBOLS, ["trade"])
    assert connections_of(load_config(config | {"shard": "2/8"})) == 1
    one = config_of("binance/usdm", SYMBOLS[:1], ["trade"])
    halves = [connections_of(load_config(one | {"shard": shard})) for shard in ("1/2", "2/2")]
    assert sorted(halves, key=str) == [0, 1]


@pytest.mark.parametrize(
    ("symbols", "cores", "processes"),
    [
        (SYMBOLS, 2, 2),
        (SYMBOLS, 8, 3),
        (["BTCUSDT"], 8, 1),
        (["*USDT"], 8, 8),
    ],
)
def test_one_process_for_each_core_but_none_without_a_connection(
    symbols: list[str], cores: int, processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forecast, "usable_cores", lambda: cores)
    assert processes_for(load_config(config_of("binance/usdm", symbols, ["trade"]))) == processes


def test_a_share_of_nothing_is_a_process_all_the_same() -> None:
    one = config_of("binance/usdm", SYMBOLS[:1], ["trade"])
    assert [processes_for(load_config(one | {"shard": s})) for s in ("1/2", "2/2")] == [1, 1]


def test_elsewhere_all_runs_in_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    config = load_config(config_of("binance/usdm", SYMBOLS, ["trade"]))
    monkeypatch.setattr(forecast, "usable_cores", lambda: 8)
    monkeypatch.setattr(forecast.os, "name", "nt")
    assert processes_for(config) == 1


def test_cores_are_those_that_the_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1, 5}, raising=False)
    assert usable_cores() == 2
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert usable_cores() == 6
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert usable_cores() == 1


@pytest.mark.parametrize(("exchange", "market"), MARKETS)
def test_a_symbol_of_every_market(exchange: Exchange, market: Market) -> None:
    config = config_of(f"{exchange.value}/{market.value}", ["BTCUSDT"], ["trade"])
    assert connections_of(load_config(config)) == 1

"""Connections to the fake Binance that count microseconds."""

from __future__ import annotations

import json
from typing import Any

from farm.testing import (
    FakeBinance,
    Flood,
    MarketSimulator,
    open_fake,
)
from farm.types import Exchange, Market
from tests.testing.clients import (
    ask,
    open_ws,
    texts,
)
from tests.testing.clients import text as text_of


def simulator(seconds: float | None = 20, **options: Any) -> MarketSimulator:
    return MarketSimulator(Exchange.BINANCE, Market.SPOT, ["BTCUSDT"], seconds=seconds, **options)


async def test_a_connection_may_count_microseconds() -> None:
    kinds = ("trade", "kline_1s", "ticker", "depth@100ms", "bookTicker")
    streams = "/".join(f"btcusdt@{kind}" for kind in kinds)
    fake = FakeBinance(simulator(5), pace=Flood(start_after={"btcusdt@aggTrade"}))
    async with (
        open_fake(fake),
        open_ws(f"{fake.ws_url}/stream?streams={streams}&timeUnit=MICROSECOND") as fine,
        open_ws(f"{fake.ws_url}/stream?timeUnit=MILLISECOND&streams={streams}") as usual,
        open_ws(f"{fake.ws_url}/ws/btcusdt@aggTrade?timeUnit=MICROSECOND") as raw,
    ):
        await fake.finished.wait()
        total = sum(fake.sent[f"btcusdt@{kind}"] for kind in kinds) // 2
        pairs = zip(await texts(fine, total), await texts(usual, total), strict=True)
        seen = {compare_units(json.loads(one), json.loads(other)) for one, other in pairs}
        aggregate = json.loads(await text_of(raw))
    assert seen == {f"btcusdt@{kind}" for kind in kinds}
    assert len(str(aggregate["E"])) == len(str(aggregate["T"])) == 16
    assert aggregate["a"] < 10**13


def compare_units(fine: Any, usual: Any) -> str:
    """The stream of two messages that differ in their times alone, and by their digits."""
    stream: str = usual["stream"]
    assert fine["stream"] == stream
    one, other = fine["data"], usual["data"]
    times = {"E", "T", "O", "C"}
    if "k" in other:
        for key in ("t", "T"):
            assert one["k"].pop(key) // 1000 == other["k"].pop(key)
        times -= {"T"}
    for key in times & set(other):
        assert len(str(one[key])) == 16
        assert one.pop(key) // 1000 == other.pop(key)
    assert one == other
    return stream


async def test_a_subscription_on_a_connection_in_microseconds_is_in_them_too() -> None:
    async with (
        open_fake(FakeBinance(simulator(5), pace=Flood())) as fake,
        open_ws(fake.ws_url + "/ws?timeUnit=MICROSECOND") as ws,
    ):
        await ask(ws, {"method": "SUBSCRIBE", "params": ["btcusdt@trade"], "id": 1})
        assert len(str(json.loads(await text_of(ws))["T"])) == 16

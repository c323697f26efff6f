"""Fakes of symbols with odd names, and of very many."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio

from farm.testing import (
    BINANCE_COINM,
    BINANCE_SPOT,
    BINANCE_USDM,
    BinanceRules,
    FakeBinance,
    FakeBybit,
    FakeExchange,
    Flood,
    MarketSimulator,
    Push,
    depth_reply,
    open_fake,
)
from farm.types import Exchange, Market
from tests.testing.clients import PATIENCE, ask, get, open_ws, texts
from tests.testing.clients import text as text_of

NEVER = Flood(start_after=10_000)
NAMES = ["AUSDT", "币安人生USDT", "1000SATSUSDT", "TUSDT"]


async def finish(fake: FakeExchange) -> None:
    with trio.fail_after(PATIENCE):
        await fake.finished.wait()


async def symbols_of(fake: FakeExchange, path: str) -> list[tuple[str, str]]:
    rows = (await get(fake.rest_url + path)).json()["symbols"]
    return [(row["symbol"], row.get("contractStatus") or row["status"]) for row in rows]


MARKETS: list[tuple[Any, Market, list[str]]] = [
    (BINANCE_SPOT, Market.SPOT, NAMES),
    (BINANCE_USDM, Market.USDM, NAMES),
    (BINANCE_COINM, Market.COINM, ["1000XUSD_PERP", "TUSD_PERP", "币USD_PERP"]),
]


@pytest.mark.parametrize(("rules", "market", "symbols"), MARKETS, ids=lambda v: str(v)[:20])
async def test_odd_names_work_on_binance(
    rules: BinanceRules, market: Market, symbols: list[str]
) -> None:
    source = MarketSimulator(Exchange.BINANCE, market, symbols, rate=50, seconds=4)
    fake = FakeBinance(source, rules=rules, pace=Flood(start_after=len(symbols)))
    quoted = [symbol.lower().encode() for symbol in symbols]
    streams = [b"".join(b"%%%02X" % byte for byte in name) + b"@depth@100ms" for name in quoted]
    url = "/stream?streams=" + b"/".join(streams).decode()
    async with open_fake(fake), open_ws(fake.ws_url + url) as ws:
        heard = {json.loads(text)["data"]["s"] for text in await texts(ws, 60)}
        info = await symbols_of(fake, f"{rules.rest_prefix}/exchangeInfo")
        for symbol in symbols:
            quoted_symbol = "".join(f"%{byte:02x}" for byte in symbol.encode())
            path = f"{rules.rest_prefix}/depth?limit=1000&symbol={quoted_symbol}"
            answer = await get(fake.rest_url + path)
            assert len(answer.json()["bids"]) > 50
    assert heard == set(symbols) == {symbol for symbol, _ in info}


@pytest.mark.parametrize("market", [Market.SPOT, Market.LINEAR, Market.INVERSE])
async def test_odd_names_work_on_bybit(market: Market) -> None:
    symbols = ["1000XUSD", "TUSD", "币USD"] if market is Market.INVERSE else NAMES
    source = MarketSimulator(Exchange.BYBIT, market, symbols, rate=50, seconds=4)
    fake = FakeBybit(source, market, pace=Flood(start_after=len(symbols)))
    async with open_fake(fake), open_ws(f"{fake.ws_url}/v5/public/{market.value}") as ws:
        topics = [f"orderbook.50.{symbol}" for symbol in symbols]
        await ask(ws, {"op": "subscribe", "args": topics})
        found = [json.loads(text) for text in await texts(ws, 60)]
        url = f"{fake.rest_url}/v5/market/instruments-info?category={market.value}"
        rows = (await get(url)).json()["result"]["list"]
    assert [message["type"] for message in found[: len(symbols)]] == ["snapshot"] * len(symbols)
    assert {message["data"]["s"] for message in found} == set(symbols)
    assert [row["symbol"] for row in rows] == symbols


THOUSAND = [f"COIN{number}USDT" for number in range(1_000)]


@pytest.mark.parametrize("rules", [BINANCE_SPOT, BINANCE_USDM], ids=["spot", "usdm"])
async def test_a_thousand_symbols_without_a_market_are_listed_and_have_empty_books(
    rules: BinanceRules,
) -> None:
    fake = FakeBinance([], rules=rules, symbols=THOUSAND, empty_books=True)
    async with open_fake(fake):
        listed = await symbols_of(fake, f"{rules.rest_prefix}/exchangeInfo")
        assert sorted(listed) == sorted((symbol, "TRADING") for symbol in THOUSAND)
        for symbol in (THOUSAND[0], THOUSAND[-1]):
            path = f"{rules.rest_prefix}/depth?symbol={symbol}&limit=100"
            depth = (await get(fake.rest_url + path)).json()
            assert (depth["lastUpdateId"], depth["bids"], depth["asks"]) == (1, [], [])
            assert ("E" in depth) is (rules is BINANCE_USDM)
            assert depth.get("E", 1) > 0


async def test_an_empty_book_fills_with_diffs_and_gives_way_to_a_snapshot() -> None:
    source = [
        Push(1, "ausdt@depth", '{"e":"depthUpdate","U":8,"u":9,"b":[["1","2"]],"a":[]}'),
        Push(2, depth_reply("BUSDT"), '{"lastUpdateId":5,"bids":[["3","4"]],"asks":[]}', True),
    ]
    fake = FakeBinance(source, empty_books=True, pace=Flood(start_after=1))
    async with open_fake(fake), open_ws(fake.ws_url + "/ws/ausdt@depth"):
        await finish(fake)
        books = [
            (await get(f"{fake.rest_url}/api/v3/depth?symbol={symbol}")).json()
            for symbol in ("AUSDT", "BUSDT", "CUSDT")
        ]
    assert [(book["lastUpdateId"], book["bids"]) for book in books] == [
        (9, [["1", "2"]]), (5, [["3", "4"]]), (1, [])
    ]  # fmt: skip


async def test_empty_books_on_bybit_start_with_an_empty_snapshot() -> None:
    topics = ["orderbook.50.COIN1USDT", "publicTrade.COIN1USDT"]
    for empty, first in ((True, "snapshot"), (False, None)):
        fake = FakeBybit([], symbols=THOUSAND, empty_books=empty, pace=NEVER)
        async with open_fake(fake), open_ws(fake.ws_url + "/v5/public/linear") as ws:
            await ask(ws, {"op": "subscribe", "args": topics})
            fake.inject(None, '{"type":null}')
            message = json.loads(await text_of(ws))
            assert message["type"] == first
            if empty:
                assert (message["data"]["b"], message["data"]["a"]) == ([], [])

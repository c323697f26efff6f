"""The fake Binance as USD-M and COIN-M: routes, books and what both share."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import attrs
import pytest
import trio

from farm.testing import (
    BINANCE_COINM,
    BINANCE_USDM,
    BinanceRules,
    FakeBinance,
    Flood,
    MarketSimulator,
    Source,
    WeightWindow,
    open_fake,
)
from farm.types import Exchange, Market
from tests.testing.clients import PATIENCE, PlainBook, ask, closed_with, get, open_ws, texts
from tests.testing.clients import text as text_of

NEVER = Flood(start_after=10_000)
SYMBOLS = {Market.USDM: "BTCUSDT", Market.COINM: "BTCUSD_PERP"}
BOTH = pytest.mark.parametrize("rules", [BINANCE_USDM, BINANCE_COINM], ids=["usdm", "coinm"])


def simulator(rules: BinanceRules, seconds: float | None = 20, **more: Any) -> MarketSimulator:
    symbols = [SYMBOLS[rules.market]]
    return MarketSimulator(Exchange.BINANCE, rules.market, symbols, seconds=seconds, **more)


# --- routes --------------------------------------------------------------------------------------

PUBLIC = ("btcusdt@trade", "btcusdt@bookTicker", "btcusdt@depth@100ms", "btcusdt@depth5")
MARKET = ("btcusdt@aggTrade", "btcusdt@markPrice@1s", "btcusdt@kline_1m", "!ticker@arr")


@pytest.mark.parametrize("form", ["/stream?streams=", "/ws/"])
@pytest.mark.parametrize(
    ("route", "carried"),
    [("/public", PUBLIC), ("/market", MARKET), ("", PUBLIC), ("/private", ())],
)
async def test_a_route_delivers_its_own_streams_and_is_mute_about_the_others(
    form: str, route: str, carried: Sequence[str]
) -> None:
    everything = [*PUBLIC, *MARKET]
    fake = FakeBinance(simulator(BINANCE_USDM, 5), rules=BINANCE_USDM, pace=Flood(8))
    async with open_fake(fake), open_ws(fake.ws_url + route + form + "/".join(everything)) as ws:
        with trio.fail_after(PATIENCE):
            await fake.finished.wait()
        heard = await texts(ws, fake.sent.total())
        reply = json.loads(await ask(ws, {"method": "LIST_SUBSCRIPTIONS", "id": 1}))
        assert reply == {"result": everything, "id": 1}
    assert set(fake.sent) == set(carried)
    assert len(heard) == fake.sent.total()
    if form.startswith("/stream") and carried:
        assert {json.loads(text)["stream"] for text in heard} == set(carried)


async def test_a_wrong_route_is_acknowledged_and_the_right_one_speaks() -> None:
    fake = FakeBinance(simulator(BINANCE_USDM), rules=BINANCE_USDM, pace=Flood())
    request = {"method": "SUBSCRIBE", "params": ["btcusdt@aggTrade"], "id": 1}
    async with (
        open_fake(fake),
        open_ws(fake.ws_url + "/public/ws") as wrong,
        open_ws(fake.ws_url + "/market/ws") as right,
    ):
        assert await ask(wrong, request) == '{"result":null,"id":1}'
        assert json.loads(await ask(right, request)) == {"result": None, "id": 1}
        assert json.loads(await text_of(right))["e"] == "aggTrade"
        assert fake.connections[0].mute == {"btcusdt@aggTrade"}
        gone = {"method": "UNSUBSCRIBE", "params": ["btcusdt@aggTrade"], "id": 2}
        assert await ask(wrong, gone) == '{"result":null,"id":2}'
        assert fake.connections[0].mute == set()


async def test_coinm_has_one_address_for_everything() -> None:
    names = ["btcusd_perp@trade", "btcusd_perp@aggTrade", "!markPrice@arr@1s"]
    fake = FakeBinance(simulator(BINANCE_COINM, 10), rules=BINANCE_COINM, pace=Flood(3))
    async with open_fake(fake), open_ws(fake.ws_url + "/stream?streams=" + "/".join(names)):
        with trio.fail_after(PATIENCE):
            await fake.finished.wait()
    assert set(fake.sent) == set(names)


# --- limits --------------------------------------------------------------------------------------


@BOTH
async def test_two_hundred_streams_a_connection(rules: BinanceRules) -> None:
    fake = FakeBinance(simulator(rules), rules=rules, pace=NEVER)
    async with open_fake(fake), open_ws(fake.ws_url + "/ws") as ws:
        names = [f"{number}@trade" for number in range(201)]
        more = {"method": "SUBSCRIBE", "params": names, "id": 1}
        assert json.loads(await ask(ws, more))["code"] == 2
        fits = {"method": "SUBSCRIBE", "params": names[:200], "id": 1}
        assert json.loads(await ask(ws, fits)) == {"result": None, "id": 1}


@BOTH
async def test_the_eleventh_message_in_a_second_is_one_too_many(rules: BinanceRules) -> None:
    fake = FakeBinance(simulator(rules), rules=rules, pace=NEVER)
    async with open_fake(fake), open_ws(fake.ws_url + "/ws") as ws:
        for number in range(11):
            await ws.send_message(json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": number}))
        assert await closed_with(ws) == (1008, "Too many requests")
    assert len(fake.subscribe_log) == 10


async def test_usdm_and_coinm_spend_from_one_budget() -> None:
    weights = WeightWindow(30)
    usdm = FakeBinance(simulator(BINANCE_USDM), rules=BINANCE_USDM, pace=NEVER, weights=weights)
    coinm = FakeBinance(simulator(BINANCE_COINM), rules=BINANCE_COINM, pace=NEVER, weights=weights)
    async with open_fake(usdm), open_fake(coinm):
        one = await get(usdm.rest_url + "/fapi/v1/depth?symbol=BTCUSDT&limit=1000")
        assert (one.status, one.headers["x-mbx-used-weight-1m"]) == (200, "20")
        other = await get(coinm.rest_url + "/dapi/v1/exchangeInfo")
        assert (other.status, other.headers["x-mbx-used-weight-1m"]) == (200, "21")
        depth = coinm.rest_url + "/dapi/v1/depth?symbol=BTCUSD_PERP&limit=500"
        assert (await get(depth)).status == 429
        assert (await get(usdm.rest_url + "/fapi/v1/ping")).status == 418
    assert [call.status for call in coinm.rest_log] == [200, 429]


async def test_who_calls_on_after_429_is_banned_with_418() -> None:
    rules = attrs.evolve(BINANCE_USDM, weight_per_minute=1)
    async with open_fake(FakeBinance(simulator(rules), rules=rules, pace=NEVER)) as fake:
        statuses = [await get(fake.rest_url + "/fapi/v1/ping") for _ in range(4)]
        assert [answer.status for answer in statuses] == [200, 429, 418, 418]
        waits = [int(answer.headers["retry-after"]) for answer in statuses[1:]]
        assert 1 <= waits[0] <= 60 < waits[1] <= 120
        assert {answer.json()["code"] for answer in statuses[1:]} == {-1003}


# --- REST ----------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(("limit", "weight"), [(5, 2), (50, 2), (100, 5), (500, 10), (1000, 20)])
async def test_depth_is_timed_and_weighed(rules: BinanceRules, limit: int, weight: int) -> None:
    symbol = SYMBOLS[rules.market]
    async with open_fake(FakeBinance(simulator(rules), rules=rules, pace=NEVER)) as fake:
        url = f"{fake.rest_url}{rules.rest_prefix}/depth?symbol={symbol}&limit={limit}"
        answer = await get(url)
        depth = answer.json()
        assert answer.headers["x-mbx-used-weight-1m"] == str(weight)
        named = {"symbol": "BTCUSD_PERP", "pair": "BTCUSD"}
        names = list(named) if rules.market is Market.COINM else []
        assert list(depth) == ["lastUpdateId", "E", "T", *names, "bids", "asks"]
        assert {key: depth[key] for key in names} == ({} if not names else named)
        assert depth["E"] == depth["T"] == 1_786_320_000_000
        assert len(depth["bids"]) == min(limit, 300)
        for wrong in ("limit=7", "limit=5000"):
            answer = await get(f"{fake.rest_url}{rules.rest_prefix}/depth?symbol={symbol}&{wrong}")
            assert (answer.status, answer.json()["code"]) == (400, -4021)


@BOTH
async def test_open_interest(rules: BinanceRules) -> None:
    symbol = SYMBOLS[rules.market]
    path = f"{rules.rest_prefix}/openInterest?symbol="
    sources: list[Source] = [simulator(rules), []]
    for source in sources:
        fake = FakeBinance(source, rules=rules, symbols=[symbol], pace=NEVER)
        async with open_fake(fake):
            answer = await get(fake.rest_url + path + symbol)
            assert answer.headers["x-mbx-used-weight-1m"] == "1"
            found = answer.json()
            keys = ["symbol", "openInterest", "time"]
            if rules.market is Market.COINM:
                keys = ["symbol", "pair", "openInterest", "contractType", "time"]
                assert (found["pair"], found["contractType"]) == ("BTCUSD", "PERPETUAL")
            assert list(found) == keys
            assert float(found["openInterest"]) > 0
            assert (await get(fake.rest_url + path + "NOPE")).json()["code"] == -1121
            assert (await get(fake.rest_url + path)).json()["code"] == -1102


async def test_spot_has_no_open_interest() -> None:
    async with open_fake(FakeBinance([], symbols=["BTCUSDT"], pace=NEVER)) as fake:
        url = fake.rest_url + "/api/v3/openInterest?symbol=BTCUSDT"
        assert (await get(url)).status == 404


# --- books ---------------------------------------------------------------------------------------


def join(snapshot: Any, diffs: list[Any]) -> tuple[PlainBook, list[str]]:
    """The venue's procedure: where each diff goes ("old", "first", "next")."""
    book, went = PlainBook(), []
    book.change(snapshot["bids"], snapshot["asks"])
    last, joined = snapshot["lastUpdateId"], False
    for diff in diffs:
        if not joined and diff["u"] < last:
            went.append("old")
            continue
        if joined:
            assert diff["pu"] == last
        else:
            assert diff["U"] <= last <= diff["u"] or diff["pu"] == last
        went.append("next" if joined else "first")
        joined, last = True, diff["u"]
        book.change(diff["b"], diff["a"])
    return book, went


@BOTH
@pytest.mark.parametrize("speed", ["@100ms", "", "@500ms"])
async def test_a_snapshot_at_any_moment_joins_the_diffs_of_any_speed(
    rules: BinanceRules, speed: str
) -> None:
    symbol = SYMBOLS[rules.market]
    fake = FakeBinance(simulator(rules, 60), rules=rules, pace=Flood(outbox_limit=1))
    url = f"{rules.rest_prefix}/depth?symbol={symbol}&limit=1000"
    async with open_fake(fake):
        snapshots = [(await get(fake.rest_url + url)).json()]
        async with open_ws(fake.ws_url + f"/ws/{symbol.lower()}@depth{speed}") as ws:
            diffs: list[Any] = []
            for _ in range(4):
                diffs += map(json.loads, await texts(ws, 20))
                snapshots.append((await get(fake.rest_url + url)).json())
            diffs += map(json.loads, await texts(ws, 20))
    joined = [join(snapshot, diffs) for snapshot in snapshots]
    assert len({snapshot["lastUpdateId"] for snapshot in snapshots}) == 5
    assert all(book == joined[0][0] for book, _ in joined)
    assert all("first" in went for _, went in joined)

"""Who gets which push: filters, symbols that come and go, old connections."""

from __future__ import annotations

import json

import attrs
import pytest
import trio

from farm.testing import (
    BINANCE_COINM,
    BINANCE_SPOT,
    BINANCE_USDM,
    BYBIT_RULES,
    BinanceRules,
    FakeBinance,
    FakeBybit,
    FakeExchange,
    Flood,
    MarketSimulator,
    Push,
    RecordingSource,
    open_fake,
)
from farm.testing.connection import Connection
from farm.types import Exchange, Market
from tests.recordings import recording
from tests.testing.clients import PATIENCE, ask, get, open_ws, read_to_end, shake_hands, texts
from tests.testing.clients import text as text_of

NEVER = Flood(start_after=10_000)


def spot(symbols: list[str], seconds: float | None = 5) -> MarketSimulator:
    return MarketSimulator(Exchange.BINANCE, Market.SPOT, symbols, seconds=seconds, rate=50)


async def finish(fake: FakeExchange) -> None:
    with trio.fail_after(PATIENCE):
        await fake.finished.wait()


# --- filters -------------------------------------------------------------------------------------


async def test_a_filter_decides_for_each_connection_and_may_change() -> None:
    def even_for_the_second(connection: Connection, push: Push) -> bool:
        return connection.name == "c1" or int(push.text) % 2 == 0

    pushes = [Push(number, "x@trade", str(number)) for number in range(10)]
    pushes.append(Push(10, "y@trade", "10"))
    fake = FakeBinance(pushes, pace=Flood(start_after={"y@trade"}), filter=even_for_the_second)
    url = "/stream?streams=x@trade"
    async with (
        open_fake(fake),
        open_ws(fake.ws_url + url) as one,
        open_ws(fake.ws_url + url) as two,
    ):
        assert [connection.target for connection in fake.connections] == [url, url]
        async with open_ws(fake.ws_url + "/ws/y@trade"):
            assert [json.loads(text)["data"] for text in await texts(one, 10)] == list(range(10))
            assert [json.loads(text)["data"] for text in await texts(two, 5)] == [0, 2, 4, 6, 8]
            await finish(fake)
        fake.filter = None
        fake.deliver(Push(11, "x@trade", "11"), 1 << 20)
        assert json.loads(await text_of(two))["data"] == 11
    assert fake.sent["x@trade"] == 17


async def test_a_filter_holds_the_first_snapshot_of_a_topic_back_too() -> None:
    source = MarketSimulator(Exchange.BYBIT, Market.LINEAR, ["BTCUSDT"], seconds=2)
    topic = "orderbook.50.BTCUSDT"
    fake = FakeBybit(source, pace=Flood(start_after=2), filter=lambda _, push: push.stream != topic)
    async with open_fake(fake), open_ws(fake.ws_url + "/v5/public/linear") as ws:
        reply = await ask(ws, {"op": "subscribe", "args": [topic, "publicTrade.BTCUSDT"]})
        assert json.loads(reply)["success"] is True
        await finish(fake)
    assert set(fake.sent) == {"publicTrade.BTCUSDT"}


# --- age -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("venue", [Exchange.BINANCE, Exchange.BYBIT])
async def test_a_connection_that_is_too_old_is_cut(venue: Exchange) -> None:
    fake: FakeExchange
    if venue is Exchange.BINANCE:
        rules = attrs.evolve(BINANCE_SPOT, max_age=0.05)
        fake, path = FakeBinance([], rules=rules, pace=NEVER), "/ws"
    else:
        bybit = attrs.evolve(BYBIT_RULES[Market.SPOT], max_age=0.05)
        fake, path = FakeBybit([], rules=bybit, pace=NEVER), "/v5/public/spot"
    async with open_fake(fake):
        stream, head = await shake_hands(fake.ws_url + path)
        assert head.startswith(b"HTTP/1.1 101")
        async with stream:
            assert await read_to_end(stream) == b""
        async with open_ws(fake.ws_url + path):
            assert len(fake.connections) == 1


# --- the end of a server -------------------------------------------------------------------------


async def test_a_shutdown_is_announced_to_everyone_in_the_form_of_the_connection() -> None:
    start = 1_786_320_000_123_456_789
    market = MarketSimulator(Exchange.BINANCE, Market.SPOT, ["BTCUSDT"], start=start)
    async with (
        open_fake(FakeBinance(market, pace=NEVER)) as fake,
        open_ws(fake.ws_url + "/ws") as raw,
        open_ws(fake.ws_url + "/stream") as combined,
        open_ws(fake.ws_url + "/stream?timeUnit=MICROSECOND") as fine,
    ):
        fake.announce_shutdown()
        notice = '{"e":"serverShutdown","E":1786320000123}'
        wrapped = f'{{"stream":"!serverShutdown","data":{notice}}}'
        assert await text_of(raw) == notice
        assert await text_of(combined) == wrapped
        assert await text_of(fine) == wrapped.replace("0123}", "0123456}")
        assert len(fake.connections) == 3


# --- symbols that come and go --------------------------------------------------------------------


async def symbols_of(fake: FakeExchange, path: str) -> list[tuple[str, str]]:
    rows = (await get(fake.rest_url + path)).json()["symbols"]
    return [(row["symbol"], row.get("contractStatus") or row["status"]) for row in rows]


async def test_a_symbol_is_silent_until_it_is_listed_and_after_it_is_delisted() -> None:
    fake = FakeBinance(spot(["AUSDT", "BUSDT"], None), symbols=["AUSDT"], pace=Flood(1, 1))
    info, depth = "/api/v3/exchangeInfo", "/api/v3/depth?symbol=BUSDT"
    url = "/stream?streams=ausdt@trade/busdt@trade/!miniTicker@arr"

    async def heard(count: int = 60) -> set[str]:
        """Symbols in the next messages."""
        found = [json.loads(text)["data"] for text in await texts(ws, count)]
        rows = [row for data in found for row in (data if isinstance(data, list) else [data])]
        return {row["s"] for row in rows}

    async with open_fake(fake), open_ws(fake.ws_url + url) as ws:
        assert await heard() == {"AUSDT"}
        assert await symbols_of(fake, info) == [("AUSDT", "TRADING")]
        assert (await get(fake.rest_url + depth)).json()["code"] == -1121
        fake.list_symbol("BUSDT")
        await heard(5)  # what was on its way
        assert await heard() == {"AUSDT", "BUSDT"}
        assert await symbols_of(fake, info) == [("AUSDT", "TRADING"), ("BUSDT", "TRADING")]
        assert (await get(fake.rest_url + depth)).status == 200
        fake.delist_symbol("AUSDT", status="BREAK")
        await heard(5)
        assert await heard() == {"BUSDT"}
        assert await symbols_of(fake, info) == [("AUSDT", "BREAK"), ("BUSDT", "TRADING")]
        [connection] = fake.connections
        assert list(connection.streams) == url.partition("=")[2].split("/")


@pytest.mark.parametrize(
    ("rules", "symbol", "stream"),
    [
        (BINANCE_USDM, "ETHUSDT", "/market/stream?streams=!contractInfo"),
        (BINANCE_COINM, "ETHUSD_PERP", "/stream?streams=!contractInfo"),
    ],
)
async def test_futures_tell_of_listed_and_delisted_contracts(
    rules: BinanceRules, symbol: str, stream: str
) -> None:
    fake = FakeBinance([], rules=rules, symbols=["BTCUSDT"], pace=NEVER)
    path = f"{rules.rest_prefix}/exchangeInfo"
    async with open_fake(fake), open_ws(fake.ws_url + stream) as ws:
        fake.list_symbol(symbol)
        told = [json.loads(await text_of(ws))]
        assert (symbol, "TRADING") in await symbols_of(fake, path)
        fake.delist_symbol(symbol)
        told.append(json.loads(await text_of(ws)))
        assert [name for name, _ in await symbols_of(fake, path)] == ["BTCUSDT"]
    assert [message["stream"] for message in told] == ["!contractInfo"] * 2
    rows = [(row["e"], row["s"], row["cs"]) for row in (message["data"] for message in told)]
    assert rows == [
        ("contractInfo", symbol, "TRADING"),
        ("contractInfo", symbol, "SETTLING"),
    ]
    assert fake.sent["!contractInfo"] == 2


async def test_spot_tells_nobody_of_its_list() -> None:
    fake = FakeBinance([], symbols=["BTCUSDT"], pace=NEVER)
    async with open_fake(fake), open_ws(fake.ws_url + "/ws/!contractInfo") as ws:
        fake.list_symbol("ETHUSDT")
        fake.delist_symbol("ETHUSDT")
        assert json.loads(await ask(ws, {"method": "LIST_SUBSCRIPTIONS", "id": 1}))["id"] == 1
    assert fake.sent.total() == 0


async def test_a_continuous_candle_ends_with_its_contract() -> None:
    source = MarketSimulator(Exchange.BINANCE, Market.USDM, ["BTCUSDT"], seconds=5)
    fake = FakeBinance(source, rules=BINANCE_USDM, pace=Flood(1))
    url = "/market/stream?streams=btcusdt_perpetual@continuousKline_1m/!markPrice@arr@1s"
    fake.delist_symbol("BTCUSDT")
    async with open_fake(fake), open_ws(fake.ws_url + url) as ws:
        await finish(fake)
        rows = json.loads(await text_of(ws))["data"]
    assert [row["st"] for row in rows] == [2]
    assert set(fake.sent) == {"!markPrice@arr@1s"}


@pytest.mark.parametrize(
    ("name", "rules"),
    [
        ("session_binance_spot_20211012.jsonl.gz", BINANCE_SPOT),
        ("session_binance_coinm_20210722.jsonl.gz", BINANCE_COINM),
    ],
)
async def test_a_recorded_list_changes_with_the_symbols(name: str, rules: BinanceRules) -> None:
    source = RecordingSource(recording(name))
    known = sorted(source.symbols)
    path = f"{rules.rest_prefix}/exchangeInfo"
    async with open_fake(FakeBinance(source, rules=rules, pace=NEVER)) as fake:
        before = await symbols_of(fake, path)
        fake.delist_symbol(known[0], status="BREAK")
        fake.delist_symbol(known[1])
        fake.list_symbol("NEWUSD_PERP")
        after = await symbols_of(fake, path)
    gone = [row for row in before if row not in after]
    assert sorted(symbol for symbol, _ in gone) == known[:2]
    assert [row for row in after if row not in before] == [
        (known[0], "BREAK"), ("NEWUSD_PERP", "TRADING")
    ]  # fmt: skip


async def test_a_delisted_symbol_has_no_topics_and_ends_its_full_book() -> None:
    source = MarketSimulator(Exchange.BYBIT, Market.SPOT, ["AUSDT", "BUSDT"], seconds=5)
    fake = FakeBybit(source, Market.SPOT, pace=NEVER)
    async with open_fake(fake), open_ws(fake.ws_url + "/v5/public/spot") as ws:
        topics = ["orderbook.full.AUSDT", "tickers.BUSDT"]
        await ask(ws, {"op": "subscribe", "args": topics})
        assert json.loads(await text_of(ws))["topic"] == "tickers.BUSDT"
        fake.delist_symbol("AUSDT")
        end = json.loads(await text_of(ws))
        assert (end["topic"], end["type"]) == ("orderbook.full.AUSDT", "delta")
        assert end["data"] == {"s": "AUSDT", "b": [], "a": [], "u": 1, "seq": 1}
        refused = await ask(ws, {"op": "subscribe", "args": ["tickers.AUSDT"]})
        assert json.loads(refused)["success"] is False
        url = fake.rest_url + "/v5/market/instruments-info?category=spot"
        assert [row["symbol"] for row in (await get(url)).json()["result"]["list"]] == ["BUSDT"]
        fake.list_symbol("CUSDT")
        rows = (await get(url)).json()["result"]["list"]
        assert [(row["symbol"], row["status"]) for row in rows] == [
            ("BUSDT", "Trading"), ("CUSDT", "Trading")
        ]  # fmt: skip

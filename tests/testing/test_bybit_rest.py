"""The fake Bybit's REST side: pages, budgets and full books."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest

from farm.testing import (
    BYBIT_RULES,
    FakeBybit,
    Flood,
    MarketSimulator,
    RecordingSource,
    open_fake,
)
from farm.testing.limits import RequestWindow
from farm.types import Exchange, Market
from tests.recordings import recording
from tests.testing.clients import PlainBook, ask, get, open_ws, texts

NEVER = Flood(start_after=10_000)
INFO = "/v5/market/instruments-info?category="


async def pages(fake: FakeBybit, query: str) -> list[list[Any]]:
    """The rows of each page, until no cursor leads further."""
    found: list[list[Any]] = []
    cursor = ""
    while True:
        more = f"&cursor={cursor}" if cursor else ""
        answer = await get(f"{fake.rest_url}{INFO}{fake.market.value}{query}{more}")
        result = answer.json()["result"]
        assert result["category"] == fake.market.value
        found.append(result["list"])
        cursor = result.get("nextPageCursor", "")
        if not cursor:
            return found


@pytest.mark.parametrize(
    ("market", "query", "sizes"),
    [
        (Market.LINEAR, "", [500, 500, 1]),
        (Market.LINEAR, "&limit=1000", [1000, 1]),
        (Market.LINEAR, "&limit=5000", [1000, 1]),
        (Market.INVERSE, "&limit=1000", [1000, 1]),
        (Market.SPOT, "&limit=10", [1001]),
    ],
)
async def test_all_but_spot_come_in_pages(market: Market, query: str, sizes: list[int]) -> None:
    quote = "USD" if market is Market.INVERSE else "USDT"
    symbols = [f"C{number}{quote}" for number in range(1_001)]
    async with open_fake(FakeBybit([], market, symbols=symbols, pace=NEVER)) as fake:
        found = await pages(fake, query)
    assert [len(page) for page in found] == sizes
    rows = [row for page in found for row in page]
    assert sorted(row["symbol"] for row in rows) == sorted(symbols)
    assert {row["status"] for row in rows} == {"Trading"}
    assert {row["quoteCoin"] for row in rows} == {quote}


OPTIONS = [
    "BTC-25JUN27-106000-C-USDT", "BTC-6JAN23-17500-P", "ETH-25JUN27-3000-C-USDT",
    "XRP-30OCT26-0.4-P-USDT",
]  # fmt: skip


@pytest.mark.parametrize(
    ("query", "expected"),
    [("", OPTIONS[:2]), ("&baseCoin=ETH", OPTIONS[2:3]), ("&symbol=" + OPTIONS[3], OPTIONS[3:])],
)
async def test_options_are_of_one_coin(query: str, expected: list[str]) -> None:
    async with open_fake(FakeBybit([], Market.OPTION, symbols=OPTIONS, pace=NEVER)) as fake:
        [rows] = await pages(fake, query)
    assert [row["symbol"] for row in rows] == expected


@pytest.mark.parametrize(
    ("market", "symbol", "fields"),
    [
        (Market.LINEAR, "BTCPERP", {"contractType": "LinearPerpetual", "quoteCoin": "USDC",
            "settleCoin": "USDC", "deliveryTime": "0", "deliveryFeeRate": "", "baseCoin": "BTC"}),
        (Market.LINEAR, "BTCUSDT-26SEP25", {"contractType": "LinearFutures", "baseCoin": "BTC",
            "quoteCoin": "USDT", "deliveryTime": "1758873600000", "fundingInterval": 0}),
        (Market.LINEAR, "BTC-26DEC25", {"contractType": "LinearFutures", "quoteCoin": "USDC"}),
        (Market.INVERSE, "BTCUSD", {"contractType": "InversePerpetual", "baseCoin": "BTC",
            "quoteCoin": "USD", "settleCoin": "BTC", "fundingInterval": 480}),
        (Market.INVERSE, "BTCUSDZ26", {"contractType": "InverseFutures", "baseCoin": "BTC",
            "deliveryTime": "1798185600000"}),
        (Market.OPTION, "BTC-25JUN27-106000-P-USDT", {"optionsType": "Put", "settleCoin": "USDT",
            "deliveryTime": "1813910400000", "baseCoin": "BTC", "quoteCoin": "USDT"}),
        (Market.OPTION, "BTC-6JAN23-17500-C", {"optionsType": "Call", "settleCoin": "USDC"}),
        (Market.SPOT, "TUSDT", {"baseCoin": "T", "quoteCoin": "USDT", "status": "Trading"}),
    ],
)  # fmt: skip
async def test_rows_say_what_a_contract_is(
    market: Market, symbol: str, fields: dict[str, object]
) -> None:
    async with open_fake(FakeBybit([], market, symbols=[symbol], pace=NEVER)) as fake:
        [[row]] = await pages(fake, f"&symbol={symbol}")
    assert {key: row[key] for key in fields} == fields
    size = "basePrecision" if market is Market.SPOT else "qtyStep"
    assert float(row["lotSizeFilter"][size]) > 0
    assert float(row["priceFilter"]["tickSize"]) > 0


async def test_the_list_is_of_what_trades_unless_it_is_asked_for_more() -> None:
    async with open_fake(FakeBybit([], symbols=["AUSDT", "BUSDT"], pace=NEVER)) as fake:
        fake.delist_symbol("BUSDT", status="Closed")
        assert [row["symbol"] for row in (await pages(fake, ""))[0]] == ["AUSDT"]
        [[closed]] = await pages(fake, "&status=Closed")
        assert (closed["symbol"], closed["status"]) == ("BUSDT", "Closed")


async def test_a_recorded_list_changes_with_the_symbols() -> None:
    source = RecordingSource(recording("session_bybit_20260809.jsonl.gz"), Market.LINEAR)
    async with open_fake(FakeBybit(source, pace=NEVER)) as fake:
        before = {row["symbol"]: row for [*rows] in await pages(fake, "") for row in rows}
        fake.delist_symbol("DOGEUSDT")
        fake.list_symbol("NEWUSDT")
        after = {row["symbol"]: row for [*rows] in await pages(fake, "") for row in rows}
    assert set(before) - set(after) == {"DOGEUSDT"}
    assert set(after) - set(before) == {"NEWUSDT"}
    assert all(after[symbol] == row for symbol, row in before.items() if symbol in after)


async def test_requests_beyond_the_limit_get_403_and_so_do_those_after() -> None:
    rules = attrs.evolve(BYBIT_RULES[Market.LINEAR], requests_per_5_seconds=2)
    async with open_fake(FakeBybit([], rules=rules, pace=NEVER)) as fake:
        statuses = [(await get(fake.rest_url + "/v5/market/time")).status for _ in range(4)]
    assert statuses == [200, 200, 403, 403]


async def test_categories_of_one_address_share_a_budget() -> None:
    requests = RequestWindow(1)
    one = FakeBybit([], pace=NEVER, requests=requests)
    other = FakeBybit([], Market.SPOT, pace=NEVER, requests=requests)
    async with open_fake(one), open_fake(other):
        assert (await get(one.rest_url + "/v5/market/time")).status == 200
        assert (await get(other.rest_url + "/v5/market/time")).status == 403


# --- full books ----------------------------------------------------------------------------------

FULL = "/v5/market/full_orderbook?category="


@pytest.mark.parametrize("market", [Market.SPOT, Market.LINEAR])
async def test_a_full_book_joins_its_deltas_at_any_moment(market: Market) -> None:
    """The venue's procedure, from three answers: all end in the same book."""
    source = MarketSimulator(Exchange.BYBIT, market, ["BTCUSDT"], seconds=30, rate=50)
    fake = FakeBybit(source, market, pace=Flood(outbox_limit=1))
    topic, url = "orderbook.full.BTCUSDT", f"{FULL}{market.value}&symbol=BTCUSDT"
    answers: list[Any] = []
    messages: list[Any] = []
    async with open_fake(fake), open_ws(f"{fake.ws_url}/v5/public/{market.value}") as ws:
        assert json.loads(await ask(ws, {"op": "subscribe", "args": [topic]}))["success"] is True
        for _ in range(3):
            messages += map(json.loads, await texts(ws, 20))
            answer = (await get(fake.rest_url + url)).json()
            assert (answer["retCode"], answer["result"]["s"]) == (0, "BTCUSDT")
            answers.append(answer["result"])
        messages += map(json.loads, await texts(ws, 20))
    assert {message["type"] for message in messages} == {"delta"}
    deltas = [message["data"] for message in messages]
    assert len({answer["u"] for answer in answers}) == 3
    books = []
    for answer in answers:
        [start] = [
            n for n, d in enumerate(deltas) if (d["u"], d["seq"]) == (answer["u"], answer["seq"])
        ]
        assert (answer["ts"], answer["cts"]) == (messages[start]["ts"], messages[start]["cts"])
        book, last = PlainBook(dict(answer["b"]), dict(answer["a"])), answer
        for delta in deltas[start + 1 :]:
            assert delta["u"] == last["u"] + 1
            assert delta["seq"] > last["seq"]
            book.change(delta["b"], delta["a"])
            last = delta
        books.append(book)
    assert books[0] == books[1] == books[2]
    assert not books[0].crossed


async def test_full_books_that_there_are_not() -> None:
    source = MarketSimulator(Exchange.BYBIT, Market.INVERSE, ["BTCUSD"])
    for fake, query in (
        (FakeBybit(source, Market.INVERSE, pace=NEVER), "inverse&symbol=BTCUSD"),
        (FakeBybit([], Market.SPOT, symbols=["AUSDT"], pace=NEVER), "spot&symbol=AUSDT"),
        (FakeBybit([], Market.SPOT, symbols=["AUSDT"], pace=NEVER), "linear&symbol=AUSDT"),
        (FakeBybit([], Market.SPOT, symbols=["AUSDT"], empty_books=True), "spot&symbol=BUSDT"),
    ):
        async with open_fake(fake):
            assert (await get(f"{fake.rest_url}{FULL}{query}")).json()["retCode"] == 10001


async def test_an_empty_full_book() -> None:
    fake = FakeBybit([], Market.SPOT, symbols=["AUSDT"], empty_books=True, pace=NEVER)
    async with open_fake(fake):
        result = (await get(f"{fake.rest_url}{FULL}spot&symbol=AUSDT")).json()["result"]
    assert (result["s"], result["b"], result["a"]) == ("AUSDT", [], [])
    assert {"u", "seq", "ts", "cts"} <= set(result)

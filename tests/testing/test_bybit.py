"""The fake Bybit over real sockets, seen by a plain trio-websocket client."""

from __future__ import annotations

import gzip
import itertools
import json
from typing import Any

import attrs
import pytest

from farm.testing import (
    BYBIT_RULES,
    FakeBybit,
    Flood,
    MarketSimulator,
    Push,
    RecordingSource,
    losing,
    open_fake,
)
from farm.types import Exchange, Market
from tests.recordings import recording
from tests.testing.clients import PlainBook, ask, get, open_ws, read_to_end, shake_hands, texts
from tests.testing.clients import text as text_of

SESSION = "session_bybit_20260809.jsonl.gz"
NEVER = Flood(start_after=10_000)
BOTH = pytest.mark.parametrize("market", [Market.SPOT, Market.LINEAR])


def simulator(market: Market, seconds: float | None = 20, **options: Any) -> MarketSimulator:
    return MarketSimulator(Exchange.BYBIT, market, ["BTCUSDT"], seconds=seconds, **options)


def path(market: Market) -> str:
    return f"/v5/public/{market.value}"


def subscribe(*topics: str, **more: str) -> dict[str, Any]:
    return {**more, "op": "subscribe", "args": list(topics)}


def recorded(connection: str) -> tuple[list[str], list[str]]:
    """The market texts of a connection of the session, and their topics."""
    found = []
    for line in gzip.decompress(recording(SESSION).read_bytes()).splitlines()[1:]:
        fields = json.loads(line)
        if fields["t"] == "recv" and fields["conn"] == connection:
            found.append(fields["data"])
    market = [text for text in found if '"topic"' in text]
    return market, sorted({json.loads(text)["topic"] for text in market})


@pytest.mark.parametrize(
    ("market", "connection"), [(Market.LINEAR, "BYBIT.ws.2"), (Market.SPOT, "BYBIT.ws.3")]
)
async def test_a_recording_comes_out_byte_for_byte(market: Market, connection: str) -> None:
    frames, topics = recorded(connection)
    source = RecordingSource(recording(SESSION), market)
    fake = FakeBybit(source, market, pace=Flood(start_after=topics))
    async with open_fake(fake), open_ws(fake.ws_url + path(market)) as ws:
        for start in range(0, len(topics), 10):
            reply = await ask(ws, subscribe(*topics[start : start + 10]))
            assert json.loads(reply)["success"] is True
        assert await texts(ws, len(frames)) == frames
        assert fake.sent.total() == len(frames)
        info = await get(
            fake.rest_url + f"/v5/market/instruments-info?category={market.value}&limit=1000"
        )
        assert {row["symbol"] for row in info.json()["result"]["list"]} > {"BTCUSDT", "ETHUSDT"}


REPLIES = {
    Market.SPOT: [
        (subscribe("publicTrade.BTCUSDT"),
         '{"success":true,"ret_msg":"subscribe","conn_id":"c1","op":"subscribe"}'),
        (subscribe("kline.1.BTCUSDT", req_id="r1"),
         '{"success":true,"ret_msg":"subscribe","conn_id":"c1","req_id":"r1","op":"subscribe"}'),
        ({"op": "ping"}, '{"success":true,"ret_msg":"pong","conn_id":"c1","op":"ping"}'),
    ],
    Market.LINEAR: [
        (subscribe("publicTrade.BTCUSDT"),
         '{"success":true,"ret_msg":"","conn_id":"c1","req_id":"","op":"subscribe"}'),
        (subscribe("kline.1.BTCUSDT", req_id="r1"),
         '{"success":true,"ret_msg":"","conn_id":"c1","req_id":"r1","op":"subscribe"}'),
        ({"op": "ping", "req_id": "p"},
         '{"success":true,"ret_msg":"pong","conn_id":"c1","req_id":"p","op":"ping"}'),
    ],
}  # fmt: skip


@BOTH
async def test_replies_have_the_shape_of_their_category(market: Market) -> None:
    fake = FakeBybit(simulator(market), market, pace=NEVER)
    async with open_fake(fake), open_ws(fake.ws_url + path(market)) as ws:
        for request, reply in REPLIES[market]:
            assert await ask(ws, request) == reply
        gone = await ask(ws, {"op": "unsubscribe", "args": ["kline.1.BTCUSDT"]})
        assert json.loads(gone)["op"] == "unsubscribe"
        assert json.loads(gone)["success"] is True
        [connection] = fake.connections
        assert list(connection.streams) == ["publicTrade.BTCUSDT"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["orderbook.30.BTCUSDT"], "error:handler not found,topic:orderbook.30.BTCUSDT"),
        (["orderbook.50.btcusdt"], "error:handler not found,topic:orderbook.50.btcusdt"),
        (["orderbook.50.NOPEUSDT"], "error:handler not found,topic:orderbook.50.NOPEUSDT"),
        (["kline.7.BTCUSDT"], "error:handler not found,topic:kline.7.BTCUSDT"),
        (["publicTrade.5.BTCUSDT"], "error:handler not found,topic:publicTrade.5.BTCUSDT"),
        (["order"], "error:handler not found,topic:order"),
        (["refused.BTCUSDT"], "error:handler not found,topic:refused.BTCUSDT"),
        (["kline.5.BTCUSDT", "kline.1.BTCUSDT"], "error:already subscribed,topic:kline.5.BTCUSDT"),
        (["kline.1.BTCUSDT", "kline.1.BTCUSDT"], "error:already subscribed,topic:kline.1.BTCUSDT"),
        ([], "error:params error"),
        ("kline.1.BTCUSDT", "error:params error"),
        ([1], "error:params error"),
    ],
)
@BOTH
async def test_one_bad_topic_fails_the_request(market: Market, args: object, message: str) -> None:
    fake = FakeBybit(simulator(market), market, pace=NEVER)
    fake.refuse_subscription("refused.BTCUSDT")
    async with open_fake(fake), open_ws(fake.ws_url + path(market)) as ws:
        await ask(ws, subscribe("kline.5.BTCUSDT"))
        reply = json.loads(await ask(ws, {"op": "subscribe", "args": args}))
        assert (reply["success"], reply["ret_msg"]) == (False, message)
        [connection] = fake.connections
        assert list(connection.streams) == ["kline.5.BTCUSDT"]


@pytest.mark.parametrize(
    ("request_text", "message"),
    [
        ("hello", "Failed to decode"),
        ("[]", "Failed to decode"),
        ('{"op":"nope"}', "error:invalid op"),
    ],
)
async def test_nonsense_is_answered_and_the_line_stays(request_text: str, message: str) -> None:
    fake = FakeBybit(simulator(Market.LINEAR), pace=NEVER)
    async with open_fake(fake), open_ws(fake.ws_url + path(Market.LINEAR)) as ws:
        reply = json.loads(await ask(ws, request_text))
        assert reply["success"] is False
        assert reply["ret_msg"].startswith(message)
        assert json.loads(await ask(ws, {"op": "ping"}))["ret_msg"] == "pong"


async def test_spot_takes_ten_args_a_request_and_linear_more() -> None:
    names = [f"publicTrade.S{number}USDT" for number in range(11)]
    for market, message in ((Market.SPOT, "args size >10"), (Market.LINEAR, "")):
        fake = FakeBybit([], market, pace=NEVER)
        async with open_fake(fake), open_ws(fake.ws_url + path(market)) as ws:
            assert json.loads(await ask(ws, subscribe(*names)))["ret_msg"] == message


async def test_the_args_of_a_connection_have_a_length() -> None:
    rules = attrs.evolve(BYBIT_RULES[Market.LINEAR], args_length=60)
    fake = FakeBybit([], rules=rules, pace=NEVER)
    async with open_fake(fake), open_ws(fake.ws_url + path(Market.LINEAR)) as ws:
        first = json.loads(await ask(ws, subscribe("publicTrade.BTCUSDT", "publicTrade.ETHUSDT")))
        assert first["success"] is True
        second = json.loads(await ask(ws, subscribe("publicTrade.DOGEUSDT", "tickers.BTCUSDT")))
        assert second["ret_msg"] == "args length >60"


@BOTH
async def test_books_start_with_a_snapshot_and_a_new_one_after_resubscribing(
    market: Market,
) -> None:
    """The book kept across an unsubscribe ends as the one that the venue starts anew."""
    topic = "orderbook.50.BTCUSDT"
    source = simulator(market, 30, levels=80)
    fake = FakeBybit(source, market, pace=Flood(start_after={topic}, outbox_limit=1))
    async with open_fake(fake), open_ws(fake.ws_url + path(market)) as ws:
        await ask(ws, subscribe(topic))
        known: Any = None
        book = PlainBook()
        for message in map(json.loads, await texts(ws, 200)):
            known = follow(book, message, known)
        await ws.send_message(json.dumps({"op": "unsubscribe", "args": [topic]}))
        while '"op":"unsubscribe"' not in (text := await text_of(ws)):
            known = follow(book, json.loads(text), known)
        assert json.loads(await ask(ws, subscribe(topic)))["success"] is True
        fresh = json.loads(await text_of(ws))
        assert (fresh["type"], fresh["data"]["u"]) == ("snapshot", known["data"]["u"])
        assert PlainBook(dict(fresh["data"]["b"]), dict(fresh["data"]["a"])) == book
        assert list(fresh) == list(known)
        for message in map(json.loads, await texts(ws, 50)):
            fresh = follow(book, message, fresh)


def follow(book: PlainBook, message: Any, last: Any) -> Any:
    if message["type"] == "snapshot":
        assert last is None
    else:
        assert message["data"]["u"] == last["data"]["u"] + 1
    book.change(message["data"]["b"], message["data"]["a"])
    assert not book.crossed
    return message


async def test_a_recorded_book_is_answered_from_where_the_market_stands() -> None:
    frames, _ = recorded("BYBIT.ws.2")
    topic = "orderbook.200.SOLUSDT"
    source = RecordingSource(recording(SESSION), Market.LINEAR)
    fake = FakeBybit(source, pace=Flood(start_after={"tickers.BTCUSDT"}))
    async with open_fake(fake) as fake:
        url = fake.ws_url + path(Market.LINEAR)
        async with open_ws(url) as driver, open_ws(url) as late:
            await ask(driver, subscribe("tickers.BTCUSDT"))
            await fake.finished.wait()
            await ask(late, subscribe(topic))
            snapshot = json.loads(await text_of(late))
    book = PlainBook()
    last: Any = None
    for message in map(json.loads, frames):
        if message["topic"] == topic:
            last = follow(book, message, last)
    assert snapshot["data"]["u"] == last["data"]["u"]
    assert (snapshot["ts"], snapshot["cts"]) == (last["ts"], last["cts"])
    assert PlainBook(dict(snapshot["data"]["b"]), dict(snapshot["data"]["a"])) == book
    assert (len(book.bids), len(book.asks)) == (200, 200)


async def test_a_lost_delta_leaves_a_hole_that_resubscribing_mends() -> None:
    topic = "orderbook.50.BTCUSDT"
    count = 0

    def lost(push: Push) -> bool:
        nonlocal count
        count += push.stream == topic
        return push.stream == topic and count == 20

    source = losing(simulator(Market.LINEAR, 5), lost)
    fake = FakeBybit(source, pace=Flood(start_after={topic}))
    async with open_fake(fake), open_ws(fake.ws_url + path(Market.LINEAR)) as ws:
        await ask(ws, subscribe(topic))
        ids = [json.loads(text)["data"]["u"] for text in await texts(ws, 30)]
        steps = [other - one for one, other in itertools.pairwise(ids)]
        assert sorted(steps) == [1] * 28 + [2]


async def test_a_client_without_json_pings_is_cut() -> None:
    rules = attrs.evolve(BYBIT_RULES[Market.LINEAR], idle_timeout=0.05)
    async with open_fake(FakeBybit([], rules=rules, pace=NEVER)) as fake:
        stream, head = await shake_hands(fake.ws_url + path(Market.LINEAR))
        assert head.startswith(b"HTTP/1.1 101")
        async with stream:
            assert await read_to_end(stream) == b""


async def test_other_paths_are_refused() -> None:
    async with open_fake(FakeBybit([], Market.SPOT, pace=NEVER)) as fake:
        stream, head = await shake_hands(fake.ws_url + path(Market.LINEAR))
        await stream.aclose()
    assert head.startswith(b"HTTP/1.1 404")
    assert fake.connections_refused == 1


async def test_rest_answers() -> None:
    symbols = ["BTCUSDT", "ETHUSDT", "AUSDT"]
    start = 1_700_000_000_000_000_005
    source = MarketSimulator(Exchange.BYBIT, Market.LINEAR, symbols, start=start)
    async with open_fake(FakeBybit(source, pace=NEVER)) as fake:
        time = (await get(fake.rest_url + "/v5/market/time")).json()
        assert time["result"] == {"timeSecond": "1700000000", "timeNano": "1700000000000000005"}
        url = fake.rest_url + "/v5/market/instruments-info?category=linear"
        first = (await get(url + "&limit=2")).json()["result"]
        assert first["nextPageCursor"]
        rest = (await get(f"{url}&limit=2&cursor={first['nextPageCursor']}")).json()["result"]
        assert rest["nextPageCursor"] == ""
        rows = first["list"] + rest["list"]
        assert [row["symbol"] for row in rows] == ["BTCUSDT", "ETHUSDT", "AUSDT"]
        assert (rows[0]["priceFilter"]["tickSize"], rows[0]["lotSizeFilter"]["qtyStep"]) == (
            "0.10", "0.001"
        )  # fmt: skip
        one = (await get(url + "&symbol=ETHUSDT")).json()["result"]["list"]
        assert [row["symbol"] for row in one] == ["ETHUSDT"]
        wrong = (await get(fake.rest_url + "/v5/market/instruments-info?category=spot")).json()
        assert wrong["retCode"] == 10001
        assert (await get(fake.rest_url + "/v5/market/nothing")).status == 404


async def test_spot_instruments_are_unpaged_and_named_by_base_precision() -> None:
    source = MarketSimulator(Exchange.BYBIT, Market.SPOT, ["BTCUSDT", "ETHUSDT"])
    async with open_fake(FakeBybit(source, Market.SPOT, pace=NEVER)) as fake:
        url = fake.rest_url + "/v5/market/instruments-info?category=spot&limit=1"
        result = (await get(url)).json()["result"]
    assert "nextPageCursor" not in result
    assert [row["lotSizeFilter"]["basePrecision"] for row in result["list"]] == [
        "0.000001", "0.00001"
    ]  # fmt: skip

"""The fake Binance over real sockets, seen by a plain trio-websocket client."""

from __future__ import annotations

import gzip
import json
from typing import Any

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from farm.testing import (
    BINANCE_SPOT,
    FakeBinance,
    Flood,
    MarketSimulator,
    Push,
    Recorded,
    RecordingSource,
    depth_reply,
    losing,
    open_fake,
)
from farm.types import Exchange, Market
from tests.recordings import recording
from tests.testing.clients import (
    PATIENCE,
    Answer,
    PlainBook,
    ask,
    closed_with,
    get,
    open_ws,
    shake_hands,
    texts,
)
from tests.testing.clients import text as text_of

LOG = "binance_spot_btcusdt_20240808.log.gz"
STREAMS = ("btcusdt@trade", "btcusdt@bookTicker", "btcusdt@depth@100ms")
COMBINED = "/stream?streams=" + "/".join(STREAMS)
NEVER = Flood(start_after=10_000)
RELAXED = attrs.evolve(BINANCE_SPOT, messages_per_second=None)


def simulator(seconds: float | None = 20, **options: Any) -> MarketSimulator:
    return MarketSimulator(Exchange.BINANCE, Market.SPOT, ["BTCUSDT"], seconds=seconds, **options)


def standing() -> FakeBinance:
    """A fake whose market never starts."""
    return FakeBinance(simulator(), pace=NEVER, rules=RELAXED)


def lines_of(name: str) -> list[str]:
    lines = gzip.decompress(recording(name).read_bytes()).decode().splitlines()
    return [line.partition(" ")[2] for line in lines]


# --- recordings ----------------------------------------------------------------------------------


async def test_a_recording_comes_out_byte_for_byte() -> None:
    lines = lines_of(LOG)
    frames = lines[:7] + lines[8:]
    fake = FakeBinance(
        RecordingSource(recording(LOG)), pace=Flood(start_after=STREAMS), hold_for_snapshots=False
    )
    async with open_fake(fake), open_ws(fake.ws_url + COMBINED) as ws:
        assert await texts(ws, len(frames)) == frames
        await fake.finished.wait()
        assert (await get(fake.rest_url + "/api/v3/ping")).status == 200
    assert dict(fake.sent) == {
        "btcusdt@trade": 9_757, "btcusdt@bookTicker": 28_040, "btcusdt@depth@100ms": 3_451
    }  # fmt: skip


async def test_the_clock_stands_at_the_snapshot_so_that_the_replay_is_exact() -> None:
    lines = lines_of(LOG)
    fake = FakeBinance(RecordingSource(recording(LOG)), pace=Flood(start_after=STREAMS))
    async with open_fake(fake), open_ws(fake.ws_url + COMBINED) as ws:
        before = await texts(ws, 7)
        answer = await get(fake.rest_url + "/api/v3/depth?symbol=BTCUSDT&limit=1000")
        assert answer.body.decode() == lines[7]
        after = await texts(ws, len(lines) - 8)
    assert [*before, answer.body.decode(), *after] == lines
    assert compare_with_quotes(answer.json(), [*before, *after]) == (3_449, 564)


def compare_with_quotes(snapshot: Any, frames: list[str]) -> tuple[int, int]:
    """Diffs applied, and comparisons of the book with the quote of equal id, all equal."""
    book = PlainBook()
    book.change(snapshot["bids"], snapshot["asks"])
    last = snapshot["lastUpdateId"]
    quotes: dict[int, Any] = {}
    applied = compared = 0
    for frame in frames:
        message = json.loads(frame)
        data = message["data"]
        if message["stream"].endswith("@bookTicker"):
            quotes[data["u"]] = data
        elif message["stream"].endswith("@depth@100ms") and data["u"] > last:
            assert data["U"] <= last + 1
            last = data["u"]
            book.change(data["b"], data["a"])
            applied += 1
            if (quote := quotes.get(last)) is not None:
                assert book.top == (quote["b"], quote["B"], quote["a"], quote["A"])
                compared += 1
    return applied, compared


async def test_a_request_before_the_recorded_snapshot_waits_for_it() -> None:
    lines = lines_of(LOG)
    fake = FakeBinance(RecordingSource(recording(LOG)), pace=Flood(start_after=STREAMS))
    answers: list[Answer] = []

    async def request() -> None:
        answers.append(await get(fake.rest_url + "/api/v3/depth?symbol=BTCUSDT&limit=5000"))

    async with open_fake(fake), trio.open_nursery() as nursery:
        nursery.start_soon(request)
        await wait_all_tasks_blocked(0.05)
        assert answers == []
        async with open_ws(fake.ws_url + COMBINED) as ws:
            await texts(ws, 1_000)
    assert [answer.body.decode() for answer in answers] == [lines[7]]


async def test_a_lost_diff_is_missing_on_the_wire_alone() -> None:
    lines = lines_of(LOG)
    hidden = [line for line in lines if "@depth" in line][1_000]
    source = losing(RecordingSource(recording(LOG)), lambda push: push.text in hidden)
    fake = FakeBinance(source, pace=Flood(start_after=STREAMS), hold_for_snapshots=False)
    async with open_fake(fake), open_ws(fake.ws_url + COMBINED) as ws:
        frames = await texts(ws, len(lines) - 2)
        with trio.fail_after(PATIENCE):
            await fake.finished.wait()
        answer = await get(fake.rest_url + "/api/v3/depth?symbol=BTCUSDT&limit=1000")
    assert frames == [line for line in lines[:7] + lines[8:] if line != hidden]
    book = PlainBook()
    snapshot = json.loads(lines[7])
    book.change(snapshot["bids"], snapshot["asks"])
    for line in lines:
        data = json.loads(line).get("data", {})
        if data.get("e") == "depthUpdate" and data["u"] > snapshot["lastUpdateId"]:
            book.change(data["b"], data["a"])
    best = sorted(book.bids, key=float, reverse=True)[:1000], sorted(book.asks, key=float)[:1000]
    assert answer.json()["bids"] == [[price, book.bids[price]] for price in best[0]]
    assert answer.json()["asks"] == [[price, book.asks[price]] for price in best[1]]


async def test_a_session_answers_with_what_was_recorded() -> None:
    path = recording("session_binance_spot_20211012.jsonl.gz")
    replies = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()[1:6]]
    async with open_fake(FakeBinance(RecordingSource(path), pace=NEVER)) as fake:
        info = await get(fake.rest_url + "/api/v3/exchangeInfo")
        assert info.body.decode() == replies[0]["data"]
        assert (await get(fake.rest_url + "/api/v3/depth?symbol=BTCUSDT")).status == 400
    fake = FakeBinance(RecordingSource(path), pace=Flood(start_after=4))
    diffs = "/stream?streams=" + "/".join(
        f"{symbol}@depth@100ms" for symbol in ("nknusdt", "blzeth", "lrcbtc", "runeeur")
    )
    async with open_fake(fake), open_ws(fake.ws_url + diffs) as ws:
        for reply in replies[1:]:
            symbol = reply["url"].partition("symbol=")[2].partition("&")[0]
            answer = await get(fake.rest_url + f"/api/v3/depth?symbol={symbol}&limit=1000")
            assert answer.body.decode() == reply["data"]
        assert len(await texts(ws, 177)) == 177


# --- the simulated market ------------------------------------------------------------------------


async def test_a_snapshot_at_any_moment_joins_the_diffs() -> None:
    """The book from a snapshot in mid-stream ends as the book from the opening does."""
    url = "/ws/btcusdt@depth@100ms"
    fake = FakeBinance(simulator(60), pace=Flood(outbox_limit=1), rules=RELAXED)
    async with open_fake(fake):
        opening = (await get(fake.rest_url + "/api/v3/depth?symbol=BTCUSDT&limit=5000")).json()
        snapshots = [opening]
        async with open_ws(fake.ws_url + url) as ws:
            diffs = [json.loads(text) for text in await texts(ws, 100)]
            for _ in range(4):
                answer = await get(fake.rest_url + "/api/v3/depth?symbol=BTCUSDT&limit=5000")
                snapshots.append(answer.json())
                diffs += [json.loads(text) for text in await texts(ws, 100)]
            diffs += [json.loads(text) for text in await texts(ws, 600 - len(diffs))]
    assert len({snapshot["lastUpdateId"] for snapshot in snapshots}) > 1
    books = []
    for snapshot in snapshots:
        book = PlainBook()
        book.change(snapshot["bids"], snapshot["asks"])
        following = snapshot["lastUpdateId"] + 1
        for diff in diffs:
            if diff["u"] < following:
                continue
            assert diff["U"] <= following
            following = diff["u"] + 1
            book.change(diff["b"], diff["a"])
        books.append(book)
    assert all(book == books[0] for book in books)


async def test_a_client_joins_where_the_market_stands() -> None:
    fake = FakeBinance(simulator(None), pace=Flood(outbox_limit=1 << 14))
    async with open_fake(fake), open_ws(fake.ws_url + "/ws/btcusdt@trade") as first:
        early = json.loads(await text_of(first))
        await texts(first, 500)
        async with open_ws(fake.ws_url + "/ws/btcusdt@trade") as second:
            with trio.fail_after(PATIENCE):
                async with trio.open_nursery() as nursery:

                    async def keep_reading() -> None:
                        while True:
                            await first.get_message()

                    nursery.start_soon(keep_reading)
                    late = json.loads(await second.get_message())
                    nursery.cancel_scope.cancel()
    assert late["t"] > early["t"] + 500


# --- control messages ----------------------------------------------------------------------------

CONVERSATION = [
    ('{"method":"SUBSCRIBE","params":["a@trade","b@depth"],"id":1}', '{"result":null,"id":1}'),
    ('{"method":"SUBSCRIBE","params":["a@trade"],"id":"x1"}', '{"result":null,"id":"x1"}'),
    ('{"method":"LIST_SUBSCRIPTIONS","id":3}', '{"result":["a@trade","b@depth"],"id":3}'),
    (
        '{"method":"UNSUBSCRIBE","params":["a@trade","?"],"id":null}',
        '{"result":null,"id":null}',
    ),
    ('{"method":"LIST_SUBSCRIPTIONS"}', '{"result":["b@depth"],"id":null}'),
    ('{"method":"GET_PROPERTY","params":["combined"],"id":2}', '{"result":false,"id":2}'),
    ('{"method":"SET_PROPERTY","params":["combined",true],"id":5}', '{"result":null,"id":5}'),
    ('{"method":"GET_PROPERTY","params":["combined"],"id":2}', '{"result":true,"id":2}'),
]


async def test_a_conversation() -> None:
    async with open_fake(standing()) as fake, open_ws(fake.ws_url + "/ws") as ws:
        for request, reply in CONVERSATION:
            assert await ask(ws, request) == reply
        assert [entry.text for entry in fake.subscribe_log] == [r for r, _ in CONVERSATION]


@pytest.mark.parametrize(
    ("request_text", "code", "request_id"),
    [
        ("nonsense", 3, None),
        ("[1]", 3, None),
        ('{"params":[],"id":7}', 2, None),
        ('{"method":"EXPLODE","id":7}', 2, None),
        ('{"method":"SUBSCRIBE","params":["a"],"id":1.5}', 2, None),
        ('{"method":"SUBSCRIBE","params":["a"],"id":true}', 2, None),
        ('{"method":"SUBSCRIBE","params":["a"],"id":"' + "x" * 37 + '"}', 2, None),
        ('{"method":"SUBSCRIBE","params":[],"id":8}', 2, 8),
        ('{"method":"SUBSCRIBE","params":[1],"id":8}', 2, 8),
        ('{"method":"SUBSCRIBE","params":"a","id":8}', 2, 8),
        ('{"method":"SUBSCRIBE","params":["refused@trade"],"id":8}', 2, 8),
        ('{"method":"SET_PROPERTY","params":["colour",1],"id":9}', 0, 9),
        ('{"method":"SET_PROPERTY","params":["combined","yes"],"id":9}', 1, 9),
    ],
)
async def test_requests_that_fail(request_text: str, code: int, request_id: object) -> None:
    async with open_fake(standing()) as fake, open_ws(fake.ws_url + "/ws") as ws:
        fake.refuse_subscription("refused@trade")
        reply = json.loads(await ask(ws, request_text))
        assert (reply["code"], reply.get("id")) == (code, request_id)
        assert isinstance(reply["msg"], str)
        assert json.loads(await ask(ws, {"method": "LIST_SUBSCRIPTIONS", "id": 1}))["result"] == []


async def test_raw_and_combined_frames() -> None:
    fake = FakeBinance(simulator(), pace=Flood(start_after={"btcusdt@trade", "btcusdt@aggTrade"}))
    async with (
        open_fake(fake),
        open_ws(fake.ws_url + "/ws/btcusdt@trade") as raw,
        open_ws(fake.ws_url + "/stream?streams=btcusdt@trade") as combined,
        open_ws(fake.ws_url + "/ws/btcusdt%40trade") as changed,
        open_ws(fake.ws_url + "/stream") as trigger,
    ):
        await ask(changed, {"method": "SET_PROPERTY", "params": ["combined", True], "id": 1})
        await ask(trigger, {"method": "SUBSCRIBE", "params": ["btcusdt@aggTrade"], "id": 1})
        plain = await texts(raw, 10)
        wrapped = [f'{{"stream":"btcusdt@trade","data":{text}}}' for text in plain]
        assert await texts(combined, 10) == wrapped
        assert await texts(changed, 10) == wrapped


async def test_unknown_streams_are_acknowledged_and_silent() -> None:
    fake = FakeBinance(simulator(5), pace=Flood(start_after={"btcusdt@trade"}))
    names = ["BTCUSDT@trade", "btcusdt@depth@7ms", "nonsense"]
    async with (
        open_fake(fake),
        open_ws(fake.ws_url + "/ws") as ws,
        open_ws(fake.ws_url + "/ws/btcusdt@trade") as other,
    ):
        reply = await ask(ws, {"method": "SUBSCRIBE", "params": names, "id": 1})
        assert reply == '{"result":null,"id":1}'
        await text_of(other)
        with trio.fail_after(PATIENCE):
            await fake.finished.wait()
        reply = await ask(ws, {"method": "LIST_SUBSCRIPTIONS", "id": 2})
        assert json.loads(reply)["result"] == names


# --- limits --------------------------------------------------------------------------------------


async def test_a_sixth_message_in_a_second_closes_with_1008() -> None:
    fake = FakeBinance(simulator(), pace=NEVER)
    async with open_fake(fake), open_ws(fake.ws_url + "/ws") as ws:
        for number in range(6):
            await ws.send_message(json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": number}))
        assert await closed_with(ws) == (1008, "Too many requests")
    assert len(fake.subscribe_log) == 5


async def test_streams_beyond_the_limit_are_refused() -> None:
    rules = attrs.evolve(RELAXED, streams_per_connection=3)
    fake = FakeBinance(simulator(), pace=NEVER, rules=rules)
    async with open_fake(fake), open_ws(fake.ws_url + "/ws/a/b") as ws:
        more = {"method": "SUBSCRIBE", "params": ["b", "c", "d"], "id": 1}
        assert json.loads(await ask(ws, more))["code"] == 2
        fits = {"method": "SUBSCRIBE", "params": ["b", "c"], "id": 1}
        assert json.loads(await ask(ws, fits)) == {"result": None, "id": 1}


async def test_connection_attempts_beyond_the_limit_get_429() -> None:
    rules = attrs.evolve(BINANCE_SPOT, connections_per_5_minutes=2)
    async with open_fake(FakeBinance(simulator(), pace=NEVER, rules=rules)) as fake:
        for _ in range(2):
            async with open_ws(fake.ws_url + "/ws"):
                pass
        stream, head = await shake_hands(fake.ws_url + "/ws")
        await stream.aclose()
        assert head.startswith(b"HTTP/1.1 429")
        assert b"retry-after: 300" in head.lower()
    assert (fake.connections_accepted, fake.connections_refused) == (2, 1)


@pytest.mark.parametrize(
    ("path", "status"), [("/", 404), ("/public/ws", 404), ("/stream?timeUnit=NANOSECOND", 400)]
)
async def test_addresses_that_are_refused(path: str, status: int) -> None:
    async with open_fake(standing()) as fake:
        stream, head = await shake_hands(fake.ws_url + path)
        await stream.aclose()
    assert head.startswith(f"HTTP/1.1 {status}".encode())
    assert (fake.connections_accepted, fake.connections_refused) == (0, 1)


async def test_a_client_that_answers_pings_stays() -> None:
    rules = attrs.evolve(RELAXED, ping_interval=0.01, pong_timeout=PATIENCE)
    fake = FakeBinance(simulator(), pace=NEVER, rules=rules)
    async with open_fake(fake), open_ws(fake.ws_url + "/ws") as ws:
        [connection] = fake.connections
        opened = connection.last_pong
        with trio.fail_after(PATIENCE):
            while connection.last_pong == opened:
                await ask(ws, CONVERSATION[4][0])
        assert await ask(ws, CONVERSATION[0][0]) == CONVERSATION[0][1]


async def test_a_client_without_pongs_is_cut() -> None:
    rules = attrs.evolve(BINANCE_SPOT, ping_interval=0.01, pong_timeout=0.05)
    async with open_fake(FakeBinance(simulator(), pace=NEVER, rules=rules)) as fake:
        stream, head = await shake_hands(fake.ws_url + "/ws")
        assert head.startswith(b"HTTP/1.1 101")
        received = b""
        async with stream:
            with trio.fail_after(PATIENCE):
                while b"timeout" not in received:
                    received += await stream.receive_some()
    assert received[:1] == b"\x89"
    assert received.endswith(b"\x88\x0e\x03\xf0Pong timeout")


# --- REST ----------------------------------------------------------------------------------------


async def test_rest_answers() -> None:
    start = 1_700_000_000_123_000_000
    market = MarketSimulator(Exchange.BINANCE, Market.SPOT, ["BTCUSDT", "ABCETH"], start=start)
    async with open_fake(FakeBinance(market, pace=NEVER)) as fake:
        assert (await get(fake.rest_url + "/api/v3/ping")).json() == {}
        time = await get(fake.rest_url + "/api/v3/time")
        assert time.json() == {"serverTime": 1_700_000_000_123}
        info = (await get(fake.rest_url + "/api/v3/exchangeInfo")).json()
        listed = {s["symbol"]: s for s in info["symbols"]}
        assert set(listed) == {"BTCUSDT", "ABCETH"}
        bitcoin = listed["BTCUSDT"]
        filters = {f["filterType"]: f for f in bitcoin["filters"]}
        assert (bitcoin["baseAsset"], bitcoin["quoteAsset"], bitcoin["status"]) == (
            "BTC", "USDT", "TRADING"
        )  # fmt: skip
        assert filters["PRICE_FILTER"]["tickSize"] == "0.01000000"
        assert filters["LOT_SIZE"]["stepSize"] == "0.00001000"
        assert (listed["ABCETH"]["baseAsset"], listed["ABCETH"]["quoteAsset"]) == ("ABC", "ETH")
        assert (await get(fake.rest_url + "/api/v3/nothing")).status == 404
        targets = [(call.target, call.status) for call in fake.rest_log]
        assert targets[0] == ("/api/v3/ping", 200)
        assert targets[-1] == ("/api/v3/nothing", 404)


@pytest.mark.parametrize(
    ("limit", "levels", "weight"),
    [("", 100, 5), ("&limit=5", 5, 5), ("&limit=500", 300, 25), ("&limit=1000", 300, 50),
     ("&limit=5000", 300, 250), ("&limit=99999", 300, 250)],
)  # fmt: skip
async def test_depth_has_levels_and_weight_by_its_limit(
    limit: str, levels: int, weight: int
) -> None:
    async with open_fake(standing()) as fake:
        answer = await get(fake.rest_url + f"/api/v3/depth?symbol=BTCUSDT{limit}")
    book = answer.json()
    assert (len(book["bids"]), len(book["asks"])) == (levels, levels)
    assert answer.headers["x-mbx-used-weight-1m"] == str(weight)
    bids = [float(price) for price, _ in book["bids"]]
    asks = [float(price) for price, _ in book["asks"]]
    assert bids == sorted(bids, reverse=True)
    assert asks == sorted(asks)


@pytest.mark.parametrize(
    ("query", "code"),
    [("symbol=NOPE", -1121), ("symbol=btcusdt", -1121), ("limit=5", -1102), ("", -1102),
     ("symbol=BTCUSDT&limit=x", -1100), ("symbol=BTCUSDT&limit=0", -1100)],
)  # fmt: skip
async def test_depth_requests_that_fail(query: str, code: int) -> None:
    async with open_fake(standing()) as fake:
        answer = await get(fake.rest_url + f"/api/v3/depth?{query}")
    assert (answer.status, answer.json()["code"]) == (400, code)


async def test_weight_beyond_the_minutes_budget_gets_429() -> None:
    rules = attrs.evolve(BINANCE_SPOT, weight_per_minute=30)
    async with open_fake(FakeBinance(simulator(), pace=NEVER, rules=rules)) as fake:
        url = fake.rest_url + "/api/v3/depth?symbol=BTCUSDT&limit=500"
        assert (await get(url)).status == 200
        answer = await get(url)
        assert (answer.status, answer.json()["code"]) == (429, -1003)
        assert 1 <= int(answer.headers["retry-after"]) <= 60
        assert [call.status for call in fake.rest_log] == [200, 429]


async def test_a_snapshot_that_never_came_is_an_error_at_the_end() -> None:
    source = [Push(1, "btcusdt@trade", "{}")]
    fake = FakeBinance(source, pace=Recorded())
    async with open_fake(fake):
        with trio.fail_after(PATIENCE):
            await fake.finished.wait()
        assert (await get(fake.rest_url + "/api/v3/depth?symbol=BTCUSDT")).status == 503


async def test_a_source_of_pushes_made_by_hand() -> None:
    """Drop, insert, alter: a source is any iterable."""
    book = '{"lastUpdateId":5,"bids":[["1","1"]],"asks":[["2","1"]]}'
    source = [
        Push(1, depth_reply("XUSDT"), book),
        Push(2, "xusdt@depth", '{"e":"depthUpdate","U":6,"u":7,"b":[["1.5","2"]],"a":[]}'),
        Push(3, "xusdt@trade", "not json at all"),
    ]
    fake = FakeBinance(source, pace=Flood(start_after=2))
    url = "/stream?streams=xusdt@depth/xusdt@trade"
    async with open_fake(fake), open_ws(fake.ws_url + url) as ws:
        asked = await get(fake.rest_url + "/api/v3/depth?symbol=XUSDT&limit=1")
        assert asked.body.decode() == book
        found = await texts(ws, 2)
        assert found[1] == '{"stream":"xusdt@trade","data":not json at all}'
        later = await get(fake.rest_url + "/api/v3/depth?symbol=XUSDT")
        assert later.json() == {
            "lastUpdateId": 7,
            "bids": [["1.5", "2"], ["1", "1"]],
            "asks": [["2", "1"]],
        }

"""The fake Bybit's option socket, which acknowledges whatever it is asked for."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest
import trio

from farm.testing import BYBIT_RULES, BybitRules, FakeBybit, Flood, MarketSimulator, open_fake
from farm.types import Exchange, Market
from tests.testing.clients import PATIENCE, ask, open_ws, shake_hands, texts
from tests.testing.clients import text as text_of

SYMBOL = "BTC-25JUN27-106000-C-USDT"
NEVER = Flood(start_after=10_000)
PATH = "/v5/public/option"


def option(seconds: float = 3) -> MarketSimulator:
    return MarketSimulator(Exchange.BYBIT, Market.OPTION, [SYMBOL], seconds=seconds, rate=50)


def subscribe(*topics: str, operation: str = "subscribe") -> dict[str, Any]:
    return {"req_id": "r", "op": operation, "args": list(topics)}


async def test_replies_have_the_shape_of_commands() -> None:
    start = 1_790_373_953_406_000_000
    source = MarketSimulator(Exchange.BYBIT, Market.OPTION, [SYMBOL], start=start)
    async with (
        open_fake(FakeBybit(source, Market.OPTION, pace=NEVER)) as fake,
        open_ws(fake.ws_url + PATH) as ws,
    ):
        assert await ask(ws, subscribe("publicTrade.BTC")) == (
            '{"success":true,"conn_id":"c1","data":{"failTopics":[],'
            '"successTopics":["publicTrade.BTC"]},"type":"COMMAND_RESP"}'
        )
        assert await ask(ws, {"op": "ping", "req_id": "p"}) == (
            '{"args":["1790373953406"],"op":"pong"}'
        )
        gone = json.loads(await ask(ws, subscribe("publicTrade.BTC", operation="unsubscribe")))
        assert gone["data"]["successTopics"] == ["publicTrade.BTC"]
        [connection] = fake.connections
        assert list(connection.streams) == []


async def test_unsupported_topics_are_acknowledged_and_silent() -> None:
    wrong = [f"orderbook.1.{SYMBOL}", f"orderbook.50.{SYMBOL}", f"kline.1.{SYMBOL}", "nonsense"]
    right = ["publicTrade.BTC", f"orderbook.25.{SYMBOL}", f"tickers.{SYMBOL}"]
    fake = FakeBybit(option(), Market.OPTION, pace=Flood(start_after=7))
    async with open_fake(fake), open_ws(fake.ws_url + PATH) as ws:
        reply = json.loads(await ask(ws, subscribe(*wrong, *right)))
        assert reply["data"] == {"failTopics": [], "successTopics": [*wrong, *right]}
        with trio.fail_after(PATIENCE):
            await fake.finished.wait()
        heard = [json.loads(text) for text in await texts(ws, fake.sent.total())]
    assert {message["topic"] for message in heard} == set(right) == set(fake.sent)
    first = {message["topic"]: message["type"] for message in reversed(heard)}
    assert set(first.values()) == {"snapshot"}


async def test_what_is_refused_is_listed_as_failed() -> None:
    fake = FakeBybit(option(), Market.OPTION, pace=NEVER)
    fake.refuse_subscription("publicTrade.BTC")
    async with open_fake(fake), open_ws(fake.ws_url + PATH) as ws:
        reply = json.loads(await ask(ws, subscribe("publicTrade.BTC")))
        assert (reply["success"], reply["type"]) == (False, "COMMAND_RESP")
        assert reply["data"] == {"failTopics": ["publicTrade.BTC"], "successTopics": []}
        nonsense = json.loads(await ask(ws, {"op": "explode"}))
        assert (nonsense["success"], nonsense["ret_msg"]) == (False, "error:invalid op")


async def test_two_thousand_args_a_connection() -> None:
    rules = attrs.evolve(BYBIT_RULES[Market.OPTION], args_length=10**6)
    fake = FakeBybit([], rules=rules, pace=NEVER)
    async with open_fake(fake), open_ws(fake.ws_url + PATH) as ws:
        topics = [f"tickers.{number}" for number in range(2_001)]
        assert json.loads(await ask(ws, subscribe(*topics)))["success"] is False
        assert json.loads(await ask(ws, subscribe(*topics[:2_000])))["success"] is True
        assert json.loads(await ask(ws, subscribe(topics[2_000])))["success"] is False


@pytest.mark.parametrize(
    ("rules", "accepted"),
    [
        (attrs.evolve(BYBIT_RULES[Market.OPTION], connections_per_5_minutes=2), 2),
        (attrs.evolve(BYBIT_RULES[Market.OPTION], concurrent_connections=1), 1),
    ],
)
async def test_connections_beyond_a_limit_are_refused(rules: BybitRules, accepted: int) -> None:
    async with (
        open_fake(FakeBybit([], rules=rules, pace=NEVER)) as fake,
        open_ws(fake.ws_url + PATH) as first,
    ):
        if accepted == 2:
            async with open_ws(fake.ws_url + PATH):
                pass
        stream, head = await shake_hands(fake.ws_url + PATH)
        await stream.aclose()
        assert head.startswith(b"HTTP/1.1 403")
        assert json.loads(await ask(first, {"op": "ping"}))["op"] == "pong"
    assert (fake.connections_accepted, fake.connections_refused) == (accepted, 1)


@pytest.mark.parametrize("market", [Market.LINEAR, Market.INVERSE])
async def test_a_late_subscriber_gets_a_ticker_merged_from_its_deltas(market: Market) -> None:
    symbol = "BTCUSD" if market is Market.INVERSE else "BTCUSDT"
    topic, other = f"tickers.{symbol}", f"publicTrade.{symbol}"
    source = MarketSimulator(Exchange.BYBIT, market, [symbol], seconds=5)
    fake = FakeBybit(source, market, pace=Flood(start_after={other}))
    url = f"{fake.ws_url}/v5/public/{market.value}"
    async with open_fake(fake):
        url = f"{fake.ws_url}/v5/public/{market.value}"
        async with open_ws(url) as early, open_ws(url) as late:
            await ask(early, subscribe(topic))
            state: dict[str, Any] = json.loads(await text_of(early))
            await ask(early, subscribe(other))
            with trio.fail_after(PATIENCE):
                await fake.finished.wait()
            heard = [json.loads(text) for text in await texts(early, fake.sent.total() - 1)]
            for message in heard:
                if message["topic"] == topic:
                    state["data"] |= message["data"]
                    state |= {key: message[key] for key in ("cs", "ts")}
            await ask(late, subscribe(topic))
            assert json.loads(await text_of(late)) == state
    assert state["type"] == "snapshot"

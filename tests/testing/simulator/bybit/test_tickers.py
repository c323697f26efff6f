"""Tickers, liquidations and full books of the simulated Bybit, read with json."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from farm.testing.source import full_book_reply
from farm.types import Exchange, Market
from tests.testing.clients import PlainBook
from tests.testing.simulator.stories import Story, read, tell

SYMBOLS = {Market.SPOT: "BTCUSDT", Market.LINEAR: "BTCUSDT", Market.INVERSE: "BTCUSD"}


@pytest.fixture(scope="module", params=list(SYMBOLS), ids=lambda market: market.value)
def told(request: pytest.FixtureRequest) -> tuple[Market, str, Story]:
    symbol = SYMBOLS[request.param]
    return request.param, symbol, read(tell(Exchange.BYBIT, request.param, [symbol], 60))


SPOT_FIELDS = [
    "symbol", "lastPrice", "highPrice24h", "lowPrice24h", "prevPrice24h", "volume24h",
    "turnover24h", "price24hPcnt", "usdIndexPrice",
]  # fmt: skip
FIELDS = [
    "symbol", "tickDirection", "price24hPcnt", "lastPrice", "prevPrice24h", "highPrice24h",
    "lowPrice24h", "prevPrice1h", "markPrice", "indexPrice", "openInterest", "openInterestValue",
    "turnover24h", "volume24h", "fundingIntervalHour", "fundingCap", "singleOpenInterest",
    "singleOpenInterestValue", "nextFundingTime", "fundingRate", "bid1Price", "bid1Size",
    "ask1Price", "ask1Size", "preOpenPrice", "preQty", "curPreListingPhase",
]  # fmt: skip


def test_tickers_start_with_a_snapshot_of_every_field(told: tuple[Market, str, Story]) -> None:
    market, symbol, story = told
    first, *others = story[f"tickers.{symbol}"]
    assert first["type"] == "snapshot"
    if market is Market.SPOT:
        assert list(first) == ["topic", "ts", "type", "cs", "data"]
        assert {message["type"] for message in others} == {"snapshot"}
        assert all(list(message["data"]) == SPOT_FIELDS for message in [first, *others])
    else:
        assert list(first) == ["topic", "type", "data", "cs", "ts"]
        assert {message["type"] for message in others} == {"delta"}
        assert list(first["data"]) == FIELDS
    sequence = [message["cs"] for message in [first, *others]]
    assert sequence == sorted(sequence)


def test_deltas_hold_what_changed_and_nothing_else(told: tuple[Market, str, Story]) -> None:
    market, symbol, story = told
    if market is Market.SPOT:
        return
    first, *deltas = story[f"tickers.{symbol}"]
    state: dict[str, Any] = dict(first["data"])
    changed: set[str] = set()
    for message in deltas:
        data = message["data"]
        assert next(iter(data)) == "symbol"
        moved = {key for key in data if data[key] != state[key]}
        assert moved
        pairs = {"bid1Price", "bid1Size", "ask1Price", "ask1Size"}
        assert set(data) - moved <= {"symbol", *pairs}
        assert ("bid1Price" in data) is ("bid1Size" in data)
        changed |= moved
        state |= data
    assert {
        "markPrice", "indexPrice", "openInterest", "fundingRate", "lastPrice", "bid1Price",
        "bid1Size", "ask1Price", "ask1Size", "volume24h", "turnover24h",
    } <= changed  # fmt: skip
    trades = [row for message in story[f"publicTrade.{symbol}"] for row in message["data"]]
    known = [row for row in trades if row["T"] < deltas[-1]["ts"]]
    assert (state["lastPrice"], state["tickDirection"]) == (known[-1]["p"], known[-1]["L"])
    assert Decimal(state["volume24h"]) == sum(Decimal(row["v"]) for row in known)
    assert int(state["nextFundingTime"]) % (8 * 3_600_000) == 0


def test_dated_contracts_have_no_funding_and_a_delivery_time() -> None:
    symbol = "BTCUSDT-26SEP25"
    story = read(tell(Exchange.BYBIT, Market.LINEAR, [symbol], 5))
    data = story[f"tickers.{symbol}"][0]["data"]
    assert (data["fundingRate"], data["nextFundingTime"]) == ("", "")
    assert data["deliveryTime"] == "1758873600000"


def test_liquidations_name_the_side_of_the_position(told: tuple[Market, str, Story]) -> None:
    """A taker's sale at a price closes a long position, so the side is Buy."""
    market, symbol, story = told
    messages = story.get(f"allLiquidation.{symbol}", [])
    if market is Market.SPOT:
        assert messages == []
        return
    trades = [row for message in story[f"publicTrade.{symbol}"] for row in message["data"]]
    for message in messages:
        assert list(message) == ["topic", "type", "ts", "data"]
        assert message["ts"] % 500 == 0
        for row in message["data"]:
            assert list(row) == ["T", "s", "S", "v", "p"]
            assert 0 <= message["ts"] - row["T"] <= 500
            takers = {"Buy": "Sell", "Sell": "Buy"}[row["S"]]
            same = [t for t in trades if (t["T"], t["v"], t["S"]) == (row["T"], row["v"], takers)]
            assert same
            worse = Decimal(row["p"]) < Decimal(same[0]["p"])
            assert worse is (row["S"] == "Buy")
    assert max(len(message["data"]) for message in messages) > 1
    assert {row["S"] for message in messages for row in message["data"]} == {"Buy", "Sell"}


def test_the_full_book_goes_on_from_its_reply(told: tuple[Market, str, Story]) -> None:
    market, symbol, story = told
    if market is Market.INVERSE:
        assert f"orderbook.full.{symbol}" not in story
        return
    [reply] = story[full_book_reply(symbol)]
    result = reply["result"]
    assert list(reply) == ["retCode", "retMsg", "result", "retExtInfo", "time"]
    assert list(result) == ["s", "b", "a", "u", "seq", "ts", "cts"]
    full, best = PlainBook(dict(result["b"]), dict(result["a"])), PlainBook()
    wide = {message["ts"]: message for message in story[f"orderbook.1000.{symbol}"]}
    last, compared = result, 0
    [opening, *_] = wide.values()
    best.change(opening["data"]["b"], opening["data"]["a"])
    for message in story[f"orderbook.full.{symbol}"]:
        data = message["data"]
        assert (message["type"], data["u"]) == ("delta", last["u"] + 1)
        assert data["seq"] > last["seq"]
        assert message["ts"] % 200 == 0
        full.change(data["b"], data["a"])
        last = data
        if message["ts"] in wide:
            best.change(wide[message["ts"]]["data"]["b"], wide[message["ts"]]["data"]["a"])
            compared += 1
            assert full.top == best.top
    assert compared > 100

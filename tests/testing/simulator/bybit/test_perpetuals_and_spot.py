"""An independent look at simulated spot, linear and inverse: only their texts, and the engine's
book as truth."""

from __future__ import annotations

import itertools
import json
import uuid
from decimal import Decimal
from typing import Any

import pytest

from farm.testing import MarketSimulator, Push
from farm.testing.simulator.matching import BookSide
from farm.types import Exchange, Market
from tests.testing.clients import PlainBook

SYMBOL = "BTCUSDT"
SECONDS = 130
MARKETS = [Market.SPOT, Market.LINEAR, Market.INVERSE]


def simulator(
    market: Market, *, levels: int = 300, rate: float = 60, seconds: float = SECONDS
) -> MarketSimulator:
    return MarketSimulator(
        Exchange.BYBIT, market, [SYMBOL], seed=6, rate=rate, seconds=seconds, levels=levels
    )


@pytest.fixture(scope="module", params=MARKETS, ids=lambda market: market.value)
def told(request: pytest.FixtureRequest) -> tuple[Market, list[Push]]:
    return request.param, list(simulator(request.param))


def messages(pushes: list[Push], topic: str) -> list[Any]:
    return [json.loads(push.text) for push in pushes if push.stream == topic]


def truth(side: BookSide, depth: int, tick: Decimal, lot: Decimal) -> list[tuple[Decimal, Decimal]]:
    return [(price * tick, side.totals[price] * lot) for price in side.top(depth)]


def levels(side: dict[str, str], *, best_first: bool) -> list[tuple[Decimal, Decimal]]:
    found = [(Decimal(price), Decimal(size)) for price, size in side.items()]
    return sorted(found, reverse=best_first)


@pytest.mark.parametrize("market", MARKETS)
@pytest.mark.parametrize(("depth", "levels_kept"), [(1, 50), (50, 80), (200, 300), (1000, 1200)])
def test_the_clients_window_is_the_engines_top(
    market: Market, depth: int, levels_kept: int
) -> None:
    source = simulator(market, levels=levels_kept, seconds=20)
    [listed] = source.instruments
    tick, lot = Decimal(listed.tick), Decimal(listed.lot)
    book = PlainBook()
    last: Any = None
    left = 0
    for push in source:
        if push.stream != f"orderbook.{depth}.{SYMBOL}":
            continue
        message = json.loads(push.text)
        data = message["data"]
        if message["type"] == "snapshot":
            assert last is None or depth == 1
            book = PlainBook()
        else:
            assert data["u"] == last["data"]["u"] + 1
            left += sum(size == "0" for _, size in data["b"] + data["a"])
        if last is not None:
            assert data["seq"] >= last["data"]["seq"]
        assert message["cts"] <= message["ts"] == push.time // 1_000_000
        book.change(data["b"], data["a"])
        engine = source.book(SYMBOL)
        assert levels(book.bids, best_first=True) == truth(engine.bids, depth, tick, lot)
        assert levels(book.asks, best_first=False) == truth(engine.asks, depth, tick, lot)
        assert not book.crossed
        last = message
    assert last is not None
    assert left > 0 or depth == 1


def test_depth_one_repeats_itself_under_the_same_u() -> None:
    quiet = MarketSimulator(Exchange.BYBIT, Market.LINEAR, [SYMBOL], seed=1, rate=0.5, seconds=120)
    pushes = [push for push in quiet if push.stream == f"orderbook.1.{SYMBOL}"]
    found = [json.loads(push.text) for push in pushes]
    assert {message["type"] for message in found} == {"snapshot"}
    steps = set()
    for one, other in itertools.pairwise(found):
        step = other["data"]["u"] - one["data"]["u"]
        same = all(one["data"][side] == other["data"][side] for side in "ba")
        assert (step == 0) is same
        assert other["ts"] - one["ts"] <= 3000
        steps.add(step)
    assert steps == {0, 1}


def test_one_message_holds_all_trades_of_one_taker(told: tuple[Market, list[Push]]) -> None:
    market, pushes = told
    found = messages(pushes, f"publicTrade.{SYMBOL}")
    ids = []
    for message in found:
        rows = message["data"]
        assert len({(row["S"], row["T"], row["seq"]) for row in rows}) == 1
        prices = [Decimal(row["p"]) for row in rows]
        assert prices == sorted(prices, reverse=rows[0]["S"] == "Sell")
        ids += [row["i"] for row in rows]
    assert max(len(message["data"]) for message in found) > 1
    assert len(set(ids)) == len(ids)
    if market is not Market.SPOT:
        assert all(str(uuid.UUID(text)) == text for text in ids)
    else:
        assert all(text.isdecimal() for text in ids)
        assert list(map(int, ids)) == sorted(map(int, ids))
    seqs = [message["data"][0]["seq"] for message in found]
    assert all(one < other for one, other in itertools.pairwise(seqs))


def test_tick_directions_compare_with_the_last_price() -> None:
    rows = [
        row
        for message in messages(list(simulator(Market.LINEAR)), f"publicTrade.{SYMBOL}")
        for row in message["data"]
    ]
    assert {row["L"] for row in rows} == {"PlusTick", "ZeroPlusTick", "MinusTick", "ZeroMinusTick"}
    for one, other in itertools.pairwise(rows):
        moved = Decimal(other["p"]) - Decimal(one["p"])
        if moved == 0:
            assert other["L"] == "Zero" + one["L"].removeprefix("Zero")
        else:
            assert other["L"] == ("PlusTick" if moved > 0 else "MinusTick")


def test_a_closing_candle_is_the_sum_of_its_trades_and_brings_the_next(
    told: tuple[Market, list[Push]],
) -> None:
    market, pushes = told
    trades = [r for m in messages(pushes, f"publicTrade.{SYMBOL}") for r in m["data"]]
    closing = [m["data"] for m in messages(pushes, f"kline.1.{SYMBOL}") if len(m["data"]) > 1]
    assert len(closing) == SECONDS // 60
    for old, new in closing:
        assert (old["confirm"], new["confirm"]) == (True, False)
        assert new["start"] == old["end"] + 1
        assert {new[key] for key in ("open", "close", "high", "low")} == {old["close"]}
        assert (new["volume"], new["turnover"]) == ("0", "0")
        inside = [t for t in trades if old["start"] <= t["T"] <= old["end"]]
        assert inside
        prices = [Decimal(t["p"]) for t in inside]
        assert Decimal(old["volume"]) == sum(Decimal(t["v"]) for t in inside)
        pairs = [(Decimal(t["v"]), Decimal(t["p"])) for t in inside]
        if market is Market.INVERSE:  # volume in dollars, turnover in coins
            coins = sum(size / price for size, price in pairs)
            assert 0 <= coins - Decimal(old["turnover"]) < Decimal("1e-8") * len(pairs)
        else:
            assert Decimal(old["turnover"]) == sum(size * price for size, price in pairs)
        assert Decimal(old["close"]) == prices[-1]
        assert Decimal(old["high"]) == max(*prices, Decimal(old["open"]))
        assert Decimal(old["low"]) == min(*prices, Decimal(old["open"]))
    assert closing[1][0]["open"] == closing[0][0]["close"]


def test_keys_and_numbers_are_spelled_as_the_category_does(told: tuple[Market, list[Push]]) -> None:
    market, pushes = told
    trade = messages(pushes, f"publicTrade.{SYMBOL}")[0]
    book = messages(pushes, f"orderbook.50.{SYMBOL}")[1]
    kline = messages(pushes, f"kline.1.{SYMBOL}")[0]
    prices = {p for m in messages(pushes, f"orderbook.50.{SYMBOL}") for p, _ in m["data"]["b"]}
    spelled = {len(price.partition(".")[2]) for price in prices}
    if market is Market.SPOT:
        assert list(trade) == ["topic", "ts", "type", "data"]
        assert list(trade["data"][0]) == ["i", "T", "p", "v", "S", "seq", "s", "BT", "RPI"]
        assert list(book) == ["topic", "ts", "type", "data", "cts"]
        assert list(kline) == ["type", "topic", "data", "ts"]
        assert spelled == {0, 1}
    else:
        assert list(trade) == ["topic", "type", "ts", "data"]
        assert list(trade["data"][0]) == ["T", "s", "S", "v", "p", "L", "i", "BT", "RPI", "seq"]
        assert list(book) == ["topic", "type", "ts", "data", "cts"]
        assert list(kline) == ["topic", "data", "ts", "type"]
        assert spelled == {2}
    assert list(book["data"]) == ["s", "b", "a", "u", "seq"]
    assert list(kline["data"][0]) == [
        "start", "end", "interval", "open", "close", "high", "low", "volume", "turnover",
        "confirm", "timestamp",
    ]  # fmt: skip

"""An independent look at the simulated Binance: only its texts, read with json."""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from decimal import Decimal
from typing import Any

import pytest

from farm.testing import MarketSimulator, Push, depth_reply
from farm.types import Exchange, Market
from tests.testing.clients import PlainBook

SYMBOL = "ETHUSDT"
SECONDS = 130

Story = dict[str, list[Any]]


def by_stream(pushes: list[Push]) -> Story:
    found: Story = defaultdict(list)
    for push in pushes:
        name = push.stream.partition("@")[2] or "snapshot"
        if push.stream.startswith("!"):
            name = push.stream
        found[name].append(json.loads(push.text, parse_float=Decimal))
    return found


@pytest.fixture(scope="module")
def pushes() -> list[Push]:
    return list(
        MarketSimulator(Exchange.BINANCE, Market.SPOT, [SYMBOL], seed=5, rate=60, seconds=SECONDS)
    )


@pytest.fixture(scope="module")
def story(pushes: list[Push]) -> Story:
    return by_stream(pushes)


def test_every_stream_is_told(story: Story) -> None:
    partial = {f"depth{n}{speed}" for n in (5, 10, 20) for speed in ("", "@100ms")}
    klines = {f"kline_{interval}" for interval in ("1s", "1m", "5m", "1h")}
    assert set(story) == {
        "snapshot", "trade", "aggTrade", "bookTicker", "depth", "depth@100ms", *partial, *klines,
        "miniTicker", "ticker", "!miniTicker@arr",
    }  # fmt: skip


def test_keys_stand_in_the_venues_order(story: Story) -> None:
    assert {
        "trade": list(story["trade"][0]),
        "aggTrade": list(story["aggTrade"][0]),
        "bookTicker": list(story["bookTicker"][0]),
        "depth": list(story["depth@100ms"][0]),
        "partial": list(story["depth5"][0]),
        "kline": list(story["kline_1m"][0]["k"]),
        "miniTicker": list(story["miniTicker"][0]),
        "ticker": list(story["ticker"][0]),
    } == {
        "trade": ["e", "E", "s", "t", "p", "q", "T", "m", "M"],
        "aggTrade": ["e", "E", "s", "a", "p", "q", "f", "l", "T", "m", "M"],
        "bookTicker": ["u", "s", "b", "B", "a", "A"],
        "depth": ["e", "E", "s", "U", "u", "b", "a"],
        "partial": ["lastUpdateId", "bids", "asks"],
        "kline": list("tTsifLochlvnxqVQB"),
        "miniTicker": list("eEscohlvq"),
        "ticker": list("eEspPwxcQbBaAohlvqOCFLn"),
    }
    assert story["trade"][0]["p"].partition(".")[2] in {f"{n:02}000000" for n in range(100)}


@pytest.mark.parametrize("speed", ["depth", "depth@100ms"])
def test_diffs_are_contiguous_and_the_book_equals_the_quotes(story: Story, speed: str) -> None:
    [snapshot] = story["snapshot"]
    quotes = {quote["u"]: quote for quote in story["bookTicker"]}
    partials = {p["lastUpdateId"]: p for p in story["depth5" + speed.removeprefix("depth")]}
    book = PlainBook()
    book.change(snapshot["bids"], snapshot["asks"])
    last = snapshot["lastUpdateId"]
    compared = 0
    for diff in story[speed]:
        assert diff["U"] == last + 1
        assert diff["u"] >= diff["U"]
        last = diff["u"]
        book.change(diff["b"], diff["a"])
        assert not book.crossed
        if (quote := quotes.get(last)) is not None:
            compared += 1
            assert book.top == (quote["b"], quote["B"], quote["a"], quote["A"])
        best = sorted(book.bids, key=float, reverse=True)[:5], sorted(book.asks, key=float)[:5]
        assert partials[last]["bids"] == [[price, book.bids[price]] for price in best[0]]
        assert partials[last]["asks"] == [[price, book.asks[price]] for price in best[1]]
    assert compared > 0.1 * len(story[speed]) > 10


def test_quotes_come_with_every_change_of_the_top(story: Story) -> None:
    tops = [(q["b"], q["B"], q["a"], q["A"]) for q in story["bookTicker"]]
    assert all(one != other for one, other in itertools.pairwise(tops))
    ids = [quote["u"] for quote in story["bookTicker"]]
    assert all(one < other for one, other in itertools.pairwise(ids))


def test_trade_ids_are_contiguous_and_aggregates_cover_the_trades(story: Story) -> None:
    trades = {trade["t"]: trade for trade in story["trade"]}
    ids = list(trades)
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    following = ids[0]
    number = story["aggTrade"][0]["a"]
    for agg in story["aggTrade"]:
        assert (agg["a"], agg["f"]) == (number, following)
        number, following = number + 1, agg["l"] + 1
        covered = [trades[t] for t in range(agg["f"], agg["l"] + 1)]
        assert {(t["p"], t["m"], t["T"]) for t in covered} == {(agg["p"], agg["m"], agg["T"])}
        assert sum(Decimal(t["q"]) for t in covered) == Decimal(agg["q"])
    assert following == ids[-1] + 1
    assert any(agg["f"] < agg["l"] for agg in story["aggTrade"])


@pytest.mark.parametrize(("interval", "closed"), [("1s", SECONDS), ("1m", SECONDS // 60)])
def test_candles_are_the_sum_of_their_trades(story: Story, interval: str, closed: int) -> None:
    candles = [message["k"] for message in story[f"kline_{interval}"] if message["k"]["x"]]
    assert len(candles) == closed
    for candle in candles:
        inside = [t for t in story["trade"] if candle["t"] <= t["T"] <= candle["T"]]
        assert candle["n"] == len(inside)
        if not inside:
            assert (candle["f"], candle["L"]) == (-1, -1)
            continue
        prices = [Decimal(trade["p"]) for trade in inside]
        sizes = [Decimal(trade["q"]) for trade in inside]
        bought = [not trade["m"] for trade in inside]
        assert (candle["f"], candle["L"]) == (inside[0]["t"], inside[-1]["t"])
        assert [Decimal(candle[key]) for key in "ohlc"] == [
            prices[0], max(prices), min(prices), prices[-1]
        ]  # fmt: skip
        values = [price * size for price, size in zip(prices, sizes, strict=True)]
        assert Decimal(candle["v"]) == sum(sizes)
        assert Decimal(candle["q"]) == sum(values)
        assert Decimal(candle["V"]) == sum(s for s, b in zip(sizes, bought, strict=True) if b)
        assert Decimal(candle["Q"]) == sum(v for v, b in zip(values, bought, strict=True) if b)


def test_trades_stand_between_the_quotes_around_them(pushes: list[Push]) -> None:
    """A buyer pays the ask that the last quote showed, or more; a seller gets its bid, or less."""
    quote: dict[str, str] | None = None
    seen = 0
    for push in pushes:
        if push.stream.endswith("@bookTicker"):
            quote = json.loads(push.text)
        elif push.stream.endswith("@trade") and quote is not None:
            trade = json.loads(push.text)
            seen += 1
            if trade["m"]:
                assert Decimal(trade["p"]) <= Decimal(quote["b"])
            else:
                assert Decimal(trade["p"]) >= Decimal(quote["a"])
    assert seen > 100


def test_the_opening_is_the_rest_snapshot(pushes: list[Push]) -> None:
    assert pushes[0].stream == depth_reply(SYMBOL)
    assert pushes[0].silent


def test_tickers_sum_up_the_day_so_far(story: Story) -> None:
    """Each second in which something traded, and the array of the market has the same rows."""
    for ticker, mini in zip(story["ticker"], story["miniTicker"], strict=True):
        so_far = [trade for trade in story["trade"] if trade["t"] <= ticker["L"]]
        assert len(so_far) >= sum(trade["E"] < ticker["E"] for trade in story["trade"])
        prices = [Decimal(trade["p"]) for trade in so_far]
        assert (ticker["F"], ticker["L"], ticker["n"]) == (
            so_far[0]["t"], so_far[-1]["t"], len(so_far)
        )  # fmt: skip
        assert Decimal(ticker["v"]) == sum(Decimal(trade["q"]) for trade in so_far)
        assert (ticker["c"], ticker["Q"]) == (so_far[-1]["p"], so_far[-1]["q"])
        assert Decimal(ticker["h"]) == max(*prices, Decimal(ticker["o"]))
        assert Decimal(ticker["c"]) - Decimal(ticker["o"]) == Decimal(ticker["p"])
        average = Decimal(ticker["q"]) / Decimal(ticker["v"])
        assert abs(average - Decimal(ticker["w"])) < Decimal("1e-7")
        assert all(ticker[key] == value for key, value in mini.items() if key != "e")
    assert story["!miniTicker@arr"] == [[mini] for mini in story["miniTicker"]]
    assert any(ticker["p"].startswith("-") for ticker in story["ticker"])

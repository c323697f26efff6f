"""An independent look at simulated USD-M and COIN-M: only their texts, read with json."""

from __future__ import annotations

import itertools
from decimal import Decimal
from typing import Any

import attrs
import pytest

from farm.testing import Push, depth_reply
from farm.types import Exchange, Market
from tests.testing.clients import PlainBook
from tests.testing.simulator.stories import Story, read, tell

SECONDS = 130


@attrs.frozen
class Told:
    """One futures market with a perpetual and a dated contract, and what is different there."""

    market: Market
    symbol: str
    dated: str
    pair: str
    universe: int
    pushes: list[Push]
    story: Story

    def of(self, kind: str, symbol: str = "") -> list[Any]:
        return self.story[f"{(symbol or self.symbol).lower()}@{kind}"]


@pytest.fixture(scope="module", params=["usdm", "coinm"])
def told(request: pytest.FixtureRequest) -> Told:
    market = Market(request.param)
    names = {
        Market.USDM: ("BTCUSDT", "BTCUSDT_260925", "BTCUSDT", 1),
        Market.COINM: ("BTCUSD_PERP", "BTCUSD_260925", "BTCUSD", 2),
    }[market]
    pushes = tell(Exchange.BINANCE, market, list(names[:2]), SECONDS)
    return Told(market, *names, pushes, read(pushes))


def test_every_stream_is_told(told: Told) -> None:
    speeds = ("", "@100ms", "@500ms")
    kinds = {
        "trade", "aggTrade", "bookTicker", "markPrice", "markPrice@1s", "forceOrder",
        "miniTicker", "ticker", *(f"kline_{interval}" for interval in ("1m", "5m", "1h")),
        *(f"depth{depth}{speed}" for depth in ("", 5, 10, 20) for speed in speeds),
    }  # fmt: skip
    contracts = ((told.symbol, "perpetual"), (told.dated, "current_quarter"))
    expected = {f"{symbol.lower()}@{kind}" for symbol, _ in contracts for kind in kinds}
    expected |= {
        f"{told.pair.lower()}_{kind}@continuousKline_{interval}"
        for _, kind in contracts
        for interval in ("1m", "5m", "1h")
    }
    expected |= {depth_reply(symbol) for symbol, _ in contracts}
    expected |= {f"/openInterest?symbol={symbol}" for symbol, _ in contracts}
    expected |= {
        "!markPrice@arr", "!markPrice@arr@1s", "!miniTicker@arr", "!ticker@arr", "!forceOrder@arr",
        "!bookTicker", "!contractInfo",
    }  # fmt: skip
    assert set(told.story) == expected


KEYS = {
    Market.USDM: {
        "trade": "e E T s t p q X m st",
        "aggTrade": "e E a s p q nq f l T m st",
        "bookTicker": "e u s ps b B a A T E st",
        "depth@100ms": "e E T s U u pu b a ps st",
        "depth5": "e E T s U u pu b a ps st",
        "markPrice": "e E s p ap P i r T st",
        "miniTicker": "e E s c o h l v q ps st",
        "ticker": "e E s p P w c Q o h l v q O C F L n ps st",
        "kline_1m": "e E s k",
        "forceOrder": "e E o",
    },
    Market.COINM: {
        "trade": "e E T s t p q X m",
        "aggTrade": "e E a s p q f l T m st",
        "bookTicker": "e u s ps b B a A T E st",
        "depth@100ms": "e E T s ps U u pu b a st",
        "depth5": "e E T s ps U u pu b a st",
        "markPrice": "e E s p ap P i r T st",
        "miniTicker": "e E s ps c o h l v q st",
        "ticker": "e E s p P w c Q o h l v q O C F L n ps st",
        "kline_1m": "e E s k",
        "forceOrder": "e E o",
    },
}


def test_keys_stand_in_the_venues_order(told: Told) -> None:
    for kind, keys in KEYS[told.market].items():
        for payload in told.of(kind):
            assert " ".join(payload) == keys, kind
            assert payload.get("st", told.universe) == told.universe
            assert payload.get("ps", told.pair) == told.pair
    [snapshot] = told.story[depth_reply(told.symbol)]
    names = ["symbol", "pair"] if told.market is Market.COINM else []
    assert list(snapshot) == ["lastUpdateId", "E", "T", *names, "bids", "asks"]
    order = told.of("forceOrder")[0]["o"]
    assert list(order) == ["s", "S", "o", "f", "q", "p", "ap", "X", "l", "z", "T", "ps", "st"]
    candle = told.of("kline_1m")[0]["k"]
    assert list(candle) == list("tTsifLochlvnxqVQB")


@pytest.mark.parametrize("speed", ["", "@100ms", "@500ms"])
def test_diffs_hang_together_by_pu_alone_and_the_book_equals_the_quotes(
    told: Told, speed: str
) -> None:
    [snapshot] = told.story[depth_reply(told.symbol)]
    diffs = told.of(f"depth{speed}")
    quotes = {quote["u"]: quote for quote in told.of("bookTicker")}
    partials = {partial["u"]: partial for partial in told.of(f"depth5{speed}")}
    book = PlainBook()
    book.change(snapshot["bids"], snapshot["asks"])
    last, compared = snapshot["lastUpdateId"], 0
    for diff in diffs:
        assert diff["pu"] == last
        assert diff["pu"] + 1 < diff["U"] <= diff["u"]
        assert diff["T"] <= diff["E"]
        last = diff["u"]
        book.change(diff["b"], diff["a"])
        assert not book.crossed
        if (quote := quotes.get(last)) is not None:
            compared += 1
            assert book.top == (quote["b"], quote["B"], quote["a"], quote["A"])
        best = sorted(book.bids, key=float, reverse=True)[:5], sorted(book.asks, key=float)[:5]
        assert partials[last]["b"] == [[price, book.bids[price]] for price in best[0]]
        assert partials[last]["a"] == [[price, book.asks[price]] for price in best[1]]
        assert {partials[last][key] == diff[key] for key in ("E", "T", "U", "pu")} == {True}
    assert compared > 0.1 * len(diffs) > 20


def test_the_speeds_are_the_venues(told: Told) -> None:
    counts = {speed: len(told.of(f"depth{speed}")) for speed in ("@100ms", "", "@500ms")}
    periods = {"@100ms": 100, "": 250, "@500ms": 500}
    for speed, period in periods.items():
        most = SECONDS * 1000 // period
        assert 0.9 * most < counts[speed] <= most
        assert {diff["E"] % period for diff in told.of(f"depth{speed}")} == {0}


def test_trade_ids_are_contiguous_counting_those_of_no_trade(told: Told) -> None:
    trades = told.of("trade")
    ids = [trade["t"] for trade in trades]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    kinds = {kind: [t for t in trades if t["X"] == kind] for kind in {t["X"] for t in trades}}
    assert set(kinds) == {"MARKET", "NA", "INSURANCE_FUND"}
    assert {(trade["p"], trade["q"]) for trade in kinds["NA"]} == {("0", "0")}
    assert len(kinds["MARKET"]) > 10 * len(kinds["NA"]) > 100
    usual = {Decimal(trade["p"]) for trade in kinds["MARKET"]}
    assert all(Decimal(trade["p"]) < min(usual) * 9 / 10 for trade in kinds["INSURANCE_FUND"])


def test_aggregates_cover_market_trades_and_skip_the_other_ids(told: Told) -> None:
    trades = {trade["t"]: trade for trade in told.of("trade")}
    aggregates = told.of("aggTrade")
    covered: list[int] = []
    for one, other in itertools.pairwise(aggregates):
        assert other["a"] == one["a"] + 1
        assert other["f"] > one["l"]
    for aggregate in aggregates:
        inside = [trades[t] for t in range(aggregate["f"], aggregate["l"] + 1)]
        inside = [trade for trade in inside if trade["X"] == "MARKET"]
        covered += [trade["t"] for trade in inside]
        assert {(t["p"], t["m"]) for t in inside} == {(aggregate["p"], aggregate["m"])}
        assert sum(Decimal(t["q"]) for t in inside) == Decimal(aggregate["q"])
        assert aggregate["T"] == inside[0]["T"]
        assert aggregate["E"] - aggregate["T"] <= 100
        if told.market is Market.USDM:
            assert Decimal(aggregate["nq"]) <= Decimal(aggregate["q"])
    market = [t for t, trade in trades.items() if trade["X"] == "MARKET"]
    assert covered == market[: len(covered)]
    assert len(market) - len(covered) < 20  # the last bundle is open
    assert any(aggregate["f"] < aggregate["l"] for aggregate in aggregates)
    if told.market is Market.USDM:
        assert any(aggregate["nq"] != aggregate["q"] for aggregate in aggregates)


def test_candles_are_the_sum_of_their_market_trades(told: Told) -> None:
    closed = [message["k"] for message in told.of("kline_1m") if message["k"]["x"]]
    assert len(closed) == SECONDS // 60
    for candle in closed:
        inside = [t for t in told.of("trade") if candle["t"] <= t["T"] <= candle["T"]]
        inside = [trade for trade in inside if trade["X"] == "MARKET"]
        prices, sizes = ([Decimal(trade[key]) for trade in inside] for key in "pq")
        assert (candle["f"], candle["L"]) == (inside[0]["t"], inside[-1]["t"])
        assert candle["n"] == len(inside)
        assert [Decimal(candle[key]) for key in "ohlc"] == [
            prices[0], max(prices), min(prices), prices[-1]
        ]  # fmt: skip
        assert Decimal(candle["v"]) == sum(sizes)
        pairs = list(zip(prices, sizes, strict=True))
        if told.market is Market.USDM:
            assert Decimal(candle["q"]) == sum(price * size for price, size in pairs)
        else:
            coins = sum(100 * size / price for price, size in pairs)
            assert 0 <= coins - Decimal(candle["q"]) < Decimal("1e-8") * len(pairs)


def test_a_continuous_candle_is_its_contracts_candle_under_the_pairs_name(told: Told) -> None:
    for symbol, kind in ((told.symbol, "PERPETUAL"), (told.dated, "CURRENT_QUARTER")):
        name = f"{told.pair.lower()}_{kind.lower()}@continuousKline_1m"
        for own, other in zip(told.of("kline_1m", symbol), told.story[name], strict=True):
            assert list(other) == ["e", "E", "ps", "ct", "k"]
            assert (other["e"], other["ps"], other["ct"]) == ("continuous_kline", told.pair, kind)
            assert "s" not in other["k"]
            assert {**other["k"], "s": symbol} == own["k"]


def test_mark_prices_come_each_second_and_each_third(told: Told) -> None:
    fast, slow = told.of("markPrice@1s"), told.of("markPrice")
    assert [mark["E"] % 1000 for mark in fast] == [0] * SECONDS
    assert [mark for mark in fast if mark["E"] % 3000 == 0] == slow
    for mark in fast:
        assert mark["T"] > mark["E"]
        assert mark["T"] % (8 * 3_600_000) == 0
        assert abs(Decimal(mark["r"])) < Decimal("0.01")
        assert abs(Decimal(mark["p"]) / Decimal(mark["i"]) - 1) < Decimal("0.001")
    assert len({mark["r"] for mark in fast}) > 10
    assert {(mark["r"], mark["T"]) for mark in told.of("markPrice", told.dated)} == {("", 0)}


def test_a_liquidation_is_a_taker_order_and_at_most_one_a_second(told: Told) -> None:
    orders = told.of("forceOrder")
    assert {order["o"]["S"] for order in orders} == {"BUY", "SELL"}
    assert len({order["E"] for order in orders}) == len(orders) < SECONDS
    for order in orders:
        data = order["o"]
        assert 0 <= order["E"] - data["T"] <= 1000
        trades = [t for t in told.of("trade") if (t["T"], t["X"]) == (data["T"], "MARKET")]
        taken = [trade for trade in trades if trade["m"] is (data["S"] == "SELL")]
        assert sum(Decimal(trade["q"]) for trade in taken) >= Decimal(data["z"])
        assert data["l"] in {trade["q"] for trade in taken}
        assert (data["z"], data["s"]) == (data["q"], told.symbol)


def test_sizes_of_coinm_are_whole_contracts(told: Told) -> None:
    sizes = {t["q"] for t in told.of("trade")} | {q["B"] for q in told.of("bookTicker")}
    assert all(size.isdecimal() for size in sizes) is (told.market is Market.COINM)


def test_open_interest_is_answered_each_second(told: Told) -> None:
    answers = told.story[f"/openInterest?symbol={told.symbol}"]
    assert len(answers) == SECONDS + 1
    keys = ["symbol", "openInterest", "time"]
    if told.market is Market.COINM:
        keys = ["symbol", "pair", "openInterest", "contractType", "time"]
    assert {tuple(answer) for answer in answers} == {tuple(keys)}
    assert len({answer["openInterest"] for answer in answers}) > 10
    assert all(push.silent for push in told.pushes if push.stream.startswith("/"))

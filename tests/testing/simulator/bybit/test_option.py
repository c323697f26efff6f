"""An independent look at simulated options: only their texts, read with json."""

from __future__ import annotations

import uuid
from decimal import Decimal
from typing import Any

import pytest

from farm.testing import Push
from farm.types import Exchange, Market
from tests.testing.clients import PlainBook
from tests.testing.simulator.stories import Story, read, tell

CALL, PUT = "BTC-25JUN27-106000-C-USDT", "BTC-25JUN27-106000-P-USDT"
OTHER = "XRP-30OCT26-0.4-P-USDT"


@pytest.fixture(scope="module")
def pushes() -> list[Push]:
    return tell(Exchange.BYBIT, Market.OPTION, [CALL, PUT, OTHER], 60)


@pytest.fixture(scope="module")
def story(pushes: list[Push]) -> Story:
    return read(pushes)


def test_every_topic_is_told(story: Story) -> None:
    kinds = ("orderbook.25", "orderbook.100", "tickers")
    expected = {f"{kind}.{symbol}" for kind in kinds for symbol in (CALL, PUT, OTHER)}
    assert set(story) == {*expected, "publicTrade.BTC", "publicTrade.XRP"}


def test_messages_have_an_id_made_of_topic_seq_and_time(story: Story) -> None:
    keys = ["topic", "ts", "type", "id", "data"]
    for topic, messages in story.items():
        for message in messages:
            assert list(message) == keys + (["cts"] if topic.startswith("orderbook") else [])
            name, seq, ts = message["id"].rsplit("-", 2)
            assert (name, int(ts), message["topic"]) == (topic, message["ts"], topic)
            rows = message["data"] if isinstance(message["data"], list) else [message["data"]]
            assert {row["seq"] for row in rows if "seq" in row} <= {int(seq)}


def test_trades_of_a_coin_share_a_topic_and_carry_volatilities(story: Story) -> None:
    rows = [row for message in story["publicTrade.BTC"] for row in message["data"]]
    assert {row["s"] for row in rows} == {CALL, PUT}
    keys = ["i", "T", "p", "v", "S", "seq", "s", "BT", "mP", "iP", "mIv", "iv"]
    for row in rows:
        assert list(row) == keys
        assert str(uuid.UUID(row["i"])) == row["i"]
        assert all(Decimal(row[key]) > 0 for key in ("p", "v", "mP", "iP", "mIv", "iv"))
        assert Decimal(row["p"]) % 5 == 0
    assert {row["S"] for row in rows} == {"Buy", "Sell"}
    assert {row["s"] for m in story["publicTrade.XRP"] for row in m["data"]} == {OTHER}


@pytest.mark.parametrize("symbol", [CALL, OTHER])
@pytest.mark.parametrize("depth", [25, 100])
def test_books_go_on_from_their_snapshot(story: Story, symbol: str, depth: int) -> None:
    first, *deltas = story[f"orderbook.{depth}.{symbol}"]
    assert (first["type"], {delta["type"] for delta in deltas}) == ("snapshot", {"delta"})
    book, last = PlainBook(dict(first["data"]["b"]), dict(first["data"]["a"])), first
    for delta in deltas:
        assert delta["data"]["u"] == last["data"]["u"] + 1
        assert delta["data"]["seq"] >= last["data"]["seq"]
        book.change(delta["data"]["b"], delta["data"]["a"])
        assert not book.crossed
        assert max(len(book.bids), len(book.asks)) <= depth
        last = delta
    assert len(deltas) > 100


FIELDS = [
    "symbol", "bidPrice", "bidSize", "bidIv", "askPrice", "askSize", "askIv", "lastPrice",
    "highPrice24h", "lowPrice24h", "markPrice", "indexPrice", "markPriceIv", "underlyingPrice",
    "openInterest", "turnover24h", "volume24h", "totalVolume", "totalTurnover", "delta", "gamma",
    "vega", "theta", "predictedDeliveryPrice", "change24h",
]  # fmt: skip


def test_tickers_are_snapshots_with_greeks(story: Story) -> None:
    for symbol, sign in ((CALL, 1), (PUT, -1)):
        messages = story[f"tickers.{symbol}"]
        assert {message["type"] for message in messages} == {"snapshot"}
        rows: list[Any] = [message["data"] for message in messages]
        assert all(list(row) == FIELDS for row in rows)
        assert all(Decimal(row["delta"]) * sign >= 0 for row in rows)
        assert all(Decimal(row["theta"]) < 0 < Decimal(row["gamma"]) for row in rows)
        assert rows[0]["lastPrice"] == "0"
        assert Decimal(rows[-1]["lastPrice"]) > 0
        assert len({row["markPriceIv"] for row in rows}) > 5


def test_the_best_prices_of_a_ticker_are_those_of_the_book(story: Story) -> None:
    books = {message["ts"]: message for message in story[f"orderbook.100.{CALL}"]}
    first, book, compared = None, PlainBook(), 0
    tickers = {message["ts"]: message["data"] for message in story[f"tickers.{CALL}"]}
    for ts, message in books.items():
        data = message["data"]
        book.change(data["b"], data["a"])
        first = first or ts
        if ts in tickers and ts != first:
            row = tickers[ts]
            compared += 1
            assert book.top == tuple(
                row[key] for key in ("bidPrice", "bidSize", "askPrice", "askSize")
            )
    assert compared > 100

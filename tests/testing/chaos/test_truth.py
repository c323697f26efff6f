"""The truth of a run is read from the venue's texts alone."""

from __future__ import annotations

import json
from typing import Any

from trio.testing import MockClock

from farm.testing import Push
from farm.testing.chaos.truth import NOW, TrueQuote, Truth, book_key, quote_id, quote_of
from farm.testing.source import depth_reply, full_book_reply

BINANCE = "btcusdt@depth@100ms"
BYBIT = "orderbook.50.BTCUSDT"


def push(stream: str, **message: Any) -> Push:
    return Push(0, stream, json.dumps(message))


def diff(first: int, last: int, *bids: list[str]) -> Push:
    return push(BINANCE, U=first, u=last, b=bids, a=[])


def key(*levels: tuple[bool, float, float]) -> int:
    return book_key(levels)


async def test_a_book_of_binance_begins_with_its_snapshot(autojump_clock: MockClock) -> None:
    truth = Truth({BINANCE: "BTCUSDT"})
    book = truth.books["BTCUSDT"]
    snapshot = {"bids": [["1.0", "2"]], "asks": [["3", "4"]]}
    truth.take(push(depth_reply("BTCUSDT"), lastUpdateId=5, **snapshot))
    assert book.states == {key((True, 1, 2), (False, 3, 4)): NOW}
    autojump_clock.jump(7)
    truth.take(diff(4, 5, ["1", "9"]))  # the snapshot has it
    truth.take(diff(6, 6, ["1.00", "0"], ["2", "8"]))
    assert book.states == {
        key((True, 1, 2), (False, 3, 4)): 7.0,
        key((True, 2, 8), (False, 3, 4)): NOW,
    }
    truth.take(diff(7, 7, ["2", "0"], ["1", "2"]))
    assert book.states[key((True, 1, 2), (False, 3, 4))] == NOW  # it is so again


async def test_a_book_of_bybit_begins_anew_with_each_snapshot(autojump_clock: MockClock) -> None:
    truth = Truth({BYBIT: "BTCUSDT", "orderbook.full.ETHUSDT": "ETHUSDT"})
    book = truth.books["BTCUSDT"]

    def message(kind: str, last: int, bids: list[list[str]]) -> Push:
        data = {"b": bids, "a": [], "u": last}
        return push(BYBIT, topic=BYBIT, type=kind, data=data)

    truth.take(message("delta", 1, [["1", "1"]]))
    assert book.states == {}
    truth.take(message("snapshot", 7, [["1", "1"], ["2", "2"]]))
    truth.take(message("delta", 8, [["2", "0"]]))
    assert book.key == key((True, 1, 1))
    truth.take(message("snapshot", 1, [["5", "5"]]))
    assert book.key == key((True, 5, 5))
    assert len(book.states) == 3
    reply = {"s": "ETHUSDT", "b": [["1", "1"]], "a": [], "u": 3}
    truth.take(push(full_book_reply("ETHUSDT"), result=reply))
    assert truth.books["ETHUSDT"].key == key((True, 1, 1))


async def test_trades_are_noted_whether_anybody_hears_of_them(autojump_clock: MockClock) -> None:
    truth = Truth({})
    autojump_clock.jump(3)
    truth.take(push("btcusdt@trade", s="BTCUSDT", t=7, p="1.5", q="2"))
    truth.take(push("btcusdt@trade", s="BTCUSDT", t=8, p="0", q="0", X="NA"))
    rows = [
        {"s": "BTC-C", "i": "a", "p": "4", "v": "5"},
        {"s": "BTC-P", "i": "b", "p": "1", "v": "1"},
    ]
    truth.take(push("publicTrade.BTC", data=rows))
    trade = truth.trades["BTCUSDT"]["7"]
    assert list(truth.trades["BTCUSDT"]) == ["7"]
    assert (trade.price, trade.quantity, trade.moment) == (1.5, 2.0, 3.0)
    assert truth.trades["BTC-C"]["a"].quantity == 5.0
    assert list(truth.trades) == ["BTCUSDT", "BTC-C", "BTC-P"]
    assert truth.spent == {"BTCUSDT": {"8"}}


async def test_quotes_are_noted_when_they_are_first_told(autojump_clock: MockClock) -> None:
    truth = Truth({})
    ticker = {"u": 7, "s": "BTCUSDT", "b": "1.5", "B": "2", "a": "0.00", "A": "0.0"}
    truth.take(push("btcusdt@bookTicker", **ticker))
    number = quote_id(7, ("1.50", 2), None)
    assert number == "7: 1.5 x 2.0 / nothing"
    assert truth.quotes == {"BTCUSDT": {number: TrueQuote(number, 0.0)}}
    top = {"s": "ETHUSDT", "b": [], "a": [["3", "4"]], "u": 1, "seq": 9}
    autojump_clock.jump(5)
    truth.greet(push("orderbook.1.ETHUSDT", data=top))
    assert "ETHUSDT" not in truth.quotes
    greeted = quote_id(1, None, (3.0, 4.0))
    assert truth.quote("ETHUSDT", greeted) == TrueQuote(greeted, 5.0)
    for _ in range(2):
        truth.take(push("orderbook.1.ETHUSDT", data=top | {"u": 2}))
        autojump_clock.jump(3)
    (told,) = truth.quotes["ETHUSDT"].values()
    assert told == TrueQuote(quote_id(2, None, (3, 4)), 5.0)
    assert truth.quote("BTCUSDT", greeted) is None


def test_what_is_no_quote_is_taken_for_none() -> None:
    assert quote_of(push("btcusdt@trade", u=1)) is None
    assert quote_of(push("orderbook.50.BTCUSDT", data={})) is None


def test_the_key_of_a_book_does_not_depend_on_the_order_of_its_levels() -> None:
    levels = [(True, 1.0, 2.0), (True, 2.0, 2.0), (False, 1.0, 2.0)]
    assert book_key(levels) == book_key(reversed(levels))
    assert book_key(levels) != book_key(levels[:2])
    assert book_key([(True, 1.0, 2.0)]) != book_key([(False, 1.0, 2.0)])

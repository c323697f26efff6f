"""Recordings through core and keeper: the true book at every step."""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal
from typing import Any

from farm.entities import BookUpdate, Kline, Quote, Trade
from farm.exchanges.rules import MarketRules
from farm.types import NumberMode
from tests.books.feeding import VERIFIED
from tests.books.recorded import BYBIT_SESSION, modes, session_drives, spot_messages
from tests.books.text_book import TextBook
from tests.exchanges.feeding import (
    BINANCE_SPOT,
    Drive,
    number_of,
)


@modes
def test_the_spot_recording_gives_the_true_book_at_every_step(mode: NumberMode) -> None:
    drive = Drive(BINANCE_SPOT, numbers=mode, discover=True)
    drive.open()
    truth, last, joined = TextBook(), 0, 0
    waiting: list[Any] = []  # diffs that the true book has yet to take
    seen: Counter[type] = Counter()
    for topic, data, raw in spot_messages():
        outcome = drive.snapshot(raw) if topic == "snapshot" else drive.read(raw)
        assert outcome.unparsed == []
        seen.update(type(row) for row in outcome.rows)
        if topic == "snapshot":
            truth, last = TextBook(data["bids"], data["asks"]), data["lastUpdateId"]
        elif topic == "depth@100ms":
            waiting.append(data)
        if not last or topic not in ("snapshot", "depth@100ms"):
            continue
        for diff in waiting:
            if diff["u"] > last:
                assert diff["U"] <= last + 1
                truth.apply(diff["b"], diff["a"])
                last = diff["u"]
                joined += 1
        waiting.clear()
        (update,) = outcome.rows
        assert update.verdict is VERIFIED
        book = drive.book().book(1)
        assert book.best_bid.price < book.best_ask.price
        top = tuple((level.price, level.quantity) for level in (book.best_bid, book.best_ask))
        assert top == tuple(tuple(map(number_of(mode), best)) for best in truth.top())
    assert seen == {Trade: 9_757, Quote: 28_040, BookUpdate: 3_451 + 1}
    book = drive.book()
    assert (book.diffs, book.applied, book.repeats, joined) == (3_451, 3_449, 2, 3_449)
    assert (book.check.compared, book.check.wrong) == (564, 0)
    assert truth.is_shown_by(book.book(), number_of(mode))
    assert drive.session.statuses["btcusdt@trade"].frames == 9_757


def test_the_quotes_of_the_spot_recording_are_the_tops_of_the_true_book() -> None:
    """What the 564 comparisons must give, found without the code under test."""
    messages = list(spot_messages())
    quotes = {data["u"]: data for topic, data, _ in messages if topic == "bookTicker"}
    start = next(data for topic, data, _ in messages if topic == "snapshot")
    truth, compared = TextBook(start["bids"], start["asks"]), 0
    for topic, data, _ in messages:
        if topic != "depth@100ms" or data["u"] <= start["lastUpdateId"]:
            continue
        truth.apply(data["b"], data["a"])
        quote = quotes.get(data["u"])
        if quote is not None:
            names = [("b", "B"), ("a", "A")]
            assert truth.top() == tuple(tuple(Decimal(quote[n]) for n in pair) for pair in names)
            compared += 1
    assert compared == 564


@modes
def test_the_bybit_session_gives_the_true_books(mode: NumberMode) -> None:
    seen: Counter[Any] = Counter()
    truth: dict[tuple[MarketRules, str], TextBook] = {}
    drives = set()
    for drive, record, outcome in session_drives(BYBIT_SESSION, mode):
        drives.add(drive)
        for row in outcome.rows:
            seen[type(row), isinstance(row, BookUpdate) and row.is_snapshot] += 1
        seen.update(frame.kind for frame in outcome.unparsed)
        message = json.loads(record.text)
        if message.get("topic", "").startswith("orderbook"):
            sides = message["data"]["b"], message["data"]["a"]
            key = drive.rules, message["data"]["s"]
            if message["type"] == "snapshot":
                truth[key] = TextBook(*sides)
            else:
                truth[key].apply(*sides)
            (update,) = outcome.rows
            assert update.verdict is VERIFIED
    assert seen == {
        (Trade, False): 347,
        (Kline, False): 100,
        (BookUpdate, True): 6,
        (BookUpdate, False): 2_142,
        "tickers": 839,
    }
    books = [(drive.rules, book) for drive in drives for book in drive.keeper.books]
    assert sum(book.applied for _, book in books) == 2_142
    assert len(books) == len(truth) == 6
    for rules, book in books:
        assert truth[rules, book.stream.symbol].is_shown_by(book.book(), number_of(mode))


@modes
def test_the_binance_session_agrees_with_its_quotes(mode: NumberMode) -> None:
    outcomes = list(session_drives("session_binance_spot_20211012.jsonl.gz", mode))
    books = list(outcomes[-1][0].keeper.books)
    assert [outcome.gaps for _, _, outcome in outcomes if outcome.gaps] == []
    assert {book.verdict for book in books} == {VERIFIED}
    assert sum(book.check.compared for book in books) == 26
    assert sum(book.check.wrong for book in books) == 0
    assert sum(book.snapshots for book in books) == 4

"""Recordings through core and keeper: the true book at every step."""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal
from typing import Any

import pytest

from farm.entities import BookUpdate, Kline, Quote, Trade
from farm.exchanges.rules import MarketRules
from farm.types import NumberMode
from tests.books.feeding import SYNCING, VERIFIED
from tests.books.recorded import (
    BYBIT_SESSION,
    SNAPSHOT,
    Log,
    kept,
    logs,
    messages,
    modes,
    session_drives,
)
from tests.books.text_book import TextBook
from tests.exchanges.feeding import Drive, number_of


@kept
def test_a_recording_gives_the_true_book_at_every_step(log: Log, mode: NumberMode) -> None:
    drive = Drive(log.rules, numbers=mode, discover=True)
    drive.open()
    truth, started = TextBook(), False
    waiting: list[Any] = []  # diffs that the true book has yet to take
    seen: Counter[type] = Counter()
    verdicts: Counter[Any] = Counter()
    for topic, data, raw in messages(log):
        if topic == SNAPSHOT:
            outcome = drive.snapshot(raw, log.spec, log.symbol)
            truth, started = TextBook(data["bids"], data["asks"]), True
            waiting = [diff for diff in waiting if diff["u"] > data["lastUpdateId"]]
        else:
            outcome = drive.read(raw)
        assert outcome.unparsed == []
        seen.update(type(row) for row in outcome.rows)
        if topic == log.topic:
            waiting.append(data)
        if not started or topic not in (SNAPSHOT, log.topic):
            continue
        for diff in waiting:
            truth.apply(diff["b"], diff["a"])
        waiting.clear()
        (update,) = outcome.rows
        verdicts[update.verdict] += 1
        book = drive.book(log.spec, log.symbol).book(1)
        assert book.best_bid.price < book.best_ask.price
        top = tuple((level.price, level.quantity) for level in (book.best_bid, book.best_ask))
        assert top == tuple(tuple(map(number_of(mode), best)) for best in truth.top())
        reached = book.best_bid.authoritative and book.best_ask.authoritative
        assert update.verdict is (VERIFIED if reached else SYNCING)
    assert seen == {Trade: log.trades, Quote: log.quotes, BookUpdate: log.diffs + 1}
    assert verdicts[SYNCING] == log.blind
    book = drive.book(log.spec, log.symbol)
    assert (book.diffs, book.applied, book.repeats) == (log.diffs, log.diffs - log.old, log.old)
    assert (book.check.compared, book.check.wrong) == (log.compared, 0)
    assert truth.is_shown_by(book.book(), number_of(mode))


@logs
def test_the_quotes_of_a_recording_are_the_tops_of_the_true_book(log: Log) -> None:
    """What the comparisons must give, found without the code under test."""
    found = list(messages(log))
    quotes = {data["u"]: data for topic, data, _ in found if topic == "bookTicker"}
    start = next(data for topic, data, _ in found if topic == SNAPSHOT)
    truth, last, compared = TextBook(start["bids"], start["asks"]), 0, 0
    for topic, data, _ in found:
        if topic != log.topic or data["u"] <= start["lastUpdateId"]:
            continue
        assert not last or last == data.get("pu", data["U"] - 1)
        last = data["u"]
        truth.apply(data["b"], data["a"])
        quote = quotes.get(data["u"])
        if quote is not None:
            names = [("b", "B"), ("a", "A")]
            assert truth.top() == tuple(tuple(Decimal(quote[n]) for n in pair) for pair in names)
            compared += 1
    assert compared == log.compared


@modes
def test_the_bybit_session_gives_the_true_books(mode: NumberMode) -> None:
    seen: Counter[Any] = Counter()
    truth: dict[tuple[MarketRules, str], TextBook] = {}
    drives = set()
    for drive, record, outcome in session_drives(BYBIT_SESSION, mode):
        drives.add(drive)
        assert outcome.unparsed == []
        assert outcome.gaps == []
        for row in outcome.rows:
            seen[type(row), isinstance(row, BookUpdate) and row.is_snapshot] += 1
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
    assert (seen[Trade, False], seen[Kline, False]) == (347, 100)
    assert (seen[BookUpdate, True], seen[BookUpdate, False]) == (6, 2_142)
    books = [(drive.rules, book) for drive in drives for book in drive.keeper.books]
    assert sum(book.applied for _, book in books) == 2_142
    assert len(books) == len(truth) == 6
    for rules, book in books:
        assert truth[rules, book.stream.symbol].is_shown_by(book.book(), number_of(mode))


@modes
@pytest.mark.parametrize(
    ("name", "compared", "snapshots", "diffs"),
    [
        ("session_binance_spot_20211012", 26, 4, 177),
        ("session_binance_usdm_20210722", 50, 4, 764),
        ("session_binance_coinm_20210722", 212, 10, 2_047),
    ],
)
def test_the_binance_sessions_agree_with_their_quotes(
    name: str, compared: int, snapshots: int, diffs: int, mode: NumberMode
) -> None:
    outcomes = list(session_drives(f"{name}.jsonl.gz", mode))
    books = list(outcomes[-1][0].keeper.books)
    assert [outcome.gaps for _, _, outcome in outcomes if outcome.gaps] == []
    assert {book.verdict for book in books} == {VERIFIED}
    assert sum(book.check.compared for book in books) == compared
    assert sum(book.check.wrong for book in books) == 0
    assert sum(book.snapshots for book in books) == snapshots
    assert sum(book.diffs for book in books) == diffs

"""Particulars of Bybit's quotes, books and the snapshots of its full books."""

from __future__ import annotations

import json
from typing import Any

import pytest

from farm.entities import BookUpdate, Quote
from farm.exchanges.rules import MarketRules
from farm.exchanges.session import Frames
from farm.types import NumberMode
from tests.exchanges.bybit.reading import Reader
from tests.exchanges.feeding import (
    BYBIT,
    BYBIT_LINEAR,
    BYBIT_SPOT,
    Drive,
    bybit_book,
    check_events,
    number_of,
    text,
)

MS = 1_000_000
modes = pytest.mark.parametrize("mode", list(NumberMode))
DEPTHS = [
    (rules, spec) for rules in BYBIT for spec in rules.streams.specs if spec.startswith("book")
]


def drive(*specs: str, rules: MarketRules = BYBIT_LINEAR, **options: Any) -> Drive:
    driven = Drive(rules, specs, books=False, **options)
    driven.open()
    return driven


def read(*frames: bytes, specs: tuple[str, ...] = ("quote", "book")) -> list[Any]:
    outcome = drive(*specs).read(*frames)
    assert outcome.unparsed == []
    return outcome.rows


# ------------------------------------------------------------------------------------------ books
@pytest.mark.parametrize(("rules", "spec"), DEPTHS, ids=lambda v: getattr(v, "key", v))
def test_books_of_each_depth(rules: MarketRules, spec: str) -> None:
    driven = drive(spec, rules=rules)
    name = driven.stream(spec).name
    depth = name.split(".")[1]
    message = json.loads(bybit_book("delta", 4, [["100.5", "1"]], [["100.6", "0"]]))
    (update,) = driven.read(text(message | {"topic": name})).only(BookUpdate)
    assert update.depth == (None if depth == "full" else int(depth))
    assert (update.is_snapshot, update.first_id, update.last_id) == (False, 4, 4)
    assert (update.sequence, update.previous_id) == (40, None)
    feed = "book" if depth == "full" else f"book:{depth}"
    assert driven.stream(spec).feed == f"{rules.key}/BTCUSDT/{feed}"


def test_u_1_replaces_the_book_whatever_its_type_says() -> None:
    updates = read(bybit_book("delta", 1), bybit_book("delta", 2), bybit_book("snapshot", 9))
    assert [update.is_snapshot for update in updates] == [True, False, True]


def test_u_1_replaces_no_full_book_which_begins_by_rest_always() -> None:
    driven = drive("book:full", rules=BYBIT_SPOT)
    (update,) = driven.read(bybit_book("delta", 1, depth="full")).only(BookUpdate)  # type: ignore[arg-type]
    assert not update.is_snapshot


def test_the_engines_time_may_be_missing() -> None:
    book = json.loads(bybit_book("snapshot", 5))
    del book["cts"]
    (update,) = read(text(book))
    assert update.exchange_time == update.event_time == 1790000000123 * MS


@pytest.mark.parametrize("kind", ["full", "", "Snapshot"])
def test_a_book_message_of_another_type_is_malformed(kind: str) -> None:
    kept = (
        drive("book", "quote").read(bybit_book(kind, 4), bybit_book("delta", 4, depth=1)).unparsed
    )
    assert [frame.kind for frame in kept] == ["malformed"] * 2


# ----------------------------------------------------------------------------------------- quotes
def test_a_quote_is_the_top_level_and_an_empty_side_is_none() -> None:
    bids = [["10", "1"]]
    (quote, empty) = read(
        bybit_book("snapshot", 7, bids, [["11", "2"]], depth=1, seq=70),
        bybit_book("snapshot", 8, bids, [], depth=1),
    )
    assert isinstance(quote, Quote)
    assert (quote.bid_price, quote.bid_quantity) == (10.0, 1.0)
    assert (quote.ask_price, quote.ask_quantity) == (11.0, 2.0)
    assert (quote.update_id, quote.sequence) == (7, 70)
    assert quote.exchange_time == 1790000000120 * MS
    assert (empty.ask_price, empty.ask_quantity) == (None, None)


def test_a_repeated_quote_is_none_but_a_redelivered_one_is() -> None:
    driven = Drive(BYBIT_LINEAR, ["quote"], ["BTCUSDT", "ETHUSDT"], books=False)
    driven.open()
    frames = [
        bybit_book("snapshot", 7, depth=1, symbol=symbol) for symbol in ("BTCUSDT", "ETHUSDT")
    ]
    assert len(driven.read(*frames).rows) == 2  # each symbol has its own ids
    assert driven.read(*frames).rows == []  # 3 s later
    assert driven.status("quote").frames == 2  # it shows all the same that the stream lives
    item = Frames(1, driven.time, 90, [bybit_book("snapshot", 8, depth=1)], 9)
    first, again = driven.session.handle(item), driven.session.handle(item)  # after a crash
    assert first is not None
    assert again is not None
    assert first.batches == again.batches


# --------------------------------------------------------------------------------- full, by REST
def full_book(**changes: Any) -> dict[str, Any]:
    data = {"s": "BTCUSDT", "b": [["65485.47", "47.08"]], "a": [["65557.7", "16.6"]]}
    data |= {"ts": 1716863719031, "u": 230704, "seq": 1432604333, "cts": 1716863718905} | changes
    return {"retCode": 0, "retMsg": "OK", "result": data, "retExtInfo": {}, "time": 1}


@modes
@pytest.mark.parametrize("rules", [BYBIT_SPOT, BYBIT_LINEAR], ids=lambda rules: rules.key)
def test_a_snapshot_by_rest_is_what_its_text_says(rules: MarketRules, mode: NumberMode) -> None:
    driven = drive("book:full", rules=rules, numbers=mode)
    body = full_book()
    outcome = driven.snapshot(text(body), "book:full")
    wanted = Reader(rules.market, number_of(mode)).snapshot(body["result"])
    check_events(outcome.rows, [wanted], time=driven.time, ordinal=driven.ordinal - 1)


@modes
@pytest.mark.parametrize(
    "body",
    [
        full_book() | {"retCode": 10006, "retMsg": "Too many visits!"},
        {"retCode": 10001, "retMsg": "params error", "result": {}},
        full_book(b=[["NaN", "1"]]),
        full_book(a=[["1", "-1"]]),
        full_book(u=-1),
        full_book(seq=None),
        {},
        [],
    ],
    ids=["limit", "params", "nan", "negative", "id", "seq", "empty", "list"],
)
def test_an_answer_that_is_no_book_is_kept_and_asked_for_again(body: Any, mode: NumberMode) -> None:
    driven = drive("book:full", rules=BYBIT_SPOT, numbers=mode)
    outcome = driven.snapshot(text(body), "book:full")
    assert [kept.raw for kept in outcome.unparsed] == [text(body)]
    assert outcome.rows == []
    assert len(driven.fetches()) == 1

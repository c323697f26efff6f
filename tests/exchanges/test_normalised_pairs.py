"""A second opinion: what another project makes of messages, and what we make of them.

The pairs are of tardis-node: an input and what it puts out. Wherever it puts out something, ours
must say the same; where the two differ, `DIFFERENCES` says why.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from farm.entities import (
    AggTrade,
    BookUpdate,
    Liquidation,
    MarkPrice,
    OpenInterest,
    OrderBook,
    Quote,
    Ticker,
    Trade,
)
from farm.exchanges.rules import MarketRules
from farm.types import BookVerdict, OrderType
from tests.exchanges.feeding import BINANCE_SPOT, BINANCE_USDM, Drive, Outcome, combined, text
from tests.recordings import payload_file

SPOT, FUTURES = "normalised_pairs_binance.ndjson", "normalised_pairs_binance-futures.ndjson"
RULES: dict[str, MarketRules] = {SPOT: BINANCE_SPOT, FUTURES: BINANCE_USDM}

NO_KIND = "it has no kind for this"
BUFFERED = "it holds diffs back until it has a snapshot; ours are events at once"
DIFFERENCES: dict[tuple[str, int], str] = {
    (SPOT, 4): f"{NO_KIND}: tickers of spot",
    (SPOT, 7): BUFFERED,
    (SPOT, 8): BUFFERED,
    (FUTURES, 1): f"{NO_KIND}: it takes fills from @trade alone",
    (FUTURES, 4): "it puts out changes of a state, and this ticker says nothing new",
    (FUTURES, 6): BUFFERED,
    (FUTURES, 11): "it drops the fills of the insurance fund; ours are marked",
    (FUTURES, 16): BUFFERED,
}
"""Where it puts out nothing and we do."""

ADDED: dict[tuple[str, int], dict[str, Any]] = {
    (FUTURES, 1): {"a": 20_000},
    (FUTURES, 9): {"time": 1_569_888_003_001},
}
"""What the venue always sends, and its made-up inputs leave out: an id, and the time of an open
interest. No field is optional here for that."""

IMPOSSIBLE = (FUTURES, 7)
"""The diff that it joins to this snapshot names its own `u` as its `pu`, which no diff of the venue
can, and the book that comes of it is crossed: bid 8493.78 above ask 4095.99. It does not look at
`pu` there. Ours takes the snapshot for too old (`pu > lastUpdateId`) and asks for another. What our
*events* say adds up to its book all the same."""


def pairs_of(file: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in payload_file(file).read_text().splitlines()]


def nanoseconds(stamp: str) -> int:
    """Of an ISO time in milliseconds."""
    moment = datetime.strptime(stamp, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    return (int(moment.timestamp()) * 1000 + moment.microsecond // 1000) * 1_000_000


class Both:
    """Feeds pairs to a core of ours, and knows what our events add up to for its tickers."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.drive = Drive(RULES[file], discover=True)
        self.drive.open()
        self.said: dict[str, dict[str, Any]] = {}
        self.diffs: dict[str, list[BookUpdate]] = defaultdict(list)
        self.number = 0

    def book(self, symbol: str) -> OrderBook:
        books = self.drive.keeper.books
        book: OrderBook = next(book for book in books if book.stream.symbol == symbol).book()
        return book

    def feed(self, number: int, pair: dict[str, Any]) -> Outcome:
        """Give our core the input; REST answers as such."""
        self.number = number
        stream, data = pair["input"]["stream"], pair["input"]["data"]
        data |= ADDED.get((self.file, number), {})
        stream = stream.removesuffix("@1s")  # two speeds of one feed are not collected together
        name, _, topic = stream.partition("@")
        if topic == "depthSnapshot":
            spec = "book" if self.file == FUTURES else "book@1000ms"
            outcome = self.drive.snapshot(text(data), spec, name.upper())
        elif topic == "openInterest":
            outcome = self.drive.snapshot(text(data), "open_interest", name.upper())
        else:
            outcome = self.drive.read(combined(stream, data))
        assert outcome.unparsed == []
        self._remember(outcome)
        return outcome

    def _remember(self, outcome: Outcome) -> None:
        """Its tickers are a state over several streams; ours are events of several kinds."""
        for event in outcome.rows:
            state = self.said.setdefault(event.symbol, {"timestamp": 0})
            if isinstance(event, Ticker | MarkPrice):  # it lets no time go back
                state["timestamp"] = max(state["timestamp"], event.event_time or 0)
            match event:
                case Ticker():
                    state |= {"lastPrice": event.last_price}
                case MarkPrice():
                    state["fundingRate"] = event.funding_rate
                    state["fundingTimestamp"] = event.next_funding_time
                    state["indexPrice"] = event.index_price
                    state["markPrice"] = event.mark_price
                case OpenInterest():
                    state |= {"openInterest": event.open_interest}
                case BookUpdate(is_snapshot=False):
                    self.diffs[event.symbol].append(event)


def same_place(ours: Any, theirs: dict[str, Any], time: int | None) -> None:
    assert ours.symbol == theirs["symbol"]
    assert time is None or time == nanoseconds(theirs["timestamp"])


def check_trade(both: Both, outcome: Outcome, theirs: dict[str, Any]) -> None:
    (ours,) = outcome.only(Trade)
    same_place(ours, theirs, ours.exchange_time)
    mine = (ours.id, ours.price, ours.quantity, ours.side.value)
    assert mine == (theirs["id"], theirs["price"], theirs["amount"], theirs["side"])


def check_quote(both: Both, outcome: Outcome, theirs: dict[str, Any]) -> None:
    (ours,) = outcome.only(Quote)
    same_place(ours, theirs, ours.event_time)  # spot has no time, and it puts its own there
    assert (ours.bid_price, ours.bid_quantity) == (theirs["bidPrice"], theirs["bidAmount"])
    assert (ours.ask_price, ours.ask_quantity) == (theirs["askPrice"], theirs["askAmount"])


def check_liquidation(both: Both, outcome: Outcome, theirs: dict[str, Any]) -> None:
    (ours,) = outcome.only(Liquidation)
    same_place(ours, theirs, ours.exchange_time)
    mine = (ours.price, ours.quantity, ours.side.value)
    assert mine == (theirs["price"], theirs["amount"], theirs["side"])


def check_book(both: Both, outcome: Outcome, theirs: dict[str, Any]) -> None:
    (ours,) = outcome.only(BookUpdate)
    assert ours.is_snapshot == theirs["isSnapshot"]
    if not ours.is_snapshot:
        same_place(ours, theirs, ours.event_time)
        for side in ("bids", "asks"):
            assert pairs(getattr(ours, side)) == as_pairs(theirs[side])
        return
    # Its snapshot is the venue's, with the diffs put in that it held back.
    plain = plain_book(ours, both.diffs[ours.symbol])
    for side in ("bids", "asks"):
        assert sorted(plain[side].items()) == sorted(as_pairs(theirs[side]))
    if (both.file, both.number) != IMPOSSIBLE:
        book = both.book(ours.symbol)
        assert book.verdict is BookVerdict.VERIFIED
        for side in ("bids", "asks"):
            assert pairs(getattr(book, side)) == sorted(plain[side].items(), reverse=side == "bids")


def plain_book(snapshot: BookUpdate, diffs: list[BookUpdate]) -> dict[str, dict[float, float]]:
    """What the events say the book is."""
    book = {side: dict(pairs(getattr(snapshot, side))) for side in ("bids", "asks")}
    for diff in diffs:
        for side, levels in book.items() if diff.last_id > snapshot.last_id else ():
            levels.update(pairs(getattr(diff, side)))
    return {side: {p: q for p, q in levels.items() if q} for side, levels in book.items()}


def pairs(levels: Any) -> list[tuple[float, float]]:
    return [(level.price, level.quantity) for level in levels]


def as_pairs(levels: list[dict[str, float]]) -> list[tuple[float, float]]:
    return [(level["price"], level["amount"]) for level in levels]


def check_ticker(both: Both, outcome: Outcome, theirs: dict[str, Any]) -> None:
    names = "lastPrice openInterest fundingRate fundingTimestamp indexPrice markPrice timestamp"
    ours = both.said[theirs["symbol"]]
    for name in names.split():
        value = theirs[name]
        assert ours.get(name) == (nanoseconds(value) if isinstance(value, str) else value), name


CHECKS = {
    "trade": check_trade,
    "book_ticker": check_quote,
    "liquidation": check_liquidation,
    "book_change": check_book,
    "derivative_ticker": check_ticker,
}


@pytest.mark.parametrize("file", RULES)
def test_another_project_says_the_same_or_the_difference_is_explained(file: str) -> None:
    both, test = Both(file), ""
    for number, pair in enumerate(pairs_of(file), 1):
        if pair["test"] != test:  # each test of theirs begins with nothing
            both, test = Both(file), pair["test"]
        outcome = both.feed(number, pair)
        assert outcome.rows
        for theirs in pair["expected"]:
            CHECKS[theirs["type"]](both, outcome, theirs)
        assert bool(pair["expected"]) != ((file, number) in DIFFERENCES), number


def test_what_only_we_make_events_of_is_what_the_text_says() -> None:
    made = {(file, n): event for file, n, event in lone_events()}
    assert type(made[SPOT, 4]) is Ticker
    assert type(made[FUTURES, 1]) is AggTrade
    assert type(made[FUTURES, 4]) is Ticker
    assert {type(made[key]) for key, why in DIFFERENCES.items() if why is BUFFERED} == {BookUpdate}
    insurance = made[FUTURES, 11]
    assert isinstance(insurance, Trade)
    assert insurance.order_type is OrderType.INSURANCE_FUND
    assert (insurance.id, insurance.price, insurance.quantity) == ("73701056", 2366.55, 0.07)


def lone_events() -> Iterator[tuple[str, int, Any]]:
    for file, number in DIFFERENCES:
        (event,) = Both(file).feed(number, pairs_of(file)[number - 1]).rows
        yield file, number, event


def test_what_cannot_be_joined_is_no_book_here() -> None:
    file, last = IMPOSSIBLE
    both = Both(file)
    for number, pair in enumerate(pairs_of(file)[:last], 1):
        both.feed(number, pair)
    book = both.book("BTCUSDT")
    assert (book.verdict, book.bids, book.asks) == (BookVerdict.SYNCING, [], [])


def test_a_snapshot_that_a_diff_directly_continues_gives_a_book() -> None:
    """`pu == lastUpdateId` with `U > lastUpdateId`: on quiet symbols nothing else ever joins."""
    both = Both(FUTURES)
    for number, pair in enumerate(pairs_of(FUTURES)[15:], 16):
        both.feed(number, pair)
    assert both.book("BTCUSDT").verdict is BookVerdict.VERIFIED

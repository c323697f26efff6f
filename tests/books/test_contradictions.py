"""Quotes that carry the id of a book update and do not show its top."""

from __future__ import annotations

import pytest

from farm.exchanges.streams import Stream
from farm.types import BookVerdict, GapCause
from tests.books.feeding import SPOT, SUSPECT, USDM, VERIFIED, Feed, Rows

markets = pytest.mark.parametrize("stream", [SPOT, USDM], ids=["spot", "futures"])


def diff(feed: Feed, last: int, bids: Rows) -> BookVerdict:
    return feed.update((last, last), bids, pu=last - 1)


def synced(stream: Stream) -> Feed:
    """A book that stands at id 100, with 10@1 / 11@1."""
    feed = Feed(stream)
    diff(feed, 100, {10: 1})
    assert feed.snapshot(100, {10: 1}, {11: 1}) is VERIFIED
    feed.requests()
    return feed


@markets
@pytest.mark.parametrize("quote_first", [True, False])
def test_a_quote_that_contradicts_makes_the_book_suspect_until_a_new_snapshot(
    stream: Stream, quote_first: bool
) -> None:
    feed = synced(stream)
    good = feed.time
    if quote_first:
        assert feed.quote(101, (10, 5), (11, 1)) is VERIFIED
        assert diff(feed, 101, {10: 2}) is SUSPECT
    else:
        assert diff(feed, 101, {10: 2}) is VERIFIED
        good = feed.time
        assert feed.quote(101, (10, 5), (11, 1)) is SUSPECT
    (gap,) = feed.records()
    assert (gap.cause, gap.first_id, gap.last_id) == (GapCause.CONTRADICTED, None, None)
    assert (gap.start_time, gap.end_time) == (good, feed.time)
    assert feed.requests() == 1
    assert diff(feed, 102, {10: 3}) is SUSPECT
    assert feed.quote(101, (10, 5), (11, 1)) is SUSPECT
    assert (feed.gaps(), feed.requests()) == ([], 0)  # told and asked once
    assert feed.snapshot(102, {10: 5}, {11: 1}) is VERIFIED
    assert feed.quote(102, (10, 5), (11, 1)) is VERIFIED
    assert (feed.sync.check.compared, feed.sync.check.wrong) == (2, 1)


@markets
@pytest.mark.parametrize("where", ["snapshot", "buffered diff"])
def test_what_was_buffered_survives_a_contradiction_while_joining(
    stream: Stream, where: str
) -> None:
    """It was received: the next snapshot may be older, and no gap may claim that it was missed."""
    feed = Feed(stream)
    feed.quote(100 if where == "snapshot" else 101, (77, 7), (78, 7))
    for n in range(99, 105):
        diff(feed, n, {10: n})
    feed.requests()
    assert feed.snapshot(100, {10: 100}, {11: 1}) is SUSPECT
    assert feed.gaps() == [(GapCause.CONTRADICTED, None, None)]
    assert feed.requests() == 1
    assert feed.snapshot(102, {10: 102}, {11: 1}) is VERIFIED
    assert diff(feed, 105, {10: 105}) is VERIFIED
    assert feed.shown() == ({10: 105}, {11: 1})
    assert feed.gaps() == []


@markets
def test_a_venue_that_contradicts_itself_is_not_hammered(stream: Stream) -> None:
    feed = synced(stream)
    asked = feed.sync.resyncs
    for number in range(101, 106):
        feed.quote(number, (10, 5), (11, 1))
        diff(feed, number, {10: 2})
        feed.snapshot(number, {10: 1}, {11: 1})
    assert feed.sync.resyncs == asked + 1


def test_a_book_whose_ids_went_back_is_compared_with_the_quotes_that_follow() -> None:
    feed = synced(USDM)
    feed.quote(5_000, (77, 7), (78, 7))  # of before: no book will get there
    diff(feed, 7, {10: 2})
    assert feed.snapshot(7, {10: 2}, {11: 1}) is VERIFIED
    feed.quote(8, (10, 3), (11, 1))
    feed.quote(9, (10, 3), (11, 1))
    assert feed.update((8, 10), {10: 3}, pu=7) is VERIFIED
    assert len(feed.sync.check._waiting) == 0  # and none is kept for ever
    feed.quote(11, (10, 4), (11, 1))
    assert diff(feed, 11, {10: 4}) is VERIFIED
    assert (feed.sync.check.compared, feed.sync.check.wrong) == (1, 0)

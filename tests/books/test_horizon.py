"""A snapshot shows so many levels: what lies beyond them is not known."""

from __future__ import annotations

from typing import Any

import pytest

from farm.exchanges.streams import Stream
from farm.types import GapCause
from tests.books.feeding import FULL, SPOT, STALE, SYNCING, USDM, VERIFIED, Feed

by_rest = pytest.mark.parametrize("stream", [SPOT, USDM, FULL], ids=["spot", "futures", "full"])
BIDS = {10: 1, 9: 1, 8: 1}


class Steps(Feed):
    """A feed of updates whose ids step by one on every market, after a snapshot of three levels."""

    def __init__(self, stream: Stream, **options: Any) -> None:
        super().__init__(stream, levels=3, **options)
        self.id = 100

    def step(self, bids: dict[int, int] | None = None, asks: dict[int, int] | None = None) -> Any:
        self.id += 1
        return self.update(self.id, bids, asks, seq=1000 + self.id, pu=self.id - 1)

    def answer(self, bids: Any, asks: Any, *, at: int | None = None) -> Any:
        at = at or self.id
        return self.snapshot(at, bids, asks, seq=1000 + at)

    def doubtful(self) -> tuple[list[int], list[int]]:
        book = self.sync.book()
        bids, asks = (
            [int(level.price) for level in side if not level.authoritative]
            for side in (book.bids, book.asks)
        )
        return bids, asks


def standing(stream: Stream, **options: Any) -> Steps:
    """The bids reach to 8, and no further is known; of asks there is one."""
    feed = Steps(stream, **options)
    assert feed.answer(BIDS, {11: 1}) is VERIFIED
    return feed


@by_rest
def test_levels_beyond_the_snapshot_are_not_authoritative(stream: Stream) -> None:
    feed = standing(stream)
    assert feed.doubtful() == ([], [])
    assert feed.step({7: 1, 5: 1, 9: 2}, {12: 1, 50: 1}) is VERIFIED
    assert feed.doubtful() == ([7, 5], [])  # fewer asks than asked for: that side is whole
    feed.step({8: 0})
    assert feed.doubtful() == ([7, 5], [])  # the horizon is where the snapshot ended
    assert [level.authoritative for level in feed.sync.book(3).bids] == [True, True, False]


@by_rest
def test_a_new_snapshot_is_a_new_horizon(stream: Stream) -> None:
    feed = standing(stream)
    feed.step({7: 1})
    feed.lost()
    assert feed.answer({10: 1, 9: 1, 8: 1, 7: 1}, {11: 1, 12: 1, 13: 1}) is VERIFIED
    feed.step({6: 1}, {14: 1})
    assert feed.doubtful() == ([6], [14])
    feed.lost()
    assert feed.answer({10: 1}, {11: 1}) is VERIFIED
    feed.step({6: 1}, {14: 1})
    assert feed.doubtful() == ([], [])


@by_rest
@pytest.mark.parametrize("known", [True, False])
def test_a_top_beyond_the_horizon_is_not_called_verified(stream: Stream, known: bool) -> None:
    feed = standing(stream)
    assert feed.step({7: 5} if known else None) is VERIFIED
    feed.requests()
    assert feed.step({10: 0, 9: 0, 8: 0}) is SYNCING
    assert (feed.requests(), feed.gaps()) == (1, [])  # nothing was lost
    assert feed.step({6: 1}) is SYNCING  # and what comes still goes into the book
    assert feed.shown()[0] == ({7: 5, 6: 1} if known else {6: 1})
    assert feed.answer({7: 5, 6: 1, 5: 5}, {11: 1}, at=feed.id - 1) is VERIFIED
    assert feed.shown() == ({7: 5, 6: 1, 5: 5}, {11: 1})
    assert feed.step({6: 2}) is VERIFIED
    assert (feed.shown()[0], feed.requests(), feed.gaps()) == ({7: 5, 6: 2, 5: 5}, 0, [])


@by_rest
def test_the_asks_have_a_horizon_of_their_own(stream: Stream) -> None:
    feed = Steps(stream)
    feed.answer({1: 1}, {10: 1, 11: 1, 12: 1})
    assert feed.step({1: 0}, {13: 1}) is VERIFIED  # an empty side that is known whole
    assert feed.step(None, {10: 0, 11: 0}) is VERIFIED  # 12 itself was shown
    assert feed.step(None, {12: 0}) is SYNCING


@by_rest
def test_a_top_that_comes_back_is_known_again_and_the_snapshot_still_wanted(stream: Stream) -> None:
    feed = standing(stream)
    feed.step({10: 0, 9: 0, 8: 0})
    assert feed.step({9: 4}) is VERIFIED
    assert feed.step({9: 0}) is SYNCING
    assert feed.step({9: 5}) is VERIFIED
    assert feed.requests() == 1
    assert feed.answer({9: 5, 7: 1, 6: 1}, {11: 1}) is VERIFIED
    assert feed.step({6: 0}) is VERIFIED
    assert feed.shown()[0] == {9: 5, 7: 1}
    assert feed.answer(BIDS, {11: 1}) is VERIFIED  # nobody waits for this one
    assert (feed.shown()[0], feed.gaps()) == ({9: 5, 7: 1}, [])


@by_rest
def test_the_new_snapshot_too_must_join_what_came(stream: Stream) -> None:
    feed = standing(stream)
    feed.step({10: 0, 9: 0, 8: 0})
    feed.step({7: 1})
    feed.requests()
    assert feed.answer({8: 1, 7: 1}, {11: 1}, at=feed.id - 3) is SYNCING
    assert (feed.requests(), feed.shown()[0]) == (1, {7: 1})
    assert feed.answer({7: 1, 6: 1}, {11: 1}) is VERIFIED


@by_rest
def test_a_paced_book_goes_on_and_buffers_once_its_request_is_sent(stream: Stream) -> None:
    feed = standing(stream, paced=True)
    feed.step({10: 0, 9: 0, 8: 0})
    feed.step({7: 1})
    assert len(feed.sync._buffer) == 0
    feed.sync.asked()
    feed.step({6: 1})
    feed.step({7: 2})
    assert len(feed.sync._buffer) == 3
    assert feed.shown()[0] == {7: 2, 6: 1}
    assert feed.answer({7: 1, 6: 1, 5: 1}, {11: 1}, at=feed.id - 1) is VERIFIED
    assert feed.shown()[0] == {7: 2, 6: 1, 5: 1}
    feed.step({7: 3})
    assert (len(feed.sync._buffer), feed.gaps()) == (0, [])


@by_rest
def test_a_hole_while_the_new_snapshot_is_awaited_is_a_hole(stream: Stream) -> None:
    feed = standing(stream)
    feed.step({10: 0, 9: 0, 8: 0})
    feed.id += 2
    assert feed.step({9: 4}) is STALE
    assert feed.gaps() == [(GapCause.SEQUENCE_BREAK, 102, 103)]
    assert feed.answer({9: 4}, {11: 1}) is VERIFIED


@pytest.mark.parametrize("stream", [SPOT, USDM], ids=["spot", "futures"])
@pytest.mark.parametrize("quote_first", [True, False])
def test_a_quote_that_shows_what_the_book_cannot_know_is_no_contradiction(
    stream: Stream, quote_first: bool
) -> None:
    feed = standing(stream)
    if quote_first:
        feed.quote(101, (7, 3), (11, 1))
    assert feed.step({10: 0, 9: 0, 8: 0, 6: 1}) is SYNCING
    if not quote_first:
        feed.quote(101, (7, 3), (11, 1))
    assert (feed.verdict, feed.gaps()) == (SYNCING, [])
    feed.quote(102, (6, 2), (11, 1))
    feed.step({6: 2})
    assert (feed.sync.check.compared, feed.sync.check.wrong) == (2, 1)


def test_what_it_saw_while_it_was_whole_is_no_need() -> None:
    feed = standing(SPOT)
    for _ in range(50):
        feed.step({9: 2})
    feed.step({10: 0, 9: 0, 8: 0})
    before = feed.sync.need
    feed.step({7: 1})
    assert (before % 2**32, feed.sync.need - before) == (0, 1)

"""Buffering begins when a book's own request is sent."""

from __future__ import annotations

from typing import Any

import pytest

from farm.exchanges.streams import Stream
from farm.types import GapCause
from tests.books.feeding import FULL, SPOT, STALE, SYNCING, USDM, VERIFIED, Feed

BREAK = GapCause.SEQUENCE_BREAK

by_rest = pytest.mark.parametrize("stream", [SPOT, USDM, FULL], ids=["spot", "futures", "full"])


class PacedFeed(Feed):
    """A feed of updates whose ids step by one on every market; each sets 10 to its id."""

    def __init__(self, stream: Stream) -> None:
        super().__init__(stream, paced=True)

    def step(self, *ids: int) -> Any:
        for n in ids:
            self.update(n, {10: n}, seq=1000 + n, pu=n - 1)
        return self.verdict

    def answer(self, at: int) -> Any:
        return self.snapshot(at, {10: at}, {11: 1}, seq=1000 + at)

    @property
    def buffered(self) -> int:
        return len(self.sync._buffer)


@by_rest
def test_nothing_is_buffered_before_the_request_is_sent(stream: Stream) -> None:
    feed = PacedFeed(stream)
    assert feed.step(*range(2, 11)) is SYNCING
    assert (feed.buffered, feed.sync.diffs, feed.requests()) == (0, 9, 1)
    feed.sync.asked()
    assert feed.step(11, 12, 13) is SYNCING
    assert feed.buffered == 4  # and the newest of before: the venue's REST side may lag a little
    assert feed.answer(12) is VERIFIED
    assert feed.shown()[0] == {10: 13}
    assert feed.step(14) is VERIFIED
    assert (feed.buffered, feed.gaps()) == (0, [])


@by_rest
def test_a_repeated_request_and_a_refetch_keep_the_buffer(stream: Stream) -> None:
    feed = PacedFeed(stream)
    feed.step(10)
    feed.sync.asked()
    feed.step(11, 12)
    feed.sync.asked()
    assert feed.buffered == 3
    feed.requests()
    assert feed.answer(8) is SYNCING  # too old
    assert feed.requests() == 1
    feed.sync.asked()
    feed.step(13)
    assert feed.buffered == 4
    assert feed.answer(11) is VERIFIED
    assert (feed.shown()[0], feed.gaps()) == ({10: 13}, [])


@by_rest
def test_a_snapshot_just_older_than_the_newest_diff_joins_it(stream: Stream) -> None:
    feed = PacedFeed(stream)
    feed.step(10, 11)
    feed.sync.asked()
    assert feed.answer(10) is VERIFIED
    assert (feed.shown()[0], feed.requests()) == ({10: 11}, 1)


@by_rest
def test_a_snapshot_that_was_not_asked_for_is_judged_by_the_next_diff(stream: Stream) -> None:
    feed = PacedFeed(stream)
    feed.step(10)
    assert feed.answer(9) is SYNCING  # of before the newest diff: too old
    assert feed.answer(10) is VERIFIED
    assert feed.step(11) is VERIFIED
    late = PacedFeed(stream)
    late.step(10)
    late.answer(12)
    assert late.step(14) is STALE
    assert late.gaps() == [(BREAK, 11, 13)]


@by_rest
def test_a_request_buffers_for_one_snapshot_and_for_one_connection(stream: Stream) -> None:
    feed = PacedFeed(stream)
    feed.step(10)
    feed.sync.asked()
    feed.answer(10)
    feed.sync.asked()  # of a question asked twice
    assert feed.step(11) is VERIFIED
    assert feed.step(15, 16) is STALE
    assert feed.buffered == 0
    feed.sync.asked()
    assert feed.step(17) is STALE
    assert feed.buffered == 2
    feed.sync.ended()
    assert feed.step(20, 21) is STALE
    assert feed.buffered == 0


@by_rest
def test_a_hole_that_nothing_was_buffered_around_is_on_record(stream: Stream) -> None:
    feed = PacedFeed(stream)
    assert feed.step(10, 13) is SYNCING
    assert feed.gaps() == [(BREAK, 11, 12)]
    feed.sync.asked()
    feed.step(14)
    assert feed.answer(13) is VERIFIED
    assert feed.gaps() == []


@by_rest
def test_a_loss_upstream_begins_the_buffer_anew_and_the_request_stays_sent(stream: Stream) -> None:
    feed = PacedFeed(stream)
    feed.step(10)
    feed.sync.asked()
    feed.step(11)
    feed.lost()
    feed.step(15, 16)
    assert feed.buffered == 2
    feed.requests()
    assert feed.answer(12) is SYNCING  # the lost ones are not in it
    assert feed.requests() == 1
    assert feed.answer(15) is VERIFIED
    assert (feed.shown()[0], feed.gaps()) == ({10: 16}, [])


def test_a_contradiction_while_joining_keeps_what_was_buffered() -> None:
    feed = PacedFeed(SPOT)
    feed.step(10)
    feed.sync.asked()
    feed.quote(12, (10, 77), (11, 1))
    feed.step(11, 12, 13)
    feed.answer(11)
    assert feed.gaps() == [(GapCause.CONTRADICTED, None, None)]
    feed.step(14)
    assert feed.buffered == 3  # from 12 on
    assert feed.answer(12) is VERIFIED
    assert (feed.shown()[0], feed.gaps()) == ({10: 14}, [])


def test_quotes_wait_for_the_book_only_while_it_is_on_its_way() -> None:
    feed = PacedFeed(SPOT)
    feed.step(10)
    for n in range(11, 30):
        feed.quote(n, (10, n), (11, 1))
    assert len(feed.sync.check._waiting) == 0
    feed.sync.asked()
    feed.quote(11, (10, 11), (11, 1))
    feed.step(11)
    assert feed.answer(10) is VERIFIED
    assert feed.sync.check.compared == 1
    feed.quote(40, (10, 1), (11, 1))
    assert len(feed.sync.check._waiting) == 1
    feed.step(20)
    assert len(feed.sync.check._waiting) == 0


@by_rest
def test_a_request_that_was_not_sent_yet_is_repeated_with_the_need_of_then(stream: Stream) -> None:
    feed = PacedFeed(stream)
    needs = []
    for n in range(101, 141):
        feed.step(n)
        if feed.requests():
            needs.append(feed.sync.need)
    assert needs == [1, 17, 33]

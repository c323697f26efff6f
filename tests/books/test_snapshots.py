"""Bybit's books, step by step: snapshot and deltas by the stream."""

from __future__ import annotations

import pytest

from farm.exchanges.streams import Stream
from farm.types import GapCause, GapUnit
from tests.books.feeding import DELTA, OPTION, STALE, SUSPECT, SYNCING, VERIFIED, Feed

BREAK = (GapCause.SEQUENCE_BREAK, None, None)


def synced(stream: Stream = DELTA) -> Feed:
    feed = Feed(stream)
    assert feed.snapshot(1000, {10: 1}, {11: 1}, seq=50) is VERIFIED
    return feed


@pytest.mark.parametrize("stream", [DELTA, OPTION])
def test_deltas_step_by_one_and_a_snapshot_at_any_time_replaces_the_book(stream: Stream) -> None:
    feed = synced(stream)
    assert feed.update(1001, {10: 2, 9: 1}, seq=55) is VERIFIED
    assert feed.shown() == ({10: 2, 9: 1}, {11: 1})
    for _ in range(2):  # repeated after a resubscription: the same again
        assert feed.snapshot(1005, {8: 1}, {11: 4}, seq=60) is VERIFIED
        assert feed.shown() == ({8: 1}, {11: 4})
    assert feed.snapshot(1, {7: 1}, seq=70) is VERIFIED  # u = 1: a restart
    assert feed.update(2, {7: 2}, seq=71) is VERIFIED
    assert (feed.shown()[0], feed.gaps(), feed.requests()) == ({7: 2}, [], 0)


@pytest.mark.parametrize(
    ("ids", "seq", "gap"),
    [
        (1003, 60, (1001, 1002)),
        (1002, 60, (1001, 1001)),
        (1001, 49, (None, None)),  # seq falls
        (4, 60, (None, None)),  # the service restarted, and its u = 1 was missed
        (1000, 60, (None, None)),
    ],
)
def test_a_break_is_one_gap_and_one_request_and_another_gap_until_the_snapshot(
    ids: int, seq: int, gap: tuple[int | None, int | None]
) -> None:
    """Between the two subscriptions the venue sends nothing: how much, nothing tells."""
    feed = synced()
    assert feed.update(ids, {10: 9}, seq=seq) is STALE
    broke = feed.time
    assert feed.gaps() == [(GapCause.SEQUENCE_BREAK, *gap)]
    assert feed.requests() == 1
    assert feed.update(ids + 1, {10: 8}, seq=seq + 1) is STALE
    assert (feed.gaps(), feed.requests()) == ([], 0)
    assert feed.shown()[0] == {10: 1}
    assert feed.snapshot(ids + 2, {10: 7}, seq=seq + 2) is VERIFIED
    (until,) = feed.records()
    assert (until.cause, until.unit, until.size) == (BREAK[0], GapUnit.UNKNOWN, None)
    assert (until.start_time, until.end_time) == (broke, feed.time)
    assert feed.snapshot(ids + 2, {10: 7}, seq=seq + 2) is VERIFIED
    assert feed.gaps() == []


def test_every_subscription_anew_leaves_such_a_gap() -> None:
    feed = synced()
    feed.lost()
    lost = feed.time
    feed.lost()
    assert feed.update(1009, seq=60) is STALE
    feed.snapshot(1010, {10: 1}, seq=61)
    (gap,) = feed.records()
    assert (gap.cause, gap.start_time, gap.end_time) == (BREAK[0], lost, feed.time)
    assert feed.update(1011, {12: 1}, {12: 1}, seq=62) is SUSPECT
    feed.snapshot(1020, {10: 1}, seq=63)
    assert feed.gaps() == [(GapCause.CONTRADICTED, None, None), BREAK]


def test_a_snapshot_that_nobody_asked_for_leaves_none() -> None:
    feed = synced()
    feed.sync.ended()  # recorded by who knows of connections
    assert feed.snapshot(7, seq=70) is VERIFIED
    assert feed.snapshot(9, seq=71) is VERIFIED
    assert feed.gaps() == []


def test_a_delta_that_comes_twice_is_passed_over() -> None:
    feed = synced()
    for _ in range(2):
        assert feed.update(1001, {10: 2}, seq=55) is VERIFIED
    assert (feed.sync.applied, feed.sync.repeats, feed.gaps()) == (1, 1, [])


def test_a_topic_begins_with_a_snapshot_and_is_subscribed_again_if_none_comes() -> None:
    feed = Feed(DELTA)
    for n in range(20):
        assert feed.update(500 + n, seq=n) is SYNCING
        assert feed.requests() == (n == 16)
    assert feed.lost() is SYNCING
    feed.snapshot(600)
    assert feed.gaps() == []  # what went before it was of no use
    assert feed.lost() is STALE
    assert feed.requests() == 1
    feed.sync.ended()
    assert feed.snapshot(7) is VERIFIED

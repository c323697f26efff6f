"""Binance futures, step by step: ``pu == u``, whatever ``U`` is."""

from __future__ import annotations

import pytest

from farm.types import GapCause, GapUnit
from tests.books.feeding import STALE, SYNCING, USDM, VERIFIED, Feed

BREAK = GapCause.SEQUENCE_BREAK


def synced() -> Feed:
    """A book that stands at id 100, with 10@1 / 11@1, the last diff being (80, 100]."""
    feed = Feed(USDM)
    assert feed.diff(80, 95, 100, {10: 9}) is SYNCING
    assert feed.requests() == 1
    assert feed.snapshot(100, {10: 1}, {11: 1}) is VERIFIED
    return feed


def test_buffered_diffs_join_the_snapshot() -> None:
    feed = Feed(USDM)
    for ids, rows in [((80, 85, 90), {10: 9}), ((90, 97, 105), {10: 5}), ((105, 120, 121), {9: 4})]:
        assert feed.diff(*ids, rows) is SYNCING
    assert feed.requests() == 1
    assert feed.snapshot(100, {10: 1, 8: 1}, {11: 1}) is VERIFIED
    assert feed.shown() == ({10: 5, 9: 4, 8: 1}, {11: 1})
    assert (feed.sync.applied, feed.sync.repeats, feed.gaps()) == (2, 1, [])
    assert feed.diff(121, 150, 160, {8: 0}, {11: 2}) is VERIFIED  # ids skip, the chain does not
    assert feed.shown() == ({10: 5, 9: 4}, {11: 2})
    assert feed.sync.book().update_id == 160


@pytest.mark.parametrize(
    ("last", "joins"),
    [
        (79, False),
        (80, True),  # pu == lastUpdateId, which is below U: the documented test refuses it
        (83, True),  # between the two there are no ids of this book
        (85, True),  # U
        (90, True),  # u == lastUpdateId
    ],
)
def test_a_diff_joins_every_snapshot_from_its_pu_to_its_u(last: int, joins: bool) -> None:
    feed = Feed(USDM)
    feed.diff(80, 85, 90, {10: 2})
    feed.requests()
    assert feed.snapshot(last, {10: 2 if last == 90 else 1}) is (VERIFIED if joins else SYNCING)
    assert feed.requests() == (not joins)  # too old: at once another
    assert feed.gaps() == []
    if joins:
        assert feed.shown()[0] == {10: 2}
        assert feed.diff(90, 99, 99, {10: 3}) is VERIFIED
        assert (feed.sync.book().update_id, feed.gaps()) == (99, [])


def test_u_equal_to_last_update_id_changes_nothing_and_the_chain_goes_on_from_it() -> None:
    feed = Feed(USDM)
    feed.diff(80, 95, 100, {10: 1}, {11: 0})
    assert feed.snapshot(100, {10: 1}, {12: 1}) is VERIFIED
    assert feed.shown() == ({10: 1}, {12: 1})
    assert feed.diff(100, 130, 140, {10: 2}) is VERIFIED


def test_a_snapshot_older_than_the_first_diff_is_fetched_again_and_the_buffer_kept() -> None:
    feed = Feed(USDM)
    feed.diff(80, 85, 90, {10: 2})
    feed.diff(90, 95, 100, {9: 2})
    feed.requests()
    for old in (70, 79):
        assert feed.snapshot(old, {10: 7}) is SYNCING
        assert feed.requests() == 1
    assert feed.snapshot(85, {10: 1}) is VERIFIED
    assert (feed.shown()[0], feed.gaps()) == ({10: 2, 9: 2}, [])


def test_a_snapshot_ahead_of_the_stream_is_joined_when_the_stream_gets_there() -> None:
    feed = Feed(USDM)
    feed.diff(80, 85, 90, {10: 9})
    assert feed.snapshot(105, {10: 1}) is SYNCING  # nothing says yet that the two belong together
    assert feed.diff(90, 95, 100, {10: 7}) is SYNCING
    assert feed.shown()[0] == {10: 1}
    assert feed.diff(100, 103, 107, {10: 2}) is VERIFIED
    assert (feed.shown()[0], feed.sync.repeats, feed.gaps()) == ({10: 2}, 2, [])


def test_a_snapshot_that_the_stream_never_reaches_is_fetched_again() -> None:
    feed = Feed(USDM)
    feed.diff(80, 85, 90, {10: 9})
    assert feed.snapshot(9_000, {10: 1}) is SYNCING
    feed.requests()
    at = 90
    while not feed.requests():
        assert feed.diff(at, at + 1, at + 1) is SYNCING
        at += 1
    assert at == 106  # 15 s of a diff a second
    assert feed.snapshot(at, {10: 2}) is VERIFIED
    assert feed.diff(at, at + 3, at + 3, {10: 3}) is VERIFIED
    assert feed.gaps() == []


def test_a_stream_that_reaches_the_snapshot_late_needs_no_other() -> None:
    feed = Feed(USDM, paced=True)
    feed.diff(80, 85, 90)
    assert feed.snapshot(107, {10: 1}) is SYNCING
    feed.requests()
    for at in range(90, 106):
        assert feed.diff(at, at + 1, at + 1) is SYNCING
    assert feed.requests() == 1
    feed.sync.asked()
    feed.diff(106, 106, 106)
    assert feed.diff(106, 107, 108, {10: 2}) is VERIFIED
    assert feed.snapshot(108, {10: 7}) is VERIFIED
    assert feed.shown()[0] == {10: 2}
    assert feed.diff(120, 121, 121) is STALE
    assert len(feed.sync._buffer) == 0  # that request was of before
    assert feed.requests() == 1


def test_a_quiet_book_is_verified_by_its_last_diff() -> None:
    feed = Feed(USDM)
    feed.diff(80, 95, 100)
    feed.lost()  # as if buffering had begun after it
    assert feed.snapshot(100, {10: 1}) is VERIFIED
    assert feed.diff(100, 400, 400, {10: 2}) is VERIFIED
    assert feed.gaps() == []


def test_a_snapshot_before_the_first_diff_joins_it_or_is_too_old() -> None:
    feed = Feed(USDM)
    assert feed.snapshot(100, {10: 1}) is VERIFIED
    assert feed.diff(70, 75, 90) is SYNCING  # so it is ahead
    assert feed.diff(90, 99, 101, {10: 2}) is VERIFIED
    late = Feed(USDM)
    late.snapshot(100, {10: 1})
    assert late.diff(104, 105, 106, {10: 2}) is STALE
    assert (late.gaps(), late.requests()) == ([], 1)  # it is too old, and nothing was lost


def test_a_hole_is_a_pu_that_is_not_the_last_u() -> None:
    feed = synced()
    good = feed.time
    assert feed.diff(107, 108, 110, {10: 7}) is STALE
    (gap,) = feed.records()
    assert (gap.first_id, gap.last_id, gap.unit) == (101, 107, GapUnit.IDS)
    assert (gap.start_time, gap.end_time, gap.edge) == (good, feed.time, "venue")
    assert feed.requests() == 1
    assert feed.diff(110, 111, 112, {10: 8}) is STALE
    assert feed.snapshot(106, {10: 1}) is STALE  # too old
    assert feed.snapshot(109, {10: 7}) is VERIFIED
    assert (feed.shown()[0], feed.gaps()) == ({10: 8}, [])


def test_a_hole_that_u_and_first_id_do_not_show() -> None:
    """``U`` is one more than the last ``u``, and still a diff is missing."""
    feed = synced()
    assert feed.diff(90, 101, 110, {10: 7}) is STALE
    assert feed.gaps() == [(BREAK, None, None)]


def test_a_hole_among_buffered_diffs_starts_the_buffer_anew() -> None:
    feed = Feed(USDM)
    feed.diff(1, 2, 5)
    feed.diff(8, 9, 9)
    assert feed.gaps() == [(BREAK, 6, 8)]
    assert feed.snapshot(5) is not VERIFIED
    assert feed.snapshot(8) is VERIFIED
    assert feed.sync.book().update_id == 9


def test_a_hole_that_a_snapshot_covers_is_recorded_all_the_same() -> None:
    feed = Feed(USDM)
    feed.diff(80, 90, 95, {10: 9})
    assert feed.snapshot(100, {10: 1}, {11: 1}) is SYNCING
    assert feed.diff(98, 99, 101, {10: 2}) is VERIFIED
    assert feed.gaps() == [(BREAK, 96, 98)]


def test_ids_that_went_back_are_a_break_of_unknown_size() -> None:
    """The engine restarted: its ids begin anew, and snapshots of before are worth nothing."""
    feed = synced()
    assert feed.diff(3, 4, 7, {10: 5}) is STALE
    assert (feed.gaps(), feed.requests()) == ([(BREAK, None, None)], 1)
    assert feed.snapshot(100, {10: 1}) is SYNCING  # an old one, from a cache
    for at in range(8, 24):
        assert feed.requests() == 0
        assert feed.diff(at - 1, at, at, {10: at}) is SYNCING
    assert feed.requests() == 1
    assert feed.snapshot(23, {10: 23}) is VERIFIED
    assert feed.diff(23, 24, 24, {10: 24}) is VERIFIED
    assert (feed.shown()[0], feed.gaps()) == ({10: 24}, [])


@pytest.mark.parametrize("stands", [True, False])
def test_a_diff_that_comes_twice_is_passed_over(stands: bool) -> None:
    feed = synced() if stands else Feed(USDM)
    verdict, repeats = feed.verdict, feed.sync.repeats
    for ids in [(100, 104, 105), (105, 110, 111), (100, 104, 105), (105, 110, 111)]:
        assert feed.diff(*ids, {10: ids[2]}) is verdict
    assert (feed.sync.repeats - repeats, feed.gaps()) == (2, [])
    assert feed.diff(111, 114, 115, {10: 4}) is verdict
    assert feed.gaps() == []


def test_an_answer_to_a_question_asked_twice_changes_nothing() -> None:
    feed = synced()
    assert feed.diff(100, 104, 105, {10: 2}) is VERIFIED
    assert feed.snapshot(102, {10: 98}) is VERIFIED
    assert feed.shown()[0] == {10: 2}

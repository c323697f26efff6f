"""Bybit's full book, step by step: deltas by the stream, the snapshot by REST."""

from __future__ import annotations

import pytest

from farm.types import BookVerdict, GapCause
from tests.books.feeding import FULL, STALE, SYNCING, VERIFIED, Feed, Rows

BREAK = GapCause.SEQUENCE_BREAK


def buffered(*deltas: tuple[int, int]) -> Feed:
    """A book that waits for its snapshot, with these deltas (u, seq); each sets 10 to its u."""
    feed = Feed(FULL)
    for u, seq in deltas:
        assert feed.update(u, {10: u}, seq=seq) is SYNCING
    assert feed.requests() == 1
    return feed


def synced() -> Feed:
    """A book that stands at u 500, seq 70, with 10@1 / 11@1."""
    feed = buffered((500, 70))
    assert feed.snapshot(500, {10: 1}, {11: 1}, seq=70) is VERIFIED
    return feed


def test_the_snapshot_is_joined_where_u_and_seq_match() -> None:
    feed = buffered((498, 60), (499, 65), (500, 70), (501, 78))
    assert feed.snapshot(500, {10: 500, 8: 1}, {11: 1}, seq=70) is VERIFIED
    assert feed.shown() == ({10: 501, 8: 1}, {11: 1})
    assert feed.update(502, {8: 0}, {11: 2}, seq=90) is VERIFIED
    assert feed.shown() == ({10: 501}, {11: 2})
    assert (feed.gaps(), feed.sync.applied, feed.sync.repeats) == ([], 2, 3)


@pytest.mark.parametrize(
    ("u", "seq", "joins"),
    [
        (490, 55, False),  # seq below that of the first delta
        (497, 55, True),  # below, but nothing lies between the two
        (499, 70, False),  # seq is that of a delta, u is not
        (501, 70, False),
        (500, 70, True),
    ],
)
def test_a_snapshot_that_does_not_match_is_fetched_again(u: int, seq: int, joins: bool) -> None:
    feed = buffered((498, 60), (499, 65), (500, 70))
    assert feed.snapshot(u, {10: u}, seq=seq) is (VERIFIED if joins else SYNCING)
    assert feed.requests() == (not joins)
    assert feed.snapshot(500, {10: 500}, seq=70) is VERIFIED
    assert (feed.shown()[0], feed.gaps()) == ({10: 500}, [])


def test_a_snapshot_ahead_of_the_stream_waits_for_it() -> None:
    feed = buffered((498, 60))
    assert feed.snapshot(501, {10: 501}, seq=80) is SYNCING
    assert feed.update(499, {10: 499}, seq=65) is SYNCING
    assert feed.update(500, {10: 500}, seq=70) is SYNCING
    assert feed.update(501, {10: 501}, seq=80) is VERIFIED
    assert feed.update(502, {10: 502}, seq=81) is VERIFIED
    assert (feed.shown()[0], feed.gaps(), feed.requests()) == ({10: 502}, [], 0)


@pytest.mark.parametrize("u", [500, 499])
def test_a_snapshot_ahead_whose_ids_turn_out_to_be_others_is_fetched_again(u: int) -> None:
    feed = buffered((498, 60))
    assert feed.snapshot(501, {10: 501}, seq=80) is SYNCING
    assert feed.update(499, {10: 499}, seq=65 if u == 500 else 80) is not VERIFIED
    if u == 500:
        assert feed.update(500, {10: 500}, seq=80) is not VERIFIED  # its seq, and not its u
    assert feed.requests() == 1
    assert feed.snapshot(u, {10: u}, seq=80) is VERIFIED


def test_a_quiet_book_is_verified_by_its_last_delta() -> None:
    feed = Feed(FULL, paced=True)
    feed.update(500, {10: 1}, seq=70)  # before the request, so not buffered
    feed.sync.asked()
    assert feed.snapshot(500, {10: 1}, seq=70) is VERIFIED
    assert feed.update(501, {10: 2}, seq=75) is VERIFIED
    assert (feed.shown()[0], feed.gaps()) == ({10: 2}, [])


def test_u_must_step_by_one() -> None:
    feed = synced()
    good = feed.time
    assert feed.update(503, {10: 3}, seq=90) is STALE
    (gap,) = feed.records()
    assert (gap.cause, gap.first_id, gap.last_id) == (BREAK, 501, 502)
    assert (gap.start_time, gap.end_time) == (good, feed.time)
    assert feed.requests() == 1
    assert feed.update(504, {10: 4}, seq=95) is STALE
    assert feed.snapshot(503, {10: 3}, seq=90) is VERIFIED
    assert (feed.shown()[0], feed.gaps()) == ({10: 4}, [])


def test_a_hole_clears_the_buffer() -> None:
    feed = buffered((498, 60), (499, 65))
    feed.update(502, {10: 502}, seq=80)
    assert feed.gaps() == [(BREAK, 500, 501)]
    assert feed.snapshot(499, {10: 499}, seq=65) is not VERIFIED  # it no longer reaches the buffer
    assert feed.snapshot(502, {10: 502}, seq=80) is VERIFIED


@pytest.mark.parametrize("stands", [True, False])
def test_a_delta_whose_seq_falls_and_one_that_repeats_are_discarded(stands: bool) -> None:
    feed = synced() if stands else buffered((500, 70))
    verdict, repeats = feed.verdict, feed.sync.repeats
    assert feed.update(501, {10: 2}, seq=75) is verdict
    for u, seq in [(501, 75), (499, 65), (502, 74), (1, 40)]:
        assert feed.update(u, {10: 99}, seq=seq) is verdict
    assert feed.update(502, {10: 3}, seq=80) is verdict
    assert (feed.sync.repeats - repeats, feed.gaps()) == (4, [])
    if stands:
        assert feed.shown()[0] == {10: 3}


def test_an_old_u_under_a_new_seq_is_a_reset_whose_beginning_was_missed() -> None:
    feed = synced()
    assert feed.update(3, {10: 3}, seq=90) is STALE
    assert (feed.gaps(), feed.requests()) == ([(BREAK, None, None)], 1)
    assert feed.snapshot(500, {10: 1}, seq=70) is not VERIFIED  # of before
    assert feed.snapshot(3, {10: 3}, seq=90) is VERIFIED


# ------------------------------------------------------------------------------------------- u = 1
def reset(feed: Feed, bids: Rows | None = None) -> BookVerdict:
    verdict = feed.update(1, bids, seq=100)
    assert (feed.gaps(), feed.requests()) == ([], 1)  # the venue says so: nothing is missing
    return verdict


def test_a_restart_keeps_the_book_to_look_at_until_its_snapshot() -> None:
    feed = synced()
    assert reset(feed, {10: 5}) is STALE
    assert feed.shown() == ({10: 1}, {11: 1})
    assert feed.update(2, {10: 6}, seq=105) is STALE
    assert feed.snapshot(1, {10: 5, 9: 5}, seq=100) is VERIFIED
    assert feed.shown() == ({10: 6, 9: 5}, {})
    assert feed.update(3, {10: 7}, seq=106) is VERIFIED


def test_a_restart_while_a_snapshot_is_awaited() -> None:
    feed = buffered((498, 60), (499, 65))
    assert reset(feed, {10: 5}) is SYNCING
    assert feed.snapshot(499, {10: 499}, seq=65) is not VERIFIED
    assert feed.snapshot(1, {10: 5}, seq=100) is VERIFIED


def test_a_delisted_symbol_has_an_empty_book_that_is_never_called_verified() -> None:
    feed = synced()
    assert reset(feed) is STALE
    assert feed.shown() == ({}, {})
    assert feed.snapshot(1, seq=100) is STALE
    assert (feed.shown(), feed.requests()) == (({}, {}), 0)


def test_an_auction_ends_with_another_reset_and_a_snapshot() -> None:
    feed = synced()
    reset(feed)
    assert feed.snapshot(1, seq=100) is STALE  # empty: no book
    assert feed.update(1, seq=120) is STALE
    assert feed.requests() == 1
    assert feed.snapshot(1, {10: 3}, {11: 3}, seq=120) is VERIFIED
    assert feed.update(2, {10: 4}, seq=121) is VERIFIED
    assert (feed.shown(), feed.gaps()) == (({10: 4}, {11: 3}), [])


def test_an_empty_snapshot_is_asked_for_again_when_deltas_come() -> None:
    feed = synced()
    reset(feed)
    feed.snapshot(1, seq=100)
    asked = [feed.update(n, {10: n}, seq=100 + n) and feed.requests() for n in range(2, 19)]
    assert asked == [0] * 15 + [1, 0]
    assert feed.snapshot(10, {10: 10}, seq=110) is VERIFIED
    assert (feed.shown()[0], feed.gaps()) == ({10: 18}, [])

"""Binance spot, step by step: ``U == u + 1``."""

from __future__ import annotations

import json
from typing import Any

import pytest

from farm.books import by_rest
from farm.entities import BookUpdate, Level
from farm.types import GapCause, GapUnit
from tests.books.feeding import SPOT, STALE, SYNCING, VERIFIED, Feed
from tests.exchanges.feeding import T0
from tests.recordings import payload_file


def synced() -> Feed:
    """A book that stands at id 100, with 10@1 / 11@1."""
    feed = Feed(SPOT)
    assert feed.update((95, 100), {10: 9}) is SYNCING
    assert feed.requests() == 1
    assert feed.snapshot(100, {10: 1}, {11: 1}) is VERIFIED
    return feed


def test_buffered_diffs_join_the_snapshot() -> None:
    feed = Feed(SPOT)
    for ids, rows in [((95, 99), {10: 9}), ((100, 102), {10: 5}), ((103, 103), {9: 4})]:
        assert feed.update(ids, rows) is SYNCING
    assert feed.requests() == 1  # asked for once
    assert feed.snapshot(100, {10: 1, 8: 1}, {11: 1}) is VERIFIED
    assert feed.shown() == ({10: 5, 9: 4, 8: 1}, {11: 1})
    assert (feed.sync.applied, feed.sync.repeats, feed.gaps()) == (2, 1, [])
    assert feed.update((104, 105), {8: 0}, {11: 2}) is VERIFIED
    assert feed.shown() == ({10: 5, 9: 4}, {11: 2})
    assert feed.sync.book().update_id == 105


@pytest.mark.parametrize(("last", "joins"), [(93, False), (94, True), (95, True), (99, True)])
def test_a_snapshot_joins_if_nothing_lies_between_it_and_the_first_diff(
    last: int, joins: bool
) -> None:
    feed = Feed(SPOT)
    feed.update((95, 99), {10: 9})
    feed.requests()
    assert feed.snapshot(last, {10: 1}) is (VERIFIED if joins else SYNCING)
    assert feed.requests() == (not joins)  # too old: at once another
    assert feed.gaps() == []
    assert feed.snapshot(100, {10: 1}) is VERIFIED


def test_a_snapshot_before_the_first_diff_joins_it_or_is_too_old() -> None:
    feed = Feed(SPOT)
    assert feed.snapshot(100, {10: 1}) is VERIFIED
    assert feed.update((99, 101), {10: 2}) is VERIFIED
    late = Feed(SPOT)
    late.snapshot(100, {10: 1})
    assert late.update((105, 106), {10: 2}) is STALE
    assert (late.gaps(), late.requests()) == ([], 1)  # it is too old, and nothing was lost


def test_a_snapshot_ahead_of_the_stream_is_the_book_until_the_stream_gets_there() -> None:
    feed = Feed(SPOT)
    feed.update((95, 100), {10: 9})
    assert feed.snapshot(105, {10: 1}) is VERIFIED
    assert feed.update((101, 103), {10: 7}) is VERIFIED
    assert feed.shown()[0] == {10: 1}
    assert feed.update((104, 107), {10: 2}) is VERIFIED
    assert (feed.shown()[0], feed.sync.repeats, feed.gaps()) == ({10: 2}, 2, [])


def test_another_project_joins_the_same_snapshot_and_diffs() -> None:
    lines = payload_file("normalised_pairs_binance.ndjson").read_text().splitlines()
    feed = Feed(SPOT)
    merged: list[Any] = []
    for pair in map(json.loads, lines):
        if pair["input"]["stream"] not in ("gntbtc@depth", "gntbtc@depthSnapshot"):
            continue
        data = pair["input"]["data"]
        sides = [
            [Level(float(price), float(size)) for price, size in data[name]]
            for name in (("bids", "asks") if "bids" in data else ("b", "a"))
        ]
        first, last = (data.get(k, data.get("lastUpdateId")) for k in ("U", "u"))
        update = BookUpdate(
            SPOT.exchange, SPOT.market, SPOT.symbol, None, "bids" in data, *sides,
            first, last, None, None, SYNCING, None, None, T0, 0,
        )  # fmt: skip
        feed.sync.update(update)
        if "bids" in data:
            merged = [
                {level["price"]: level["amount"] for level in pair["expected"][0][side]}
                for side in ("bids", "asks")
            ]
            # theirs has applied what was buffered beyond the snapshot, as ours has
            book = feed.sync.book()
            ours = [{x.price: x.quantity for x in side} for side in (book.bids, book.asks)]
            assert ours == merged
    assert feed.verdict is VERIFIED
    assert (feed.sync.applied, feed.sync.repeats) == (2, 1)
    assert merged


def test_a_hole_makes_the_book_stale_until_a_newer_snapshot() -> None:
    feed = synced()
    good = feed.time
    assert feed.update((108, 110), {10: 7}) is STALE
    (gap,) = feed.records()
    assert (gap.first_id, gap.last_id, gap.size, gap.unit) == (101, 107, 7, GapUnit.IDS)
    assert (gap.start_time, gap.end_time, gap.edge) == (good, feed.time, "venue")
    assert feed.requests() == 1
    assert feed.update((111, 112), {10: 8}) is STALE
    assert feed.snapshot(100, {10: 1}) is STALE  # too old
    assert feed.requests() == 1
    assert feed.snapshot(110, {10: 7}) is VERIFIED
    assert feed.shown() == ({10: 8}, {})
    assert feed.gaps() == []
    assert feed.sync.resyncs == 2


def test_a_hole_among_buffered_diffs_is_recorded_and_the_buffer_starts_anew() -> None:
    feed = Feed(SPOT)
    feed.update((1, 5))
    feed.update((9, 9))
    assert feed.gaps() == [(GapCause.SEQUENCE_BREAK, 6, 8)]
    assert feed.requests() == 1  # the answer to the first request may be new enough
    assert feed.snapshot(7) is not VERIFIED
    assert feed.snapshot(8) is VERIFIED
    assert feed.sync.book().update_id == 9


def test_a_hole_that_a_snapshot_covers_is_recorded_all_the_same() -> None:
    """The book is whole, but who keeps the diffs must hear that one is missing."""
    feed = Feed(SPOT)
    feed.update((90, 95), {10: 9})
    assert feed.snapshot(100, {10: 1}, {11: 1}) is VERIFIED
    assert feed.update((99, 101), {10: 2}) is VERIFIED
    assert feed.gaps() == [(GapCause.SEQUENCE_BREAK, 96, 98)]
    assert feed.update((102, 102), {10: 3}) is VERIFIED
    assert feed.gaps() == []


def test_a_hole_that_reaches_beyond_the_snapshot_is_one_record() -> None:
    feed = Feed(SPOT)
    feed.update((90, 95), {10: 9})
    before = feed.time
    assert feed.snapshot(100, {10: 1}, {11: 1}) is VERIFIED
    assert feed.update((105, 106), {10: 2}) is STALE
    (gap,) = feed.records()
    assert (gap.first_id, gap.last_id, gap.start_time) == (96, 104, before)


def test_repeated_and_late_diffs_and_snapshots_change_nothing() -> None:
    feed = synced()
    for _ in range(2):
        assert feed.update((101, 102), {10: 2}) is VERIFIED
    assert feed.update((90, 100), {10: 99}) is VERIFIED
    assert feed.snapshot(101, {10: 98}) is VERIFIED  # an answer to a question asked twice
    assert feed.shown()[0] == {10: 2}
    assert (feed.sync.repeats, feed.gaps()) == (3, [])


def test_a_diff_that_overlaps_the_one_before_is_no_hole() -> None:
    feed = synced()
    assert feed.update((99, 103), {10: 2}) is VERIFIED
    assert feed.update((102, 104), {9: 2}) is VERIFIED
    assert (feed.shown()[0], feed.gaps()) == ({10: 2, 9: 2}, [])


def test_a_snapshot_that_does_not_come_is_asked_for_again_after_a_while() -> None:
    feed = Feed(SPOT)
    for n in range(40):
        feed.update((n, n))
    assert feed.requests() == 3  # at once, and after each 15 s of a diff a second
    assert feed.gaps() == []


def test_the_buffer_is_bounded_and_the_snapshot_must_then_be_newer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(by_rest, "MAX_BUFFERED", 5)
    feed = Feed(SPOT)
    for n in range(1, 10):
        feed.update((n, n), {n: 1})
    assert feed.snapshot(2) is SYNCING
    assert feed.snapshot(4, {1: 1}) is VERIFIED
    assert feed.shown()[0] == {1: 1, 5: 1, 6: 1, 7: 1, 8: 1, 9: 1}


def test_a_snapshot_older_than_the_diffs_that_came_is_never_taken() -> None:
    feed = synced()
    feed.update((101, 105), {10: 2})
    feed.lost()
    assert feed.snapshot(103, {10: 7}) is STALE
    assert feed.snapshot(105, {10: 2}) is VERIFIED
    assert feed.update((106, 106), {10: 3}) is VERIFIED
    assert feed.gaps() == []


def test_after_a_loss_the_next_diff_tells_whether_the_snapshot_covers_it() -> None:
    feed = synced()
    feed.lost()
    assert feed.snapshot(104, {10: 4}) is VERIFIED
    assert feed.update((104, 106), {10: 6}) is VERIFIED
    feed.lost()
    assert feed.snapshot(106, {10: 6}) is VERIFIED
    assert feed.update((109, 109), {10: 9}) is STALE  # lost were 107 and 108
    assert feed.gaps() == []  # and who lost them has recorded it
    assert feed.update((111, 111), {10: 9}) is STALE
    assert feed.gaps() == [(GapCause.SEQUENCE_BREAK, 110, 110)]

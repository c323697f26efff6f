"""Keeping one book: the procedures, step by step."""

from __future__ import annotations

import json
from typing import Any

import pytest

from farm.books import sync
from farm.books.sync import BookSync, DiffSync, SnapshotSync, WholeBookSync, make_sync
from farm.entities import BookUpdate, Level
from farm.types import GapCause, GapUnit
from tests.books.feeding import (
    DELTA,
    FULL,
    PART,
    STALE,
    SUSPECT,
    SYNCING,
    UNVERIFIABLE,
    VERIFIED,
    Feed,
    shown,
)
from tests.exchanges.feeding import T0
from tests.recordings import payload_file


def synced() -> Feed:
    """A Binance book that stands at id 100, with 10@1 / 11@1."""
    feed = Feed(FULL)
    assert feed.update((95, 100), {10: 9}) is SYNCING
    assert feed.requests() == 1
    assert feed.snapshot(100, {10: 1}, {11: 1}) is VERIFIED
    return feed


def test_each_procedure_has_its_keeper() -> None:
    kinds: list[type[BookSync]] = [type(make_sync(stream)) for stream in (FULL, DELTA, PART)]
    assert kinds == [DiffSync, SnapshotSync, WholeBookSync]
    assert [kind.shares_quote_ids for kind in kinds] == [True, False, False]


# ----------------------------------------------------------------------- Binance: snapshot by REST
def test_buffered_diffs_join_the_snapshot() -> None:
    feed = Feed(FULL)
    for ids, rows in [((95, 99), {10: 9}), ((100, 102), {10: 5}), ((103, 103), {9: 4})]:
        assert feed.update(ids, rows) is SYNCING
    assert feed.requests() == 1  # asked for once
    assert feed.snapshot(100, {10: 1, 8: 1}, {11: 1}) is VERIFIED
    assert shown(feed.sync.book()) == ({10: 5, 9: 4, 8: 1}, {11: 1})
    assert (feed.sync.applied, feed.sync.repeats, feed.gaps()) == (2, 1, [])
    assert feed.update((104, 105), {8: 0}, {11: 2}) is VERIFIED
    assert shown(feed.sync.book()) == ({10: 5, 9: 4}, {11: 2})
    assert feed.sync.book().update_id == 105


@pytest.mark.parametrize(("last", "joins"), [(93, False), (94, True), (95, True), (99, True)])
def test_a_snapshot_joins_if_nothing_lies_between_it_and_the_first_diff(
    last: int, joins: bool
) -> None:
    feed = Feed(FULL)
    feed.update((95, 99), {10: 9})
    feed.requests()
    assert feed.snapshot(last, {10: 1}) is (VERIFIED if joins else SYNCING)
    assert feed.requests() == (not joins)  # too old: at once another
    assert feed.gaps() == []
    assert feed.snapshot(100, {10: 1}) is VERIFIED


def test_a_snapshot_before_the_first_diff_joins_it_or_shows_the_hole() -> None:
    feed = Feed(FULL)
    assert feed.snapshot(100, {10: 1}) is VERIFIED
    assert feed.update((99, 101), {10: 2}) is VERIFIED
    late = Feed(FULL)
    late.snapshot(100, {10: 1})
    assert late.update((105, 106), {10: 2}) is STALE
    assert late.gaps() == [(GapCause.SEQUENCE_BREAK, 101, 104)]
    assert late.requests() == 1


def test_another_project_joins_the_same_snapshot_and_diffs() -> None:
    lines = payload_file("normalised_pairs_binance.ndjson").read_text().splitlines()
    feed = Feed(FULL)
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
        template = Feed(FULL).sync.stream
        update = BookUpdate(
            template.exchange, template.market, template.symbol, None, "bids" in data, *sides,
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
    assert feed.sync.verdict is VERIFIED
    assert (feed.sync.applied, feed.sync.repeats) == (2, 1)
    assert merged


def test_a_hole_makes_the_book_stale_until_a_newer_snapshot() -> None:
    feed = synced()
    good = feed.time
    assert feed.update((108, 110), {10: 7}) is STALE
    (gap,) = feed.sync.gaps
    assert (gap.first_id, gap.last_id, gap.size, gap.unit) == (101, 107, 7, GapUnit.IDS)
    assert (gap.start_time, gap.end_time, gap.edge) == (good, feed.time, "venue")
    feed.gaps()
    assert feed.requests() == 1
    assert feed.update((111, 112), {10: 8}) is STALE
    assert feed.snapshot(100, {10: 1}) is STALE  # too old
    assert feed.requests() == 1
    assert feed.snapshot(110, {10: 7}) is VERIFIED
    assert shown(feed.sync.book()) == ({10: 8}, {})
    assert feed.gaps() == []
    assert feed.sync.resyncs == 2


def test_a_hole_among_buffered_diffs_is_recorded_and_the_buffer_starts_anew() -> None:
    feed = Feed(FULL)
    feed.update((1, 5))
    feed.update((9, 9))
    assert feed.gaps() == [(GapCause.SEQUENCE_BREAK, 6, 8)]
    assert feed.snapshot(7) is not VERIFIED
    assert feed.snapshot(8) is VERIFIED
    assert feed.sync.book().update_id == 9


def test_repeated_and_late_diffs_and_snapshots_change_nothing() -> None:
    feed = synced()
    for _ in range(2):
        assert feed.update((101, 102), {10: 2}) is VERIFIED
    assert feed.update((90, 100), {10: 99}) is VERIFIED
    assert feed.snapshot(101, {10: 98}) is VERIFIED  # an answer to a question asked twice
    assert shown(feed.sync.book())[0] == {10: 2}
    assert (feed.sync.repeats, feed.gaps()) == (3, [])


def test_a_snapshot_that_does_not_come_is_asked_for_again_after_a_while() -> None:
    feed = Feed(FULL)
    for n in range(40):
        feed.update((n, n))
    assert feed.requests() == 3  # at once, and after each 15 s of a diff a second
    assert feed.gaps() == []


def test_the_buffer_is_bounded_and_the_snapshot_must_then_be_newer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sync, "MAX_BUFFERED", 5)
    feed = Feed(FULL)
    for n in range(1, 10):
        feed.update((n, n), {n: 1})
    assert feed.snapshot(2) is SYNCING
    assert feed.snapshot(4, {1: 1}) is VERIFIED
    assert shown(feed.sync.book())[0] == {1: 1, 5: 1, 6: 1, 7: 1, 8: 1, 9: 1}


# ---------------------------------------------------------------------------------- contradictions
@pytest.mark.parametrize("quote_first", [True, False])
def test_a_quote_that_contradicts_makes_the_book_suspect_until_a_new_snapshot(
    quote_first: bool,
) -> None:
    feed = synced()
    if quote_first:
        assert feed.quote(101, (10, 5), (11, 1)) is VERIFIED
        assert feed.update((101, 101), {10: 2}) is SUSPECT
    else:
        assert feed.update((101, 101), {10: 2}) is VERIFIED
        assert feed.quote(101, (10, 5), (11, 1)) is SUSPECT
    assert feed.gaps() == [(GapCause.CONTRADICTED, None, None)]
    assert feed.requests() == 1
    assert feed.update((102, 102), {10: 3}) is SUSPECT
    assert feed.quote(101, (10, 5), (11, 1)) is SUSPECT
    assert (feed.gaps(), feed.requests()) == ([], 0)  # told and asked once
    assert feed.snapshot(102, {10: 5}, {11: 1}) is VERIFIED
    assert feed.quote(102, (10, 5), (11, 1)) is VERIFIED
    assert (feed.sync.check.compared, feed.sync.check.wrong) == (2, 1)


@pytest.mark.parametrize("where", ["snapshot", "buffered diff"])
def test_what_was_buffered_survives_a_contradiction_while_joining(where: str) -> None:
    """It was received: the next snapshot may be older, and no gap may claim that it was missed."""
    feed = Feed(FULL)
    feed.quote(100 if where == "snapshot" else 101, (77, 7), (78, 7))
    for n in range(99, 105):
        feed.update((n, n), {10: n})
    feed.requests()
    assert feed.snapshot(100, {10: 100}, {11: 1}) is SUSPECT
    assert feed.gaps() == [(GapCause.CONTRADICTED, None, None)]
    assert feed.requests() == 1
    assert feed.snapshot(102, {10: 102}, {11: 1}) is VERIFIED
    assert feed.update((105, 105), {10: 105}) is VERIFIED
    assert shown(feed.sync.book()) == ({10: 105}, {11: 1})
    assert feed.gaps() == []


def test_a_crossed_book_is_suspect() -> None:
    feed = synced()
    assert feed.update((101, 101), {11: 5}) is SUSPECT
    assert feed.gaps() == [(GapCause.CONTRADICTED, None, None)]
    feed = Feed(DELTA)
    assert feed.snapshot(5, {10: 1}, {10: 1}) is SUSPECT
    assert feed.gaps() == [(GapCause.CONTRADICTED, None, None)]
    assert feed.requests() == 1


def test_what_was_lost_on_the_way_and_the_end_of_the_connection_make_it_stale() -> None:
    feed = synced()
    assert feed.lost() is STALE
    assert (feed.requests(), feed.gaps()) == (1, [])  # who lost it has recorded it
    assert feed.snapshot(120, {10: 3}) is VERIFIED
    feed.sync.ended()
    assert feed.sync.verdict is STALE
    assert shown(feed.sync.book())[0] == {10: 3}  # still shown, by what it is
    assert feed.requests() == 0
    assert feed.update((200, 201)) is STALE
    assert feed.requests() == 1
    assert feed.snapshot(200) is VERIFIED
    fresh = Feed(FULL)
    assert fresh.lost() is SYNCING


# ----------------------------------------------------------------------- Bybit: snapshot in stream
def bybit() -> Feed:
    feed = Feed(DELTA)
    assert feed.update(1000, {10: 1}, {11: 1}, snapshot=True, seq=50) is VERIFIED
    return feed


def test_deltas_step_by_one_and_a_snapshot_at_any_time_replaces_the_book() -> None:
    feed = bybit()
    assert feed.update(1001, {10: 2, 9: 1}, seq=55) is VERIFIED
    assert shown(feed.sync.book()) == ({10: 2, 9: 1}, {11: 1})
    for _ in range(2):  # repeated after a resubscription: the same again
        assert feed.update(1005, {8: 1}, {11: 4}, snapshot=True, seq=60) is VERIFIED
        assert shown(feed.sync.book()) == ({8: 1}, {11: 4})
    assert feed.update(1, {7: 1}, snapshot=True, seq=70) is VERIFIED  # a restart
    assert feed.update(2, {7: 2}, seq=71) is VERIFIED
    assert (shown(feed.sync.book())[0], feed.gaps(), feed.requests()) == ({7: 2}, [], 0)


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
def test_a_break_is_one_gap_and_one_request(
    ids: int, seq: int, gap: tuple[int | None, int | None]
) -> None:
    feed = bybit()
    assert feed.update(ids, {10: 9}, seq=seq) is STALE
    assert feed.gaps() == [(GapCause.SEQUENCE_BREAK, *gap)]
    assert feed.requests() == 1
    assert feed.update(ids + 1, {10: 8}, seq=seq + 1) is STALE
    assert (feed.gaps(), feed.requests()) == ([], 0)
    assert shown(feed.sync.book())[0] == {10: 1}
    assert feed.update(ids + 2, {10: 7}, snapshot=True, seq=seq + 2) is VERIFIED


def test_a_delta_that_comes_twice_is_passed_over() -> None:
    feed = bybit()
    for _ in range(2):
        assert feed.update(1001, {10: 2}, seq=55) is VERIFIED
    assert (feed.sync.applied, feed.sync.repeats, feed.gaps()) == (1, 1, [])


def test_a_topic_begins_with_a_snapshot_and_is_subscribed_again_if_none_comes() -> None:
    feed = Feed(DELTA)
    for n in range(20):
        assert feed.update(500 + n, seq=n) is SYNCING
        assert feed.requests() == (n == 16)
    assert feed.lost() is SYNCING
    feed.update(600, snapshot=True)
    assert feed.lost() is STALE
    assert feed.requests() == 1
    feed.sync.ended()
    assert feed.update(7, snapshot=True) is VERIFIED


# ------------------------------------------------------------------------------------- whole books
def test_a_whole_book_is_unverifiable_and_heals_by_its_next_message() -> None:
    feed = Feed(PART)
    assert feed.snapshot(5, {10: 1}, {11: 1}) is UNVERIFIABLE
    assert feed.snapshot(9, {9: 1}, {12: 1}) is UNVERIFIABLE
    assert shown(feed.sync.book()) == ({9: 1}, {12: 1})
    assert feed.snapshot(10, {12: 1}, {12: 1}) is SUSPECT  # crossed
    assert feed.gaps() == [(GapCause.CONTRADICTED, None, None)]
    assert feed.snapshot(11, {9: 1}, {12: 1}) is UNVERIFIABLE
    assert feed.lost() is STALE
    assert feed.snapshot(12, {9: 1}, {12: 1}) is UNVERIFIABLE
    assert feed.requests() == 0  # there is nothing to ask for
    with pytest.raises(ValueError, match="BTCUSDT"):
        feed.update((13, 14))


def test_a_book_is_a_copy_of_so_many_levels() -> None:
    feed = synced()
    feed.update((101, 101), {9: 2, 8: 3}, {12: 5})
    book = feed.sync.book(2)
    assert shown(book) == ({10: 1, 9: 2}, {11: 1, 12: 5})
    assert (book.symbol, book.verdict, book.update_id) == ("BTCUSDT", VERIFIED, 101)
    assert (book.exchange_time, book.receive_time) == (feed.time, feed.time)
    feed.update((102, 102), {10: 0})
    assert shown(book)[0] == {10: 1, 9: 2}


def test_a_hole_that_a_snapshot_covers_is_recorded_all_the_same() -> None:
    """The book is whole, but who keeps the diffs must hear that one is missing."""
    feed = Feed(FULL)
    feed.update((90, 95), {10: 9})
    assert feed.snapshot(100, {10: 1}, {11: 1}) is VERIFIED
    assert feed.update((99, 101), {10: 2}) is VERIFIED
    assert feed.gaps() == [(GapCause.SEQUENCE_BREAK, 96, 98)]
    assert feed.update((102, 102), {10: 3}) is VERIFIED
    assert feed.gaps() == []


def test_a_venue_that_contradicts_itself_is_not_hammered() -> None:
    feed = synced()
    asked = feed.sync.resyncs
    for number in range(101, 106):
        feed.quote(number, (10, 5), (11, 1))
        feed.update((number, number), {10: 2})
        feed.snapshot(number, {10: 1}, {11: 1})
    assert feed.sync.resyncs == asked + 1


def test_a_snapshot_older_than_the_diffs_that_came_is_never_taken() -> None:
    feed = synced()
    feed.update((101, 105), {10: 2})
    feed.lost()
    assert feed.snapshot(103, {10: 7}) is STALE
    assert feed.snapshot(105, {10: 2}) is VERIFIED
    assert feed.update((106, 106), {10: 3}) is VERIFIED
    assert feed.gaps() == []

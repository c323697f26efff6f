"""Books over lanes: steps, with snapshots between them."""

from __future__ import annotations

import attrs
import pytest

from farm.types import GapCause
from tests.exchanges.lanes.copies import (
    BYBIT_BOOK,
    FULL_BOOK,
    SPOT_BOOK,
)
from tests.exchanges.lanes.rig import Connection, Rig, rig_rows
from tests.exchanges.trading import outage


def test_a_snapshot_is_a_copy_while_the_chain_goes_on() -> None:
    rig = Rig(BYBIT_BOOK)
    a, b = rig.lanes
    rig.up(10)
    b.end()
    a.read(11, 12)
    assert b.read(13, up=True, greet=12)[0].last_id == 13
    assert a.read(13, 14)[0].last_id == 14
    assert rig.numbers == [11, 12, 13, 14]


def test_a_snapshot_that_is_ahead_waits_and_replaces_the_book_where_the_rest_is_lost() -> None:
    rig = Rig(BYBIT_BOOK)
    a, b = rig.lanes
    rig.up(10)
    b.end()
    assert b.read(16, up=True, greet=15) == []
    assert [row.last_id for row in rig_rows(a.end())] == [15, 16]
    assert rig.rows[0].is_snapshot
    assert [rig.number(row) for row in b.read(17)] == [17]


def test_a_snapshot_of_the_only_lane_passes_whatever_its_id() -> None:
    rig = Rig(BYBIT_BOOK)
    a, b = rig.lanes
    rig.up(10)
    b.end()
    a.read(11)
    assert [rig.number(row) for row in a.read(greet=11)] == [-11]
    a.end()
    assert [rig.number(row) for row in a.read(6, up=True, greet=5)] == [-5, 6]


def test_a_snapshot_that_the_book_asked_for_passes_and_the_deltas_after_it_again() -> None:
    rig = Rig(BYBIT_BOOK)
    a, b = rig.lanes
    rig.up(10)
    b.read(11, 12)
    rig.merger.expect_snapshot(BYBIT_BOOK.stream.feed)
    rig.merger.expect_snapshot("of no book")
    assert [rig.number(row) for row in a.read(12, greet=11)] == [-11, 12]
    assert b.read(14) == []
    assert [rig.number(row) for row in a.read(13)] == [13, 14]
    assert a.read(14, greet=13) == []


def test_after_a_hole_the_next_snapshot_passes() -> None:
    rig = Rig(BYBIT_BOOK)
    a, b = rig.lanes
    rig.up(10)
    a.read(12)
    assert [rig.number(row) for row in b.read(13)] == [12, 13]
    assert [rig.number(row) for row in a.read(13, greet=12)] == [-12, 13]
    assert b.read(14, greet=13)[0].last_id == 14


def test_a_restart_of_the_service_passes_once_and_what_is_older_is_stale() -> None:
    rig = Rig(BYBIT_BOOK)
    a, b = rig.lanes
    rig.up(10)

    def restarted(lane: Connection, *numbers: int) -> list[int]:
        place = (rig.tick(), 100)
        rows = [
            attrs.evolve(BYBIT_BOOK.make(n, 0, place), sequence=500 + n, is_snapshot=n == 1)
            for n in numbers
        ]
        return [rig.number(row) for row in lane.give(*rows)]

    assert restarted(a, 1, 2) == [-1, 2]
    assert b.read(11, 12) == []
    assert restarted(b, 1, 2, 3) == [3]
    assert restarted(a, 3, 4) == [4]
    b.read(20)
    assert rig.numbers == [-1, 2, 3, 4]


def test_what_waited_when_the_service_restarted_passes_before_the_restart() -> None:
    rig = Rig(BYBIT_BOOK)
    a, b = rig.lanes
    rig.up(10)
    assert a.read(12, 13) == []
    restart = attrs.evolve(BYBIT_BOOK.make(1, 0, (rig.tick(), 100)), sequence=500, is_snapshot=True)
    assert [rig.number(row) for row in b.give(restart)] == [12, 13, -1]
    assert rig.merger.shares()["a"].held == 0


def test_a_snapshot_that_waits_passes_when_the_book_asks_for_one() -> None:
    rig = Rig(BYBIT_BOOK)
    a, b = rig.lanes
    rig.up(10)
    b.end()
    assert b.read(up=True, greet=14) == []
    rig.merger.expect_snapshot(BYBIT_BOOK.stream.feed)
    assert [rig.number(row) for row in a.read(11)] == [11, -14]


def test_snapshots_of_full_books_are_of_no_lane() -> None:
    rig = Rig(FULL_BOOK)
    a, b = rig.lanes
    rig.up(10)
    for lane in (a, b):
        snapshot = attrs.evolve(FULL_BOOK.make(5, 0, (rig.tick(), 3)), is_snapshot=True)
        assert lane.give(snapshot) == [snapshot]
    assert [rig.number(row) for row in a.read(11)] == [11]


def test_a_restart_of_which_the_first_message_was_missed_passes_too() -> None:
    rig = Rig(BYBIT_BOOK)
    a, _ = rig.lanes
    rig.up(10)
    place = (rig.tick(), 100)
    row = attrs.evolve(BYBIT_BOOK.make(4, 0, place), sequence=500)
    assert a.give(row) == [row]
    snapshot = attrs.evolve(row, is_snapshot=True)
    assert a.give(snapshot) == [snapshot]  # the book asks for one now


def test_a_book_that_lost_updates_on_the_way_here_gets_its_snapshot() -> None:
    rig = Rig(BYBIT_BOOK)
    a, b = rig.lanes
    rig.up(10)
    b.read(11, 12)
    gap = outage(BYBIT_BOOK.stream, 1, 2, GapCause.OVERFLOW, frames=3)
    assert a.give(gap) == [gap]
    assert [rig.number(row) for row in a.read(12, greet=11)] == [-11, 12]


@pytest.mark.parametrize("restarts", [True, False])
def test_books_without_sequences_go_by_their_ids(restarts: bool) -> None:
    rig = Rig(BYBIT_BOOK)
    a, b = rig.lanes

    def read(lane: Connection, *numbers: int) -> list[int]:
        rows = []
        for n in numbers:
            row = BYBIT_BOOK.make(n, 0, (rig.tick(), n))
            rows.append(attrs.evolve(row, sequence=None, is_snapshot=n == 1))
        return [rig.number(row) for row in lane.give(*rows, up=(BYBIT_BOOK.stream.feed,))]

    assert read(a, 10, 11) == [10, 11]
    assert read(b, 10, 11, 12) == [12]
    if restarts:
        assert read(a, 1) == [-1]
        assert read(b, 1) == []
    assert read(a, 2, 13) == ([2] if restarts else [13])


def test_snapshots_by_rest_pass_always_and_are_no_part_of_the_chain() -> None:
    rig = Rig(SPOT_BOOK)
    a, b = rig.lanes
    rig.up(10)
    for lane in (a, b):
        snapshot = attrs.evolve(SPOT_BOOK.make(5, 0, (rig.tick(), 3)), is_snapshot=True)
        assert lane.give(snapshot) == [snapshot]
    assert [rig.number(row) for row in a.read(11)] == [11]

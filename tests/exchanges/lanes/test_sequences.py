"""Ids that step: what is ahead waits for the other lane, and a hole of all lanes passes."""

from __future__ import annotations

import pytest

from farm.entities import SpentIds, Trade
from tests.exchanges.lanes.copies import (
    CONTIGUOUS,
    USDM_TRADES,
    Copied,
)
from tests.exchanges.lanes.rig import MS, SECOND, Rig, rig_rows


@pytest.mark.parametrize("feed", CONTIGUOUS, ids=str)
def test_an_event_that_is_ahead_waits_for_the_other_lane(feed: Copied) -> None:
    rig = Rig(feed)
    a, b = rig.lanes
    rig.up(1)
    assert a.read(3, 4) == []
    assert rig.merger.shares()["a"].held == 2
    rows = b.read(2)
    assert [rig.number(row) for row in rows] == [2, 3, 4]
    origins = [origin for batch in rig.out[-1].batches for origin, _ in batch.origins]
    assert (origins[0].connection, origins[-1].connection) == ("b", "a")
    assert b.read(3, 4) == []
    shares = rig.merger.shares()
    assert (shares["a"].held, shares["a"].misses, shares["b"].misses) == (0, 1, 0)


@pytest.mark.parametrize("feed", CONTIGUOUS, ids=str)
def test_a_hole_that_no_lane_can_fill_is_passed_on_at_once(feed: Copied) -> None:
    rig = Rig(feed)
    a, b = rig.lanes
    rig.up(1)
    assert a.read(3, 4) == []
    assert [rig.number(row) for row in b.read(3)] == [3, 4]
    assert b.read(4) == []


@pytest.mark.parametrize("feed", CONTIGUOUS, ids=str)
def test_a_hole_is_not_waited_for_longer_than_patience_lasts(feed: Copied) -> None:
    rig = Rig(feed)
    a, _ = rig.lanes
    rig.up(1)
    assert a.read(3) == []
    rig.step = SECOND
    assert a.read(4) == []
    assert [rig.number(row) for row in a.read(5)] == [3, 4, 5]


@pytest.mark.parametrize("how", ["end", "remove"])
def test_a_hole_is_passed_on_when_the_other_lane_is_gone(how: str) -> None:
    rig = Rig()
    a, b = rig.lanes
    rig.up(1)
    assert a.read(3) == []
    if how == "end":
        assert [rig.number(row) for row in rig_rows(b.end())] == [3]
    else:
        assert rig.remove(b) == []
        assert [rig.number(row) for row in a.read(4)] == [3, 4]
    assert [rig.number(row) for row in a.read(6)] == [6]


def test_only_so_much_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("farm.exchanges.lanes.sequences.MAX_WAITING", 3)
    rig = Rig()
    rig.up(1)
    assert rig.lanes[0].read(3, 5, 7) == []
    assert [rig.number(row) for row in rig.lanes[0].read(9)] == [3]
    assert rig.merger.shares()["a"].held == 3


def test_a_trade_that_comes_after_its_hole_was_passed_on_is_no_copy() -> None:
    rig = Rig()
    a, b = rig.lanes
    rig.up(1)
    a.read(5)
    rig.step = 3 * SECOND
    a.read(6)
    assert rig.numbers == [5, 6]
    assert [rig.number(row) for row in b.read(2, 3)] == [2, 3]
    assert [rig.number(row) for row in b.read(3, 4, 5)] == [4]


def test_a_venue_that_counts_anew_is_believed_after_a_while() -> None:
    rig = Rig()
    a, b = rig.lanes
    rig.up(1_000)
    assert a.read(1) == []
    rig.step = 61 * SECOND
    assert [rig.number(row) for row in a.read(2)] == [2]
    rig.step = MS
    assert b.read(2) == []
    assert [rig.number(row) for row in b.read(3)] == [3]


@pytest.mark.parametrize("feed", CONTIGUOUS, ids=str)
def test_a_lane_that_comes_to_it_late_brings_copies_however_late(feed: Copied) -> None:
    rig = Rig(feed)
    a, b = rig.lanes
    rig.up(10)
    a.read(*range(11, 20))
    a.end()
    rig.step = 90 * SECOND
    assert b.read(*range(11, 20)) == []
    assert [rig.number(row) for row in b.read(20)] == [20]


def test_spent_ids_and_trades_of_one_read_are_taken_in_their_order() -> None:
    rig = Rig(USDM_TRADES)
    a, _ = rig.lanes
    rig.up(1)
    rig.remove(rig.lanes[1])
    assert [rig.number(row) for row in a.read(2, 3, 4)] == [2, 3, 4]
    kinds = [batch.kind for batch in rig.out[-1].batches]
    assert sorted(kinds, key=str) == sorted([Trade, SpentIds], key=str)

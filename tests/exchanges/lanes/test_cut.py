"""Feeds without an identity: one lane passes, until it ends."""

from __future__ import annotations

from tests.exchanges.lanes.copies import (
    CONTRACTS,
)
from tests.exchanges.lanes.rig import SECOND, Rig, rig_rows


def test_without_identity_one_lane_passes_and_the_next_takes_over_where_it_ends() -> None:
    rig = Rig(CONTRACTS)
    a, b = rig.lanes
    rig.up(1)
    assert b.read(2, 3) == []
    assert [rig.number(row) for row in a.read(2)] == [2]
    assert rig.merger.shares()["b"].held == 1
    assert [rig.number(row) for row in rig_rows(a.end())] == [3]  # what it never brought
    assert list(rig.merger.cuts) == [(CONTRACTS.stream.feed, a.last_time)]
    assert [rig.number(row) for row in b.read(4)] == [4]
    a.back(a.last_time)
    assert a.read(4, 5) == []
    assert [rig.number(row) for row in b.read(5)] == [5]
    rig.remove(b)
    assert list(rig.merger.cuts)[1:] == [(CONTRACTS.stream.feed, rig.time)]
    assert [rig.number(row) for row in a.read(6)] == [6]


def test_what_the_primary_lane_missed_does_not_wait_for_ever() -> None:
    rig = Rig(CONTRACTS)
    a, b = rig.lanes
    rig.up(1)
    b.read(2)
    rig.step = 31 * SECOND
    a.read(3)
    b.read(3)
    assert rig.merger.shares()["b"].held == 1
    a.read()
    assert rig.merger.shares()["b"].held == 0
    assert rig_rows(a.end()) == []


def test_what_another_lane_than_the_primary_had_early_goes_with_it() -> None:
    rig = Rig(CONTRACTS)
    a, b = rig.lanes
    rig.up(1)
    assert b.read(2) == []
    assert rig_rows(b.end()) == []
    known = a.last_time
    assert rig_rows(a.end()) == []
    assert a.read(2, up=True)[0] == rig.rows[-1]
    assert list(rig.merger.cuts) == [(CONTRACTS.stream.feed, known)]


def test_a_copy_that_never_came_is_not_waited_for_for_ever() -> None:
    rig = Rig(CONTRACTS)
    a, b = rig.lanes
    rig.up(1)
    a.read(2)
    rig.step = 61 * SECOND
    assert b.read(2) == []  # no copy any more, by its age
    assert rig.merger.shares()["b"].held == 1

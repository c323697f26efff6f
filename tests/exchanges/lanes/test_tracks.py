"""Feeds whose events have an identity or an age."""

from __future__ import annotations

import attrs
import pytest

from tests.exchanges.lanes.copies import (
    LIQUIDATIONS,
    MARK_PRICES,
    NEWEST,
    QUOTES,
    SPOT_KLINES,
    UNIQUE,
    Copied,
)
from tests.exchanges.lanes.rig import SECOND, Rig


@pytest.mark.parametrize("feed", UNIQUE, ids=str)
def test_what_comes_late_passes_late(feed: Copied) -> None:
    rig = Rig(feed)
    a, b = rig.lanes
    rig.up(2)
    a.read(9, 10, 11)
    assert [rig.number(row) for row in b.read(3, 4, 5)] == [3, 4, 5]
    assert b.read(9, 10, 11) == []


@pytest.mark.parametrize("feed", NEWEST, ids=str)
def test_what_is_older_than_the_newest_does_not_pass(feed: Copied) -> None:
    rig = Rig(feed)
    a, b = rig.lanes
    rig.up(10)
    a.read(13)
    assert b.read(11, 12) == []
    assert [rig.number(row) for row in b.read(13, 14)] == [14]


def test_a_closed_candle_passes_also_after_the_next_one_opened() -> None:
    feed = SPOT_KLINES
    rig = Rig(feed)
    a, b = rig.lanes
    rig.up(12)
    a.read(15)
    assert [rig.number(row) for row in b.read(13, 14, 15)] == [13, 14]


def test_a_candle_older_than_all_that_are_remembered_does_not_pass() -> None:
    rig = Rig(SPOT_KLINES)
    a, b = rig.lanes
    rig.up(10)
    a.read(*range(11, 90, 5))
    assert b.read(12) == []


def test_equal_liquidations_of_one_message_are_several_and_copies_of_them_are_not() -> None:
    rig = Rig(LIQUIDATIONS)
    a, b = rig.lanes
    rig.up(2)
    for lane, passing in ((a, 3), (b, 0)):
        rig.tick()
        ones = [LIQUIDATIONS.make(3, 0, (rig.time, 5)) for _ in range(2)]
        assert len(lane.give(*ones, LIQUIDATIONS.make(4, 0, (rig.time, 5)))) == passing
    assert len(a.give(LIQUIDATIONS.make(5, 0, (rig.time, 6)))) == 1


def test_of_two_states_of_one_instant_on_one_lane_both_pass() -> None:
    rig = Rig(MARK_PRICES)
    a, b = rig.lanes
    rig.up(1)
    first = MARK_PRICES.make(2, 0, (rig.tick(), 3))
    second = attrs.evolve(first, mark_price=101.0)
    for lane, passing in ((a, [first, second]), (b, [])):
        assert lane.give(first, second, second) == passing


def test_the_window_of_identities_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("farm.exchanges.lanes.tracks.MAX_SEEN", 300)
    rig = Rig(QUOTES)
    rig.up(1)
    rig.lanes[0].read(*range(2, 502))
    (track,) = rig.merger._tracks.all()
    assert len(track._seen) == len(track._order) == 300
    rig.step = 61 * SECOND
    rig.lanes[0].read(502)
    assert len(track._seen) == 256

"""Lanes that take over from others: nothing is lost, and nothing comes twice."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farm.entities import Gap
from farm.exchanges.continuity import TradeContinuity
from farm.exchanges.lanes.merger import LINGER, LaneShare
from farm.types import GapCause
from tests.effort import runs
from tests.exchanges.lanes.copies import (
    AGG_TRADES,
    BYBIT_BOOK,
    BYBIT_QUOTES,
    CONTIGUOUS,
    EVERY,
    SPOT_TRADES,
    USDM_TRADES,
    Copied,
)
from tests.exchanges.lanes.rig import MS, SECOND, Connection, Rig, rig_rows
from tests.exchanges.trading import outage, ranges, rows_of


@settings(max_examples=runs(30))
@given(st.data())
@pytest.mark.parametrize("feed", EVERY, ids=str)
def test_a_rotation_loses_and_doubles_nothing(feed: Copied, data: Any) -> None:
    """A new lane comes beside the old one; when it carries everything the old one is let go of."""
    rig = Rig(feed, lanes=["a"])
    rig.again = data.draw(st.booleans())
    rig.step = 100 * MS
    (a,) = rig.lanes
    a.read(1, up=True, greet=0)
    count = data.draw(st.integers(2, 25))
    before = data.draw(st.integers(2, count))  # the first that the new lane is sent
    began = data.draw(st.integers(1, before))  # the first after the new lane was added
    for n in range(2, began):
        a.read(n)
    b = rig.add("b")
    first, second = list(range(max(2, began), count + 1)), list(range(before, count + 1))
    is_up = False
    while first:
        may_open = not first or first[0] >= before
        if second and (is_up or may_open) and data.draw(st.booleans()):
            n = second.pop(0) if is_up or data.draw(st.booleans()) else None
            if not is_up:
                b.read(*([n] if n is not None else []), up=True, greet=before - 1)
            elif n is not None:
                b.read(n)
            is_up = True
        elif first:
            a.read(first.pop(0))
        if is_up and rig.merger.covers("b", "a") and data.draw(st.booleans()):
            break
    if not is_up:
        b.read(up=True, greet=before - 1 if second else count)
    rig.step = SECOND
    rig.tick()
    a.give()  # it is alive
    while not rig.merger.covers("b", "a") and (first or second):
        (a if first else b).read((first or second).pop(0))
    assert rig.merger.covers("b", "a")
    a.give(final=True) if data.draw(st.booleans()) else None
    rest = [n for n in second if n <= count]
    if first and first[0] < before:
        # The new lane was opened later than what the old one was yet to bring; that shows where
        # ids step, and once the new lane has brought any.
        assert feed not in CONTIGUOUS or second[0] == before
        return
    assert rig.remove(a) == []
    rig.step = 100 * MS
    for n in [*rest, count + 1, count + 2]:
        b.read(n)
    numbers = [number for number in rig.numbers if number > 0]
    assert numbers == list(range(1, count + 3))
    greetings = [number for number in rig.numbers if number <= 0]
    assert len(greetings) == (feed.greet is not None)


def test_after_a_rotation_the_last_lane_is_passed_on_as_it_is_again() -> None:
    rig = Rig()
    a, b = rig.lanes
    rig.up(1)
    a.read(2)
    rig.remove(a)
    assert b.read(2) == []  # a copy that was under way
    rig.time += LINGER
    b.read(3)
    bundle = b.bundle(SPOT_TRADES.make(3, 0, (rig.tick(), 9)))
    assert rig.merger.take(bundle) is bundle


def test_a_bundle_keeps_its_outcome_when_the_lanes_became_one_meanwhile() -> None:
    rig = Rig()
    a, b = rig.lanes
    rig.up(1)
    a.read(2)
    rig.remove(a)
    rig.time += LINGER
    bundle = b.bundle(SPOT_TRADES.make(2, 1, (rig.tick(), 9)))
    outcome = rig.take(bundle)
    assert outcome.batches == []
    assert rig.merger.take(bundle) is outcome
    following = b.bundle(SPOT_TRADES.make(3, 1, (rig.tick(), 9)))
    assert rig.merger.take(following) is following


def test_a_lane_does_not_cover_what_it_does_not_carry() -> None:
    rig = Rig()
    a, b = rig.lanes
    a.read(1, up=True)
    assert not rig.merger.covers("b", "a")
    b.read(up=True)
    assert rig.merger.covers("b", "a")  # a quiet feed proves nothing more
    b.read(5)
    assert not rig.merger.covers("b", "a")
    a.read(2, 3)
    assert not rig.merger.covers("b", "a")
    a.read(4)
    assert rig.merger.covers("b", "a")


def test_a_lane_does_not_cover_a_feed_that_goes_on_without_it() -> None:
    rig = Rig()
    a, b = rig.lanes
    a.read(1, up=True)
    b.read(up=True)
    rig.step = 3 * SECOND
    a.read(2)
    assert not rig.merger.covers("b", "a")
    b.read(2)
    assert rig.merger.covers("b", "a")


def test_a_lane_with_a_hole_does_not_cover() -> None:
    rig = Rig()
    rig.up(1)
    rig.lanes[1].read(3)
    assert not rig.merger.covers("b", "a")


def test_a_quiet_state_of_a_new_lane_is_dropped_once_the_old_one_is_known_to_live() -> None:
    for feed in (BYBIT_QUOTES, BYBIT_BOOK):
        rig = Rig(feed, lanes=["a"])
        (a,) = rig.lanes
        a.read(7, up=True, greet=6)
        b = rig.add("b")
        rig.out.clear()
        assert b.read(up=True, greet=7) == []
        assert rig.merger.shares()["b"].held == 1
        rig.step = SECOND
        a.give()
        rig.tick()
        a.give()
        assert rig.merger.shares()["b"] == LaneShare(copies=1)
        rig.remove(a)
        assert [rig.number(row) for row in b.read(8)] == [8]


def test_a_quiet_state_is_dropped_too_where_the_old_lane_is_let_go_of_a_while_after_it() -> None:
    for feed in (BYBIT_QUOTES, BYBIT_BOOK):
        rig = Rig(feed, lanes=["a"])
        (a,) = rig.lanes
        a.read(7, up=True, greet=6)
        b = rig.add("b")
        rig.out.clear()
        b.read(up=True, greet=7)
        rig.time += SECOND
        assert rig.remove(a) == []
        assert rig.merger.shares()["b"] == LaneShare(copies=1)
        assert [rig.number(row) for row in b.read(8)] == [8]


def test_a_quiet_state_that_the_old_lane_is_yet_to_bring_passes_once() -> None:
    rig = Rig(BYBIT_QUOTES, lanes=["a"])
    (a,) = rig.lanes
    a.read(7, up=True)
    b = rig.add("b")
    assert b.read(up=True, greet=9) == []
    assert [rig.number(row) for row in a.read(8)] == [8, 9]
    assert a.read(9) == []


def test_the_state_of_a_new_lane_passes_where_the_old_one_was_dead() -> None:
    for feed in (BYBIT_QUOTES, BYBIT_BOOK):
        rig = Rig(feed, lanes=["a"])
        (a,) = rig.lanes
        a.read(7, up=True, greet=6)
        b = rig.add("b")
        b.read(up=True, greet=9)
        rig.step = 5 * SECOND
        assert [feed.number(row) for row in rig_rows(a.end())] == [9]


def test_a_lane_that_is_let_go_of_while_down_leaves_a_gap_for_what_nobody_carried() -> None:
    rig = Rig(lanes=["a"])
    (a,) = rig.lanes
    a.read(1, up=True)
    b = rig.add("b")
    a.end()
    since = a.last_time
    b.read(5, up=True)
    until = rig.time
    rig.tick()
    (gap,) = rig.remove(a)
    assert (gap.start_time, gap.end_time, gap.cause) == (since, until, GapCause.DISCONNECT)
    assert a.give(outage(SPOT_TRADES.stream, since, rig.time), final=True) == []


def test_what_a_lane_leaves_to_nobody_is_lost_until_another_takes_it_up() -> None:
    rig = Rig(lanes=["a"])
    (a,) = rig.lanes
    a.read(1, up=True)
    b = rig.add("b")
    assert rig.remove(a) == []
    since = rig.time
    rig.time += LINGER
    (gap, *rows) = reversed(b.read(9, up=True))
    assert (gap.start_time, gap.end_time) == (since, rig.time)
    assert [rig.number(row) for row in rows] == [9]


def test_the_last_bundle_of_the_last_lane_passes_after_it_was_let_go_of() -> None:
    rig = Rig()
    a, b = rig.lanes
    rig.up(1)
    b.read(3)
    a.end()
    b.end()
    since = b.last_time
    rig.tick()
    gaps = [*rig.remove(a), *a.give(outage(SPOT_TRADES.stream, a.last_time, rig.time), final=True)]
    gaps += [*rig.remove(b), *b.give(outage(SPOT_TRADES.stream, since, rig.time), final=True)]
    assert [(gap.start_time, gap.end_time) for gap in gaps] == [(since, rig.time)]
    assert rig.merger.lanes == []
    rig.merger.add("c")
    bundle = Connection(rig, "c", 0).bundle(SPOT_TRADES.make(1, 0, (1, 1)))
    assert rig.merger.take(bundle) is bundle


def test_what_waits_at_the_end_comes_with_the_last_bundle() -> None:
    rig = Rig()
    a, b = rig.lanes
    rig.up(1)
    assert a.read(3) == []
    rig.remove(b)
    assert [rig.number(row) for row in b.give(final=True)] == [3]
    rig.remove(a)
    assert a.give(final=True) == []


@settings(max_examples=runs(60))
@given(st.data())
@pytest.mark.parametrize("feed", [SPOT_TRADES, USDM_TRADES, AGG_TRADES], ids=str)
def test_what_all_lanes_lost_is_recorded_once_behind_them(feed: Copied, data: Any) -> None:
    """Lanes lose what they like and break; ids behind them name what none brought, no more."""
    rig = Rig(feed)
    rig.again = data.draw(st.booleans())
    continuity = TradeContinuity(lambda: [feed.stream])
    rig.up(0)
    for lane in rig.lanes:
        continuity.take(lane.bundle(feed.make(0, 0, (rig.time, 0))))
    count = data.draw(st.integers(1, 30))
    lost = st.sets(st.integers(1, count))
    losses = [data.draw(lost), data.draw(lost)]
    queues = [[n for n in range(1, count + 1) if n not in some] for some in losses]
    queues = [[*queue, count + 1] for queue in queues]
    breaks = False
    while any(queues):
        at = data.draw(st.sampled_from([n for n in (0, 1) if queues[n]]))
        lane = rig.lanes[at]
        if data.draw(st.integers(0, 9)) == 0:
            lane.end()
            lane.back(lane.last_time)
            breaks = True
        taken = data.draw(st.integers(1, min(3, len(queues[at]))))
        lane.read(*queues[at][:taken])
        del queues[at][:taken]
    found = [gap for out in map(continuity.take, rig.out) for gap in rows_of(out, Gap)]
    present = set(rig.numbers)
    assert set(range(1, count + 2)) - present <= losses[0] & losses[1]
    missing = set(range(1, count + 1)) - present
    if not breaks:
        assert [(gap.first_id, gap.last_id) for gap in found] == ranges(missing)
    named = [n for gap in found for n in range(gap.first_id or 0, (gap.last_id or 0) + 1)]
    assert missing <= set(named)
    assert len(set(named)) == len(named)
    counts = continuity.counts(feed.stream.feed)
    assert counts is not None
    # What a lane brings after it broke may come when its hole was on record already.
    assert (counts.late, counts.repeats) == (len(set(named) - missing), 1)
    assert len(rig.numbers) == len(present)

"""Which lane carried which feed when, and the arithmetic of intervals."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from farm.exchanges.lanes.coverage import FOREVER, Coverage, Interval, Lane, outside, overlap
from farm.exchanges.outages import SHARD_EDGE
from farm.types import GapCause, Market
from tests.exchanges.trading import BINANCE, outage, streams_of

(TRADES,) = streams_of(BINANCE, Market.SPOT, "trade")
FEED = TRADES.feed

INTERVALS = st.lists(
    st.tuples(st.integers(0, 30), st.integers(1, 8)).map(lambda pair: (pair[0], sum(pair))),
    max_size=6,
)


def cells(intervals: Iterable[Interval]) -> set[int]:
    """The unit steps that intervals are made of."""
    return {cell for start, end in intervals for cell in range(start, end)}


@given(INTERVALS, INTERVALS)
def test_overlap_and_outside_divide_what_was_given(
    ones: list[Interval], others: list[Interval]
) -> None:
    both, left = overlap(ones, others), outside(ones, others)
    assert cells(both) == cells(ones) & cells(others)
    assert cells(left) == cells(ones) - cells(others)
    for found in (both, left):
        assert found == sorted(found)
        assert all(start < end for start, end in found)


def test_an_instant_is_lost_only_where_it_is_all_that_was() -> None:
    assert overlap([(5, 5)], [(1, 9)]) == [(5, 5)]
    assert overlap([(1, 5)], [(5, 9)]) == []
    assert outside([(5, 5)], [(1, 9)]) == []
    assert outside([(5, 5)], []) == [(5, 5)]


def lanes(*names: str) -> tuple[Coverage, list[Lane]]:
    coverage = Coverage()
    for number, name in enumerate(names):
        coverage.add(Lane(name, number))
    return coverage, coverage.lanes


def test_a_lane_knows_when_it_did_not_carry_a_feed() -> None:
    lane = Lane("a", 1)
    assert lane.downs(FEED) == [(0, FOREVER)]
    lane.goes_up(FEED, 10)
    lane.goes_up(FEED, 15)
    assert lane.up == {FEED: 10}
    assert lane.downs(FEED) == [(0, 10)]
    lane.goes_down(FEED, 20)
    lane.goes_down(FEED, 25)
    assert lane.downs(FEED) == [(0, 10), (20, FOREVER)]
    lane.goes_up(FEED, 30)
    assert lane.downs(FEED) == [(0, 10), (20, 30)]
    lane.forget_the_past()
    assert lane.downs(FEED) == []
    lane.drop(FEED)
    assert lane.downs(FEED) == [(0, FOREVER)]


def test_elders_carry_a_feed_since_before() -> None:
    coverage, (a, b, c) = lanes("a", "b", "c")
    b.goes_up(FEED, 5)
    a.goes_up(FEED, 7)
    assert coverage.carriers(FEED) == [a, b]
    assert coverage.elders(a, FEED) == [b]
    assert coverage.elders(b, FEED) == []
    assert coverage.elders(c, FEED) == [a, b]


def test_a_gap_is_clipped_to_what_nobody_carried_in_several_parts() -> None:
    coverage, (a, b) = lanes("a", "b")
    a.goes_up(FEED, 1)
    b.goes_up(FEED, 1)
    for since, until in [(10, 20), (30, 40)]:
        b.goes_down(FEED, since)
        b.goes_up(FEED, until)
    gap = outage(TRADES, 15, 35)
    parts = coverage.clip(a, gap)
    assert [(part.start_time, part.end_time) for part in parts] == [(15, 20), (30, 35)]
    assert coverage.clip(b, outage(TRADES, 10, 20)) == []  # on record already
    assert (a.outages, b.outages) == (0, 0)
    whole = outage(TRADES, 31, 34, edge="elsewhere")
    assert coverage.clip(a, whole) == [whole]


def test_a_lane_that_is_let_go_of_vouches_for_nothing_after_its_last_sign_of_life() -> None:
    """Both lines were cut without a word, and the run ends when one of them was found dead."""
    coverage, (one, other) = lanes("one", "other")
    for lane in (one, other):
        lane.goes_up(FEED, 0)
        lane.time = 10
    assert coverage.clip(one, outage(TRADES, 10, 80)) == []
    one.goes_up(FEED, 80)
    assert coverage.let_go(other, 90) == [(FEED, (10, 80))]


def test_a_lane_that_lived_on_has_vouched() -> None:
    coverage, (one, other) = lanes("one", "other")
    for lane in (one, other):
        lane.goes_up(FEED, 0)
        lane.time = 10
    assert coverage.clip(one, outage(TRADES, 10, 80)) == []
    other.time = 85
    assert coverage.let_go(other, 90) == []


def test_an_outage_that_is_told_after_the_dead_lane_was_let_go_of() -> None:
    coverage, (one, other) = lanes("one", "other")
    for lane in (one, other):
        lane.goes_up(FEED, 0)
        lane.time = 10
    assert coverage.let_go(other, 90) == []
    (gap,) = coverage.clip(one, outage(TRADES, 20, 90))
    assert (gap.start_time, gap.end_time) == (20, 90)


def test_where_the_wall_clock_was_set_back_no_lane_stands_in_for_another() -> None:
    coverage, (one, other) = lanes("one", "other")
    for lane in (one, other):
        lane.goes_up(FEED, 50)
    back = outage(TRADES, 60, 40)
    assert coverage.clip(one, back) == [back]


def test_a_gap_without_a_start_is_clipped_too() -> None:
    coverage, (a, b) = lanes("a", "b")
    b.goes_up(FEED, 5)
    gap = outage(TRADES, 1, 9)
    gap.start_time = None
    (part,) = coverage.clip(a, gap)
    assert (part.start_time, part.end_time) == (None, 5)


def test_a_refusal_is_on_record_until_a_lane_carries_the_feed() -> None:
    coverage, (a, b) = lanes("a", "b")
    refusal = outage(TRADES, 5, 5, GapCause.REFUSED)
    refusal.end_time = None
    assert coverage.clip(a, refusal) == [refusal]
    assert coverage.clip(b, refusal) == []
    assert coverage.goes_up(b, FEED, 20) is None
    b.goes_down(FEED, 30)
    assert coverage.goes_up(b, FEED, 40) is None
    (gap,) = coverage.clip(b, outage(TRADES, 30, 40))
    assert (gap.start_time, gap.end_time) == (30, 40)


def test_lanes_let_go_of_are_known_for_a_while() -> None:
    coverage, _ = lanes(*"abcdefgh")
    first = coverage.lanes[0]
    for lane in list(coverage.lanes)[:6]:
        coverage.let_go(lane, 10)
    assert first.name not in coverage.by_name
    assert list(coverage.by_name) == [lane.name for lane in (*coverage.gone, *coverage.lanes)]
    coverage.add(Lane("f", 99))
    coverage.reset()
    assert coverage.by_name["f"].number == 99
    assert not coverage.gone


def test_a_feed_that_is_dropped_is_on_no_record() -> None:
    coverage, (a, b) = lanes("a", "b")
    a.goes_up(FEED, 1)
    b.goes_up(FEED, 1)
    assert not coverage.drop(a, FEED)
    coverage.let_go(b, 10)
    assert coverage.orphans == {FEED: 10}
    assert coverage.drop(a, FEED)
    assert coverage.orphans == {}


def test_who_carried_a_feed_before_another_was_let_go_of_missed_nothing() -> None:
    """Its bundles may have waited: they tell of times before."""
    coverage, (a, b) = lanes("a", "b")
    a.goes_up(FEED, 1)
    coverage.let_go(a, 10)
    assert coverage.orphans == {FEED: 10}
    assert coverage.goes_up(b, FEED, 5) is None
    assert coverage.orphans == {}
    coverage, (a, b) = lanes("a", "b")
    a.goes_up(FEED, 1)
    coverage.let_go(a, 10)
    assert coverage.goes_up(b, FEED, 12) == (10, 12)


def test_what_a_crash_cost_is_recorded_once_by_the_lane_that_is_back_first() -> None:
    """Each lane of the new process knows of it; later ones have missed nothing more."""
    coverage, (a, b) = lanes("a", "b")
    first = outage(TRADES, 10, 20, GapCause.CRASH, edge=SHARD_EDGE)
    later = outage(TRADES, 10, 25, GapCause.CRASH, edge=SHARD_EDGE)
    assert coverage.clip(b, first) == [first]
    assert coverage.clip(a, later) == []
    assert coverage.clip(b, later) == []
    assert (a.outages, b.outages) == (0, 0), "that was no fault of a lane"


def test_crashes_are_told_apart_by_feed_and_by_time() -> None:
    coverage, (a, b) = lanes("a", "b")
    (quotes,) = streams_of(BINANCE, Market.SPOT, "quote")
    different = [
        outage(TRADES, 10, 20, GapCause.CRASH, edge=SHARD_EDGE),
        outage(quotes, 10, 20, GapCause.CRASH, edge=SHARD_EDGE),
        outage(TRADES, 30, 40, GapCause.CRASH, edge=SHARD_EDGE),
    ]
    for gap in different:
        assert coverage.clip(a, gap) == [gap]
        assert coverage.clip(b, gap) == []


def test_no_lane_makes_up_for_a_crash() -> None:
    """One that carries the feed now did not, in the process before."""
    coverage, (a, b) = lanes("a", "b")
    a.goes_up(FEED, 5)
    gap = outage(TRADES, 10, 20, GapCause.CRASH, edge=SHARD_EDGE)
    assert coverage.clip(b, gap) == [gap]

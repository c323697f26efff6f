"""Outages of lanes: invisible while another carries the feed, and recorded once where none does."""

from __future__ import annotations

import attrs
from hypothesis import given
from hypothesis import strategies as st

from farm.exchanges.lanes.coverage import FOREVER, Lane, outside, overlap
from farm.types import GapCause
from tests.exchanges.lanes.copies import (
    BYBIT_BOOK,
    SPOT_TRADES,
)
from tests.exchanges.lanes.rig import SECOND, Rig
from tests.exchanges.trading import outage


def test_an_outage_of_one_lane_makes_no_gap() -> None:
    rig = Rig()
    a, b = rig.lanes
    rig.up(1)
    assert a.end().down == frozenset()
    b.read(2, 3)
    a.back(a.last_time)
    a.read(4)
    assert rig.gaps == []
    assert rig.merger.shares()["a"].outages == 1


def test_what_a_clock_tells_of_a_lane_is_no_sign_of_its_life() -> None:
    """Both lines were cut without a word. One lane is found dead, and subscribes again; the other's
    core still speaks, for time passes there too; then the run ends."""
    rig = Rig()
    a, b = rig.lanes
    rig.up(1)
    since = b.last_time
    rig.time += 60 * SECOND
    a.end()
    a.back(a.last_time)
    back = rig.time
    assert rig.gaps == []
    b.give(outage(BYBIT_BOOK.stream, since, back), heard=False)
    rig.out.clear()
    lost = rig.remove(b)
    assert [(gap.start_time, gap.end_time) for gap in lost] == [(since, back)]


def test_feeds_that_nobody_carries_are_down() -> None:
    rig = Rig()
    a, b = rig.lanes
    rig.up(1)
    a.end()
    bundle = b.end()
    assert (bundle.down, bundle.ended) == (frozenset({SPOT_TRADES.stream.feed}), "reset by peer")


def test_an_outage_of_all_lanes_makes_one_gap_of_what_nobody_carried() -> None:
    rig = Rig()
    a, b = rig.lanes
    rig.up(1)
    a.end()
    b.read(2)
    b.end()
    a.back(a.last_time)
    since, until = b.last_time, rig.time
    b.back(b.last_time)
    assert rig.gaps == [(since, until)]


def test_a_lane_that_is_buried_carries_nothing_and_stands_in_for_nobody() -> None:
    rig = Rig()
    _, b = rig.lanes
    rig.up(1)
    assert rig.merger.bury("a") == frozenset()  # the other carries all of it
    assert rig.merger.bury("a") == frozenset()  # again: no difference
    b.read(2)
    assert rig.numbers == [2]
    since = b.last_time
    bundle = b.end()
    assert bundle.down == frozenset({SPOT_TRADES.stream.feed})
    b.back(since)
    assert rig.gaps == [(since, rig.time)]


def test_with_the_last_lane_that_carries_a_feed_it_is_buried() -> None:
    rig = Rig()
    a, _ = rig.lanes
    rig.up(1)
    a.end()
    assert rig.merger.bury("a") == frozenset()  # it carried nothing before
    assert rig.merger.bury("b") == frozenset({SPOT_TRADES.stream.feed})


def test_the_only_lane_may_be_buried() -> None:
    rig = Rig(lanes=["a"])
    rig.lanes[0].read(1, up=True)
    assert rig.merger.bury("a") == frozenset({SPOT_TRADES.stream.feed})


def test_what_was_on_its_way_when_its_lane_was_buried_passes_and_does_not_revive_it() -> None:
    rig = Rig()
    a, b = rig.lanes
    rig.up(1)
    rig.merger.bury("a")
    a.read(2, up=True)
    assert rig.numbers == [2]
    assert b.end().down == frozenset({SPOT_TRADES.stream.feed})


def test_a_lane_that_is_dead_goes_up_no_more() -> None:
    lane = Lane("a", 1)
    lane.goes_up("f", 5)
    lane.dead = True
    lane.goes_down("f", 7)
    lane.goes_up("f", 9)
    assert (lane.up, lane.down, lane.downs("f")) == ({}, {"f": 7}, [(0, 5), (7, FOREVER)])


def test_what_was_kept_back_for_a_lane_that_is_buried_passes_with_the_next_bundle() -> None:
    """One lane jumps, and the other may bring what lies between: it never will."""
    rig = Rig()
    _, b = rig.lanes
    rig.up(1)
    b.read(3)
    assert rig.numbers == []
    rig.merger.bury("a")
    b.read(4)
    assert rig.numbers == [3, 4]


def test_gaps_of_other_causes_and_edges_pass_as_they_are() -> None:
    rig = Rig()
    rig.up(1)
    stream = SPOT_TRADES.stream
    for gap in [
        outage(stream, 1, 2, GapCause.OVERFLOW, frames=3),
        outage(stream, 1, 2, GapCause.QUARANTINE, edge="parser"),
        outage(stream, 1, 2, GapCause.DISCONNECT, edge="a>b"),
    ]:
        bundle = rig.lanes[0].bundle(gap)
        assert rig.take(bundle) is bundle


def test_silence_of_one_lane_is_invisible_and_of_both_is_not() -> None:
    rig = Rig()
    a, b = rig.lanes
    rig.up(1)
    start = rig.time
    rig.time += 100
    silence = outage(SPOT_TRADES.stream, start + 10, start + 50, GapCause.SILENCE)
    assert a.give(silence) == []
    (gap,) = b.give(attrs.evolve(silence, start_time=start + 30, end_time=start + 70))
    assert (gap.start_time, gap.end_time, gap.cause) == (start + 30, start + 50, GapCause.SILENCE)


def test_a_refusal_has_no_end_until_a_lane_carries_the_feed() -> None:
    rig = Rig()
    a, b = rig.lanes
    stream = SPOT_TRADES.stream
    refusal = attrs.evolve(outage(stream, rig.tick(), rig.time, GapCause.REFUSED), end_time=None)
    assert a.give(refusal) == [refusal]
    assert b.give(refusal) == []  # on record already
    b.read(1, up=True)
    rig.tick()
    b.end()
    assert len(b.back(b.last_time)) == 1


def test_a_refusal_while_another_lane_carries_the_feed_is_invisible() -> None:
    rig = Rig()
    a, b = rig.lanes
    rig.up(1)
    refusal = outage(SPOT_TRADES.stream, rig.tick(), rig.time, GapCause.REFUSED)
    assert a.give(attrs.evolve(refusal, end_time=None)) == []
    b.read(2)
    b.end()
    since = b.last_time
    b.back(since)
    assert rig.gaps == [(since, rig.time)]


@given(st.lists(st.tuples(st.sampled_from([0, 1, 2]), st.booleans()), max_size=40))
def test_gaps_are_exactly_what_no_lane_carried(steps: list[tuple[int, bool]]) -> None:
    """Three lanes break and come back at random; every tick somebody who is up delivers."""
    rig = Rig(lanes=["a", "b", "c"])
    rig.up(1)
    number, began = 1, rig.time
    downs: list[list[tuple[int, int]]] = [[], [], []]
    since: list[int | None] = [None, None, None]
    for at, breaks in steps:
        lane = rig.lanes[at]
        number += 1
        for other in rig.lanes:  # so that the last instant known good is that of the break
            if since[rig.lanes.index(other)] is None:
                rig.step = 1
                other.read(number)
        down = since[at]
        if breaks and down is None:
            since[at] = lane.last_time
            lane.end()
        elif not breaks and down is not None:
            lane.back(down)
            downs[at].append((down, rig.time))
            since[at] = None
    for at, lane in enumerate(rig.lanes):
        down = since[at]
        if down is not None:
            lane.back(down)
            downs[at].append((down, rig.time))
    lost = overlap(overlap(downs[0], downs[1]), downs[2])
    found = [(start or 0, end or 0) for start, end in rig.gaps]
    assert outside(lost, found) == outside(found, lost) == []
    assert sum(end - start for start, end in found) == sum(end - start for start, end in lost)
    assert all(start >= began - 10 for start, _ in found)

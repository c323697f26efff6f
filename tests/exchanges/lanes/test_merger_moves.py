"""Lines that go over to another process: its lanes are expected, and then taken in."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farm.exchanges.lanes.merger import LINGER, LaneMerger
from tests.effort import runs
from tests.exchanges.lanes.copies import CONTRACTS, EVERY, SPOT_TRADES, Copied
from tests.exchanges.lanes.rig import MS, SECOND, Connection, Rig


def moved(rig: Rig, *names: str) -> LaneMerger:
    """The merger as it is in the other process."""
    rig.merger.forget_deliveries()
    merger = copy.deepcopy(rig.merger)
    merger.take_in(names)
    return merger


@settings(max_examples=runs(30))
@given(st.data())
@pytest.mark.parametrize("feed", EVERY, ids=str)
def test_a_move_loses_and_doubles_nothing(feed: Copied, data: Any) -> None:
    """What the new lane brings waits until the old process has come to its end."""
    rig = Rig(feed, lanes=["a"])
    rig.step = 100 * MS
    (a,) = rig.lanes
    a.read(1, up=True, greet=0)
    began = data.draw(st.integers(2, 6))  # the first after the new lane was expected
    before = data.draw(st.integers(began, began + 6))  # the first that the new lane is sent
    end = data.draw(st.integers(before, before + 6))  # the last that the old lane brings
    for n in range(2, began):
        a.read(n)
    rig.merger.expect_lanes(["b"])
    b, held = Connection(rig, "b", 1), []
    for n in range(began, end + 1):
        if n == before:
            rig.tick()
            rows = [] if feed.greet is None else [feed.greet(n - 1, 1, (rig.time, 0))]
            held.append(b.bundle(*rows, up=(feed.stream.feed,)))
        a.read(n)
        if n >= before:
            rig.tick()
            held.append(b.bundle(feed.make(n, 1, (rig.time, n))))
    rig.step = SECOND
    rig.tick()
    a.give()  # it is alive
    rig.merger = moved(rig, "b")
    for bundle in held:
        rig.take(bundle)
    assert rig.remove(a) == []
    rig.step = 100 * MS
    for n in (end + 1, end + 2):
        b.read(n)
    assert [number for number in rig.numbers if number > 0] == list(range(1, end + 3))
    assert len([n for n in rig.numbers if n <= 0]) == (feed.greet is not None)
    assert rig.gaps == []


def test_it_is_kept_track_of_what_passes_as_long_as_lanes_are_expected() -> None:
    rig = Rig(lanes=["a"])
    (a,) = rig.lanes
    rig.up(1)
    rig.merger.expect_lanes(["b"])
    rig.step = LINGER
    a.read(3)
    assert a.read(3) == []
    rig.merger.expect_lanes(())
    a.read(4)
    assert rig.merger.lanes == ["a"]
    bundle = a.bundle(SPOT_TRADES.make(4, 0, (rig.tick(), 9)))
    assert rig.merger.take(bundle) is bundle  # as it came, for nothing is compared any more


def test_lanes_that_were_not_expected_are_taken_in_as_well() -> None:
    rig = Rig(lanes=["a"])
    rig.up(1)
    rig.merger.expect_lanes(["b", "c"])
    assert rig.merger.lanes == ["a"]
    assert moved(rig, "c", "d").lanes == ["a", "c", "d"]


def test_of_a_feed_without_identity_expected_lanes_owe_what_passed() -> None:
    rig = Rig(CONTRACTS, lanes=["a"])
    (a,) = rig.lanes
    rig.up(1)
    rig.merger.expect_lanes(["b"])
    a.read(2)
    a.read(3)
    rig.merger = moved(rig, "b")
    b = Connection(rig, "b", 1)
    assert b.read(2, up=True) == []
    assert b.read(3, 4) == []
    assert rig.merger.shares()["b"].held == 1
    rig.remove(a)
    b.read(5)
    assert rig.numbers == [2, 3, 4, 5]


def test_an_outage_is_told_once_though_its_end_is_in_another_process() -> None:
    """The old lane was down on the feed when it went; the new one has carried it since before."""
    rig = Rig(lanes=["a"])
    (a,) = rig.lanes
    rig.up(1)
    rig.merger.expect_lanes(["b"])
    b = Connection(rig, "b", 1)
    rig.tick()
    held = b.bundle(up=(rig.feed.stream.feed,))
    rig.tick()
    a.give()
    a.end()
    rig.merger = moved(rig, "b")
    rig.take(held)
    assert rig.remove(a) == []
    assert rig.gaps == []


def test_what_was_delivered_is_not_taken_along() -> None:
    rig = Rig()
    rig.up(1)
    bundle = rig.lanes[0].bundle(SPOT_TRADES.make(2, 0, (rig.tick(), 9)))
    assert rig.merger.take(bundle) is rig.merger.take(bundle)
    rig.merger.forget_deliveries()
    before = rig.merger.shares()["a"].copies
    assert rig.merger.take(bundle) is not bundle  # it is looked at anew
    assert rig.merger.shares()["a"].copies == before + 1

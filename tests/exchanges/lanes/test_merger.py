"""Lanes merged: every event once, losses of one lane invisible, and those of all recorded once."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farm.batch import Origin
from farm.bundle import Bundle, UnparsedFrame
from farm.exchanges.lanes.merger import LaneMerger, LaneShare
from farm.types import Exchange, Market, NumberMode
from tests.effort import runs
from tests.exchanges.lanes.copies import (
    AGG_TRADES,
    CONTRACTS,
    EVERY,
    SPOT_TRADES,
    Copied,
)
from tests.exchanges.lanes.rig import Connection, Rig
from tests.exchanges.trading import outage, streams_of


# ---------------------------------------------------------------------------------------- one lane
def test_bundles_of_a_single_lane_are_passed_on_as_they_are() -> None:
    rig = Rig(lanes=["a"])
    (a,) = rig.lanes
    for bundle in [
        a.bundle(SPOT_TRADES.make(5, 0, (1, 1)), up=(SPOT_TRADES.stream.feed,)),
        a.bundle(SPOT_TRADES.make(5, 0, (1, 1)), SPOT_TRADES.make(3, 0, (1, 1))),
        a.bundle(ended="reset by peer"),
        a.bundle(outage(SPOT_TRADES.stream, 1, 2), final=True),
        a.bundle(dropped=(SPOT_TRADES.stream.feed,)),
    ]:
        assert rig.merger.take(bundle) is bundle
    assert rig.merger.shares() == {"a": LaneShare()}


def test_lanes_have_names_of_their_own() -> None:
    merger = LaneMerger(list)
    merger.add("a")
    with pytest.raises(ValueError, match="there is a lane 'a' already"):
        merger.add("a")
    merger.add("b")
    assert merger.lanes == ["a", "b"]
    merger.remove("a", 1)
    assert merger.lanes == ["b"]
    with pytest.raises(KeyError):
        merger.remove("a", 1)


def test_what_comes_of_no_lane_is_passed_on() -> None:
    rig = Rig()
    stranger = Connection(rig, "stranger", 2)
    bundle = stranger.bundle(SPOT_TRADES.make(1, 0, (1, 1)))
    assert rig.merger.take(bundle) is bundle
    assert not rig.merger.covers("a", "stranger")


# ------------------------------------------------------------------------------------- first copy
@pytest.mark.parametrize("feed", EVERY, ids=str)
def test_the_first_copy_passes_and_the_second_does_not(feed: Copied) -> None:
    rig = Rig(feed)
    a, b = rig.lanes
    rig.up(9)
    for numbers in [(10, 11), (12,)]:
        assert [rig.number(row) for row in a.read(*numbers)] == list(numbers)
        assert b.read(*numbers) == []
    if feed is not CONTRACTS:  # of which only the first lane's pass
        assert [rig.number(row) for row in b.read(13, 14)] == [13, 14]
        assert a.read(13, 14) == []
        shares = rig.merger.shares()
        assert (shares["b"].firsts, shares["b"].copies) >= (2, 3)


@pytest.mark.parametrize("feed", EVERY, ids=str)
def test_a_bundle_that_passes_whole_is_passed_on_as_it_is(feed: Copied) -> None:
    rig = Rig(feed)
    rig.up(9)
    place = (rig.tick(), 5)
    bundle = rig.lanes[0].bundle(feed.make(10, 0, place))
    assert rig.take(bundle) is bundle


def test_the_rest_of_a_bundle_passes_along() -> None:
    rig = Rig()
    a, b = rig.lanes
    rig.up(1)
    a.read(2)
    frame = UnparsedFrame(rig.out[-1].origin, 1, 1, "x", "y", b"z")
    row = SPOT_TRADES.make(2, 1, (rig.tick(), 9))
    more: dict[str, Any] = {"up": ("x",), "asked": ("y",), "unparsed": [frame], "nbytes": 7}
    bundle = b.bundle(row, **more)
    outcome = rig.take(bundle)
    assert outcome.batches == []
    for field in attrs.fields(Bundle):
        if field.name != "batches":
            assert getattr(outcome, field.name) == getattr(bundle, field.name)


@settings(max_examples=runs(30))
@given(st.data())
@pytest.mark.parametrize("feed", EVERY, ids=str)
def test_every_event_passes_once_where_no_two_lanes_lose_it(feed: Copied, data: Any) -> None:
    """Two lanes bring the same events at their own pace; each loses some that the other has."""
    rig = Rig(feed)
    rig.again = data.draw(st.booleans())
    rig.up(0)
    count = data.draw(st.integers(1, 40))
    may_lose = (None, 0, 1) if feed is not CONTRACTS else (None, 1)  # the primary is believed
    losers = data.draw(st.lists(st.sampled_from(may_lose), min_size=count, max_size=count))
    queues = [[n for n in range(1, count + 1) if losers[n - 1] != lane] for lane in (0, 1)]
    # What neither lane brings shows only by what follows it; so both bring the last.
    queues = [[*queue, count + 1] for queue in queues]
    while any(queues):
        lane = data.draw(st.sampled_from([n for n in (0, 1) if queues[n]]))
        taken = data.draw(st.integers(1, min(3, len(queues[lane]))))
        rig.lanes[lane].read(*queues[lane][:taken])
        del queues[lane][:taken]
    numbers = rig.numbers
    if feed.keeps_all:
        assert sorted(numbers) == list(range(1, count + 2))
    else:
        assert len(set(numbers)) == len(numbers)
        assert numbers[-1] == count + 1 or not feed.ordered
        assert max(numbers) == count + 1
    if feed.ordered:
        assert numbers == sorted(numbers)
    assert all(share.held == 0 for share in rig.merger.shares().values())


# -------------------------------------------------------------------------------------------- rest
def test_the_end_of_the_last_lane_is_passed_on_as_it_is() -> None:
    rig = Rig()
    a, b = rig.lanes
    rig.up(1)
    rig.remove(a)
    assert b.end().down is None


def test_a_dropped_feed_is_forgotten_once_no_lane_carries_it() -> None:
    rig = Rig()
    a, b = rig.lanes
    rig.up(5)
    feed = SPOT_TRADES.stream.feed
    a.give(dropped=(feed,))
    assert rig.out[-1].dropped == ()
    assert [rig.number(row) for row in b.read(7)] == [7]
    b.give(dropped=(feed,))
    assert rig.out[-1].dropped == (feed,)
    assert [rig.number(row) for row in b.read(2, up=True)] == [2]


def test_numbers_stay_what_they_are() -> None:
    rig = Rig()
    rig.up(1)
    a, b = rig.lanes
    bundle = a.bundle(*[SPOT_TRADES.make(n, 0, (rig.tick(), n)) for n in (3, 4)])
    bundle.batches[0].numbers = NumberMode.DECIMAL
    rig.take(bundle)
    filling = b.bundle(SPOT_TRADES.make(2, 0, (rig.tick(), 1)))
    filling.batches[0].numbers = NumberMode.DECIMAL
    (batch,) = rig.take(filling).batches
    assert (batch.numbers, len(batch)) == (NumberMode.DECIMAL, 3)


def test_columns_agree_with_rows_of_several_origins() -> None:
    rig = Rig(AGG_TRADES)
    a, b = rig.lanes
    rig.up(1)
    a.read(3)
    b.read(2, 4)
    (batch,) = rig.out[-1].batches
    assert batch.columns["connection"].tolist() == ["b", "a", "b"]
    assert batch.columns["first_trade_id"].tolist() == [6, 9, 12]


def test_a_feed_found_dead_on_one_lane_is_down_only_where_no_other_carries_it() -> None:
    """A connection goes on, and one of its streams does not: its book is another lane's."""
    (stream,) = streams_of(Exchange.BINANCE, Market.SPOT, "trade")
    merger = LaneMerger(lambda: [stream])
    origins = {name: Origin(Exchange.BINANCE, Market.SPOT, name, 1) for name in "ab"}
    serial = iter(range(1, 100))

    def told(name: str, time: int, **what: Any) -> Bundle:
        return merger.take(Bundle(origins[name], next(serial), time, **what))

    merger.add("a")
    told("a", 1, up=(stream.feed,))
    dead = frozenset({stream.feed})
    assert told("a", 2, down=dead).down == dead  # the only lane
    told("a", 3, up=(stream.feed,))
    merger.add("b")
    told("b", 4, up=(stream.feed,))
    assert not told("a", 5, down=dead).down
    assert told("b", 6, down=dead).down == dead

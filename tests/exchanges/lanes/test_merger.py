"""Lanes merged: every event once, losses of one lane invisible, and those of all recorded once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farm.batch import Batch, Origin
from farm.bundle import Bundle, UnparsedFrame
from farm.entities import Gap, SpentIds, Trade
from farm.exchanges.continuity import TradeContinuity
from farm.exchanges.lanes.coverage import outside, overlap
from farm.exchanges.lanes.merger import LINGER, LaneMerger, LaneShare
from farm.types import Exchange, GapCause, Market, NumberMode
from tests.effort import runs
from tests.exchanges.lanes.copies import (
    AGG_TRADES,
    BYBIT_BOOK,
    BYBIT_QUOTES,
    CONTIGUOUS,
    CONTRACTS,
    EVERY,
    FULL_BOOK,
    LIQUIDATIONS,
    MARK_PRICES,
    NEWEST,
    QUOTES,
    SPOT_BOOK,
    SPOT_KLINES,
    SPOT_TRADES,
    UNIQUE,
    USDM_TRADES,
    Copied,
)
from tests.exchanges.trading import outage, ranges, rows_of, streams_of

MS = 1_000_000
SECOND = 1_000 * MS


class Connection:
    """One lane of a rig: makes its bundles, one read at each millisecond that the rig counts."""

    def __init__(self, rig: Rig, name: str, number: int) -> None:
        self.rig = rig
        self.name = name
        self.number = number
        self.epoch = 1
        self.serial = self.ordinal = 0
        self.last_time = 0

    def read(self, *numbers: int, up: bool = False, greet: int | None = None) -> list[Any]:
        """Events by their numbers, in one read; what came out of the merger."""
        feed, rig = self.rig.feed, self.rig
        time, rows = rig.tick(), []
        if greet is not None and feed.greet is not None:
            rows.append(feed.greet(greet, self.number, (time, self.ordinal)))
        for n in numbers:
            self.ordinal += 1
            rows.append(feed.make(n, self.number, (time, self.ordinal)))
        return self.give(*rows, up=(feed.stream.feed,) if up else ())

    def give(self, *rows: Any, **more: Any) -> list[Any]:
        return rig_rows(self.rig.take(self.bundle(*rows, **more)))

    def bundle(self, *rows: Any, **more: Any) -> Bundle:
        self.serial += 1
        stream = self.rig.feed.stream
        origin = Origin(stream.exchange, stream.market, self.name, self.epoch)
        by_kind: dict[Any, list[Any]] = {}
        for row in rows:
            by_kind.setdefault(type(row), []).append(row)
        batches = [
            Batch(k, rows=some, origins=[(origin, len(some))]) for k, some in by_kind.items()
        ]
        if "ended" not in more:
            self.last_time = self.rig.time
        return Bundle(origin, self.serial, self.rig.time, batches, **more)

    def end(self) -> Bundle:
        """The connection breaks; the next is another epoch."""
        self.rig.tick()
        bundle = self.rig.take(self.bundle(ended="reset by peer"))
        self.epoch += 1
        self.ordinal = 0
        return bundle

    def back(self, since: int) -> list[Any]:
        """It is subscribed again, and its core records what it missed."""
        time, stream = self.rig.tick(), self.rig.feed.stream
        return self.give(outage(stream, since, time), up=(stream.feed,))


class Rig:
    """A merger of lanes that carry one feed; what came out of it, in order."""

    def __init__(self, feed: Copied = SPOT_TRADES, lanes: Sequence[str] = ("a", "b")) -> None:
        self.feed = feed
        self.merger = LaneMerger(lambda: [feed.stream])
        self.time = 1_000_000 * SECOND
        self.step = MS
        self.out: list[Bundle] = []
        self.again = False  # whether each bundle is delivered twice
        self.lanes = [self.add(name) for name in lanes]

    def tick(self) -> int:
        self.time += self.step
        return self.time

    def add(self, name: str) -> Connection:
        self.merger.add(name)
        return Connection(self, name, len(self.merger.lanes) - 1)

    def take(self, bundle: Bundle) -> Bundle:
        outcome = self.merger.take(bundle)
        if self.again:
            assert self.merger.take(bundle) is outcome
        for batch in outcome.batches:
            assert len(batch) == len(batch.rows) > 0
        self.out.append(outcome)
        return outcome

    def remove(self, lane: Connection) -> list[Gap]:
        return self.merger.remove(lane.name, self.time)

    @property
    def rows(self) -> list[Any]:
        return [row for bundle in self.out for row in rig_rows(bundle)]

    @property
    def numbers(self) -> list[int]:
        """The numbers of the events that passed; of a snapshot that of its state, below zero."""
        return [self.number(row) for row in self.rows if not isinstance(row, Gap)]

    def number(self, row: Any) -> int:
        number = self.feed.number(row)
        is_greeting = self.feed is BYBIT_BOOK and row.is_snapshot
        return -number if is_greeting else number

    @property
    def gaps(self) -> list[tuple[int | None, int | None]]:
        rows = [row for row in self.rows if isinstance(row, Gap)]
        return [(gap.start_time, gap.end_time) for gap in rows]

    def up(self, *numbers: int) -> None:
        """All lanes carry the feed, and delivered these."""
        for lane in self.lanes:
            lane.read(*numbers, up=True, greet=numbers[0] - 1)
        for lane in self.lanes:
            lane.read(*numbers)
        self.out.clear()


def rig_rows(bundle: Bundle) -> list[Any]:
    """The rows of a bundle, of trades and of spent ids together in the order of their ids."""
    rows = [row for batch in bundle.batches for row in batch.rows]
    if any(type(row) is SpentIds for row in rows):
        rows.sort(key=lambda row: row.first_id if type(row) is SpentIds else int(row.id))
    return rows


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


# ------------------------------------------------------------------------------------------ holes
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


# ------------------------------------------------------------------------------------ Bybit's books
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


# --------------------------------------------------------------------------------- other identities
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


# ----------------------------------------------------------------------------------------- outages
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


# ---------------------------------------------------------------------------------------- rotation
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


# --------------------------------------------------------------------------------------- by a cut
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

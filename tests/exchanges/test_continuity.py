"""What ids prove of trades: each hole is recorded once, and an outage that cost nothing never."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm.bundle import Bundle
from farm.entities import Gap, Trade
from farm.exchanges.continuity import MAX_CONNECTIONS, TradeContinuity
from farm.exchanges.streams import Proof, Stream
from farm.types import Completeness, GapCause, GapUnit, Market
from tests.exchanges.trading import (
    BINANCE,
    BYBIT,
    Line,
    agg_trade,
    outage,
    ranges,
    rows_of,
    spent,
    streams_of,
    trade,
)

COMPLETE, INCOMPLETE = Completeness.COMPLETE, Completeness.INCOMPLETE
UNKNOWN = Completeness.UNKNOWN
TRADES, AGG_TRADES, QUOTES = streams_of(BINANCE, Market.SPOT, "trade", "agg_trade", "quote")
ETH = streams_of(BINANCE, Market.SPOT, "trade", symbols=["ETHUSDT"])[0]


class Rig:
    """A line of trades, its continuity, and what came out."""

    def __init__(self, *streams: Stream) -> None:
        self.streams = list(streams or (TRADES, AGG_TRADES, ETH))
        self.continuity = TradeContinuity(lambda: self.streams)
        self.line = Line()

    def take(self, *rows: Any, **more: Any) -> Bundle:
        return self.continuity.take(self.line.bundle(*rows, **more))

    def gaps(self, *rows: Any, **more: Any) -> list[Gap]:
        return rows_of(self.take(*rows, **more), Gap)

    def counts(self, stream: Stream = TRADES) -> Any:
        return self.continuity.counts(stream.feed)


def ids(gaps: Sequence[Gap]) -> list[tuple[int | None, int | None]]:
    return [(gap.first_id, gap.last_id) for gap in gaps]


# --------------------------------------------------------------------------------------- repeats
def test_what_comes_twice_is_passed_on_once() -> None:
    rig = Rig()
    rig.take(trade(7), trade(8))
    late = rig.take(trade(8), trade(9), trade(9))
    assert [row.id for row in rows_of(late, Trade)] == ["9"]
    nothing = rig.take(trade(9), outage(ETH, 1, 2))
    assert [batch.kind for batch in nothing.batches] == [Gap]


def test_what_was_missing_and_comes_late_is_passed_on_and_then_no_more() -> None:
    rig = Rig()
    rig.take(trade(7), trade(10))
    assert [row.id for row in rows_of(rig.take(trade(8)), Trade)] == ["8"]
    assert rows_of(rig.take(trade(8)), Trade) == []
    assert [row.id for row in rows_of(rig.take(trade(9)), Trade)] == ["9"]


def test_ids_that_start_over_within_one_read_are_no_hole() -> None:
    rig = Rig()
    rig.take(trade(1_000_000, time=10))
    (gap,) = rig.gaps(trade(1_000_001, time=11), trade(2, time=13), trade(1, time=12))
    assert (gap.first_id, gap.start_time, gap.unit) == (None, 11, GapUnit.UNKNOWN)
    assert rig.gaps(trade(3, time=14)) == []
    assert (rig.counts().checked, rig.counts().missing) == (5, 0)


def test_where_ids_prove_nothing_the_latest_are_remembered() -> None:
    (stream,) = streams_of(BYBIT, Market.LINEAR, "trade")
    rig = Rig(stream)
    rig.take(trade("a"), trade("b"))
    assert [row.id for row in rows_of(rig.take(trade("b"), trade("c")), Trade)] == ["c"]
    assert [row.id for row in rows_of(rig.take(trade("a", symbol="X")), Trade)] == ["a"]


@pytest.mark.parametrize("exchange", [BINANCE, BYBIT])
def test_what_was_checked_in_an_attempt_that_crashed_is_no_repeat(
    exchange: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (stream,) = streams_of(exchange, Market.SPOT, "trade")
    rig = Rig(stream)
    rig.take(trade(6))
    bundle = rig.line.bundle(trade(7), trade(7), trade(8), outage(stream, 1, 2))

    def crash(_gaps: Any) -> None:
        raise RuntimeError

    with monkeypatch.context() as patch:
        patch.setattr(rig.continuity, "_forget", crash)
        with pytest.raises(RuntimeError):
            rig.continuity.take(attrs.evolve(bundle, dropped=("x",)))
    assert [row.id for row in rows_of(rig.continuity.take(bundle), Trade)] == ["7", "7", "8"]
    assert rows_of(rig.take(trade(8)), Trade) == []


def test_what_was_checked_and_is_lost_after_all_is_incomplete() -> None:
    rig = Rig()
    rig.take(trade(7), trade(8))
    rig.continuity.lose([outage(TRADES, 1, 2), outage(QUOTES, 1, 2)])
    assert rig.counts().completeness is COMPLETE  # an outage is not lost on the way to the readers
    rig.continuity.lose([outage(TRADES, 1, 2, GapCause.QUARANTINE)])
    rig.take(trade(9))
    assert rig.counts().completeness is INCOMPLETE


def test_a_gap_that_comes_in_no_bundle_counts_too() -> None:
    rig = Rig()
    rig.take(trade(7, time=10))
    gap = outage(TRADES, 20, 40)
    assert rig.continuity.note([gap]) == [gap]
    assert rig.counts().completeness is INCOMPLETE


# ------------------------------------------------------------------------------------------- ids
def test_a_bundle_without_holes_is_passed_on_as_it_is() -> None:
    rig = Rig()
    for rows in [[trade(7)], [trade(8), trade(9)], [trade(10)]]:
        bundle = rig.line.bundle(*rows)
        assert rig.continuity.take(bundle) is bundle
    assert (rig.counts().checked, rig.counts().completeness) == (4, COMPLETE)


def test_a_hole_is_one_gap_with_ids_and_bounds() -> None:
    rig = Rig()
    rig.take(trade(7, time=100))
    (gap,) = rig.gaps(trade(11, time=200, ordinal=5))
    assert (gap.feed, gap.cause, gap.edge) == (TRADES.feed, GapCause.SEQUENCE_BREAK, "venue")
    assert (gap.first_id, gap.last_id, gap.size, gap.unit) == (8, 10, 3, GapUnit.IDS)
    assert (gap.start_time, gap.end_time, gap.receive_time, gap.ordinal) == (100, 200, 200, 5)
    assert rig.gaps(trade(12)) == []
    assert (rig.counts().missing, rig.counts().checked) == (3, 3)
    assert rig.counts().completeness is INCOMPLETE


def test_symbols_and_kinds_have_ids_of_their_own() -> None:
    rig = Rig()
    rig.take(trade(7), trade(70, symbol="ETHUSDT"), agg_trade(3, (7, 7)))
    rows = [trade(8), trade(72, symbol="ETHUSDT"), agg_trade(5, (9, 9)), trade(9)]
    assert sorted(ids(rig.gaps(*rows))) == [(4, 4), (71, 71)]
    assert rig.counts().completeness is COMPLETE
    assert rig.counts(ETH).missing == rig.counts(AGG_TRADES).missing == 1


def test_the_gaps_of_a_bundle_are_numbered() -> None:
    rig = Rig()
    other = outage(QUOTES, 1, 2)
    rig.take(trade(1))
    gaps = rig.gaps(other, trade(3), trade(5))
    assert [gap.row for gap in gaps] == [0, 1, 2]
    assert gaps[0] == other


def test_what_came_in_one_read_is_not_missing_whatever_its_order() -> None:
    rig = Rig()
    rig.take(trade(7))
    assert rig.gaps(trade(9), trade(8)) == []
    assert rig.gaps(trade(10), trade(10), trade(7)) == []
    assert (rig.counts().repeats, rig.counts().completeness) == (2, COMPLETE)


def test_an_id_seen_before_is_a_repeat_and_moves_nothing_back() -> None:
    rig = Rig()
    rig.take(trade(7), trade(8))
    assert rig.gaps(trade(7)) == rig.gaps(trade(9)) == []
    assert (rig.counts().repeats, rig.counts().late, rig.counts().checked) == (1, 0, 3)


def test_an_id_that_was_recorded_as_missing_is_late_and_the_record_stays() -> None:
    rig = Rig()
    rig.take(trade(7))
    rig.take(trade(12))
    assert rig.gaps(trade(9)) == []
    counts = rig.counts()
    assert (counts.late, counts.repeats, counts.missing) == (1, 0, 4)
    assert counts.completeness is INCOMPLETE


def test_spent_ids_count_for_continuity_wherever_they_stand_in_a_read() -> None:
    (stream,) = streams_of(BINANCE, Market.USDM, "trade")
    rig = Rig(stream)
    rig.take(trade(7))
    assert rig.gaps(trade(8), trade(10), spent(9, 9)) == []
    assert rig.gaps(spent(11, 12)) == rig.gaps(trade(13)) == []
    assert rig.gaps(spent(12, 14)) == []  # of which 14 is new
    assert ids(rig.gaps(spent(17, 17), trade(18))) == [(15, 16)]
    counts = rig.counts(stream)
    assert (counts.spent, counts.checked, counts.missing) == (5, 5, 2)


def test_spent_ids_alone_are_something_seen() -> None:
    (stream,) = streams_of(BINANCE, Market.USDM, "trade")
    rig = Rig(stream)
    assert rig.counts(stream).completeness is UNKNOWN
    rig.take(spent(4, 4))
    assert rig.counts(stream).completeness is COMPLETE


def test_fills_of_aggregate_trades_that_do_not_adjoin_are_counted_and_no_loss() -> None:
    rig = Rig()
    for rows in [
        [agg_trade(1, (10, 12))],
        [agg_trade(2, (13, 13)), agg_trade(3, (15, 15))],  # 14 was spent
        [agg_trade(4, (17, 18))],
        [agg_trade(4, (17, 18))],  # a repeat compares with nothing
        [agg_trade(5, (19, 19))],
    ]:
        assert rig.gaps(*rows) == []
    assert (rig.counts(AGG_TRADES).unadjoined, rig.counts(AGG_TRADES).repeats) == (2, 1)
    assert rig.counts(AGG_TRADES).completeness is COMPLETE
    assert ids(rig.gaps(agg_trade(8, (30, 30)))) == [(6, 7)]
    assert rig.gaps(agg_trade(9, (31, 31))) == []
    assert rig.counts(AGG_TRADES).unadjoined == 2  # a hole explains what does not adjoin


# --------------------------------------------------------------------------------------- outages
def test_an_outage_is_held_until_ids_name_what_it_cost() -> None:
    rig = Rig()
    rig.take(trade(7, time=100))
    held = outage(TRADES, 120, 180)
    assert rig.gaps(held) == []
    (gap,) = rig.gaps(trade(10, time=300, ordinal=9))
    expected = attrs.evolve(held, first_id=8, last_id=9, size=2, unit=GapUnit.IDS)
    assert gap == attrs.evolve(expected, receive_time=300, ordinal=9)
    assert rig.continuity.finish() == []
    assert (rig.counts().missing, rig.counts().disproved) == (2, 0)


@pytest.mark.parametrize("cause", [GapCause.DISCONNECT, GapCause.SILENCE])
def test_an_outage_in_which_nothing_was_lost_leaves_no_record(cause: GapCause) -> None:
    rig = Rig()
    rig.take(trade(7))
    bundle = rig.take(outage(TRADES, 1, 2, cause), outage(QUOTES, 1, 2, cause))
    assert [gap.feed for gap in rows_of(bundle, Gap)] == [QUOTES.feed]
    assert rig.gaps(trade(7)) == []  # seen before: it proves nothing yet
    assert rig.counts().disproved == 0
    assert rig.gaps(trade(8)) == []
    assert (rig.counts().disproved, rig.counts().completeness) == (1, COMPLETE)
    assert rig.continuity.finish() == []


def test_an_outage_is_settled_by_the_events_of_its_own_bundle() -> None:
    rig = Rig()
    rig.take(trade(7))
    assert ids(rig.gaps(trade(9), outage(TRADES, 1, 2))) == [(8, 8)]
    assert rig.gaps(trade(10), outage(TRADES, 3, 4)) == []
    assert rig.counts().disproved == 1


def test_a_bundle_of_which_nothing_is_left_has_no_batch() -> None:
    rig = Rig()
    rig.take(trade(7))
    bundle = rig.take(outage(TRADES, 1, 2), up=(TRADES.feed,))
    assert bundle.batches == []
    assert bundle.up == (TRADES.feed,)


def test_outages_one_after_the_other_are_one() -> None:
    rig = Rig()
    rig.take(trade(7))
    rig.take(outage(TRADES, 10, 20))
    rig.take(outage(TRADES, 30, 40, GapCause.SILENCE))
    (gap,) = rig.gaps(trade(9, time=50))
    assert (gap.start_time, gap.end_time, gap.cause) == (10, 40, GapCause.DISCONNECT)


def test_an_outage_before_anything_was_seen_is_passed_on() -> None:
    rig = Rig()
    gap = outage(TRADES, 1, 2)
    bundle = rig.line.bundle(gap)
    assert rig.continuity.take(bundle) is bundle
    assert rig.counts().completeness is UNKNOWN
    rig.take(trade(7))
    assert rig.counts().completeness is INCOMPLETE  # and no id will ever tell what it cost


@pytest.mark.parametrize("cause", [GapCause.OVERFLOW, GapCause.QUARANTINE, GapCause.REFUSED])
def test_other_losses_are_passed_on_at_once_and_ids_may_disprove_them(cause: GapCause) -> None:
    rig = Rig()
    rig.take(trade(7))
    gap = outage(TRADES, 1, 2, cause, frames=3)
    assert rig.gaps(gap) == [gap]
    assert (rig.counts().open, rig.counts().completeness) == (1, INCOMPLETE)
    assert rig.gaps(trade(8)) == []
    assert (rig.counts().open, rig.counts().completeness) == (0, COMPLETE)
    rig.gaps(gap)
    assert ids(rig.gaps(trade(11))) == [(9, 10)]  # two records are better than none with ids
    assert rig.counts().completeness is INCOMPLETE


def test_what_is_held_at_the_end_comes_out_as_it_is() -> None:
    rig = Rig()
    rig.take(trade(7), trade(70, symbol="ETHUSDT"))
    held = outage(TRADES, 10, 20)
    rig.take(held)
    assert rig.continuity.finish() == [held]
    assert rig.continuity.finish() == []
    assert rig.counts().completeness is INCOMPLETE
    assert rig.counts(ETH).completeness is COMPLETE
    last = outage(TRADES, 30, 40)
    assert rig.gaps(last, final=True) == [last]  # nothing follows that could settle it
    assert rig.gaps(outage(TRADES, 50, 60)) == []  # something follows after all
    assert rig.gaps(trade(8)) == []


# ----------------------------------------------------------------------------------------- feeds
def test_nothing_is_proven_on_bybit_and_nothing_is_looked_at() -> None:
    (stream,) = streams_of(BYBIT, Market.LINEAR, "trade")
    rig = Rig(stream)
    for rows in [[trade("a-uuid"), trade("b-uuid")], [trade("c-uuid"), outage(stream, 1, 2)]]:
        bundle = rig.line.bundle(*rows)
        assert rig.continuity.take(bundle) is bundle
    assert rig.counts(stream) == attrs.evolve(rig.counts(stream), proof=Proof.NOTHING, checked=0)
    assert rig.counts(stream).completeness is UNKNOWN


def test_trades_of_a_whole_base_coin_are_unknown() -> None:
    (stream,) = streams_of(BYBIT, Market.OPTION, "trade", symbols=["BTC-25JUN27-106000-C-USDT"])
    claimed = attrs.evolve(stream, proof=Proof.TRADE_IDS)
    rig = Rig(claimed)
    bundle = rig.line.bundle(trade("a-uuid", symbol="BTC-25JUN27-106000-C-USDT"))
    assert rig.continuity.take(bundle) is bundle
    assert rig.counts(claimed).completeness is UNKNOWN


@pytest.mark.parametrize("exchange", [BINANCE, BYBIT])
def test_streams_that_turn_up_later_are_learned(exchange: Any) -> None:
    (stream,) = streams_of(exchange, Market.SPOT, "trade")
    rig = Rig(QUOTES)
    assert rig.continuity.counts(stream.feed) is None
    rig.streams = [stream]
    rig.take(trade("5" if exchange is BINANCE else "a-uuid"))
    assert rig.counts(stream).completeness is (COMPLETE if exchange is BINANCE else UNKNOWN)


def test_only_trades_have_counts() -> None:
    rig = Rig(QUOTES, TRADES)
    assert rig.continuity.counts(QUOTES.feed) is None
    assert rig.counts().completeness is UNKNOWN


def test_other_kinds_pass_untouched() -> None:
    rig = Rig(QUOTES)
    bundle = rig.line.bundle(up=(QUOTES.feed,))
    assert rig.continuity.take(bundle) is bundle


def test_a_dropped_feed_is_forgotten_but_not_what_was_held_of_it() -> None:
    rig = Rig()
    rig.take(trade(7))
    held = outage(TRADES, 1, 2)
    rig.take(held)
    rig.streams.remove(TRADES)
    assert rig.gaps(dropped=(TRADES.feed, QUOTES.feed)) == [held]
    assert rig.continuity.counts(TRADES.feed) is None
    assert rig.gaps(trade(99)) == []  # a straggler
    rig.streams.append(TRADES)
    assert rig.gaps(trade(500)) == []
    assert rig.counts().completeness is COMPLETE


# ---------------------------------------------------------------------------------- redeliveries
def test_a_bundle_that_is_delivered_again_gives_what_it_gave() -> None:
    rig, other = Rig(), Line("other")
    rig.take(trade(7))
    bundle = rig.line.bundle(outage(TRADES, 1, 2), trade(9))
    first = rig.continuity.take(bundle)
    counts = rig.counts()
    rig.continuity.take(other.bundle(trade(10)))  # of another lane, in between
    assert rig.continuity.take(bundle) is first
    assert attrs.evolve(counts, checked=counts.checked + 1) == rig.counts()


def test_what_a_crash_cut_short_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig()
    rig.take(trade(7), agg_trade(1))
    bundle = rig.line.bundle(trade(9), agg_trade(3))
    with monkeypatch.context() as patch:
        patch.setattr(rig.continuity, "_check_agg_trades", crash)
        with pytest.raises(MemoryError):
            rig.continuity.take(bundle)
    assert sorted(ids(rows_of(rig.continuity.take(bundle), Gap))) == [(2, 2), (8, 8)]
    assert rig.gaps(trade(10)) == []


def crash(_rows: object) -> None:
    raise MemoryError


def test_only_so_many_connections_are_remembered() -> None:
    rig = Rig()
    for number in range(MAX_CONNECTIONS + 5):
        rig.continuity.take(Line(str(number)).bundle(trade(number)))
    assert len(rig.continuity._outcomes) == MAX_CONNECTIONS


# -------------------------------------------------------------------------------------- all in all
FATES = st.lists(
    st.sampled_from(["deliver", "deliver", "deliver", "spend", "lose", "twice", "break", "drop"]),
    max_size=60,
)


@given(FATES, st.lists(st.integers(1, 4), min_size=1, max_size=60))
def test_every_missing_id_is_in_exactly_one_gap(fates: list[str], sizes: list[int]) -> None:
    """Ids are delivered, spent, lost, repeated; connections break with and without a loss."""
    (stream,) = streams_of(BINANCE, Market.USDM, "trade")
    rig = Rig(stream)
    out: list[Bundle] = []
    rows: list[Any] = []
    present: list[int] = []
    number, size, turn = 100, sizes[0], 0
    for step, fate in enumerate(fates):
        number += 1
        if fate in ("deliver", "twice"):
            rows += [trade(number, time=step)] * (2 if fate == "twice" else 1)
        elif fate == "spend":
            rows.append(spent(number, number, time=step))
        elif fate == "break" and present:
            out.append(rig.take(*rows))
            rows = [outage(stream, step, step)]
            number -= 1
        if fate in ("deliver", "twice", "spend"):
            present.append(number)
        if len(rows) >= size:
            out.append(rig.take(*rows))
            turn += 1
            rows, size = [], sizes[turn % len(sizes)]
    out.append(rig.take(*rows))
    gaps = rows_of(out, Gap)
    expected = ranges(set(range(present[0], present[-1])) - set(present)) if present else []
    assert ids(gaps) == expected
    counts = rig.counts(stream)
    assert counts.missing == sum(last - first + 1 for first, last in expected)
    assert counts.checked + counts.spent == len(present)
    assert len(rig.continuity.finish()) <= 1


def test_who_asks_for_a_feed_of_no_trades_has_no_stream_looked_at() -> None:
    """Statistics ask for every feed: with a thousand symbols that took half of a start."""
    looks = 0

    def streams() -> list[Stream]:
        nonlocal looks
        looks += 1
        return [TRADES, QUOTES]

    continuity = TradeContinuity(streams)
    looks = 0
    assert continuity.counts(QUOTES.feed) is None
    assert looks == 0
    assert continuity.counts(ETH.feed) is None  # it might be new
    assert looks == 1

"""The chain of ids of one feed, and what may be said of it."""

from __future__ import annotations

from typing import Any

import pytest

from farm.exchanges.id_chain import MAX_HOLES, ContinuityCounts, IdChain
from farm.exchanges.streams import Proof
from farm.types import Completeness, GapCause, GapUnit, Market
from tests.exchanges.trading import BINANCE, outage, streams_of, trade

(TRADES,) = streams_of(BINANCE, Market.SPOT, "trade")


@pytest.mark.parametrize(
    ("counts", "completeness"),
    [
        ({}, Completeness.UNKNOWN),
        ({"open": 1}, Completeness.UNKNOWN),  # nothing was seen yet
        ({"checked": 1}, Completeness.COMPLETE),
        ({"spent": 1}, Completeness.COMPLETE),
        ({"checked": 1, "repeats": 3, "unadjoined": 2, "disproved": 1}, Completeness.COMPLETE),
        ({"checked": 1, "missing": 1}, Completeness.INCOMPLETE),
        ({"checked": 1, "open": 1}, Completeness.INCOMPLETE),
    ],
)
def test_completeness_is_claimed_where_ids_prove_it(
    counts: dict[str, Any], completeness: Completeness
) -> None:
    for proof in Proof:
        known = proof in (Proof.TRADE_IDS, Proof.AGG_IDS)
        expected = completeness if known else Completeness.UNKNOWN
        assert ContinuityCounts(proof, **counts).completeness is expected


def test_a_chain_begins_with_whatever_comes_first() -> None:
    chain = IdChain(TRADES)
    assert chain.counts() == ContinuityCounts(Proof.TRADE_IDS)
    assert chain.step(7, 7, trade(7)) is None
    assert chain.counts() == ContinuityCounts(Proof.TRADE_IDS, checked=1)
    assert chain.expected == 8


def test_a_gap_that_is_told_after_what_followed_it_waits_for_nothing() -> None:
    chain = IdChain(TRADES)
    chain.step(7, 7, trade(7, time=10))
    chain.step(8, 8, trade(8, time=50))
    assert chain.take_gap(outage(TRADES, 20, 40), may_hold=True)  # ids showed that it cost nothing
    assert (chain.let_go(), chain.counts().completeness) == (None, Completeness.COMPLETE)
    assert not chain.take_gap(outage(TRADES, 5, 40), may_hold=True)  # before there was any
    assert chain.step(9, 9, trade(9, time=60)) is None
    assert chain.counts().completeness is Completeness.INCOMPLETE


def test_while_a_gap_waits_every_event_is_looked_at() -> None:
    chain = IdChain(TRADES)
    assert not chain.take_gap(outage(TRADES, 1, 2), may_hold=True)
    chain.step(7, 7, trade(7))
    assert chain.take_gap(outage(TRADES, 3, 4), may_hold=True)
    assert chain.expected == -1
    chain.step(7, 7, trade(7))
    assert chain.expected == -1
    chain.step(8, 8, trade(8))
    assert chain.expected == 9
    assert not chain.take_gap(outage(TRADES, 5, 6), may_hold=False)
    assert chain.let_go() is None


def test_only_the_latest_holes_are_remembered() -> None:
    chain = IdChain(TRADES)
    for number in range(0, 2 * MAX_HOLES + 4, 2):  # every odd id is missing
        chain.step(number, number, trade(number))
    chain.step(1, 1, trade(1))
    chain.step(5, 5, trade(5))
    assert (chain.late, chain.repeats) == (1, 1)


def test_ids_that_start_over_are_a_gap_of_unknown_size() -> None:
    chain = IdChain(TRADES)
    for number in range(5_000, 5_003):
        assert chain.step(number, number, trade(number, time=number)) is None
    gap = chain.step(1, 1, trade(1, time=9_000))
    assert gap is not None
    assert (gap.start_time, gap.end_time, gap.unit) == (5_002, 9_000, GapUnit.UNKNOWN)
    assert chain.step(2, 2, trade(2, time=9_001)) is None
    counts = chain.counts()
    assert (counts.checked, counts.repeats, counts.missing) == (5, 0, 0)
    assert counts.completeness is Completeness.INCOMPLETE
    hole = chain.step(4, 4, trade(4, time=9_002))
    assert hole is not None
    assert (hole.first_id, hole.last_id) == (3, 3)


def test_a_repeat_is_none_that_starts_over_though_the_engines_clock_was_set_back() -> None:
    chain = IdChain(TRADES)
    for number, time in ((5_000, 10), (5_001, 15), (5_002, 13), (5_001, 15)):
        assert chain.step(number, number, trade(number, time=time)) is None
    assert (chain.counts().repeats, chain.counts().checked) == (1, 3)


def test_an_outage_in_which_ids_started_over_is_recorded_as_it_was() -> None:
    chain = IdChain(TRADES)
    chain.step(5_000, 5_000, trade(5_000, time=10))
    assert chain.take_gap(outage(TRADES, 11, 20), may_hold=True)
    gap = chain.step(1, 1, trade(1, time=30))
    assert gap is not None
    assert (gap.cause, gap.start_time, gap.first_id) == (GapCause.DISCONNECT, 11, None)
    assert chain.let_go() is None


def test_what_repeats_or_comes_late_does_not_start_over() -> None:
    chain = IdChain(TRADES)
    chain.step(10, 10, trade(10, time=10))
    chain.step(12, 12, trade(12, time=12))
    assert chain.step(10, 10, trade(10, time=10)) is None
    assert chain.step(11, 11, trade(11, time=99)) is None  # it is known to be missing
    assert (chain.counts().repeats, chain.counts().late) == (1, 1)

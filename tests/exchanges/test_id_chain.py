"""The chain of ids of one feed, and what may be said of it."""

from __future__ import annotations

from typing import Any

import pytest

from farm.exchanges.id_chain import MAX_HOLES, ContinuityCounts, IdChain
from farm.exchanges.streams import Proof
from farm.types import Completeness, Market
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

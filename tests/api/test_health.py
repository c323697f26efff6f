"""The verdict on a farm, by what it knows of itself."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from farm.api.health import HealthState, judge
from farm.monitor.stats import (
    BookStats,
    ConnectionStats,
    EdgeStats,
    FarmStats,
    FeedStats,
    ProcessStats,
    Totals,
)
from farm.types import CollectorStatus

BOOK = BookStats("verified", 1, 10, 9, 4, 0, 0)
FEED = FeedStats("binance/spot/BTCUSDT/trade", "live", "", 9, 0, 5, 1.0, 3.0, None, None)
BOOK_FEED = attrs.evolve(FEED, feed="binance/spot/BTCUSDT/book", book=BOOK)
CONNECTION = ConnectionStats("binance/spot#1", "running", 1, 0, 0, 12, 1_000, "", 0, 0, 0)
PROCESS = ProcessStats("shard 1", 17, "running", 1, 9, 3.0, 2**26, 0.1, 0, "")
EDGE = EdgeStats("parser>aggregator", 10, 7, 2, 1)
WELL = FarmStats(
    Totals(12, 9, 0, 0, 0, 0, 0),
    [FEED, BOOK_FEED],
    [CONNECTION],
    {},
    {},
    {},
    None,
    None,
    [attrs.evolve(EDGE, dropped=0, taken=9)],
    [PROCESS],
)


MISCOUNT = "the counts of parser>aggregator do not add up"


def with_feed(**changes: Any) -> FarmStats:
    return attrs.evolve(WELL, feeds=[attrs.evolve(FEED, **changes), BOOK_FEED])


def with_book(**changes: Any) -> FarmStats:
    book = attrs.evolve(BOOK, **changes)
    return attrs.evolve(WELL, feeds=[FEED, attrs.evolve(BOOK_FEED, book=book)])


def with_connection(**changes: Any) -> FarmStats:
    return attrs.evolve(WELL, connections=[attrs.evolve(CONNECTION, **changes)])


def with_process(**changes: Any) -> FarmStats:
    return attrs.evolve(WELL, processes=[attrs.evolve(PROCESS, **changes)])


def with_edge(**changes: Any) -> FarmStats:
    return attrs.evolve(WELL, edges=[attrs.evolve(EDGE, **changes)])


def test_all_is_well() -> None:
    health = judge(WELL)
    assert health.state is HealthState.WELL
    assert health.problems == health.pending == health.losses == []


@pytest.mark.parametrize(
    ("stats", "problem"),
    [
        (with_process(state="parked", reason="killed by 9"), "shard 1 is parked: killed by 9"),
        (with_process(state="restarting"), "shard 1 is restarting"),
        (
            with_connection(status="parked", last_error="a bug"),
            "binance/spot#1 is parked: a bug",
        ),
        (
            with_connection(status="backing_off", last_error="refused"),
            "binance/spot#1 waits to connect again: refused",
        ),
        (
            with_connection(status="connecting", failures=2, last_error="refused"),
            "binance/spot#1 is connecting again: refused",
        ),
        (with_connection(status="connecting", crashes=1), "binance/spot#1 is connecting again"),
        (
            with_feed(state="failed", reason="no such topic"),
            "binance/spot/BTCUSDT/trade was refused: no such topic",
        ),
        (with_feed(state="down"), "binance/spot/BTCUSDT/trade is down"),
        (
            with_feed(state="acknowledged", reason="nothing came for 61 s"),
            "binance/spot/BTCUSDT/trade delivers nothing: nothing came for 61 s",
        ),
        (
            with_feed(state="requested", reason="no such topic"),
            "binance/spot/BTCUSDT/trade delivers nothing: no such topic",
        ),
        (with_book(verdict="stale"), "the book of binance/spot/BTCUSDT/book is stale"),
        (with_book(verdict="suspect"), "the book of binance/spot/BTCUSDT/book is suspect"),
        (
            with_book(wrong=1),
            "1 of 4 quotes contradicted the book of binance/spot/BTCUSDT/book",
        ),
        (
            with_edge(offered=1_000),
            f"{MISCOUNT}: 1,000 offered, but 7 taken, 2 dropped and 1 waiting",
        ),
        (
            with_edge(taken=8),
            f"{MISCOUNT}: 10 offered, but 8 taken, 2 dropped and 1 waiting",
        ),
    ],
)
def test_a_problem_makes_it_unwell(stats: FarmStats, problem: str) -> None:
    health = judge(stats)
    assert health.state is HealthState.UNWELL
    assert health.problems == [problem]
    assert health.pending == []


@pytest.mark.parametrize(
    ("stats", "pending"),
    [
        (with_process(state="starting"), "shard 1 is starting"),
        (with_feed(state="idle"), "binance/spot/BTCUSDT/trade is not subscribed yet"),
        (with_feed(state="requested"), "binance/spot/BTCUSDT/trade is not subscribed yet"),
        (
            with_book(verdict="syncing"),
            "the book of binance/spot/BTCUSDT/book is not synchronised yet",
        ),
    ],
)
def test_what_has_not_come_up_yet_is_no_problem(stats: FarmStats, pending: str) -> None:
    health = judge(stats)
    assert health.state is HealthState.STARTING
    assert health.pending == [pending]
    assert health.problems == []


def test_a_problem_weighs_more_than_what_is_to_come() -> None:
    parked = attrs.evolve(CONNECTION, status="parked")
    health = judge(attrs.evolve(with_book(verdict="syncing"), connections=[parked]))
    assert health.state is HealthState.UNWELL
    assert len(health.problems) == len(health.pending) == 1


@pytest.mark.parametrize(
    "stats",
    [
        with_feed(state="acknowledged"),  # a stream that may be silent for hours
        with_feed(state="live", reason="no such topic"),  # it was refused once
        with_feed(state="ended", reason="delisted"),
        with_feed(state=""),
        with_book(verdict="unverifiable"),
        with_connection(failures=7, crashes=1, last_error="reset"),  # it is back
        with_connection(status="connecting"),  # one that is to take over
        with_connection(status="stopped"),
        with_process(restarts=3, reason="killed by 9"),
        with_process(state="stopped"),
        with_process(rate=None, memory=None, cpu=None),
    ],
)
def test_what_is_as_it_may_be_is_well(stats: FarmStats) -> None:
    assert judge(stats).state is HealthState.WELL


def test_losses_are_told_and_no_problem() -> None:
    stats = attrs.evolve(with_edge(), totals=Totals(12, 9, 1_234, 2, 0, 0, 0))
    health = judge(stats)
    assert health.state is HealthState.WELL
    assert health.losses == [
        "1,234 gaps are on record",
        "2 items are in quarantine",
        "2 items were dropped on parser>aggregator",
    ]


def test_several_problems_are_all_told() -> None:
    connections = [
        attrs.evolve(CONNECTION, name=f"x#{n}", status=CollectorStatus.PARKED.value)
        for n in range(3)
    ]
    problems = judge(attrs.evolve(WELL, connections=connections)).problems
    assert problems == ["x#0 is parked", "x#1 is parked", "x#2 is parked"]

"""Several processes as one: counts add up, and of each feed it is told how it is where it runs."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from farm.cluster.merged import counts_of, merge
from farm.monitor.stats import (
    BookStats,
    ConnectionStats,
    ContinuityStats,
    EdgeStats,
    FarmStats,
    FeedStats,
    ProcessStats,
    Totals,
)

TRADES, BOOK = "binance/spot/BTCUSDT/trade", "binance/spot/BTCUSDT/book"
NOTHING = Totals(0, 0, 0, 0, 0, 0, 0)
STANDS = BookStats("verified", 1, 9, 8, 5, 0, 0)


def feed(name: str = TRADES, state: str = "live", **given: Any) -> FeedStats:
    fields: dict[str, Any] = {"reason": "", "events": 0, "gaps": 0, "last_time": None}
    fields |= {"lag_ms": None, "rate": None, "book": None, "continuity": None}
    return FeedStats(name, state, **fields | given)


def stats(*feeds: FeedStats, **given: Any) -> FarmStats:
    empty: dict[str, Any] = {"totals": NOTHING, "connections": [], "unparsed": {}}
    empty |= {"unknown_values": {}, "foreign": {}, "rows_written": None, "files_written": None}
    return FarmStats(feeds=list(feeds), **empty | given)


def ids(completeness: str, checked: int) -> ContinuityStats:
    return ContinuityStats(completeness, checked, *(checked + n for n in range(1, 6)))


def merged(*feeds: FeedStats) -> FeedStats:
    """One feed, as each of several processes has it."""
    (one,) = merge([stats(feed) for feed in feeds]).feeds
    return one


def test_one_process_is_as_it_is() -> None:
    alone = stats(
        feed(events=3, gaps=1, rate=1.5, continuity=ids("complete", 3)),
        totals=Totals(9, 3, 1, 0, 0, 0, 0),
        unparsed={"binance/spot malformed": 1},
        rows_written=5,
        files_written=1,
        edges=[EdgeStats("a>b", 3, 1, 1, 1)],
    )
    assert merge([alone]) == alone


def test_nothing_is_known_of_no_process() -> None:
    assert merge([]) == stats()


def test_counts_add_up() -> None:
    totals = [Totals(*(n * 10**k for n in range(1, 8))) for k in range(2)]
    connection = ConnectionStats("binance/spot#1", "running", 1, 0, 0, 5, 50, "", 0, 0, 0)
    process = ProcessStats("main", 1, "running", 0, 0, None, None, None, 0, "")
    one = stats(
        totals=totals[0],
        connections=[connection],
        unparsed={"a": 1, "b": 2},
        unknown_values={"x": 1},
        foreign={"f": 1},
        rows_written=5,
        files_written=2,
        processes=[process],
    )
    other = attrs.evolve(one, totals=totals[1], unparsed={"b": 3, "c": 4})
    both = merge([one, other])
    assert attrs.asdict(both.totals) == {
        "frames": 11, "events": 22, "gaps": 0, "quarantined": 44, "unknown": 55, "reconnects": 66,
        "rotations": 77,
    }  # fmt: skip
    assert both.connections == [connection] * 2
    assert both.processes == [process] * 2
    assert both.unparsed == {"a": 1, "b": 5, "c": 4}
    assert (both.unknown_values, both.foreign) == ({"x": 2}, {"f": 2})
    assert (both.rows_written, both.files_written) == (10, 4)


def test_gaps_are_those_of_feeds() -> None:
    """What is lost on the link is counted by the parent, on feeds that a shard counts too."""
    parent = stats(feed(state="", gaps=2))
    shard = stats(feed(gaps=3), feed(BOOK, gaps=1), totals=attrs.evolve(NOTHING, gaps=4))
    assert merge([parent, shard]).totals.gaps == 6


@pytest.mark.parametrize(
    ("counts", "right"), [([None, None], None), ([None, 3], 3), ([0, None], 0), ([2, 3], 5)]
)
def test_rows_written_are_told_where_anybody_writes(
    counts: list[int | None], right: int | None
) -> None:
    parts = [stats(rows_written=count, files_written=count) for count in counts]
    assert (merge(parts).rows_written, merge(parts).files_written) == (right, right)


def test_edges_of_one_kind_are_one_account() -> None:
    one = [EdgeStats("a>b", 10, 5, 2, 3), EdgeStats("b>c", 1, 1, 0, 0)]
    other = [EdgeStats("c>d", 4, 4, 0, 0), EdgeStats("a>b", 7, 7, 0, 0)]
    assert merge([stats(edges=one), stats(edges=other)]).edges == [
        EdgeStats("a>b", 17, 12, 2, 3),
        EdgeStats("b>c", 1, 1, 0, 0),
        EdgeStats("c>d", 4, 4, 0, 0),
    ]


# ------------------------------------------------------------------------------------------- feeds
def test_feeds_are_in_order_and_each_is_there_once() -> None:
    whole = merge([stats(feed(), feed("z/z/z/z")), stats(feed(BOOK), feed())])
    assert [one.feed for one in whole.feeds] == [BOOK, TRADES, "z/z/z/z"]


def test_how_a_feed_is_says_who_runs_it() -> None:
    parent = feed(state="", gaps=1, last_time=9)
    shard = feed(state="live", reason="it is", events=5, gaps=2, last_time=7, lag_ms=3.0, rate=2.0)
    right = attrs.evolve(shard, gaps=3, last_time=9)
    assert merged(parent, shard) == merged(shard, parent) == right


def test_what_a_process_before_has_seen_is_added_to_what_the_one_of_now_has() -> None:
    past = feed(state="", events=100, gaps=1, last_time=5, continuity=ids("complete", 100))
    now = feed(state="live", events=7, last_time=8, rate=7.0, continuity=ids("complete", 7))
    both = merged(feed(state=""), past, now)
    assert (both.state, both.events, both.gaps, both.last_time, both.rate) == ("live", 107, 1, 8, 7)
    assert both.continuity is not None
    assert (both.continuity.checked, both.continuity.missing) == (107, 109)


def test_a_feed_that_is_collected_no_longer_has_ended_whatever_its_shard_said_last() -> None:
    ended = feed(state="ended", reason="removed", events=1)
    running = feed(state="live", events=9, book=STANDS)
    both = merged(ended, running)
    assert (both.state, both.reason, both.events) == ("ended", "removed", 10)


def test_a_book_is_that_of_where_it_is_kept() -> None:
    past = feed(BOOK, state="", events=3)
    shard = feed(BOOK, book=STANDS)
    assert merged(feed(BOOK, state=""), past, shard).book == STANDS
    assert merged(feed(BOOK, state=""), past).book is None


def test_what_one_process_saw_missing_is_missing() -> None:
    names = ["complete", "unknown", "incomplete"]  # the worse the later
    for index, worse in enumerate(names):
        for better in names[: index + 1]:
            for pair in ((worse, better), (better, worse)):
                both = merged(*(feed(continuity=ids(name, 1)) for name in pair)).continuity
                assert both is not None
                assert both.completeness == worse
                assert (both.checked, both.disproved) == (2, 12)


# ---------------------------------------------------------------------- processes that are gone
def test_of_a_process_that_is_gone_counts_stay_and_nothing_of_how_it_was() -> None:
    connection = ConnectionStats("binance/spot#1", "running", 1, 0, 0, 5, 50, "", 0, 0, 0)
    alive = stats(
        feed(
            reason="why", events=9, gaps=2, last_time=7, lag_ms=3.0, rate=2.0,
            continuity=ids("complete", 9),
        ),
        feed(BOOK, events=3, book=STANDS),
        totals=Totals(9, 12, 2, 1, 0, 1, 0),
        connections=[connection],
        unparsed={"a": 1},
        rows_written=4,
        edges=[EdgeStats("a>b", 3, 1, 1, 1)],
        processes=[ProcessStats("main", 1, "running", 0, 0, None, None, None, 0, "")],
    )  # fmt: skip
    gone = counts_of(alive)
    trade, book = gone.feeds
    assert trade == attrs.evolve(alive.feeds[0], state="", reason="", rate=None)
    assert book == feed(BOOK, state="", events=3)
    assert gone.totals == alive.totals
    assert (gone.unparsed, gone.rows_written) == ({"a": 1}, 4)
    assert (gone.connections, gone.processes, gone.edges) == ([], [], [])
    assert alive.connections == [connection]


def test_counts_never_go_down_when_a_process_is_replaced() -> None:
    first = stats(feed(events=9, gaps=1), totals=Totals(20, 9, 1, 1, 0, 2, 0), rows_written=9)
    fresh = stats(feed(state="requested"))
    before, after = merge([first]), merge([counts_of(first), fresh])
    assert after.totals == before.totals
    assert (after.feeds[0].events, after.rows_written) == (9, 9)
    again = merge([merge([counts_of(first), counts_of(first)]), first])  # gone twice
    assert again.totals.events == 27
    assert again.feeds[0].events == 27

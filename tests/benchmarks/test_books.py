"""The benchmark of order books: that it measures what it says; how fast it was is nothing to a
test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import books
from benchmarks.book_contenders import BOOKS, SortedDictBook
from benchmarks.book_payloads import Depth, events, padded, recorded_depth, window
from farm.entities import BookUpdate, Quote
from farm.types import Market

LEVELS = st.tuples(st.integers(1, 12).map(float), st.sampled_from([0.0, 1.0, 2.0]))
CHANGES = st.lists(LEVELS, max_size=6, unique_by=lambda level: level[0])
STARTS = st.dictionaries(st.integers(1, 12).map(float), st.just(1.0), min_size=1)


@pytest.fixture(autouse=True)
def simulated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FARM_CAPTURES", str(tmp_path))


def taken(sizes: dict[float, float], changes: Any) -> dict[float, float]:
    return {price: size for price, size in (sizes | dict(changes)).items() if size}


@given(start=STARTS, diffs=st.lists(CHANGES, max_size=8), levels=st.integers(1, 5))
def test_a_window_sends_the_best_levels_and_no_others(start: Any, diffs: Any, levels: int) -> None:
    bids, asks = sorted(start.items(), reverse=True), sorted(start.items())
    sent = window(Depth(bids, asks, [(diff, diff) for diff in diffs]), levels)
    whole, shown = dict(start), [dict(sent.bids), dict(sent.asks)]
    for diff, pair in zip(diffs, sent.diffs, strict=True):
        whole = taken(whole, diff)
        shown = [taken(side, changes) for side, changes in zip(shown, pair, strict=True)]
        rows = sorted(whole.items())
        assert shown == [dict(rows[-levels:]), dict(rows[:levels])]


def test_padding_rests_beyond_all_that_changes() -> None:
    depth = Depth([(9.0, 1.0)], [(10.0, 1.0)], [([(7.0, 1.0)], [(12.0, 1.0), (11.0, 0.0)])])
    padding = padded(depth, 5)
    assert (len(padding.bids), len(padding.asks), padding.diffs) == (5, 5, depth.diffs)
    assert (padding.bids[0], padding.asks[0]) == ((9.0, 1.0), (10.0, 1.0))
    assert 0 < padding.bids[-1][0] < padding.bids[1][0] < 7
    assert 12 < padding.asks[1][0] < padding.asks[-1][0]
    assert padded(depth, 1) == depth


@pytest.mark.parametrize("market", [Market.SPOT, Market.USDM, Market.COINM])
def test_without_recordings_the_simulator_gives_books_and_quotes(market: Market) -> None:
    depth, source = recorded_depth(market, 40)
    assert (source, len(depth.diffs)) == ("simulator", 40)
    assert depth.bids[0][0] < depth.asks[0][0]
    rows, stream, source = events(market, 40)
    updates = [row for row in rows if isinstance(row, BookUpdate)]
    assert (source, stream.market, len(updates)) == ("simulator", market, 41)
    assert sum(update.is_snapshot for update in updates) == 1
    assert any(isinstance(row, Quote) for row in rows)


def test_each_contender_is_measured_and_ends_with_the_right_levels() -> None:
    report = books.run(rounds=2, quick=True)
    assert [goal.what for case in report.cases for goal in case.goals] == [
        "time of farm, 10,000 levels to that of farm, 100 levels"
    ]
    assert len(report.cases) == 3 * len(books.SIZES) + 1 + 3
    for case in report.cases:
        for figure in case.figures:
            assert figure.absent is not None or len(figure.values) == 2
            assert figure.delivered in (1.0, None)
        assert case.figures[0].delivered == 1.0 or "by levels" in case.name


def test_a_package_that_is_not_here_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_name: str) -> Any:
        raise ModuleNotFoundError("no such package", name="sortedcontainers")

    monkeypatch.setattr("benchmarks.book_contenders.import_module", missing)
    depth = Depth([(1.0, 1.0)], [(2.0, 1.0)], [([(1.0, 2.0)], [])])
    monkeypatch.setattr(books, "BOOKS", {"sorted": (SortedDictBook, "sortedcontainers")})
    work = books.Work("change", "ns", books._apply, 1.0)
    (figure,) = books._figures(depth, ([], []), work, 1)
    assert figure.absent == "not installed: pip install 'collector-farm[bench]'"
    assert figure.values == []


def test_a_contender_that_loses_levels_is_found_out() -> None:
    make, _ = BOOKS["farm"]
    depth = Depth([(1.0, 1.0)], [(3.0, 1.0)], [([(2.0, 2.0)], []), ([], [(3.0, 4.0)])])
    right = books._right(depth)
    assert right == ([(2.0, 2.0), (1.0, 1.0)], [(3.0, 4.0)])
    assert books._delivered(make, depth, right) == 1.0

    class Deaf(SortedDictBook):
        """It never hears of asks."""

        def __init__(self) -> None:
            self._bids, self._asks = dict(depth.bids), dict(depth.asks)

        def apply(self, bids: Any, asks: Any) -> None:
            self._bids.update(bids)

        def top(self) -> tuple[Any, Any]:
            return sorted(self._bids.items(), reverse=True), sorted(self._asks.items())

        shown = top

    assert books._delivered(Deaf, depth, right) == pytest.approx(2 / 3)

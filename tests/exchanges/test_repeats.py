"""Trades that come twice, where ids are only names."""

from __future__ import annotations

from farm.exchanges.repeats import MAX_REMEMBERED, RecentIds
from tests.exchanges.trading import trade


def test_a_repeat_is_told_within_one_read_and_across() -> None:
    recent = RecentIds()
    first, again = trade("a"), trade("a")
    assert recent.repeats([first, again, trade("b")]) == [again]
    assert recent.repeats([trade("b")]) != []


def test_symbols_have_ids_of_their_own_and_are_forgotten_alone() -> None:
    recent = RecentIds()
    assert recent.repeats([trade("a", symbol="X"), trade("a", symbol="Y")]) == []
    recent.forget("X")
    assert [row.symbol for row in recent.repeats([trade("a", symbol=s) for s in "XY"])] == ["Y"]


def test_so_many_are_remembered_and_no_more() -> None:
    recent = RecentIds()
    recent.repeats([trade(str(number)) for number in range(MAX_REMEMBERED + 1)])
    assert recent.repeats([trade(str(MAX_REMEMBERED))]) != []
    assert recent.repeats([trade("0")]) == []

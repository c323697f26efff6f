"""Trades that come twice, where ids are only names."""

from __future__ import annotations

from farm.exchanges.repeats import MAX_REMEMBERED, MAX_SYMBOLS, RecentIds
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


def test_options_are_forgotten_with_their_coin_and_the_oldest_when_they_are_too_many() -> None:
    recent = RecentIds()
    recent.repeats([trade("a", symbol=name) for name in ("BTC-C", "BTC-P", "BTCUSDT")])
    recent.forget("BTC")
    again = recent.repeats([trade("a", symbol=name) for name in ("BTC-C", "BTC-P", "BTCUSDT")])
    assert [row.symbol for row in again] == ["BTCUSDT"]
    recent.repeats([trade("a", symbol=str(number)) for number in range(MAX_SYMBOLS)])
    assert recent.repeats([trade("a", symbol="BTCUSDT")]) == []
    assert recent.repeats([trade("a", symbol=str(MAX_SYMBOLS - 1))]) != []

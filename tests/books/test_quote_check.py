"""Quotes against the tops of a book, whichever comes first."""

from __future__ import annotations

import pickle

import pytest

from farm.books.quote_check import MAX_WAITING, MOVED, REMEMBERED, QuoteCheck
from farm.entities import Quote
from farm.types import Exchange, Market

TOP = ((100.0, 1.0), (101.0, 2.0))


def quote(update_id: int, *changes: float | None) -> Quote:
    values = changes or (100.0, 1.0, 101.0, 2.0)
    return Quote(
        Exchange.BINANCE, Market.SPOT, "BTCUSDT", *values, update_id, None, None, 1, update_id
    )


def test_a_quote_is_compared_once_before_or_after_its_update() -> None:
    check = QuoteCheck()
    assert check.quote(quote(5))  # waits
    assert check.compared == 0
    assert check.book(5, *TOP)
    assert (check.compared, check.wrong) == (1, 0)
    assert check.book(9, *TOP)
    assert check.quote(quote(9))  # after its update
    assert (check.compared, check.wrong) == (2, 0)


@pytest.mark.parametrize(
    "values",
    [
        (99.0, 1.0, 101.0, 2.0),
        (100.0, 1.5, 101.0, 2.0),
        (100.0, 1.0, 101.5, 2.0),
        (100.0, 1.0, 101.0, 3.0),
        (None, None, 101.0, 2.0),
        (100.0, 1.0, None, None),
    ],
)
def test_any_difference_is_a_contradiction_from_either_side(
    values: tuple[float | None, ...],
) -> None:
    check = QuoteCheck()
    assert check.quote(quote(5, *values))
    assert not check.book(5, *TOP)
    assert not check.quote(quote(5, *values))
    assert (check.compared, check.wrong) == (2, 2)


def test_empty_sides_agree_with_empty_sides() -> None:
    check = QuoteCheck()
    check.book(5, None, (101.0, 2.0))
    assert check.quote(quote(5, None, None, 101.0, 2.0))
    assert (check.compared, check.wrong) == (1, 0)


def test_ids_between_those_of_updates_are_passed_over() -> None:
    check = QuoteCheck()
    for update_id in (1, 2, 3):
        assert check.quote(quote(update_id, 1.0, 1.0, 2.0, 1.0))
    assert check.book(3, (1.0, 1.0), (2.0, 1.0))
    assert check.book(8, *TOP)
    assert check.quote(quote(6, 1.0, 1.0, 2.0, 1.0))  # older than the book: never comparable
    assert check.compared == 1
    assert len(check._waiting) == 0


def test_memory_is_bounded_on_both_sides() -> None:
    check = QuoteCheck()
    for update_id in range(MAX_WAITING + 10):
        check.quote(quote(update_id))
    assert len(check._waiting) == MAX_WAITING
    for update_id in range(MAX_WAITING + 10, MAX_WAITING + 20 + REMEMBERED):
        check.book(update_id, *TOP)
    assert len(check._tops) == REMEMBERED
    assert check.quote(quote(MAX_WAITING + 10, 1.0, 1.0, 2.0, 1.0))  # forgotten: no verdict


def test_a_book_that_starts_anew_is_not_compared_with_what_it_was() -> None:
    check = QuoteCheck()
    check.book(5, *TOP)
    check.clear()
    assert check.quote(quote(5, 1.0, 1.0, 2.0, 1.0))
    assert check.compared == 0
    assert check.quote(quote(7))  # waits for the new book
    assert check.book(7, *TOP)
    assert check.compared == 1


def test_the_newest_tops_and_all_that_waits_go_to_another_process() -> None:
    check = QuoteCheck()
    last = MOVED + 10
    for number in range(1, last + 1):
        check.book(number, *TOP)
    check.quote(quote(last + 1))
    check.quote(quote(last, 99.0, 1.0, 101.0, 2.0))
    other = pickle.loads(pickle.dumps(check))
    assert (other.compared, other.wrong) == (1, 1)
    assert not other.quote(quote(last, 99.0, 1.0, 101.0, 2.0))
    assert other.has_stood_at(last - MOVED + 1)
    assert not other.has_stood_at(last - MOVED)
    assert check.has_stood_at(last - MOVED)
    for number in range(last + 1, last + REMEMBERED + 2):
        other.book(number, *TOP)
    assert other.compared == 3  # with the one that waited
    assert not other.has_stood_at(last)

"""The levels of a book, against a plain dict."""

from __future__ import annotations

import pickle
from decimal import Decimal, localcontext
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm.books.order_book import BookSide, Levels
from farm.entities import Level

SIZES = st.sampled_from(["0", "0.00000000", "1", "0.1", "2.50"])
PRICES = st.integers(1, 30).map(lambda n: f"{n / 10:.8f}")
LONG = st.integers(1, 30).map(lambda n: f"{n}.{'1' * 40}")  # more digits than Decimal computes with
UPDATES = st.lists(
    st.tuples(
        st.sampled_from(["apply", "apply", "apply", "replace"]),
        st.lists(st.tuples(PRICES | LONG, SIZES), max_size=12, unique_by=lambda row: row[0]),
    ),
    max_size=25,
)


@pytest.mark.parametrize("number", [float, Decimal])
@pytest.mark.parametrize("sign", [1, -1])
@given(updates=UPDATES)
def test_a_side_is_a_dict_in_order(number: Any, sign: int, updates: Any) -> None:
    side, model = BookSide(sign), {}
    for verb, rows in updates:
        levels = [Level(number(price), number(size)) for price, size in rows]
        getattr(side, verb)(levels)
        if verb == "replace":
            model = {}
        model |= {level.price: level.quantity for level in levels}
        model = {price: size for price, size in model.items() if size}
        expected = sorted(model.items(), reverse=sign > 0)
        assert [(level.price, level.quantity) for level in side.top()] == expected
        assert [(level.price, level.quantity) for level in side.top(3)] == expected[:3]
        assert side.best() == (expected[0] if expected else None)
        assert (len(side), side.top(0)) == (len(model), [])


def test_the_caller_may_compute_with_as_few_digits_as_he_likes() -> None:
    rows = [Level(Decimal(f"1.{n:08}"), Decimal(1)) for n in (3, 1, 2)]
    with localcontext() as context:
        context.prec = 4
        levels = Levels()
        levels.replace(rows, rows)
        levels.apply([Level(rows[0].price, Decimal(0))], [Level(rows[1].price, Decimal(0))])
        assert levels.bids.best() == (rows[2].price, 1)
        assert [level.price for level in levels.asks.top()] == [rows[2].price, rows[0].price]


def test_absolute_sizes_replace_and_deleting_what_is_not_there_is_normal() -> None:
    levels = Levels()
    levels.replace([Level(1.0, 5.0), Level(2.0, 0.0)], [Level(3.0, 1.0)])
    assert levels.bids.best() == (1.0, 5.0)
    levels.apply([Level(1.0, 7.0), Level(9.0, 0.0)], [Level(3.0, 0.0)])
    assert levels.bids.best() == (1.0, 7.0)
    assert levels.asks.best() is None


@pytest.mark.parametrize("number", [float, Decimal])
@given(updates=UPDATES, more=UPDATES, limit=st.sampled_from([None, 3]))
def test_a_book_goes_to_another_process_as_it_is(
    number: Any, updates: Any, more: Any, limit: int | None
) -> None:
    levels = Levels()
    change(levels, updates, number, limit)
    other = pickle.loads(pickle.dumps(levels))
    for _ in range(2):
        for side, copied in ((levels.bids, other.bids), (levels.asks, other.asks)):
            assert copied.top() == side.top()
            assert copied.best() == side.best()
            assert copied.horizon == side.horizon
        change(levels, more, number, None)
        change(other, more, number, None)


def change(levels: Levels, updates: Any, number: Any, limit: int | None) -> None:
    for verb, rows in updates:
        side = [Level(number(price), number(size)) for price, size in rows]
        if verb == "replace":
            levels.replace(side, side, limit)
        else:
            levels.apply(side, side)

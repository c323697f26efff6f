from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from farm.testing.simulator.matching import Fill, MatchingBook


def book_of(*orders: tuple[bool, int, int]) -> MatchingBook:
    book = MatchingBook()
    for is_bid, price, lots in orders:
        book.limit(is_bid, price, lots)
    return book


def test_what_does_not_cross_rests() -> None:
    book = book_of((True, 99, 5), (True, 100, 1), (False, 102, 7), (False, 101, 2))
    assert (book.bids.best, book.asks.best) == (100, 101)
    assert book.bids.top(5) == [100, 99]
    assert book.asks.top(1) == [101]


def test_a_taker_meets_the_best_price_first_and_then_the_oldest_order() -> None:
    book = book_of((False, 102, 1), (False, 101, 2), (False, 101, 3))
    result = book.market(True, 4)
    assert result.fills == [Fill(101, 2), Fill(101, 2)]
    assert list(result.touched) == [(False, 101)]
    assert book.asks.totals == {101: 1, 102: 1}


def test_a_limit_order_trades_at_the_makers_prices_and_rests_with_what_is_left() -> None:
    book = book_of((False, 101, 2), (False, 103, 9))
    result = book.limit(True, 102, 5)
    assert result.fills == [Fill(101, 2)]
    assert list(result.touched) == [(False, 101), (True, 102)]
    assert (book.bids.totals, book.asks.totals) == ({102: 3}, {103: 9})


def test_a_market_order_takes_no_more_than_there_is() -> None:
    book = book_of((True, 100, 2))
    assert book.market(False, 5).fills == [Fill(100, 2)]
    assert book.bids.prices == []
    assert book.orders == []


def test_a_cancelled_order_leaves_its_level() -> None:
    book = book_of((True, 100, 2), (True, 100, 3))
    result = book.cancel(book.orders[0])
    assert (result.fills, list(result.touched)) == ([], [(True, 100)])
    assert book.bids.totals == {100: 3}
    book.cancel(book.orders[0])
    assert (book.bids.prices, book.orders) == ([], [])


ORDERS = st.lists(
    st.tuples(
        st.sampled_from(["limit", "market", "cancel"]),
        st.booleans(),
        st.integers(90, 110),
        st.integers(1, 20),
    ),
    max_size=60,
)


@given(ORDERS)
def test_lots_are_conserved_and_the_book_is_never_crossed(
    orders: list[tuple[str, bool, int, int]],
) -> None:
    book = MatchingBook()
    for kind, is_bid, price, lots in orders:
        before = sum(order.lots for order in book.orders)
        if kind == "limit":
            filled = sum(fill.lots for fill in book.limit(is_bid, price, lots).fills)
            assert sum(order.lots for order in book.orders) == before + lots - 2 * filled
        elif kind == "market":
            filled = sum(fill.lots for fill in book.market(is_bid, lots).fills)
            assert sum(order.lots for order in book.orders) == before - filled
        elif book.orders:
            order = book.orders[price % len(book.orders)]
            left = order.lots
            book.cancel(order)
            assert sum(order.lots for order in book.orders) == before - left
        if book.bids.prices and book.asks.prices:
            assert book.bids.best < book.asks.best
        for side in (book.bids, book.asks):
            resting = [order for order in book.orders if order.is_bid is side.is_bid]
            assert side.prices == sorted(side.totals) == sorted({o.price for o in resting})
            for level, total in side.totals.items():
                assert total == sum(order.lots for order in resting if order.price == level)

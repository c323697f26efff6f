"""A limit order book with price-time priority, in integer ticks and lots."""

from __future__ import annotations

from bisect import bisect_left, insort

import attrs

__all__ = ["BookSide", "Fill", "MatchResult", "MatchingBook", "Order"]


@attrs.define(eq=False)
class Order:
    """A resting order; ``slot`` is its place in the book's list of orders."""

    is_bid: bool
    price: int
    lots: int
    slot: int = -1


@attrs.define
class Fill:
    """A taker met one resting order."""

    price: int
    lots: int


@attrs.define
class MatchResult:
    """What one order did. ``touched``: the levels it changed as (is bid, price), each once."""

    taker_buys: bool
    fills: list[Fill] = attrs.Factory(list)
    touched: dict[tuple[bool, int], None] = attrs.Factory(dict)


@attrs.define(eq=False)
class BookSide:
    """The levels of one side. ``prices`` ascend on both sides; ``totals`` holds lots by price."""

    is_bid: bool
    prices: list[int] = attrs.Factory(list)
    totals: dict[int, int] = attrs.Factory(dict)
    _queues: dict[int, dict[Order, None]] = attrs.Factory(dict)

    @property
    def best(self) -> int:
        return self.prices[-1 if self.is_bid else 0]

    def top(self, depth: int) -> list[int]:
        """Prices from the best outwards."""
        return self.prices[: -depth - 1 : -1] if self.is_bid else self.prices[:depth]

    def first_order(self) -> Order:
        """The order that the next taker meets."""
        return next(iter(self._queues[self.best]))

    def add(self, order: Order) -> None:
        if order.price not in self._queues:
            insort(self.prices, order.price)
            self._queues[order.price] = {}
            self.totals[order.price] = 0
        self._queues[order.price][order] = None
        self.totals[order.price] += order.lots

    def reduce(self, order: Order, lots: int) -> None:
        """Takes lots from an order; an order without lots leaves, and so does an empty level."""
        order.lots -= lots
        self.totals[order.price] -= lots
        if order.lots > 0:
            return
        queue = self._queues[order.price]
        del queue[order]
        if not queue:
            del self._queues[order.price]
            del self.totals[order.price]
            del self.prices[bisect_left(self.prices, order.price)]


@attrs.define(eq=False)
class MatchingBook:
    """Both sides and the list of all resting orders. Never crossed: what crosses trades."""

    bids: BookSide = attrs.Factory(lambda: BookSide(is_bid=True))
    asks: BookSide = attrs.Factory(lambda: BookSide(is_bid=False))
    orders: list[Order] = attrs.Factory(list)

    def side(self, is_bid: bool) -> BookSide:
        return self.bids if is_bid else self.asks

    def limit(self, is_bid: bool, price: int, lots: int) -> MatchResult:
        """Trades what crosses, at the resting orders' prices; the rest becomes a resting order."""
        result = MatchResult(taker_buys=is_bid)
        left = self._take(result, lots, price)
        if left:
            order = Order(is_bid, price, left, slot=len(self.orders))
            self.orders.append(order)
            self.side(is_bid).add(order)
            result.touched[is_bid, price] = None
        return result

    def market(self, is_bid: bool, lots: int) -> MatchResult:
        """Trades up to `lots` at any price; what finds no order is cancelled."""
        result = MatchResult(taker_buys=is_bid)
        self._take(result, lots, None)
        return result

    def cancel(self, order: Order) -> MatchResult:
        result = MatchResult(taker_buys=order.is_bid)
        result.touched[order.is_bid, order.price] = None
        self._remove(order, order.lots)
        return result

    def _take(self, result: MatchResult, lots: int, limit: int | None) -> int:
        """Meets resting orders until the lots or the price limit are used up; returns the rest."""
        makers = self.side(not result.taker_buys)
        while lots and makers.prices:
            price = makers.best
            if limit is not None and (price > limit if result.taker_buys else price < limit):
                break
            order = makers.first_order()
            traded = min(lots, order.lots)
            lots -= traded
            result.fills.append(Fill(price, traded))
            result.touched[makers.is_bid, price] = None
            self._remove(order, traded)
        return lots

    def _remove(self, order: Order, lots: int) -> None:
        self.side(order.is_bid).reduce(order, lots)
        if order.lots == 0:
            last = self.orders.pop()
            if last is not order:
                self.orders[order.slot] = last
                last.slot = order.slot

from __future__ import annotations

import random

import pytest

from farm.testing.simulator.flow import OrderFlow
from farm.testing.simulator.instruments import instrument
from farm.types import Exchange, Market
from tests.effort import runs


@pytest.mark.parametrize("symbol", ["BTCUSDT", "SOLUSDT", "XYZBTC"])
def test_the_book_keeps_its_size_and_is_never_crossed_or_empty(symbol: str) -> None:
    levels = 60
    flow = OrderFlow(instrument(Exchange.BINANCE, Market.SPOT, symbol), random.Random(3), levels)
    flow.open_book()
    book = flow.book
    assert (len(book.bids.prices), len(book.asks.prices)) == (levels, levels)
    kinds = {"trades": 0, "several fills": 0, "rests or cancels": 0}
    for _ in range(runs(20_000)):
        fills = flow.step().fills
        kinds["trades" if fills else "rests or cancels"] += 1
        kinds["several fills"] += len(fills) > 1
        assert book.bids.best < book.asks.best
        assert min(len(book.bids.prices), len(book.asks.prices)) >= 20
        assert len(book.orders) < levels * 6
    assert min(kinds.values()) > 0

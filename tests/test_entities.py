from __future__ import annotations

from decimal import Decimal
from typing import Any

import attrs
import pytest

from farm.entities import (
    EVENT_KINDS,
    BookUpdate,
    Level,
    OrderBook,
    OrderBookLevel,
    Trade,
    data_type_of,
    feed_of,
)
from farm.exchanges.registry import MARKETS
from farm.types import BookVerdict, DataType, Exchange, Market


def book(bids: list[tuple[Any, Any]], asks: list[tuple[Any, Any]]) -> OrderBook:
    return OrderBook(
        Exchange.BINANCE,
        Market.SPOT,
        "BTCUSDT",
        [OrderBookLevel(*level) for level in bids],
        [OrderBookLevel(*level) for level in asks],
        BookVerdict.VERIFIED,
        1,
        None,
        None,
        None,
    )


@pytest.mark.parametrize("number", [float, Decimal])
def test_figures_of_a_book(number: type[Any]) -> None:
    n = number
    it = book([(n(99), n(3)), (n(98), n(1))], [(n(101), n(1)), (n(103), n(5))])
    assert it.best_bid == OrderBookLevel(n(99), n(3))
    assert it.best_ask == OrderBookLevel(n(101), n(1))
    assert it.spread == n(2)
    assert it.mid_price == n(100)
    assert it.micro_price == (n(99) * n(1) + n(101) * n(3)) / n(4) == n("100.5")
    assert it.imbalance() == n("0.5")
    assert it.imbalance(2) == n("-0.2")
    assert it.imbalance(10) == n("-0.2")
    assert {type(figure) for figure in (it.spread, it.mid_price, it.micro_price)} == {number}


def test_figures_of_a_one_sided_and_of_an_empty_book() -> None:
    one_sided, empty = book([(99.0, 3.0)], []), book([], [])
    for it in (one_sided, empty):
        assert it.spread is it.mid_price is it.micro_price is None
        assert it.best_ask is None
    assert one_sided.imbalance() == 1.0
    assert empty.best_bid is None
    assert empty.imbalance() is None
    with pytest.raises(ValueError, match="depth must be 1 or more, not 0"):
        empty.imbalance(0)


def test_the_kinds_and_their_names() -> None:
    assert set(EVENT_KINDS) == set(DataType)
    for data_type, kind in EVENT_KINDS.items():
        assert data_type_of(kind) is data_type
    with pytest.raises(TypeError, match=r"OrderBook.*is not a kind of event.*Trade"):
        data_type_of(OrderBook)
    with pytest.raises(TypeError, match="not a kind"):
        data_type_of([])  # type: ignore[arg-type]


def test_every_kind_has_its_place_in_the_total_order() -> None:
    for kind in EVENT_KINDS.values():
        fields = attrs.fields_dict(kind)
        assert {"receive_time", "ordinal", "row", "exchange", "market", "symbol"} <= set(fields)
        assert not hasattr(kind, "__dict__") or "__slots__" in vars(kind)


def test_levels_become_objects_on_access() -> None:
    update = BookUpdate(
        Exchange.BYBIT, Market.LINEAR, "X", 50, False, [Level(1.0, 2.0)], [Level(3.0, 0.0)],
        1, 1, None, None, BookVerdict.SYNCING, None, None, 1, 0,
    )  # fmt: skip
    assert update.bids == [OrderBookLevel(1.0, 2.0)]
    assert update.asks == [OrderBookLevel(3.0, 0.0)]
    assert feed_of(update) == "bybit/linear/X/book:50"


def test_rows_name_the_feeds_that_streams_do() -> None:
    """A row knows its feed without its stream, so both must spell it alike."""
    fields: dict[str, Any] = {
        "price": 1.0, "quantity": 1.0, "id": "1", "side": None, "exchange_time": None,
        "event_time": None, "receive_time": 1, "ordinal": 1, "first_trade_id": 1,
        "last_trade_id": 1, "bid_price": 1.0, "bid_quantity": 1.0, "ask_price": 1.0,
        "ask_quantity": 1.0, "update_id": 1, "is_snapshot": False, "bid_levels": [],
        "ask_levels": [], "first_id": 1, "last_id": 1, "previous_id": None, "sequence": None,
        "verdict": BookVerdict.SYNCING, "open_time": 1, "close_time": 1, "open": 1.0, "high": 1.0,
        "low": 1.0, "close": 1.0, "base_volume": 1.0, "quote_volume": 1.0,
        "taker_buy_base_volume": None, "taker_buy_quote_volume": None, "trade_count": None,
        "closed": False,
    }  # fmt: skip
    for rules in MARKETS.values():
        for spec in rules.streams.specs:
            stream = rules.streams.stream("BTCUSDT", spec)
            kind = EVENT_KINDS[stream.data_type]
            own = {
                "exchange": stream.exchange,
                "market": stream.market,
                "symbol": stream.symbol,
                "depth": stream.depth,
                "interval": stream.interval,
            }
            given = {**fields, **own}
            wanted = {field.name for field in attrs.fields(kind)}
            row = kind(**{name: value for name, value in given.items() if name in wanted})
            assert feed_of(row) == stream.feed


def test_events_compare_by_value() -> None:
    fields: dict[str, Any] = {"exchange_time": None, "event_time": None, "receive_time": 1}
    first = Trade(Exchange.BINANCE, Market.SPOT, "X", "1", 1.0, 1.0, None, **fields, ordinal=0)  # type: ignore[arg-type]
    assert first == attrs.evolve(first)
    assert first != attrs.evolve(first, id="2")

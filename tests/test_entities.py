from __future__ import annotations

from decimal import Decimal
from typing import Any

import attrs
import pytest

from farm.entities import (
    EVENT_KINDS,
    BookUpdate,
    Event,
    Gap,
    Level,
    OrderBook,
    OrderBookLevel,
    Trade,
    data_type_of,
    feed_of,
)
from farm.exchanges.registry import MARKETS
from farm.exchanges.rules import MarketRules
from farm.types import BookVerdict, DataType, Exchange, Market
from tests.strategies import plain


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


@pytest.mark.parametrize("rules", MARKETS.values(), ids=lambda rules: rules.key)
def test_rows_name_the_feeds_that_streams_do(rules: MarketRules) -> None:
    """A row knows its feed without its stream, so both must spell it alike."""
    table = rules.streams
    streams = [table.stream("BTCUSDT", spec) for spec in table.specs]
    streams += [table.market_stream(spec) for spec in table.market_specs]
    for stream in streams:
        own = {
            "exchange": stream.exchange,
            "market": stream.market,
            "symbol": stream.symbol,
            "depth": stream.depth,
            "interval": stream.interval,
            "contract_type": stream.contract_type,
        }
        feeds = []
        for data_type in (stream.data_type, *stream.also):
            kind = EVENT_KINDS[data_type]
            known = {field.name for field in attrs.fields(kind)}
            row = plain(kind, **{name: value for name, value in own.items() if name in known})
            feeds.append(feed_of(row))
        assert tuple(feeds) == stream.feeds


@pytest.mark.parametrize("kind", EVENT_KINDS.values(), ids=lambda kind: kind.__name__)
def test_every_kind_of_row_has_a_feed(kind: type[Event]) -> None:
    feed = feed_of(plain(kind, symbol="BTCUSDT"))
    assert feed.startswith("x" if kind is Gap else "binance/spot/BTCUSDT/")
    assert kind is Gap or data_type_of(kind).value in feed


def test_events_compare_by_value() -> None:
    fields: dict[str, Any] = {"exchange_time": None, "event_time": None, "receive_time": 1}
    first = Trade(Exchange.BINANCE, Market.SPOT, "X", "1", 1.0, 1.0, None, **fields, ordinal=0)  # type: ignore[arg-type]
    assert first == attrs.evolve(first)
    assert first != attrs.evolve(first, id="2")

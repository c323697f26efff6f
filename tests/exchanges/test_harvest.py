"""What one input gave, on its way into a bundle."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm.bundle import UnparsedFrame
from farm.entities import EVENT_KINDS, Gap, MarkPrice, SpentIds, Trade
from farm.exchanges.harvest import GAP_SLOT, SLOTS, Harvest
from farm.types import DataType
from tests.exchanges.feeding import BINANCE_USDM, Drive, binance_trade, combined


def one(kind: type[Any], ordinal: int, row: int = 0) -> Any:
    """An event of this kind at this place; what else it says does not matter here."""
    event = object.__new__(kind)
    event.ordinal, event.row = ordinal, row
    return event


def test_every_kind_has_a_place_of_its_own() -> None:
    assert sorted(SLOTS.values()) == list(range(len(DataType)))
    assert SLOTS[DataType.GAP] == GAP_SLOT


def test_a_harvest_begins_empty_and_shares_nothing() -> None:
    first, second = Harvest(), Harvest()
    assert first.is_empty
    first.gaps([one(Gap, 1)])
    assert not first.is_empty
    assert second.is_empty
    assert len(first.rows[GAP_SLOT]) == 1


@pytest.mark.parametrize("told", ["up", "down", "asked", "dropped"])
def test_what_is_told_of_a_feed_makes_it_one(told: str) -> None:
    harvest = Harvest()
    setattr(harvest, told, ("binance/spot/BTCUSDT/book",))
    assert not harvest.is_empty


@pytest.mark.parametrize("kind", list(DataType))
def test_a_row_of_any_kind_makes_it_one(kind: DataType) -> None:
    harvest = Harvest()
    harvest.rows[SLOTS[kind]].append(one(EVENT_KINDS[kind], 1))
    assert not harvest.is_empty


def test_what_could_not_be_parsed_makes_it_one() -> None:
    harvest = Harvest()
    harvest.unparsed.append(object.__new__(UnparsedFrame))
    assert not harvest.is_empty


PLACES = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3)), max_size=8)


@given(PLACES, PLACES, PLACES)
def test_extras_are_dealt_by_kind_and_put_in_order(
    own: list[tuple[int, int]], marks: list[tuple[int, int]], spent: list[tuple[int, int]]
) -> None:
    harvest = Harvest()
    rows = harvest.rows[SLOTS[DataType.MARK_PRICE]]
    rows += [one(MarkPrice, *place) for place in sorted(own)]
    trades = harvest.rows[SLOTS[DataType.TRADE]]
    trades.append(one(Trade, 5))
    extras: list[Any] = [one(MarkPrice, *place) for place in marks]
    extras += [one(SpentIds, *place) for place in spent]
    harvest.take(extras)
    assert extras == []
    assert [(row.ordinal, row.row) for row in rows] == sorted(own + marks)
    ids = harvest.rows[SLOTS[DataType.SPENT_IDS]]
    assert [(row.ordinal, row.row) for row in ids] == sorted(spent)
    assert len(trades) == 1


def test_mark_prices_of_two_streams_come_in_the_order_of_their_frames() -> None:
    """Those of a placeholder and a trade between: every kind in its own order."""
    driven = Drive(BINANCE_USDM, ["trade", "mark_price"], books=False)
    driven.open()
    mark = {"e": "markPriceUpdate", "E": 1, "s": "BTCUSDT", "p": "1", "T": 0}
    frames = [
        combined("btcusdt@markPrice@1s", mark),
        binance_trade(1, X="NA", p="0", q="0"),
        binance_trade(2, X="MARKET"),
        combined("btcusdt@markPrice@1s", mark),
        binance_trade(3, X="NA", p="0", q="0"),
    ]
    outcome = driven.read(*frames)
    first = driven.ordinal - len(frames)
    for kind, places in ((MarkPrice, [0, 3]), (SpentIds, [1, 4]), (Trade, [2])):
        assert [row.ordinal - first for row in outcome.only(kind)] == places


def test_kinds_are_attrs_classes_with_a_place() -> None:
    for kind in EVENT_KINDS.values():
        assert {"ordinal", "row"} <= {field.name for field in attrs.fields(kind)}

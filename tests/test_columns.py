from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from farm.columns import (
    ABSENT,
    ColumnKind,
    LevelColumn,
    column_types,
    concat_columns,
    from_column,
    to_column,
)
from farm.entities import EVENT_KINDS, BookUpdate, Level, MarkPrice, Ticker, Trade
from farm.types import NumberMode, Side
from tests.strategies import batches


def test_the_families_of_a_trades_columns() -> None:
    kinds = {column.name: (column.kind, column.nullable) for column in column_types(Trade)}
    assert kinds["price"] == (ColumnKind.NUMBER, False)
    assert kinds["side"] == (ColumnKind.SIDE, False)
    assert kinds["id"] == (ColumnKind.TEXT, False)
    assert kinds["exchange_time"] == (ColumnKind.INT, True)
    assert kinds["block_trade"] == (ColumnKind.BOOL, True)
    assert kinds["order_type"] == (ColumnKind.ENUM, True)
    assert column_types(Trade) is column_types(Trade)


def test_only_changes_and_rates_may_be_negative() -> None:
    signed = {
        kind.__name__: [column.name for column in column_types(kind) if column.signed]
        for kind in EVENT_KINDS.values()
    }
    assert {name: columns for name, columns in signed.items() if columns} == {
        MarkPrice.__name__: ["funding_rate"],
        Ticker.__name__: [
            "price_change",
            "price_change_percent",
            "delta",
            "gamma",
            "vega",
            "theta",
        ],
    }
    for kind in EVENT_KINDS.values():
        assert all(c.kind is ColumnKind.NUMBER for c in column_types(kind) if c.signed)


@given(batches())
def test_each_column_gives_its_values_back(batch: Any) -> None:
    for column in column_types(batch.kind):
        values = [getattr(row, column.name) for row in batch.rows]
        data = to_column(column, values, batch.numbers)
        assert len(data) == len(values)
        assert from_column(column, data, batch.numbers) == values
        cut = len(values) // 2
        halves = [to_column(column, part, batch.numbers) for part in (values[:cut], values[cut:])]
        assert from_column(column, concat_columns(halves), batch.numbers) == values


def test_sides_are_signs_and_absent_times_are_not_a_time() -> None:
    side, time = (c for c in column_types(Trade) if c.name in ("side", "event_time"))
    signs = to_column(side, [Side.BUY, Side.SELL, Side.UNKNOWN], NumberMode.FLOAT)
    assert isinstance(signs, np.ndarray)
    assert (signs.dtype, signs.tolist()) == (np.int8, [1, -1, 0])
    times = to_column(time, [None, 0], NumberMode.FLOAT)
    assert isinstance(times, np.ndarray)
    assert times.tolist() == [ABSENT, 0]


@given(st.lists(st.integers(0, 4), max_size=6), st.data())
def test_levels_can_be_cut(sizes: list[int], data: st.DataObject) -> None:
    column = next(c for c in column_types(BookUpdate) if c.kind is ColumnKind.LEVELS)
    values = [[Level(float(i), float(j)) for j in range(size)] for i, size in enumerate(sizes)]
    levels = to_column(column, values, NumberMode.FLOAT)
    assert isinstance(levels, LevelColumn)
    start, stop = data.draw(st.integers(-7, 7)), data.draw(st.integers(-7, 7))
    assert list(levels[start:stop].levels()) == values[start:stop]


def test_every_kind_has_columns() -> None:
    for kind in EVENT_KINDS.values():
        assert {c.name for c in column_types(kind)} >= {"symbol", "receive_time", "ordinal"}

from __future__ import annotations

import gc
import pickle
import weakref
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farm.arrow import SCHEMA_VERSION, arrow_schema
from farm.batch import Batch, Origin, concat
from farm.columns import ABSENT, LevelColumn, column_types
from farm.entities import EVENT_KINDS, BookUpdate, Event, Level, Quote, Trade
from farm.errors import NumberRangeError
from farm.types import BookVerdict, Exchange, Market, NumberMode, Side
from tests.effort import runs
from tests.strategies import batches, plain


def trade(price: Any = 10.5, quantity: Any = 2.0, side: Side = Side.BUY, **more: Any) -> Trade:
    fields: dict[str, Any] = {
        "exchange": Exchange.BINANCE,
        "market": Market.SPOT,
        "symbol": "BTCUSDT",
        "id": "7",
        "exchange_time": 1_000,
        "event_time": None,
        "receive_time": 2_000,
        "ordinal": 3,
    }
    return Trade(price=price, quantity=quantity, side=side, **(fields | more))


def via_columns(batch: Batch[Any]) -> Batch[Any]:
    columns = {name: batch.columns[name] for name in batch.column_names}
    return Batch(batch.kind, columns=columns, origins=batch.origins, numbers=batch.numbers)


def typed(batch: Batch[Any]) -> list[list[type]]:
    return [[type(getattr(row, c)) for c in row.__slots__ if c[0] != "_"] for row in batch.rows]


kinds = pytest.mark.parametrize("kind", EVENT_KINDS.values(), ids=lambda kind: kind.__name__)
modes = pytest.mark.parametrize("mode", list(NumberMode))
some = settings(max_examples=runs(8))  # of each kind, in each mode


@kinds
@modes
@some
@given(data=st.data())
def test_rows_to_columns_to_rows_is_the_identity(
    kind: type[Event], mode: NumberMode, data: st.DataObject
) -> None:
    batch = data.draw(batches(kind, mode))
    again = via_columns(batch)
    assert again == batch
    assert typed(again) == typed(batch)


@kinds
@modes
@some
@given(data=st.data())
def test_arrow_and_back_is_the_identity(
    kind: type[Event], mode: NumberMode, data: st.DataObject
) -> None:
    batch = data.draw(batches(kind, mode))
    table = batch.to_arrow()
    table.validate(full=True)
    assert table.schema.equals(arrow_schema(batch.kind, batch.numbers), check_metadata=True)
    again = Batch.from_arrow(table)
    assert again == batch
    assert typed(again) == typed(batch)


@kinds
@modes
@some
@given(data=st.data())
def test_msgpack_and_pickle_are_the_identity(
    kind: type[Event], mode: NumberMode, data: st.DataObject
) -> None:
    batch = data.draw(batches(kind, mode))
    again = Batch.from_msgpack(batch.to_msgpack())
    assert again == batch
    assert typed(again) == typed(batch)
    assert pickle.loads(pickle.dumps(batch)) == batch


@kinds
@modes
@some
@given(data=st.data())
def test_every_form_leads_to_every_other(
    kind: type[Event], mode: NumberMode, data: st.DataObject
) -> None:
    batch = data.draw(batches(kind, mode))
    table = via_columns(Batch.from_msgpack(via_columns(batch).to_msgpack())).to_arrow()
    assert table.equals(batch.to_arrow())
    assert via_columns(Batch.from_arrow(table)) == batch


@kinds
@modes
def test_what_may_be_none_is_null_in_every_form(kind: type[Event], mode: NumberMode) -> None:
    nullable = [column.name for column in column_types(kind) if column.nullable]
    batch = Batch.of([plain(kind, mode, **dict.fromkeys(nullable))], numbers=mode)
    for again in (
        via_columns(batch),
        Batch.from_arrow(batch.to_arrow()),
        Batch.from_msgpack(batch.to_msgpack()),
    ):
        assert again == batch
        assert {getattr(again.rows[0], name) for name in nullable} <= {None}
    assert all(batch.to_arrow()[name].null_count == 1 for name in nullable)


@given(batches(), st.integers(-10, 10), st.integers(-10, 10), st.booleans())
def test_slices_put_together_are_the_whole(
    batch: Batch[Any], low: int, high: int, columnar: bool
) -> None:
    batch = via_columns(batch) if columnar else batch
    part = batch[low:high]
    assert part.rows == batch.rows[low:high]
    assert len(part) == len(part.rows)
    cut = range(len(batch))[low:high]
    parts = [batch[: cut.start], part, batch[max(cut.start, cut.stop) :]]
    assert concat(parts) == batch


@given(batches(kind=BookUpdate), st.data())
def test_concat_of_columns_equals_concat_of_rows(batch: Batch[Any], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(batch)))
    columnar = concat([via_columns(batch[:cut]), via_columns(batch[cut:])])
    assert columnar == batch
    assert list(columnar.columns["connection"]) == list(batch.columns["connection"])


def test_columns_as_documented() -> None:
    batch = Batch.of([trade(), trade(side=Side.SELL, event_time=5, block_trade=True)])
    columns = batch.columns
    assert columns["price"].dtype == np.float64
    assert columns["side"].tolist() == [1, -1]
    assert (columns["side"] * columns["quantity"]).sum() == 0
    assert columns["event_time"].tolist() == [ABSENT, 5]
    assert np.isnat(columns["event_time"].view("datetime64[ns]")).tolist() == [True, False]
    assert columns["block_trade"].tolist() == [-1, 1]
    assert columns["exchange"].tolist() == ["binance", "binance"]
    assert columns["epoch"].tolist() == [0, 0]
    assert len(columns) == len(list(columns)) == len(batch.column_names)
    with pytest.raises(KeyError, match="prize"):
        columns["prize"]


def test_a_column_is_made_once() -> None:
    batch = Batch.of([trade()])
    assert batch.columns["price"] is batch.columns["price"]


def test_levels_are_ragged() -> None:
    def update(levels: list[Level[Any]]) -> BookUpdate:
        return BookUpdate(
            Exchange.BYBIT, Market.LINEAR, "X", None, False, levels, [], 1, 1, None, None,
            BookVerdict.SYNCING, None, None, 1, 0,
        )  # fmt: skip

    batch = Batch.of([update([Level(1.0, 2.0), Level(3.0, 4.0)]), update([]), update([])])
    column = batch.columns["bid_levels"]
    assert isinstance(column, LevelColumn)
    assert column.offsets.tolist() == [0, 2, 2, 2]
    assert column.price.tolist() == [1.0, 3.0]
    assert len(column[1:]) == 2
    with pytest.raises(ValueError, match="step"):
        column[::2]


def test_decimals_are_exact_and_refused_where_they_cannot_be() -> None:
    tiny, tinier = Decimal("0.000000000000000001"), Decimal("0.0000000000000000001")
    exact = Batch.of([trade(tiny, Decimal(1))], numbers=NumberMode.DECIMAL)
    assert exact.to_arrow()["price"].to_pylist() == [tiny]
    beyond = Batch.of([trade(tinier, Decimal(1))], numbers=NumberMode.DECIMAL)
    with pytest.raises(NumberRangeError, match="price"):
        beyond.to_arrow()


def test_null_numbers_are_null_in_arrow() -> None:
    quote = Quote(
        Exchange.BYBIT, Market.SPOT, "X", None, None, 2.0, 1.0, 9, None, None, 1, 0
    )  # fmt: skip
    assert Batch.of([quote]).to_arrow()["bid_price"].null_count == 1
    assert np.isnan(Batch.of([quote]).columns["bid_price"]).all()


def test_a_foreign_or_newer_table_is_refused() -> None:
    with pytest.raises(ValueError, match="not a table of farm"):
        Batch.from_arrow(pa.table({"a": [1]}))
    table = Batch.of([trade()]).to_arrow()
    newer = table.replace_schema_metadata({**table.schema.metadata, b"farm.schema_version": b"999"})
    with pytest.raises(ValueError, match="schema version 999"):
        Batch.from_arrow(newer)


def test_every_kind_has_a_version_and_a_schema_of_its_own() -> None:
    assert set(SCHEMA_VERSION) == set(EVENT_KINDS)
    names = [arrow_schema(kind).metadata[b"farm.kind"] for kind in EVENT_KINDS.values()]
    assert len(set(names)) == len(EVENT_KINDS)


def test_mistakes_are_refused() -> None:
    with pytest.raises(ValueError, match="rows, columns, or a source"):
        Batch(Trade, origins=[])
    with pytest.raises(ValueError, match="its kind"):
        Batch.of([])
    with pytest.raises(TypeError, match="a batch of Trade cannot hold 5"):
        Batch.of([trade(), 5])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="nothing to concatenate"):
        concat([])
    with pytest.raises(ValueError, match="cannot concatenate"):
        concat([Batch.of([trade()]), Batch.of([trade()], numbers=NumberMode.DECIMAL)])
    with pytest.raises(ValueError, match="step"):
        Batch.of([trade()])[::2]
    with pytest.raises(TypeError, match=r"columns\['price'\]"):
        Batch.of([trade()])["price"]  # type: ignore[call-overload]
    with pytest.raises(msgspec.DecodeError):
        Batch.from_msgpack(b"\xc1")


def test_reads_like_a_sequence() -> None:
    batch = Batch.of([trade(1.0), trade(2.0)], connection="c", epoch=4)
    assert [row.price for row in batch] == [1.0, 2.0]
    assert batch[-1].price == 2.0
    assert batch.origins == [(Origin(Exchange.BINANCE, Market.SPOT, "c", 4), 2)]
    assert repr(batch) == "<Batch of 2 Trade from binance/spot c#4>"


def test_what_nobody_holds_is_gone_without_the_garbage_collector() -> None:
    """In a flood its passes over rows that were long done with took a third of all time."""
    batch = Batch.of([trade(), trade()])
    assert len(batch.columns["price"]) == 2
    row = weakref.ref(batch.rows[0])
    gc.disable()
    try:
        del batch
        assert row() is None
    finally:
        gc.enable()

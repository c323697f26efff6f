"""Arrow schemas: one for each kind of event, versioned, and the way from columns to tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from farm.columns import ABSENT, Array, Column, ColumnKind, ColumnType, LevelColumn, column_types
from farm.entities import EVENT_KINDS, Event, data_type_of
from farm.errors import NumberRangeError
from farm.types import DataType, NumberMode

__all__ = ["SCHEMA_VERSION", "arrow_schema", "columns_to_table", "table_to_columns"]

SCHEMA_VERSION: dict[DataType, int] = dict.fromkeys(EVENT_KINDS, 1) | {
    DataType.TRADE: 2,  # prices and volatilities of options
    DataType.AGG_TRADE: 2,  # the quantity without retail liquidity
}
"""The version of each kind's schema; it grows with every change of columns or their types."""

_DECIMAL = pa.decimal128(38, 18)
_SYMBOL = pa.dictionary(pa.int32(), pa.string())
_ENUM = pa.dictionary(pa.int8(), pa.string())
_SIDE_TEXT = {1: "buy", -1: "sell", 0: "unknown"}
_SIDE_CODE = {text: code for code, text in _SIDE_TEXT.items()}


def _number_type(mode: NumberMode) -> pa.DataType:
    return pa.float64() if mode is NumberMode.FLOAT else _DECIMAL


def _arrow_type(column: ColumnType, mode: NumberMode) -> pa.DataType:
    if column.kind is ColumnKind.NUMBER:
        return _number_type(mode)
    if column.kind is ColumnKind.LEVELS:
        number = _number_type(mode)
        level = pa.struct(
            [pa.field("price", number, nullable=False), pa.field("quantity", number, False)]
        )
        return pa.list_(pa.field("level", level, nullable=False))
    if column.kind is ColumnKind.TEXT:
        return _SYMBOL if column.name == "symbol" else pa.string()
    return {
        ColumnKind.INT: pa.int64(),
        ColumnKind.BOOL: pa.bool_(),
        ColumnKind.SIDE: _ENUM,
        ColumnKind.ENUM: _ENUM,
    }[column.kind]


def arrow_schema(kind: type[Any], numbers: NumberMode = NumberMode.FLOAT) -> pa.Schema:
    """The Arrow schema of an event class: its fields, then ``connection`` and ``epoch``.

    Metadata: ``farm.kind``, ``farm.schema_version`` and ``farm.numbers``.
    """
    fields = [
        pa.field(column.name, _arrow_type(column, numbers), nullable=column.nullable)
        for column in column_types(kind)
    ]
    fields.append(pa.field("connection", _SYMBOL, nullable=False))
    fields.append(pa.field("epoch", pa.int64(), nullable=False))
    data_type = data_type_of(kind)
    metadata = {
        b"farm.kind": data_type.value.encode(),
        b"farm.schema_version": str(SCHEMA_VERSION[data_type]).encode(),
        b"farm.numbers": numbers.value.encode(),
    }
    return pa.schema(fields, metadata=metadata)


def columns_to_table(
    kind: type[Any], columns: Mapping[str, Column], numbers: NumberMode
) -> pa.Table:
    """A table by the kind's schema. NumberRangeError names a column that cannot be held exactly."""
    schema = arrow_schema(kind, numbers)
    types = {column.name: column for column in column_types(kind)}
    arrays = []
    for field in schema:
        try:
            arrays.append(_to_arrow(types.get(field.name), columns[field.name], field.type))
        except pa.ArrowInvalid as error:
            raise NumberRangeError(f"column {field.name!r}: {error}") from error
    return pa.Table.from_arrays(arrays, schema=schema)


def _to_arrow(column: ColumnType | None, data: Column, arrow: pa.DataType) -> pa.Array:
    if isinstance(data, LevelColumn):
        number = arrow.value_type.field("price").type
        levels = pa.StructArray.from_arrays(
            [pa.array(data.price, number), pa.array(data.quantity, number)],
            fields=list(arrow.value_type),
        )
        return pa.ListArray.from_arrays(pa.array(data.offsets, pa.int32()), levels, type=arrow)
    if column is None or not column.nullable:
        if column is not None and column.kind is ColumnKind.SIDE:
            data = np.array([_SIDE_TEXT[code] for code in data.tolist()], object)
        return pa.array(data, arrow)
    if column.kind is ColumnKind.INT:
        return pa.array(data, arrow, mask=data == ABSENT)
    if column.kind is ColumnKind.BOOL:
        return pa.array(data == 1, arrow, mask=data < 0)
    return pa.array(data, arrow, from_pandas=True)  # NaN and None both become null


def table_to_columns(table: pa.Table) -> tuple[type[Event], dict[str, Any], NumberMode]:
    """The kind, columns and number mode of a table made by :func:`columns_to_table`.

    ValueError where the schema is not one of ours, or of another version.
    """
    metadata = table.schema.metadata or {}
    try:
        data_type = DataType(metadata[b"farm.kind"].decode())
        version = int(metadata[b"farm.schema_version"])
        numbers = NumberMode(metadata[b"farm.numbers"].decode())
    except (KeyError, ValueError):
        raise ValueError("not a table of farm's: its schema names no kind of event") from None
    if version != SCHEMA_VERSION[data_type]:
        raise ValueError(
            f"a {data_type.value} table of schema version {version}; "
            f"this farm reads {SCHEMA_VERSION[data_type]}"
        )
    kind = EVENT_KINDS[data_type]
    types = {column.name: column for column in column_types(kind)}
    columns = {
        name: _from_arrow(types.get(name), table.column(name).combine_chunks())
        for name in table.schema.names
    }
    return kind, columns, numbers


def _from_arrow(column: ColumnType | None, data: pa.Array) -> Column:
    if isinstance(data, pa.ChunkedArray):  # what combine_chunks gives for no chunks at all
        data = pa.concat_arrays(data.chunks) if data.chunks else pa.array([], data.type)
    if pa.types.is_dictionary(data.type):
        data = data.dictionary_decode()
    if column is not None and column.kind is ColumnKind.LEVELS:
        offsets = np.asarray(data.offsets, np.int64)
        flat = data.flatten()
        price, quantity = flat.field("price"), flat.field("quantity")
        return LevelColumn(offsets - offsets[0], _plain(price), _plain(quantity))
    if column is not None and column.kind is ColumnKind.SIDE:
        return np.array([_SIDE_CODE[text] for text in data.to_pylist()], np.int8)
    if column is not None and column.nullable and column.kind is ColumnKind.INT:
        return _plain(data.fill_null(ABSENT))
    if column is not None and column.nullable and column.kind is ColumnKind.BOOL:
        return _plain(data.cast(pa.int8()).fill_null(-1))
    return _plain(data)


def _plain(data: pa.Array) -> Array:
    array: Array = data.to_numpy(zero_copy_only=False)
    return array

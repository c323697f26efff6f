"""The content of one Parquet file: events of one partition as a table, and back.

A file holds the columns of :func:`farm.arrow.arrow_schema` with two changes:

* Each time column has a ``timestamp[us, UTC]`` beside it, rounded down, named ``<column>_utc``.
* ``exchange``, ``market`` and ``symbol`` are left out. The path states them, and readers of Hive
  partitions take them from there; had the file a column of the same name, pyarrow would refuse the
  directory as soon as a symbol looks like a number, because it infers another type for it.

So that a file alone still says what it is, its key-value metadata hold ``farm.exchange``,
``farm.market``, ``farm.symbol`` and ``farm.date`` beside ``farm.kind``, ``farm.schema_version`` and
``farm.numbers``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from farm.batch import Batch
from farm.columns import ABSENT
from farm.errors import DataDirectoryError
from farm.storage.partition import Partition

__all__ = ["UNFIT", "partition_table", "read_file", "write_table"]

UNFIT = (ValueError, TypeError, OverflowError)
"""What :func:`partition_table` raises for an event that no file can hold.

NumberRangeError, and what too large an integer, a lone surrogate in a text or a value of another
type give."""

_FROM_PATH = ("exchange", "market", "symbol")
_UTC = pa.timestamp("us", "UTC")
_ROW_GROUP = 2**17
"""Rows of a row group: large enough for compression and DuckDB's vectors, small enough to skip."""


def partition_table(batch: Batch[Any], partition: Partition) -> pa.Table:
    """The table that is stored for a batch, all of whose rows belong to `partition`.

    Raises one of :data:`UNFIT` where a value does not fit its column.
    """
    table = batch.to_arrow()
    fields: list[pa.Field] = []
    arrays: list[pa.ChunkedArray | pa.Array] = []
    for field, array in zip(table.schema, table.columns, strict=True):
        if field.name in _FROM_PATH:
            continue
        fields.append(field)
        arrays.append(array)
        if field.name.endswith("_time"):
            fields.append(pa.field(f"{field.name}_utc", _UTC, field.nullable))
            arrays.append(_microseconds(batch.columns[field.name], field.nullable))
    metadata = table.schema.metadata | {
        b"farm.exchange": partition.exchange.value.encode(),
        b"farm.market": partition.market.value.encode(),
        b"farm.symbol": partition.symbol.encode(),
        b"farm.date": partition.date.isoformat().encode(),
    }
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields, metadata=metadata))


def _microseconds(nanoseconds: Any, nullable: bool) -> pa.Array:
    mask = nanoseconds == ABSENT if nullable else None
    return pa.array(np.floor_divide(nanoseconds, 1_000), mask=mask).cast(_UTC)


def write_table(table: pa.Table, file: IO[bytes]) -> None:
    """Writes a table of :func:`partition_table` as Parquet."""
    pq.write_table(table, file, compression="zstd", row_group_size=_ROW_GROUP)


def read_file(path: Path) -> Iterator[Batch[Any]]:
    """The events of a file in their order, a batch for each row group.

    DataDirectoryError where the file is not one of farm's or is damaged; names the file.
    """
    try:
        with pq.ParquetFile(path) as file:
            constants = _constants(file.schema_arrow.metadata or {})
            for group in range(file.num_row_groups):
                yield Batch.from_arrow(_restored(file.read_row_group(group), constants))
    except (ValueError, OSError, pa.ArrowException) as error:
        raise DataDirectoryError(f"{path}: {error}") from error


def _constants(metadata: dict[bytes, bytes]) -> dict[str, str]:
    try:
        return {name: metadata[b"farm." + name.encode()].decode() for name in _FROM_PATH}
    except KeyError:
        raise ValueError("not a file of farm's: it does not say what it holds") from None


def _restored(table: pa.Table, constants: dict[str, str]) -> pa.Table:
    """The table as :meth:`Batch.to_arrow` made it."""
    times = [name for name in table.schema.names if name.endswith("_time")]
    table = table.drop_columns([f"{name}_utc" for name in times])
    for name, value in constants.items():
        table = table.append_column(name, pa.repeat(value, table.num_rows))
    return table

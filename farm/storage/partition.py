"""Partitions: which part of the stored data an event belongs to, and where that part lies."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Any, TypeVar
from urllib.parse import quote

import attrs
import numpy as np
import numpy.typing as npt

from farm.batch import Batch
from farm.columns import Column, LevelColumn
from farm.entities import Event
from farm.errors import DataDirectoryError, NumberRangeError
from farm.storage.directory import utc_date
from farm.types import DataType, Exchange, Market, Nanoseconds, Symbol

__all__ = ["Partition", "encode_symbol", "split_batch"]

E = TypeVar("E", bound=Event)

_DAY = 86_400_000_000_000  # ns
_DAYS = range(-(2**63) // _DAY + 1, 2**63 // _DAY)  # the whole days that int64 nanoseconds hold
_LONGEST_NAME = 255  # bytes of a directory's name, on all common file systems


@attrs.frozen(cache_hash=True)
class Partition:
    """What shares a directory: one symbol's events of one kind, received on one UTC date."""

    exchange: Exchange
    market: Market
    data_type: DataType
    symbol: Symbol
    date: date

    @property
    def path(self) -> PurePosixPath:
        """The directory, relative to the data directory, as Hive readers expect it.

        DataDirectoryError for a symbol that makes no directory name.
        """
        return PurePosixPath(
            f"exchange={self.exchange.value}",
            f"market={self.market.value}",
            f"kind={self.data_type.value}",
            f"symbol={encode_symbol(self.symbol)}",
            f"date={self.date.isoformat()}",
        )


def encode_symbol(symbol: Symbol) -> str:
    """The symbol as part of a path: letters and digits of any script and ``-_.`` stand as they are.

    All else is percent-encoded as UTF-8, which pyarrow, DuckDB and Polars decode. Raises
    DataDirectoryError where the result is too long for a directory name, or the text is not
    Unicode.
    """
    try:
        name = "".join(c if c.isalnum() or c in "-_." else quote(c, safe="") for c in symbol)
    except UnicodeEncodeError as error:
        raise DataDirectoryError(f"symbol {symbol!r} makes no directory name: {error}") from error
    if len(f"symbol={name}".encode()) > _LONGEST_NAME:
        raise DataDirectoryError(f"symbol {symbol[:50]!r}... is too long for a directory name")
    return name


def split_batch(batch: Batch[E]) -> list[tuple[Partition, Batch[E]]]:
    """The batch by partition, rows in order; the batch itself where one partition holds it all.

    A partition comes more than once where several connections feed it by turns. ``nbytes`` is
    shared out by the number of rows.

    Raises:
        NumberRangeError: a receive time whose day int64 nanoseconds do not hold; names the time.
        DataDirectoryError: a symbol that makes no directory name.
    """
    parts: list[tuple[Partition, Batch[E]]] = []
    start = 0
    for origin, count in batch.origins:
        part = batch if len(batch.origins) == 1 else batch[start : start + count]
        start += count
        groups = _rows_by_key(part) if _has_rows(part) else _columns_by_key(part)
        for (symbol, day), group in groups:
            partition = _partition(origin.exchange, origin.market, batch.data_type, symbol, day)
            parts.append((partition, group))
    return parts


@lru_cache(maxsize=10_000)  # one batch after the other is of the same partition
def _partition(
    exchange: Exchange, market: Market, data_type: DataType, symbol: Symbol, day: int
) -> Partition:
    encode_symbol(symbol)  # refuse here what could not be written later
    return Partition(exchange, market, data_type, symbol, utc_date(day * _DAY))


def _has_rows(batch: Batch[Any]) -> bool:
    return batch._rows is not None  # noqa: SLF001


_Key = tuple[Symbol, int]  # and the receive day, counted from the epoch


def _rows_by_key(batch: Batch[E]) -> Iterator[tuple[_Key, Batch[E]]]:
    groups: dict[_Key, list[E]] = {}
    for row in batch.rows:
        key = (row.symbol, row.receive_time // _DAY)
        group = groups.get(key)
        if group is None:
            _check_day(key[1], row.receive_time)
            group = groups[key] = []
        group.append(row)
    for key, rows in groups.items():
        yield key, batch if len(groups) == 1 else _part_of(batch, len(rows), rows=rows)


def _columns_by_key(batch: Batch[E]) -> Iterator[tuple[_Key, Batch[E]]]:
    times = batch.columns["receive_time"]
    symbols = batch.columns["symbol"]
    assert isinstance(times, np.ndarray)
    assert isinstance(symbols, np.ndarray)
    days = times // _DAY
    for extreme in (int(days.argmin()), int(days.argmax())):
        _check_day(int(days[extreme]), int(times[extreme]))
    if (days == days[0]).all() and (symbols == symbols[0]).all():
        yield (symbols[0], int(days[0])), batch
        return
    _, symbol_codes = np.unique(symbols, return_inverse=True)
    unique_days, day_codes = np.unique(days, return_inverse=True)
    codes = symbol_codes * len(unique_days) + day_codes
    order = np.argsort(codes, kind="stable")
    cuts = np.flatnonzero(np.diff(codes[order])) + 1
    for indices in np.split(order, cuts):
        first = indices[0]
        columns = {name: _take(batch.columns[name], indices) for name in batch.column_names}
        part = _part_of(batch, len(indices), columns=columns)
        yield (symbols[first], int(days[first])), part


def _part_of(
    batch: Batch[E],
    count: int,
    *,
    rows: list[E] | None = None,
    columns: dict[str, Column] | None = None,
) -> Batch[E]:
    ((origin, _),) = batch.origins
    return Batch(
        batch.kind,
        rows=rows,
        columns=columns,
        origins=[(origin, count)],
        numbers=batch.numbers,
        nbytes=round(batch.nbytes * count / len(batch)),
    )


def _take(column: Column, indices: npt.NDArray[np.intp]) -> Column:
    if not isinstance(column, LevelColumn):
        return column[indices]
    counts = np.diff(column.offsets)[indices]
    offsets = np.zeros(len(indices) + 1, np.int64)
    np.cumsum(counts, out=offsets[1:])
    shift = np.repeat(column.offsets[indices] - offsets[:-1], counts)
    levels = np.arange(offsets[-1]) + shift
    return LevelColumn(offsets, column.price[levels], column.quantity[levels])


def _check_day(day: int, time: Nanoseconds) -> None:
    if day not in _DAYS:
        low, high = (utc_date(bound * _DAY) for bound in (_DAYS[0], _DAYS[-1]))
        raise NumberRangeError(f"receive time {time} ns is not between {low} and {high}")

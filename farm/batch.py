"""The batch: events of one kind, as rows and as columns, either made from the other on demand.

What flows through farm is batches, because one trip through a channel costs 11 us whatever it
carries. A producer fills rows or columns, whichever it has; ``for trade in batch`` makes rows and
``batch.columns["price"]`` makes a NumPy column the first time that it is asked for, and keeps it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import attrgetter
from types import GenericAlias
from typing import Any, Generic, Protocol, TypeVar, cast, overload

import attrs
import msgspec
import numpy as np
import pyarrow as pa

from farm.arrow import columns_to_table, table_to_columns
from farm.columns import (
    Column,
    ColumnType,
    column_types,
    columns_by_name,
    concat_columns,
    from_column,
    to_column,
)
from farm.entities import EVENT_KINDS, Event, data_type_of
from farm.types import DataType, Exchange, Market, NumberMode

__all__ = ["Batch", "Origin", "Source", "concat"]

E = TypeVar("E", bound=Event)


@attrs.frozen
class Origin:
    """Where events come from: a connection of a market, and its incarnation (epoch)."""

    exchange: Exchange
    market: Market
    connection: str
    epoch: int


_ORIGIN_FIELDS = tuple(field.name for field in attrs.fields(Origin))
_ROWS = {
    kind: msgspec.msgpack.Decoder(GenericAlias(list, (event,)))
    for kind, event in EVENT_KINDS.items()
}
_ROW_BYTES = 200  # what an event weighs in a queue, where its frame's size is not known


class _Packed(msgspec.Struct, array_like=True):
    """The envelope of a batch in msgpack."""

    kind: DataType
    numbers: NumberMode
    origins: list[tuple[Origin, int]]
    size: int
    rows: msgspec.Raw


class Source(Protocol):
    """What rows and columns can be made of, both for the first time."""

    def make_rows(self) -> list[Any]:
        """All events as objects."""

    def make_column(self, column: ColumnType) -> Column:
        """One field of all events."""


class Columns(Mapping[str, Column]):
    """The columns of a batch by name, each made when first asked for.

    The event's fields (see :mod:`farm.columns` for their NumPy types), and ``connection`` and
    ``epoch``. Arrays are shared: copy before you write.
    """

    def __init__(self, batch: Batch[Any], filled: dict[str, Column]) -> None:
        self._batch = batch
        self._filled = filled

    def __getitem__(self, name: str) -> Column:
        column = self._filled.get(name)
        if column is None:
            column = self._filled[name] = self._batch._make_column(name)  # noqa: SLF001
        return column

    def __iter__(self) -> Iterator[str]:
        yield from self._batch.column_names

    def __len__(self) -> int:
        return len(self._batch.column_names)


class Batch(Generic[E]):
    """Events of one kind in order, from one read of one connection, or several such together.

    ``kind`` is the class of the events, ``numbers`` the mode of all their prices and quantities,
    ``origins`` the run lengths of where they come from, ``nbytes`` the payload bytes they were
    parsed from (an estimate where that isn't known), by which queues are bounded. ``source`` is
    what rows and columns are made of, until the rows are asked for: they may be changed then (a
    book's verdict is), and columns are of the rows.
    """

    __slots__ = ("_filled", "_rows", "kind", "nbytes", "numbers", "origins", "source")

    def __init__(
        self,
        kind: type[E],
        *,
        rows: list[E] | None = None,
        columns: dict[str, Column] | None = None,
        source: Source | None = None,
        origins: Sequence[tuple[Origin, int]],
        numbers: NumberMode = NumberMode.FLOAT,
        nbytes: int | None = None,
    ) -> None:
        if rows is None and columns is None and source is None:
            raise ValueError("a batch needs rows, columns, or a source of both")
        self.kind = kind
        self.numbers = numbers
        self.origins = origins
        self.source = source
        self._rows = rows
        self._filled = {} if columns is None else columns  # what was made so far
        self.nbytes = len(self) * _ROW_BYTES if nbytes is None else nbytes

    @classmethod
    def of(
        cls,
        rows: list[E],
        *,
        kind: type[E] | None = None,
        connection: str = "",
        epoch: int = 0,
        numbers: NumberMode = NumberMode.FLOAT,
    ) -> Batch[E]:
        """A batch of the given rows, whose own exchange and market make the origins.

        ValueError for no rows and no kind; TypeError where the rows are of more than one kind.
        """
        if kind is None:
            if not rows:
                raise ValueError("an empty batch needs its kind")
            kind = type(rows[0])
        odd = next((row for row in rows if type(row) is not kind), None)
        if odd is not None:
            raise TypeError(f"a batch of {kind.__name__} cannot hold {odd!r}")
        origins = _runs(Origin(row.exchange, row.market, connection, epoch) for row in rows)
        return cls(kind, rows=rows, origins=origins, numbers=numbers)

    @property
    def data_type(self) -> DataType:
        """The kind of the events as an enumeration."""
        return data_type_of(self.kind)

    @property
    def rows(self) -> list[E]:
        """The events as objects."""
        source = self.source  # first, as it is let go of last: a sink's thread may be here too
        rows = self._rows
        if rows is None:
            rows = self._rows = self._make_rows() if source is None else source.make_rows()
            self.source = None
        return rows

    @property
    def has_rows(self) -> bool:
        """Whether the rows are there, so that asking for them costs nothing."""
        return self._rows is not None

    @property
    def columns(self) -> Mapping[str, Column]:
        """The events as NumPy columns, by field name; also ``connection`` and ``epoch``."""
        # Made anew: kept, it would be a cycle, and rows would wait for the garbage collector.
        return Columns(self, self._filled)

    @property
    def column_names(self) -> tuple[str, ...]:
        """Names of all columns."""
        return (*columns_by_name(self.kind), "connection", "epoch")

    def __len__(self) -> int:
        return sum(count for _, count in self.origins)

    def __iter__(self) -> Iterator[E]:
        return iter(self.rows)

    @overload
    def __getitem__(self, index: int) -> E: ...
    @overload
    def __getitem__(self, index: slice) -> Batch[E]: ...
    def __getitem__(self, index: int | slice) -> E | Batch[E]:
        """An event, or a part of the batch (step 1 only); slicing copies no column."""
        if isinstance(index, int):
            return self.rows[index]
        if not isinstance(index, slice):
            raise TypeError(f"a batch has places and slices; columns are in .columns[{index!r}]")
        start, stop, step = index.indices(len(self))
        if step != 1:
            raise ValueError("a batch can be sliced with a step of 1 only")
        part = slice(start, max(start, stop))
        share = len(range(part.start, part.stop)) / len(self) if len(self) else 0
        rows = self._rows if self.source is None else self.rows
        return Batch(
            self.kind,
            rows=rows[part] if rows is not None else None,
            columns=None if rows is not None else self._sliced_columns(part),
            origins=_slice_runs(self.origins, part.start, part.stop),
            numbers=self.numbers,
            nbytes=round(self.nbytes * share),
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Batch):
            return NotImplemented
        return (
            self.kind is other.kind
            and self.numbers is other.numbers
            and _runs_equal(self.origins, other.origins)
            and self.rows == other.rows
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        sources = ", ".join(
            f"{origin.exchange.value}/{origin.market.value} {origin.connection}#{origin.epoch}"
            for origin, _ in self.origins[:3]
        )
        more = ", ..." if len(self.origins) > 3 else ""
        return f"<Batch of {len(self)} {self.kind.__name__} from {sources or 'nowhere'}{more}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickle, (self.to_msgpack(),)

    def to_msgpack(self) -> bytes:
        """The batch as msgpack; Decimals keep their exact text."""
        rows = msgspec.Raw(msgspec.msgpack.encode(self.rows))
        packed = _Packed(self.data_type, self.numbers, list(self.origins), self.nbytes, rows)
        return msgspec.msgpack.encode(packed)

    @classmethod
    def from_msgpack(cls, data: bytes) -> Batch[Any]:
        """The inverse of :meth:`to_msgpack`; msgspec.DecodeError for anything else."""
        packed = msgspec.msgpack.decode(data, type=_Packed)
        return Batch(
            EVENT_KINDS[packed.kind],
            rows=_ROWS[packed.kind].decode(packed.rows),
            origins=packed.origins,
            numbers=packed.numbers,
            nbytes=packed.size,
        )

    def to_arrow(self) -> pa.Table:
        """The batch as an Arrow table, by the versioned schema of its kind.

        Times are int64 nanoseconds. NumberRangeError where a Decimal does not fit decimal128
        with 20 digits before and 18 after the point.
        """
        return columns_to_table(self.kind, self.columns, self.numbers)

    @classmethod
    def from_arrow(cls, table: pa.Table) -> Batch[Any]:
        """A batch from a table made by :meth:`to_arrow`; ValueError for another schema."""
        kind, columns, numbers = table_to_columns(table)
        keys = zip(*(columns[name].tolist() for name in _ORIGIN_FIELDS), strict=True)
        origins = _runs(Origin(Exchange(e), Market(m), c, epoch) for e, m, c, epoch in keys)
        return Batch(kind, columns=dict(columns), origins=origins, numbers=numbers)

    def _make_column(self, name: str) -> Column:
        if name in ("connection", "epoch"):
            return self._origin_column(name)
        column = columns_by_name(self.kind)[name]
        source = self.source
        if source is not None:
            return source.make_column(column)
        return to_column(column, list(map(attrgetter(name), self.rows)), self.numbers)

    def _origin_column(self, name: str) -> Column:
        values = [getattr(origin, name) for origin, _ in self.origins]
        counts = [count for _, count in self.origins]
        return np.repeat(np.array(values, np.int64 if name == "epoch" else object), counts)

    def _make_rows(self) -> list[E]:
        given = self.columns
        fields = [
            from_column(column, given[column.name], self.numbers)
            for column in column_types(self.kind)
        ]
        make = cast("Any", self.kind)
        return [make(*values) for values in zip(*fields, strict=True)]

    def _sliced_columns(self, part: slice) -> dict[str, Column]:
        given = self.columns
        return {name: given[name][part] for name in self.column_names}


def concat(batches: Iterable[Batch[E]]) -> Batch[E]:
    """Batches of one kind and number mode, end to end in the given order.

    ValueError for none at all, or for kinds or modes that differ.
    """
    parts = list(batches)
    if not parts:
        raise ValueError("nothing to concatenate")
    first = parts[0]
    for part in parts:
        if part.kind is not first.kind or part.numbers is not first.numbers:
            raise ValueError(
                f"cannot concatenate {part.kind.__name__} ({part.numbers.value}) "
                f"with {first.kind.__name__} ({first.numbers.value})"
            )
    as_rows = all(part._rows is not None for part in parts)  # noqa: SLF001
    return Batch(
        first.kind,
        rows=[row for part in parts for row in part.rows] if as_rows else None,
        columns=None
        if as_rows
        else {
            name: concat_columns([part.columns[name] for part in parts])
            for name in first.column_names
        },
        origins=_merge_runs(run for part in parts for run in part.origins),
        numbers=first.numbers,
        nbytes=sum(part.nbytes for part in parts),
    )


def _unpickle(data: bytes) -> Batch[Any]:
    return Batch.from_msgpack(data)


def _runs(origins: Iterable[Origin]) -> list[tuple[Origin, int]]:
    return _merge_runs((origin, 1) for origin in origins)


def _merge_runs(runs: Iterable[tuple[Origin, int]]) -> list[tuple[Origin, int]]:
    merged: list[tuple[Origin, int]] = []
    for origin, count in runs:
        if merged and merged[-1][0] == origin:
            merged[-1] = (origin, merged[-1][1] + count)
        elif count:
            merged.append((origin, count))
    return merged


def _runs_equal(a: Iterable[tuple[Origin, int]], b: Iterable[tuple[Origin, int]]) -> bool:
    return _merge_runs(a) == _merge_runs(b)


def _slice_runs(
    runs: Sequence[tuple[Origin, int]], start: int, stop: int
) -> list[tuple[Origin, int]]:
    kept, position = [], 0
    for origin, count in runs:
        overlap = min(stop, position + count) - max(start, position)
        if overlap > 0:
            kept.append((origin, overlap))
        position += count
    return kept

"""How the fields of an event become columns, and columns become fields again.

Each field of an event class has one :class:`ColumnType`, read from its annotation. As NumPy:

====================  =============================================================
field                 column
====================  =============================================================
int                   int64
int, maybe None       int64; None is :data:`ABSENT`, which NumPy reads as NaT in times
bool                  bool
bool, maybe None      int8: 1, 0, and -1 for None
price, quantity       float64; None is NaN (the parsers refuse NaN). Decimal: object
:class:`Side`         int8: 1 buy, -1 sell, 0 unknown, so that ``side * quantity`` is signed
other enumerations    object: the value's text, or None
str                   object
book levels           :class:`LevelColumn`: offsets, prices, quantities
====================  =============================================================
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from enum import Enum
from types import UnionType
from typing import Any, TypeAlias, get_args, get_origin, get_type_hints

import attrs
import numpy as np
import numpy.typing as npt

from farm.entities import Level
from farm.types import NumberMode, Side

__all__ = [
    "ABSENT",
    "Array",
    "Column",
    "ColumnKind",
    "ColumnType",
    "LevelColumn",
    "column_types",
    "columns_by_name",
    "concat_columns",
    "from_column",
    "repeated",
    "to_column",
]

ABSENT = np.iinfo(np.int64).min
"""What stands for None in an int64 column: ``column != ABSENT`` selects what is there."""

_SIDE_CODES = {Side.BUY: 1, Side.SELL: -1, Side.UNKNOWN: 0}
_SIDES = {code: side for side, code in _SIDE_CODES.items()}

Array: TypeAlias = npt.NDArray[Any]


class ColumnKind(Enum):
    """The families of columns."""

    INT = "int"
    BOOL = "bool"
    NUMBER = "number"
    SIDE = "side"
    ENUM = "enum"
    TEXT = "text"
    LEVELS = "levels"


@attrs.frozen
class ColumnType:
    """The type of one column: its family, whether None may occur, the enumeration, if any, and
    whether a number may be negative."""

    name: str
    kind: ColumnKind
    nullable: bool = False
    enum: type[Enum] | None = None
    signed: bool = False


@attrs.frozen(eq=False)
class LevelColumn:
    """Book levels of many updates, end to end.

    Update ``i`` has ``price[offsets[i]:offsets[i + 1]]`` and the same of ``quantity``;
    ``offsets`` is int64 with one entry more than there are updates.
    """

    offsets: npt.NDArray[np.int64]
    price: Array
    quantity: Array

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, rows: slice) -> LevelColumn:
        start, stop, step = rows.indices(len(self))
        if step != 1:
            raise ValueError("book levels can be sliced with a step of 1 only")
        stop = max(start, stop)
        low, high = int(self.offsets[start]), int(self.offsets[stop])
        offsets = self.offsets[start : stop + 1] - low
        return LevelColumn(offsets, self.price[low:high], self.quantity[low:high])

    def levels(self) -> Iterator[list[Level[Any]]]:
        """The levels of each update, as objects."""
        pairs = [Level(p, q) for p, q in zip(self.price.tolist(), self.quantity.tolist())]  # noqa: B905 (equal lengths by construction)
        bounds = self.offsets.tolist()
        for i in range(len(self)):
            yield pairs[bounds[i] : bounds[i + 1]]


Column: TypeAlias = Array | LevelColumn


_column_types: dict[type[Any], tuple[ColumnType, ...]] = {}
_by_name: dict[type[Any], dict[str, ColumnType]] = {}


def column_types(kind: type[Any]) -> tuple[ColumnType, ...]:
    """The columns of an event class, in the order of its fields."""
    known = _column_types.get(kind)
    if known is None:
        hints = get_type_hints(kind)
        known = tuple(
            attrs.evolve(
                _column_type(f.name, hints[f.name]), signed=f.metadata.get("signed", False)
            )
            for f in attrs.fields(kind)
        )
        _column_types[kind] = known
    return known


def columns_by_name(kind: type[Any]) -> dict[str, ColumnType]:
    """The same by their names."""
    known = _by_name.get(kind)
    if known is None:
        known = _by_name[kind] = {column.name: column for column in column_types(kind)}
    return known


def _column_type(name: str, hint: Any) -> ColumnType:
    members = set(get_args(hint)) if isinstance(hint, UnionType) else {hint}
    nullable = type(None) in members
    members.discard(type(None))
    if members == {float, Decimal}:
        return ColumnType(name, ColumnKind.NUMBER, nullable)
    (member,) = members
    if get_origin(member) is Sequence:
        return ColumnType(name, ColumnKind.LEVELS)
    if member is Side:
        return ColumnType(name, ColumnKind.SIDE, nullable, Side)
    if isinstance(member, type) and issubclass(member, Enum):
        return ColumnType(name, ColumnKind.ENUM, nullable, member)
    family = {int: ColumnKind.INT, bool: ColumnKind.BOOL, str: ColumnKind.TEXT}[member]
    return ColumnType(name, family, nullable)


def _objects(values: Sequence[Any]) -> Array:
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column


def _numbers(values: Sequence[Any], mode: NumberMode) -> Array:
    if mode is not NumberMode.FLOAT:
        return _objects(values)
    column = np.empty(len(values), np.float64)
    try:
        struct.pack_into(f"{len(values)}d", column.data, 0, *values)  # three times as fast
    except struct.error:  # None among them
        return np.array(values, np.float64)
    return column


def _level_column(values: Sequence[Sequence[Level[Any]]], mode: NumberMode) -> LevelColumn:
    offsets = np.zeros(len(values) + 1, np.int64)
    np.cumsum([len(levels) for levels in values], out=offsets[1:])
    flat = [level for levels in values for level in levels]
    prices = _numbers([level.price for level in flat], mode)
    return LevelColumn(offsets, prices, _numbers([level.quantity for level in flat], mode))


def to_column(column: ColumnType, values: Sequence[Any], mode: NumberMode) -> Column:
    """A column from the values of one field."""
    return _TO_COLUMN[column.kind](column, values, mode)


def repeated(column: ColumnType, value: Any, count: int) -> Array:
    """A column of floats, texts and so on that has the same value in every row."""
    one = _one(column, value)
    made = np.empty(count, one.dtype)
    made.fill(one[0])
    return made


@functools.lru_cache(maxsize=10_000)  # symbols, and the values of enumerations
def _one(column: ColumnType, value: Any) -> Array:
    one = to_column(column, [value], NumberMode.FLOAT)
    assert isinstance(one, np.ndarray)
    return one


def _ints_to_column(_column: ColumnType, values: Sequence[Any], _mode: NumberMode) -> Column:
    try:
        return np.fromiter(values, np.int64, len(values))
    except TypeError:  # None among them; most columns that may have one have none
        present = [ABSENT if value is None else value for value in values]
        return np.fromiter(present, np.int64, len(values))


def _bools_to_column(column: ColumnType, values: Sequence[Any], _mode: NumberMode) -> Column:
    kind = np.int8 if column.nullable else np.bool_
    try:
        return np.frombuffer(bytearray(values), kind)
    except TypeError:
        return np.array([-1 if value is None else value for value in values], kind)


def _sides_to_column(_column: ColumnType, values: Sequence[Any], _mode: NumberMode) -> Column:
    return np.array([_SIDE_CODES[value] for value in values], np.int8)


def _enums_to_column(_column: ColumnType, values: Sequence[Any], _mode: NumberMode) -> Column:
    # What `value` reads by a descriptor, at a tenth of the price.
    return _objects([None if value is None else value._value_ for value in values])


_TO_COLUMN: dict[ColumnKind, Callable[[ColumnType, Sequence[Any], NumberMode], Column]] = {
    ColumnKind.INT: _ints_to_column,
    ColumnKind.BOOL: _bools_to_column,
    ColumnKind.NUMBER: lambda _column, values, mode: _numbers(values, mode),
    ColumnKind.SIDE: _sides_to_column,
    ColumnKind.ENUM: _enums_to_column,
    ColumnKind.TEXT: lambda _column, values, _mode: _objects(values),
    ColumnKind.LEVELS: lambda _column, values, mode: _level_column(values, mode),
}


def from_column(column: ColumnType, data: Column, mode: NumberMode) -> list[Any]:
    """The values of one field from its column: the inverse of :func:`to_column`."""
    if isinstance(data, LevelColumn):
        return list(data.levels())
    values: list[Any] = data.tolist()
    if column.kind is ColumnKind.SIDE:
        return [_SIDES[code] for code in values]
    if column.kind is ColumnKind.ENUM:
        assert column.enum is not None
        members = {member.value: member for member in column.enum}
        return [members.get(value) for value in values]
    if not column.nullable:
        return values
    if column.kind is ColumnKind.INT:
        return [None if value == ABSENT else value for value in values]
    if column.kind is ColumnKind.BOOL:
        return [None if value < 0 else value == 1 for value in values]
    if column.kind is ColumnKind.NUMBER and mode is NumberMode.FLOAT:
        return [None if value != value else value for value in values]  # NaN
    return values


def concat_columns(parts: Sequence[Column]) -> Column:
    """Columns of one field, end to end."""
    level_parts = [part for part in parts if isinstance(part, LevelColumn)]
    if not level_parts:
        return np.concatenate([part for part in parts if isinstance(part, np.ndarray)])
    offsets, base = [np.zeros(1, np.int64)], 0
    for part in level_parts:
        offsets.append(part.offsets[1:] + base)
        base += len(part.price)
    return LevelColumn(
        np.concatenate(offsets),
        np.concatenate([part.price for part in level_parts]),
        np.concatenate([part.quantity for part in level_parts]),
    )

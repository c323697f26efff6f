"""How bundles cross the link between a shard and its parent: as bytes, and back.

A batch crosses in the form that it has. Rows go as msgpack. What was decoded and not asked for yet
goes as columns, for to make rows of it would cost more: one *sample* of its events says what is the
same in all of them, and only the columns that vary are sent. A few events are cheaper as rows.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence, Sized
from decimal import Decimal
from itertools import repeat
from typing import Any, TypeAlias, TypeVar

import msgspec
import numpy as np

from farm.batch import Batch, Origin
from farm.bundle import Bundle
from farm.columns import (
    Array,
    Column,
    ColumnKind,
    ColumnType,
    LevelColumn,
    column_types,
    from_column,
    to_column,
)
from farm.entities import EVENT_KINDS
from farm.errors import LinkError
from farm.exchanges.decoded import Decoded
from farm.exchanges.recipe import Recipe
from farm.exchanges.streams import Stream
from farm.types import DataType, Nanoseconds, NumberMode

__all__ = ["decode_bundle", "encode_bundle"]

FEW = 20
"""Fewer events than these cross as rows, which then take less time, all told."""

_INT, _FLOAT, _CODE, _BOOL = map(np.dtype, ("<i8", "<f8", "i1", "?"))
_DTYPES = {ColumnKind.INT: _INT, ColumnKind.NUMBER: _FLOAT}
_DTYPES |= {ColumnKind.SIDE: _CODE, ColumnKind.BOOL: _CODE}
_NUMBER = ColumnType("", ColumnKind.NUMBER)
_CODES = {  # what may stand in a column of single bytes, by (kind, nullable)
    (ColumnKind.SIDE, False): b"\x00\x01\xff",
    (ColumnKind.BOOL, False): b"\x00\x01",
    (ColumnKind.BOOL, True): b"\x00\x01\xff",
}
_NO_BUNDLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class _Varying(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """The columns that are not the same in all rows, in the order of the event's fields.

    Bit i of ``mask`` is set for the i-th field. ``arrays`` are the bytes of NumPy's, little-endian;
    book levels are three: offsets, prices, quantities. ``words`` are texts that may be None, and
    the values of enumerations.
    """

    mask: int
    arrays: list[bytes]
    texts: list[list[str]]
    words: list[list[str | None]]
    decimals: list[list[Decimal | None]]


class _Packed(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """A bundle. Each batch is its rows, or the sample of them and what varies."""

    origin: Origin
    serial: int
    receive_time: Nanoseconds
    nbytes: int
    batches: list[tuple[msgspec.Raw, _Varying | None]]


def encode_bundle(bundle: Bundle) -> bytes:
    """What a reader of the bundle needs: where it comes from, its serial and time, its batches.

    What it tells of its connection (``up``, ``ended`` and so on) and what was not parsed stays.
    """
    batches = [_pack(batch) for batch in bundle.batches]
    return msgspec.msgpack.encode(
        _Packed(bundle.origin, bundle.serial, bundle.receive_time, bundle.nbytes, batches)
    )


def decode_bundle(data: bytes | bytearray | memoryview) -> Bundle:
    """The inverse of :func:`encode_bundle`; LinkError for anything else.

    Nothing of `data` is kept. Columns of numbers may be read-only: copy before you write.
    """
    try:
        packed = msgspec.msgpack.decode(data, type=_Packed)
        batches = [_unpack(rows, varying) for rows, varying in packed.batches]
    except _NO_BUNDLE as error:
        raise LinkError(f"no bundle: {error}") from error
    return Bundle(packed.origin, packed.serial, packed.receive_time, batches, nbytes=packed.nbytes)


@functools.lru_cache
def _varying(kind: DataType, mask: int) -> tuple[ColumnType, ...]:
    """The columns of a mask; LinkError if it is none of this kind of event, of which book levels
    always vary."""
    columns = column_types(EVENT_KINDS[kind])
    varying = tuple(column for index, column in enumerate(columns) if mask >> index & 1)
    of_levels = {column for column in columns if column.kind is ColumnKind.LEVELS}
    if not 0 < mask < 1 << len(columns) or not of_levels.issubset(varying):
        raise LinkError(f"no bundle: no such columns of a {kind.value}")
    return varying


# --------------------------------------------------------------------------------------- encoding
def _pack(batch: Batch[Any]) -> tuple[msgspec.Raw, _Varying | None]:
    source = batch.source  # first, as it is let go of last: a sink's thread may make the rows
    if batch.has_rows:
        return _with_rows(batch, batch.rows), None
    if len(batch) < FEW:
        return _with_rows(batch, batch.rows if source is None else source.make_rows()), None
    if isinstance(source, Decoded):
        mask = _mask_of(source.recipe, isinstance(source.streams, Stream), source.places is None)
        return _with_rows(batch, [source.last_row()]), _pack_columns(batch, mask)
    mask = _mask_of_columns(batch)
    if not mask:  # then nothing would tell their number
        return _with_rows(batch, batch.rows), None
    return _with_rows(batch, batch[:1].rows), _pack_columns(batch, mask)


def _with_rows(batch: Batch[Any], rows: list[Any]) -> msgspec.Raw:
    """The batch with these rows in place of its own, which are not made for that."""
    given = Batch(
        batch.kind, rows=rows, origins=batch.origins, numbers=batch.numbers, nbytes=batch.nbytes
    )
    return msgspec.Raw(given.to_msgpack())


def _pack_columns(batch: Batch[Any], mask: int) -> _Varying:
    packed = _Varying(mask, [], [], [], [])
    given = batch.columns  # which keeps them: a sink of the shard's own need not make them again
    for column in _varying(batch.data_type, mask):
        data = given[column.name]
        if isinstance(data, LevelColumn):
            packed.arrays.append(_bytes(data.offsets, _INT))
            _pack_numbers(packed, data.price, batch.numbers)
            _pack_numbers(packed, data.quantity, batch.numbers)
        elif column.kind is ColumnKind.NUMBER:
            _pack_numbers(packed, data, batch.numbers)
        elif column.kind is ColumnKind.INT:
            packed.arrays.append(_bytes(data, _INT))
        elif column.kind is ColumnKind.TEXT and not column.nullable:
            packed.texts.append(data.tolist())
        elif column.kind in (ColumnKind.TEXT, ColumnKind.ENUM):
            packed.words.append(data.tolist())
        else:
            packed.arrays.append(_bytes(data, _CODE))
    return packed


def _pack_numbers(packed: _Varying, data: Array, numbers: NumberMode) -> None:
    if numbers is NumberMode.FLOAT:
        packed.arrays.append(_bytes(data, _FLOAT))
    else:
        packed.decimals.append(data.tolist())


def _bytes(data: Array, dtype: np.dtype[Any]) -> bytes:
    return data.astype(dtype, copy=False).tobytes()


@functools.cache
def _mask_of(recipe: Recipe, one_stream: bool, one_place: bool) -> int:
    """Which columns vary in what was decoded by this recipe."""
    names = {"ordinal"} if one_place else {"ordinal", "row"}
    for name, field in recipe.fields.items():
        of_all = field.of_session or (one_stream and field.of_stream)
        if recipe.values_of[name] is not None and not of_all:
            names.add(name)
    columns = column_types(recipe.kind)
    return sum(1 << index for index, column in enumerate(columns) if column.name in names)


def _mask_of_columns(batch: Batch[Any]) -> int:
    """Which columns vary where all are there."""
    given = batch.columns
    return sum(
        1 << index
        for index, column in enumerate(column_types(batch.kind))
        if not _is_same(column, given[column.name], batch.numbers)
    )


def _is_same(column: ColumnType, data: Column, numbers: NumberMode) -> bool:
    """Whether all values are one, to the bit; of Decimals, which may be equal in several texts,
    that is not asked."""
    if isinstance(data, LevelColumn):
        return False
    if column.kind is ColumnKind.NUMBER and numbers is not NumberMode.FLOAT:
        return False
    if data.dtype == object:
        values: list[Any] = data.tolist()
        return values.count(values[0]) == len(values)
    raw = data.tobytes()
    return raw == raw[: data.itemsize] * len(data)


# --------------------------------------------------------------------------------------- decoding
def _unpack(rows: msgspec.Raw, varying: _Varying | None) -> Batch[Any]:
    batch = Batch.from_msgpack(rows)
    counts = [count for _, count in batch.origins]
    if counts and min(counts) < 0:
        raise LinkError("no bundle: fewer than no events")
    count = sum(counts)
    if varying is None:
        if len(batch.rows) != count:
            raise LinkError(f"no bundle: {len(batch.rows)} rows of {count} events")
        return batch
    if len(batch.rows) != 1:
        raise LinkError("no bundle: columns without a sample")
    sent = _Checked(varying, count, batch.numbers).columns(batch.data_type)
    return Batch(
        batch.kind,
        source=_Received(batch.rows[0], sent, count, batch.numbers),
        origins=batch.origins,
        numbers=batch.numbers,
        nbytes=batch.nbytes,
    )


_Sent: TypeAlias = bytes | Sequence[Any] | LevelColumn
"""A column as it came, until it is asked for."""


class _Received:
    """What a batch is made of that came as columns: those that vary, and a sample for the rest."""

    __slots__ = ("_count", "_numbers", "_sample", "_sent")

    def __init__(
        self, sample: Any, sent: dict[str, _Sent], count: int, numbers: NumberMode
    ) -> None:
        self._sample = sample
        self._sent = sent
        self._count = count
        self._numbers = numbers

    def make_rows(self) -> list[Any]:
        """All events as objects."""
        kind = type(self._sample)
        return list(map(kind, *map(self._values, column_types(kind))))

    def make_column(self, column: ColumnType) -> Column:
        """One field of all events."""
        sent = self._sent.get(column.name)
        if sent is None:
            one = to_column(column, [getattr(self._sample, column.name)], self._numbers)
            assert isinstance(one, np.ndarray)
            return np.repeat(one, self._count)
        if isinstance(sent, LevelColumn):
            return sent
        return _array(sent, column)

    def _values(self, column: ColumnType) -> Sequence[Any] | repeat[Any]:
        if column.name not in self._sent:
            return repeat(getattr(self._sample, column.name), self._count)
        return from_column(column, self.make_column(column), self._numbers)


def _array(sent: bytes | Sequence[Any], column: ColumnType) -> Array:
    if isinstance(sent, bytes):
        return np.frombuffer(sent, _dtype(column))
    array = np.empty(len(sent), object)
    array[:] = sent
    return array


def _dtype(column: ColumnType) -> np.dtype[Any]:
    if column.kind is ColumnKind.BOOL and not column.nullable:
        return _BOOL
    return _DTYPES[column.kind]


class _Checked:
    """Takes columns off what was sent: each must have a value for each event, and of its kind."""

    def __init__(self, varying: _Varying, count: int, numbers: NumberMode) -> None:
        self._mask = varying.mask
        self._count = count
        self._numbers = numbers
        self._arrays = iter(varying.arrays)
        self._texts = iter(varying.texts)
        self._words = iter(varying.words)
        self._decimals = iter(varying.decimals)

    def columns(self, kind: DataType) -> dict[str, _Sent]:
        """All that vary, by name; LinkError for anything that does not fit."""
        taken = {column.name: self._take(column) for column in _varying(kind, self._mask)}
        for rest in (self._arrays, self._texts, self._words, self._decimals):
            if next(rest, None) is not None:
                raise LinkError("no bundle: more columns than were named")
        return taken

    def _take(self, column: ColumnType) -> _Sent:
        kind, count = column.kind, self._count
        if kind is ColumnKind.INT:
            return self._bytes(count * _INT.itemsize)
        if kind is ColumnKind.NUMBER:
            return self._number(count, column.nullable)
        if kind is ColumnKind.TEXT and not column.nullable:
            return _as_long(self._texts, count)
        if kind is ColumnKind.LEVELS:
            return self._levels()
        if kind in (ColumnKind.TEXT, ColumnKind.ENUM):
            words = _as_long(self._words, count)
            if not (column.enum is None or _words_of(column).issuperset(words)):
                raise LinkError(f"no bundle: unknown words in {column.name}")
            return words
        codes = self._bytes(count * _CODE.itemsize)
        if codes.translate(None, _CODES[kind, column.nullable]):
            raise LinkError(f"no bundle: unknown codes in {column.name}")
        return codes

    def _levels(self) -> LevelColumn:
        offsets = np.frombuffer(self._bytes((self._count + 1) * _INT.itemsize), _INT)
        if offsets[0] != 0 or (offsets[1:] < offsets[:-1]).any():
            raise LinkError("no bundle: book levels out of order")
        price, quantity = (self._number(int(offsets[-1]), False) for _ in range(2))
        return LevelColumn(offsets, _array(price, _NUMBER), _array(quantity, _NUMBER))

    def _number(self, count: int, nullable: bool) -> bytes | Sequence[Any]:
        if self._numbers is NumberMode.FLOAT:
            return self._bytes(count * _FLOAT.itemsize)
        values = _as_long(self._decimals, count)
        if not nullable and None in values:
            raise LinkError("no bundle: a number is missing")
        return values

    def _bytes(self, size: int) -> bytes:
        return _as_long(self._arrays, size)


S = TypeVar("S", bound=Sized)


def _as_long(sent: Iterator[S], length: int) -> S:
    """The next of these, if it has that length."""
    taken = next(sent, None)
    if taken is None or len(taken) != length:
        raise LinkError("no bundle: fewer or more values than events")
    return taken


@functools.cache
def _words_of(column: ColumnType) -> frozenset[str | None]:
    assert column.enum is not None
    return frozenset([*(member.value for member in column.enum), *[None] * column.nullable])

"""How the numbers in venue text are decoded: float64 by default, exact Decimal by setting."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, TypeAlias

import attrs
import msgspec

from farm.columns import ColumnKind, column_types
from farm.entities import Event
from farm.exchanges.streams import Stream
from farm.types import Nanoseconds, NumberMode

__all__ = [
    "MS",
    "US",
    "Id",
    "Micros",
    "Millis",
    "Parser",
    "ParserContext",
    "UnknownValues",
    "exactly",
    "number_of",
    "number_type",
    "signed_type",
]

MS = 1_000_000
"""Nanoseconds in a millisecond, the unit of venue times."""

US = 1_000
"""Nanoseconds in a microsecond, the unit that Binance spot can be asked for."""

_MOST_VALUES = 1000
_MOST_CHARACTERS = 100

Parser = Callable[[bytes, Stream, Nanoseconds, int, list[Any]], None]
"""Parse one frame: (raw, stream, receive time, ordinal, rows to append to)."""


class UnknownValues(Counter[str]):
    """How often each value was met that no document names, as ``place=value``.

    Long values are cut, and all beyond the first thousand count as others of their place: a venue
    must not fill our memory with names.
    """

    def note(self, place: str, value: object) -> None:
        """Count one."""
        key = f"{place}={str(value)[:_MOST_CHARACTERS]}"
        if key not in self and len(self) >= _MOST_VALUES:
            key = f"{place}=(other)"
        self[key] += 1


@attrs.frozen
class ParserContext:
    """What the parsers of one session share.

    ``extras`` takes events of other kinds than the stream's own (a ticker's mark price, the ids
    that placeholder trades spend). ``unknown`` counts values that no document names, ``foreign``
    rows of another market on streams that carry two. ``microseconds``: the venue was asked for
    such times. ``universe``: how rows of our market are marked there. ``shared`` are the parsers
    that serve all streams of one shape, by whatever makes them.
    """

    numbers: NumberMode = NumberMode.FLOAT
    microseconds: bool = False
    universe: int | None = None
    extras: list[Event] = attrs.field(factory=list)
    unknown: UnknownValues = attrs.field(factory=UnknownValues)
    foreign: Counter[str] = attrs.field(factory=Counter)
    shared: dict[object, Parser] = attrs.field(factory=dict)


Id: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
"""An id or a count, as columns hold it."""

Millis: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=(2**63 - 1) // MS)]
"""A venue's time: milliseconds since the epoch, of which the nanoseconds fit a column; a time in
microseconds is refused."""

Micros: TypeAlias = Annotated[int, msgspec.Meta(ge=10**14, le=(2**63 - 1) // US)]
"""A venue's time in microseconds; one in milliseconds is refused."""

# msgspec takes "NaN" and "inf" for numbers; bounds refuse both in C, at no cost that shows.
_FLOAT = Annotated[float, msgspec.Meta(ge=0.0, le=1e300)]
_SIGNED_FLOAT = Annotated[float, msgspec.Meta(ge=-1e300, le=1e300)]
_ZERO = Decimal(0)
_LARGEST = Decimal("1e300")  # the same bound; far beyond it Decimal arithmetic overflows


def number_type(mode: NumberMode) -> Any:
    """The type to decode prices and quantities with: none of them is negative."""
    return _FLOAT if mode is NumberMode.FLOAT else Decimal


def signed_type(mode: NumberMode) -> Any:
    """The type to decode changes and rates with, which may be negative."""
    return _SIGNED_FLOAT if mode is NumberMode.FLOAT else Decimal


def number_of(mode: NumberMode, text: str, *, signed: bool = False) -> Any:
    """The number in `text`, None for ``""`` (a venue's null). ValueError for what is none, NaN
    and infinities among it, and for negative ones unless `signed`."""
    if not text:
        return None
    if mode is NumberMode.DECIMAL:
        try:
            exact = Decimal(text)
        except InvalidOperation:
            raise ValueError(f"{text!r} is no number") from None
        _check("it", exact, signed=signed)
        return exact
    value = float(text)
    if not (-1e300 if signed else 0.0) <= value <= 1e300:
        raise ValueError(f"{text!r} is not a number that a venue can mean")
    return value


def exactly(context: ParserContext, parse: Parser) -> Parser:
    """`parse`, and in Decimal mode a check of what it made: msgspec cannot bound Decimals.

    ValueError for NaN, infinities, numbers out of all range, and negative ones where the field is
    not marked as signed; rows of the bad frame are taken back.
    """
    if context.numbers is NumberMode.FLOAT:
        return parse
    extras = context.extras

    def checked(
        raw: bytes, stream: Stream, time: Nanoseconds, ordinal: int, rows: list[Any]
    ) -> None:
        mark, extra_mark = len(rows), len(extras)
        parse(raw, stream, time, ordinal, rows)
        try:
            for row in (*rows[mark:], *extras[extra_mark:]):
                _check_row(row)
        except ValueError:
            del rows[mark:], extras[extra_mark:]
            raise

    return checked


def _check_row(row: Event) -> None:
    for column in column_types(type(row)):
        if column.kind is ColumnKind.NUMBER:
            _check(column.name, getattr(row, column.name), signed=column.signed)
        elif column.kind is ColumnKind.LEVELS:
            for level in getattr(row, column.name):
                _check(column.name, level.price)
                _check(column.name, level.quantity)


def _check(name: str, value: Decimal | None, *, signed: bool = False) -> None:
    if value is None:
        return
    lowest = -_LARGEST if signed else _ZERO
    if not (value.is_finite() and lowest <= value <= _LARGEST):
        raise ValueError(f"{name} is {value}, not a number that a price or quantity can have")

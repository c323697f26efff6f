"""How the numbers in venue text are decoded: float64 by default, exact Decimal by setting."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Any, TypeAlias

import msgspec

from farm.columns import ColumnKind, column_types
from farm.entities import Event, Level
from farm.exchanges.streams import Stream
from farm.types import Nanoseconds, NumberMode

__all__ = ["MS", "Id", "Millis", "Parser", "exactly", "number_type"]

MS = 1_000_000
"""Nanoseconds in a millisecond, the unit of all venue times here."""

Parser = Callable[[bytes, Stream, Nanoseconds, int, list[Any]], None]
"""Parse one frame: (raw, stream, receive time, ordinal, rows to append to)."""

Id: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
"""An id or a count, as columns hold it."""

Millis: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=(2**63 - 1) // MS)]
"""A venue's time: milliseconds since the epoch, of which the nanoseconds fit a column."""

# msgspec takes "NaN" and "inf" for numbers; bounds refuse both in C, at no cost that shows.
_FLOAT = Annotated[float, msgspec.Meta(ge=0.0, le=1e300)]
_LARGEST = Decimal("1e300")  # the same bound; far beyond it Decimal arithmetic overflows


def number_type(mode: NumberMode) -> Any:
    """The type to decode prices and quantities with: none of them is negative."""
    return _FLOAT if mode is NumberMode.FLOAT else Decimal


def exactly(mode: NumberMode, kind: type[Event], parse: Parser) -> Parser:
    """`parse`, and in Decimal mode a check of what it made: msgspec cannot bound Decimals.

    ValueError for NaN, infinities, negative numbers and those out of all range; rows of the bad
    frame are taken back.
    """
    if mode is NumberMode.FLOAT:
        return parse
    columns = column_types(kind)
    fields = [c.name for c in columns if c.kind is ColumnKind.NUMBER]
    ladders = [c.name for c in columns if c.kind is ColumnKind.LEVELS]

    def checked(
        raw: bytes, stream: Stream, time: Nanoseconds, ordinal: int, rows: list[Any]
    ) -> None:
        mark = len(rows)
        parse(raw, stream, time, ordinal, rows)
        try:
            for row in rows[mark:]:
                for name in fields:
                    _check(name, getattr(row, name))
                for name in ladders:
                    for level in getattr(row, name):
                        _check_level(name, level)
        except ValueError:
            del rows[mark:]
            raise

    return checked


def _check(name: str, value: Decimal | None) -> None:
    if value is not None and not (value.is_finite() and 0 <= value <= _LARGEST):
        raise ValueError(f"{name} is {value}, not a number that a price or quantity can have")


def _check_level(name: str, level: Level[Decimal]) -> None:
    _check(name, level.price)
    _check(name, level.quantity)

"""Hypothesis strategies for events of every kind, in both number modes."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import attrs
from hypothesis import strategies as st

from farm.batch import Batch, Origin
from farm.columns import ColumnKind, ColumnType, column_types
from farm.entities import EVENT_KINDS, Event, Level
from farm.types import Exchange, Market, NumberMode

EXACT_INTS = st.integers(-(2**63) + 1, 2**63 - 1)  # the lowest int64 stands for None
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
DECIMALS = st.decimals(
    min_value=Decimal(-(10**19)), max_value=Decimal(10**19), places=18, allow_nan=False
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


def numbers(mode: NumberMode) -> st.SearchStrategy[Any]:
    return FLOATS if mode is NumberMode.FLOAT else DECIMALS


def _values(column: ColumnType, mode: NumberMode) -> st.SearchStrategy[Any]:
    number = numbers(mode)
    if column.kind is ColumnKind.LEVELS:
        return st.lists(st.builds(Level, number, number), max_size=4)
    if column.enum is not None:
        values: st.SearchStrategy[Any] = st.sampled_from(list(column.enum))
    else:
        values = {
            ColumnKind.INT: EXACT_INTS,
            ColumnKind.BOOL: st.booleans(),
            ColumnKind.NUMBER: number,
            ColumnKind.TEXT: TEXTS,
        }[column.kind]
    return st.none() | values if column.nullable else values


def events(kind: type[Event], mode: NumberMode) -> st.SearchStrategy[Any]:
    return st.builds(kind, **{c.name: _values(c, mode) for c in column_types(kind)})


def plain(kind: type[Event], mode: NumberMode = NumberMode.FLOAT, **given: Any) -> Any:
    """An event of this kind that says what is `given`, and else something plain."""
    values = {column.name: _plain(column, mode) for column in column_types(kind)}
    return kind(**values | given)


def _plain(column: ColumnType, mode: NumberMode) -> Any:
    if column.kind is ColumnKind.LEVELS:
        return []
    if column.enum is not None:
        return next(iter(column.enum))
    return {
        ColumnKind.INT: 1,
        ColumnKind.BOOL: False,
        ColumnKind.NUMBER: 1.5 if mode is NumberMode.FLOAT else Decimal("1.5"),
        ColumnKind.TEXT: "x",
    }[column.kind]


@st.composite
def batches(
    draw: st.DrawFn, kind: type[Event] | None = None, mode: NumberMode | None = None
) -> Batch[Any]:
    """A batch of any kind and mode: one read's, or several reads' put together."""
    kind = kind or draw(st.sampled_from(list(EVENT_KINDS.values())))
    mode = mode or draw(st.sampled_from(list(NumberMode)))
    origins, rows = [], []
    for _ in range(draw(st.integers(0, 3))):
        part = draw(st.lists(events(kind, mode), min_size=1, max_size=3))
        origin = Origin(
            draw(st.sampled_from(list(Exchange))),
            draw(st.sampled_from(list(Market))),
            draw(TEXTS),
            draw(st.integers(0, 2**40)),
        )
        rows += [attrs.evolve(row, exchange=origin.exchange, market=origin.market) for row in part]
        origins.append((origin, len(part)))
    return Batch(kind, rows=rows, origins=origins, numbers=mode)

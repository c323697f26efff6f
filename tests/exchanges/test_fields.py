"""What a field says of one event, and of a column of them, is the same."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from farm.columns import column_types, from_column
from farm.entities import Trade
from farm.exchanges.fields import OF_STREAM, Field, same, side, taker_side, text, time
from farm.exchanges.recipe import Recipe
from farm.types import NumberMode, Side

SIDES = {"Buy": Side.BUY, "Sell": Side.SELL}
WIRES = [
    SimpleNamespace(i="a", n=7, p=1.5, q=2.0, T=3, m=True, S="Buy"),
    SimpleNamespace(i="b", n=8, p=2.5, q=1.0, T=4, m=False, S="Sell"),
    SimpleNamespace(i="c", n=9, p=3.5, q=4.0, T=5, m=True, S="Hold"),
]


def recipe(**fields: Field) -> Recipe:
    given = {"id": same("wire.i"), "price": same("wire.p"), "quantity": same("wire.q")}
    given |= {"side": taker_side("wire.m"), "exchange_time": time("wire.T")}
    return Recipe(Trade, {**OF_STREAM, **given, "event_time": time("wire.T"), **fields})


@pytest.mark.parametrize(
    ("name", "field", "right"),
    [
        ("side", taker_side("wire.m"), [Side.SELL, Side.BUY, Side.SELL]),
        ("side", side("wire.S", SIDES), [Side.BUY, Side.SELL, Side.UNKNOWN]),
        ("exchange_time", time("wire.T"), [3_000, 4_000, 5_000]),
        ("id", text("wire.n"), ["7", "8", "9"]),
        ("price", same("wire.p"), [1.5, 2.5, 3.5]),
    ],
)
def test_rows_and_columns_say_the_same(name: str, field: Field, right: list[Any]) -> None:
    made = recipe(**{name: field})
    stream = SimpleNamespace(exchange=None, market=None, symbol="BTCUSDT")
    rows = made.make_rows(WIRES, WIRES, [stream] * 3, range(3), [0] * 3, 1, 1_000)
    assert [getattr(row, name) for row in rows] == right
    values_of = made.values_of[name]
    assert values_of is not None
    values = values_of(WIRES, WIRES, (), 1_000)
    if field.finish is not None:
        (column,) = [column for column in column_types(Trade) if column.name == name]
        values = from_column(column, field.finish(values, 1_000), NumberMode.FLOAT)
    assert values == right


def test_a_field_knows_what_it_is_of() -> None:
    assert [OF_STREAM[name].of_stream for name in ("exchange", "market", "symbol")] == [True] * 3
    assert [OF_STREAM[name].of_session for name in ("exchange", "symbol")] == [True, False]
    assert not same("wire.p").of_stream

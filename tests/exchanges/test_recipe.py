"""What a recipe makes, and which ones are refused when they are written down."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import attrs
import pytest

from farm.exchanges.fields import computed, lookup, of_stream, optional_time, same, text, time
from farm.exchanges.recipe import Recipe
from farm.types import TimeFrame


@attrs.define
class Event:
    """As much of an event as these tests need."""

    symbol: str
    exchange_time: int | None
    price: float
    receive_time: int
    ordinal: int
    row: int = 0
    note: str | None = None
    flag: bool = False


GIVEN = {"symbol": of_stream("symbol"), "exchange_time": time("wire.T"), "price": same("wire.p")}


def make(recipe: Recipe, wire: Any, top: Any = None, *, place: int = 0) -> Any:
    stream = SimpleNamespace(symbol="BTCUSDT")
    (row,) = recipe.make_rows([wire], [top], [stream], [7], [place], 5, 1_000)
    return row


def test_rows_are_what_the_constructor_makes() -> None:
    recipe = Recipe(Event, {**GIVEN, "note": text("top.n")})
    row = make(recipe, SimpleNamespace(T=3, p=1.5), SimpleNamespace(n=12), place=2)
    assert row == Event("BTCUSDT", 3_000, 1.5, 5, 7, 2, "12", False)
    assert type(row) is Event


def test_an_expression_may_use_names_that_its_field_brings() -> None:
    recipe = Recipe(Event, {**GIVEN, "note": lookup("wire.n", {1: "one"}, "none")})
    assert make(recipe, SimpleNamespace(T=3, p=1.5, n=1)).note == "one"
    assert make(recipe, SimpleNamespace(T=3, p=1.5, n=2)).note == "none"


def test_a_time_that_may_be_absent_is_another_then() -> None:
    fields = {**GIVEN, "exchange_time": optional_time("wire.T", otherwise="top.E * unit")}
    recipe = Recipe(Event, fields)
    top = SimpleNamespace(E=4)
    assert make(recipe, SimpleNamespace(T=None, p=1.5), top).exchange_time == 4_000
    assert make(recipe, SimpleNamespace(T=3, p=1.5), top).exchange_time == 3_000


def test_each_column_is_read_over_what_it_is_about() -> None:
    recipe = Recipe(Event, {**GIVEN, "note": computed("top.n"), "flag": computed("True")})
    wires, tops = [SimpleNamespace(T=3, p=1.5)] * 2, [SimpleNamespace(n=1)] * 2
    streams = [SimpleNamespace(symbol="A"), SimpleNamespace(symbol="B")]

    def values(name: str) -> Any:
        values_of = recipe.values_of[name]
        return None if values_of is None else values_of(wires, tops, streams, 1_000)

    assert values("symbol") == ["A", "B"]
    assert values("price") == [1.5, 1.5]
    assert values("exchange_time") == [3, 3]  # the column is multiplied as a whole
    assert values("note") == [1, 1]
    assert values("flag") is None
    assert recipe.exchange_times_of is not None
    assert recipe.exchange_times_of(wires, tops, streams, 1_000) == [3_000, 3_000]


def test_a_recipe_knows_whether_the_stream_tells_the_symbol() -> None:
    assert Recipe(Event, GIVEN).is_by_stream
    assert not Recipe(Event, {**GIVEN, "symbol": same("wire.s")}).is_by_stream


def without(name: str) -> dict[str, Any]:
    return {field: how for field, how in GIVEN.items() if field != name}


@attrs.define
class Converting(Event):
    price: float = attrs.field(converter=float, default=0.0)


@attrs.define
class Validating(Event):
    price: float = attrs.field(validator=attrs.validators.gt(0), default=0.0)


@attrs.define
class Growing(Event):
    notes: list[str] = attrs.field(factory=list)


@attrs.define
class Timed(Event):
    interval: TimeFrame = TimeFrame.M1


@attrs.define
class Busy(Event):
    def __attrs_post_init__(self) -> None:
        self.note = "made"


@pytest.mark.parametrize(
    ("kind", "fields", "why"),
    [
        (Event, without("price"), "says nothing of price"),
        (Event, {**GIVEN, "prise": same("wire.p")}, "has no prise"),
        (Converting, GIVEN, "price is converted or validated"),
        (Validating, GIVEN, "price is converted or validated"),
        (Growing, GIVEN, "default of Growing.notes is no plain value"),
        (Timed, GIVEN, "default of Timed.interval is no plain value"),
        (Busy, GIVEN, "Busy does more than to store"),
    ],
)
def test_what_a_loop_would_not_do_is_refused(kind: type[Any], fields: Any, why: str) -> None:
    with pytest.raises(TypeError, match=why):
        Recipe(kind, fields)


def test_two_fields_may_not_mean_different_things_by_a_name() -> None:
    fields = {**GIVEN, "note": computed("here", here="a"), "flag": computed("here", here="b")}
    with pytest.raises(TypeError, match="different things by here"):
        Recipe(Event, fields)


def test_a_traceback_shows_the_line_of_generated_code() -> None:
    import traceback

    with pytest.raises(AttributeError) as caught:
        make(Recipe(Event, GIVEN), SimpleNamespace(T=3))
    assert "row.price = wire.p" in "".join(traceback.format_exception(caught.value))

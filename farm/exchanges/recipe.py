"""Recipes: how one kind of event is made of one kind of message, written down as data.

A recipe names the field of the event and how it is read off the wire. From that the code of the hot
path is generated, once, when the module is imported:

* ``make_rows``, one loop that makes the objects of a whole read. It fills their slots itself: a
  call of an attrs ``__init__`` with its arguments costs twice as much. So only classes whose
  ``__init__`` does nothing but store its arguments can be made in this way; others are refused.
* for each field a loop over the values of its column.
"""

from __future__ import annotations

import linecache
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import repeat
from typing import Any, TypeAlias

import attrs

from farm.exchanges.fields import Field
from farm.exchanges.numbers import ParserContext
from farm.exchanges.streams import Stream
from farm.types import Nanoseconds

__all__ = ["Look", "Recipe", "Shape"]

Look: TypeAlias = Callable[[ParserContext, Any, Any, Stream, Nanoseconds, int], bool]
"""Look at one event: (context, wire, top, stream, receive time, ordinal). Whether it is one: it may
be something else, that goes to ``context.extras``; and unknown values are noted here. ValueError
for a message that is none of its stream."""

_FILLED = {"receive_time": "time", "ordinal": "ordinal", "row": "place"}


@attrs.frozen
class Shape:
    """Where in a message the events are. ``top``: below which attribute the message stands in its
    frame, "" for the frame itself; ``wire``: below which attribute of that the event's struct
    stands, "" for the message itself; ``many``: that is a list of them."""

    top: str = ""
    wire: str = ""
    many: bool = False


@attrs.frozen(eq=False)
class Recipe:
    """How events of `kind` are made.

    ``fields`` are those that are not the class's defaults, without receive time, ordinal and row.
    ``shape`` says where they are. ``number`` is the expression of an id that steps by one, where
    there is one. ``is_plain`` says of a whole read (wires, tops) that `look` need not be called
    for any of it. ``is_by_stream``: the stream tells the symbol of an event, and so its feed.
    """

    kind: type[Any]
    fields: Mapping[str, Field]
    shape: Shape = Shape()
    number: str = ""
    look: Look | None = None
    is_plain: Callable[[Sequence[Any], Sequence[Any]], bool] | None = None
    make_rows: Callable[..., list[Any]] = attrs.field(init=False)
    values_of: Mapping[str, Callable[..., list[Any]] | None] = attrs.field(init=False)
    numbers_of: Callable[..., list[int]] | None = attrs.field(init=False)
    exchange_times_of: Callable[..., list[Any]] | None = attrs.field(init=False)
    is_by_stream: bool = attrs.field(init=False)

    @is_by_stream.default
    def _is_by_stream(self) -> bool:
        return self.fields["symbol"].of_stream

    @make_rows.default
    def _make_rows(self) -> Callable[..., list[Any]]:
        return _rows_maker(self.kind, self.fields)

    @values_of.default
    def _values_of(self) -> Mapping[str, Callable[..., list[Any]] | None]:
        return {name: _values_maker(field, name) for name, field in self.fields.items()}

    @numbers_of.default
    def _numbers_of(self) -> Callable[..., list[int]] | None:
        return _values_maker(Field(self.number), "number") if self.number else None

    @exchange_times_of.default
    def _exchange_times_of(self) -> Callable[..., list[Any]] | None:
        return _values_maker(attrs.evolve(self.fields["exchange_time"], raw=""), "exchange_time")


# -------------------------------------------------------------------------------- generated code
def _rows_maker(kind: type[Any], fields: Mapping[str, Field]) -> Callable[..., list[Any]]:
    """The loop that makes rows: (wires, tops, streams, ordinals, places, time, unit) -> rows."""
    _must_only_store(kind)
    unknown = fields.keys() - {field.name for field in attrs.fields(kind)}
    if unknown:
        raise TypeError(f"{kind.__name__} has no {', '.join(sorted(unknown))}")
    names: dict[str, Any] = {"kind": kind, "new": object.__new__, "repeat": repeat}
    lines = []
    for field in attrs.fields(kind):
        given = fields.get(field.name)
        if field.name in _FILLED:
            expression = _FILLED[field.name]
        elif given is not None:
            expression = given.row
            _add_names(names, given)
        elif field.default is attrs.NOTHING:
            raise TypeError(f"a recipe of {kind.__name__} says nothing of {field.name}")
        elif field.default is None or type(field.default) in (int, bool, str):
            expression = repr(field.default)
        else:
            raise TypeError(f"the default of {kind.__name__}.{field.name} is no plain value")
        lines.append(f"        row.{field.name} = {expression}")
    code = [
        "def make_rows(wires, tops, streams, ordinals, places, time, unit):",
        "    rows = []",
        "    append = rows.append",
        "    made = map(new, repeat(kind))",
        "    given = zip(wires, tops, streams, ordinals, places, made)",
        "    for wire, top, stream, ordinal, place, row in given:",
        *lines,
        "        append(row)",
        "    return rows",
    ]
    return _compiled(code, "make_rows", names, kind.__name__)


def _values_maker(field: Field, label: str) -> Callable[..., list[Any]] | None:
    """The loop over the values of a column: (wires, tops, streams, unit) -> values; None for a
    field that is the same in all events."""
    expression = field.raw or field.row
    over = [name for name in ("wire", "top", "stream") if re.search(rf"\b{name}\b", expression)]
    if not over:
        return None
    names: dict[str, Any] = {}
    _add_names(names, field)
    sources = ", ".join(f"{name}s" for name in over)
    code = [
        "def values(wires, tops, streams, unit):",
        f"    return [{expression} for {', '.join(over)} in "
        + (sources if len(over) == 1 else f"zip({sources})")
        + "]",
    ]
    return _compiled(code, "values", names, label)


def _must_only_store(kind: type[Any]) -> None:
    """What `__init__` does besides storing its arguments would not be done for rows made here."""
    for field in attrs.fields(kind):
        if field.converter is not None or field.validator is not None:
            raise TypeError(f"{kind.__name__}.{field.name} is converted or validated")
    if hasattr(kind, "__attrs_post_init__") or hasattr(kind, "__attrs_pre_init__"):
        raise TypeError(f"{kind.__name__} does more than to store its arguments")


def _add_names(names: dict[str, Any], field: Field) -> None:
    for name, given in field.names.items():
        if names.setdefault(name, given) is not given:
            raise TypeError(f"two fields of one recipe mean different things by {name}")


def _compiled(
    code: list[str], name: str, names: dict[str, Any], label: str
) -> Callable[..., list[Any]]:
    """The function that this code defines; its text is ours, and nothing of a venue is in it."""
    text = "\n".join(code)
    file = f"<{name} of {label}>"
    # As attrs does: so that a traceback shows the line.
    linecache.cache[file] = (len(text), None, [f"{line}\n" for line in code], file)
    exec(compile(text, file, "exec"), names)  # noqa: S102
    made: Callable[..., list[Any]] = names[name]
    return made

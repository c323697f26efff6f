"""Events as they were decoded: rows and columns are made of them when somebody asks.

Who reads columns never pays for objects, and who reads objects never for columns. Everything that
can be wrong with a message was checked before one of these is made.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import Any

import attrs
import numpy as np

from farm.columns import Column, ColumnType, repeated, to_column
from farm.exchanges.fields import Field
from farm.exchanges.recipe import Recipe
from farm.exchanges.streams import Stream
from farm.types import Nanoseconds, NumberMode

__all__ = ["Decoded", "Run"]


@attrs.define(eq=False)
class Run:
    """The events of one stream in a :class:`Decoded`: how many, and when and where the last was."""

    stream: Stream
    count: int
    exchange_time: Nanoseconds | None
    receive_time: Nanoseconds
    ordinal: int


class Decoded:
    """Events of one kind from one read: what a batch is made of until its rows are asked for.

    ``wires`` holds the struct of each event, ``tops`` the message it came in; ``streams`` the one
    stream of all of them, or each one's; ``places`` their rows within their frames, None where all
    are 0. The receive time is the same for all.
    """

    __slots__ = (
        "_numbers",
        "_runs",
        "_sample",
        "ordinals",
        "places",
        "recipe",
        "streams",
        "time",
        "tops",
        "unit",
        "wires",
    )

    def __init__(
        self,
        recipe: Recipe,
        wires: Sequence[Any],
        tops: Sequence[Any],
        streams: Stream | Sequence[Stream],
        ordinals: Sequence[int],
        places: Sequence[int] | None,
        time: Nanoseconds,
        unit: int,
    ) -> None:
        self.recipe = recipe
        self.wires = wires
        self.tops = tops
        self.streams = streams
        self.ordinals = ordinals
        self.places = places
        self.time = time
        self.unit = unit
        self._runs: list[Run] | None = None
        self._numbers: list[int] | None = None
        self._sample: Any = None  # a row to take from what is the same in all

    def __len__(self) -> int:
        return len(self.wires)

    @property
    def each_stream(self) -> Iterable[Stream]:
        """The stream of each event."""
        return repeat(self.streams) if isinstance(self.streams, Stream) else self.streams

    @property
    def runs(self) -> list[Run]:
        """Its streams, in the order in which they came."""
        if self._runs is None:
            self._runs = self._find_runs()
        return self._runs

    @property
    def numbers(self) -> list[int] | None:
        """The ids that step by one, where such events have any."""
        if self._numbers is None and self.recipe.numbers_of is not None:
            self._numbers = self.recipe.numbers_of(self.wires, self.tops, (), self.unit)
        return self._numbers

    def values(self, name: str) -> list[Any]:
        """One field of all events, as it stands on the wire."""
        values_of = self.recipe.values_of[name]
        assert values_of is not None, f"{name} is the same in all"
        return values_of(self.wires, self.tops, self.each_stream, self.unit)

    def make_rows(self) -> list[Any]:
        """The events as objects."""
        places = repeat(0) if self.places is None else self.places
        return self.recipe.make_rows(
            self.wires, self.tops, self.each_stream, self.ordinals, places, self.time, self.unit
        )

    def last_row(self) -> Any:
        """The last event, made for this call."""
        stream = self.streams if isinstance(self.streams, Stream) else self.streams[-1]
        place = 0 if self.places is None else self.places[-1]
        (row,) = self.recipe.make_rows(
            (self.wires[-1],),
            (self.tops[-1],),
            (stream,),
            (self.ordinals[-1],),
            (place,),
            self.time,
            self.unit,
        )
        return row

    def make_column(self, column: ColumnType) -> Column:
        """The values of one field of all events."""
        name, count = column.name, len(self.wires)
        if name == "receive_time":
            return np.full(count, self.time, np.int64)
        if name == "ordinal":
            if isinstance(self.ordinals, range):
                return np.arange(self.ordinals.start, self.ordinals.stop, dtype=np.int64)
            return np.array(self.ordinals, np.int64)
        if name == "row":
            zeros = self.places is None
            return np.zeros(count, np.int64) if zeros else np.array(self.places, np.int64)
        return self._field_column(column, count)

    def _field_column(self, column: ColumnType, count: int) -> Column:
        field = self.recipe.fields.get(column.name)
        if field is None or self._is_same_in_all(field, column.name):
            if self._sample is None:
                self._sample = self.last_row()
            return repeated(column, getattr(self._sample, column.name), count)
        values = self.values(column.name)
        if field.finish is not None:
            return field.finish(values, self.unit)
        return to_column(column, values, NumberMode.FLOAT)

    def _is_same_in_all(self, field: Field, name: str) -> bool:
        if field.of_session or self.recipe.values_of[name] is None:
            return True
        return field.of_stream and isinstance(self.streams, Stream)

    def _find_runs(self) -> list[Run]:
        wires, tops, times_of = self.wires, self.tops, self.recipe.exchange_times_of
        time, streams = self.time, self.streams
        if isinstance(streams, Stream):
            times = times_of(wires[-1:], tops[-1:], (), self.unit) if times_of else (None,)
            return [Run(streams, len(wires), times[0], time, self.ordinals[-1])]
        # By identity, for they are of one session, and comparing streams costs more than all this.
        keys = list(map(id, streams))
        counts, ends = Counter(keys), dict(zip(keys, range(len(keys)), strict=True))
        every = times_of(wires, tops, (), self.unit) if times_of else None
        return [
            Run(streams[at], counts[key], every[at] if every else None, time, self.ordinals[at])
            for key, at in ends.items()
        ]

"""A recipe with its decoder: it takes a whole read at once, or one frame after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain, repeat
from operator import attrgetter
from typing import Any

from farm.exchanges.decoded import Decoded
from farm.exchanges.numbers import MS, ParserContext
from farm.exchanges.recipe import Recipe
from farm.exchanges.streams import Stream
from farm.types import Nanoseconds

__all__ = ["Bound"]


class Bound:
    """A recipe with its decoder: the parser of all streams of one shape in one session.

    ``unit`` is the number of nanoseconds in a unit of its times.
    """

    def __init__(
        self,
        recipe: Recipe,
        decode: Callable[[bytes], Any],
        context: ParserContext,
        *,
        unit: int = MS,
    ) -> None:
        self.recipe = recipe
        self.unit = unit
        self._decode = decode
        self._context = context
        shape = recipe.shape
        self._top = attrgetter(shape.top) if shape.top else None
        self._wire = attrgetter(shape.wire) if shape.wire else None

    def __call__(
        self, raw: bytes, stream: Stream, time: Nanoseconds, ordinal: int, rows: list[Any]
    ) -> None:
        """Parse one frame: as :data:`~farm.exchanges.numbers.Parser` says."""
        top = self._decode(raw)
        if self._top is not None:
            top = self._top(top)
        found = top if self._wire is None else self._wire(top)
        wires = found if self.recipe.shape.many else [found]
        places: Iterable[int] = range(len(wires))
        if self.recipe.look is not None:
            look, context = self.recipe.look, self._context
            places = [
                place
                for place, wire in enumerate(wires)
                if look(context, wire, top, stream, time, ordinal)
            ]
            wires = [wires[place] for place in places]
        rows += self.recipe.make_rows(
            wires, repeat(top), repeat(stream), repeat(ordinal), places, time, self.unit
        )

    def read(
        self,
        frames: Sequence[bytes],
        streams: Stream | Sequence[Stream],
        ordinals: Sequence[int],
        time: Nanoseconds,
    ) -> Decoded | None:
        """All frames of one read; None where they are to be taken one after the other.

        Raises what decoding does, for the first bad one of them.
        """
        tops = list(map(self._decode, frames))
        if self._top is not None:
            tops = list(map(self._top, tops))
        wires = tops if self._wire is None else list(map(self._wire, tops))
        places: Sequence[int] | None = None
        if self.recipe.shape.many:
            counts = list(map(len, wires))
            wires = list(chain.from_iterable(wires))
            if counts.count(1) < len(counts):
                places = [place for count in counts for place in range(count)]
                tops = _spread(tops, counts)
                ordinals = _spread(ordinals, counts)
                if not isinstance(streams, Stream):
                    streams = _spread(streams, counts)
        if self.recipe.is_plain is not None and not self.recipe.is_plain(wires, tops):
            return None
        return Decoded(self.recipe, wires, tops, streams, ordinals, places, time, self.unit)


def _spread(items: Iterable[Any], counts: Iterable[int]) -> list[Any]:
    """Each item as often as its count says."""
    return list(chain.from_iterable(map(repeat, items, counts)))

"""A bundle in the making: what passes of the one that came, and what else passes with it."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from operator import attrgetter
from typing import Any

import attrs

from farm.batch import Batch, Origin
from farm.bundle import Bundle
from farm.entities import Gap, SpentIds, Trade
from farm.exchanges.lanes.tracks import Kept
from farm.types import NumberMode

__all__ = ["Draft", "Part", "rows_by_kind"]


_NAMES = [field.name for field in attrs.fields(Bundle)]
_FIELDS = attrgetter(*_NAMES)
_BATCHES, _DOWN, _DROPPED = map(_NAMES.index, ("batches", "down", "dropped"))


@attrs.define
class Part:
    """Rows of one kind in order, and which of them are of other origins than the bundle."""

    rows: list[Any] = attrs.field(factory=list)
    foreign: dict[int, Origin] = attrs.field(factory=dict)


class Draft:
    """Made of `bundle`, which stays as it is. ``gaps`` are all gaps that go on."""

    def __init__(self, bundle: Bundle, numbers: NumberMode) -> None:
        self.gaps: list[Gap] = []
        self.origin = bundle.origin
        self._bundle = bundle
        self._numbers = numbers
        self._parts: dict[type[Any], Part] = {}

    def part(self, kind: type[Any]) -> Part:
        """The rows of a kind that go on."""
        part = self._parts.get(kind)
        if part is None:
            part = self._parts[kind] = Part()
        return part

    def add(self, passing: Iterable[Kept]) -> None:
        """Have these go on, wherever they came from."""
        own = self.origin
        for kept in passing:
            part = self.part(type(kept.row))
            if kept.origin != own:
                part.foreign[len(part.rows)] = kept.origin
            part.rows.append(kept.row)
            kept.lane.firsts += 1

    def finish(self, down: frozenset[str] | None, dropped: tuple[str, ...]) -> Bundle:
        """The bundle that goes on: the one that came, where nothing about it changed."""
        bundle, parts = self._bundle, self._parts
        batches: list[Batch[Any]] = []
        shared, gap_batch = 0, None
        for given in bundle.batches:
            if given.kind is Gap:
                gap_batch = given
                continue
            part = parts.pop(given.kind, None) or Part()
            if not part.foreign and part.rows == given.rows:
                batches.append(given)
                shared += 1
            elif part.rows:
                nbytes = given.nbytes * len(part.rows) // len(given)
                batches.append(self._new(given.kind, part, nbytes))
        batches += [self._new(kind, part, None) for kind, part in parts.items() if part.rows]
        if self.gaps:
            batches.append(self._gap_batch(gap_batch))
            shared += batches[-1] is gap_batch
        same = shared == len(batches) == len(bundle.batches)
        if same and down == bundle.down and dropped == bundle.dropped:
            return bundle
        values = list(_FIELDS(bundle))  # attrs.evolve takes 3 us
        values[_BATCHES], values[_DOWN], values[_DROPPED] = batches, down, dropped
        return Bundle(*values)

    def _gap_batch(self, given: Batch[Any] | None) -> Batch[Any]:
        gaps = self.gaps
        if given is not None and len(gaps) == len(given):
            same = all(gap is other for gap, other in zip(gaps, given.rows, strict=True))
            if same:
                return given
        rows = [gap if gap.row == n else attrs.evolve(gap, row=n) for n, gap in enumerate(gaps)]
        return self._new(Gap, Part(rows), None)

    def _new(self, kind: type[Any], part: Part, nbytes: int | None) -> Batch[Any]:
        own, foreign, count = self.origin, part.foreign, len(part.rows)
        origins = [(own, count)]
        if foreign:
            runs = groupby(foreign.get(at, own) for at in range(count))
            origins = [(origin, sum(1 for _ in run)) for origin, run in runs]
        return Batch(kind, rows=part.rows, origins=origins, numbers=self._numbers, nbytes=nbytes)


_PLACE = attrgetter("ordinal", "row")


def rows_by_kind(bundle: Bundle) -> list[tuple[type[Any], list[Any]]]:
    """The rows of a bundle by kind; trades and ids spent without one in their common order."""
    parts = [(batch.kind, batch.rows) for batch in bundle.batches]
    for kind, spent in parts:
        if kind is SpentIds:
            trades = [row for other, rows in parts if other is Trade for row in rows]
            mixed = sorted([*trades, *spent], key=_PLACE)
            others = [part for part in parts if part[0] not in (Trade, SpentIds)]
            return [*others, *((kind, list(run)) for kind, run in groupby(mixed, key=type))]
    return parts

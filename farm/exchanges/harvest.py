"""What one input of a protocol core gave, on its way into a bundle; the routes of frames."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from operator import attrgetter
from typing import Any

import attrs
import msgspec

from farm.batch import Batch, Origin
from farm.bundle import Bundle, UnparsedFrame
from farm.entities import Event, Gap, data_type_of
from farm.exchanges.bound import Bound
from farm.exchanges.decoded import Decoded
from farm.exchanges.numbers import Parser
from farm.exchanges.session import Frames, Input, Lost, StreamStatus
from farm.exchanges.streams import Stream
from farm.types import DataType, NumberMode

__all__ = ["GAP_SLOT", "MALFORMED", "PARSE_ERRORS", "SLOTS", "Harvest", "Route"]

MALFORMED = "malformed"
"""The kind of frames that are no valid message of the stream they came on."""

PARSE_ERRORS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError, OverflowError)
"""What a frame may raise in its parser; anything else is a bug of ours."""


@attrs.define(eq=False)
class Route:
    """Where the frames of a stream go. ``live`` saves looking at the status for every frame;
    ``bound`` is the parser once more where it can take many frames at once."""

    stream: Stream
    status: StreamStatus
    parse: Parser
    slot: int
    live: bool = False
    bound: Bound | None = None

    def __attrs_post_init__(self) -> None:
        self.use(self.parse)

    def use(self, parse: Parser) -> None:
        """From now on this parser takes its frames."""
        self.parse = parse
        self.bound = parse if isinstance(parse, Bound) else None


# Where the rows of each kind stand in a harvest: a list is quicker than a dict by enumeration.
SLOTS = {kind: slot for slot, kind in enumerate(DataType)}
GAP_SLOT = SLOTS[DataType.GAP]


class Harvest:
    """What one input gave: rows by kind, in order, or what was decoded and becomes rows later; what
    could not be parsed, and the feeds that are up since, or dead, whose snapshot was asked for, or
    that are collected no longer."""

    __slots__ = ("asked", "decoded", "down", "dropped", "rows", "unparsed", "up")

    def __init__(self) -> None:
        self.rows: dict[int, list[Any]] = defaultdict(list)  # by slot
        self.decoded: list[tuple[int, Decoded]] = []
        self.unparsed: list[UnparsedFrame] = []
        self.up: tuple[str, ...] = ()
        self.down: tuple[str, ...] = ()
        self.asked: tuple[str, ...] = ()
        self.dropped: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        told = self.up or self.down or self.asked or self.dropped
        return not (self.decoded or self.unparsed or told or any(self.rows.values()))

    def gaps(self, gaps: Iterable[Gap]) -> None:
        self.rows[GAP_SLOT].extend(gaps)

    def take(self, extras: list[Event]) -> None:
        """Deal events of other kinds than their streams' own to where they belong, in order."""
        touched = set()
        for event in extras:
            slot = SLOTS[data_type_of(type(event))]
            self.rows[slot].append(event)
            touched.add(slot)
        for slot in touched:
            self.rows[slot].sort(key=_place)
        extras.clear()

    def bundle(
        self, origin: Origin, item: Input, numbers: NumberMode, ended: str | None, *, final: bool
    ) -> Bundle:
        """All of it, on its way down the line."""
        if GAP_SLOT in self.rows:
            for row, gap in enumerate(self.rows[GAP_SLOT]):
                gap.row = row
        nbytes = item.nbytes
        parts = self._by_kind()
        total = sum(map(len, parts))
        return Bundle(
            origin,
            item.serial,
            item.end if isinstance(item, Lost) else item.time,
            [_batch(part, origin, numbers, nbytes * len(part) // total) for part in parts],
            self.unparsed,
            ended,
            nbytes,
            self.up,
            frozenset(self.down) if self.down else None,
            self.asked,
            self.dropped,
            final,
            isinstance(item, Frames),
        )

    def _by_kind(self) -> list[list[Any] | Decoded]:
        """What there is of each kind, in the order of the slots."""
        if not self.rows and len(self.decoded) == 1:
            return [self.decoded[0][1]]
        parts: dict[int, list[Any] | Decoded] = {s: rows for s, rows in self.rows.items() if rows}
        for slot, decoded in self.decoded:
            known = parts.get(slot)
            if known is None:
                parts[slot] = decoded
            else:  # of two shapes: only rows can be put in order
                rows = known if isinstance(known, list) else known.make_rows()
                parts[slot] = sorted([*rows, *decoded.make_rows()], key=_place)
        return [parts[slot] for slot in sorted(parts)]


def _batch(
    part: list[Any] | Decoded, origin: Origin, numbers: NumberMode, nbytes: int
) -> Batch[Any]:
    origins = [(origin, len(part))]
    if isinstance(part, Decoded):
        kind = part.recipe.kind
        return Batch(kind, source=part, origins=origins, numbers=numbers, nbytes=nbytes)
    return Batch(type(part[0]), rows=part, origins=origins, numbers=numbers, nbytes=nbytes)


_place = attrgetter("ordinal", "row")

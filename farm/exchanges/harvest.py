"""What one input of a protocol core gave, on its way into a bundle; the routes of frames."""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter
from typing import Any

import attrs
import msgspec

from farm.bundle import UnparsedFrame
from farm.entities import Event, Gap, data_type_of
from farm.exchanges.numbers import Parser
from farm.exchanges.session import StreamStatus
from farm.exchanges.streams import Stream
from farm.types import DataType

__all__ = ["GAP_SLOT", "MALFORMED", "PARSE_ERRORS", "SLOTS", "Harvest", "Route"]

MALFORMED = "malformed"
"""The kind of frames that are no valid message of the stream they came on."""

PARSE_ERRORS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError, OverflowError)
"""What a frame may raise in its parser; anything else is a bug of ours."""


@attrs.define(eq=False)
class Route:
    """Where the frames of a stream go. ``live`` saves looking at the status for every frame."""

    stream: Stream
    status: StreamStatus
    parse: Parser
    slot: int
    live: bool = False


# Where the rows of each kind stand in a harvest: a list is quicker than a dict by enumeration.
SLOTS = {kind: slot for slot, kind in enumerate(DataType)}
GAP_SLOT = SLOTS[DataType.GAP]


class Harvest:
    """What one input gave: rows by kind, in order, what could not be parsed, and the feeds that
    are up since, or dead, whose snapshot was asked for, or that are collected no longer."""

    __slots__ = ("asked", "down", "dropped", "rows", "unparsed", "up")

    def __init__(self) -> None:
        self.rows: list[list[Any]] = [[] for _ in SLOTS]
        self.unparsed: list[UnparsedFrame] = []
        self.up: tuple[str, ...] = ()
        self.down: tuple[str, ...] = ()
        self.asked: tuple[str, ...] = ()
        self.dropped: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        told = self.up or self.down or self.asked or self.dropped
        return not (self.unparsed or told or any(self.rows))

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


_place = attrgetter("ordinal", "row")

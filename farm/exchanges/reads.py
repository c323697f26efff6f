"""Taking all frames of one socket read at once: by shape, not one after the other.

This is the way of almost every read. What is out of the ordinary in one is left to the core, which
takes its frames one by one: an answer or another message of no stream, a stream that is heard for
the first time, a frame that cannot be decoded or asks for a closer look. Nothing of a read was
counted or kept when it is left.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import compress, repeat
from operator import is_
from typing import TypeAlias, cast

from farm.exchanges.bound import Bound
from farm.exchanges.decoded import Decoded
from farm.exchanges.harvest import PARSE_ERRORS, Harvest, Route
from farm.exchanges.session import Frames
from farm.exchanges.streams import Stream
from farm.types import Nanoseconds

__all__ = ["Reads", "Single"]

Single: TypeAlias = tuple[bytes, Route, int]
"""A frame for a parser that takes no whole reads, its route and its ordinal."""

_Groups: TypeAlias = Iterable[tuple[Bound | None, Sequence[bytes], Sequence[Route], Sequence[int]]]


class Reads:
    """The routes of frames by how they begin: `start`, the stream's name and a quotation mark.

    A frame that begins otherwise and names its stream all the same (by other white space or another
    order of keys) is out of the ordinary.
    """

    def __init__(self, start: bytes) -> None:
        self._start = start
        self._routes: dict[bytes, Route] = {}

    def add(self, route: Route) -> None:
        """Take the frames of this route from now on."""
        self._routes[self._head(route.stream)] = route

    def remove(self, stream: Stream) -> None:
        """Leave the frames of this stream to the core."""
        del self._routes[self._head(stream)]

    def take(self, item: Frames, harvest: Harvest) -> list[Single] | None:
        """Decode a read into `harvest`: frames that are left to other parsers, None for all."""
        find, frames = self._routes.get, item.frames
        if not frames:
            return []
        only = find(_common_head(frames))
        if only is not None and only.bound is not None:
            return [] if self._take_one_stream(item, only, only.bound, harvest) else None
        return self._take_mixed(item, [find(raw.partition(b",")[0]) for raw in frames], harvest)

    def _take_one_stream(self, item: Frames, route: Route, bound: Bound, harvest: Harvest) -> bool:
        if not route.live:
            return False
        frames, first, time = item.frames, item.first_ordinal, item.time
        count = len(frames)
        decoded = _decoded(bound, frames, route.stream, range(first, first + count), time)
        if decoded is None:
            return False
        if decoded.wires:
            harvest.decoded.append((route.slot, decoded))
        _count(route, count, time)
        return True

    def _take_mixed(
        self, item: Frames, routes: Sequence[Route | None], harvest: Harvest
    ) -> list[Single] | None:
        frames, first, time = item.frames, item.first_ordinal, item.time
        counts = Counter(routes)
        bounds: dict[Bound | None, None] = {}  # in the order in which they come
        for route in counts:
            if route is None or not route.live:
                return None
            bounds[route.bound] = None
        known = cast("Sequence[Route]", routes)
        ordinals = range(first, first + len(frames))
        groups: _Groups
        if len(bounds) == 1:
            groups = [(next(iter(bounds)), frames, known, ordinals)]
        else:
            groups = _groups(frames, known, ordinals, bounds)
        singles: list[Single] = []
        found = []
        for bound, texts, ways, places in groups:
            if bound is None:
                singles += zip(texts, ways, places, strict=True)
                continue
            decoded = _decoded(bound, texts, [way.stream for way in ways], places, time)
            if decoded is None:
                return None
            if decoded.wires:
                found.append((ways[0].slot, decoded))
        for route, count in counts.items():
            if route is not None and route.bound is not None:
                _count(route, count, time)
        harvest.decoded += found
        return singles

    def _head(self, stream: Stream) -> bytes:
        return self._start + stream.name.encode() + b'"'


def _count(route: Route, frames: int, time: Nanoseconds) -> None:
    status = route.status
    status.frames += frames
    status.last_time = time


def _common_head(frames: Sequence[bytes]) -> bytes:
    """How all of these begin, up to the end of the stream's name; b"" where they differ."""
    head = frames[0].partition(b",")[0]
    for raw in frames:
        if not raw.startswith(head):
            return b""
    return head


def _groups(
    frames: Sequence[bytes],
    routes: Sequence[Route],
    ordinals: Sequence[int],
    bounds: Iterable[Bound | None],
) -> _Groups:
    """Frames by their parsers; each parser's in order."""
    parsers = [route.bound for route in routes]
    for bound in bounds:
        chosen = list(map(is_, parsers, repeat(bound)))
        texts = list(compress(frames, chosen))
        yield bound, texts, list(compress(routes, chosen)), list(compress(ordinals, chosen))


def _decoded(
    bound: Bound,
    frames: Sequence[bytes],
    streams: Stream | Sequence[Stream],
    ordinals: Sequence[int],
    time: Nanoseconds,
) -> Decoded | None:
    try:
        return bound.read(frames, streams, ordinals, time)
    except PARSE_ERRORS:
        return None  # which frame it is is found one by one

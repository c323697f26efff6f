"""What shards have in memory of streams that they carry no longer, and who says so if that is lost.

A stream may be removed, or its line moved, while its last rows are not on disk yet; and so may be
the record of what a crash before had cost it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from itertools import count

import attrs
import trio

from farm.batch import Batch, Origin
from farm.bundle import Bundle
from farm.entities import Gap
from farm.exchanges.outages import SHARD_EDGE, stream_gaps
from farm.exchanges.streams import Stream
from farm.types import GapCause, Nanoseconds, NumberMode

__all__ = ["LeftBehind", "LostRecords", "crash_gaps"]

_serials = count(1)
"""Of all records: readers pass over what they have seen of a line, whoever has said it."""


def crash_gaps(
    streams: Iterable[Stream],
    since: Mapping[str, Nanoseconds],
    end: Nanoseconds,
    now: Nanoseconds,
) -> list[Gap]:
    """What a process that failed has cost: each stream from its time in `since`, by name."""
    return [
        gap
        for stream in streams
        if stream.name in since
        for gap in stream_gaps(
            stream,
            GapCause.CRASH,
            start=since[stream.name],
            end=end,
            receive_time=now,
            ordinal=0,
            edge=SHARD_EDGE,
        )
    ]


class LostRecords:
    """Records of losses that no shard is there to publish; published here, or at the end."""

    def __init__(self, numbers: NumberMode) -> None:
        self._numbers = numbers
        self._unsaid: deque[Bundle] = deque()
        self._saying = trio.Lock()

    @property
    def left(self) -> int:
        """What waits to be processed: these are no reads."""
        return 0

    def put(self, line: str, gaps: list[Gap], now: Nanoseconds) -> None:
        """Have these gaps of a line published."""
        if not gaps:
            return
        for row, gap in enumerate(gaps):
            gap.row = row
        origin = Origin(gaps[0].exchange, gaps[0].market, f"{line}#lost", 0)
        batch = Batch(Gap, rows=gaps, origins=[(origin, len(gaps))], numbers=self._numbers)
        self._unsaid.append(Bundle(origin, next(_serials), now, [batch]))

    async def publish_rest(
        self,
        publish: Callable[[Bundle], Awaitable[None]],
        now: Callable[[], Nanoseconds],  # noqa: ARG002 (they have their times)
    ) -> None:
        """Publish all of them."""
        async with self._saying:  # several may be at it
            while self._unsaid:
                await publish(self._unsaid[0])
                self._unsaid.popleft()


@attrs.frozen
class _Left:
    line: str
    streams: list[Stream]
    time: Nanoseconds
    since: dict[str, Nanoseconds]


class LeftBehind:
    """What each shard, by number, has left of others' streams."""

    def __init__(self) -> None:
        self._left: dict[int, list[_Left]] = {}

    def leave(
        self,
        shard: int,
        line: str,
        streams: list[Stream],
        time: Nanoseconds,
        since: Mapping[str, Nanoseconds],
    ) -> None:
        """A shard carries these streams no longer, from `time` on. ``since``: what of them was lost
        before, of which the record may not be on disk."""
        lost = {stream.name: since[stream.name] for stream in streams if stream.name in since}
        self._left.setdefault(shard, []).append(_Left(line, streams, time, lost))

    def is_safe(self, shard: int, safe: Nanoseconds) -> None:
        """All that this shard received until then is on disk."""
        left = self._left.get(shard)
        if left:
            left[:] = [entry for entry in left if entry.time >= safe]

    def ended(self, shard: int) -> None:
        """It has ended as it should."""
        self._left.pop(shard, None)

    def lost(self, shard: int, safe: Nanoseconds, now: Nanoseconds) -> list[tuple[str, list[Gap]]]:
        """It has failed: gaps, by line."""
        found = []
        for entry in self._left.pop(shard, ()):
            since = {
                stream.name: min(safe, entry.since.get(stream.name, safe))
                for stream in entry.streams
            }
            found.append((entry.line, crash_gaps(entry.streams, since, entry.time, now)))
        return found

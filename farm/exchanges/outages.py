"""Outages: which streams are down, since when, and the record of it once they are back.

A break is recorded once for each stream: when the stream is acknowledged again or delivers again,
whichever comes first, or when the run ends before that. From the acknowledgement on the venue
sends everything, so the loss lies between the last frame before the break and that instant.
"""

from __future__ import annotations

from collections.abc import Iterable

from farm.entities import Gap
from farm.exchanges.session import Lost, StreamState, StreamStatus
from farm.exchanges.streams import Stream
from farm.types import GapCause, GapUnit, Nanoseconds

__all__ = ["VENUE_EDGE", "Outages", "stream_gap"]

VENUE_EDGE = "venue"
"""The edge of losses that happened before the data reached us."""


def stream_gap(
    stream: Stream,
    cause: GapCause,
    *,
    start: Nanoseconds | None,
    end: Nanoseconds | None,
    receive_time: Nanoseconds,
    ordinal: int,
    edge: str = VENUE_EDGE,
    frames: int | None = None,
    ids: tuple[int, int] | None = None,
) -> Gap:
    """A gap on one stream: of ids (first and last missing), of frames, or of unknown size."""
    unit, size = GapUnit.UNKNOWN, None
    if ids is not None:
        unit, size = GapUnit.IDS, ids[1] - ids[0] + 1
    elif frames is not None:
        unit, size = GapUnit.FRAMES, frames
    return Gap(
        exchange=stream.exchange,
        market=stream.market,
        symbol=stream.symbol,
        feed=stream.feed,
        edge=edge,
        cause=cause,
        first_id=ids[0] if ids else None,
        last_id=ids[1] if ids else None,
        start_time=start,
        end_time=end,
        size=size,
        unit=unit,
        repaired=False,
        receive_time=receive_time,
        ordinal=ordinal,
    )


class Outages:
    """The outages of the streams of one connection."""

    def __init__(self, statuses: dict[str, StreamStatus]) -> None:
        self._statuses = statuses
        self._opened_at: Nanoseconds = 0
        self._refused: set[str] = set()  # streams whose refusal is on record

    def opened(self, time: Nanoseconds) -> None:
        """A new epoch: nothing is back yet."""
        self._opened_at = time

    def closed(self, last_good: Nanoseconds) -> None:
        """The connection ended; every stream that was subscribed is down since `last_good`."""
        for status in self._statuses.values():
            if self._is_subscribed(status):
                status.state = StreamState.DOWN
                if status.down_since is None:
                    status.down_since = last_good

    def back(self, statuses: Iterable[StreamStatus], time: Nanoseconds, ordinal: int) -> list[Gap]:
        """These streams are subscribed again: the records of what they missed."""
        gaps = []
        for status in statuses:
            self._refused.discard(status.stream.name)
            if status.down_since is not None:
                gaps.append(self._gap(status, GapCause.DISCONNECT, time, ordinal))
        return gaps

    def refused(
        self, statuses: Iterable[StreamStatus], time: Nanoseconds, ordinal: int
    ) -> list[Gap]:
        """The venue refused these streams: all of them is missing, with no end in sight.

        A refusal is recorded once, not again by every connection that asks again.
        """
        gaps = []
        for status in statuses:
            if status.stream.name in self._refused:
                continue
            self._refused.add(status.stream.name)
            if status.down_since is None:
                status.down_since = self._opened_at
            gap = self._gap(status, GapCause.REFUSED, time, ordinal)
            gap.end_time = None
            gaps.append(gap)
        return gaps

    def finished(self, time: Nanoseconds, ordinal: int) -> list[Gap]:
        """The run ends: what is down now was down until now."""
        return self.back(list(self._statuses.values()), time, ordinal)

    def lost(self, item: Lost, ordinal: int) -> list[Gap]:
        """Frames were dropped unparsed: they may have been any stream's, so it is a gap on each.

        ``size`` counts the frames of the whole connection. Where no frame was among what was
        dropped, no stream missed anything.
        """
        if item.frames == 0:
            return []
        cause = GapCause.QUARANTINE if item.quarantined else GapCause.OVERFLOW
        return [
            stream_gap(
                status.stream,
                cause,
                start=item.start,
                end=item.end,
                receive_time=item.end,
                ordinal=ordinal,
                edge=item.edge,
                frames=item.frames,
            )
            for status in self._statuses.values()
            # Among what was lost may be the very answer to the request.
            if self._is_subscribed(status) or status.state is StreamState.REQUESTED
        ]

    def _is_subscribed(self, status: StreamStatus) -> bool:
        """Whether the venue sends this stream in this epoch; also while it is subscribed anew."""
        if status.state in (StreamState.ACKNOWLEDGED, StreamState.LIVE):
            return True
        delivered = status.last_time is not None and status.last_time >= self._opened_at
        return status.state is StreamState.REQUESTED and delivered

    def _gap(self, status: StreamStatus, cause: GapCause, time: Nanoseconds, ordinal: int) -> Gap:
        start, status.down_since = status.down_since, None
        return stream_gap(
            status.stream, cause, start=start, end=time, receive_time=time, ordinal=ordinal
        )

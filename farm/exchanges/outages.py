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

__all__ = ["SHARD_EDGE", "VENUE_EDGE", "Outages", "stream_gap", "stream_gaps"]

VENUE_EDGE = "venue"
"""The edge of losses that happened before the data reached us."""

SHARD_EDGE = "shard"
"""The edge of what a process of ours had received, or could not receive, when it failed."""


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
    feed: str | None = None,
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
        feed=stream.feed if feed is None else feed,
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


def stream_gaps(
    stream: Stream,
    cause: GapCause,
    *,
    start: Nanoseconds | None,
    end: Nanoseconds | None,
    receive_time: Nanoseconds,
    ordinal: int,
    edge: str = VENUE_EDGE,
    frames: int | None = None,
) -> list[Gap]:
    """A gap on each feed that a stream carries: a Bybit ticker has the mark price in it."""
    return [
        stream_gap(
            stream,
            cause,
            start=start,
            end=end,
            receive_time=receive_time,
            ordinal=ordinal,
            edge=edge,
            frames=frames,
            feed=feed,
        )
        for feed in stream.feeds
    ]


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

    def silent(self, status: StreamStatus) -> None:
        """This stream is dead, though its connection is not: down since it last delivered."""
        if status.down_since is None:
            status.down_since = self._last_good(status)
        status.down_cause = GapCause.SILENCE

    def acknowledged(
        self, statuses: Iterable[StreamStatus], time: Nanoseconds, ordinal: int
    ) -> list[Gap]:
        """The venue says that it sends these again: the records of what they missed.

        Of one that was acknowledged before and stayed silent, that proves nothing.
        """
        believed = (status for status in statuses if status.down_cause is not GapCause.SILENCE)
        return self.back(believed, time, ordinal)

    def back(self, statuses: Iterable[StreamStatus], time: Nanoseconds, ordinal: int) -> list[Gap]:
        """These streams deliver again: the records of what they missed."""
        gaps = []
        for status in statuses:
            self._refused.discard(status.stream.name)
            if status.down_since is not None:
                gaps += self._gaps(status, status.down_cause, time, ordinal)
        return gaps

    def refused(
        self, statuses: Iterable[StreamStatus], time: Nanoseconds, ordinal: int
    ) -> list[Gap]:
        """The venue refused these streams: all of them is missing since they were last good, with
        no end in sight.

        A refusal is recorded once, not again by every connection that asks again.
        """
        gaps = []
        for status in statuses:
            if status.stream.name in self._refused:
                continue
            self._refused.add(status.stream.name)
            if status.down_since is None:
                status.down_since = self._last_good(status)
            refusals = self._gaps(status, GapCause.REFUSED, time, ordinal)
            for gap in refusals:
                gap.end_time = None
            gaps += refusals
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
            gap
            for status in self._statuses.values()
            # Among what was lost may be the very answer to the request.
            if self._is_subscribed(status) or status.state is StreamState.REQUESTED
            for gap in stream_gaps(
                status.stream,
                cause,
                start=item.start,
                end=item.end,
                receive_time=item.end,
                ordinal=ordinal,
                edge=item.edge,
                frames=item.frames,
            )
        ]

    def unplaced(self, frames: int, time: Nanoseconds, ordinal: int) -> list[Gap]:
        """Frames were malformed beyond telling whose they were: a gap on each stream of which no id
        would show it.

        ``size`` counts the frames of the whole connection.
        """
        return [
            gap
            for status in self._statuses.values()
            if self._is_subscribed(status) and not status.stream.shows_holes
            for gap in stream_gaps(
                status.stream,
                GapCause.QUARANTINE,
                start=time,
                end=time,
                receive_time=time,
                ordinal=ordinal,
                edge="parser",
                frames=frames,
            )
        ]

    def _last_good(self, status: StreamStatus) -> Nanoseconds:
        """When the venue last sent it, or said that it would, on this connection."""
        times = (status.last_time, status.acknowledged_at, self._opened_at)
        return max(time for time in times if time is not None)

    def _is_subscribed(self, status: StreamStatus) -> bool:
        """Whether the venue sends this stream in this epoch; also while it is subscribed anew."""
        if status.state in (StreamState.ACKNOWLEDGED, StreamState.LIVE):
            return True
        delivered = status.last_time is not None and status.last_time >= self._opened_at
        return status.state is StreamState.REQUESTED and delivered

    def _gaps(
        self, status: StreamStatus, cause: GapCause, time: Nanoseconds, ordinal: int
    ) -> list[Gap]:
        start, status.down_since = status.down_since, None
        status.down_cause = GapCause.DISCONNECT
        edge = SHARD_EDGE if cause is GapCause.CRASH else VENUE_EDGE
        return stream_gaps(
            status.stream,
            cause,
            start=start,
            end=time,
            receive_time=time,
            ordinal=ordinal,
            edge=edge,
        )

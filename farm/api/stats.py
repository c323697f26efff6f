"""What a farm knows of itself at an instant, as plain values that turn into JSON."""

from __future__ import annotations

from typing import Any

import attrs
import cattrs

from farm.books.sync import BookSync
from farm.monitor.feeds import FeedCounts
from farm.pipeline import Line, Pipeline
from farm.types import Nanoseconds

__all__ = ["BookStats", "ConnectionStats", "FarmStats", "FeedStats", "Totals", "collect_stats"]


@attrs.frozen
class BookStats:
    """A book's state: its verdict, what it was made of, and the checks it went through.

    ``compared`` quotes carried the id of a book update, of which ``wrong`` differed from the
    book's top. ``resyncs`` counts how often a book that had stood had to be asked for anew.
    """

    verdict: str
    snapshots: int
    diffs: int
    applied: int
    compared: int
    wrong: int
    resyncs: int


@attrs.frozen
class FeedStats:
    """One feed: ``state`` of its subscription, events and gaps delivered, receive time of the last
    event (ns), its lag behind exchange time in ms (a difference of two clocks: it may be
    negative), events a second since the first."""

    feed: str
    state: str
    reason: str
    events: int
    gaps: int
    last_time: Nanoseconds | None
    lag_ms: float | None
    rate: float | None
    book: BookStats | None


@attrs.frozen
class ConnectionStats:
    """One connection, or one of a recording: ``connects`` counts its epochs, ``failures`` those
    that weather ended."""

    name: str
    status: str
    connects: int
    failures: int
    crashes: int
    frames: int
    bytes: int
    last_error: str


@attrs.frozen
class Totals:
    """Sums over the farm. ``quarantined``: malformed frames, and inputs that crashed an actor
    twice; ``unknown``: frames of types that farm does not know; both are kept."""

    frames: int
    events: int
    gaps: int
    quarantined: int
    unknown: int
    reconnects: int


@attrs.frozen
class FarmStats:
    """All of it. ``unparsed`` counts frames that no core could use, by market and type;
    ``unknown_values`` counts values that no venue document names; ``rows_written`` and
    ``files_written`` are None where nothing is stored."""

    totals: Totals
    feeds: list[FeedStats]
    connections: list[ConnectionStats]
    unparsed: dict[str, int]
    unknown_values: dict[str, int]
    rows_written: int | None
    files_written: int | None

    def to_dict(self) -> dict[str, Any]:
        """As dicts, lists, text and numbers."""
        plain: dict[str, Any] = cattrs.unstructure(self)
        return plain


def collect_stats(pipeline: Pipeline) -> FarmStats:
    """The state of everything that runs, now."""
    states = {
        status.stream.feed: status
        for line in pipeline.lines
        for status in line.session.statuses.values()
    }
    books = {book.stream.feed: book for line in pipeline.lines for book in line.keeper.books}
    feeds = []
    for counts in pipeline.feeds.feeds.values():
        status = states.get(counts.feed)
        book = books.get(counts.feed)
        feeds.append(
            FeedStats(
                feed=counts.feed,
                state=status.state.value if status else "unknown",
                reason=status.reason if status else "",
                events=counts.events,
                gaps=counts.gaps,
                last_time=counts.last_time,
                lag_ms=None if counts.lag is None else counts.lag / 1e6,
                rate=_rate(counts, pipeline.now()),
                book=_book(book) if book is not None else None,
            )
        )
    return FarmStats(
        totals=_totals(pipeline),
        feeds=sorted(feeds, key=lambda feed: feed.feed),
        connections=[_connection(line) for line in pipeline.lines],
        unparsed={
            f"{market} {kind}": count for (market, kind), count in pipeline.unparsed.counts.items()
        },
        unknown_values=_unknown_values(pipeline),
        rows_written=pipeline.store.rows_written if pipeline.store else None,
        files_written=pipeline.store.files_written if pipeline.store else None,
    )


def _totals(pipeline: Pipeline) -> Totals:
    feeds = pipeline.feeds.feeds.values()
    quarantined = sum(
        len(line.inputs.quarantined) + len(line.bundles.quarantined) for line in pipeline.lines
    ) + sum(len(mailbox.quarantined) for _, mailbox in pipeline.hub.stores)
    malformed = pipeline.unparsed.malformed
    return Totals(
        frames=sum(line.counters.frames for line in pipeline.lines),
        events=sum(feed.events for feed in feeds),
        gaps=sum(feed.gaps for feed in feeds),
        quarantined=malformed + quarantined,
        unknown=sum(pipeline.unparsed.counts.values()) - malformed,
        reconnects=sum(max(0, line.counters.connects - 1) for line in pipeline.lines),
    )


def _rate(counts: FeedCounts, now: Nanoseconds) -> float | None:
    if counts.first_time is None:
        return None
    seconds = (now - counts.first_time) / 1e9
    return counts.events / seconds if seconds > 0 else None


def _book(book: BookSync) -> BookStats:
    return BookStats(
        verdict=book.verdict.value,
        snapshots=book.snapshots,
        diffs=book.diffs,
        applied=book.applied,
        compared=book.check.compared,
        wrong=book.check.wrong,
        resyncs=book.resyncs,
    )


def _connection(line: Line) -> ConnectionStats:
    return ConnectionStats(
        name=line.name,
        status=line.status.value,
        connects=line.counters.connects,
        failures=line.failures,
        crashes=line.crashes,
        frames=line.counters.frames,
        bytes=line.counters.nbytes,
        last_error=line.last_error,
    )


def _unknown_values(pipeline: Pipeline) -> dict[str, int]:
    values: dict[str, int] = {}
    for line in pipeline.lines:
        for value, count in line.session.unknown_values.items():
            name = f"{line.rules.key} {value}"
            values[name] = values.get(name, 0) + count
    return values

"""What a pipeline knows of itself at an instant."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from farm.books.sync import BookSync
from farm.exchanges.continuity import ContinuityCounts
from farm.exchanges.session import StreamStatus
from farm.exchanges.streams import ANY_SYMBOL
from farm.monitor.feeds import FeedCounts
from farm.monitor.memory import resident_bytes
from farm.monitor.stats import (
    BookStats,
    ConnectionStats,
    ContinuityStats,
    FarmStats,
    FeedStats,
    ProcessStats,
    Totals,
)
from farm.pipeline.lane import Lane
from farm.pipeline.line import Line, PastLanes
from farm.pipeline.run import Pipeline
from farm.types import DataType, Nanoseconds

__all__ = ["collect_stats"]


def collect_stats(pipeline: Pipeline) -> FarmStats:
    """The state of everything that runs, now."""
    states = {
        feed: status
        for line in pipeline.lines
        for status in line.statuses()
        for feed in status.stream.feeds
    }
    lines = {feed: line for line in pipeline.lines for s in line.streams() for feed in s.feeds}
    books = {book.stream.feed: book for line in pipeline.lines for book in line.keeper.books}
    now = pipeline.now()
    feeds = [
        _feed(counts, _status(counts.feed, states), lines, books, now)
        for counts in pipeline.feeds.feeds.values()
    ]
    own = FarmStats(
        totals=_totals(pipeline),
        feeds=sorted(feeds, key=lambda feed: feed.feed),
        connections=[connection for line in pipeline.lines for connection in _connections(line)],
        unparsed={
            f"{market} {kind}": count for (market, kind), count in pipeline.unparsed.counts.items()
        },
        unknown_values=_summed(
            pipeline, lambda lane: lane.session.unknown_values, lambda past: past.unknown_values
        ),
        foreign=_summed(pipeline, lambda lane: lane.session.foreign, lambda past: past.foreign),
        rows_written=pipeline.store.rows_written if pipeline.store else None,
        files_written=pipeline.store.files_written if pipeline.store else None,
        edges=pipeline.edges(),
    )
    own.processes.append(_this_process(own))
    return own if pipeline.sources is None else pipeline.sources.stats(own)


def _this_process(own: FarmStats) -> ProcessStats:
    return ProcessStats(
        name="main",
        pid=os.getpid(),
        state="running",
        connections=len(own.connections),
        events=own.totals.events,
        rate=None,
        memory=resident_bytes(),
        cpu=None,
        restarts=0,
        reason="",
    )


def _status(feed: str, states: Mapping[str, StreamStatus]) -> StreamStatus | None:
    """The state of the stream that carries a feed: its own, or one of many symbols."""
    exchange, market, symbol, spec = feed.split("/", 3)
    if spec == DataType.SPENT_IDS.value:
        spec = DataType.TRADE.value
    for carrier in (symbol, symbol.partition("-")[0], ANY_SYMBOL):
        status = states.get(f"{exchange}/{market}/{carrier}/{spec}")
        if status is not None:
            return status
    return None


def _feed(
    counts: FeedCounts,
    status: StreamStatus | None,
    lines: Mapping[str, Line],
    books: Mapping[str, BookSync],
    now: Nanoseconds,
) -> FeedStats:
    book, line = books.get(counts.feed), lines.get(counts.feed)
    continuity = line.continuity.counts(counts.feed) if line is not None else None
    state = status.state.value if status else "ended" if counts.ended else ""
    return FeedStats(
        feed=counts.feed,
        state=state,
        reason=status.reason if status else counts.ended,
        events=counts.events,
        gaps=counts.gaps,
        last_time=counts.last_time,
        lag_ms=None if counts.lag is None else counts.lag / 1e6,
        rate=_rate(counts, now),
        book=_book(book) if book is not None else None,
        continuity=_continuity(continuity) if continuity is not None else None,
    )


def _totals(pipeline: Pipeline) -> Totals:
    feeds, lines = pipeline.feeds.feeds.values(), pipeline.lines
    past = _past(pipeline)
    quarantined = sum(
        line.bundles.quarantine_count + sum(lane.inputs.quarantine_count for lane in line.lanes)
        for line in lines
    ) + sum(mailbox.quarantine_count for _, mailbox in pipeline.hub.stores)
    malformed = pipeline.unparsed.malformed
    # The first connection of a lane, and those that take over live, are no reconnects.
    reconnects = sum(max(0, lane.counters.connects - 1) for line in lines for lane in line.lanes)
    return Totals(
        frames=past.frames + sum(lane.counters.frames for line in lines for lane in line.lanes),
        events=sum(feed.events for feed in feeds),
        gaps=sum(feed.gaps for feed in feeds),
        quarantined=malformed + quarantined + past.quarantined,
        unknown=sum(pipeline.unparsed.counts.values()) - malformed,
        reconnects=past.reconnects + reconnects,
        rotations=past.rotations,
    )


def _past(pipeline: Pipeline) -> PastLanes:
    """What lanes and lines that were let go of had seen."""
    past = PastLanes()
    if pipeline.sources is not None:
        past.include(pipeline.sources.past)
    for line in pipeline.lines:
        past.include(line.past)
    return past


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


def _continuity(counts: ContinuityCounts) -> ContinuityStats:
    return ContinuityStats(
        completeness=counts.completeness.value,
        checked=counts.checked,
        missing=counts.missing,
        spent=counts.spent,
        repeats=counts.repeats,
        unadjoined=counts.unadjoined,
        disproved=counts.disproved,
    )


def _connections(line: Line) -> Iterator[ConnectionStats]:
    shares = line.merger.shares()
    for lane in line.lanes:
        share = shares.get(lane.name)
        yield ConnectionStats(
            name=lane.name,
            status=lane.status.value,
            connects=lane.counters.connects,
            failures=lane.failures,
            crashes=lane.crashes,
            frames=lane.counters.frames,
            bytes=lane.counters.nbytes,
            last_error=lane.last_error,
            firsts=share.firsts if share else 0,
            copies=share.copies if share else 0,
            misses=share.misses if share else 0,
        )


def _summed(
    pipeline: Pipeline,
    counts_of: Callable[[Lane], Counter[str]],
    past_of: Callable[[PastLanes], Counter[str]],
) -> dict[str, int]:
    """Counts of all lanes, by market and what is counted."""
    values: Counter[str] = Counter()
    if pipeline.sources is not None:
        values += past_of(pipeline.sources.past)
    for line in pipeline.lines:
        values += past_of(line.past)
        for lane in line.lanes:
            for value, count in counts_of(lane).items():
                values[f"{line.rules.key} {value}"] += count
    return dict(values)

"""What a farm knows of itself at an instant, as plain values that turn into JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs
import cattrs

from farm.books.sync import BookSync
from farm.exchanges.continuity import ContinuityCounts
from farm.exchanges.session import StreamStatus
from farm.exchanges.streams import ANY_SYMBOL
from farm.monitor.feeds import FeedCounts
from farm.pipeline import Lane, Line, Pipeline
from farm.pipeline.line import PastLanes
from farm.types import DataType, Nanoseconds

__all__ = [
    "BookStats",
    "ConnectionStats",
    "ContinuityStats",
    "FarmStats",
    "FeedStats",
    "Totals",
    "collect_stats",
]


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
class ContinuityStats:
    """What trade ids prove: ``completeness`` (complete, incomplete, unknown), ids ``checked``,
    ``missing`` and ``spent`` (used up by the venue for no trade), ``repeats``; ``unadjoined``
    aggregate trades whose trades do not adjoin those before; ``disproved`` breaks of a connection
    in which, by the ids, nothing was missed."""

    completeness: str
    checked: int
    missing: int
    spent: int
    repeats: int
    unadjoined: int
    disproved: int


@attrs.frozen
class FeedStats:
    """One feed: ``state`` of its subscription, events and gaps delivered, receive time of the last
    event (ns), its lag behind exchange time in ms (a difference of two clocks: it may be
    negative), events a second since the first. ``book`` of book feeds, ``continuity`` of trades.
    Feeds that no stream is for (instruments) have no state."""

    feed: str
    state: str
    reason: str
    events: int
    gaps: int
    last_time: Nanoseconds | None
    lag_ms: float | None
    rate: float | None
    book: BookStats | None
    continuity: ContinuityStats | None


@attrs.frozen
class ConnectionStats:
    """One connection, or one of a recording: ``connects`` counts its epochs, ``failures`` those
    that weather ended. Of several lanes: events that came here ``firsts``, ``copies`` that came
    after another's, and ``misses`` that never came."""

    name: str
    status: str
    connects: int
    failures: int
    crashes: int
    frames: int
    bytes: int
    last_error: str
    firsts: int
    copies: int
    misses: int


@attrs.frozen
class Totals:
    """Sums over the farm. ``quarantined``: malformed frames, and inputs that crashed an actor
    twice; ``unknown``: frames of types that farm does not know; both are kept. ``rotations``:
    connections that took over live from one before."""

    frames: int
    events: int
    gaps: int
    quarantined: int
    unknown: int
    reconnects: int
    rotations: int


@attrs.frozen
class FarmStats:
    """All of it. ``unparsed`` counts frames that no core could use, by market and type;
    ``unknown_values`` counts values that no venue document names, ``foreign`` rows of the other
    market on streams that carry two; ``rows_written`` and
    ``files_written`` are None where nothing is stored."""

    totals: Totals
    feeds: list[FeedStats]
    connections: list[ConnectionStats]
    unparsed: dict[str, int]
    unknown_values: dict[str, int]
    foreign: dict[str, int]
    rows_written: int | None
    files_written: int | None

    def to_dict(self) -> dict[str, Any]:
        """As dicts, lists, text and numbers."""
        plain: dict[str, Any] = cattrs.unstructure(self)
        return plain


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
    return FarmStats(
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

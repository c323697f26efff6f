"""One picture of a farm in many processes: what each knows of itself, put together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import attrs

from farm.monitor.stats import (
    BookStats,
    ContinuityStats,
    EdgeStats,
    FarmStats,
    FeedStats,
    Totals,
)
from farm.types import Completeness

__all__ = ["counts_of", "merge"]


def merge(parts: Sequence[FarmStats]) -> FarmStats:
    """Several processes as one."""
    feeds = _merge_feeds(parts)
    return FarmStats(
        totals=_totals(parts, feeds),
        feeds=feeds,
        connections=[connection for part in parts for connection in part.connections],
        unparsed=_summed(part.unparsed for part in parts),
        unknown_values=_summed(part.unknown_values for part in parts),
        foreign=_summed(part.foreign for part in parts),
        rows_written=_sum_or_none(part.rows_written for part in parts),
        files_written=_sum_or_none(part.files_written for part in parts),
        edges=_edges(parts),
        processes=[process for part in parts for process in part.processes],
    )


def counts_of(stats: FarmStats) -> FarmStats:
    """Of a process that is gone: counts, and nothing of how it was. Its queues went with it."""
    feeds = [attrs.evolve(feed, state="", reason="", rate=None, book=None) for feed in stats.feeds]
    return attrs.evolve(stats, feeds=feeds, connections=[], processes=[], edges=[])


def _merge_feeds(parts: Iterable[FarmStats]) -> list[FeedStats]:
    """Each feed once: counts are added up, its state is that of where it runs."""
    known: dict[str, FeedStats] = {}
    for part in parts:
        for feed in part.feeds:
            before = known.get(feed.feed)
            known[feed.feed] = feed if before is None else _merge(before, feed)
    return sorted(known.values(), key=lambda feed: feed.feed)


def _merge(a: FeedStats, b: FeedStats) -> FeedStats:
    """Two views of one feed; where both say how it is, the later one is right."""
    lead, other = (b, a) if b.state else (a, b)
    if a.state == "ended":  # by whom it is collected: what was in a shard may live there still
        lead, other = a, b
    last = max((t for t in (a.last_time, b.last_time) if t is not None), default=None)
    return attrs.evolve(
        lead,
        reason=lead.reason or ("" if lead.state else other.reason),
        events=a.events + b.events,
        gaps=a.gaps + b.gaps,
        last_time=last,
        lag_ms=lead.lag_ms if lead.lag_ms is not None else other.lag_ms,
        rate=lead.rate if lead.rate is not None else other.rate,
        book=_merge_books(lead.book, other.book),
        continuity=_merge_continuity(a.continuity, b.continuity),
    )


def _merge_books(lead: BookStats | None, other: BookStats | None) -> BookStats | None:
    return lead if lead is not None else other


_WORST_FIRST = (Completeness.INCOMPLETE, Completeness.UNKNOWN, Completeness.COMPLETE)


def _merge_continuity(
    a: ContinuityStats | None, b: ContinuityStats | None
) -> ContinuityStats | None:
    if a is None or b is None:
        return a or b
    sums = {
        field.name: getattr(a, field.name) + getattr(b, field.name)
        for field in attrs.fields(ContinuityStats)
        if field.name != "completeness"
    }
    worst = next(c.value for c in _WORST_FIRST if c.value in (a.completeness, b.completeness))
    return ContinuityStats(completeness=worst, **sums)


def _totals(parts: Sequence[FarmStats], feeds: Sequence[FeedStats]) -> Totals:
    sums: dict[str, Any] = {
        field.name: sum(getattr(part.totals, field.name) for part in parts)
        for field in attrs.fields(Totals)
    }
    return Totals(**{**sums, "gaps": sum(feed.gaps for feed in feeds)})


def _edges(parts: Iterable[FarmStats]) -> list[EdgeStats]:
    sums: dict[str, Counter[str]] = {}
    for part in parts:
        for edge in part.edges:
            known = sums.setdefault(edge.edge, Counter())
            for name in ("offered", "taken", "dropped", "waiting"):
                known[name] += getattr(edge, name)
    return [
        EdgeStats(edge, counts["offered"], counts["taken"], counts["dropped"], counts["waiting"])
        for edge, counts in sums.items()
    ]


def _summed(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for some in counts:
        total.update(some)
    return dict(total)


def _sum_or_none(values: Iterable[int | None]) -> int | None:
    present = [value for value in values if value is not None]
    return sum(present) if present else None

"""Whether all is well with a farm: a verdict on what it knows of itself."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum

import attrs

from farm.exchanges.session import StreamState
from farm.monitor.stats import ConnectionStats, FarmStats, FeedStats, ProcessStats
from farm.types import BookVerdict, CollectorStatus

__all__ = ["FarmHealth", "HealthState", "judge"]


class HealthState(Enum):
    """STARTING: nothing is wrong, but something has not come up yet."""

    WELL = "well"
    STARTING = "starting"
    UNWELL = "unwell"


@attrs.frozen
class FarmHealth:
    """A verdict. ``problems`` are what makes a farm unwell, ``pending`` is what has not come up,
    ``losses`` what is missing so far: all sentences that name the thing. Losses are on record, and
    so make nothing unwell by themselves."""

    state: HealthState
    problems: list[str]
    pending: list[str]
    losses: list[str]


_WANTED = {StreamState.IDLE.value, StreamState.REQUESTED.value}
_UNPROVEN = {*_WANTED, StreamState.ACKNOWLEDGED.value}


def judge(stats: FarmStats) -> FarmHealth:
    """What is wrong with a farm, and what has not come up yet."""
    problems = list(_problems(stats))
    pending = list(_pending(stats))
    state = HealthState.STARTING if pending else HealthState.WELL
    if problems:
        state = HealthState.UNWELL
    return FarmHealth(state, problems, pending, list(_losses(stats)))


# --- problems ------------------------------------------------------------------------------------


def _problems(stats: FarmStats) -> Iterator[str]:
    for process in stats.processes:
        yield from _process_problems(process)
    for connection in stats.connections:
        yield from _connection_problems(connection)
    for feed in stats.feeds:
        yield from _feed_problems(feed)
        yield from _book_problems(feed)
    for edge in stats.edges:
        found = edge.taken + edge.dropped + edge.waiting
        if edge.offered != found:
            yield (
                f"the counts of {edge.edge} do not add up: {edge.offered:,} offered, but "
                f"{edge.taken:,} taken, {edge.dropped:,} dropped and {edge.waiting:,} waiting"
            )


def _process_problems(process: ProcessStats) -> Iterator[str]:
    if process.state in ("parked", "restarting"):
        yield _because(f"{process.name} is {process.state}", process.reason)


def _connection_problems(connection: ConnectionStats) -> Iterator[str]:
    name, error = connection.name, connection.last_error
    if connection.status == CollectorStatus.PARKED.value:
        yield _because(f"{name} is parked", error)
    elif connection.status == CollectorStatus.BACKING_OFF.value:
        yield _because(f"{name} waits to connect again", error)
    elif connection.status == CollectorStatus.CONNECTING.value and (
        connection.failures or connection.crashes
    ):
        yield _because(f"{name} is connecting again", error)


def _feed_problems(feed: FeedStats) -> Iterator[str]:
    if feed.state == StreamState.FAILED.value:
        yield _because(f"{feed.feed} was refused", feed.reason)
    elif feed.state == StreamState.DOWN.value:
        yield _because(f"{feed.feed} is down", feed.reason)
    elif feed.state in _UNPROVEN and feed.reason:
        # A stream that is silent for too long, or was refused, keeps the reason until it delivers.
        yield f"{feed.feed} delivers nothing: {feed.reason}"


def _book_problems(feed: FeedStats) -> Iterator[str]:
    book = feed.book
    if book is None:
        return
    if book.verdict in (BookVerdict.STALE.value, BookVerdict.SUSPECT.value):
        yield f"the book of {feed.feed} is {book.verdict}"
    if book.wrong:
        yield f"{book.wrong:,} of {book.compared:,} quotes contradicted the book of {feed.feed}"


# --- what is to come, and what is missing --------------------------------------------------------


def _pending(stats: FarmStats) -> Iterator[str]:
    for process in stats.processes:
        if process.state == "starting":
            yield f"{process.name} is starting"
    for feed in stats.feeds:
        if feed.state in _WANTED and not feed.reason:
            yield f"{feed.feed} is not subscribed yet"
        elif feed.book is not None and feed.book.verdict == BookVerdict.SYNCING.value:
            yield f"the book of {feed.feed} is not synchronised yet"


def _losses(stats: FarmStats) -> Iterator[str]:
    totals = stats.totals
    if totals.gaps:
        yield f"{totals.gaps:,} gaps are on record"
    if totals.quarantined:
        yield f"{totals.quarantined:,} items are in quarantine"
    for edge in stats.edges:
        if edge.dropped:
            yield f"{edge.dropped:,} items were dropped on {edge.edge}"


def _because(text: str, reason: str) -> str:
    return f"{text}: {reason}" if reason else text

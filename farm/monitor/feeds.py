"""Counts of what each feed delivered, kept a batch at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from operator import attrgetter
from typing import Any

import attrs

from farm.batch import Batch
from farm.bundle import Bundle
from farm.entities import BookUpdate, ContinuousKline, Gap, Kline, feed_of
from farm.exchanges.decoded import Decoded
from farm.types import Nanoseconds

__all__ = ["FeedCounters", "FeedCounts"]


@attrs.define
class FeedCounts:
    """What one feed delivered. ``lag`` is receive less exchange time of the last event, in ns:
    it holds the difference of two clocks and may be negative; None where the venue gives no time.
    ``ended`` says why it is collected no longer, if so.
    """

    feed: str
    events: int = 0
    gaps: int = 0
    first_time: Nanoseconds | None = None
    last_time: Nanoseconds | None = None
    lag: Nanoseconds | None = None
    ended: str = ""


# What tells the feeds of a kind apart; for the kinds that aren't here it is the symbol.
_KEYS: dict[type[Any], Callable[[Any], Any]] = {
    BookUpdate: attrgetter("symbol", "depth"),
    Kline: attrgetter("symbol", "interval"),
    ContinuousKline: attrgetter("symbol", "contract_type", "interval"),
}
_SYMBOL = attrgetter("symbol")


class FeedCounters:
    """Counts by feed, over all connections."""

    def __init__(self) -> None:
        self.feeds: dict[str, FeedCounts] = {}
        self._known: dict[tuple[Any, ...], FeedCounts] = {}

    def expect(self, feed: str) -> FeedCounts:
        """The counts of a feed, from now on listed even if nothing comes."""
        counts = self.feeds.get(feed)
        if counts is None:
            counts = self.feeds[feed] = FeedCounts(feed)
        return counts

    def count(self, bundle: Bundle) -> None:
        """Count a bundle's events."""
        for batch in bundle.batches:
            if batch.kind is Gap:
                for gap in batch.rows:
                    self.expect(gap.feed).gaps += 1
            else:
                self._count(batch, bundle)

    def _count(self, batch: Batch[Any], bundle: Bundle) -> None:
        source = batch.source
        if isinstance(source, Decoded) and source.recipe.is_by_stream:
            for run in source.runs:
                counts = self.expect(run.stream.feed)
                _add(counts, run.count, source.time, run.exchange_time)
        else:
            self._count_rows(batch, bundle)

    def _count_rows(self, batch: Batch[Any], bundle: Bundle) -> None:
        key_of, origin = _KEYS.get(batch.kind, _SYMBOL), bundle.origin
        last = {key_of(row): row for row in batch.rows}
        counts = Counter(map(key_of, batch.rows)) if len(last) > 1 else None
        for key, row in last.items():
            known = (origin.exchange, origin.market, batch.kind, key)
            feed = self._known.get(known)
            if feed is None:
                feed = self._known[known] = self.expect(feed_of(row))
            number = len(batch.rows) if counts is None else counts[key]
            _add(feed, number, row.receive_time, row.exchange_time)


def _add(
    counts: FeedCounts, number: int, time: Nanoseconds, exchange_time: Nanoseconds | None
) -> None:
    """So many more events, and the times of the last."""
    counts.events += number
    counts.last_time = time
    if counts.first_time is None:
        counts.first_time = time
    if exchange_time is not None:
        counts.lag = time - exchange_time

"""Events lost within farm, on the way to a reader: folded into gaps, one a feed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, TypeAlias

import attrs

from farm.batch import Batch, Origin
from farm.bundle import Bundle
from farm.entities import Event, Gap, feed_of
from farm.exchanges.decoded import Decoded, Run
from farm.types import Exchange, GapCause, GapUnit, Market, Nanoseconds, Symbol

__all__ = ["lose_batches", "lose_bundles"]


def lose_batches(
    edge: str,
) -> Callable[[Batch[Any] | None, Batch[Any], bool], Batch[Any]]:
    """How a mailbox of batches loses them: to a batch of gaps on `edge`.

    A loss that grows is changed in place, for nobody has read it yet: under overload this runs for
    every batch, and copying the gaps of a thousand feeds would take milliseconds.
    """
    last: Batch[Any] | None = None  # the loss made last, and the gaps in it that may grow
    growing: dict[str, Gap] = {}

    def lose(loss: Batch[Any] | None, batch: Batch[Any], quarantined: bool) -> Batch[Any]:
        nonlocal last, growing
        cause = GapCause.QUARANTINE if quarantined else GapCause.OVERFLOW
        gaps: list[Gap] = loss.rows if loss is not None else []
        if loss is None or loss is not last:
            growing = {gap.feed: gap for gap in gaps if gap.edge == edge and gap.cause is cause}
        origins: list[tuple[Origin, int]] = []
        if loss is not None:  # its own list, but where somebody else made it
            origins = loss.origins if isinstance(loss.origins, list) else list(loss.origins)
        if batch.kind is Gap:
            gaps += batch.rows
            for origin, count in batch.origins:
                _append_run(origins, origin, count)
        else:
            begun = _extend(growing, batch, edge, cause)
            gaps += begun
            if begun:
                _append_run(origins, batch.origins[-1][0], len(begun))
        last = Batch(Gap, rows=gaps, origins=origins, numbers=batch.numbers)
        return last

    return lose


def lose_bundles(edge: str) -> Callable[[Bundle | None, Bundle, bool], Bundle]:
    """How a mailbox of bundles loses them: to a bundle of gaps on `edge`.

    What told of a loss before is passed on, and so are a quarantined bundle's unparsed frames: they
    are records themselves. A dropped bundle's frames are the hub's, which keeps them first of all.
    """
    lose_batch = lose_batches(edge)

    def lose(loss: Bundle | None, bundle: Bundle, quarantined: bool) -> Bundle:
        gaps: Batch[Any] | None = loss.batches[0] if loss is not None and loss.batches else None
        for batch in bundle.batches:
            gaps = lose_batch(gaps, batch, quarantined)
        return Bundle(
            bundle.origin,
            bundle.serial,
            bundle.receive_time,
            [gaps] if gaps is not None else [],
            bundle.unparsed if quarantined else [],
            bundle.ended or (loss.ended if loss is not None else None),
        )

    return lose


def _append_run(origins: list[tuple[Origin, int]], origin: Origin, count: int) -> None:
    if origins and origins[-1][0] == origin:
        origins[-1] = origin, origins[-1][1] + count
    else:
        origins.append((origin, count))


def _extend(growing: dict[str, Gap], batch: Batch[Any], edge: str, cause: GapCause) -> list[Gap]:
    """Extend the gap of each feed in `batch`; those that had to be begun."""
    begun = []
    for feed, count, first, last in _feeds(batch):
        gap = growing.get(feed)
        if gap is None:
            gap = growing[feed] = _gap(feed, first, edge, cause)
            begun.append(gap)
        assert gap.size is not None
        gap.size += count
        gap.end_time = gap.receive_time = last.receive_time
        gap.ordinal = last.ordinal
    return begun


@attrs.frozen
class _Place:
    """As much of an event as its loss must know."""

    exchange: Exchange
    market: Market
    symbol: Symbol
    receive_time: Nanoseconds
    ordinal: int


_Loss: TypeAlias = tuple[str, int, Event | _Place, Event | _Place]


def _feeds(batch: Batch[Any]) -> list[_Loss]:
    """Feed, number of events, first and last event, of each feed in a batch. No event is made for
    that: what is dropped is dropped because there is no time for it."""
    source = batch.source
    if isinstance(source, Decoded) and source.recipe.is_by_stream:
        return [_loss_of(run) for run in source.runs]
    counts: Counter[str] = Counter()
    first: dict[str, Event] = {}
    last: dict[str, Event] = {}
    for row in batch.rows:
        feed = feed_of(row)
        counts[feed] += 1
        first.setdefault(feed, row)
        last[feed] = row
    return [(feed, counts[feed], first[feed], last[feed]) for feed in counts]


def _loss_of(run: Run) -> _Loss:
    stream = run.stream
    place = _Place(stream.exchange, stream.market, stream.symbol, run.receive_time, run.ordinal)
    return stream.feed, run.count, place, place


def _gap(feed: str, row: Event | _Place, edge: str, cause: GapCause) -> Gap:
    return Gap(
        exchange=row.exchange,
        market=row.market,
        symbol=row.symbol,
        feed=feed,
        edge=edge,
        cause=cause,
        first_id=None,
        last_id=None,
        start_time=row.receive_time,
        end_time=row.receive_time,
        size=0,
        unit=GapUnit.EVENTS,
        repaired=False,
        receive_time=row.receive_time,
        ordinal=row.ordinal,
    )

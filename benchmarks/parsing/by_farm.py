"""farm: the protocol core as it runs live (routing, states, counters, batches), read by read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from farm.batch import Batch
from farm.books.keeper import BookKeeper
from farm.bundle import Bundle
from farm.exchanges.core import CoreSession
from farm.exchanges.registry import make_session, rules_of
from farm.exchanges.session import Frames, Opened, SnapshotReply
from farm.exchanges.streams import Stream
from farm.types import Exchange, Market

__all__ = ["as_columns", "as_objects", "events_of", "keeping_books", "with_level_objects"]

Reads = Sequence[list[bytes]]
Work = Callable[[], int]
Prepare = Callable[[Reads], Work]
"""Make ready for one round, which is not timed: a connection is opened once and lives for a day."""


def opened(exchange: Exchange, market: Market, reads: Reads) -> CoreSession:
    """A core that has heard of the streams of these reads."""
    session = make_session(rules_of(exchange, market), [], connection="bench", discover=True)
    session.handle(Opened(1, 1, 0.0))
    firsts = {raw.partition(b",")[0]: raw for read in reads for raw in reversed(read)}
    session.handle(Frames(1, 1, 1, list(firsts.values()), 0))
    return session


def bundles(session: CoreSession, reads: Reads) -> Iterable[Bundle]:
    ordinal = 1
    for read in reads:
        bundle = session.handle(Frames(1, 1, ordinal, read, 0))
        ordinal += len(read)
        if bundle is not None:
            yield bundle


def of_kinds(bundle: Bundle, kinds: frozenset[type[Any]]) -> list[Batch[Any]]:
    return [batch for batch in bundle.batches if batch.kind in kinds]


def events_of(
    exchange: Exchange, market: Market, kinds: frozenset[type[Any]], reads: Reads
) -> list[Any]:
    """The events themselves, to be compared."""
    return [
        row
        for bundle in bundles(opened(exchange, market, reads), reads)
        for batch in of_kinds(bundle, kinds)
        for row in batch
    ]


def taking(
    exchange: Exchange, market: Market, kinds: frozenset[type[Any]], take: Callable[[Any], int]
) -> Prepare:
    """Every batch of these kinds is given to `take`, which says how many events it has."""

    def prepare(reads: Reads) -> Work:
        session = opened(exchange, market, reads)

        def work() -> int:
            return sum(
                take(batch)
                for bundle in bundles(session, reads)
                for batch in of_kinds(bundle, kinds)
            )

        return work

    return prepare


def as_objects(exchange: Exchange, market: Market, kinds: frozenset[type[Any]]) -> Prepare:
    """Every event as an object."""
    return taking(exchange, market, kinds, lambda batch: len(batch.rows))


def as_columns(exchange: Exchange, market: Market, kinds: frozenset[type[Any]]) -> Prepare:
    """Every column of every batch, those that are the same in all rows among them."""

    def take(batch: Batch[Any]) -> int:
        return len([batch.columns[name] for name in batch.column_names][0])  # noqa: RUF015 (all)

    return taking(exchange, market, kinds, take)


def with_level_objects(exchange: Exchange, market: Market, kinds: frozenset[type[Any]]) -> Prepare:
    """Books with an object for every level."""

    def take(batch: Batch[Any]) -> int:
        return sum(update.bids is not update.asks for update in batch.rows)

    return taking(exchange, market, kinds, take)


def keeping_books(
    exchange: Exchange, market: Market, snapshots: Sequence[tuple[Stream, bytes]]
) -> Prepare:
    """Books parsed and kept: levels, ids, verdicts; how many updates the books took."""

    def prepare(reads: Reads) -> Work:
        session = make_session(rules_of(exchange, market), [], connection="bench", discover=True)
        session.handle(Opened(1, 1, 0.0))
        keeper = BookKeeper(
            lambda: [status.stream for status in session.statuses.values()],
            lambda _stream, _need: None,
            paced=False,
        )
        for stream, body in snapshots:
            reply = session.handle(SnapshotReply(1, 1, 0, stream, body, len(body)))
            assert reply is not None
            keeper.take(reply)

        def work() -> int:
            for bundle in bundles(session, reads):
                keeper.take(bundle)
            return sum(book.applied + book.snapshots for book in keeper.books) - len(snapshots)

        return work

    return prepare

"""The hub: where the lines of all connections meet their readers.

It is no actor: publishing is the aggregator's last act, and the hub hands each bundle to whoever
asked for such. A redelivered bundle goes to no reader twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import numpy as np
import trio

from farm.actors.mailbox import Mailbox
from farm.batch import Batch
from farm.bundle import Bundle, UnparsedFrame
from farm.entities import BookUpdate, Event, Gap, data_type_of
from farm.exchanges.decoded import Decoded
from farm.monitor.feeds import FeedCounters
from farm.types import Exchange, Market, Symbol

__all__ = ["Filter", "Hub", "Outlet", "Publisher"]


@attrs.frozen
class Filter:
    """Which events a subscriber wants; None means all. ``books``: of the updates of books those
    from these markets, of this depth."""

    kinds: frozenset[type[Event]]
    symbols: frozenset[Symbol] | None = None
    exchange: Exchange | None = None
    market: Market | None = None
    books: frozenset[tuple[Exchange, Market, int | None]] | None = None

    def apply(self, bundle: Bundle) -> list[Batch[Any]]:
        """The wanted part of a bundle; batches that are wanted whole are shared, not copied."""
        origin = bundle.origin
        if self.exchange not in (None, origin.exchange) or self.market not in (None, origin.market):
            return []
        wanted = [batch for batch in bundle.batches if batch.kind in self.kinds]
        if self.symbols is None and self.books is None:
            return wanted
        parts = [self._part(batch) for batch in wanted]
        return [part for part in parts if len(part)]

    def _part(self, batch: Batch[Any]) -> Batch[Any]:
        if batch.kind is not BookUpdate and self._wants_all(batch):
            return batch
        symbols, books, rows = self.symbols, self.books, batch.rows
        if symbols is not None:
            rows = [row for row in rows if row.symbol in symbols]
        if books is not None and batch.kind is BookUpdate:
            rows = [row for row in rows if (row.exchange, row.market, row.depth) in books]
        if len(rows) == len(batch.rows):
            return batch
        origin = batch.origins[0][0]
        return Batch(
            batch.kind,
            rows=rows,
            origins=[(origin, len(rows))],
            numbers=batch.numbers,
            nbytes=batch.nbytes * len(rows) // len(batch.rows),
        )

    def _wants_all(self, batch: Batch[Any]) -> bool:
        """Whether that can be told, and is so, without making a row."""
        symbols, source = self.symbols, batch.source
        if symbols is None:
            return True
        if isinstance(source, Decoded) and source.recipe.is_by_stream:
            return all(run.stream.symbol in symbols for run in source.runs)
        if batch.has_rows or not len(batch):
            return False
        names = batch.columns["symbol"]
        return isinstance(names, np.ndarray) and symbols.issuperset(names.tolist())

    def concerns(self, gap: Gap) -> bool:
        """Whether what a gap tells of would have been wanted."""
        kind = gap.feed.split("/", 3)[3].partition(":")[0]
        return (
            self.exchange in (None, gap.exchange)
            and self.market in (None, gap.market)
            and (self.symbols is None or gap.symbol in self.symbols)
            and any(data_type_of(wanted).value == kind for wanted in self.kinds)
        )


@attrs.define(eq=False)
class Outlet:
    """A reader's end at the hub: a deliver function, what it wants and where that goes (None: it is
    no subscriber's), and what it has seen of each connection."""

    deliver: Callable[[Bundle], None]
    wanted: Filter | None = None
    mailbox: Mailbox[Batch[Any]] | None = None
    seen: dict[str, int] = attrs.field(factory=dict)


class Publisher:
    """How bundles reach their readers: ``await publish(bundle)``, or ``publish.offer(bundle)``."""

    # No abstract base class: the aggregator asks for each bundle whether it has one of these, and
    # of those that takes ten times as long.

    async def __call__(self, bundle: Bundle) -> None:
        """Publish, waiting for who has no room."""
        raise NotImplementedError

    def offer(self, bundle: Bundle) -> bool:
        """Publish if nobody has to be waited for; whether it did. Where not, a call is to follow:
        it goes on from there."""
        raise NotImplementedError


@attrs.define(eq=False)
class _HubPublisher(Publisher):
    """Hands bundles to everyone who has not seen them.

    Stores come first, for they may have to be waited for: what is cancelled in that has been
    published to nobody, and counted nowhere.
    """

    _outlets: list[Outlet]
    _stores: list[tuple[Outlet, Mailbox[Bundle]]]

    async def __call__(self, bundle: Bundle) -> None:
        await trio.lowlevel.checkpoint()  # so that who has just opened the farm can subscribe
        connection, serial = bundle.origin.connection, bundle.serial
        for outlet, mailbox in self._stores:
            if outlet.seen.get(connection, -1) < serial:
                await mailbox.send(bundle)
                outlet.seen[connection] = serial
        self._deliver(bundle)

    def offer(self, bundle: Bundle) -> bool:
        connection, serial = bundle.origin.connection, bundle.serial
        for outlet, mailbox in self._stores:
            if outlet.seen.get(connection, -1) < serial:
                if not mailbox.offer(bundle):
                    return False
                outlet.seen[connection] = serial
        self._deliver(bundle)
        return True

    def _deliver(self, bundle: Bundle) -> None:
        connection, serial = bundle.origin.connection, bundle.serial
        for outlet in self._outlets:
            seen = outlet.seen
            if seen.get(connection, -1) < serial:
                outlet.deliver(bundle)
                seen[connection] = serial


class Hub:
    """Fans bundles out. `counters` count what is published, `keep` gets what was not parsed.

    ``publish`` is for whoever publishes, and ``stores`` are the mailboxes of stores.
    """

    def __init__(self, counters: FeedCounters, keep: Callable[[list[UnparsedFrame]], None]) -> None:
        self._counters = counters
        self._keep = keep
        self._outlets: list[Outlet] = [Outlet(self._count)]
        self.stores: list[tuple[Outlet, Mailbox[Bundle]]] = []
        self.publish: Publisher = _HubPublisher(self._outlets, self.stores)

    def subscribe(self, wanted: Filter, mailbox: Mailbox[Batch[Any]]) -> Outlet:
        """Have what `wanted` says put into `mailbox`, which must not block."""

        def deliver(bundle: Bundle) -> None:
            for batch in wanted.apply(bundle):
                mailbox.put(batch)

        outlet = Outlet(deliver, wanted, mailbox)
        self._outlets.append(outlet)
        return outlet

    @property
    def filters(self) -> list[Filter]:
        """What is subscribed."""
        return [outlet.wanted for outlet in self._outlets if outlet.wanted is not None]

    def relay(self, bundle: Bundle) -> None:
        """Hand a bundle to who reads here: it was published, counted and stored elsewhere."""
        for outlet in self._outlets[1:]:  # the first one counts
            outlet.deliver(bundle)

    def relay_losses(self, losses: Batch[Gap]) -> None:
        """Tell those of losses on their way here who would not hear of them as events."""
        for outlet in self._outlets:
            wanted, mailbox = outlet.wanted, outlet.mailbox
            if wanted is None or mailbox is None or Gap in wanted.kinds:
                continue
            rows = [gap for gap in losses.rows if wanted.concerns(gap)]
            if rows:
                origins = [(losses.origins[0][0], len(rows))]
                mailbox.put(Batch(Gap, rows=rows, origins=origins, numbers=losses.numbers))

    def listen(self, deliver: Callable[[Bundle], None]) -> None:
        """Have every bundle shown to `deliver`, for good."""
        self._outlets.append(Outlet(deliver))

    def store(self, mailbox: Mailbox[Bundle]) -> None:
        """Have every bundle put whole into `mailbox`, waiting for room where its policy is so."""
        self.stores.append((Outlet(lambda _bundle: None), mailbox))

    def unsubscribe(self, outlet: Outlet) -> None:
        """The reader is gone."""
        self._outlets.remove(outlet)

    def _count(self, bundle: Bundle) -> None:
        self._counters.count(bundle)
        if bundle.unparsed:
            self._keep(bundle.unparsed)

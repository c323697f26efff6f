"""A mailbox for who wants the newest state and not the way to it: the latest row of each feed.

At most one row a feed waits. A newer one takes its place, at the end of the order, and what was
replaced is a loss like any other: counted, and delivered as one gap a feed, before what replaced
it. So memory is bounded by the number of feeds, however slow the reader, but for the gaps that come
from elsewhere: they are no state, and all are delivered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from typing import Any

import attrs
import trio

from farm.actors.losses import lose_batches
from farm.actors.mailbox import Mailbox, Quarantined
from farm.batch import Batch, Origin
from farm.entities import Event, Gap, feed_of
from farm.types import NumberMode

__all__ = ["ConflatingMailbox"]


@attrs.frozen
class _Latest:
    """The newest row of a feed, and what a batch has to know of it."""

    row: Event
    origin: Origin
    numbers: NumberMode
    nbytes: int


class ConflatingMailbox(Mailbox[Batch[Any]]):
    """The latest of each feed, in batches of one kind, rows in the order of their last update.

    ``offered``, ``taken``, ``dropped`` and the length count rows; of gaps those that were put, not
    those that are made here.
    """

    def __init__(
        self,
        name: str,
        *,
        on_quarantine: Callable[[Quarantined[Batch[Any]]], None] = lambda _kept: None,
    ) -> None:
        super().__init__(
            name, lose=lose_batches(name), max_bytes=0, max_items=0, on_quarantine=on_quarantine
        )
        self._latest: dict[str, _Latest] = {}
        self._gaps: Batch[Gap] | None = None  # those that were put, and those made here
        self._gaps_put = 0
        self._news = trio.Event()

    def __len__(self) -> int:
        """Rows that wait."""
        kept = sum(len(batch) for batch, is_loss in self._head if not is_loss)
        return len(self._latest) + self._gaps_put + kept

    def put(self, item: Batch[Any]) -> None:
        """Put a batch; what waits of its feeds is replaced.

        trio.ClosedResourceError after :meth:`close`.
        """
        if self._closed:
            raise trio.ClosedResourceError
        self.offered += len(item)
        if item.kind is Gap:
            self._gaps = self._lose(self._gaps, item, False)
            self._gaps_put += len(item)
        else:
            self._replace(item)
        self._news.set()

    def close(self) -> None:
        """Nothing will follow; the reader gets what is left, then the end."""
        super().close()
        self._news.set()

    def _replace(self, batch: Batch[Any]) -> None:
        latest, replaced = self._latest, list[_Latest]()
        share = batch.nbytes // max(1, len(batch))
        for row, origin in zip(batch.rows, _each_origin(batch), strict=True):
            feed = feed_of(row)
            before = latest.pop(feed, None)
            if before is not None:
                replaced.append(before)
            latest[feed] = _Latest(row, origin, batch.numbers, share)
            self.nbytes += share
        for _, lost in groupby(replaced, key=lambda entry: entry.origin):
            self._drop(_batch_of(lost))

    def _drop(self, batch: Batch[Any]) -> None:
        self.dropped += len(batch)
        self.nbytes -= batch.nbytes
        self._gaps = self._lose(self._gaps, batch, False)

    async def _take(self) -> Batch[Any]:
        await trio.lowlevel.checkpoint()
        while not (self._head or self._gaps or self._latest):
            if self._closed:
                raise trio.EndOfChannel
            self._news = trio.Event()
            await self._news.wait()
        return self._next()

    def _next(self) -> Batch[Any]:
        if self._head:
            batch, is_loss = self._head.popleft()
            self.taken += 0 if is_loss else len(batch)
            return batch
        if self._gaps is None:
            batch = self._take_kind()
            self.taken += len(batch)
            return batch
        self.taken += self._gaps_put
        gaps = self._take_gaps()
        if self._latest:
            # Out of reach of the next put, whose gap would come before the row it is about; and a
            # reader who is always too slow would get gaps alone.
            self._head.append((self._take_kind(), False))
        return gaps

    def _take_gaps(self) -> Batch[Gap]:
        gaps, self._gaps, self._gaps_put = self._gaps, None, 0
        assert gaps is not None
        return gaps

    def _take_kind(self) -> Batch[Any]:
        """All rows of the kind that was updated longest ago."""
        kind = type(next(iter(self._latest.values())).row)
        feeds = [feed for feed, entry in self._latest.items() if type(entry.row) is kind]
        batch = _batch_of(self._latest.pop(feed) for feed in feeds)
        self.nbytes -= batch.nbytes
        return batch

    def _take_all(self) -> Iterator[tuple[Batch[Any], int]]:
        for batch, is_loss in self._head:
            yield batch, 0 if is_loss else len(batch)
        self._head.clear()
        if self._gaps is not None:
            put = self._gaps_put
            yield self._take_gaps(), put
        while self._latest:
            batch = self._take_kind()
            yield batch, len(batch)


def _each_origin(batch: Batch[Any]) -> Iterator[Origin]:
    for origin, count in batch.origins:
        for _ in range(count):
            yield origin


def _batch_of(entries: Iterable[_Latest]) -> Batch[Any]:
    entries = list(entries)
    return Batch(
        type(entries[0].row),
        rows=[entry.row for entry in entries],
        origins=[(origin, len(list(run))) for origin, run in groupby(e.origin for e in entries)],
        numbers=entries[0].numbers,
        nbytes=sum(entry.nbytes for entry in entries),
    )

"""A subscription: batches for one reader, through a bounded queue of its own."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Generic, TypeVar

import attrs
import trio

from farm.actors.conflate import ConflatingMailbox
from farm.actors.hub import Filter, Outlet
from farm.actors.mailbox import Mailbox, Reader
from farm.batch import Batch
from farm.cluster.outlet import LINK_EDGE
from farm.entities import Event, Gap
from farm.pipeline import Pipeline

__all__ = ["Subscription"]

E = TypeVar("E", bound=Event)


class Subscription(Generic[E]):
    """Batches of the kinds that were asked for: ``async with`` opens it, ``async for`` reads it.

    It ends when the farm does. What its reader is too slow for is dropped, oldest first, and
    becomes gaps: delivered in their place where :class:`~farm.entities.Gap` was subscribed, and
    always kept in ``gaps``, one a feed and edge; and so is what was lost on the way from a shard.
    Nobody else loses anything by it. Conflated, the latest row of each feed waits for it, and what
    that replaced is such a loss.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        wanted: Filter,
        name: str,
        max_bytes: int,
        *,
        conflate: bool = False,
    ) -> None:
        self.gaps: list[Gap] = []
        self._pipeline = pipeline
        self._wanted = wanted
        self._mailbox: Mailbox[Batch[Any]] = pipeline.subscriber_mailbox(name, max_bytes)
        if conflate:
            self._mailbox = ConflatingMailbox(self._mailbox.name)
        self._reader: Reader[Batch[Any]] | None = None
        self._outlet: Outlet | None = None

    @property
    def dropped(self) -> int:
        """Batches dropped because the reader was too slow; conflated, rows that were replaced."""
        return self._mailbox.dropped

    async def __aenter__(self) -> Subscription[E]:
        if self._outlet is not None:
            raise RuntimeError("a subscription can be opened once")
        self._outlet = self._pipeline.subscribe(self._wanted, self._mailbox)
        # Its reader is told of no crash: nobody reads this mailbox after it.
        self._reader = self._mailbox.reader()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._outlet is not None
        self._reader = None
        self._pipeline.unsubscribe(self._outlet)
        self._mailbox.close()  # another task may be waiting for the next batch

    def __aiter__(self) -> Subscription[E]:
        return self

    async def __anext__(self) -> Batch[E]:
        try:
            return await self.receive()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None

    async def receive(self) -> Batch[E]:
        """The next batch; trio.EndOfChannel when the farm has ended. Cancelled, it loses nothing.

        RuntimeError outside the subscription's context.
        """
        reader = self._reader
        if reader is None:
            raise RuntimeError("a subscription is read within: async with farm.subscribe(...)")
        while True:
            batch = await reader.next()
            if batch.kind is Gap:
                self._keep(batch)
                if Gap not in self._wanted.kinds:
                    continue
            return batch

    def _keep(self, batch: Batch[Gap]) -> None:
        """Remember losses on this edge, extending the last of each feed."""
        own = [
            gap
            for gap in batch.rows
            if gap.edge == self._mailbox.name
            or (gap.edge == LINK_EDGE and self._wanted.concerns(gap))
        ]
        last = {(gap.feed, gap.edge): gap for gap in self.gaps}
        for gap in own:
            known = last.get((gap.feed, gap.edge))
            if known is None:
                known = last[gap.feed, gap.edge] = attrs.evolve(gap)
                self.gaps.append(known)
            else:
                assert known.size is not None
                assert gap.size is not None
                known.size += gap.size
                known.end_time = gap.end_time

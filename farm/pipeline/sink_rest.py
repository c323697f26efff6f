"""What a sink leaves behind that has ended before its time."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import attrs
import trio

from farm.actors.mailbox import Mailbox
from farm.bundle import Bundle
from farm.entities import Gap
from farm.storage.parquet import ParquetStore
from farm.storage.quarantine import QuarantineStore
from farm.storage.unparsed import UnparsedStore
from farm.threads import RunSync

__all__ = ["SinkRest"]

log = logging.getLogger("farm.pipeline")


@attrs.define(eq=False)
class SinkRest:
    """The stores of a sink, and what waited for it in its mailbox."""

    mailbox: Mailbox[Bundle]
    store: ParquetStore
    unparsed: UnparsedStore
    quarantine: QuarantineStore
    run_sync: RunSync
    _waiting: int = 0

    def take(self, count_loss: Callable[[Gap], None]) -> None:
        """What waits becomes gaps, counted and among what is to be written."""
        self._waiting = len(self.mailbox)
        loss = self.mailbox.drain()
        for batch in loss.batches if loss is not None else ():
            for gap in batch.rows:
                if gap.edge == self.mailbox.name:  # others were counted when they were published
                    count_loss(gap)
            try:
                self.store.add(batch, trio.current_time())
            except Exception:  # the store may be what crashed the sink
                log.exception("gaps of what waited for the sink are counted, and not stored")

    async def write(self) -> None:
        """Write what can be: where a sink crashed too often, most of it is as good as ever."""
        await self._try(self.unparsed.write)
        await self._try(self.quarantine.write)
        for partition in self.store.pending():
            await self._try(partial(self.store.write, partition))

    def describe(self) -> str:
        """What is not stored."""
        left = []
        if rows := self.store.rows_pending:
            left.append(f"{rows} rows were not written within the grace period")
        if self._waiting:
            left.append(f"{self._waiting} reads that waited for the sink are recorded as gaps")
        return "; ".join(left)

    async def _try(self, work: Callable[[], Any]) -> None:
        try:
            await self.run_sync(work)
        except Exception:
            log.exception("what the sink has left could not be written")

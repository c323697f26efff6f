"""The sink actor: takes bundles into the stores and has them written, in threads.

The stores belong to the pipeline: what is not written yet outlives a crash of this actor.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import attrs
import trio

from farm.actors.mailbox import Mailbox, Reader
from farm.actors.supervisor import Health
from farm.batch import Batch
from farm.bundle import Bundle
from farm.entities import Gap
from farm.errors import StorageFailed
from farm.storage.parquet import ParquetStore
from farm.storage.quarantine import QuarantineStore
from farm.storage.unparsed import UnparsedStore, unstorable
from farm.threads import RunSync, in_thread

__all__ = ["SinkActor"]

log = logging.getLogger("farm.sink")

CHECK_EVERY = 0.5
"""Seconds between two looks at what is due."""

UNPARSED_EVERY = 60.0
"""Seconds after which frames that were not parsed are written, be they ever so few."""


class SinkActor:
    """Stores what the hub publishes. At the end of its mailbox everything is written.

    `max_pending_bytes` bounds what waits for the disk: beyond it nothing is taken from the
    mailbox, whose own policy then decides. `on_loss` hears of the gaps that came of that. Frames
    that were not parsed are in `unparsed` already, and what crashed an actor twice in
    `quarantine`; here they are only written.
    """

    name = "sink"

    def __init__(
        self,
        store: ParquetStore | None,
        unparsed: UnparsedStore,
        inbox: Mailbox[Bundle],
        *,
        quarantine: QuarantineStore | None = None,
        run_sync: RunSync = in_thread,
        max_pending_bytes: int = 256 * 2**20,
        on_loss: Callable[[Gap], None] = lambda _gap: None,
    ) -> None:
        self._store = store
        self._unparsed = unparsed
        self._quarantine = quarantine or QuarantineStore()
        self._inbox = inbox
        self._run_sync = run_sync
        self._max_pending = max_pending_bytes
        self._on_loss = on_loss
        self._unparsed_written = -math.inf

    async def run(self, health: Health) -> None:
        """Take and write until the mailbox ends; StorageFailed where the disk refuses."""
        health.ready()
        self._unparsed_written = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write_when_due)
            with self._inbox.reader(self.name) as inbox:
                await inbox.serve(partial(self._begin, inbox), self._finish)
            nursery.cancel_scope.cancel()
        await self._write_all()

    def _begin(self, inbox: Reader[Bundle], bundle: Bundle) -> bool:
        """Take a bundle in; whether there is room for more, so that nothing need be written now."""
        self._take(bundle, inbox)
        inbox.acknowledge()  # the stores have it: a failing disk must not cost it
        return not self._is_full

    @property
    def _is_full(self) -> bool:
        return self._store is not None and self._store.bytes_pending > self._max_pending

    async def _finish(self) -> None:
        while self._is_full:
            await self._write_all()

    def _take(self, bundle: Bundle, inbox: Reader[Bundle]) -> None:
        """Take a bundle in. What crashes in the middle of it is left with the rest alone: what is
        stored must neither be stored again nor be taken for lost."""
        taken = 0
        try:
            for batch in bundle.batches:
                if self._store is not None:
                    self._store.add(batch, trio.current_time())
                taken += 1
                self._note_losses(batch)
        except Exception:
            inbox.narrow(attrs.evolve(bundle, batches=bundle.batches[taken:]))
            raise

    def _note_losses(self, batch: Batch[Any]) -> None:
        if batch.kind is Gap:
            for gap in batch.rows:
                if gap.edge == self._inbox.name:
                    self._on_loss(gap)

    async def _write_when_due(self) -> None:
        while True:
            await trio.sleep(CHECK_EVERY)
            now = trio.current_time()
            if self._store is not None:
                for partition in self._store.due(now):
                    await self._write(partial(self._store.write, partition))
                self._keep_refused()
            if self._quarantine.due:
                await self._write(self._quarantine.write)
            if self._unparsed.due or now - self._unparsed_written >= UNPARSED_EVERY:
                await self._write(self._unparsed.write)
                self._unparsed_written = now

    async def _write_all(self) -> None:
        """Write everything; what can't be written holds nothing else up, and is raised last."""
        failures: list[Exception] = []
        if self._store is not None:
            for partition in self._store.pending():
                await self._attempt(partial(self._store.write, partition), failures)
            self._keep_refused()
        await self._attempt(self._unparsed.write, failures)
        if self._quarantine.due:
            await self._attempt(self._quarantine.write, failures)
        if failures:
            raise failures[0]

    async def _attempt(self, work: Callable[[], Any], failures: list[Exception]) -> None:
        try:
            await self._write(work)
        except Exception as error:  # noqa: BLE001 (raised when the rest was tried, too)
            failures.append(error)

    async def _write(self, work: Callable[[], Any]) -> None:
        try:
            await self._run_sync(work)
        except OSError as error:
            raise StorageFailed(f"could not write: {error}") from error

    def _keep_refused(self) -> None:
        """What no file can hold is kept beside the frames that could not be parsed."""
        assert self._store is not None
        for refused in self._store.take_refused():
            log.error("%s: an event could not be stored: %s", self.name, refused.reason)
            self._unparsed.add([unstorable(refused.event, refused.reason)])

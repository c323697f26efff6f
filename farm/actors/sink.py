"""The sink actor: takes bundles into the stores and has them written, in threads.

The stores belong to the pipeline: what is not written yet outlives a crash of this actor.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Protocol

import msgspec
import trio

from farm.actors.mailbox import Mailbox
from farm.actors.supervisor import Health
from farm.batch import Origin
from farm.bundle import Bundle, UnparsedFrame
from farm.entities import Gap
from farm.errors import StorageFailed
from farm.storage.parquet import ParquetStore
from farm.storage.unparsed import UnparsedStore

__all__ = ["RunSync", "SinkActor", "in_thread"]

log = logging.getLogger("farm.sink")

CHECK_EVERY = 0.5
"""Seconds between two looks at what is due."""

UNPARSED_EVERY = 60.0
"""Seconds after which frames that were not parsed are written, be they ever so few."""

UNSTORABLE = "unstorable"
"""The kind under which an event is kept that no Parquet file can hold."""


class RunSync(Protocol):
    """How blocking work is run: in a thread, or as a test wants it."""

    def __call__(self, work: Callable[[], Any]) -> Awaitable[Any]: ...


async def in_thread(work: Callable[[], Any]) -> Any:
    """Run blocking work in a worker thread; a cancellation waits for it to end."""
    return await trio.to_thread.run_sync(work)


class SinkActor:
    """Stores what the hub publishes. At the end of its mailbox everything is written.

    `max_pending_bytes` bounds what waits for the disk: beyond it nothing is taken from the
    mailbox, whose own policy then decides. `on_loss` hears of the gaps that came of that. Frames
    that were not parsed are in `unparsed` already; here they are only written.
    """

    name = "sink"

    def __init__(
        self,
        store: ParquetStore | None,
        unparsed: UnparsedStore,
        inbox: Mailbox[Bundle],
        *,
        run_sync: RunSync = in_thread,
        max_pending_bytes: int = 256 * 2**20,
        on_loss: Callable[[Gap], None] = lambda _gap: None,
    ) -> None:
        self._store = store
        self._unparsed = unparsed
        self._inbox = inbox
        self._run_sync = run_sync
        self._max_pending = max_pending_bytes
        self._on_loss = on_loss
        self._taken: tuple[Bundle | None, int] = (None, 0)  # how much of the last bundle is in
        self._unparsed_written = -math.inf

    async def run(self, health: Health) -> None:
        """Take and write until the mailbox ends; StorageFailed where the disk refuses."""
        health.ready()
        self._unparsed_written = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write_when_due)
            inbox = self._inbox.reader()
            async for bundle in inbox:
                self._take(bundle)
                inbox.acknowledge()  # the stores have it, so a failing disk must not cost it
                while self._store is not None and self._store.bytes_pending > self._max_pending:
                    await self._write_all()
            nursery.cancel_scope.cancel()
        await self._write_all()

    def _take(self, bundle: Bundle) -> None:
        """Take a bundle in, each part once, even where it is delivered twice."""
        start = self._taken[1] if self._taken[0] is bundle else 0
        for index in range(start, len(bundle.batches)):
            batch = bundle.batches[index]
            if self._store is not None:
                self._store.add(batch, trio.current_time())
            if batch.kind is Gap:
                for gap in batch.rows:
                    if gap.edge == self._inbox.name:
                        self._on_loss(gap)
            self._taken = (bundle, index + 1)

    async def _write_when_due(self) -> None:
        while True:
            await trio.sleep(CHECK_EVERY)
            now = trio.current_time()
            if self._store is not None:
                for partition in self._store.due(now):
                    await self._write(partial(self._store.write, partition))
                self._keep_refused()
            if self._unparsed.due or now - self._unparsed_written >= UNPARSED_EVERY:
                await self._write(self._unparsed.write)
                self._unparsed_written = now

    async def _write_all(self) -> None:
        if self._store is not None:
            for partition in self._store.pending():
                await self._write(partial(self._store.write, partition))
            self._keep_refused()
        await self._write(self._unparsed.write)

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
            event = refused.event
            origin = Origin(event.exchange, event.market, "", 0)
            raw = msgspec.json.encode(event)
            frame = UnparsedFrame(
                origin, event.receive_time, event.ordinal, UNSTORABLE, refused.reason, raw
            )
            self._unparsed.add([frame])

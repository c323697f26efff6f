"""Running a farm: its stages in nested nurseries, which give the order of stopping.

Sources end first, then what follows them, each stage with a grace period in which to let the rest
flow out.
"""

from __future__ import annotations

import logging
import math
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import trio

from farm.actors.hub import Filter, Hub, Outlet
from farm.actors.losses import lose_batches, lose_bundles
from farm.actors.mailbox import Mailbox, Overflow
from farm.actors.sink import SinkActor
from farm.actors.supervisor import Escalation, LifecycleEvent, Policy, Supervisor
from farm.batch import Batch
from farm.config import FarmConfig
from farm.entities import Gap
from farm.errors import ConnectionLost, StorageFailed
from farm.exchanges.registry import rules_of
from farm.exchanges.session import Frames
from farm.groups import raise_sole_leaf
from farm.monitor.feeds import FeedCounters
from farm.pipeline.environment import Environment, Settings
from farm.pipeline.line import Line
from farm.pipeline.listings import Listings
from farm.pipeline.roster import Roster
from farm.pipeline.sources import Sources
from farm.pipeline.venues import Venues
from farm.storage.directory import open_data_directory
from farm.storage.parquet import ParquetStore
from farm.storage.replay import Replay, ReplayedLine
from farm.storage.unparsed import UnparsedStore
from farm.types import CollectorStatus, Exchange, Market, Nanoseconds

__all__ = ["Pipeline"]

log = logging.getLogger("farm.pipeline")


class Pipeline:
    """Everything that runs for one farm.

    Its sources are the connections that a configuration asks for, or a recording: then every edge
    waits for room, since nothing upstream can starve.
    """

    def __init__(
        self,
        settings: Settings,
        config: FarmConfig | None = None,
        *,
        recording: tuple[Path, tuple[Exchange, Market] | None] | None = None,
        environment: Environment | None = None,
    ) -> None:
        self.settings = settings
        self.environment = environment or Environment()
        self.lines: list[Line] = []
        self.rosters: list[Roster] = []
        self.feeds = FeedCounters()
        self.hub = Hub(self.feeds, lambda frames: self.unparsed.add(frames))
        self.store: ParquetStore | None = None
        self.unparsed = UnparsedStore()
        self.replay = None if recording is None else Replay(*recording, self._open_replayed)
        self.finished = trio.Event()
        self.listings: Listings | None = None
        self._drained = False
        self._ended_at: Nanoseconds | None = None
        self._config = config
        self._overflow = Overflow.DROP_OLDEST if recording is None else Overflow.BLOCK
        self._subscribers: dict[Outlet, Mailbox[Batch[Any]]] = {}
        self.sources: Sources | None = None
        self._source_scope: trio.CancelScope = trio.CancelScope()
        self._supervisor = self._make_supervisor()

    # ------------------------------------------------------------------------------ life and death
    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run until the sources have ended or :meth:`stop` was called, then let the rest flow out.

        DataDirectoryError where the data directory can't be used; RestartsExceeded where an actor
        crashed too often and crashes are to be raised.
        """
        try:
            async with AsyncExitStack() as stack:
                await self._run(stack, task_status)
        except BaseExceptionGroup as group:
            raise_sole_leaf(group)
        finally:
            self._ended_at = self.now()
            self.finished.set()

    async def _run(self, stack: AsyncExitStack, task_status: trio.TaskStatus[None]) -> None:
        failure: Exception | None = None
        sink = self._open_stores(stack)
        async with trio.open_nursery() as outer:
            outer.start_soon(self._supervisor.run, sink)
            try:
                await self._run_lines(stack, task_status)
            except Exception as error:  # noqa: BLE001 (raised again below, once all is written)
                failure = error
            self._end_readers()
            outer.cancel_scope.deadline = self._grace()
        if outer.cancel_scope.cancelled_caught and self.store is not None and failure is None:
            rows = self.store.rows_pending
            failure = StorageFailed(f"{rows} rows were not written within the grace period")
        if failure is not None:
            raise failure

    def stop(self) -> None:
        """End the sources, at once; the stages after them drain."""
        if self.sources is not None:
            self.sources.stop()
        self._source_scope.cancel()

    async def _run_lines(self, stack: AsyncExitStack, task_status: trio.TaskStatus[None]) -> None:
        failure: Exception | None = None
        async with trio.open_nursery() as stages:
            sources = self.sources = Sources(
                self.lines,
                self.settings,
                self._supervisor,
                self.feeds,
                self.hub.publish,
                self.now,
                stages,
            )
            try:
                await self._run_sources(sources, stack, stages, task_status)
            except Exception as error:  # noqa: BLE001 (raised again below, once all has flowed out)
                failure = error
            sources.end()
            if self.listings is not None:
                self.listings.close()
            stages.cancel_scope.deadline = self._grace()
        if stages.cancel_scope.cancelled_caught:
            left = sum(
                len(line.bundles) + sum(len(lane.inputs) for lane in line.lanes)
                for line in self.lines
            )
            log.error("%d reads were not parsed within the grace period", left)
        if failure is not None:
            raise failure

    async def _run_sources(
        self,
        sources: Sources,
        stack: AsyncExitStack,
        stages: trio.Nursery,
        task_status: trio.TaskStatus[None],
    ) -> None:
        with self._source_scope:
            async with trio.open_nursery() as nursery:
                if self._config is not None:
                    venues = Venues(self.environment, stack)
                    sources.connect_in(nursery, venues)
                    await self._start_collectors(self._config, sources, nursery, venues, stages)
                if self.replay is not None:
                    nursery.start_soon(self._play, self.replay)
                task_status.started()

    async def _start_collectors(
        self,
        config: FarmConfig,
        sources: Sources,
        nursery: trio.Nursery,
        venues: Venues,
        stages: trio.Nursery,
    ) -> None:
        """Look up the symbols, and open the connections."""
        self.rosters += [
            Roster(f"collectors[{index}]", collector, sources, self.feeds, self._others)
            for index, collector in enumerate(config.collectors)
        ]
        listings = self.listings = Listings(
            config.instruments, self.settings, self.environment, self._supervisor, self.rosters
        )
        self.hub.listen(listings.take_note)
        stages.start_soon(self._publish_news, listings)
        await listings.open(nursery, venues)
        for roster in self.rosters:
            await roster.start()
            listings.publish(roster, list(roster.symbols))

    def _others(self, roster: Roster) -> dict[str, str]:
        """What the other rosters collect, by feed, and which of them does."""
        return {
            stream.feed: other.place
            for other in self.rosters
            if other is not roster
            for line in other.lines
            for stream in line.planned.values()
        }

    async def _publish_news(self, listings: Listings) -> None:
        """Publish what listings say, until they have ended."""
        async for bundle in listings.news:
            await self.hub.publish(bundle)

    def now(self) -> Nanoseconds:
        """The time of this run: the wall's, or the recording's; when it has ended, that of then."""
        if self._ended_at is not None:
            return self._ended_at
        if self.replay is not None and self.replay.time is not None:
            return self.replay.time
        return self.environment.wall_clock()

    def _grace(self) -> float:
        """When the next stage must be done: a recording that ended by itself has all the time."""
        if self.replay is not None and not self._source_scope.cancel_called:
            return math.inf
        return trio.current_time() + self.settings.supervision.drain_seconds

    def _end_readers(self) -> None:
        """Nothing more will be published: readers get what waits, then the end."""
        self._drained = True
        for subscriber in self._subscribers.values():
            subscriber.close()
        for _, store in self.hub.stores:
            store.close()

    def _open_stores(self, stack: AsyncExitStack) -> SinkActor:
        settings = self.settings
        directory = None
        if settings.data is not None:
            directory = stack.enter_context(open_data_directory(settings.data, settings.numbers))
            self.store = ParquetStore(
                directory,
                max_rows=settings.storage.flush_rows,
                max_bytes=settings.storage.flush_bytes,
                max_seconds=settings.storage.flush_seconds,
            )
        self.unparsed = UnparsedStore(directory)
        edge = "aggregator>sink"
        mailbox = Mailbox(
            edge,
            lose=lose_bundles(edge),
            max_bytes=settings.mailbox_bytes,
            overflow=self._overflow,
        )
        self.hub.store(mailbox)
        return SinkActor(
            self.store,
            self.unparsed,
            mailbox,
            run_sync=self.environment.run_sync,
            on_loss=self._count_loss,
        )

    # ------------------------------------------------------------------------------- subscriptions
    def subscribe(self, wanted: Filter, mailbox: Mailbox[Batch[Any]]) -> Outlet:
        """Connect a reader; its mailbox is closed when the run ends."""
        outlet = self.hub.subscribe(wanted, mailbox)
        self._subscribers[outlet] = mailbox
        if self._drained:
            mailbox.close()
        return outlet

    def unsubscribe(self, outlet: Outlet) -> None:
        """Disconnect a reader."""
        self.hub.unsubscribe(outlet)
        del self._subscribers[outlet]

    def subscriber_mailbox(self, name: str, max_bytes: int) -> Mailbox[Batch[Any]]:
        """A mailbox for a reader: what it is too slow for becomes gaps on its own edge."""
        edge = f"aggregator>{name}"
        return Mailbox(edge, lose=lose_batches(edge), max_bytes=max_bytes)

    # ----------------------------------------------------------------------------------- the lines
    def _open_replayed(self, replayed: ReplayedLine) -> None:
        assert self.sources is not None
        rules = rules_of(replayed.exchange, replayed.market)
        lane = self.sources.open_replayed(replayed.name, rules)
        lane.status = CollectorStatus.RUNNING
        replayed.statuses = lane.session.statuses

    async def _play(self, replay: Replay) -> None:
        lanes = {line.name: line.lanes[0] for line in self.lines}
        for replayed, item in replay.inputs():
            if replayed.name not in lanes:
                lanes = {line.name: line.lanes[0] for line in self.lines}
            lane = lanes[replayed.name]
            lane.counters.connects = replayed.epoch
            if isinstance(item, Frames):
                lane.counters.frames += len(item.frames)
                lane.counters.nbytes += item.nbytes
            await lane.inputs.send(item)
        for lane in lanes.values():
            lane.status = CollectorStatus.STOPPED

    def _make_supervisor(self) -> Supervisor:
        given = self.settings.supervision
        policy = Policy(
            backoff_initial=given.backoff_initial,
            backoff_cap=given.backoff_cap,
            healthy_after=given.healthy_after,
            intensity=given.intensity,
            period=given.period,
            escalation=Escalation(given.escalate),
        )
        return Supervisor(
            policy,
            weather=(ConnectionLost, StorageFailed),
            on_event=self._on_event,
            rng=self.environment.rng,
        )

    def _count_loss(self, gap: Gap) -> None:
        self.feeds.expect(gap.feed).gaps += 1

    def _on_event(self, event: LifecycleEvent) -> None:
        for line in self.lines:
            line.take_note(event)

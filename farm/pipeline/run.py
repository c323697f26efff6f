"""Running a farm: its stages under nested supervisors, which give the order of stopping.

Sources end first, then what follows them, each stage with a grace period in which to let the rest
flow out. What is left in a mailbox after that is published as lost, before the readers end.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, AsyncExitStack
from pathlib import Path
from typing import Any

import trio

from farm.actors.hub import Filter, Hub, Outlet
from farm.actors.lifecycle import ROOM
from farm.actors.losses import lose_batches, lose_bundles
from farm.actors.mailbox import Mailbox, Overflow
from farm.actors.sink import SinkActor
from farm.actors.supervisor import Child, LifecycleEvent, LifecycleEvents, LifecycleLog, Supervisor
from farm.batch import Batch
from farm.bundle import Bundle
from farm.config import FarmConfig
from farm.entities import Gap
from farm.errors import StorageFailed
from farm.exchanges.registry import rules_of
from farm.exchanges.session import Frames
from farm.groups import raise_sole_leaf
from farm.monitor.feeds import FeedCounters
from farm.monitor.stats import EdgeStats
from farm.pipeline.edges import EdgeCounts
from farm.pipeline.environment import Environment, Settings
from farm.pipeline.line import Line
from farm.pipeline.line_source import LineSource, Rest
from farm.pipeline.listings import Listings, NewsActor
from farm.pipeline.roster import Roster
from farm.pipeline.sink_rest import SinkRest
from farm.pipeline.sources import Sources
from farm.pipeline.stages import RECORDS, open_stage, publish_rest
from farm.pipeline.venues import Venues
from farm.storage.directory import open_data_directory
from farm.storage.parquet import ParquetStore
from farm.storage.quarantine import QuarantineStore
from farm.storage.replay import Replay, ReplayedLine
from farm.storage.unparsed import UnparsedStore
from farm.types import CollectorStatus, Exchange, Market, Nanoseconds

__all__ = ["Pipeline"]


class Pipeline:
    """Everything that runs for one farm, or for a part of it.

    Its sources are the connections that a configuration asks for; or those that `drive` opens,
    which runs as long as they do; or a recording: then every edge waits for room, since nothing
    upstream can starve. `make_sources`: who opens the lines, if not this process.
    """

    def __init__(
        self,
        settings: Settings,
        config: FarmConfig | None = None,
        *,
        recording: tuple[Path, tuple[Exchange, Market] | None] | None = None,
        drive: Callable[[Sources], Awaitable[None]] | None = None,
        make_sources: Callable[[Pipeline, Supervisor], LineSource[Any]] | None = None,
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
        self.quarantine = QuarantineStore()
        self.replay = None if recording is None else Replay(*recording, self._open_replayed)
        self.finished = trio.Event()
        self.listings: Listings | None = None
        self._drained = False
        self._ended_at: Nanoseconds | None = None
        self._config = config
        self._overflow = Overflow.DROP_OLDEST if recording is None else Overflow.BLOCK
        self._subscribers: dict[Outlet, Mailbox[Batch[Any]]] = {}
        self._past_subscribers = EdgeCounts()
        self._drive = drive
        self._make_sources = make_sources or _local_sources
        self.waiters: trio.Nursery | None = None
        self.sources: LineSource[Any] | None = None
        self._source_scope: trio.CancelScope = trio.CancelScope()
        self._log = LifecycleLog()
        edge = "aggregator>sink"
        self._sink_box: Mailbox[Bundle] = Mailbox(
            edge,
            lose=lose_bundles(edge),
            max_bytes=settings.mailbox_bytes,
            overflow=self._overflow,
            on_quarantine=lambda kept: self.quarantine.add(kept),
            hand_off=settings.hand_off,
        )

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
            self._end_readers()  # cut short, no stage has done it
            self._log.close()
            self.finished.set()

    async def _run(self, stack: AsyncExitStack, task_status: trio.TaskStatus[None]) -> None:
        sink = self._open_stores(stack)
        child: Child | None = None
        try:
            async with self._stage() as sinks:
                child = sinks.add(sink, stop=self._end_readers, grace=self.grace)
                try:
                    await self._run_stages(stack, task_status)
                finally:
                    await self._publish_rest()
        except Exception as error:
            if child is not None and (left := await self._save_rest(child)):
                error.add_note(left)
            raise
        left = await self._save_rest(child)
        if self.sources is not None and (there := self.sources.unwritten()):
            left = f"{left}; {there}" if left else there
        if left:
            raise StorageFailed(left)

    async def _publish_rest(self) -> None:
        try:
            await publish_rest(self._rests(), self.hub.publish, self.now, self.grace())
        except trio.Cancelled:  # the sink was given up, or all is to end: say what can be said
            with trio.CancelScope(shield=True, deadline=trio.current_time() + RECORDS):
                await publish_rest(self._rests(), self.hub.publish, self.now, 0.0)
            raise

    def _rests(self) -> Sequence[Rest]:
        return [] if self.sources is None else self.sources.rests()

    async def _save_rest(self, sink: Child) -> str:
        if sink.finished or self.store is None:
            return ""
        rest = SinkRest(
            self._sink_box, self.store, self.unparsed, self.quarantine, self.environment.run_sync
        )
        rest.take(self._count_loss)
        if sink.given_up:
            with trio.move_on_after(self.grace()):
                await rest.write()
        return rest.describe()

    def stop(self) -> None:
        """End the sources, at once; the stages after them drain."""
        if self.sources is not None:
            self.sources.stop()
        self._source_scope.cancel()

    async def _run_stages(self, stack: AsyncExitStack, task_status: trio.TaskStatus[None]) -> None:
        async with trio.open_nursery() as self.waiters:
            async with self._stage() as stages:
                self.sources = self._make_sources(self, stages)
                await self._run_sources(self.sources, stack, stages, task_status)
            self.waiters.cancel_scope.cancel()

    async def _run_sources(
        self,
        sources: LineSource[Any],
        stack: AsyncExitStack,
        stages: Supervisor,
        task_status: trio.TaskStatus[None],
    ) -> None:
        async with self._stage() as connections:
            with self._source_scope:
                async with trio.open_nursery() as changes:
                    try:
                        if self.replay is None:
                            venues = Venues(self.environment, stack)
                            sources.connect_in(connections, changes, venues)
                            if self._config is not None:
                                await self._start_collectors(
                                    self._config, sources, connections, changes, venues, stages
                                )
                        task_status.started()
                        await self._run_source(sources)
                    finally:
                        sources.stop()
                        if self.listings is not None:
                            self.listings.stop()

    async def _run_source(self, sources: LineSource[Any]) -> None:
        """Until there is nothing more to come, or for ever."""
        if self.replay is not None:
            await self._play(self.replay)
        elif self._drive is not None:
            assert isinstance(sources, Sources)
            await self._drive(sources)
            self.stop()
        else:
            await trio.sleep_forever()

    async def _start_collectors(
        self,
        config: FarmConfig,
        sources: LineSource[Any],
        connections: Supervisor,
        changes: trio.Nursery,
        venues: Venues,
        stages: Supervisor,
    ) -> None:
        """Look up the symbols, and open the connections."""
        self.rosters += [
            Roster(
                f"collectors[{index}]",
                collector,
                sources,
                self.feeds,
                self.rosters,
                self.settings.share,
            )
            for index, collector in enumerate(config.collectors)
        ]
        listings = self.listings = Listings(
            config.instruments, self.settings, self.environment, self.rosters
        )
        self.hub.listen(listings.take_note)
        news = NewsActor(listings.news, self.hub.publish)
        stages.add(news, stop=listings.close, grace=self.grace)
        await listings.open(connections, changes, venues)
        for roster in self.rosters:
            await roster.start()
        await sources.settled()
        for roster in self.rosters:  # all at once, and last: whoever subscribes first is told
            listings.publish(roster, list(roster.symbols))

    def now(self) -> Nanoseconds:
        """The time of this run: the wall's, or the recording's; when it has ended, that of then."""
        if self._ended_at is not None:
            return self._ended_at
        if self.replay is not None and self.replay.time is not None:
            return self.replay.time
        return self.environment.wall_clock()

    def grace(self) -> float:
        """Seconds that a stage has to end in: a recording that ended by itself has all the time."""
        if self.replay is not None and not self._source_scope.cancel_called:
            return math.inf
        return self.settings.supervision.drain_seconds

    def _end_readers(self) -> None:
        """Nothing more will be published: readers get what waits, then the end."""
        self._drained = True
        for subscriber in self._subscribers.values():
            subscriber.close()
        self._sink_box.close()

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
        self.quarantine = QuarantineStore(directory)
        if directory is not None:
            self.hub.store(self._sink_box)
        return SinkActor(
            self.store,
            self.unparsed,
            self._sink_box,
            quarantine=self.quarantine,
            run_sync=self.environment.run_sync,
            on_loss=self._count_loss,
        )

    # ------------------------------------------------------------------------------- subscriptions
    def subscribe(self, wanted: Filter, mailbox: Mailbox[Batch[Any]]) -> Outlet:
        """Connect a reader; its mailbox is closed when the run ends."""
        outlet = self.hub.subscribe(wanted, mailbox)
        self._subscribers[outlet] = mailbox
        self._tell_readers()
        if self._drained:
            mailbox.close()
        return outlet

    def unsubscribe(self, outlet: Outlet) -> None:
        """Disconnect a reader."""
        self.hub.unsubscribe(outlet)
        self._past_subscribers.add(self._subscribers.pop(outlet))
        self._tell_readers()

    def _tell_readers(self) -> None:
        if self.sources is not None:
            self.sources.read_by(self.hub.filters)

    def subscriber_mailbox(self, name: str, max_bytes: int) -> Mailbox[Batch[Any]]:
        """A mailbox for a reader: what it is too slow for becomes gaps on its own edge."""
        edge = f"aggregator>{name}"
        return Mailbox(edge, lose=lose_batches(edge), max_bytes=max_bytes)

    # ----------------------------------------------------------------------------------- the lines
    def _open_replayed(self, replayed: ReplayedLine) -> None:
        assert isinstance(self.sources, Sources)
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

    def stages(self) -> list[list[Mailbox[Any]]]:
        """The queues of this process, in the order in which things go through them."""
        lanes = [lane.inputs for line in self.lines for lane in line.lanes]
        stored = [] if self.store is None else [self._sink_box]
        return [lanes, [line.bundles for line in self.lines], stored]

    def edges(self) -> list[EdgeStats]:
        """What went through the queues until now, those of lines that are closed included."""
        counts = EdgeCounts()
        if self.sources is not None:
            counts.include(self.sources.past.edges)
        for line in self.lines:
            counts.include(line.past.edges)
            counts.add_all(lane.inputs for lane in line.lanes)
            counts.add(line.bundles)
        if self.store is not None:
            counts.add(self._sink_box)
        counts.include(self._past_subscribers)
        counts.add_all(self._subscribers.values())
        return counts.stats()

    def events(self, room: int = ROOM) -> AbstractContextManager[LifecycleEvents]:
        """What happens to the actors from now on: see
        :meth:`~farm.actors.supervisor.Supervisor.events`. It ends with the run."""
        return self._log.events(room)

    def tell(self, event: LifecycleEvent) -> None:
        """Have readers told what happened in another process."""
        self._log.tell(event)

    def _stage(self) -> AbstractAsyncContextManager[Supervisor]:
        return open_stage(self.settings.supervision, self.environment, self._on_event, self._log)

    def _count_loss(self, gap: Gap) -> None:
        self.feeds.expect(gap.feed).gaps += 1

    def _on_event(self, event: LifecycleEvent) -> None:
        if self.sources is not None:
            self.sources.take_note(event)


def _local_sources(pipeline: Pipeline, stages: Supervisor) -> Sources:
    """Lines that run in this process."""
    assert pipeline.waiters is not None
    return Sources(
        pipeline.lines,
        pipeline.settings,
        stages,
        pipeline.waiters,
        pipeline.feeds,
        pipeline.hub.publish,
        pipeline.now,
        pipeline.grace,
        pipeline.quarantine,
    )

"""Running a farm: its stages in nested nurseries, which give the order of stopping.

Sources end first, then what follows them, each stage with a grace period in which to let the rest
flow out.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
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
from farm.config import CollectorConfig
from farm.entities import Gap
from farm.errors import ConnectionLost, StorageFailed
from farm.exchanges.plan import plan_connections
from farm.exchanges.registry import rules_of
from farm.exchanges.rules import MarketRules
from farm.exchanges.session import Finished, Frames
from farm.exchanges.streams import Stream
from farm.groups import raise_sole_leaf
from farm.monitor.feeds import FeedCounters
from farm.pipeline.environment import Environment, Settings
from farm.pipeline.line import Line, make_line
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

    Its sources are the connections that `collectors` ask for, or a recording: then every edge
    waits for room, since nothing upstream can starve.
    """

    def __init__(
        self,
        settings: Settings,
        collectors: Sequence[CollectorConfig] = (),
        *,
        recording: tuple[Path, tuple[Exchange, Market] | None] | None = None,
        environment: Environment | None = None,
    ) -> None:
        self.settings = settings
        self.environment = environment or Environment()
        self.lines: list[Line] = []
        self.feeds = FeedCounters()
        self.hub = Hub(self.feeds, lambda frames: self.unparsed.add(frames))
        self.store: ParquetStore | None = None
        self.unparsed = UnparsedStore()
        self.replay = None if recording is None else Replay(*recording, self._open_replayed)
        self.finished = trio.Event()
        self._drained = False
        self._ended_at: Nanoseconds | None = None
        self._collectors = collectors
        self._overflow = Overflow.DROP_OLDEST if recording is None else Overflow.BLOCK
        self._subscribers: dict[Outlet, Mailbox[Batch[Any]]] = {}
        self._stages: trio.Nursery | None = None
        self._sources: trio.CancelScope = trio.CancelScope()
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
        self._sources.cancel()

    async def _run_lines(self, stack: AsyncExitStack, task_status: trio.TaskStatus[None]) -> None:
        failure: Exception | None = None
        async with trio.open_nursery() as stages:
            self._stages = stages
            try:
                await self._run_sources(stack, task_status)
            except Exception as error:  # noqa: BLE001 (raised again below, once all has flowed out)
                failure = error
            for line in self.lines:
                line.inputs.put(Finished(self.now()))
                line.inputs.close()
            stages.cancel_scope.deadline = self._grace()
        if stages.cancel_scope.cancelled_caught:
            left = sum(len(line.inputs) + len(line.bundles) for line in self.lines)
            log.error("%d reads were not parsed within the grace period", left)
        if failure is not None:
            raise failure

    async def _run_sources(self, stack: AsyncExitStack, task_status: trio.TaskStatus[None]) -> None:
        with self._sources:
            async with trio.open_nursery() as sources:
                venues = Venues(self.environment, stack)
                for collector in self._collectors:
                    for line in self._open_lines(collector):
                        connection = await venues.connect(line, collector)
                        sources.start_soon(self._supervisor.run, connection)
                if self.replay is not None:
                    sources.start_soon(self._play, self.replay)
                task_status.started()

    def now(self) -> Nanoseconds:
        """The time of this run: the wall's, or the recording's; when it has ended, that of then."""
        if self._ended_at is not None:
            return self._ended_at
        if self.replay is not None and self.replay.time is not None:
            return self.replay.time
        return self.environment.wall_clock()

    def _grace(self) -> float:
        """When the next stage must be done: a recording that ended by itself has all the time."""
        if self.replay is not None and not self._sources.cancel_called:
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
    def _open_lines(self, collector: CollectorConfig) -> list[Line]:
        rules = rules_of(collector.exchange, collector.market)
        return [
            self._open_line(f"{rules.key}#{len(self.lines) + 1}", rules, streams)
            for streams in plan_connections(collector.streams_of(), rules)
        ]

    def _open_replayed(self, replayed: ReplayedLine) -> None:
        rules = rules_of(replayed.exchange, replayed.market)
        line = self._open_line(replayed.name, rules, [], discover=True)
        line.status = CollectorStatus.RUNNING
        replayed.statuses = line.session.statuses

    def _open_line(
        self, name: str, rules: MarketRules, streams: Sequence[Stream], *, discover: bool = False
    ) -> Line:
        """Make a line and start what follows its source."""
        line = make_line(
            name, rules, streams, self.settings, overflow=self._overflow, discover=discover
        )
        self.lines.append(line)
        for stream in streams:
            self.feeds.expect(stream.feed)
        assert self._stages is not None
        for actor in line.actors(self.hub.publish):
            self._stages.start_soon(self._supervisor.run, actor, name=actor.name)
        return line

    async def _play(self, replay: Replay) -> None:
        lines = {line.name: line for line in self.lines}
        for replayed, item in replay.inputs():
            if replayed.name not in lines:
                lines = {line.name: line for line in self.lines}
            line = lines[replayed.name]
            line.counters.connects = replayed.epoch
            if isinstance(item, Frames):
                line.counters.frames += len(item.frames)
                line.counters.nbytes += item.nbytes
            await line.inputs.send(item)
        for line in self.lines:
            line.status = CollectorStatus.STOPPED

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

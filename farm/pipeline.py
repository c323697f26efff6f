"""The pipeline: wires the line that data follows, and owns every channel on it.

For each connection there is a line of three actors, with a mailbox between each two::

    connection ──frames──▶ parser ──bundles──▶ aggregator ──▶ hub ──▶ sink, subscribers
         ▲                    │                    │
         └──────commands──────┴────────────────────┘

Nested nurseries give the order of stopping: sources first, then what follows them, each stage with
a grace period in which to let the rest flow out.
"""

from __future__ import annotations

import logging
import random
import ssl
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import attrs
import httpcore2
import trio

from farm.actors.aggregator import AggregatorActor
from farm.actors.connection import ConnectionActor, Wiring, is_droppable, lose_inputs
from farm.actors.hub import Filter, Hub, Outlet
from farm.actors.losses import lose_batches, lose_bundles
from farm.actors.mailbox import Mailbox, Overflow
from farm.actors.parser import ParserActor
from farm.actors.sink import RunSync, SinkActor, in_thread
from farm.actors.snapshots import SnapshotFetcher
from farm.actors.supervisor import (
    Actor,
    Escalation,
    Lifecycle,
    LifecycleEvent,
    Policy,
    Supervisor,
)
from farm.batch import Batch
from farm.books.keeper import BookKeeper
from farm.bundle import Bundle
from farm.config import CollectorConfig, FarmConfig, StorageConfig, SupervisionConfig
from farm.errors import ConnectionLost
from farm.exchanges.core import CoreSession
from farm.exchanges.plan import plan_connections
from farm.exchanges.registry import make_session, rules_of
from farm.exchanges.rules import MarketRules, Rate
from farm.exchanges.session import Command, Finished, Input
from farm.exchanges.streams import Stream
from farm.groups import raise_sole_leaf
from farm.monitor.feeds import FeedCounters
from farm.net.budget import Budget
from farm.net.rest import RestClient
from farm.net.tls import create_ssl_context
from farm.net.websocket import OpenStream
from farm.storage.directory import open_data_directory
from farm.storage.parquet import ParquetStore
from farm.storage.replay import Replay, ReplayedLine
from farm.storage.unparsed import UnparsedStore
from farm.types import CollectorStatus, Exchange, Market, Nanoseconds, NumberMode

__all__ = ["Environment", "Line", "Pipeline", "Settings"]

log = logging.getLogger("farm.pipeline")

COMMAND_ROOM = 10_000  # commands waiting for a connection: a few for each stream at the worst


@attrs.define
class Environment:
    """What the pipeline takes from the world, so that a test may give it something else.

    ``wall_clock`` stamps times (ns, UTC); ``run_sync`` runs blocking work; ``open_stream`` and
    ``network_backend`` put other streams beneath WebSockets and REST; ``rng`` draws jitter.
    """

    wall_clock: Callable[[], Nanoseconds] = time.time_ns
    run_sync: RunSync = in_thread
    open_stream: OpenStream | None = None
    network_backend: httpcore2.AsyncNetworkBackend | None = None
    rng: random.Random = attrs.field(factory=random.Random)


@attrs.frozen
class Settings:
    """How a run is to behave, whatever its source: see :class:`~farm.config.FarmConfig`."""

    numbers: NumberMode = NumberMode.FLOAT
    data: Path | None = None
    mailbox_bytes: int = 64 * 2**20
    supervision: SupervisionConfig = attrs.field(factory=SupervisionConfig)
    storage: StorageConfig = attrs.field(factory=StorageConfig)

    @classmethod
    def of(cls, config: FarmConfig) -> Settings:
        """The settings in a configuration."""
        return cls(**{field.name: getattr(config, field.name) for field in attrs.fields(cls)})


@attrs.define(eq=False)
class Line:
    """One connection with its actors' state: what outlives their crashes."""

    name: str
    rules: MarketRules
    session: CoreSession
    inputs: Mailbox[Input]
    bundles: Mailbox[Bundle]
    keeper: BookKeeper
    commands: trio.MemorySendChannel[Command]
    connection: ConnectionActor | None = None
    status: CollectorStatus = CollectorStatus.STARTING
    last_error: str = ""
    failures: int = 0
    crashes: int = 0

    def pass_commands(self) -> None:
        """Hand on what the protocol core asks for; a recording has nobody to do it."""
        for command in self.session.take_commands():
            if self.connection is not None:
                self.commands.send_nowait(command)


_STATUS = {
    Lifecycle.STARTED: CollectorStatus.CONNECTING,
    Lifecycle.HEALTHY: CollectorStatus.RUNNING,
    Lifecycle.WEATHER: CollectorStatus.BACKING_OFF,
    Lifecycle.CRASHED: CollectorStatus.BACKING_OFF,
    Lifecycle.PARKED: CollectorStatus.PARKED,
    Lifecycle.STOPPED: CollectorStatus.STOPPED,
}


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
        self.hub = Hub(self.feeds)
        self.store: ParquetStore | None = None
        self.unparsed = UnparsedStore()
        self.replay = None if recording is None else Replay(*recording, self._open_replayed)
        self.finished = trio.Event()
        self._drained = False
        self._collectors = collectors
        self._overflow = Overflow.DROP_OLDEST if recording is None else Overflow.BLOCK
        self._subscribers: dict[Outlet, Mailbox[Batch[Any]]] = {}
        self._stages: trio.Nursery | None = None
        self._sources: trio.CancelScope = trio.CancelScope()
        self._budgets: dict[tuple[str, str], Budget] = {}
        self._fetchers: dict[str, SnapshotFetcher] = {}
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
        if outer.cancel_scope.cancelled_caught:
            log.error("not everything was written within the grace period")
        if failure is not None:
            raise failure

    def stop(self) -> None:
        """End the sources, at once; the stages after them drain."""
        self._sources.cancel()

    async def _run_lines(self, stack: AsyncExitStack, task_status: trio.TaskStatus[None]) -> None:
        async with trio.open_nursery() as stages:
            self._stages = stages
            with self._sources:
                async with trio.open_nursery() as sources:
                    for collector in self._collectors:
                        for connection in await self._open_lines(collector, stack):
                            sources.start_soon(self._supervisor.run, connection)
                    if self.replay is not None:
                        sources.start_soon(self._play, self.replay)
                    task_status.started()
            for line in self.lines:
                line.inputs.put(Finished(self._now()))
                line.inputs.close()
            stages.cancel_scope.deadline = self._grace()
        if stages.cancel_scope.cancelled_caught:
            log.error("not everything was parsed within the grace period")

    def _now(self) -> Nanoseconds:
        if self.replay is not None and self.replay.time is not None:
            return self.replay.time
        return self.environment.wall_clock()

    def _grace(self) -> float:
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
        return SinkActor(self.store, self.unparsed, mailbox, run_sync=self.environment.run_sync)

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
    async def _open_lines(
        self, collector: CollectorConfig, stack: AsyncExitStack
    ) -> list[ConnectionActor]:
        rules = rules_of(collector.exchange, collector.market)
        ssl_context = _ssl_context(collector.endpoints.ca_file)
        url = (collector.endpoints.ws or rules.ws_url) + rules.ws_path
        fetcher = await self._fetcher(collector, rules, ssl_context, stack)
        connections = []
        for streams in plan_connections(collector.streams_of(), rules):
            line, commands = self._make_line(rules, streams, f"{rules.key}#{len(self.lines) + 1}")
            line.connection = ConnectionActor(
                line.name,
                url,
                Wiring(
                    mailbox=line.inputs,
                    commands=commands,
                    connect_budget=self._budget("connect", url, rules.connect_rate),
                    control_budget=_budget(f"{line.name} control", rules.control_rate),
                    fetcher=fetcher,
                    wall_clock=self.environment.wall_clock,
                    ssl_context=ssl_context,
                    open_stream=self.environment.open_stream,
                ),
                silence=rules.silence,
            )
            connections.append(line.connection)
        return connections

    def _open_replayed(self, replayed: ReplayedLine) -> None:
        rules = rules_of(replayed.exchange, replayed.market)
        line, _ = self._make_line(rules, [], replayed.name, discover=True)
        replayed.statuses = line.session.statuses

    async def _play(self, replay: Replay) -> None:
        inputs = {line.name: line.inputs for line in self.lines}
        for replayed, item in replay.inputs():
            if replayed.name not in inputs:
                inputs = {line.name: line.inputs for line in self.lines}
            await inputs[replayed.name].send(item)

    def _make_line(
        self,
        rules: MarketRules,
        streams: Sequence[Stream],
        name: str,
        *,
        discover: bool = False,
    ) -> tuple[Line, trio.MemoryReceiveChannel[Command]]:
        settings, numbers = self.settings, self.settings.numbers
        session = make_session(rules, streams, connection=name, numbers=numbers, discover=discover)
        commands, received = trio.open_memory_channel[Command](COMMAND_ROOM)
        line = Line(
            name,
            rules,
            session,
            inputs=Mailbox(
                f"{name} connection>parser",
                lose=lose_inputs,
                droppable=is_droppable,
                max_bytes=settings.mailbox_bytes,
                overflow=self._overflow,
            ),
            bundles=Mailbox(
                f"{name} parser>aggregator",
                lose=lose_bundles("parser>aggregator"),
                max_bytes=settings.mailbox_bytes,
                overflow=Overflow.BLOCK,  # what waits is the parser, and frames queue before it
            ),
            keeper=BookKeeper(
                lambda: [status.stream for status in session.statuses.values()],
                session.resync,
                numbers,
            ),
            commands=commands,
        )
        self.lines.append(line)
        for stream in streams:
            self.feeds.expect(stream.feed)
        self._start_stages(line)
        return line, received

    def _start_stages(self, line: Line) -> None:
        assert self._stages is not None
        parser = ParserActor(
            f"{line.name} parser", line.session, line.inputs, line.bundles, line.pass_commands
        )
        aggregator = AggregatorActor(
            f"{line.name} aggregator",
            line.keeper,
            line.bundles,
            self.hub.publish,
            line.pass_commands,
        )
        actors: tuple[Actor, ...] = (aggregator, parser)
        for actor in actors:
            self._stages.start_soon(self._supervisor.run, actor, name=actor.name)

    # ----------------------------------------------------------------------- shared by connections
    def _budget(self, what: str, url: str, rate: Rate) -> Budget:
        """The budget of an address: venues count by IP, so connections to one host share it."""
        key = (what, url)
        if key not in self._budgets:
            self._budgets[key] = _budget(f"{what} {url}", rate)
        return self._budgets[key]

    async def _fetcher(
        self,
        collector: CollectorConfig,
        rules: MarketRules,
        ssl_context: ssl.SSLContext | None,
        stack: AsyncExitStack,
    ) -> SnapshotFetcher | None:
        if not rules.snapshot_path:
            return None
        url = collector.endpoints.rest or rules.rest_url
        if url not in self._fetchers:
            client = RestClient(
                url,
                budget=self._budget("weight", url, rules.rest_rate),
                used_weight_header=rules.used_weight_header,
                ssl_context=ssl_context,
                network_backend=self.environment.network_backend,
            )
            await stack.enter_async_context(client)
            self._fetchers[url] = SnapshotFetcher(client)
        return self._fetchers[url]

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
            policy, weather=(ConnectionLost,), on_event=self._on_event, rng=self.environment.rng
        )

    def _on_event(self, event: LifecycleEvent) -> None:
        for line in self.lines:
            if event.actor == line.name:
                line.status = _STATUS[event.what]
                line.failures += event.what is Lifecycle.WEATHER
            if event.error is not None and event.actor.startswith(line.name):
                line.last_error = str(event.error)
                line.crashes += event.what is Lifecycle.CRASHED


def _budget(name: str, rate: Rate) -> Budget:
    return Budget(rate.limit, rate.period, name)


def _ssl_context(ca_file: Path | None) -> ssl.SSLContext | None:
    if ca_file is None:
        return None
    context = create_ssl_context()
    context.load_verify_locations(ca_file)
    return context

"""The lines of a farm in many processes: opened in shards, and read here.

It is to a pipeline what :class:`~farm.pipeline.sources.Sources` is where there is one process.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs
import trio

from farm.actors.hub import Filter
from farm.actors.supervisor import (
    Escalation,
    Lifecycle,
    LifecycleEvent,
    Policy,
    Supervisor,
)
from farm.batch import Batch
from farm.bundle import Bundle
from farm.cluster.left_behind import LeftBehind, LostRecords, crash_gaps
from farm.cluster.merged import merge
from farm.cluster.messages import (
    AddStreams,
    Assign,
    Beat,
    FromShard,
    Lines,
    MirrorBook,
    Reader,
    Readers,
    RemoveStreams,
    Told,
)
from farm.cluster.mirror import BookNews, Mirror
from farm.cluster.moves import Moves
from farm.cluster.outlet import LINK_EDGE
from farm.cluster.placement import Placement
from farm.cluster.remote_line import RemoteLine
from farm.cluster.remote_shard import RemoteShard, ShardOwner
from farm.cluster.spares import Spares
from farm.config import CollectorConfig, FarmConfig
from farm.entities import ContractInfo, Gap, OrderBook, data_type_of
from farm.errors import LocalProtocolError, ShardError
from farm.exchanges.streams import Stream
from farm.monitor.stats import FarmStats
from farm.pipeline import Pipeline
from farm.pipeline.environment import StartProcess
from farm.pipeline.line import PastLanes
from farm.pipeline.venues import Venues
from farm.types import DataType

__all__ = ["ClusterSources"]

STAGES = 3
"""Stages that a shard ends one after the other, each with its grace."""

BACKOFF = 0.02
"""Bound of the pause before a shard's second failure in a row is met; it doubles from there on.
Nobody else is hammered by it, and too many failures park the shard anyway."""

MARGIN_SECONDS = 5.0
"""More than that, for the process itself."""


class ClusterSources:
    """Opens lines in shards, at most `processes` of them; `start` starts their processes."""

    def __init__(
        self,
        pipeline: Pipeline,
        stages: Supervisor,
        config: FarmConfig,
        processes: int,
        start: StartProcess,
    ) -> None:
        self.lines: list[RemoteLine] = []
        self.past = PastLanes()
        self.shards: dict[int, RemoteShard] = {}
        self._pipeline = pipeline
        self._stages = stages
        self._config = config
        self._processes = processes
        self._spares = Spares(start, keep=config.cluster.spare)
        self._placement = Placement()
        self._left = LeftBehind()
        self._records = LostRecords(config.numbers)
        self.moves = Moves(
            self._placement,
            self.shards,
            self.lines,
            self._left_behind,
            self._mirror_again,
            pipeline.now,
        )
        self._mirrors: dict[str, Mirror] = {}
        self._readers: list[Reader] = []
        self._opened = 0
        self._ending = False
        self._venues: Venues | None = None
        self._owner = ShardOwner(
            self._take_bundle,
            self._take_books,
            self._take_message,
            self._take_beat,
            self._take_lines,
            self.moves.take_report,
            self._stands,
            self._gone,
            self._ended,
        )
        assert pipeline.waiters is not None
        self._waiters = pipeline.waiters
        self._waiters.start_soon(self._spares.run)

    # ------------------------------------------------------------- as every source of lines has it
    def connect_in(
        self,
        connections: Supervisor,  # noqa: ARG002 (connections are the shards' matter)
        changes: trio.Nursery,  # noqa: ARG002
        venues: Venues,
    ) -> None:
        """Who has the budgets of this address."""
        self._venues = venues

    async def open_line(self, collector: CollectorConfig, streams: Sequence[Stream]) -> RemoteLine:
        """A line for these streams, on the shard that has least to do, or on a new one."""
        self._opened += 1
        name = f"{collector.rules.key}#{self._opened}"
        if len(self.shards) < self._processes:
            self._add_shard()
        try:
            shard = self._placement.place(name, streams)
        except LookupError:
            raise ShardError("every shard failed too often and is parked") from None
        planned = {stream.name: stream for stream in streams}
        line = RemoteLine(name, collector, planned, self._config.numbers, shard)
        self.lines.append(line)
        self._expect(streams)
        self.shards[shard].send(line.opening())
        return line

    def add(self, line: RemoteLine, streams: Sequence[Stream]) -> None:
        """Collect more streams on a line."""
        line.planned |= {stream.name: stream for stream in streams}
        self._expect(streams)
        if self.shards[line.shard].state == "parked":
            line.down_since |= {stream.name: self._pipeline.now() for stream in streams}
            return
        self._placement.carry(line.name, line.streams())
        self.moves.tell(line, AddStreams(line.name, list(streams)))

    def remove(self, line: RemoteLine, streams: Sequence[Stream]) -> None:
        """Collect these streams of a line no longer; a line without streams is closed."""
        shard, now = self.shards.get(line.shard), self._pipeline.now()
        if shard is not None and shard.runs:
            self._left.leave(shard.number, line.name, list(streams), now, line.down_since)
        else:  # nobody is there to say what was lost
            self._say(line.name, crash_gaps(streams, line.untold, now, now))
        for stream in streams:
            line.planned.pop(stream.name, None)
            line.down_since.pop(stream.name, None)
            self._mirrors.pop(stream.feed, None)
        self.moves.tell(line, RemoveStreams(line.name, list(streams)))
        is_parked = shard is None or shard.state == "parked"
        if line.planned and not is_parked:
            self._placement.carry(line.name, line.streams())
        if not line.planned:
            line.full = True
            self.lines.remove(line)
            self._placement.forget(line.name)
            self.moves.forget(line)

    def rests(self) -> list[RemoteLine | LostRecords]:
        """Who may have something to say when all has ended."""
        return [*self.lines, self._records]

    def books(self) -> list[_MirroredBook]:
        """The books of all lines; one that is read is mirrored from then on."""
        return [
            _MirroredBook(self, line, stream)
            for line in self.lines
            for stream in line.streams()
            if stream.data_type is DataType.BOOK
        ]

    def read_by(self, filters: Iterable[Filter]) -> None:
        """What is read here: shards send nothing else."""
        self._readers = [Reader(data_type_of(ContractInfo), None, None, None)]  # by listings
        for wanted in filters:
            symbols = None if wanted.symbols is None else sorted(wanted.symbols)
            self._readers += [
                Reader(data_type_of(kind), wanted.exchange, wanted.market, symbols)
                for kind in sorted(wanted.kinds, key=lambda kind: kind.__name__)
            ]
        for shard in self.shards.values():
            shard.send(Readers(self._readers))

    async def settled(self) -> None:
        """Wait until every shard stands. ShardError where one can't be started."""
        for shard in list(self.shards.values()):
            await shard.stands.wait()
            if shard.failure is not None:
                raise ShardError(str(shard.failure)) from shard.failure
        self._spares.keep_one()

    def see_open(self) -> None:
        """LocalProtocolError where the farm is ending: nothing can be changed any more."""
        if self._ending:
            raise LocalProtocolError("the farm is ending")

    def stop(self) -> None:
        """Start nothing any more: the shards are about to be drained."""
        self._ending = True
        self.moves.stop()

    def stats(self, own: FarmStats) -> FarmStats:
        """What this process knows of itself, and what its shards said last."""
        merged = merge([own, *(part for shard in self.shards.values() for part in shard.stats())])
        shards = [shard.process() for shard in self.shards.values()]
        down = self._down()
        feeds = [
            attrs.evolve(feed, state="down", reason=down[feed.feed])
            if not feed.state and feed.feed in down
            else feed
            for feed in merged.feeds
        ]
        return attrs.evolve(merged, feeds=feeds, processes=[*own.processes, *shards])

    def _down(self) -> dict[str, str]:
        """The feeds that no process collects at the moment, and why."""
        down: dict[str, str] = {}
        for line in self.lines:
            shard = self.shards.get(line.shard)
            is_dead = shard is None or not shard.runs
            for name, stream in line.planned.items():
                if is_dead or name in line.down_since:
                    reason = "" if shard is None else shard.reason
                    down |= dict.fromkeys(stream.feeds, reason)
        return down

    def unwritten(self) -> str:
        """What shards could not store in the end."""
        return "; ".join(shard.unwritten for shard in self.shards.values() if shard.unwritten)

    # -------------------------------------------------------------------------------------- books
    def mirror(self, line: RemoteLine, stream: Stream) -> Mirror:
        """The mirror of a book, which is asked for if need be."""
        mirror = self._mirrors.get(stream.feed)
        if mirror is None:
            mirror = self._mirrors[stream.feed] = Mirror(stream)
            if line.shard in self.shards:
                self.shards[line.shard].send(MirrorBook(line.name, stream.feed))
        return mirror

    def _mirror_again(self, line: RemoteLine) -> None:
        """Its line is in another process: this has to send its books whole."""
        for stream in line.streams():
            if stream.feed in self._mirrors:
                self.shards[line.shard].send(MirrorBook(line.name, stream.feed))

    # ------------------------------------------------------------------------------------- shards
    def _add_shard(self) -> None:
        assert self._venues is not None
        cluster = self._config.cluster
        number = len(self.shards) + 1
        shard = self.shards[number] = RemoteShard(
            number,
            self._spares,
            self._assignment,
            self._venues.budget,
            self._owner,
            numbers=self._config.numbers,
            hang_seconds=cluster.hang_seconds,
            heartbeat_seconds=cluster.heartbeat_seconds,
        )
        self._placement.add_shard(number)
        supervision = self._config.supervision
        policy = Policy(
            backoff_initial=BACKOFF,
            backoff_cap=supervision.backoff_cap,
            healthy_after=supervision.healthy_after,
            intensity=cluster.intensity,
            period=cluster.period,
            escalation=Escalation.PARK,
        )
        self._stages.add(
            shard,
            policy=policy,
            stop=shard.drain,
            grace=lambda: STAGES * self._pipeline.grace() + MARGIN_SECONDS,
        )

    def _assignment(self, shard: RemoteShard) -> Assign:
        cluster, seed = self._config.cluster, self._pipeline.environment.seed
        return Assign(
            shard.name,
            self._pipeline.settings,
            cluster.heartbeat_seconds,
            cluster.memory_limit,
            self._config.subscriber_bytes,
            None if seed is None else str(seed),
            shard.number - 1 if cluster.pin_cpus else None,
        )

    def _stands(self, shard: RemoteShard) -> None:
        """A process stands: open the shard's lines in it."""
        shard.send(Readers(self._readers))
        for line in self.lines:
            if line.shard == shard.number:
                shard.send(line.opening())
                self._mirror_again(line)

    def _left_behind(self, line: RemoteLine, shard: int) -> None:
        """A line is gone from a shard, where its last rows may still be in memory."""
        now = self._pipeline.now()
        self._left.leave(shard, line.name, line.streams(), now, line.down_since)

    def _say(self, line: str, gaps: list[Gap]) -> None:
        """Publish what no shard can."""
        if gaps:
            self._records.put(line, gaps, self._pipeline.now())
            self._waiters.start_soon(
                self._records.publish_rest, self._pipeline.hub.publish, self._pipeline.now
            )

    def _gone(self, shard: RemoteShard) -> None:
        """A process is gone, and with it what it had received and not stored."""
        self.moves.gone(shard.number)
        since = shard.safe()
        if since is not None:
            for name, gaps in self._left.lost(shard.number, since, self._pipeline.now()):
                self._say(name, gaps)
        for line in self.lines:
            if line.shard != shard.number:
                continue
            if since is not None:
                line.lost(since)
            for stream in line.streams():
                if (mirror := self._mirrors.get(stream.feed)) is not None:
                    mirror.lost()

    def _ended(self, shard: RemoteShard) -> None:
        self._left.ended(shard.number)
        for line in self.lines:
            if line.shard == shard.number:
                line.ended()

    def take_note(self, event: LifecycleEvent) -> None:
        """Hear what happened to an actor of this process."""
        for shard in self.shards.values():
            if shard.name == event.actor and event.what is Lifecycle.PARKED:
                shard.parked()
                self._placement.remove_shard(shard.number)

    # -------------------------------------------------------------------------------- what comes
    def _take_bundle(self, bundle: Bundle) -> None:
        for batch in bundle.batches:
            if batch.kind is Gap:
                self._take_losses(batch)
        self._pipeline.hub.relay(bundle)

    def _take_losses(self, gaps: Batch[Gap]) -> None:
        """Of gaps those that arose on the way here; others were counted in the shard."""
        lost = [gap for gap in gaps.rows if gap.edge == LINK_EDGE]
        for gap in lost:
            self._pipeline.feeds.expect(gap.feed).gaps += 1
        if lost:
            origins = [(gaps.origins[0][0], len(lost))]
            batch = Batch(Gap, rows=lost, origins=origins, numbers=gaps.numbers)
            self._pipeline.hub.relay_losses(batch)

    def _take_books(self, books: list[BookNews]) -> None:
        for news in books:
            if (mirror := self._mirrors.get(news.feed)) is not None:
                mirror.take(news)

    def _take_beat(self, shard: RemoteShard, beat: Beat) -> None:
        self._left.is_safe(shard.number, beat.safe)
        for line in self.lines:
            if line.shard == shard.number:
                line.is_safe(beat.safe)

    def _take_lines(self, shard: RemoteShard, told: Lines) -> None:
        lines = {line.name: line for line in self.lines}
        for report in told.lines:
            line = lines.get(report.line)
            if line is not None and line.shard == shard.number:
                line.take(report, told.time)

    def _take_message(self, shard: RemoteShard, message: FromShard) -> None:
        if isinstance(message, Told):
            error = ShardError(message.error) if message.error else None
            self._pipeline.tell(
                LifecycleEvent(
                    f"{shard.name}/{message.actor}",
                    Lifecycle(message.what),
                    trio.current_time(),
                    message.run,
                    error,
                    message.delay,
                )
            )
        else:
            self.moves.take_message(message)

    def _expect(self, streams: Sequence[Stream]) -> None:
        for stream in streams:
            for feed in stream.feeds:
                self._pipeline.feeds.expect(feed).ended = ""


class _MirroredBook:
    """A book of a shard's, to be read here."""

    def __init__(self, sources: ClusterSources, line: RemoteLine, stream: Stream) -> None:
        self.stream = stream
        self._sources = sources
        self._line = line

    def book(self, depth: int | None = None) -> OrderBook:
        """A copy of it, its best `depth` levels a side; the first time it is *syncing*."""
        return self._sources.mirror(self._line, self.stream).book(depth)

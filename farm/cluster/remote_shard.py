"""A shard as its parent has it: an actor whose every run is one process.

A process that ends before its time is a crash of the actor, which the supervisor meets as any: the
next run takes a process that stands already, and opens the same lines in it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress

import attrs
import trio

from farm.actors.supervisor import Health
from farm.bundle import Bundle
from farm.cluster.budgets import Grants
from farm.cluster.codec import decode_bundle
from farm.cluster.link import Frame, FrameKind, Link
from farm.cluster.merged import counts_of, merge
from farm.cluster.messages import (
    Ask,
    Assign,
    Beat,
    Bye,
    Cancel,
    Caught,
    Drain,
    FromShard,
    HandedOver,
    Heir,
    Lines,
    Observe,
    Pause,
    Ready,
    Report,
    Told,
    ToShard,
    decode_from_shard,
    encode,
)
from farm.cluster.mirror import BookNews, decode_news
from farm.cluster.spares import Spares, Standing
from farm.errors import LinkError, ShardError, StorageFailed
from farm.monitor.stats import FarmStats, ProcessStats
from farm.net.budget import Budget
from farm.types import Nanoseconds, NumberMode

__all__ = ["RemoteShard", "ShardOwner"]

log = logging.getLogger("farm.cluster")

CONTROL_ROOM = 1_000_000
"""Messages that wait for a shard: it reads them at once, or is ended."""

LEAST_SPAN = 0.2
"""Seconds between two reports from which a rate can be told: the last one comes at any time."""

EXIT_SECONDS = 1.0
"""Seconds for a process to be gone whose link has ended."""


@attrs.define
class ShardOwner:
    """Whom a shard tells what comes: bundles, what became of books, messages that concern others,
    its beats; that it stands (and is to be told its lines), that a process of it is gone, and that
    it ended as it was asked to."""

    bundle: Callable[[Bundle], None]
    books: Callable[[list[BookNews]], None]
    message: Callable[[RemoteShard, FromShard], None]
    beat: Callable[[RemoteShard, Beat], None]
    lines: Callable[[RemoteShard, Lines], None]
    report: Callable[[RemoteShard, Report], None]
    stands: Callable[[RemoteShard], None]
    gone: Callable[[RemoteShard], None]
    ended: Callable[[RemoteShard], None]


class RemoteShard:
    """One shard; ``number`` counts from 1.

    ``pid`` is that of the process of now, 0 where there is none. ``restarts`` counts processes that
    took another's place, ``reason`` says why the last one failed. ``stands`` is set when its first
    process does, or has failed (``failure``).
    """

    def __init__(
        self,
        number: int,
        spares: Spares,
        assign: Callable[[RemoteShard], Assign],
        budget_of: Callable[[str, str, int, float], Budget],
        owner: ShardOwner,
        *,
        numbers: NumberMode,
        hang_seconds: float,
        heartbeat_seconds: float,
    ) -> None:
        self.number = number
        self.name = f"shard {number}"
        self.pid = 0
        self.restarts = 0
        self.reason = ""
        self.state = "starting"
        self.stands = trio.Event()
        self.failure: Exception | None = None
        self.draining = False
        self.last_beat: Beat | None = None
        self.cpu: float | None = None
        self.rate: float | None = None
        self.report: Report | None = None
        self.past: FarmStats | None = None  # what processes before this one had come to
        self.bundles = self.events = 0  # that came from the process of now
        self.unreconciled = 0  # that were sent and did not come
        self.unwritten = ""  # what it could not store when it was drained
        self._spares = spares
        self._assign = assign
        self._budget_of = budget_of
        self._owner = owner
        self._numbers = numbers
        self._hang_seconds = hang_seconds
        self._heartbeat_seconds = heartbeat_seconds
        self._outgoing: trio.MemorySendChannel[ToShard] | None = None
        self._grants: Grants | None = None
        self._bye: Bye | None = None
        self._heard = self._reported_at = -1.0
        self._hung = self._has_failed = self._is_lost = False

    # ------------------------------------------------------------------------ from the outside
    @property
    def runs(self) -> bool:
        """Whether a process stands that can be told something."""
        return self._outgoing is not None

    def send(self, message: ToShard) -> None:
        """Tell the process something; one that is to come is told what it needs anyway."""
        if self._outgoing is not None:
            self._outgoing.send_nowait(message)

    def drain(self) -> None:
        """Have it end: what was received flows out first."""
        self.draining = True
        self.send(Drain())

    def parked(self) -> None:
        """It failed too often: its lines are dead, so that they don't take others with them."""
        self.state = "parked"

    # --------------------------------------------------------------------------------- the actor
    async def run(self, health: Health) -> None:
        """One process, from its assignment to its end. ShardError where it fails."""
        if not self.draining:  # else nothing new is begun
            await self._run(health)
        self.state = "stopped"

    async def _run(self, health: Health) -> None:
        self.state = "starting" if not self.stands.is_set() else "restarting"
        self._bye, self._hung, self._is_lost = None, False, False
        self.bundles = self.events = 0
        told = False
        try:
            standing = await self._spares.take(self.name)
            try:
                if not self.draining:  # it was asked to end while it had no process
                    await self._serve(standing, health)
                told = True
            finally:
                await standing.process.aclose()
        except Exception as error:
            told = True
            self._failed(error)
            raise
        finally:
            if not told:  # cancelled: what it had goes with it
                self._lose_process()
            self._outgoing = self._grants = None
            self.pid = 0
            self.last_beat = self.last_beat if self.draining else None

    def _failed(self, error: Exception) -> None:
        self.reason = str(error) or repr(error)
        self.state = "restarting"
        self._has_failed = True
        if not self.stands.is_set():
            self.failure = error
            self.stands.set()
        self._lose_process()

    def _lose_process(self) -> None:
        if self._is_lost:
            return
        self._is_lost = True
        self._outgoing = None  # nothing can be told to it any more
        self.rate = self.cpu = None
        self._remember()
        self._owner.gone(self)

    def _remember(self) -> None:
        """Of a process that is gone counts stay, and nothing of how it was."""
        report, self.report = self.report, None
        if report is not None:
            gone = counts_of(report.stats)
            self.past = gone if self.past is None else merge([self.past, gone])

    def stats(self) -> list[FarmStats]:
        """What it knew and knows."""
        known = [] if self.past is None else [self.past]
        return known if self.report is None else [*known, self.report.stats]

    def process(self) -> ProcessStats:
        """How it is."""
        stats = self.report.stats if self.report is not None else None
        return ProcessStats(
            name=self.name,
            pid=self.pid,
            state=self.state,
            connections=0 if stats is None else len(stats.connections),
            events=sum(part.totals.events for part in self.stats()),
            rate=self.rate,
            memory=None if self.last_beat is None else self.last_beat.memory,
            cpu=self.cpu,
            restarts=self.restarts,
            reason=self.reason,
        )

    async def _serve(self, standing: Standing, health: Health) -> None:
        self.pid = standing.pid
        self.restarts += self._has_failed
        self._has_failed = False
        outgoing, waiting = trio.open_memory_channel[ToShard](CONTROL_ROOM)
        async with trio.open_nursery() as nursery:
            self._outgoing = outgoing
            self._grants = Grants(self._budget_of, self.send, nursery)
            nursery.start_soon(_write, standing.link, waiting)
            self.send(self._assign(self))
            self._owner.stands(self)
            self.state = "running"
            self.stands.set()
            health.ready()
            self._heard = trio.current_time()
            nursery.start_soon(self._watch, standing)
            reading = await self._read(standing.link)
            if self._bye is None:
                self._lose_process()  # at once: why is found out after that
            nursery.cancel_scope.cancel()
        await self._judge_end(standing, reading)

    async def _read(self, link: Link) -> str:
        """Take what comes until the link ends; what is wrong with how it did, if anything."""
        try:
            while frames := await link.receive():
                self._heard = trio.current_time()
                for frame in frames:
                    self._take(frame)
        except LinkError as error:
            return str(error)
        return ""

    def _take(self, frame: Frame) -> None:
        kind, payload = frame
        if kind is FrameKind.BUNDLE:
            bundle = decode_bundle(payload)
            self.bundles += 1
            self.events += sum(map(len, bundle.batches))
            self._owner.bundle(bundle)
        elif kind is FrameKind.BOOKS:
            self._owner.books(decode_news(payload, self._numbers))
        else:
            self._message(decode_from_shard(payload))

    def _message(self, message: FromShard) -> None:
        match message:
            case Ask() | Cancel() | Pause() | Observe():
                assert self._grants is not None
                self._grants.take(message)
            case Beat():
                self.last_beat = message
                self._owner.beat(self, message)
            case Lines():
                self._owner.lines(self, message)
            case Report():
                self._take_report(message)
            case Told() | Heir() | Caught() | HandedOver():
                self._owner.message(self, message)
            case Bye():
                self._bye = message
                if message.report is not None:
                    self._take_report(message.report)
            case Ready():
                raise LinkError("a shard that was assigned says that it waits for that")

    def _take_report(self, report: Report) -> None:
        now, events = trio.current_time(), report.stats.totals.events
        if self.report is not None and now > self._reported_at + LEAST_SPAN:
            before = self.report.stats.totals.events
            self.rate = max(0, events - before) / (now - self._reported_at)
        self.report, self._reported_at = report, now
        self._owner.lines(self, report.lines)
        self._owner.report(self, report)

    # -------------------------------------------------------------------------------- how it ends
    async def _judge_end(self, standing: Standing, reading: str) -> None:
        """Its link has ended: as it should, or by what?"""
        with trio.move_on_after(EXIT_SECONDS):
            reason = await standing.process.wait()
            reading = ""  # it ended, maybe within a frame
        bye = self._bye
        if bye is None:
            if self._hung:
                reason = f"it said nothing for {self._hang_seconds:g} s, and was killed"
            standing.process.kill()
            if not self._hung:
                reason = await standing.process.wait()
            raise ShardError(f"{self.name} (pid {self.pid}) is gone: {reading or reason}")
        if bye.failed:
            if self.draining and bye.failed.startswith(StorageFailed.__name__):
                self.unwritten = f"{self.name}: {bye.failed.partition(': ')[2]}"
                self._reconcile(bye)
                self._owner.ended(self)
                return
            raise ShardError(f"{self.name} (pid {self.pid}): {bye.failed}")
        if not self.draining:
            raise ShardError(f"{self.name} (pid {self.pid}) ended, and was not asked to")
        self._reconcile(bye)
        self._owner.ended(self)

    def _reconcile(self, bye: Bye) -> None:
        """What was sent must have come."""
        if (bye.bundles, bye.events) != (self.bundles, self.events):
            self.unreconciled += abs(bye.events - self.events)
            log.error(
                "%s sent %d events in %d bundles, of which %d in %d came",
                self.name,
                bye.events,
                bye.bundles,
                self.events,
                self.bundles,
            )
        for edge in bye.report.stats.edges if bye.report is not None else ():
            if edge.offered != edge.taken + edge.dropped:
                log.error("%s: %s is not reconciled: %r", self.name, edge.edge, edge)

    async def _watch(self, standing: Standing) -> None:
        """Kill a process that says nothing: it hangs.

        Where it was we who did not listen, its beats are waiting: so look again before judging.
        """
        while True:
            await trio.sleep_until(self._heard + self._hang_seconds)
            heard = self._heard
            if trio.current_time() - heard < self._hang_seconds:
                continue
            await trio.sleep(self._heartbeat_seconds)
            if self._heard == heard:
                log.error("%s (pid %d) hangs; it is killed", self.name, self.pid)
                self._hung = True
                standing.process.kill()
                return

    def safe(self) -> Nanoseconds | None:
        """Up to when all that it received is on disk or here; None where it never said."""
        return self.last_beat.safe if self.last_beat is not None else None


async def _write(link: Link, waiting: trio.MemoryReceiveChannel[ToShard]) -> None:
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):  # the reader hears of it
        async for message in waiting:
            await link.send([(FrameKind.MESSAGE, encode(message))])

"""Sources: starting lines and their lanes, replacing a connection live, and letting them go."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence

import trio

from farm.actors.mailbox import Overflow
from farm.actors.supervisor import Supervisor
from farm.bundle import Bundle
from farm.config import CollectorConfig
from farm.errors import LocalProtocolError
from farm.exchanges.rules import MarketRules
from farm.exchanges.session import StreamState, Subscribe, Unsubscribe
from farm.exchanges.streams import REST_ROUTE, Stream
from farm.monitor.feeds import FeedCounters
from farm.pipeline.environment import Settings
from farm.pipeline.lane import Lane, SessionOptions
from farm.pipeline.line import Line, PastLanes, make_line
from farm.pipeline.venues import Venues
from farm.storage.quarantine import QuarantineStore
from farm.types import Nanoseconds

__all__ = ["Sources"]

log = logging.getLogger("farm.pipeline")

LOOK_EVERY = 0.1
"""Seconds between two looks at whether a connection has taken over from another."""

OVERLAP = 2.0
"""Seconds for which both go on after that."""

PROOF_TIME = 1_000_000_000
"""Nanoseconds after its acknowledgement in which a stream must have delivered on the new connection
if it did on the old one."""


class Sources:
    """Starts and ends the `lines` of a farm.

    What follows the connections runs under `stages`, and tasks that wait for its end in `waiters`;
    `publish` is where lines end. `grace` says how many seconds a stage has to end in.
    """

    def __init__(
        self,
        lines: list[Line],
        settings: Settings,
        stages: Supervisor,
        waiters: trio.Nursery,
        feeds: FeedCounters,
        publish: Callable[[Bundle], Awaitable[None]],
        now: Callable[[], Nanoseconds],
        grace: Callable[[], float],
        quarantine: QuarantineStore,
    ) -> None:
        self.lines = lines
        self.past = PastLanes()  # of lines that were closed
        self._settings = settings
        self._stages = stages
        self._waiters = waiters
        self._feeds = feeds
        self._publish = publish
        self._now = now
        self._grace = grace
        self._quarantine = quarantine
        self._opened = 0
        self._ending = False
        self._connections: Supervisor | None = None
        self._changes: trio.Nursery | None = None
        self._venues: Venues | None = None

    def connect_in(self, connections: Supervisor, changes: trio.Nursery, venues: Venues) -> None:
        """Where connections run, where changes of them take their time, and who makes them;
        recordings need none of it."""
        self._connections, self._changes, self._venues = connections, changes, venues

    def stop(self) -> None:
        """Start nothing any more: the connections are about to end."""
        self._ending = True

    def see_open(self) -> None:
        """LocalProtocolError where the farm is ending: nothing can be changed any more."""
        if self._ending:
            raise LocalProtocolError("the farm is ending")

    # -------------------------------------------------------------------------------------- lines
    async def open_line(self, collector: CollectorConfig, streams: Sequence[Stream]) -> Line:
        """A line for these streams, all of one route, with as many lanes as are configured."""
        options = SessionOptions(
            microseconds=collector.time_unit == "microsecond",
            snapshot_levels=collector.snapshot_levels,
        )
        self._opened += 1
        name = f"{collector.rules.key}#{self._opened}"
        line = self._new_line(name, collector.rules, options, Overflow.DROP_OLDEST, streams)
        line.collector = collector
        line.route = streams[0].route
        for _ in range(1 if line.route == REST_ROUTE else collector.lanes):
            await self._start_lane(line)
        return line

    def open_replayed(self, name: str, rules: MarketRules) -> Lane:
        """A line that a recording feeds: every edge waits, for nothing upstream can starve."""
        line = self._new_line(name, rules, SessionOptions(discover=True), Overflow.BLOCK)
        return self._new_lane(line)

    def add(self, line: Line, streams: Sequence[Stream]) -> None:
        """Collect more streams on a line."""
        line.planned |= {stream.name: stream for stream in streams}
        line.keeper.learn()
        self._expect(streams)
        line.put(lambda: Subscribe(self._now(), list(streams)))

    def remove(self, line: Line, streams: Sequence[Stream]) -> None:
        """Collect these streams no longer; a line without streams is closed."""
        for stream in streams:
            line.planned.pop(stream.name, None)
        line.put(lambda: Unsubscribe(self._now(), list(streams)))
        if not line.planned and self._changes is not None and not self._ending:
            self._changes.start_soon(self._close_line, line)

    # -------------------------------------------------------------------------------------- lanes
    def rotate_soon(self, line: Line, lane: Lane, reason: str) -> None:
        """Have a connection replaced by another, make before break."""
        if self._changes is not None and not self._ending:
            self._changes.start_soon(self._rotate, line, lane, reason)

    async def _rotate(self, line: Line, old: Lane, reason: str) -> None:
        async with line.rotation:
            if old not in line.lanes or old.retiring or not line.planned:
                return
            log.info("%s: %s; another connection takes over", old.name, reason)
            new = await self._start_lane(line)
            await _taken_over(line, old, new)
            await self._retire(line, old)
            line.past.rotations += 1
            log.info("%s: took over from %s", new.name, old.name)

    async def _retire(self, line: Line, lane: Lane) -> None:
        """End a lane; what it received is processed, or passed on as lost, before it goes."""
        lane.retiring = True
        if lane.source_child is not None:
            await lane.source_child.stop()
        if lane.parser_child is not None:
            lane.parser_child.ask_to_stop()
        await line.end_lane(lane, self._now)
        line.let_go(lane)

    async def _close_line(self, line: Line) -> None:
        async with line.rotation:
            if line.planned:
                return  # something was added meanwhile
            line.full = True
            for lane in list(line.lanes):
                await self._retire(line, lane)
            if line.aggregator_child is not None:
                await line.aggregator_child.stop()
            await line.publish_rest(self._publish, self._now)
            self.lines.remove(line)
            self.past.include(line.past)

    async def _start_lane(self, line: Line) -> Lane:
        assert self._venues is not None
        assert self._connections is not None
        assert line.collector is not None
        lane = self._new_lane(line)
        await self._venues.connect(
            lane,
            line.route,
            line.collector,
            lambda reason: self.rotate_soon(line, lane, reason),
        )
        assert lane.source is not None
        lane.source_child = self._connections.add(lane.source)
        return lane

    # ------------------------------------------------------------------------------------ helpers
    def _new_line(
        self,
        name: str,
        rules: MarketRules,
        options: SessionOptions,
        overflow: Overflow,
        streams: Sequence[Stream] = (),
    ) -> Line:
        """A line with what follows its lanes running."""
        line = make_line(name, rules, self._settings, options, overflow, self._quarantine, streams)
        self.lines.append(line)
        self._expect(streams)
        line.aggregator_child = self._stages.add(
            line.aggregator(self._publish), stop=line.closing.set, grace=self._grace
        )
        self._waiters.start_soon(line.close_when_ended, self._now)
        return line

    def _new_lane(self, line: Line) -> Lane:
        lane = line.new_lane()

        def stop() -> None:
            if lane.retiring:
                lane.finish(self._now())
            else:  # everything ends
                line.closing.set()

        parser = lane.parser(line.bundles)
        lane.parser_child = self._stages.add(parser, stop=stop, grace=self._grace)
        return lane

    def _expect(self, streams: Sequence[Stream]) -> None:
        for stream in streams:
            for feed in stream.feeds:
                self._feeds.expect(feed).ended = ""


async def _taken_over(line: Line, old: Lane, new: Lane) -> None:
    """Wait until `new` carries all that `old` does, and has done so for a while; or until `old` is
    gone by itself and `new` is not."""
    since: float | None = None
    while True:
        now = trio.current_time()
        if not _has_taken_over(line, old, new):
            since = None
        elif since is None:
            since = now
        if since is not None and (now - since >= OVERLAP or not old.is_running):
            return
        await trio.sleep(LOOK_EVERY)


def _has_taken_over(line: Line, old: Lane, new: Lane) -> bool:
    if not new.is_running:
        return False
    return not old.is_running or (line.merger.covers(new.name, old.name) and _delivers_as(old, new))


def _delivers_as(old: Lane, new: Lane) -> bool:
    """Whether every stream that goes on delivering on `old` delivers on `new`.

    That it was acknowledged proves nothing; but one that is silent on both may be so rightly.
    """
    for name, status in old.session.statuses.items():
        successor = new.session.statuses.get(name)
        if successor is None or successor.state is StreamState.LIVE or status.last_time is None:
            continue
        since = successor.acknowledged_at
        if since is None or status.last_time > since + PROOF_TIME:
            return False
    return True

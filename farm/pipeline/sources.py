"""Sources: starting lines and their lanes, replacing a connection live, and letting them go."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

import trio

from farm.actors.hub import Filter
from farm.actors.mailbox import Overflow
from farm.actors.supervisor import LifecycleEvent, Supervisor
from farm.books.sync import BookSync
from farm.bundle import Bundle
from farm.config import CollectorConfig
from farm.errors import LocalProtocolError
from farm.exchanges.rules import MarketRules
from farm.exchanges.session import Subscribe, Unsubscribe
from farm.exchanges.streams import REST_ROUTE, Stream
from farm.monitor.feeds import FeedCounters
from farm.monitor.stats import FarmStats
from farm.pipeline.environment import Settings
from farm.pipeline.handover import OVERLAP, adopt_state, delivers_as, export_state
from farm.pipeline.lane import Lane, SessionOptions
from farm.pipeline.line import Line, PastLanes, make_line
from farm.pipeline.venues import Venues
from farm.storage.quarantine import QuarantineStore
from farm.types import Nanoseconds

__all__ = ["Sources"]

log = logging.getLogger("farm.pipeline")

LOOK_EVERY = 0.1
"""Seconds between two looks at whether a connection has taken over from another."""


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

    def read_by(self, filters: Iterable[Filter]) -> None:
        """The hub of this process knows that already."""

    def stats(self, own: FarmStats) -> FarmStats:
        """There is no other process."""
        return own

    def rests(self) -> list[Line]:
        """The lines: each says what is left in it."""
        return list(self.lines)

    def unwritten(self) -> str:
        """There is no other process."""
        return ""

    def take_note(self, event: LifecycleEvent) -> None:
        """Have the lines hear what happened to an actor."""
        for line in self.lines:
            line.take_note(event)

    async def settled(self) -> None:
        """There is nothing to wait for: connections come about in the background."""

    def books(self) -> list[BookSync]:
        """The books of all lines."""
        return [book for line in self.lines for book in line.keeper.books]

    def see_open(self) -> None:
        """LocalProtocolError where the farm is ending: nothing can be changed any more."""
        if self._ending:
            raise LocalProtocolError("the farm is ending")

    # -------------------------------------------------------------------------------------- lines
    async def open_line(
        self,
        collector: CollectorConfig,
        streams: Sequence[Stream],
        *,
        name: str | None = None,
        first_lane: int = 1,
        held: bool = False,
        down_since: Mapping[str, Nanoseconds] | None = None,
    ) -> Line:
        """A line for these streams, all of one route, with as many lanes as are configured.

        One that another process had keeps its `name`; its lanes are numbered from `first_lane` on,
        for what reads them passes over what it has seen of a lane of the same name. `down_since`,
        by the stream's name: what that process received since then is lost. `held`: nothing is
        published before :meth:`take_over`.
        """
        options = SessionOptions(
            microseconds=collector.time_unit == "microsecond",
            snapshot_levels=collector.snapshot_levels,
        )
        if name is None:
            self._opened += 1
            name = f"{collector.rules.key}#{self._opened}"
        line = make_line(
            name,
            collector.rules,
            self._settings,
            options,
            Overflow.DROP_OLDEST,
            self._quarantine,
            streams,
            first_lane=first_lane,
            held=held,
        )
        line.collector = collector
        line.route = streams[0].route
        self._enter(line)
        if not held:
            self._start_aggregator(line)
        for _ in range(_lanes_of(line)):
            await self._start_lane(line, down_since)
        return line

    def open_replayed(self, name: str, rules: MarketRules) -> Lane:
        """A line that a recording feeds: every edge waits, for nothing upstream can starve."""
        options = SessionOptions(discover=True)
        line = make_line(name, rules, self._settings, options, Overflow.BLOCK, self._quarantine)
        self._enter(line)
        self._start_aggregator(line)
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

    # ---------------------------------------------------------------------- from process to process
    def expect_heir(self, line: Line) -> int:
        """Another process is about to open this line, held: from now on it is kept track of what
        passes, so that what comes twice can be told. The number of the first lane there."""
        first, count = line.next_lane, _lanes_of(line)
        line.next_lane += count
        line.merger.expect_lanes(line.lane_name(first + place) for place in range(count))
        line.has_heir = True
        return first

    def expect_no_heir(self, line: Line) -> None:
        """The line stays here after all."""
        line.merger.expect_lanes(())
        line.has_heir = False

    async def hand_over(self, line: Line) -> bytes | None:
        """End a line with which its heir goes on: all that was received is published, and nothing
        is said of an end. The state for the heir's :meth:`take_over`; None where it can't be relied
        on, since a stage crashed too often or did not end in time: what that cost is recorded here.

        LocalProtocolError where no heir was expected.
        """
        if not line.has_heir:
            raise LocalProtocolError(f"{line.name} can't be handed over: no heir was expected")
        line.full = line.leaving = True
        async with line.rotation:
            for lane in list(line.lanes):
                await self._leave(line, lane)
            await self._end_aggregator(line)
            child = line.aggregator_child
            return export_state(line) if child is not None and child.finished else None

    async def take_over(self, line: Line, state: bytes) -> None:
        """Go on with a line that was held, from what the process before had come to.

        LocalProtocolError for a line that is not held.
        """
        self.see_open()
        if not line.held:
            raise LocalProtocolError(f"{line.name} is not held")
        adopt_state(line, state)
        line.held = False
        line.settled.set()
        self._start_aggregator(line)
        await line.end_old_lanes(self._now)

    async def discard(self, line: Line) -> None:
        """Close a line that is held, in silence: the process that has it goes on with it.

        LocalProtocolError for a line that is not held.
        """
        if not line.held:
            raise LocalProtocolError(f"{line.name} is not held")
        line.full = True
        line.planned.clear()
        for lane in list(line.lanes):
            lane.retiring = True
            if lane.source_child is not None:
                await lane.source_child.stop()
        line.closing.set()
        for lane in list(line.lanes):
            if lane.parser_child is not None:
                await lane.parser_child.wait()
        line.settled.set()
        line.bundles.drain()
        self._forget(line)

    async def _leave(self, line: Line, lane: Lane) -> None:
        """End a lane without a last word, if all that it received could be parsed."""
        lane.retiring = True
        if lane.source_child is not None:
            await lane.source_child.stop()
        lane.leave()
        if lane.parser_child is not None and not await lane.parser_child.stop():
            await line.end_lane(lane, self._now)
        line.let_go(lane)

    # -------------------------------------------------------------------------------------- lanes
    def rotate_soon(self, line: Line, lane: Lane, reason: str) -> None:
        """Have a connection replaced by another, make before break."""
        if self._changes is not None and not self._ending:
            self._changes.start_soon(self._rotate, line, lane, reason)

    async def _rotate(self, line: Line, old: Lane, reason: str) -> None:
        if line.held:
            await line.settled.wait()
        async with line.rotation:
            if old not in line.lanes or old.retiring or line.leaving or not line.planned:
                return
            log.info("%s: %s; another connection takes over", old.name, reason)
            new = await self._start_lane(line)
            if not await _taken_over(line, old, new):
                return
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
            if line.planned or line not in self.lines:
                return  # something was added meanwhile, or it went to another process
            if line.held:
                await self.discard(line)
                return
            line.full = True
            for lane in list(line.lanes):
                await self._retire(line, lane)
            await self._end_aggregator(line)

    async def _end_aggregator(self, line: Line) -> None:
        """The lanes are gone: end what follows them, and with it the line."""
        if line.aggregator_child is not None:
            await line.aggregator_child.stop()
        await line.publish_rest(self._publish, self._now)
        self._forget(line)

    def _forget(self, line: Line) -> None:
        self.lines.remove(line)
        line.past.edges.add(line.bundles)
        self.past.include(line.past)

    async def _start_lane(
        self, line: Line, down_since: Mapping[str, Nanoseconds] | None = None
    ) -> Lane:
        assert self._venues is not None
        assert self._connections is not None
        assert line.collector is not None
        lane = self._new_lane(line)
        lane.went_down(down_since or {})
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
    def _enter(self, line: Line) -> None:
        """It is one of the lines from now on, and is closed with all of them."""
        self.lines.append(line)
        self._expect(list(line.planned.values()))
        self._waiters.start_soon(line.close_when_ended, self._now)

    def _start_aggregator(self, line: Line) -> None:
        line.aggregator_child = self._stages.add(
            line.aggregator(self._publish), stop=line.closing.set, grace=self._grace
        )

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


def _lanes_of(line: Line) -> int:
    """How many lanes it is to have."""
    assert line.collector is not None
    return 1 if line.route == REST_ROUTE else line.collector.lanes


async def _taken_over(line: Line, old: Lane, new: Lane) -> bool:
    """Wait until `new` carries all that `old` does, and has done so for a while; or until `old` is
    gone by itself and `new` is not. False where the line leaves before that, with both."""
    since: float | None = None
    while not line.leaving:
        now = trio.current_time()
        if not _has_taken_over(line, old, new):
            since = None
        elif since is None:
            since = now
        if since is not None and (now - since >= OVERLAP or not old.is_running):
            return True
        await trio.sleep(LOOK_EVERY)
    return False


def _has_taken_over(line: Line, old: Lane, new: Lane) -> bool:
    if not new.is_running:
        return False
    if not old.is_running:
        return True
    delivering = {name: status.last_time for name, status in old.session.statuses.items()}
    return line.merger.covers(new.name, old.name) and delivers_as(delivering, new)

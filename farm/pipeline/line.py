"""A line: the way of some streams through their lanes, and what keeps what is known of them."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence

import attrs
import trio

from farm.actors.aggregator import AggregatorActor
from farm.actors.hub import Publisher
from farm.actors.losses import lose_bundles
from farm.actors.mailbox import Mailbox, Overflow
from farm.actors.supervisor import Child, Lifecycle, LifecycleEvent
from farm.batch import Origin
from farm.books.keeper import BookKeeper
from farm.bundle import Bundle
from farm.config import CollectorConfig
from farm.exchanges.continuity import TradeContinuity
from farm.exchanges.lanes.merger import LaneMerger
from farm.exchanges.rules import MarketRules
from farm.exchanges.session import LAST_SERIAL, Input, StreamStatus
from farm.exchanges.streams import Stream
from farm.pipeline.edges import EdgeCounts
from farm.pipeline.endings import as_lost, last_bundles
from farm.pipeline.environment import Settings
from farm.pipeline.lane import Lane, SessionOptions, make_lane
from farm.storage.quarantine import QuarantineStore
from farm.types import Nanoseconds

__all__ = ["Line", "PastLanes", "make_line"]


EDGE = "parser>aggregator"

_lose = lose_bundles(EDGE)


@attrs.define
class PastLanes:
    """What the lanes that were let go of had seen. ``rotations`` counts those of them from which
    another took over live."""

    frames: int = 0
    reconnects: int = 0
    quarantined: int = 0
    rotations: int = 0
    unknown_values: Counter[str] = attrs.field(factory=Counter)
    foreign: Counter[str] = attrs.field(factory=Counter)
    edges: EdgeCounts = attrs.field(factory=EdgeCounts)

    def add(self, lane: Lane, market: str) -> None:
        """This lane of a market is gone."""
        self.frames += lane.counters.frames
        self.reconnects += max(0, lane.counters.connects - 1)
        self.quarantined += lane.inputs.quarantine_count
        self.edges.add(lane.inputs)
        for value, count in lane.session.unknown_values.items():
            self.unknown_values[f"{market} {value}"] += count
        for stream, count in lane.session.foreign.items():
            self.foreign[f"{market} {stream}"] += count

    def include(self, others: PastLanes) -> None:
        """The lanes of a line that is closed."""
        self.frames += others.frames
        self.reconnects += others.reconnects
        self.quarantined += others.quarantined
        self.rotations += others.rotations
        self.unknown_values += others.unknown_values
        self.foreign += others.foreign
        self.edges.include(others.edges)


@attrs.define(eq=False)
class Line:
    """Some streams of a market: the lanes that carry them, and what is known of them.

    ``planned`` are the streams by name, empty where a recording tells what there is; ``collector``
    and ``route`` say where they are collected. ``rotation`` is held while one connection takes over
    from another. ``full``: it takes no more streams, for it is about to be closed. With ``closing``
    set its lanes are ended, and then the line. ``in_hand`` is being published by the aggregator,
    and ``unsent`` is to be published in its place when it has ended. What crashes an actor twice
    is kept in ``quarantine``.

    A line may go over to another process (:mod:`~farm.pipeline.handover`). ``held``: this is the
    new one, whose bundles wait until the old one is at its end; ``settled`` is set when that is
    decided. ``old_lanes`` are the other process's, which are to be let go of. ``has_heir``: this is
    the old one; ``leaving``: it is being handed over. ``next_lane`` numbers the lanes, over all
    processes.
    """

    name: str
    rules: MarketRules
    settings: Settings
    options: SessionOptions
    overflow: Overflow
    bundles: Mailbox[Bundle]
    quarantine: QuarantineStore
    lanes: list[Lane] = attrs.field(factory=list)
    past: PastLanes = attrs.field(factory=PastLanes)
    collector: CollectorConfig | None = None
    route: str = ""
    planned: dict[str, Stream] = attrs.field(factory=dict)
    rotation: trio.Lock = attrs.field(factory=trio.Lock)
    full: bool = False
    closing: trio.Event = attrs.field(factory=trio.Event)
    aggregator_child: Child | None = None
    in_hand: Bundle | None = None
    unsent: deque[Bundle] = attrs.field(factory=deque)
    held: bool = False
    settled: trio.Event = attrs.field(factory=trio.Event)
    has_heir: bool = False
    leaving: bool = False
    old_lanes: deque[str] = attrs.field(factory=deque)
    next_lane: int = 1
    keeper: BookKeeper = attrs.field(init=False)
    merger: LaneMerger = attrs.field(init=False)
    continuity: TradeContinuity = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.keeper = BookKeeper(
            self.streams,
            self.resync,
            self.settings.numbers,
            paced=not self.options.discover,
            snapshot_levels=self.options.snapshot_levels or self.rules.snapshot_limit,
        )
        self.merger = LaneMerger(self.streams, self.settings.numbers)
        self.continuity = TradeContinuity(self.streams, self.settings.numbers)

    # -------------------------------------------------------------------------------------- lanes
    def lane_name(self, number: int) -> str:
        """The first lane has the line's name, the others a number besides."""
        return self.name if number == 1 else f"{self.name}~{number}"

    def new_lane(self) -> Lane:
        """One more lane, of a name that none before had."""
        name = self.lane_name(self.next_lane)
        self.next_lane += 1
        streams = list(self.planned.values())
        lane = make_lane(
            name,
            self.rules,
            streams,
            self.settings,
            self.options,
            self.overflow,
            self.quarantine,
        )
        self.lanes.append(lane)
        self.merger.add(name)
        return lane

    def let_go(self, lane: Lane) -> None:
        """This lane has ended, and everything of it was processed."""
        self.lanes.remove(lane)
        self.past.add(lane, self.rules.key)

    def put(self, make_input: Callable[[], Input]) -> None:
        """Tell the core of every lane something."""
        for lane in self.lanes:
            if lane.source is not None and not lane.finished:
                lane.source.put(make_input())

    async def end_lane(self, lane: Lane, now: Callable[[], Nanoseconds]) -> None:
        """Wait until the parser of a lane has ended; what it did not parse is passed on as lost."""
        if lane.parser_child is not None:
            await lane.parser_child.wait()
        lane.give_up(now())
        if lane.cut is not None:
            await self.bundles.send(lane.cut)
            lane.cut = None
        while lane.unsent:
            await self.bundles.send(lane.unsent[0])
            lane.unsent.popleft()

    async def close_when_ended(self, now: Callable[[], Nanoseconds]) -> None:
        """When the line is closing, end its lanes, and then itself.

        One lane after the other: what was down is recorded by the last one to go, and which that
        is must not depend on whose parser Trio runs first.
        """
        await self.closing.wait()
        if self.held:
            await self._fall_silent()
        await self.end_old_lanes(now)
        for lane in list(self.lanes):
            lane.finish(now())
            await self.end_lane(lane, now)
        self.bundles.close()

    async def end_old_lanes(self, now: Callable[[], Nanoseconds]) -> None:
        """Let go of the lanes of the process before, as of any lane that has said its last word:
        behind what waited meanwhile, for it is that which makes up for them."""
        while self.old_lanes:
            name = self.old_lanes[0]
            await self.bundles.send(self._last_of(name, now()))
            if name in self.old_lanes:  # the line may have been closed meanwhile
                self.old_lanes.remove(name)

    async def _fall_silent(self) -> None:
        """End the lanes of a line that is held: the other process says what is to be said."""
        for lane in list(self.lanes):
            if lane.parser_child is not None:
                lane.parser_child.ask_to_stop(0.0)
                await lane.parser_child.wait()
            lane.inputs.drain_in_order()
            self.let_go(lane)
        self.bundles.drain()

    def _last_of(self, lane: str, now: Nanoseconds) -> Bundle:
        origin = Origin(self.rules.exchange, self.rules.market, lane, 0)
        return Bundle(origin, LAST_SERIAL, now, final=True)

    @property
    def left(self) -> int:
        """How many reads wait to be processed here."""
        if self.held:
            return 0
        return len(self.bundles) + sum(len(lane.inputs) for lane in self.lanes)

    async def publish_rest(
        self, publish: Callable[[Bundle], Awaitable[None]], now: Callable[[], Nanoseconds]
    ) -> None:
        """The aggregator has ended: publish what it has not, as lost, and what it held back."""
        self.unsent += self._rest(now())
        while self.unsent:
            await publish(self.unsent[0])
            self.unsent.popleft()

    def _rest(self, now: Nanoseconds) -> list[Bundle]:
        child = self.aggregator_child
        if self.held or (child is not None and child.finished):
            return []
        said: list[Bundle] = []
        if self.in_hand is not None:  # it was cancelled in publishing this, which is all processed
            said.append(self.in_hand)
            self.in_hand = None
            with self.bundles.reader() as reader:
                reader.acknowledge()
        loss = self.bundles.drain()
        last_words: list[Bundle] = []
        for lane in self.lanes:
            lane.give_up(now)
            if lane.cut is not None:
                loss, lane.cut = _lose(loss, lane.cut, False), None
            last_words += lane.unsent
            lane.unsent.clear()
        given = last_words if loss is None else [as_lost(loss), *last_words]
        if child is not None and child.given_up:
            return said + given  # what keeps the state of the line may be what crashed
        ended = {bundle.origin.connection for bundle in given if bundle.final}
        for name in self.merger.lanes:
            if name not in ended:  # its last bundle is among what is lost
                given.append(self._last_of(name, now))
        return said + last_bundles(given, self.merger, self.continuity, self.keeper, now)

    def streams(self) -> list[Stream]:
        """What the line carries."""
        if not self.options.discover:
            return list(self.planned.values())
        return [stream for lane in self.lanes for stream in lane.streams]

    def statuses(self) -> list[StreamStatus]:
        """The states of its streams; of several lanes, those of the best."""
        best: dict[str, StreamStatus] = {}
        for lane in self.lanes:
            for name, status in lane.session.statuses.items():
                if name not in best or _rank(status) > _rank(best[name]):
                    best[name] = status
        return list(best.values())

    def delivering(self) -> dict[str, Nanoseconds | None]:
        """When each of its streams last delivered on a connection that stands, by the venue's
        name; None for never."""
        stands = [lane.session.statuses for lane in self.lanes if lane.is_running]
        times: dict[str, Nanoseconds | None] = {}
        for name in self.planned:
            found = (statuses[name].last_time for statuses in stands if name in statuses)
            times[name] = max((time for time in found if time is not None), default=None)
        return times

    # ------------------------------------------------------------------------------------- actors
    def aggregator(self, publish: Callable[[Bundle], Awaitable[None]]) -> AggregatorActor:
        """The stage behind the parsers."""
        return AggregatorActor(
            f"{self.name} aggregator",
            self.keeper,
            self.merger,
            self.continuity,
            self.bundles,
            _HeldPublisher(self, publish),
            self.pass_commands,
        )

    def resync(self, stream: Stream, need: int) -> None:
        """Have a book started anew, by the newest lane that stands: the oldest may be on its way
        out."""
        self.merger.expect_snapshot(stream.feed)  # it may be another process that brings it
        lane = next((lane for lane in reversed(self.lanes) if lane.is_running), None)
        if lane is None and self.lanes:
            lane = self.lanes[-1]
        if lane is not None:
            lane.session.resync(stream, need)

    def pass_commands(self) -> None:
        """Hand on what the books asked for."""
        for lane in self.lanes:
            lane.pass_commands()

    def take_note(self, event: LifecycleEvent) -> None:
        """Hear what happened to an actor; those of other lines are passed over."""
        owner, _, role = event.actor.partition(" ")
        if role == "aggregator":  # all lanes go through it, whatever their names
            concerned = list(self.lanes) if owner == self.name else []
        else:
            concerned = [lane for lane in self.lanes if lane.name == owner]
        for lane in concerned:
            lane.take_note(event, role)
        if role and event.what is Lifecycle.PARKED:
            dead: set[str] = set()
            for lane in concerned:
                dead |= self.merger.bury(lane.name)
            for book in self.keeper.books:
                if book.stream.feed in dead:
                    book.ended()


@attrs.define(eq=False)
class _HeldPublisher(Publisher):
    """Publishes for a line, which has `in_hand` what is not published yet."""

    _line: Line
    _publish: Callable[[Bundle], Awaitable[None]]
    _offer: Callable[[Bundle], bool] | None = attrs.field(init=False)

    @_offer.default
    def _find_offer(self) -> Callable[[Bundle], bool] | None:
        return self._publish.offer if isinstance(self._publish, Publisher) else None

    async def __call__(self, bundle: Bundle) -> None:
        self._line.in_hand = bundle
        try:
            await self._publish(bundle)
        except Exception:
            self._line.in_hand = None  # it comes again, or is quarantined
            raise
        self._line.in_hand = None

    def offer(self, bundle: Bundle) -> bool:
        self._line.in_hand = None
        if self._offer is not None and self._offer(bundle):
            return True
        self._line.in_hand = bundle
        return False


_BEST_LAST = ("failed", "idle", "down", "requested", "acknowledged", "live")


def _rank(status: StreamStatus) -> int:
    return _BEST_LAST.index(status.state.value)


def make_line(
    name: str,
    rules: MarketRules,
    settings: Settings,
    options: SessionOptions,
    overflow: Overflow,
    quarantine: QuarantineStore,
    streams: Sequence[Stream] = (),
    *,
    first_lane: int = 1,
    held: bool = False,
) -> Line:
    """A line for `streams`, without lanes yet; `overflow` is the policy between connection and
    parser. Its lanes are numbered from `first_lane` on."""
    return Line(
        name,
        rules,
        settings,
        options,
        overflow,
        planned={stream.name: stream for stream in streams},
        bundles=Mailbox(
            f"{name} parser>aggregator",
            lose=lose_bundles(EDGE),
            max_bytes=settings.mailbox_bytes,
            overflow=Overflow.BLOCK,  # what waits is the parser, and frames queue before it
            on_quarantine=quarantine.add,
            hand_off=settings.hand_off,
        ),
        quarantine=quarantine,
        held=held,
        next_lane=first_lane,
    )

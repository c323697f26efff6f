"""A line: the way of some streams through their lanes, and what keeps what is known of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from itertools import count as count_up

import attrs
import trio

from farm.actors.aggregator import AggregatorActor
from farm.actors.losses import lose_bundles
from farm.actors.mailbox import Mailbox, Overflow
from farm.actors.supervisor import Lifecycle, LifecycleEvent
from farm.books.keeper import BookKeeper
from farm.bundle import Bundle
from farm.config import CollectorConfig
from farm.exchanges.continuity import TradeContinuity
from farm.exchanges.lanes.merger import LaneMerger
from farm.exchanges.rules import MarketRules
from farm.exchanges.session import Input, StreamStatus
from farm.exchanges.streams import Stream
from farm.pipeline.environment import Settings
from farm.pipeline.lane import Lane, SessionOptions, make_lane

__all__ = ["Line", "PastLanes", "make_line"]


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

    def add(self, lane: Lane, market: str) -> None:
        """This lane of a market is gone."""
        self.frames += lane.counters.frames
        self.reconnects += max(0, lane.counters.connects - 1)
        self.quarantined += len(lane.inputs.quarantined)
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


@attrs.define(eq=False)
class Line:
    """Some streams of a market: the lanes that carry them, and what is known of them.

    ``planned`` are the streams by name, empty where a recording tells what there is; ``collector``
    and ``route`` say where they are collected. ``rotation`` is held while one connection takes over
    from another. With ``closing`` set the line ends when its lanes have.
    """

    name: str
    rules: MarketRules
    settings: Settings
    options: SessionOptions
    overflow: Overflow
    bundles: Mailbox[Bundle]
    lanes: list[Lane] = attrs.field(factory=list)
    past: PastLanes = attrs.field(factory=PastLanes)
    collector: CollectorConfig | None = None
    route: str = ""
    planned: dict[str, Stream] = attrs.field(factory=dict)
    rotation: trio.Lock = attrs.field(factory=trio.Lock)
    closing: trio.Event = attrs.field(factory=trio.Event)
    keeper: BookKeeper = attrs.field(init=False)
    merger: LaneMerger = attrs.field(init=False)
    continuity: TradeContinuity = attrs.field(init=False)
    _numbers: count_up[int] = attrs.field(factory=lambda: count_up(1))

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
    def new_lane(self) -> Lane:
        """One more lane: the first has the line's name, the others a number besides."""
        number = next(self._numbers)
        name = self.name if number == 1 else f"{self.name}~{number}"
        streams = list(self.planned.values())
        lane = make_lane(name, self.rules, streams, self.settings, self.options, self.overflow)
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

    async def close_when_ended(self) -> None:
        """When the line is closing, let its end follow that of its lanes."""
        await self.closing.wait()
        for lane in list(self.lanes):
            await lane.ended.wait()
        self.bundles.close()

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

    # ------------------------------------------------------------------------------------- actors
    def aggregator(self, publish: Callable[[Bundle], Awaitable[None]]) -> AggregatorActor:
        """The stage behind the parsers."""
        return AggregatorActor(
            f"{self.name} aggregator",
            self.keeper,
            self.merger,
            self.continuity,
            self.bundles,
            publish,
            self.pass_commands,
        )

    def resync(self, stream: Stream, need: int) -> None:
        """Have a book started anew, by the newest lane that stands: the oldest may be on its way
        out."""
        lane = next((lane for lane in reversed(self.lanes) if lane.is_running), None)
        if lane is None and self.lanes:
            lane = self.lanes[-1]
        if lane is not None:
            self.merger.expect_snapshot(stream.feed)
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
        if role and event.what is Lifecycle.PARKED and concerned == self.lanes:
            for book in self.keeper.books:
                book.ended()


_BEST_LAST = ("failed", "idle", "down", "requested", "acknowledged", "live")


def _rank(status: StreamStatus) -> int:
    return _BEST_LAST.index(status.state.value)


def make_line(
    name: str,
    rules: MarketRules,
    settings: Settings,
    options: SessionOptions,
    overflow: Overflow,
    streams: Sequence[Stream] = (),
) -> Line:
    """A line for `streams`, without lanes yet; `overflow` is the policy between connection and
    parser."""
    return Line(
        name,
        rules,
        settings,
        options,
        overflow,
        planned={stream.name: stream for stream in streams},
        bundles=Mailbox(
            f"{name} parser>aggregator",
            lose=lose_bundles("parser>aggregator"),
            max_bytes=settings.mailbox_bytes,
            overflow=Overflow.BLOCK,  # what waits is the parser, and frames queue before it
        ),
    )

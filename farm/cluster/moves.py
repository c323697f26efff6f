"""Moves: a line goes from one shard to another, make before break.

1. The old shard is told to expect an heir, and answers with the number of the lane to begin with.
2. The new one opens the line held, and is told what delivers on the old one until it has caught up.
3. The old one hands over, and answers with its state.
4. The new one takes over.

Where the new process fails, or does not catch up in time, the line stays where it is; if it was
about to leave, it is opened there anew. Where the old process fails, its next one does that.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

import attrs
import trio

from farm.cluster.messages import (
    AddStreams,
    Caught,
    Delivering,
    DropLine,
    ExpectHeir,
    ExpectNoHeir,
    FromShard,
    HandedOver,
    HandOver,
    Heir,
    RemoveStreams,
    Report,
    TakeOver,
)
from farm.cluster.placement import Move, Placement
from farm.cluster.remote_line import RemoteLine
from farm.cluster.remote_shard import RemoteShard
from farm.types import Nanoseconds

__all__ = ["Moves"]

log = logging.getLogger("farm.cluster")

NOWHERE = 0
"""The number of no shard."""

CATCH_UP_SECONDS = 120.0
"""Seconds in which a held line has to have all that the old one has."""


@attrs.define
class _UnderWay:
    """``opened``: the new shard has the line, held; ``leaving``: the old one was told to hand it
    over, at ``told_at``."""

    line: RemoteLine
    move: Move
    until: float
    opened: bool = False
    leaving: bool = False
    told_at: Nanoseconds = 0


class Moves:
    """Carries out what `placement` finds to be good for the `lines` and `shards`, one move at a
    time.

    `on_left` hears of a line that a shard has no more, `on_moved` of one that is on another now, or
    anew on its own. `clock` is the wall's.
    """

    def __init__(
        self,
        placement: Placement,
        shards: Mapping[int, RemoteShard],
        lines: Sequence[RemoteLine],
        on_left: Callable[[RemoteLine, int], None],
        on_moved: Callable[[RemoteLine], None],
        clock: Callable[[], Nanoseconds],
    ) -> None:
        self._placement = placement
        self._shards = shards
        self._lines = lines
        self._on_left = on_left
        self._on_moved = on_moved
        self._clock = clock
        self._now: _UnderWay | None = None
        self._is_over = False
        self._frames: dict[str, tuple[float, int]] = {}
        self._cpu: dict[int, tuple[float, float]] = {}
        self.made = 0

    # --------------------------------------------------------------------------- what others do
    def tell(self, line: RemoteLine, message: AddStreams | RemoveStreams) -> None:
        """Tell whoever has the line something of its streams: the old process while it does, and
        the new one."""
        now = self._now
        if now is None or now.line is not line:
            if line.shard in self._shards:
                self._shards[line.shard].send(message)
            return
        if not now.leaving:
            self._shards[line.shard].send(message)
        if now.opened:
            self._shards[now.move.target].send(message)

    def stop(self) -> None:
        """All is about to end: begin nothing, and let no line go any more."""
        self._is_over = True

    def forget(self, line: RemoteLine) -> None:
        """The line is closed, and a move of it is over."""
        self._frames.pop(line.name, None)
        if self._now is not None and self._now.line is line:
            self._now = None

    def gone(self, shard: int) -> None:
        """A process of this shard is gone."""
        self._cpu.pop(shard, None)
        now = self._now
        if now is None:
            return
        if shard == now.move.source:
            self._stays("the process that had it is gone")
        elif shard == now.move.target:
            now.opened = False
            if not now.leaving:  # else the old process is ending the line, and will say so
                self._stays("the process that was to have it is gone")

    # -------------------------------------------------------------------------------- what comes
    def take_report(self, shard: RemoteShard, report: Report) -> None:
        """Learn what a shard has to do; begin a move, or go on with it."""
        now = trio.current_time()
        self._learn(shard, report, now)
        if self._is_over:
            return
        if self._now is not None:
            self._go_on(shard, report, now)
        elif (move := self._placement.next_move(now)) is not None:
            named = (line for line in self._lines if line.name == move.line)
            self._begin(next(named, None), move, now)

    def take_message(self, message: FromShard) -> None:
        """An answer to what was told."""
        now = self._now
        if now is None or not isinstance(message, Heir | Caught | HandedOver):
            return
        if message.line != now.line.name:
            return
        if self._is_over:
            if isinstance(message, HandedOver):
                self._end_nowhere(now)
            return
        target = self._shards[now.move.target]
        if isinstance(message, Heir) and not now.opened:
            now.opened = True
            lanes = now.line.collector.lanes
            now.line.next_lane = max(now.line.next_lane, message.first_lane + lanes)
            target.send(now.line.opening(held=True, first_lane=message.first_lane))
        elif isinstance(message, Caught) and not now.leaving:
            if now.line.untold:  # the record of what it lost must not be left behind
                self._stays("a stream is not back yet")
                return
            now.leaving = True
            now.told_at = self._clock()
            self._shards[now.move.source].send(HandOver(now.line.name))
        elif isinstance(message, HandedOver) and now.opened:
            self._end(now, target, message.state)
        elif isinstance(message, HandedOver):
            self._open_anew(now, self._shards[now.move.source])
            self._stays("the process that was to have it is gone; it is opened anew")
            self._on_moved(now.line)

    def move(self, line: RemoteLine, target: int) -> None:
        """Have this line moved, whatever the loads are. LookupError while another move is under
        way, and for a shard that is not there."""
        now = trio.current_time()
        self._begin(line, self._placement.begin(line.name, target, now), now)

    def _end(self, now: _UnderWay, target: RemoteShard, state: bytes | None) -> None:
        """The line is where it was to be."""
        line = now.line
        self._on_left(line, now.move.source)
        line.shard = now.move.target
        if state is None:  # a stage had been given up there: what that cost is on record
            target.send(DropLine(line.name))
            self._open_anew(now, target)
        else:
            line.report = None
            target.send(TakeOver(line.name, state))
        self._placement.moved(trio.current_time())
        self._now = None
        self.made += 1
        self._on_moved(line)
        log.info("%s: moved from shard %d to shard %d", line.name, *_ends(now.move))

    def _end_nowhere(self, now: _UnderWay) -> None:
        """All ends while the line is on its way: what comes now is lost, and said in the end."""
        self._now = None
        self._on_left(now.line, now.move.source)
        now.line.shard = NOWHERE
        now.line.lost(now.told_at)

    def _open_anew(self, now: _UnderWay, shard: RemoteShard) -> None:
        """It has ended, and all is on record but for what came since that was begun."""
        now.line.lost(now.told_at)
        shard.send(now.line.opening())

    # ------------------------------------------------------------------------------------ helpers
    def _begin(self, line: RemoteLine | None, move: Move, now: float) -> None:
        runs = self._shards[move.source].runs and self._shards[move.target].runs
        if line is None or line.untold or not runs:
            self._placement.stayed(now)
            return
        log.info("%s: moves from shard %d to shard %d", line.name, *_ends(move))
        self._now = _UnderWay(line, move, now + CATCH_UP_SECONDS)
        self._shards[move.source].send(ExpectHeir(line.name))

    def _go_on(self, shard: RemoteShard, report: Report, now: float) -> None:
        """Tell the new shard what delivers on the old one; give up where that takes too long."""
        under_way = self._now
        assert under_way is not None
        if now > under_way.until and not under_way.leaving:
            self._stays("it did not catch up in time")
        elif now > under_way.until:
            log.warning(
                "%s: is still on its way out of shard %d", under_way.line.name, shard.number
            )
            under_way.until = now + CATCH_UP_SECONDS
        elif under_way.opened and shard.number == under_way.move.source:
            for line in report.lines.lines:
                if line.line == under_way.line.name:
                    told = Delivering(line.line, line.delivering)
                    self._shards[under_way.move.target].send(told)

    def _stays(self, reason: str) -> None:
        under_way, self._now = self._now, None
        assert under_way is not None
        name = under_way.line.name
        log.warning("%s: stays on shard %d: %s", name, under_way.move.source, reason)
        if not under_way.leaving:
            self._shards[under_way.move.source].send(ExpectNoHeir(name))
        if under_way.opened:
            self._shards[under_way.move.target].send(DropLine(name))
        if self._placement.under_way is not None:
            self._placement.stayed(trio.current_time())

    def _learn(self, shard: RemoteShard, report: Report, now: float) -> None:
        """A shard's share of a core, and the frames a second of its lines."""
        beat = shard.last_beat
        if beat is None:
            return
        known = self._cpu.get(shard.number)
        self._cpu[shard.number] = now, beat.cpu
        rates: dict[str, float] = {}
        for line in report.lines.lines:
            before = self._frames.get(line.line)
            self._frames[line.line] = now, line.frames
            if before is not None and now > before[0]:
                rates[line.line] = max(0, line.frames - before[1]) / (now - before[0])
        if known is not None and now > known[0]:
            shard.cpu = (beat.cpu - known[1]) / (now - known[0])
            self._placement.note(shard.number, now, shard.cpu, rates)


def _ends(move: Move) -> tuple[int, int]:
    return move.source, move.target

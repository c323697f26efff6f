"""What a shard tells of itself: beats, that it lives; reports, all that it knows."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import trio

from farm.cluster.messages import Beat, FromShard, LineReport, Lines, Report
from farm.cluster.outlet import Outlet
from farm.cluster.waterline import Queue, Waterline
from farm.exchanges.session import StreamState
from farm.monitor.memory import resident_bytes
from farm.monitor.stats import EdgeStats
from farm.pipeline import Line, Pipeline
from farm.pipeline.stats import collect_stats
from farm.types import Nanoseconds

__all__ = ["REPORT_EVERY", "Reporting"]

REPORT_EVERY = 1.0
"""Seconds between two reports."""

_TOLD = (StreamState.ACKNOWLEDGED, StreamState.LIVE, StreamState.FAILED)


class Reporting:
    """Tells the parent, by `send`, how a shard is: ``every`` so many seconds that it lives."""

    def __init__(
        self,
        pipeline: Pipeline,
        outlet: Outlet,
        send: Callable[[FromShard], None],
        *,
        every: float,
        memory_limit: int | None,
        on_limit: Callable[[str], None],
    ) -> None:
        self._pipeline = pipeline
        self._outlet = outlet
        self._send = send
        self._every = every
        self._memory_limit = memory_limit
        self._on_limit = on_limit
        self._waterline = Waterline(self._stages, pipeline.now)

    async def run(self) -> None:
        """Until cancelled; `on_limit` is told where the process takes more memory than it may."""
        reported = -REPORT_EVERY
        told: object = None
        while True:
            memory = resident_bytes()
            lines = self._lines()
            states = [(line.line, line.next_lane, line.up, line.down) for line in lines.lines]
            if states != told:  # before the beat, which says up to when all is well
                told = states
                self._send(lines)
            self._send(Beat(self._pipeline.now(), self._safe(), time.process_time(), memory))
            if self._memory_limit is not None and memory > self._memory_limit:
                self._on_limit(f"memory limit passed: {memory:,} bytes of {self._memory_limit:,}")
                return
            self._outlet.refresh()
            if trio.current_time() - reported >= REPORT_EVERY:
                reported = trio.current_time()
                self._send(self.report())
            await trio.sleep(self._every)

    def report(self) -> Report:
        """All that is known now."""
        stats = collect_stats(self._pipeline)
        box = self._outlet.mailbox
        stats.edges.append(EdgeStats(box.name, box.offered, box.taken, box.dropped, len(box)))
        return Report(stats, self._lines())

    def _lines(self) -> Lines:
        return Lines(self._pipeline.now(), [_line(line) for line in self._pipeline.lines])

    def _safe(self) -> Nanoseconds:
        """Up to when all that was received is on disk, and with the parent."""
        through, store = self._waterline.look(), self._pipeline.store
        pending = store.oldest_pending() if store is not None else None
        return through if pending is None else min(through, pending)

    def _stages(self) -> list[Sequence[Queue]]:
        return [*self._pipeline.stages(), [self._outlet]]


def _line(line: Line) -> LineReport:
    up: list[str] = []
    down: dict[str, Nanoseconds] = {}
    for status in line.statuses():
        if status.down_since is not None:
            down[status.stream.name] = status.down_since
        elif status.state in _TOLD:
            up.append(status.stream.name)
    frames = sum(lane.counters.frames for lane in line.lanes)
    return LineReport(line.name, line.next_lane, up, down, frames, line.delivering())

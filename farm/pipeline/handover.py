"""Handing a line over from one process to another, make before break.

1. The old process is told to expect an heir (:meth:`~farm.pipeline.sources.Sources.expect_heir`):
   from then on it keeps track of what passes, as it does where there are several lanes.
2. The new one opens the line *held*: its lanes connect and are parsed, and what they give waits.
3. When all streams deliver there (:func:`line_is_ready`, for `OVERLAP` seconds on end) the old one
   hands over: it publishes what it received, says nothing of an end, and gives its state.
4. The new one takes that state over and goes on. What waited passes the merger, which drops what
   the old process has passed on already; then the old lanes are let go of like any others.

So ids go on, books stay what they were, and nothing is missing or comes twice. Where the old
connection breaks and is back before step 3, its outage is on record, for the old process can't know
that the new one makes up for it. Without a state, for the old process died, the new line begins as
any does, and with gaps; what waited may have been passed on before.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from typing import Any

from farm.exchanges.session import StreamState, StreamStatus
from farm.exchanges.streams import REST_ROUTE
from farm.pipeline.lane import Lane
from farm.pipeline.line import Line
from farm.types import Nanoseconds

__all__ = [
    "OVERLAP",
    "adopt_state",
    "delivers_as",
    "export_state",
    "line_is_ready",
]

OVERLAP = 2.0
"""Seconds for which old and new both go on when the new has all that the old has."""

PROOF_TIME = 1_000_000_000
"""Nanoseconds after its acknowledgement in which a stream must have delivered on the new connection
if it did on the old one."""


# ------------------------------------------------------------------------------------- readiness
def line_is_ready(line: Line, delivering: Mapping[str, Nanoseconds | None]) -> bool:
    """Whether a line that is held has all that the old one has, whose streams were last
    `delivering` then (:meth:`~farm.pipeline.line.Line.delivering`)."""
    lanes = [lane for lane in line.lanes if lane.is_running]
    return bool(lanes) and all(
        any(_has(lane, name, last) for lane in lanes)
        for name, last in delivering.items()
        if name in line.planned
    )


def delivers_as(delivering: Mapping[str, Nanoseconds | None], lane: Lane) -> bool:
    """Whether every stream that goes on delivering elsewhere delivers on this lane.

    That it was acknowledged proves nothing; but one that is silent on both may be so rightly.
    """
    statuses = lane.session.statuses
    return all(
        _follows(statuses[name], last)
        for name, last in delivering.items()
        if name in statuses and last is not None
    )


def _has(lane: Lane, name: str, last: Nanoseconds | None) -> bool:
    status = lane.session.statuses.get(name)
    if status is None:
        return False
    if last is not None:
        return _follows(status, last)
    # It never delivered; what is polled is not acknowledged either.
    asked = StreamState.IDLE, StreamState.REQUESTED, StreamState.DOWN
    return status.stream.route == REST_ROUTE or status.state not in asked


def _follows(status: StreamStatus, last: Nanoseconds) -> bool:
    if status.state is StreamState.LIVE:
        return True
    since = status.acknowledged_at
    return since is not None and last <= since + PROOF_TIME


# --------------------------------------------------------------------------------------- the state
def export_state(line: Line) -> bytes:
    """What is known of a line's streams, whose aggregator has ended.

    It is pickled: who reads it is the same program, started by the same parent, and nobody else
    gets at the socket between them.
    """
    line.merger.forget_deliveries()
    line.continuity.forget_deliveries()
    file = io.BytesIO()
    _Pickler(file, line).dump((line.next_lane, line.merger, line.continuity, line.keeper))
    return file.getvalue()


def adopt_state(line: Line, state: bytes) -> None:
    """Have a line that is held go on from the `state` that another process had come to."""
    next_lane, merger, continuity, keeper = _Unpickler(io.BytesIO(state), line).load()
    line.next_lane = max(line.next_lane, next_lane)
    line.old_lanes.extend(merger.lanes)
    line.merger, line.continuity, line.keeper = merger, continuity, keeper
    merger.take_in(lane.name for lane in line.lanes)
    for lane in line.lanes:
        if lane.parser_child is not None and lane.parser_child.given_up:
            merger.bury(lane.name)
    keeper.learn()
    for book in keeper.books:
        book.moved()


class _Pickler(pickle.Pickler):
    """Writes for the line itself, which the parts of its state call back, that it is the line."""

    def __init__(self, file: io.BytesIO, line: Line) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self._line = line

    def persistent_id(self, thing: Any) -> str | None:
        return "line" if thing is self._line else None


class _Unpickler(pickle.Unpickler):
    """Reads it, with another line in the place of that one."""

    def __init__(self, file: io.BytesIO, line: Line) -> None:
        super().__init__(file)
        self._line = line

    def persistent_load(self, name: str) -> Line:
        assert name == "line", name
        return self._line

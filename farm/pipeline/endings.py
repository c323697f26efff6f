"""What is said in the end for an actor that can't say it any more: gaps, in place of what waits.

An actor may have to be ended before it has taken all that waits for it: its grace is over, or it
crashed too often. What waits is lost then, and nothing is lost without a record of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeGuard

import attrs

from farm.batch import Batch, Origin
from farm.books.keeper import BookKeeper
from farm.bundle import Bundle
from farm.entities import Gap
from farm.exchanges.continuity import TradeContinuity
from farm.exchanges.core import CoreSession
from farm.exchanges.lanes.merger import LaneMerger
from farm.exchanges.outages import VENUE_EDGE, stream_gaps
from farm.exchanges.session import (
    LAST_SERIAL,
    Closed,
    Finished,
    Input,
    Lost,
    Opened,
    StreamStatus,
)
from farm.types import GapCause, Nanoseconds, NumberMode

__all__ = ["as_lost", "last_bundles", "last_words", "words_without_core"]


def last_words(session: CoreSession, left: Sequence[Input], now: Nanoseconds) -> list[Bundle]:
    """What a connection's core has still to say of what was `left` for it: what was lost, and what
    was down. It hears of each end and opening of the connection, for what it took for live may have
    been none since."""
    untold = [item for item in left if not isinstance(item, Finished)]
    # They come behind everything else, so their serials must be greater.
    first = LAST_SERIAL - len(untold)
    inputs = [attrs.evolve(item, serial=first + place) for place, item in enumerate(untold)]
    said = map(session.handle, [*inputs, Finished(now)])
    return [bundle for bundle in said if bundle is not None]


def words_without_core(
    statuses: Iterable[StreamStatus],
    left: Sequence[Input],
    origin: Origin,
    numbers: NumberMode,
    now: Nanoseconds,
) -> Bundle:
    """The last word in place of a core that crashed too often to be asked for it.

    What was lost may have been any stream's; one that was down already has missed all since then,
    and where the connection has ended every stream has missed what came after.
    """
    losses = [item for item in left if isinstance(item, Lost) and item.frames]
    ends = [item.time for item in left if _is_end(item)]
    gaps: list[Gap] = []
    for status in statuses:
        if status.last_time is None and status.acknowledged_at is None:
            continue  # it was never subscribed
        frames: int | None = None
        down = status.down_since
        if losses and (down is None or losses[0].start < down):
            start, edge = losses[0].start, losses[0].edge
            frames = sum(loss.frames for loss in losses)
        elif down is not None:
            start, edge = down, VENUE_EDGE
        elif ends:
            start, edge = status.last_time or ends[0], VENUE_EDGE
        else:
            continue
        gaps += stream_gaps(
            status.stream,
            GapCause.CRASH,
            start=start,
            end=now,
            receive_time=now,
            ordinal=0,
            edge=edge,
            frames=frames,
        )
    for row, gap in enumerate(gaps):
        gap.row = row
    batches = [Batch(Gap, rows=gaps, origins=[(origin, len(gaps))], numbers=numbers)]
    return Bundle(origin, LAST_SERIAL, now, batches if gaps else [], final=True)


def _is_end(item: Input) -> TypeGuard[Closed | Opened]:
    """Whether an epoch has ended by this, and not because we wanted it to."""
    return isinstance(item, Opened) or (isinstance(item, Closed) and not item.intended)


def as_lost(bundle: Bundle) -> Bundle:
    """The loss that a mailbox of bundles was drained to, behind all that its readers have seen, and
    before the last words of their connections."""
    return attrs.evolve(bundle, serial=LAST_SERIAL // 2)


def last_bundles(
    given: Sequence[Bundle],
    merger: LaneMerger,
    continuity: TradeContinuity,
    keeper: BookKeeper,
    now: Nanoseconds,
) -> list[Bundle]:
    """What a line has still to say: the given bundles, as its aggregator would have passed them on,
    and what was held back."""
    said = []
    for bundle in given:
        lane = bundle.origin.connection
        gaps: list[Gap] = []
        if bundle.final and merger.lanes == [lane]:
            gaps += continuity.note(merger.remove(lane, now))
        passed = continuity.take(merger.take(bundle))
        if bundle.final and lane in merger.lanes:
            gaps += continuity.note(merger.remove(lane, now))
        if bundle is given[-1]:
            gaps += continuity.finish()
        said.append(keeper.take(keeper.with_gaps(passed, gaps) if gaps else passed))
    return said

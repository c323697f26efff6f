"""What is said in the end for an actor that can't say it any more: gaps, in place of what waits.

An actor may have to be ended before it has taken all that waits for it: its grace is over, or it
crashed too often. What waits is lost then, and nothing is lost without a record of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs

from farm.batch import Batch, Origin
from farm.books.keeper import BookKeeper
from farm.bundle import Bundle
from farm.entities import Gap
from farm.exchanges.continuity import TradeContinuity
from farm.exchanges.core import CoreSession
from farm.exchanges.lanes.merger import LaneMerger
from farm.exchanges.outages import VENUE_EDGE, stream_gaps
from farm.exchanges.session import LAST_SERIAL, Finished, Input, Lost, StreamStatus
from farm.types import GapCause, Nanoseconds, NumberMode

__all__ = ["as_lost", "last_bundles", "last_words", "words_without_core"]


def last_words(session: CoreSession, loss: Lost | None, now: Nanoseconds) -> list[Bundle]:
    """What a connection's core has still to say: what was lost before it, and what was down."""
    # They come behind everything else, so their serials must be greater.
    inputs: list[Input] = [Finished(now)]
    if loss is not None and loss.frames:
        inputs.insert(0, attrs.evolve(loss, serial=LAST_SERIAL - 1))
    said = map(session.handle, inputs)
    return [bundle for bundle in said if bundle is not None]


def words_without_core(
    statuses: Iterable[StreamStatus],
    loss: Lost | None,
    origin: Origin,
    numbers: NumberMode,
    now: Nanoseconds,
) -> Bundle:
    """The last word in place of a core that crashed too often to be asked for it.

    What was lost may have been any stream's; one that was down already has missed all since then.
    """
    gaps: list[Gap] = []
    for status in statuses:
        if loss is not None and loss.frames:
            start, edge, frames = loss.start, loss.edge, loss.frames
        elif status.down_since is not None:
            start, edge, frames = status.down_since, VENUE_EDGE, None
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


def as_lost(bundle: Bundle) -> Bundle:
    """The loss that a mailbox of bundles was drained to, behind all that its readers have seen."""
    return attrs.evolve(bundle, serial=LAST_SERIAL - 2)


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
            gaps += merger.remove(lane, now)
        passed = continuity.take(merger.take(bundle))
        if bundle.final and lane in merger.lanes:
            gaps += merger.remove(lane, now)
        if bundle is given[-1]:
            gaps += continuity.finish()
        said.append(keeper.take(keeper.with_gaps(passed, gaps) if gaps else passed))
    return said

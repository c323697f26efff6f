"""Keeping books: from snapshots and diffs to a book and a verdict on it.

One :class:`BookSync` keeps one book by its venue's procedure, written out in numbered steps beside
the code: :mod:`~farm.books.diffs` (Binance), :mod:`~farm.books.full` and
:mod:`~farm.books.snapshots` (Bybit), :mod:`~farm.books.whole` (partial books).
"""

from __future__ import annotations

from farm.books.base import BookSync
from farm.books.by_rest import RestSync
from farm.books.diffs import FuturesDiffSync, SpotDiffSync
from farm.books.full import FullSync
from farm.books.snapshots import SnapshotSync
from farm.books.whole import WholeBookSync
from farm.exchanges.streams import BookProcedure, Stream

__all__ = [
    "SNAPSHOT_LEVELS",
    "BookSync",
    "FullSync",
    "FuturesDiffSync",
    "RestSync",
    "SnapshotSync",
    "SpotDiffSync",
    "WholeBookSync",
    "make_sync",
]

SNAPSHOT_LEVELS = 1_000
"""Levels a side that snapshots by REST are asked for, where nobody says otherwise."""

_BY_REST: dict[BookProcedure, type[RestSync]] = {
    BookProcedure.DIFFS_BY_FIRST_ID: SpotDiffSync,
    BookProcedure.DIFFS_BY_PREVIOUS_ID: FuturesDiffSync,
    BookProcedure.FULL_BY_REST: FullSync,
}
_BY_STREAM: dict[BookProcedure, type[SnapshotSync | WholeBookSync]] = {
    BookProcedure.SNAPSHOT_IN_STREAM: SnapshotSync,
    BookProcedure.WHOLE_EVERY_TIME: WholeBookSync,
}


def make_sync(
    stream: Stream, *, snapshot_levels: int = SNAPSHOT_LEVELS, paced: bool = True
) -> BookSync:
    """The keeper of a book stream's book.

    `snapshot_levels` is how many levels a side its snapshots by REST are asked for. `paced`: it is
    told when that is done, and buffers nothing before; else it buffers from the first diff on.
    """
    procedure = stream.procedure
    assert procedure is not None, f"{stream.feed} is no book"
    by_rest = _BY_REST.get(procedure)
    if by_rest is not None:
        return by_rest(stream, snapshot_levels=snapshot_levels, paced=paced)
    return _BY_STREAM[procedure](stream)

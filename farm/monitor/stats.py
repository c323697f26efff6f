"""What a farm knows of itself at an instant, as plain values that turn into JSON."""

from __future__ import annotations

from typing import Any

import attrs
import cattrs

from farm.types import Nanoseconds

__all__ = [
    "BookStats",
    "ConnectionStats",
    "ContinuityStats",
    "EdgeStats",
    "FarmStats",
    "FeedStats",
    "ProcessStats",
    "Totals",
]


@attrs.frozen
class BookStats:
    """A book's state: its verdict, what it was made of, and the checks it went through.

    ``compared`` quotes carried the id of a book update, of which ``wrong`` differed from the
    book's top. ``resyncs`` counts how often a book that had stood had to be asked for anew.
    """

    verdict: str
    snapshots: int
    diffs: int
    applied: int
    compared: int
    wrong: int
    resyncs: int


@attrs.frozen
class ContinuityStats:
    """What trade ids prove: ``completeness`` (complete, incomplete, unknown), ids ``checked``,
    ``missing`` and ``spent`` (used up by the venue for no trade), ``repeats``; ``unadjoined``
    aggregate trades whose trades do not adjoin those before; ``disproved`` breaks of a connection
    in which, by the ids, nothing was missed."""

    completeness: str
    checked: int
    missing: int
    spent: int
    repeats: int
    unadjoined: int
    disproved: int


@attrs.frozen
class FeedStats:
    """One feed: ``state`` of its subscription, events and gaps delivered, receive time of the last
    event (ns), its lag behind exchange time in ms (a difference of two clocks: it may be
    negative), events a second since the first. ``book`` of book feeds, ``continuity`` of trades.
    Feeds that no stream is for (instruments) have no state."""

    feed: str
    state: str
    reason: str
    events: int
    gaps: int
    last_time: Nanoseconds | None
    lag_ms: float | None
    rate: float | None
    book: BookStats | None
    continuity: ContinuityStats | None


@attrs.frozen
class ConnectionStats:
    """One connection, or one of a recording: ``connects`` counts its epochs, ``failures`` those
    that weather ended. Of several lanes: events that came here ``firsts``, ``copies`` that came
    after another's, and ``misses`` that never came."""

    name: str
    status: str
    connects: int
    failures: int
    crashes: int
    frames: int
    bytes: int
    last_error: str
    firsts: int
    copies: int
    misses: int


@attrs.frozen
class ProcessStats:
    """One process of the farm: ``main`` is the one that the farm was opened in, ``shard 1`` and so
    on are its shards. ``state`` is running, starting, restarting, parked or stopped; ``rate`` the
    events a second of late, ``memory`` its resident bytes, ``cpu`` its share of a core; None where
    that is not known. ``restarts`` counts the processes that took its place, ``reason`` says why
    the last one failed."""

    name: str
    pid: int
    state: str
    connections: int
    events: int
    rate: float | None
    memory: int | None
    cpu: float | None
    restarts: int
    reason: str


@attrs.frozen
class EdgeStats:
    """One kind of queue, all of them together: items ``offered``, ``taken`` by its readers,
    ``dropped`` (each in a gap), and ``waiting``. ``offered == taken + dropped + waiting``."""

    edge: str
    offered: int
    taken: int
    dropped: int
    waiting: int


@attrs.frozen
class Totals:
    """Sums over the farm. ``quarantined``: malformed frames, and inputs that crashed an actor
    twice; ``unknown``: frames of types that farm does not know; both are kept. ``rotations``:
    connections that took over live from one before."""

    frames: int
    events: int
    gaps: int
    quarantined: int
    unknown: int
    reconnects: int
    rotations: int


@attrs.frozen
class FarmStats:
    """All of it. ``unparsed`` counts frames that no core could use, by market and type;
    ``unknown_values`` counts values that no venue document names, ``foreign`` rows of the other
    market on streams that carry two; ``rows_written`` and
    ``files_written`` are None where nothing is stored. ``edges``: what went through the queues;
    ``processes``: this one, and its shards."""

    totals: Totals
    feeds: list[FeedStats]
    connections: list[ConnectionStats]
    unparsed: dict[str, int]
    unknown_values: dict[str, int]
    foreign: dict[str, int]
    rows_written: int | None
    files_written: int | None
    edges: list[EdgeStats] = attrs.field(factory=list)
    processes: list[ProcessStats] = attrs.field(factory=list)

    def to_dict(self) -> dict[str, Any]:
        """As dicts, lists, text and numbers."""
        plain: dict[str, Any] = cattrs.unstructure(self)
        return plain

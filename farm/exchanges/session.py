"""What a session is: the sans-I/O core of one connection.

Inputs go in (what the connection read, answers to requests, the passing of time) and come out as
bundles of events; what the core wants done on the wire it leaves as commands, which the connection
executes and answers as ordinary input. Nothing here knows of sockets, threads or Trio.
"""

from __future__ import annotations

from collections import Counter
from enum import Enum
from typing import Protocol, TypeAlias

import attrs

from farm.bundle import Bundle
from farm.exchanges.streams import Stream
from farm.types import GapCause, Nanoseconds

__all__ = [
    "LAST_SERIAL",
    "Closed",
    "Command",
    "FetchSnapshot",
    "Finished",
    "ForgetSnapshot",
    "Frames",
    "Input",
    "Lost",
    "Opened",
    "Reconnect",
    "Rotate",
    "SendText",
    "Session",
    "SnapshotAsked",
    "SnapshotReply",
    "StreamState",
    "StreamStatus",
    "Subscribe",
    "Tick",
    "Unsubscribe",
]


# ------------------------------------------------------------------------------------- commands
@attrs.frozen
class SendText:
    """Send this text frame; what is ``urgent`` (a ping) goes before what waits already."""

    epoch: int
    text: str
    urgent: bool = False


@attrs.frozen
class FetchSnapshot:
    """Fetch a book snapshot by REST and answer with a :class:`SnapshotReply`.

    Of many that wait for the weight budget the one with the greatest ``need`` goes first. When it
    is sent, the core is told by a :class:`SnapshotAsked`. ``failed``: the last answer could not be
    used, so that there is no hurry.
    """

    epoch: int
    stream: Stream
    path: str
    params: tuple[tuple[str, str | int], ...]
    weight: int
    need: int = 0
    failed: bool = False


@attrs.frozen
class ForgetSnapshot:
    """The snapshot of this book is not wanted any more."""

    epoch: int
    stream: Stream


@attrs.frozen
class Reconnect:
    """End this connection and open another: it looks alive and is not."""

    epoch: int
    reason: str


@attrs.frozen
class Rotate:
    """Open another connection and, once it carries everything, let go of this one."""

    epoch: int
    reason: str


Command: TypeAlias = SendText | FetchSnapshot | ForgetSnapshot | Reconnect | Rotate


# --------------------------------------------------------------------------------------- inputs
LAST_SERIAL = 2**62
"""The serial of what follows everything else."""


@attrs.define
class Opened:
    """A connection came about: a new epoch begins. ``now`` is the monotonic clock, in seconds."""

    epoch: int
    time: Nanoseconds
    now: float
    nbytes: int = 0
    serial: int = 0


@attrs.define
class Frames:
    """The messages of one socket read. ``first_ordinal`` numbers the first within the epoch."""

    epoch: int
    time: Nanoseconds
    first_ordinal: int
    frames: list[bytes]
    nbytes: int
    serial: int = 0


@attrs.define
class SnapshotReply:
    """The answer to a :class:`FetchSnapshot`; it takes an ordinal like a frame."""

    epoch: int
    time: Nanoseconds
    ordinal: int
    stream: Stream
    body: bytes
    nbytes: int
    serial: int = 0


@attrs.define
class SnapshotAsked:
    """The request for this book's snapshot is being sent: from here on its diffs are needed."""

    epoch: int
    time: Nanoseconds
    stream: Stream
    nbytes: int = 0
    serial: int = 0


@attrs.define
class Subscribe:
    """Collect these streams as well, from now on."""

    time: Nanoseconds
    streams: list[Stream]
    epoch: int = 0
    nbytes: int = 0
    serial: int = 0


@attrs.define
class Unsubscribe:
    """Collect these streams no longer."""

    time: Nanoseconds
    streams: list[Stream]
    epoch: int = 0
    nbytes: int = 0
    serial: int = 0


@attrs.define
class Tick:
    """Time passes: heartbeats and deadlines are judged by ``now``, the monotonic clock."""

    epoch: int
    time: Nanoseconds
    now: float
    nbytes: int = 0
    serial: int = 0


@attrs.define
class Closed:
    """The connection of this epoch ended; ``intended`` where we ended it, for good."""

    epoch: int
    time: Nanoseconds
    reason: str
    intended: bool = False
    nbytes: int = 0
    serial: int = 0


@attrs.define
class Lost:
    """Inputs that were never parsed: `edge` says where they went, `cause` why."""

    epoch: int
    frames: int
    start: Nanoseconds
    end: Nanoseconds
    edge: str
    quarantined: bool
    nbytes: int = 0
    serial: int = 0


@attrs.define
class Finished:
    """Nothing will follow on this connection. Streams that are down now are recorded as such."""

    time: Nanoseconds
    epoch: int = 0
    nbytes: int = 0
    serial: int = LAST_SERIAL


Input: TypeAlias = (
    Opened
    | Frames
    | SnapshotReply
    | SnapshotAsked
    | Subscribe
    | Unsubscribe
    | Tick
    | Closed
    | Lost
    | Finished
)


# ---------------------------------------------------------------------------------------- state
class StreamState(Enum):
    """How far a subscription got. An acknowledgement proves nothing: only LIVE has delivered.

    DOWN: it was subscribed, and its connection is gone.
    """

    IDLE = "idle"
    REQUESTED = "requested"
    ACKNOWLEDGED = "acknowledged"
    LIVE = "live"
    DOWN = "down"
    FAILED = "failed"


@attrs.define
class StreamStatus:
    """What is known of one stream: its state in this epoch, and when it last delivered.

    ``acknowledged_at`` is when the venue last said yes to it. ``down_since`` is the last instant
    known good of a stream that is down, by ``down_cause``, and for which no
    :class:`~farm.entities.Gap` has been recorded yet.
    """

    stream: Stream
    state: StreamState = StreamState.IDLE
    reason: str = ""
    frames: int = 0
    last_time: Nanoseconds | None = None
    acknowledged_at: Nanoseconds | None = None
    down_since: Nanoseconds | None = None
    down_cause: GapCause = GapCause.DISCONNECT


class Session(Protocol):
    """The verbs of a protocol core: it is handed inputs, it hands out bundles and commands.

    ``handle`` returns what the input gave, or None; it never raises for anything that a venue may
    send. ``take_commands`` empties the list of what is to be done. ``resync`` asks for what a book
    needs to start anew: a snapshot, or its one topic subscribed again; ``need`` says how urgent
    that is. ``statuses`` are by the venue's stream name, ``unknown_values`` counts values that no
    document names, by place, ``foreign`` rows of other markets, by stream.
    """

    statuses: dict[str, StreamStatus]
    unknown_values: Counter[str]
    foreign: Counter[str]

    def handle(self, item: Input) -> Bundle | None: ...
    def take_commands(self) -> list[Command]: ...
    def resync(self, stream: Stream, need: int = 0) -> None: ...

"""What a farm and its shards tell one another, but for the data: msgpack, tagged by kind.

Both ends are the same program, so there is no version to agree upon. What is not of this form is a
:class:`~farm.errors.LinkError`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from farm.config import CollectorConfig
from farm.errors import LinkError
from farm.exchanges.streams import Stream
from farm.monitor.stats import FarmStats
from farm.pipeline import Settings
from farm.types import DataType, Exchange, Market, Nanoseconds, Symbol

__all__ = [
    "AddStreams",
    "Ask",
    "Assign",
    "Beat",
    "Bye",
    "Cancel",
    "Caught",
    "Delivering",
    "Drain",
    "DropLine",
    "ExpectHeir",
    "ExpectNoHeir",
    "FromShard",
    "Grant",
    "HandOver",
    "HandedOver",
    "Heir",
    "LineReport",
    "Lines",
    "MirrorBook",
    "Observe",
    "OpenLine",
    "Pause",
    "Reader",
    "Readers",
    "Ready",
    "RemoveStreams",
    "Report",
    "TakeOver",
    "ToShard",
    "Told",
    "decode_from_shard",
    "decode_to_shard",
    "encode",
]


class _Message(msgspec.Struct, tag=True, array_like=True):
    """A message; its class is its tag."""


# ------------------------------------------------------------------------------ parent to shard
class Assign(_Message):
    """What a shard is to be: it has been nothing until now. ``cpu`` is the place of the CPU that it
    is pinned to, if any; ``seed`` the farm's."""

    name: str
    settings: Settings
    heartbeat_seconds: float
    memory_limit: int | None
    link_bytes: int
    seed: str | None
    cpu: int | None


class OpenLine(_Message):
    """Open a line. Its lanes are numbered from ``first_lane``, since readers discard what they have
    seen of a connection by its name. ``down_since`` (stream name to time): what the process before
    this one collected until then, and lost. ``held``: publish nothing before a TakeOver."""

    line: str
    collector: CollectorConfig
    streams: list[Stream]
    first_lane: int = 1
    down_since: dict[str, Nanoseconds] = {}
    held: bool = False


class AddStreams(_Message):
    """Collect more streams on a line."""

    line: str
    streams: list[Stream]


class RemoveStreams(_Message):
    """Collect these streams of a line no longer."""

    line: str
    streams: list[Stream]


class ExpectHeir(_Message):
    """Another process is about to open this line, held: answer with an Heir."""

    line: str


class ExpectNoHeir(_Message):
    """The line stays after all."""

    line: str


class Delivering(_Message):
    """What a held line has to have, from the process that has it: see LineReport."""

    line: str
    streams: dict[str, Nanoseconds | None]


class DropLine(_Message):
    """Let a held line go: it is not needed here."""

    line: str


class HandOver(_Message):
    """End a line, whose way goes on in another process."""

    line: str


class TakeOver(_Message):
    """Go on with a held line; ``state`` is what it had become where it was."""

    line: str
    state: bytes


class Reader(_Message):
    """What somebody in the parent reads: a kind, of some symbols or all, on a market or on all."""

    kind: DataType
    exchange: Exchange | None
    market: Market | None
    symbols: list[Symbol] | None


class Readers(_Message):
    """All that is read in the parent, from now on."""

    readers: list[Reader]


class MirrorBook(_Message):
    """Have this book of a line mirrored: an image first, then its updates."""

    line: str
    feed: str


class Grant(_Message):
    """What was asked for may be spent."""

    number: int


class Drain(_Message):
    """End: sources first, what was received flows out, and then say Bye."""


# ------------------------------------------------------------------------------ shard to parent
class Ready(_Message):
    """The process stands, and waits for its assignment."""

    pid: int


class Beat(_Message):
    """The shard's Trio loop turns. ``time`` is its wall clock; ``safe`` the time up to which all
    that it received is processed, and on disk where it is stored; ``cpu`` its seconds of CPU until
    now, ``memory`` its resident bytes."""

    time: Nanoseconds
    safe: Nanoseconds
    cpu: float
    memory: int


class LineReport(_Message):
    """How a line is: the number of its next lane; which of its streams, by name, the venue sends
    now, or has refused on record (``up``: what was missed of them before is told), and since when
    those are down of which it is not told yet (``down``); ``frames`` that came until now; and, for
    who takes over from it, what :meth:`~farm.pipeline.Line.delivering` says."""

    line: str
    next_lane: int
    up: list[str]
    down: dict[str, Nanoseconds]
    frames: int
    delivering: dict[str, Nanoseconds | None]


class Lines(_Message):
    """How the lines are at a time, by the shard's wall clock."""

    time: Nanoseconds
    lines: list[LineReport]


class Report(_Message):
    """All that a shard knows of itself."""

    stats: FarmStats
    lines: Lines


class Heir(_Message):
    """The number that the first lane of a line has to have where it goes on."""

    line: str
    first_lane: int


class Caught(_Message):
    """A held line has all that the other process's has."""

    line: str


class HandedOver(_Message):
    """A line has ended here, and this is its state; None where it could not be had."""

    line: str
    state: bytes | None


class Ask(_Message):
    """May ``amount`` of a budget be spent? It is one of the address that all shards share."""

    number: int
    what: str
    host: str
    limit: int
    period: float
    amount: int


class Cancel(_Message):
    """What was asked for is not wanted any more."""

    number: int


class Pause(_Message):
    """The venue asks for a pause."""

    what: str
    host: str
    limit: int
    period: float
    seconds: float


class Observe(_Message):
    """The venue's own count of what was spent."""

    what: str
    host: str
    limit: int
    period: float
    used: int


class Told(_Message):
    """Something happened to an actor: a lifecycle event, its error in words."""

    actor: str
    what: str
    run: int
    error: str
    delay: float


class Bye(_Message):
    """The last word: all that was sent, to be compared with what came, and the last report.
    ``failed``: what ended it, if not a Drain."""

    bundles: int
    events: int
    report: Report | None
    failed: str = ""


ToShard: TypeAlias = (
    Assign
    | OpenLine
    | AddStreams
    | RemoveStreams
    | ExpectHeir
    | ExpectNoHeir
    | Delivering
    | DropLine
    | HandOver
    | TakeOver
    | Readers
    | MirrorBook
    | Grant
    | Drain
)
FromShard: TypeAlias = (
    Ready
    | Beat
    | Lines
    | Report
    | Heir
    | Caught
    | HandedOver
    | Ask
    | Cancel
    | Pause
    | Observe
    | Told
    | Bye
)


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    raise NotImplementedError(f"{value!r} can't be sent to another process")


def _typed(kind: type[Any], value: Any) -> Any:
    if issubclass(kind, Path):
        return Path(value)
    raise NotImplementedError(kind)


_encoder = msgspec.msgpack.Encoder(enc_hook=_plain)
_to_shard: msgspec.msgpack.Decoder[ToShard] = msgspec.msgpack.Decoder(ToShard, dec_hook=_typed)
_from_shard: msgspec.msgpack.Decoder[FromShard] = msgspec.msgpack.Decoder(
    FromShard, dec_hook=_typed
)


def encode(message: ToShard | FromShard) -> bytes:
    """A message as bytes."""
    return _encoder.encode(message)


def decode_to_shard(data: bytes) -> ToShard:
    """A message to a shard. LinkError for anything else."""
    try:
        return _to_shard.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise LinkError(f"no message to a shard: {error}") from error


def decode_from_shard(data: bytes) -> FromShard:
    """A message from a shard. LinkError for anything else."""
    try:
        return _from_shard.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise LinkError(f"no message from a shard: {error}") from error

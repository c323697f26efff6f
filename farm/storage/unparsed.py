"""Frames that no core could use, kept as they came: in memory, and as JSON lines on disk.

    _unparsed/<exchange>-<market>/<start>-<run>-<n>.jsonl

A line holds the frame's exchange, market, connection, epoch, time (ns, UTC), ordinal, kind, reason,
and ``raw``: its text where ``encoding`` is ``utf-8``, else its bytes in base64.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import IO

import msgspec

from farm.batch import Origin
from farm.bundle import UnparsedFrame
from farm.entities import Event
from farm.errors import RecordingError
from farm.storage.directory import DataDirectory
from farm.storage.files import WrittenFile
from farm.storage.pending import Pending
from farm.storage.raw_text import as_unicode, encode_raw
from farm.types import Exchange, Market

__all__ = [
    "MALFORMED",
    "OTHER_KINDS",
    "UNSTORABLE",
    "UnparsedStore",
    "count_unparsed",
    "unparsed_files",
    "unstorable",
]

UNPARSED = "_unparsed"

MALFORMED = "malformed"
"""The kind of frames that are broken, as against those of a type that is unknown here."""

OTHER_KINDS = "(other)"
"""Stands for all kinds beyond the first thousand: a venue must not fill our memory with names."""

UNSTORABLE = "unstorable"
"""The kind under which an event is kept that no Parquet file can hold."""

_MAX_KINDS = 1000
_FRAME_BYTES = 300  # what a frame weighs in memory beside its raw bytes


class _Line(msgspec.Struct):
    exchange: Exchange
    market: Market
    connection: str
    epoch: int
    time: int
    ordinal: int
    kind: str
    reason: str
    encoding: str
    raw: str


class _Cause(msgspec.Struct):
    """What of a line says why it is there."""

    exchange: str
    market: str
    kind: str
    reason: str


class UnparsedStore:
    """Keeps and counts unparsed frames; with a directory, :meth:`write` puts them on the disk.

    Memory is bounded by ``max_memory_bytes``: the oldest frames beyond it are let go, counted in
    ``not_kept``. With a directory write when :attr:`due`, and nothing is let go while that
    succeeds. ``counts`` has every frame ever added, by ``exchange/market`` and kind.

    ``add`` may be called while another thread is in ``write``.
    """

    def __init__(
        self, directory: DataDirectory | None = None, *, max_memory_bytes: int = 16 * 2**20
    ) -> None:
        self.directory = directory
        self.counts: Counter[tuple[str, str]] = Counter()
        self.frames_written = 0
        self._frames = Pending(_weight, max_memory_bytes)
        self._lock = threading.Lock()  # over all of the above; never held during I/O
        self._writing = threading.Lock()

    @property
    def not_kept(self) -> int:
        """How many frames were let go, for want of memory."""
        return self._frames.not_kept

    @property
    def malformed(self) -> int:
        """How many frames were broken: what a summary calls quarantined."""
        return sum(count for (_, kind), count in self.counts.items() if kind == MALFORMED)

    @property
    def due(self) -> bool:
        """Whether half of the memory is used, and a directory there to write it to."""
        return self.directory is not None and 2 * self._frames.nbytes >= self._frames.max_bytes

    def add(self, frames: Iterable[UnparsedFrame]) -> None:
        """Takes frames in, and counts them. No I/O."""
        with self._lock:
            for frame in frames:
                self._count(frame)
                self._frames.add(frame)

    def frames(self) -> list[UnparsedFrame]:
        """The frames in memory, oldest first: those that no file holds."""
        with self._lock:
            return self._frames.items()

    def write(self) -> list[WrittenFile]:
        """Writes the frames in memory, a file for each market; [] without frames or directory.

        If this raises (OSError), the frames that no file holds are in memory again, in front.
        """
        if self.directory is None:
            return []
        with self._writing:
            with self._lock:
                taken = self._frames.take()
            markets: dict[str, list[UnparsedFrame]] = {}
            for frame in taken:
                name = f"{frame.origin.exchange.value}-{frame.origin.market.value}"
                markets.setdefault(name, []).append(frame)
            written = []
            try:
                for name in list(markets):
                    written.append(_write(self.directory, name, markets[name]))
                    del markets[name]
            finally:
                with self._lock:
                    self.frames_written += sum(file.rows for file in written)
                    self._frames.put_back(f for frames in markets.values() for f in frames)
            return written

    def _count(self, frame: UnparsedFrame) -> None:
        market = f"{frame.origin.exchange.value}/{frame.origin.market.value}"
        key = (market, frame.kind)
        if key not in self.counts and len(self.counts) >= _MAX_KINDS and frame.kind != MALFORMED:
            key = (market, OTHER_KINDS)
        self.counts[key] += 1


def unparsed_files(path: Path) -> list[Path]:
    """The files of unparsed frames in a data directory."""
    return sorted((path / UNPARSED).glob("*/*.jsonl"))


def count_unparsed(file: Path) -> Counter[tuple[str, str, str]]:
    """The frames of a file by ``exchange/market``, kind and reason. RecordingError, which names
    file and line, where it is damaged."""
    counts: Counter[tuple[str, str, str]] = Counter()
    number = 0
    try:
        with file.open("rb") as lines:
            for line in lines:
                number += 1
                cause = msgspec.json.decode(line, type=_Cause)
                counts[f"{cause.exchange}/{cause.market}", cause.kind, cause.reason] += 1
    except OSError as error:
        raise RecordingError(f"{file}: {error.strerror or error}") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise RecordingError(f"{file}:{number}: not an unparsed frame: {error}") from error
    return counts


def unstorable(event: Event, reason: str) -> UnparsedFrame:
    """An event that no Parquet file can hold, to be kept as a frame is; its rows no longer know
    what connection they came from."""
    origin = Origin(event.exchange, event.market, "", 0)
    raw = msgspec.json.encode(event)
    return UnparsedFrame(origin, event.receive_time, event.ordinal, UNSTORABLE, reason, raw)


def _weight(frame: UnparsedFrame) -> int:
    return len(frame.raw) + _FRAME_BYTES


def _write(directory: DataDirectory, market: str, frames: list[UnparsedFrame]) -> WrittenFile:
    def write(file: IO[bytes]) -> None:
        file.writelines(_line(frame) for frame in frames)

    target = Path(UNPARSED, market, directory.new_name(frames[0].time, ".jsonl"))
    size = directory.write_file(target, write)
    return WrittenFile(directory.path / target, len(frames), size)


def _line(frame: UnparsedFrame) -> bytes:
    raw, encoding = encode_raw(frame.raw)
    origin = frame.origin
    line = _Line(
        exchange=origin.exchange,
        market=origin.market,
        connection=origin.connection,
        epoch=origin.epoch,
        time=frame.time,
        ordinal=frame.ordinal,
        kind=as_unicode(frame.kind),
        reason=as_unicode(frame.reason),
        encoding=encoding,
        raw=raw,
    )
    return msgspec.json.encode(line) + b"\n"

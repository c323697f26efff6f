"""Frames that no core could use, kept as they came: in memory, and as JSON lines on disk.

    _unparsed/<exchange>-<market>/<start>-<run>-<n>.jsonl

A line holds the frame's exchange, market, connection, epoch, time (ns, UTC), ordinal, kind, reason,
and ``raw``: its text where ``encoding`` is ``utf-8``, else its bytes in base64.
"""

from __future__ import annotations

import base64
import threading
from collections import Counter, deque
from collections.abc import Iterable
from pathlib import Path
from typing import IO

import msgspec

from farm.bundle import UnparsedFrame
from farm.storage.directory import DataDirectory
from farm.storage.files import WrittenFile
from farm.types import Exchange, Market

__all__ = ["MALFORMED", "OTHER_KINDS", "UnparsedStore"]

MALFORMED = "malformed"
"""The kind of frames that are broken, as against those of a type that is unknown here."""

OTHER_KINDS = "(other)"
"""Stands for all kinds beyond the first thousand: a venue must not fill our memory with names."""

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
        self.max_memory_bytes = max_memory_bytes
        self.counts: Counter[tuple[str, str]] = Counter()
        self.frames_written = 0
        self.not_kept = 0
        self._frames: deque[UnparsedFrame] = deque()
        self._nbytes = 0
        self._lock = threading.Lock()  # over all of the above; never held during I/O
        self._writing = threading.Lock()

    @property
    def malformed(self) -> int:
        """How many frames were broken: what a summary calls quarantined."""
        return sum(count for (_, kind), count in self.counts.items() if kind == MALFORMED)

    @property
    def due(self) -> bool:
        """Whether half of the memory is used, and a directory there to write it to."""
        return self.directory is not None and 2 * self._nbytes >= self.max_memory_bytes

    def add(self, frames: Iterable[UnparsedFrame]) -> None:
        """Takes frames in, and counts them. No I/O."""
        with self._lock:
            for frame in frames:
                self._count(frame)
                self._frames.append(frame)
                self._nbytes += _weight(frame)
            self._trim()

    def frames(self) -> list[UnparsedFrame]:
        """The frames in memory, oldest first: those that no file holds."""
        with self._lock:
            return list(self._frames)

    def write(self) -> list[WrittenFile]:
        """Writes the frames in memory, a file for each market; [] without frames or directory.

        If this raises (OSError), the frames that no file holds are in memory again, in front.
        """
        if self.directory is None:
            return []
        with self._writing:
            with self._lock:
                taken = list(self._frames)
                self._frames.clear()
                self._nbytes = 0
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
                    self._put_back([frame for frames in markets.values() for frame in frames])
            return written

    def _count(self, frame: UnparsedFrame) -> None:
        market = f"{frame.origin.exchange.value}/{frame.origin.market.value}"
        key = (market, frame.kind)
        if key not in self.counts and len(self.counts) >= _MAX_KINDS and frame.kind != MALFORMED:
            key = (market, OTHER_KINDS)
        self.counts[key] += 1

    def _put_back(self, frames: list[UnparsedFrame]) -> None:
        self._frames.extendleft(reversed(frames))
        self._nbytes += sum(map(_weight, frames))
        self._trim()

    def _trim(self) -> None:
        while self._nbytes > self.max_memory_bytes:
            self._nbytes -= _weight(self._frames.popleft())
            self.not_kept += 1


def _weight(frame: UnparsedFrame) -> int:
    return len(frame.raw) + _FRAME_BYTES


def _write(directory: DataDirectory, market: str, frames: list[UnparsedFrame]) -> WrittenFile:
    def write(file: IO[bytes]) -> None:
        file.writelines(_line(frame) for frame in frames)

    target = Path("_unparsed", market, directory.new_name(frames[0].time, ".jsonl"))
    size = directory.write_file(target, write)
    return WrittenFile(directory.path / target, len(frames), size)


def _line(frame: UnparsedFrame) -> bytes:
    try:
        raw, encoding = frame.raw.decode(), "utf-8"
    except UnicodeDecodeError:
        raw, encoding = base64.b64encode(frame.raw).decode(), "base64"
    origin = frame.origin
    line = _Line(
        exchange=origin.exchange,
        market=origin.market,
        connection=origin.connection,
        epoch=origin.epoch,
        time=frame.time,
        ordinal=frame.ordinal,
        kind=_unicode(frame.kind),
        reason=_unicode(frame.reason),
        encoding=encoding,
        raw=raw,
    )
    return msgspec.json.encode(line) + b"\n"


def _unicode(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()  # lone surrogates make no JSON

"""Parquet storage: events gather in memory by partition and are written a file at a time.

    exchange=binance/market=spot/kind=trade/symbol=BTCUSDT/date=2024-08-08/<start>-<run>-<n>.parquet

``date`` is the UTC date of the receive times, ``start`` the receive time of the first row. Rows
keep the order of their arrival within a file, and files of one run that of their numbers.

Nothing here waits or knows of Trio: :meth:`ParquetStore.add` is plain work in memory, and
:meth:`ParquetStore.write` blocks on the disk and belongs in a thread.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pyarrow as pa

from farm.batch import Batch, concat
from farm.entities import Event
from farm.errors import DataDirectoryError
from farm.storage.directory import DataDirectory
from farm.storage.files import WrittenFile
from farm.storage.parquet_file import UNFIT, partition_table, write_table
from farm.storage.partition import Partition, split_batch
from farm.storage.reader import read_batches
from farm.types import Nanoseconds

__all__ = ["ParquetStore", "RefusedEvent", "read_batches"]

_CHUNK_ROWS = 1024
_CHUNK_BYTES = 256 * 2**10
"""Rows become a table when there are so many, which takes some 2 ms.

Not later, because a million events kept as objects makes each collection of garbage a pause of half
a second; not at once, because a table of one row takes 0.4 ms."""


@attrs.frozen
class RefusedEvent:
    """An event that no file can hold, such as a Decimal beyond decimal128, and why."""

    event: Event
    reason: str


@attrs.define(eq=False)
class _Buffer:
    """The rows of a partition that no file holds yet, less those that are being written."""

    partition: Partition
    chunks: list[pa.Table | Batch[Any]] = attrs.field(factory=list)
    loose: list[Batch[Any]] = attrs.field(factory=list)  # follow the chunks
    loose_rows: int = 0
    loose_bytes: int = 0
    rows: int = 0  # chunks and loose ones together, as are the bytes
    nbytes: int = 0
    since: float = 0.0
    first: int | None = None  # receive time of the first row
    first_taken: int | None = None  # of those that are being written
    writing: threading.Lock = attrs.field(factory=threading.Lock)

    def put(self, batch: Batch[Any], now: float) -> None:
        if not self.rows:
            self.since = now
            times = batch.columns["receive_time"]
            assert isinstance(times, np.ndarray)
            self.first = int(times[0])
        rows = len(batch)
        self.loose.append(batch)
        self.loose_rows += rows
        self.loose_bytes += batch.nbytes
        self.rows += rows
        self.nbytes += batch.nbytes
        if self.loose_rows >= _CHUNK_ROWS or self.loose_bytes >= _CHUNK_BYTES:
            chunk = self._seal()
            try:
                self.chunks[-1] = partition_table(chunk, self.partition)
            except UNFIT:
                return  # the writer, who has time, finds the event that is to blame

    def take(self) -> _Buffer:
        """All that is buffered, as a buffer of its own."""
        if self.loose:
            self._seal()
        taken = _Buffer(
            self.partition, self.chunks, rows=self.rows, nbytes=self.nbytes, since=self.since
        )
        self.chunks, self.rows, self.nbytes = [], 0, 0
        self.first, self.first_taken = None, self.first
        return taken

    def put_back(self, taken: _Buffer) -> None:
        self.chunks[:0] = taken.chunks
        self.rows += taken.rows
        self.nbytes += taken.nbytes
        self.since = taken.since
        self.first, self.first_taken = self.first_taken, None

    def _seal(self) -> Batch[Any]:
        chunk = concat(self.loose)
        self.chunks.append(chunk)
        self.loose, self.loose_rows, self.loose_bytes = [], 0, 0
        return chunk


class ParquetStore:
    """Buffers of events by partition, each written as one Parquet file when it is due.

    A buffer is due with ``max_rows`` rows, or ``max_bytes`` of payload (:attr:`Batch.nbytes`), or
    ``max_seconds`` after its first row. The store writes nothing by itself: ask :meth:`due`, and
    at the end :meth:`pending`, and :meth:`write` what they name.

    ``add`` may be called while another thread is in ``write``. Rows leave memory only once their
    file stands; nothing bounds what gathers while no write succeeds but the caller, who reads
    ``rows_pending`` and ``bytes_pending``.
    """

    def __init__(
        self,
        directory: DataDirectory,
        *,
        max_rows: int = 250_000,
        max_bytes: int = 32 * 2**20,
        max_seconds: float = 60.0,
    ) -> None:
        self.directory = directory
        self.max_rows = max_rows
        self.max_bytes = max_bytes
        self.max_seconds = max_seconds
        self.rows_added = 0
        self.rows_written = 0
        self.rows_refused = 0
        self.files_written = 0
        self.bytes_written = 0
        self.bytes_pending = 0
        self._buffers: dict[Partition, _Buffer] = {}  # with rows, or being written
        self._refused: list[RefusedEvent] = []
        self._latest: Batch[Any] | None = None
        self._lock = threading.Lock()  # over all of the above; never held during I/O

    @property
    def rows_pending(self) -> int:
        """Rows that were added and that no file holds yet, those being written included."""
        with self._lock:
            return self.rows_added - self.rows_written - self.rows_refused

    def add(self, batch: Batch[Any], now: float) -> None:
        """Takes a batch in. ``now`` is the time of the clock that :meth:`due` is asked by.

        Takes all or nothing, and does no I/O. The very batch that was added last may be added
        again, and is not: whoever adds it may crash before that is noted.

        Raises:
            DataDirectoryError: a batch of another number mode than the directory's, or a symbol
                that makes no directory name.
            NumberRangeError: a receive time that int64 nanoseconds do not hold.
        """
        if batch.numbers is not self.directory.numbers:
            raise DataDirectoryError(
                f"{self.directory.path}: holds {self.directory.numbers.value} numbers "
                f"and cannot take a batch of {batch.numbers.value} ones"
            )
        parts = split_batch(batch)
        with self._lock:
            if batch is self._latest:
                return
            for partition, part in parts:
                buffer = self._buffers.get(partition)
                if buffer is None:
                    buffer = self._buffers[partition] = _Buffer(partition)
                buffer.put(part, now)
                self.bytes_pending += part.nbytes
            self.rows_added += len(batch)
            self._latest = batch

    def due(self, now: float) -> list[Partition]:
        """The partitions whose buffer is full, or old."""
        with self._lock:
            return [
                partition
                for partition, buffer in self._buffers.items()
                if buffer.rows  # else all of it is being written
                and (
                    buffer.rows >= self.max_rows
                    or buffer.nbytes >= self.max_bytes
                    or now - buffer.since >= self.max_seconds
                )
            ]

    def pending(self) -> list[Partition]:
        """Every partition with rows that no file holds yet, those being written included."""
        with self._lock:
            return list(self._buffers)

    def oldest_pending(self) -> Nanoseconds | None:
        """Receive time of the oldest row that no file holds yet, as far as rows come in order; None
        where there is none."""
        with self._lock:
            times = [t for b in self._buffers.values() for t in (b.first, b.first_taken)]
        return min((time for time in times if time is not None), default=None)

    def write(self, partition: Partition) -> WrittenFile | None:
        """Writes what is buffered for a partition as one file; None where there is nothing to.

        If this raises (OSError: disk full, directory gone), all rows are in the buffer again, in
        front of what was added meanwhile. Rows that no file can hold don't come back: see
        :meth:`take_refused`. A second thread that writes the same partition waits for the first.
        """
        with self._lock:
            buffer = self._buffers.get(partition)
        if buffer is None:
            return None
        with buffer.writing:
            with self._lock:
                taken = buffer.take()
            refused: list[RefusedEvent] = []
            try:
                written = self._write(taken, refused) if taken.rows else None
            except BaseException:
                with self._lock:
                    buffer.put_back(taken)
                raise
            with self._lock:
                self._settle(buffer, taken, written, refused)
            return written

    def take_refused(self) -> list[RefusedEvent]:
        """The events that no file could hold, since the last call. Nobody else keeps them."""
        with self._lock:
            refused, self._refused = self._refused, []
            return refused

    def _write(self, taken: _Buffer, refused: list[RefusedEvent]) -> WrittenFile | None:
        partition = taken.partition
        tables: list[pa.Table] = []
        for chunk in taken.chunks:
            if isinstance(chunk, Batch):
                tables += _tables(chunk, partition, refused)
            else:
                tables.append(chunk)
        if not tables:
            return None
        table = pa.concat_tables(tables).unify_dictionaries()  # halves the time of writing
        start = table.column("receive_time")[0].as_py()
        target = Path(partition.path, self.directory.new_name(start, ".parquet"))
        size = self.directory.write_file(target, lambda file: write_table(table, file))
        return WrittenFile(self.directory.path / target, table.num_rows, size)

    def _settle(
        self,
        buffer: _Buffer,
        taken: _Buffer,
        written: WrittenFile | None,
        refused: Sequence[RefusedEvent],
    ) -> None:
        self.bytes_pending -= taken.nbytes
        buffer.first_taken = None
        self.rows_refused += len(refused)
        self._refused += refused
        if written is not None:
            self.files_written += 1
            self.rows_written += written.rows
            self.bytes_written += written.bytes
        if not buffer.rows and self._buffers.get(buffer.partition) is buffer:
            del self._buffers[buffer.partition]


def _tables(batch: Batch[Any], partition: Partition, refused: list[RefusedEvent]) -> list[pa.Table]:
    """Tables of the rows that a file can hold; the others join `refused`, found by halving.

    One event that never fits must not keep its partition from ever being written.
    """
    try:
        return [partition_table(batch, partition)]
    except UNFIT as error:
        if len(batch) == 1:
            refused.append(RefusedEvent(batch[0], str(error)))
            return []
    half = len(batch) // 2
    parts = batch[:half], batch[half:]
    return [table for part in parts for table in _tables(part, partition, refused)]

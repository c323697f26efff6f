"""The data directory: its marker, and the runs that write into it side by side.

::

    _farm.json               the marker: format version and number mode
    _runs/lock               held while a run opens the directory
    _runs/<run>/             temporary files of one run
    _runs/<run>/lock         held as long as that run lives
    _runs/<pid>.sock         where a running farm is asked how it is (farm.monitor.control)
    _unparsed/               frames that no core could use (farm.storage.unparsed)
    exchange=binance/...     the data (farm.storage.parquet)

Names with a leading underscore are hidden to the readers of partitioned data sets (pyarrow, Spark,
Hive), so that a reader of the whole directory needs no list of exceptions. Temporary files never
bear the suffix of the files they become, so that no glob finds them either.

One directory holds one number mode: a reader that meets Decimal and double columns in one data
set silently reads all of them as double.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import IO

import attrs
import msgspec

from farm.errors import DataDirectoryError
from farm.storage.files import make_directory, write_file
from farm.types import Nanoseconds, NumberMode

__all__ = [
    "FORMAT_VERSION",
    "MARKER",
    "DataDirectory",
    "number_mode",
    "open_data_directory",
    "utc_date",
]

FORMAT_VERSION = 1
"""Version of the directory's layout; another one is refused."""

MARKER = "_farm.json"
_RUNS = "_runs"
_LOCK = "lock"
_DAY = 86_400_000_000_000  # ns
_EPOCH = date(1970, 1, 1).toordinal()


class _Marker(msgspec.Struct):
    format: int
    numbers: str = ""


@attrs.define(eq=False)
class DataDirectory:
    """A data directory that this run has opened for writing; a context manager that closes it.

    ``run`` is the run's unique id; it stands in the name of every file that the run writes. All
    methods but :meth:`close` may be called from several threads at once.
    """

    path: Path
    numbers: NumberMode
    run: str
    _lock: int | None
    _serial: Iterator[int] = attrs.field(factory=itertools.count)

    def new_name(self, start: Nanoseconds, suffix: str) -> str:
        """A file name that no other call gives: start time (UTC), run, and a growing number."""
        second, nanosecond = divmod(start % _DAY, 1_000_000_000)
        minute, second = divmod(second, 60)
        hour, minute = divmod(minute, 60)
        day = utc_date(start).strftime("%Y%m%d")
        time = f"{day}T{hour:02}{minute:02}{second:02}{nanosecond:09}Z"
        return f"{time}-{self.run}-{next(self._serial):06}{suffix}"

    def write_file(self, target: Path, write: Callable[[IO[bytes]], object]) -> int:
        """Writes `target`, a path relative to the directory, by :func:`files.write_file`.

        Raises OSError, and DataDirectoryError once the directory is closed.
        """
        if self._lock is None:
            raise DataDirectoryError(f"{self.path}: this data directory is closed")
        temporary = self.path / _RUNS / self.run / f"{next(self._serial)}.tmp"
        return write_file(self.path / target, temporary, write)

    def close(self) -> None:
        """Ends the run: its temporaries and its lock go. May be called again."""
        if self._lock is None:
            return
        # What cannot be removed now, the next run that opens the directory removes.
        shutil.rmtree(self.path / _RUNS / self.run, ignore_errors=True)
        os.close(self._lock)
        self._lock = None

    def __enter__(self) -> DataDirectory:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def utc_date(time: Nanoseconds) -> date:
    """The UTC date of a time; OverflowError or ValueError outside the years 1 to 9999."""
    return date.fromordinal(_EPOCH + time // _DAY)


def open_data_directory(path: Path, numbers: NumberMode) -> DataDirectory:
    """Opens `path` for writing in a number mode; makes the directory and its marker if need be.

    Several runs may write into one directory at once, from one process or from several. Each holds
    a lock (``flock``) on a file of its own as long as it lives; the kernel lets go of the lock
    however the process ends. So a run directory whose lock can be taken belongs to the dead, and
    is removed here with the temporaries in it. One lock for the whole directory, held for the time
    of this call, keeps the opening of another run from standing half done meanwhile.

    Raises:
        DataDirectoryError: not a directory, not writable, of another number mode, or with a marker
            that this version of farm does not understand.
    """
    runs = path / _RUNS
    try:
        make_directory(path)
        runs.mkdir(exist_ok=True)
        with _locked(runs / _LOCK):
            _check_marker(path, numbers)
            _remove_dead_runs(runs)
            run = secrets.token_hex(6)
            (runs / run).mkdir()
            lock = _take_lock(runs / run / _LOCK)
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataDirectoryError(f"{path}: not usable as a data directory: {reason}") from error
    return DataDirectory(path, numbers, run, lock)


def number_mode(path: Path) -> NumberMode:
    """The number mode of a data directory. DataDirectoryError where it has no marker that this
    version of farm understands."""
    marker = _read_marker(path)
    if marker is None:
        raise DataDirectoryError(f"{path}: not a data directory of farm's: it has no {MARKER}")
    try:
        return NumberMode(marker.numbers)
    except ValueError as error:
        raise DataDirectoryError(f"{path / MARKER}: not a marker of farm's: {error}") from error


def _check_marker(path: Path, numbers: NumberMode) -> None:
    marker = _read_marker(path)
    if marker is None:
        _write_marker(path, numbers)
    elif marker.numbers != numbers.value:
        raise DataDirectoryError(
            f"{path}: holds {marker.numbers} numbers and cannot take {numbers.value} ones; "
            f"choose another directory, or collect {marker.numbers} numbers"
        )


def _read_marker(path: Path) -> _Marker | None:
    try:
        text = (path / MARKER).read_bytes()
    except FileNotFoundError:
        return None
    try:
        marker = msgspec.json.decode(text, type=_Marker)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise DataDirectoryError(f"{path / MARKER}: not a marker of farm's: {error}") from error
    if marker.format != FORMAT_VERSION:
        raise DataDirectoryError(
            f"{path}: written in format {marker.format}; this farm writes format {FORMAT_VERSION}"
        )
    return marker


def _write_marker(path: Path, numbers: NumberMode) -> None:
    if any(path.glob("exchange=*")):
        raise DataDirectoryError(
            f"{path}: holds data but no {MARKER}, so that its number mode is unknown"
        )
    marker = msgspec.json.encode(_Marker(FORMAT_VERSION, numbers.value))
    write_file(path / MARKER, path / _RUNS / "marker.tmp", lambda file: file.write(marker))


def _remove_dead_runs(runs: Path) -> None:
    for run in runs.iterdir():
        if not run.is_dir():
            continue
        try:
            with _locked(run / _LOCK, wait=False):
                shutil.rmtree(run, ignore_errors=True)
        except OSError:
            continue  # alive, or just closing (which takes no lock), or another user's


@contextmanager
def _locked(path: Path, *, wait: bool = True) -> Iterator[None]:
    descriptor = _take_lock(path, wait=wait)
    try:
        yield
    finally:
        os.close(descriptor)


def _take_lock(path: Path, *, wait: bool = True) -> int:
    """The descriptor that holds the lock; BlockingIOError where another one holds it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor

"""Files that appear whole or not at all, and survive a power cut once they have appeared."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import IO

import attrs

__all__ = ["WrittenFile", "make_directory", "write_file"]


@attrs.frozen
class WrittenFile:
    """A file that now stands in the data directory: what it holds, and its size on disk."""

    path: Path
    rows: int
    bytes: int


def write_file(target: Path, temporary: Path, write: Callable[[IO[bytes]], object]) -> int:
    """Lets `write` fill `temporary`, then gives it the name `target`; returns its size in bytes.

    Both must be on one file system. Whatever stood at `target` is replaced.

    1. Fill the temporary file and flush it to the disk: after a power cut a file may bear its new
       name and still miss what was never flushed.
    2. Rename: readers see the old state or the whole new file.
    3. Flush the directory, which is what holds the name.

    If any step raises (OSError, or what `write` raises), neither file is left: the caller still
    has the content, and would write it twice.
    """
    make_directory(target.parent)
    try:
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
            size = os.fstat(file.fileno()).st_size
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    try:
        _sync_directory(target.parent)
    except OSError:
        target.unlink()
        raise
    return size


def make_directory(path: Path) -> None:
    """Makes a directory and its parents, and flushes every name that is new."""
    if path.is_dir():
        return
    make_directory(path.parent)
    path.mkdir(exist_ok=True)
    _sync_directory(path.parent)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

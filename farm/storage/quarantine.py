"""Items on which an actor crashed twice: kept in memory, and on disk a file an item.

    _quarantine/<exchange>-<market>/<start>-<run>-<n>.jsonl

What a file holds is said in :mod:`farm.storage.quarantine_file`. Files whose item was replayed with
success stand under ``_quarantine/_replayed/``.
"""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path
from typing import Any, Protocol

import attrs

from farm.batch import Origin
from farm.bundle import Bundle
from farm.storage.directory import DataDirectory
from farm.storage.files import WrittenFile
from farm.storage.pending import Pending
from farm.storage.quarantine_file import KeptItem, file_lines

__all__ = ["QUARANTINE", "REPLAYED", "QuarantineStore", "quarantine_files"]

QUARANTINE = "_quarantine"
REPLAYED = "_replayed"

_ITEM_BYTES = 1_000  # what an item weighs in memory beside its payload


class Crashed(Protocol):
    """An item that a mailbox has quarantined: see :class:`farm.actors.mailbox.Quarantined`."""

    @property
    def mailbox(self) -> str: ...
    @property
    def item(self) -> Any: ...
    @property
    def actor(self) -> str: ...
    @property
    def tracebacks(self) -> tuple[str, ...]: ...


class QuarantineStore:
    """Keeps and counts quarantined items; with a directory, :meth:`write` puts them on the disk.

    Memory is bounded by `max_memory_bytes`: the oldest items beyond it are let go, counted in
    ``not_kept``. With a directory write when :attr:`due`, and nothing is let go while that
    succeeds. ``counts`` has every item ever added, by ``exchange/market`` and mailbox.

    ``add`` may be called while another thread is in ``write``.
    """

    def __init__(
        self, directory: DataDirectory | None = None, *, max_memory_bytes: int = 16 * 2**20
    ) -> None:
        self.directory = directory
        self.counts: Counter[tuple[str, str]] = Counter()
        self.items_written = 0
        self._items = Pending(_weight, max_memory_bytes)
        self._lock = threading.Lock()  # over all of the above; never held during I/O
        self._writing = threading.Lock()

    @property
    def not_kept(self) -> int:
        """How many items were let go, for want of memory."""
        return self._items.not_kept

    @property
    def due(self) -> bool:
        """Whether there is anything to write, and a directory to write it to.

        What another thread is at is: nobody may be waiting for that thread any more.
        """
        return self.directory is not None and (len(self._items) > 0 or self._writing.locked())

    def add(
        self, crashed: Crashed, origin: Origin | None = None, *, microseconds: bool = False
    ) -> None:
        """Takes an item in, and counts it. No I/O.

        `origin` is that of an input, which does not know where it came from (its epoch may be
        any); a bundle has its own. `microseconds`: the venue was asked for such times.

        TypeError for an input without an origin.
        """
        item = crashed.item
        if isinstance(item, Bundle):
            origin = item.origin
            # They are kept among the unparsed frames; here they would be kept twice.
            item = attrs.evolve(item, unparsed=[])
        if origin is None:
            raise TypeError(f"an input of {crashed.mailbox} needs the origin that it came from")
        kept = KeptItem(
            item, origin, crashed.mailbox, crashed.actor, crashed.tracebacks, microseconds
        )
        with self._lock:
            self.counts[f"{origin.exchange.value}/{origin.market.value}", crashed.mailbox] += 1
            self._items.add(kept)

    def items(self) -> list[KeptItem]:
        """The items in memory, oldest first: those that no file holds."""
        with self._lock:
            return self._items.items()

    def write(self) -> list[WrittenFile]:
        """Writes the items in memory, a file each; [] without items or directory.

        If this raises (OSError), the items that no file holds are in memory again, in front.
        """
        if self.directory is None:
            return []
        with self._writing:
            with self._lock:
                left = self._items.take()
            written: list[WrittenFile] = []
            try:
                while left:
                    written.append(_write(self.directory, left[0]))
                    del left[0]
            finally:
                with self._lock:
                    self.items_written += len(written)
                    self._items.put_back(left)
            return written


def quarantine_files(path: Path) -> list[Path]:
    """The files of a data directory's quarantine, oldest first within each market; without those
    that were replayed."""
    return sorted(
        file
        for file in (path / QUARANTINE).glob("*/*.jsonl")
        if not file.parent.name.startswith("_")
    )


def _weight(kept: KeptItem) -> int:
    return kept.item.nbytes + sum(map(len, kept.tracebacks)) + _ITEM_BYTES


def _write(directory: DataDirectory, kept: KeptItem) -> WrittenFile:
    market = f"{kept.origin.exchange.value}-{kept.origin.market.value}"
    target = Path(QUARANTINE, market, directory.new_name(kept.time, ".jsonl"))
    lines = file_lines(kept, directory.numbers)
    size = directory.write_file(target, lambda file: file.writelines(lines))
    return WrittenFile(directory.path / target, 1, size)

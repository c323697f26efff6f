"""Quarantined items once more, after a mend: through a fresh line, and what it gives to the store.

An input goes through a protocol core of its own, a bundle that crashed behind a parser on from
there, and one that crashed at the sink into the store alone. What the line knew when it crashed (a
book's levels, the ids before) is gone: updates of a book come out with the verdict *syncing*.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import attrs

from farm.books.keeper import BookKeeper
from farm.bundle import Bundle, UnparsedFrame
from farm.entities import Event, feed_of
from farm.errors import DataDirectoryError
from farm.exchanges.continuity import TradeContinuity
from farm.exchanges.lanes.merger import LaneMerger
from farm.exchanges.registry import MARKETS, make_session
from farm.exchanges.session import Input, Opened
from farm.exchanges.streams import Stream
from farm.storage.directory import DataDirectory
from farm.storage.files import WrittenFile, make_directory
from farm.storage.parquet import ParquetStore
from farm.storage.quarantine import QUARANTINE, REPLAYED
from farm.storage.quarantine_file import Header, read_header, read_item
from farm.storage.unparsed import UnparsedStore, unstorable

__all__ = ["Replayed", "only_one_replay", "replay_file"]

SINK_EDGE = "aggregator>sink"
"""The mailbox whose bundles have been through the books already."""


@attrs.frozen
class Replayed:
    """What became of one item: how many rows and unparsed frames it gave, or what it failed on."""

    file: Path
    rows: int = 0
    unparsed: int = 0
    error: Exception | None = None


@contextmanager
def only_one_replay(path: Path) -> Iterator[None]:
    """Hold the quarantine of a data directory: two replays of one item would store it twice.

    DataDirectoryError where another replay is under way.
    """
    descriptor = os.open(path / QUARANTINE, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _lock(descriptor, path)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise DataDirectoryError(f"{path / QUARANTINE}: another replay is under way") from error


def replay_file(file: Path, into: DataDirectory) -> Replayed:
    """Replay one item and store in `into` what it gives; its file moves to ``_replayed/``.

    Where it crashes again, or cannot be read, it stays where it is and the error is in the answer.
    OSError where the disk refuses: it stays, too, and nothing of it is stored.
    """
    try:
        header, item = read_header(file), read_item(file)
        bundle = _through_the_line(header, item)
        store = ParquetStore(into)
        for batch in bundle.batches if bundle is not None else ():
            store.add(batch, 0.0)
    except Exception as error:  # noqa: BLE001 (the very bug that it is kept for, told to the user)
        return Replayed(file, error=error)
    frames = [] if bundle is None else bundle.unparsed
    with _all_or_nothing() as written:
        for partition in store.pending():
            written.append(store.write(partition))
        frames += [unstorable(refused.event, refused.reason) for refused in store.take_refused()]
        written += _keep(frames, into)
        _move_away(file)
    return Replayed(file, store.rows_written, len(frames))


@contextmanager
def _all_or_nothing() -> Iterator[list[WrittenFile | None]]:
    """Remove the files that were written, where not all that is to be done with them is done: an
    item that stays is replayed again, and its rows would be stored twice."""
    written: list[WrittenFile | None] = []
    try:
        yield written
    except BaseException:  # an interrupt, too
        for file in filter(None, written):
            with suppress(OSError):  # the first error says more
                file.path.unlink()
        raise


def _keep(frames: list[UnparsedFrame], into: DataDirectory) -> list[WrittenFile]:
    unparsed = UnparsedStore(into)
    unparsed.add(frames)
    return unparsed.write()


def _move_away(file: Path) -> None:
    market = file.parent
    target = market.parent / REPLAYED / market.name
    make_directory(target)
    file.rename(target / file.name)


# --- the line ------------------------------------------------------------------------------------


def _through_the_line(header: Header, item: Input | Bundle) -> Bundle | None:
    if not isinstance(item, Bundle):
        streams, bundle = _parsed(header, item)
        return None if bundle is None else _aggregated(header, bundle, streams)
    if header.mailbox == SINK_EDGE:
        return item
    return _aggregated(header, item, _streams_of(item))


def _parsed(header: Header, item: Input) -> tuple[list[Stream], Bundle | None]:
    """What a protocol core gives that knows of nothing but its opening."""
    session = make_session(
        MARKETS[header.exchange, header.market],
        (),
        connection=header.connection,
        numbers=header.numbers,
        discover=True,
        microseconds=header.microseconds,
    )
    if not isinstance(item, Opened):
        session.handle(Opened(header.epoch, header.time, 0.0))
    bundle = session.handle(item)
    return [status.stream for status in session.statuses.values()], bundle


def _aggregated(header: Header, bundle: Bundle, streams: list[Stream]) -> Bundle:
    """As the aggregator does it."""

    def give_streams() -> list[Stream]:
        return streams

    merger = LaneMerger(give_streams, header.numbers)
    merger.add(header.connection)
    continuity = TradeContinuity(give_streams, header.numbers)
    keeper = BookKeeper(give_streams, lambda _stream, _need: None, header.numbers, paced=False)
    taken = continuity.take(merger.take(bundle))
    gaps = merger.remove(header.connection, bundle.receive_time) + continuity.finish()
    return keeper.take(keeper.with_gaps(taken, gaps) if gaps else taken)


def _streams_of(bundle: Bundle) -> list[Stream]:
    """The streams that the events of a bundle may have come on."""
    table = MARKETS[bundle.origin.exchange, bundle.origin.market].streams
    words: set[tuple[str, str]] = set()
    for batch in bundle.batches:
        words |= {_symbol_and_spec(row) for row in batch.rows}
    streams = (table.stream(symbol, spec) for symbol, spec in words if spec in table.specs)
    return list({stream.name: stream for stream in streams}.values())


def _symbol_and_spec(row: Event) -> tuple[Any, str]:
    return row.symbol, feed_of(row).split("/", 3)[3]

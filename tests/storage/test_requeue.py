"""Quarantined items once more: what goes through is stored, what crashes again stays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from farm.actors.mailbox import Quarantined
from farm.batch import Batch, Origin
from farm.books.keeper import BookKeeper
from farm.bundle import Bundle
from farm.entities import BookUpdate, Event, Gap, Quote, Trade
from farm.errors import DataDirectoryError, RecordingError
from farm.exchanges.core import CoreSession
from farm.exchanges.session import Closed, Finished, Frames, Input, Opened, SnapshotReply
from farm.storage.directory import DataDirectory, open_data_directory
from farm.storage.quarantine import QuarantineStore, quarantine_files
from farm.storage.reader import read_batches
from farm.storage.requeue import Replayed, only_one_replay, replay_file
from farm.types import BookVerdict, Exchange, GapCause, Market, NumberMode
from tests.actors.lines import Inputs, session
from tests.exchanges.feeding import BINANCE_SPOT, binance_diff, binance_trade, depth_body
from tests.farms import MARKET_NAMES, SYMBOLS, market_of
from tests.storage.events import NOON, ORIGIN, quote, trades

LANE = Origin(Exchange.BINANCE, Market.SPOT, "lane", 0)
BOOK = BINANCE_SPOT.streams.stream("BTCUSDT", "book")


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[DataDirectory]:
    with open_data_directory(tmp_path / "data", NumberMode.FLOAT) as directory:
        yield directory


def keep(directory: DataDirectory, item: Input | Bundle, mailbox: str = "m", **more: Any) -> Path:
    """Quarantine an item on disk."""
    store = QuarantineStore(directory)
    store.add(Quarantined(mailbox, item, "a", ("one", "two")), LANE, **more)
    (file,) = store.write()
    return file.path


def stored(directory: DataDirectory, kind: type[Event]) -> list[Any]:
    return [row for batch in read_batches(directory.path, kind) for row in batch]


def frames(*raw: bytes) -> Frames:
    return Frames(4, NOON, 70, list(raw), 9, serial=12)


def test_frames_are_parsed_and_stored_in_their_place(directory: DataDirectory) -> None:
    path = keep(directory, frames(binance_trade(8), binance_trade(9, "ETHUSDT")))
    assert replay_file(path, directory) == Replayed(path, rows=2)
    assert not path.exists()
    moved = directory.path / "_quarantine" / "_replayed" / "binance-spot" / path.name
    assert moved.is_file()
    assert quarantine_files(directory.path) == []
    (batch,) = read_batches(directory.path, Trade, symbol="ETHUSDT")
    (row,) = batch
    assert (row.id, row.ordinal, row.receive_time) == ("9", 71, NOON)
    assert batch.origins == [(Origin(Exchange.BINANCE, Market.SPOT, "lane", 4), 1)]


def test_frames_that_cannot_be_parsed_are_kept_as_such(directory: DataDirectory) -> None:
    path = keep(directory, frames(binance_trade(8), b"{rubbish"))
    done = replay_file(path, directory)
    assert (done.unparsed, done.error) == (1, None)
    assert [trade.id for trade in stored(directory, Trade)] == ["8"]
    (kept,) = (directory.path / "_unparsed").rglob("*.jsonl")
    assert "{rubbish" in kept.read_text()


def test_a_snapshot_is_stored_with_what_is_known_of_its_book(directory: DataDirectory) -> None:
    body = depth_body(11, [["10", "1"]], [["11", "1"]])
    path = keep(directory, SnapshotReply(4, NOON, 3, BOOK, body, len(body), serial=5))
    assert replay_file(path, directory).rows == 1
    (update,) = stored(directory, BookUpdate)
    assert (update.is_snapshot, update.ordinal) == (True, 3)


def test_diffs_without_the_book_before_them_are_of_a_book_that_is_syncing(
    directory: DataDirectory,
) -> None:
    path = keep(directory, frames(binance_diff(20, 21, [["10", "1"]])))
    assert replay_file(path, directory).error is None
    (update,) = stored(directory, BookUpdate)
    assert update.verdict is BookVerdict.SYNCING


@pytest.mark.parametrize(
    "item", [Opened(4, NOON, 0.0, serial=1), Closed(4, NOON, "gone", serial=2), Finished(NOON)]
)
def test_what_tells_of_the_connection_alone_gives_nothing(
    item: Input, directory: DataDirectory
) -> None:
    path = keep(directory, item)
    assert replay_file(path, directory) == Replayed(path)
    assert quarantine_files(directory.path) == []


def test_times_are_read_in_the_unit_that_was_asked_for(directory: DataDirectory) -> None:
    time = 1_790_000_000_123_456
    raw = binance_trade(8, T=time, E=time)
    wrong = keep(directory, frames(raw))
    assert replay_file(wrong, directory).unparsed == 1
    right = keep(directory, frames(raw), microseconds=True)
    assert replay_file(right, directory).rows == 1
    assert [trade.exchange_time for trade in stored(directory, Trade)] == [time * 1000]


def lines_of(*inputs: Inputs) -> list[Bundle]:
    core = session("book", "trade")
    return [b for one in inputs for item in one.items if (b := core.handle(item)) is not None]


def test_a_bundle_from_behind_a_parser_goes_on_from_there(directory: DataDirectory) -> None:
    inputs = Inputs().open().read(binance_diff(11, 11, [["10", "1"]]), binance_trade(1))
    bundle = lines_of(inputs)[-1]
    path = keep(directory, bundle, "c parser>aggregator")
    assert replay_file(path, directory) == Replayed(path, rows=2)
    assert [trade.id for trade in stored(directory, Trade)] == ["1"]
    assert len(stored(directory, BookUpdate)) == 1


def test_the_gaps_of_a_bundle_are_not_held_back_for_trades_to_come(
    directory: DataDirectory,
) -> None:
    inputs = Inputs().open().read(binance_trade(1)).close().open().read(binance_trade(9))
    bundles = lines_of(inputs)
    (back,) = [b for b in bundles if any(batch.kind is Gap for batch in b.batches)][:1]
    path = keep(directory, back, "c parser>aggregator")
    given = sum(len(batch) for batch in back.batches if batch.kind is Gap)
    assert replay_file(path, directory).error is None
    gaps = stored(directory, Gap)
    assert len(gaps) == given > 0
    assert {gap.cause for gap in gaps} == {GapCause.DISCONNECT}


def test_a_bundle_from_before_the_sink_goes_into_the_store_alone(
    directory: DataDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BookKeeper, "take", None)
    bundle = Bundle(ORIGIN, 1, NOON, [trades([1, 2]), Batch.of([quote(3)])])
    path = keep(directory, bundle, "aggregator>sink")
    assert replay_file(path, directory) == Replayed(path, rows=3)
    assert stored(directory, Quote) == [quote(3)]


def test_what_crashes_again_stays_and_nothing_of_it_is_stored(
    directory: DataDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = keep(directory, frames(binance_trade(8)))

    def crash(_self: CoreSession, item: Input) -> None:
        if isinstance(item, Frames):
            raise KeyError("a bug")

    with monkeypatch.context() as broken:
        broken.setattr(CoreSession, "handle", crash)
        done = replay_file(path, directory)
    assert isinstance(done.error, KeyError)
    assert quarantine_files(directory.path) == [path]
    assert stored(directory, Trade) == []
    assert replay_file(path, directory).rows == 1  # after the mend


def test_a_damaged_file_stays(directory: DataDirectory) -> None:
    path = keep(directory, frames(binance_trade(8)))
    path.write_bytes(path.read_bytes()[:-50])
    assert isinstance(replay_file(path, directory).error, RecordingError)
    assert quarantine_files(directory.path) == [path]


def test_where_the_disk_refuses_the_item_stays(
    directory: DataDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = keep(directory, frames(binance_trade(8)))

    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(DataDirectory, "write_file", full)
        with pytest.raises(OSError, match="No space"):
            replay_file(path, directory)
    assert quarantine_files(directory.path) == [path]


def test_two_replays_at_once_are_refused(directory: DataDirectory) -> None:
    keep(directory, frames(binance_trade(8)))
    with (
        only_one_replay(directory.path),
        pytest.raises(DataDirectoryError, match="another replay is under way"),
        only_one_replay(directory.path),
    ):
        pass
    with only_one_replay(directory.path):
        pass


@pytest.mark.parametrize("name", MARKET_NAMES)
def test_a_bundle_of_any_market_goes_through(name: str, directory: DataDirectory) -> None:
    exchange, market = market_of(name)
    symbol = SYMBOLS[market][0]
    rows = trades([1], exchange=exchange, market=market, symbol=symbol)
    bundle = Bundle(Origin(exchange, market, "lane", 1), 1, NOON, [rows])
    path = keep(directory, bundle, "lane parser>aggregator")
    assert replay_file(path, directory).rows == 1

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farm.batch import Batch, concat
from farm.entities import Trade
from farm.errors import DataDirectoryError, NumberRangeError
from farm.storage import parquet
from farm.storage.directory import DataDirectory, open_data_directory
from farm.storage.files import WrittenFile
from farm.storage.parquet import ParquetStore
from farm.storage.partition import Partition, split_batch
from farm.storage.reader import read_batches
from farm.types import NumberMode
from tests.effort import runs
from tests.storage.events import NOON, stored_batches, trade, trades


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[DataDirectory]:
    with open_data_directory(tmp_path / "data", NumberMode.FLOAT) as directory:
        yield directory


def files(directory: DataDirectory) -> list[Path]:
    """All files of data, and all temporaries."""
    everything = directory.path.rglob("*")
    return [path for path in everything if path.suffix in (".parquet", ".tmp")]


def ordinals(directory: DataDirectory) -> list[int]:
    return [row.ordinal for batch in read_batches(directory.path, Trade) for row in batch]


def only(partitions: list[Partition]) -> Partition:
    (partition,) = partitions
    return partition


def written(file: WrittenFile | None) -> WrittenFile:
    assert file is not None
    return file


@settings(max_examples=runs(40), deadline=None)
@given(
    st.sampled_from(NumberMode).flatmap(
        lambda mode: st.tuples(st.just(mode), st.lists(stored_batches(mode), max_size=4))
    ),
    st.integers(1, 8),
)
def test_what_was_added_comes_back(
    content: tuple[NumberMode, list[Batch[Any]]], chunk_rows: int
) -> None:
    mode, added = content
    expected: dict[Partition, list[Batch[Any]]] = {}
    with (
        tempfile.TemporaryDirectory() as path,
        open_data_directory(Path(path), mode) as directory,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(parquet, "_CHUNK_ROWS", chunk_rows)
        store = ParquetStore(directory)
        for batch in added:
            store.add(batch, 0.0)
            for where, part in split_batch(batch):
                expected.setdefault(where, []).append(part)
        assert store.pending() == list(expected)
        for where in store.pending():
            file = written(store.write(where))
            assert file.path.stat().st_size == file.bytes
        for where, parts in expected.items():
            again = read_batches(
                directory.path,
                parts[0].kind,
                exchange=where.exchange,
                market=where.market,
                symbol=where.symbol,
                day=where.date,
            )
            assert concat(again) == concat(parts)
        rows = sum(map(len, added))
        assert (store.rows_added, store.rows_written, store.files_written) == (
            rows,
            rows,
            len(expected),
        )
        assert (store.rows_pending, store.bytes_pending, store.rows_refused) == (0, 0, 0)


def test_files_lie_where_hive_readers_look(directory: DataDirectory) -> None:
    store = ParquetStore(directory)
    store.add(trades([7, 8]), 0.0)
    assert files(directory) == []
    file = written(store.write(only(store.pending())))
    assert (
        file.path.relative_to(directory.path).as_posix()
        == "exchange=binance/market=spot/kind=trade/symbol=BTCUSDT/date=2024-08-08/"
        f"20240808T120000000000007Z-{directory.run}-000000.parquet"
    )
    assert files(directory) == [file.path]
    assert file.rows == 2
    assert file.bytes == file.path.stat().st_size == store.bytes_written


def test_what_is_written_is_not_written_again(directory: DataDirectory) -> None:
    store = ParquetStore(directory)
    store.add(trades([1]), 0.0)
    where = only(store.pending())
    assert store.write(where) is not None
    assert store.write(where) is None
    assert store.pending() == []
    assert len(files(directory)) == 1


def test_the_batch_that_was_added_last_may_be_added_again_and_is_not(
    directory: DataDirectory,
) -> None:
    store = ParquetStore(directory)
    first, second = trades(range(3)), trades(range(3))
    for batch in (first, first, second, second):
        store.add(batch, 0.0)
    assert (store.rows_added, store.rows_pending) == (6, 6)


def test_due_by_rows_by_bytes_or_by_age(directory: DataDirectory) -> None:
    by_rows = ParquetStore(directory, max_rows=3)
    by_rows.add(trades([1, 2]), 0.0)
    assert by_rows.due(59.9) == []
    assert by_rows.due(60.0) == by_rows.pending()
    by_rows.add(trades([3]), 0.0)
    assert by_rows.due(0.0) == by_rows.pending()

    by_bytes = ParquetStore(directory, max_bytes=1000)
    batch = trades([1])
    batch.nbytes = 999
    by_bytes.add(batch, 0.0)
    assert by_bytes.due(0.0) == []
    by_bytes.add(trades([2]), 0.0)
    assert by_bytes.due(0.0) == by_bytes.pending()


def test_age_counts_from_the_first_row_since_the_last_write(directory: DataDirectory) -> None:
    store = ParquetStore(directory, max_seconds=10.0)
    store.add(trades([1]), 0.0)
    store.add(trades([2]), 9.0)
    assert len(store.due(10.0)) == 1
    store.write(only(store.pending()))
    store.add(trades([3]), 100.0)
    assert store.due(109.0) == []
    assert len(store.due(110.0)) == 1


def test_only_the_partition_that_is_due_is_named(directory: DataDirectory) -> None:
    store = ParquetStore(directory, max_rows=2)
    store.add(trades([1, 2]), 0.0)
    store.add(trades([3], symbol="X"), 0.0)
    assert [where.symbol for where in store.due(0.0)] == ["BTCUSDT"]
    assert [where.symbol for where in store.pending()] == ["BTCUSDT", "X"]


def test_many_rows_are_not_kept_as_objects(directory: DataDirectory) -> None:
    store = ParquetStore(directory)
    large = trades([1])
    large.nbytes = parquet._CHUNK_BYTES
    for batch in [trades([ordinal]) for ordinal in range(parquet._CHUNK_ROWS)] + [large]:
        store.add(batch, 0.0)
    (buffer,) = store._buffers.values()
    assert buffer.loose == []
    assert [chunk.num_rows for chunk in buffer.chunks] == [parquet._CHUNK_ROWS, 1]  # type: ignore[union-attr]


# --- writing while rows come in --------------------------------------------------------------


class Meanwhile:
    """Does something in the middle of each write of a file, which may then fail."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, work: Callable[[], None], fails: int = 0
    ) -> None:
        replace = Path.replace
        self.fails = fails

        def patched(path: Path, target: Path) -> Path:
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
            self.fails -= 1
            if self.fails >= 0:
                raise OSError(28, "disk full")
            return cast("Path", replace(path, target))

        monkeypatch.setattr(Path, "replace", patched)


def test_rows_added_during_a_write_go_to_the_next_file(
    directory: DataDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ParquetStore(directory, max_rows=1)
    store.add(trades([1, 2]), 0.0)
    where = only(store.pending())
    seen: list[Any] = []

    def meanwhile() -> None:
        seen.append((store.due(1000.0), store.pending(), store.rows_pending))
        if store.rows_added == 2:
            store.add(trades([3, 4]), 5.0)
            assert store.due(5.0) == [where]

    Meanwhile(monkeypatch, meanwhile)
    assert written(store.write(where)).rows == 2
    assert seen == [([], [where], 2)]
    assert store.rows_pending == 2
    assert written(store.write(where)).rows == 2
    assert ordinals(directory) == [1, 2, 3, 4]
    assert store.pending() == []


@pytest.mark.parametrize("chunk_rows", [1, 1024])
def test_rows_of_a_failed_write_stand_before_those_added_meanwhile(
    directory: DataDirectory, monkeypatch: pytest.MonkeyPatch, chunk_rows: int
) -> None:
    monkeypatch.setattr(parquet, "_CHUNK_ROWS", chunk_rows)
    store = ParquetStore(directory, max_seconds=10.0)
    store.add(trades([1, 2]), 0.0)
    where = only(store.pending())

    def meanwhile() -> None:
        if store.rows_added == 2:
            store.add(trades([3, 4]), 5.0)

    Meanwhile(monkeypatch, meanwhile, fails=1)
    with pytest.raises(OSError, match="disk full"):
        store.write(where)
    assert files(directory) == []
    assert (store.rows_pending, store.rows_written, store.files_written) == (4, 0, 0)
    assert store.due(10.0) == [where]
    assert written(store.write(where)).rows == 4
    assert ordinals(directory) == [1, 2, 3, 4]
    assert (store.rows_pending, store.bytes_pending) == (0, 0)


def test_a_second_writer_waits_for_the_first(
    directory: DataDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ParquetStore(directory)
    store.add(trades([1]), 0.0)
    where = only(store.pending())
    results: list[WrittenFile | None] = []
    second = threading.Thread(target=lambda: results.append(store.write(where)))

    def meanwhile() -> None:
        if not second.ident:
            store.add(trades([2]), 0.0)
            second.start()

    Meanwhile(monkeypatch, meanwhile, fails=1)
    with pytest.raises(OSError, match="disk full"):
        store.write(where)
    second.join()
    assert [written(file).rows for file in results] == [2]
    assert ordinals(directory) == [1, 2]


def test_nothing_is_lost_or_doubled_between_threads(
    directory: DataDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    total = runs(3000)
    store = ParquetStore(directory)
    fsync = os.fsync
    calls = 0
    done = threading.Event()

    def flaky(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls % 7 == 0:
            raise OSError(5, "bad disk")
        fsync(descriptor)

    def write_all() -> None:
        while not done.is_set() or store.pending():
            for where in store.pending():
                try:
                    store.write(where)
                except OSError:
                    continue

    monkeypatch.setattr(os, "fsync", flaky)
    writers = [threading.Thread(target=write_all) for _ in range(2)]
    for writer in writers:
        writer.start()
    for ordinal in range(total):
        store.add(trades([ordinal], symbol="AB"[ordinal % 2], receive_time=NOON), 0.0)
        while store.rows_pending > 200:
            time.sleep(0)  # let the writers come in
    done.set()
    for writer in writers:
        writer.join()
    assert ordinals(directory) == [*range(0, total, 2), *range(1, total, 2)]
    assert store.rows_written == total
    assert (store.rows_pending, store.bytes_pending) == (0, 0)
    assert store.files_written > 2


def test_the_oldest_row_that_waits_is_told(directory: DataDirectory) -> None:
    """Of all partitions, and of what is in memory alone."""
    store = ParquetStore(directory)
    assert store.oldest_pending() is None
    store.add(trades([5, 6]), 0.0)
    store.add(trades([3, 7], symbol="ETHUSDT"), 0.0)
    store.add(trades([8]), 0.0)
    bitcoin, ether = store.pending()
    assert store.oldest_pending() == NOON + 3
    store.write(ether)
    assert store.oldest_pending() == NOON + 5
    store.add(trades([9], symbol="ETHUSDT"), 0.0)
    store.write(bitcoin)
    assert store.oldest_pending() == NOON + 9
    store.write(ether)
    assert store.oldest_pending() is None


@pytest.mark.parametrize("added", [[], [3, 4]])
@pytest.mark.parametrize("fails", [0, 2])
def test_a_row_waits_until_its_file_stands(
    directory: DataDirectory, monkeypatch: pytest.MonkeyPatch, added: list[int], fails: int
) -> None:
    """Whatever comes during the write, and however often that fails."""
    store = ParquetStore(directory)
    store.add(trades([1, 2]), 0.0)
    where = only(store.pending())
    seen: list[int | None] = []

    def meanwhile() -> None:
        if added and not seen:
            store.add(trades(added), 0.0)
        seen.append(store.oldest_pending())

    Meanwhile(monkeypatch, meanwhile, fails)
    for _ in range(fails):
        with pytest.raises(OSError, match="disk full"):
            store.write(where)
        assert store.oldest_pending() == NOON + 1
    store.write(where)
    assert seen == [NOON + 1] * (fails + 1)
    left = bool(added) and not fails  # what came during a write that failed went with the next
    assert store.oldest_pending() == (NOON + 3 if left else None)
    if left:
        store.write(where)
        assert seen[-1] == NOON + 3
        assert store.oldest_pending() is None


def test_rows_that_no_file_can_hold_are_waited_for_no_longer(directory: DataDirectory) -> None:
    store = ParquetStore(directory)
    store.add(Batch.of([trade(exchange_time=2**70)]), 0.0)
    assert store.oldest_pending() == NOON
    store.write(only(store.pending()))
    assert store.oldest_pending() is None


# --- failures ----------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["directory", "open", "write", "flush", "rename", "sync"])
def test_a_failed_write_keeps_the_rows_and_leaves_no_file(
    directory: DataDirectory, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    store = ParquetStore(directory)
    store.add(trades([1, 2]), 3.0)
    where = only(store.pending())
    store.write(where)
    store.add(trades([3, 4]), 3.0)
    before = files(directory)
    fsyncs = 0

    def fail(*_args: Any, **_kwargs: Any) -> None:
        nonlocal fsyncs
        fsyncs += 1
        if step != "sync" or fsyncs == 2:  # the second is the directory's
            raise OSError(28, "disk full")

    broken: Any = {
        "directory": (Path, "is_dir"),
        "open": (Path, "open"),
        "write": (parquet, "write_table"),
        "flush": (os, "fsync"),
        "rename": (Path, "replace"),
        "sync": (os, "fsync"),
    }[step]
    with monkeypatch.context() as patch:
        patch.setattr(*broken, fail)
        with pytest.raises(OSError, match="disk full"):
            store.write(where)
    assert files(directory) == before
    assert (store.rows_pending, store.rows_written) == (2, 2)
    assert store.due(63.0) == [where]
    assert written(store.write(where)).rows == 2
    assert ordinals(directory) == [1, 2, 3, 4]


def test_events_that_no_file_can_hold_are_handed_back_and_the_others_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beyond = Decimal("0.0000000000000000001")
    rows = [trade(i, price=beyond if i in (2, 5) else Decimal(i), quantity=Decimal(1)) for i in range(8)]  # fmt: skip  # noqa: E501
    with open_data_directory(tmp_path, NumberMode.DECIMAL) as directory:
        for chunk_rows in (1, 4, 100):
            monkeypatch.setattr(parquet, "_CHUNK_ROWS", chunk_rows)
            store = ParquetStore(directory)
            for row in rows:
                store.add(Batch.of([row], numbers=NumberMode.DECIMAL), 0.0)
            file = written(store.write(only(store.pending())))
            (batch,) = read_batches(file.path, Trade)
            assert [row.ordinal for row in batch] == [0, 1, 3, 4, 6, 7]
            refused = store.take_refused()
            assert [each.event for each in refused] == [rows[2], rows[5]]
            assert all("price" in each.reason for each in refused)
            assert store.take_refused() == []
            assert (store.rows_written, store.rows_refused, store.rows_pending) == (6, 2, 0)


def test_nothing_but_refused_events_makes_no_file(directory: DataDirectory) -> None:
    store = ParquetStore(directory)
    store.add(Batch.of([trade(exchange_time=2**70)]), 0.0)
    assert store.write(only(store.pending())) is None
    assert store.pending() == []
    assert files(directory) == []
    (refused,) = store.take_refused()
    assert refused.event.exchange_time == 2**70  # type: ignore[union-attr]


def test_refused_events_are_handed_back_once_however_often_the_write_fails(
    directory: DataDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ParquetStore(directory)
    store.add(Batch.of([trade(1), trade(2, exchange_time=2**70)]), 0.0)
    where = only(store.pending())
    Meanwhile(monkeypatch, lambda: None, fails=2)
    for _ in range(2):
        with pytest.raises(OSError, match="disk full"):
            store.write(where)
        assert store.take_refused() == []
        assert store.rows_pending == 2
    assert written(store.write(where)).rows == 1
    assert len(store.take_refused()) == 1


def test_what_cannot_be_placed_is_refused_whole(directory: DataDirectory) -> None:
    store = ParquetStore(directory)
    exact = trades(price=Decimal(1), quantity=Decimal(1))
    with pytest.raises(DataDirectoryError, match=r"float numbers and cannot .* decimal"):
        store.add(exact, 0.0)
    with pytest.raises(NumberRangeError, match=str(2**64)):
        store.add(Batch.of([trade(), trade(receive_time=2**64)]), 0.0)
    with pytest.raises(DataDirectoryError, match="too long"):
        store.add(Batch.of([trade(), trade(symbol="x" * 300)]), 0.0)
    assert (store.rows_added, store.bytes_pending, store.pending()) == (0, 0, [])

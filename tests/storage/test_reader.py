from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from farm.batch import Batch
from farm.entities import Quote, Trade
from farm.errors import DataDirectoryError
from farm.storage.directory import DataDirectory, open_data_directory
from farm.storage.parquet import ParquetStore
from farm.storage.reader import read_batches
from farm.types import Exchange, Market, NumberMode
from tests.storage.events import DAY, NOON, columnar, quote, trades


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[DataDirectory]:
    with open_data_directory(tmp_path / "data", NumberMode.FLOAT) as directory:
        yield directory


def write_all(store: ParquetStore) -> Path:
    """Writes what is pending; the path of the last file."""
    for where in store.pending():
        file = store.write(where)
    assert file is not None
    return file.path


def ordinals(directory: DataDirectory) -> list[int]:
    return [row.ordinal for batch in read_batches(directory.path, Trade) for row in batch]


def test_reading_keeps_the_order_of_writing_even_if_the_clock_steps_back(
    directory: DataDirectory,
) -> None:
    store = ParquetStore(directory)
    for ordinal in range(12):  # more than one digit
        store.add(trades([ordinal], receive_time=NOON - ordinal), 0.0)
        write_all(store)
    assert ordinals(directory) == list(range(12))


def test_several_runs_write_into_one_directory(directory: DataDirectory) -> None:
    with open_data_directory(directory.path, NumberMode.FLOAT) as other:
        first, second = ParquetStore(directory), ParquetStore(other)
        for ordinal in range(4):
            store = second if ordinal % 2 else first
            store.add(trades([ordinal], receive_time=NOON), 0.0)
            write_all(store)
    assert sorted(ordinals(directory)) == [0, 1, 2, 3]
    assert ordinals(directory) in ([0, 2, 1, 3], [1, 3, 0, 2])


def test_reading_a_part(directory: DataDirectory) -> None:
    store = ParquetStore(directory)
    store.add(trades([1], symbol="a/b"), 0.0)
    store.add(columnar(trades([2], receive_time=NOON + DAY)), 0.0)
    store.add(trades([3], exchange=Exchange.BYBIT, market=Market.LINEAR), 0.0)
    store.add(Batch.of([quote(4)]), 0.0)
    write_all(store)

    def read(**part: Any) -> set[int]:
        return {
            row.ordinal for batch in read_batches(directory.path, Trade, **part) for row in batch
        }

    assert read() == {1, 2, 3}
    assert read(symbol="a/b") == {1}
    assert read(symbol="a") == set()
    assert read(day=date(2024, 8, 9)) == {2}
    assert read(exchange=Exchange.BYBIT) == {3}
    assert read(market=Market.SPOT, day=date(2024, 8, 8)) == {1}
    (quotes,) = read_batches(directory.path, Quote)
    assert quotes == Batch.of([quote(4)])


def test_reading_what_is_not_there(directory: DataDirectory, tmp_path: Path) -> None:
    store = ParquetStore(directory)
    assert list(read_batches(directory.path, Trade)) == []
    store.add(trades([1]), 0.0)
    file = write_all(store)
    with pytest.raises(DataDirectoryError, match="holds trade events"):
        list(read_batches(file, Quote))
    with pytest.raises(DataDirectoryError, match="nowhere: no such"):
        list(read_batches(tmp_path / "nowhere", Trade))
    file.write_bytes(b"PAR1")
    with pytest.raises(DataDirectoryError, match=file.name):
        list(read_batches(directory.path, Trade))

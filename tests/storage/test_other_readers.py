"""What other tools see in a data directory: pyarrow, DuckDB and Polars."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from farm.batch import Batch
from farm.entities import BookUpdate, Level
from farm.storage.directory import open_data_directory
from farm.storage.parquet import ParquetStore
from farm.storage.unparsed import UnparsedStore
from farm.types import BookVerdict, Exchange, Market, NumberMode
from tests.storage.events import NOON, frame, trade

HOSTILE = "a/../b=c%\\ \x00*?[d]+'\""
SYMBOLS = ["BTCUSDT", "币安人生USDT", HOSTILE, "1000"]


def number(mode: NumberMode, text: str) -> Any:
    return float(text) if mode is NumberMode.FLOAT else Decimal(text)


def book(mode: NumberMode, ordinal: int) -> BookUpdate:
    level = Level(number(mode, "10.5"), number(mode, "2"))
    return BookUpdate(
        Exchange.BYBIT, Market.LINEAR, "BTCUSDT", None, False, [level] * ordinal, [], 1, 1, None,
        None, BookVerdict.VERIFIED, NOON, None, NOON + ordinal, ordinal,
    )  # fmt: skip


@pytest.fixture(params=NumberMode, ids=lambda mode: mode.value)
def mode(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def data(tmp_path: Path, mode: NumberMode) -> Path:
    """Six trades of each symbol in three files, four book updates, and an unparsed frame.

    The run is still open: its temporaries and its lock are there.
    """
    directory = open_data_directory(tmp_path / "data", mode)
    store, unparsed = ParquetStore(directory), UnparsedStore(directory)
    price, quantity = number(mode, "10.5"), number(mode, "2")
    for step in range(3):
        rows = [
            trade(2 * step + i, symbol=symbol, price=price, quantity=quantity)
            for symbol in SYMBOLS
            for i in range(2)
        ]
        store.add(Batch.of(rows, numbers=mode), 0.0)
        for where in store.pending():
            store.write(where)
    store.add(Batch.of([book(mode, i) for i in range(4)], numbers=mode), 0.0)
    store.write(store.pending()[0])
    unparsed.add([frame()])
    assert len(unparsed.write()) == 1
    (directory.path / "_runs" / directory.run / "99.tmp").write_bytes(b"half a file")
    return directory.path


def test_pyarrow_reads_the_directory_as_it_is(data: Path) -> None:
    dataset = ds.dataset(data, partitioning="hive", format="parquet")
    assert len(dataset.files) == 13
    table = dataset.to_table()
    assert Counter(zip(table["kind"].to_pylist(), table["symbol"].to_pylist())) == {  # noqa: B905
        ("book", "BTCUSDT"): 4,
        **{("trade", symbol): 6 for symbol in SYMBOLS},
    }
    assert set(table["date"].to_pylist()) == {"2024-08-08"}


def test_pyarrow_reads_one_kind(data: Path, mode: NumberMode) -> None:
    files = [str(path) for path in data.glob("*/*/kind=trade/**/*.parquet")]
    table = ds.dataset(files, partitioning="hive", format="parquet").to_table(
        filter=pc.field("symbol") == "币安人生USDT"
    )
    assert table["price"].to_pylist() == [number(mode, "10.5")] * 6
    assert table["side"].to_pylist() == ["buy"] * 6
    assert min(table["receive_time_utc"].to_pylist()) == datetime(2024, 8, 8, 12, tzinfo=UTC)
    assert sorted(table["receive_time"].to_pylist()) == [NOON + i for i in range(6)]


def test_pyarrow_reads_a_single_file_with_its_partition(data: Path) -> None:
    (file,) = data.glob("*/*/kind=book/**/*.parquet")
    table = ds.dataset(file, partitioning="hive").to_table()
    assert table.drop_columns(["exchange", "market", "kind", "symbol", "date"]).equals(
        pq.read_table(file)
    )
    assert set(table["market"].to_pylist()) == {"linear"}
    assert [len(levels) for levels in table["bid_levels"].to_pylist()] == [0, 1, 2, 3]


def test_duckdb_reads_the_whole_tree(data: Path, mode: NumberMode) -> None:
    rows = duckdb.sql(
        f"""select kind, symbol, count(*), sum(quantity), any_value(date), any_value(market)
            from read_parquet('{data}/**/*.parquet', hive_partitioning=true, union_by_name=true)
            group by kind, symbol order by kind, symbol"""
    ).fetchall()
    day = date(2024, 8, 8)
    assert rows == [("book", "BTCUSDT", 4, None, day, "linear")] + [
        ("trade", symbol, 6, number(mode, "12"), day, "spot") for symbol in sorted(SYMBOLS)
    ]


def test_duckdb_reads_one_kind_without_options(data: Path) -> None:
    rows = duckdb.sql(
        f"""select receive_time, epoch_us(receive_time_utc), epoch_us(exchange_time_utc),
                   event_time_utc, typeof(receive_time_utc)
            from '{data}/*/*/kind=trade/**/*.parquet' where symbol = '币安人生USDT'
            order by ordinal"""
    ).fetchall()
    noon = NOON // 1_000
    assert rows == [(NOON + i, noon, noon - 1, None, "TIMESTAMP WITH TIME ZONE") for i in range(6)]


def test_duckdb_reads_levels_and_metadata(data: Path) -> None:
    assert duckdb.sql(
        f"select sum(len(bid_levels)) from '{data}/*/*/kind=book/**/*.parquet'"
    ).fetchall() == [(6,)]
    symbols = duckdb.sql(
        f"""select decode(value) from parquet_kv_metadata('{data}/**/*.parquet')
            where decode(key) = 'farm.symbol'"""
    ).fetchall()
    assert {symbol for (symbol,) in symbols} == set(SYMBOLS)


def test_polars_reads_one_kind(data: Path, mode: NumberMode) -> None:
    frame = pl.scan_parquet(f"{data}/*/*/kind=trade/**/*.parquet", hive_partitioning=True)
    counts = frame.group_by("symbol").len().sort("symbol").collect()
    assert counts.rows() == [(symbol, 6) for symbol in sorted(SYMBOLS)]
    one = frame.filter(pl.col("symbol") == HOSTILE).sort("ordinal").collect()
    assert one["price"].to_list() == [number(mode, "10.5")] * 6
    assert one["receive_time_utc"].dtype == pl.Datetime("us", "UTC")
    assert one["date"].to_list() == [date(2024, 8, 8)] * 6
    assert one["exchange"].to_list() == ["binance"] * 6


def test_polars_reads_the_whole_tree(data: Path) -> None:
    frame = pl.scan_parquet(
        f"{data}/**/*.parquet",
        hive_partitioning=True,
        missing_columns="insert",
        extra_columns="ignore",
    )
    counts = frame.group_by("kind").len().sort("kind").collect()
    assert counts.rows() == [("book", 4), ("trade", 24)]

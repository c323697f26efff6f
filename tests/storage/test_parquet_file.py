from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from farm.arrow import arrow_schema
from farm.batch import Batch, concat
from farm.entities import EVENT_KINDS, Gap, Trade
from farm.errors import DataDirectoryError
from farm.storage.parquet_file import UNFIT, partition_table, read_file, write_table
from farm.storage.partition import Partition, split_batch
from farm.types import DataType, Exchange, GapCause, GapUnit, Market, NumberMode
from tests.storage.events import NOON, columnar, quote, trade, trades


def table_of(batch: Batch[Any]) -> pa.Table:
    ((where, part),) = split_batch(batch)
    return partition_table(part, where)


def stored(batch: Batch[Any], path: Path) -> Path:
    with path.open("wb") as file:
        write_table(table_of(batch), file)
    return path


def test_the_columns_are_the_schemas_with_utc_beside_each_time(tmp_path: Path) -> None:
    times = {
        "exchange_time", "event_time", "receive_time", "open_time", "close_time",
        "start_time", "end_time", "next_funding_time", "onboard_time", "launch_time",
        "delivery_time",
    }  # fmt: skip
    seen = set()
    for data_type, kind in EVENT_KINDS.items():
        where = Partition(
            Exchange.BINANCE, Market.SPOT, data_type, "X", datetime.fromtimestamp(0, UTC).date()
        )
        table = partition_table(Batch(kind, rows=[], origins=[]), where)
        names = []
        for field in arrow_schema(kind):
            if field.name in ("exchange", "market", "symbol"):
                continue
            names.append(field.name)
            assert table.schema.field(field.name) == field
            if field.name in times:
                seen.add(field.name)
                utc = pa.field(f"{field.name}_utc", pa.timestamp("us", "UTC"), field.nullable)
                assert table.schema.field(utc.name) == utc
                names.append(utc.name)
        assert table.schema.names == names
    assert seen == times


@pytest.mark.parametrize("time", [NOON, NOON + 999, NOON + 1_000, 0, -1, -1_000, -1_001])
def test_times_are_rounded_down_to_microseconds(time: int, tmp_path: Path) -> None:
    expected = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time // 1_000)
    batch = Batch.of([trade(exchange_time=time, event_time=None)])
    for each in (batch, columnar(batch)):
        table = pq.read_table(stored(each, tmp_path / "file"))
        assert table["exchange_time"].to_pylist() == [time]
        assert table["exchange_time_utc"].to_pylist() == [expected]
        assert table["event_time_utc"].to_pylist() == [None]


def test_a_file_alone_says_what_it_is(tmp_path: Path) -> None:
    path = stored(trades(symbol="币安人生USDT"), tmp_path / "x.parquet")
    metadata = pq.read_metadata(path).metadata
    assert {k: v.decode() for k, v in metadata.items() if k.startswith(b"farm.")} == {
        b"farm.kind": "trade",
        b"farm.schema_version": "2",
        b"farm.numbers": "float",
        b"farm.exchange": "binance",
        b"farm.market": "spot",
        b"farm.symbol": "币安人生USDT",
        b"farm.date": "2024-08-08",
    }
    (batch,) = read_file(path)
    assert batch == trades(symbol="币安人生USDT")


def test_files_are_compressed_and_have_statistics(tmp_path: Path) -> None:
    metadata = pq.read_metadata(stored(trades(range(1, 10)), tmp_path / "file"))
    columns = [metadata.row_group(0).column(i) for i in range(metadata.num_columns)]
    assert {column.compression for column in columns} == {"ZSTD"}
    (ordinal,) = [column for column in columns if column.path_in_schema == "ordinal"]
    assert (ordinal.statistics.min, ordinal.statistics.max) == (1, 9)


def test_a_large_file_has_several_row_groups_and_keeps_its_order(tmp_path: Path) -> None:
    table = pa.concat_tables([table_of(trades(range(1000)))] * 140)
    with (tmp_path / "file").open("wb") as file:
        write_table(table, file)
    parts = list(read_file(tmp_path / "file"))
    assert [len(part) for part in parts] == [131_072, 8_928]
    assert concat(parts).columns["ordinal"].tolist() == list(range(1000)) * 140  # type: ignore[union-attr]


def test_a_gap_comes_back(tmp_path: Path) -> None:
    gap = Gap(
        Exchange.BYBIT, Market.LINEAR, "X", "bybit/linear/X/trade", "venue", GapCause.DISCONNECT,
        None, None, NOON - 5, None, None, GapUnit.UNKNOWN, False, NOON, 3,
    )  # fmt: skip
    (batch,) = read_file(stored(Batch.of([gap], connection="c"), tmp_path / "file"))
    assert batch == Batch.of([gap], connection="c")
    table = pq.read_table(tmp_path / "file")
    assert table["start_time_utc"].to_pylist() == [
        datetime(2024, 8, 8, 11, 59, 59, 999_999, tzinfo=UTC)
    ]
    assert table["end_time_utc"].null_count == 1


@pytest.mark.parametrize(
    "unfit",
    [
        {"exchange_time": 2**63},
        {"id": "\ud800"},
        {"id": 5},
        {"ordinal": "five"},
    ],
)
def test_what_no_file_can_hold_raises_one_of_the_named_errors(unfit: dict[str, Any]) -> None:
    where = Partition(Exchange.BINANCE, Market.SPOT, DataType.TRADE, "BTCUSDT", date(2024, 8, 8))
    with pytest.raises(UNFIT):
        partition_table(Batch.of([trade(**unfit)]), where)


def test_a_number_mode_that_the_rows_do_not_have_is_unfit() -> None:
    batch = Batch(Trade, rows=[trade()], origins=trades().origins, numbers=NumberMode.DECIMAL)
    ((where, part),) = split_batch(batch)
    with pytest.raises(UNFIT):
        partition_table(part, where)


def test_a_foreign_or_damaged_file_is_named(tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.parquet"
    pq.write_table(pa.table({"a": [1]}), foreign)
    with pytest.raises(DataDirectoryError, match=r"foreign\.parquet: not a file of farm's"):
        next(read_file(foreign))
    whole = stored(Batch.of([quote(i) for i in range(100)]), tmp_path / "whole").read_bytes()
    for damaged in (b"", whole[:-20], whole[:200] + bytes(600) + whole[800:]):
        (tmp_path / "damaged.parquet").write_bytes(damaged)
        with pytest.raises(DataDirectoryError, match=r"damaged\.parquet"):
            list(read_file(tmp_path / "damaged.parquet"))


def test_another_schema_version_is_refused(tmp_path: Path) -> None:
    table = table_of(trades())
    newer = table.replace_schema_metadata({**table.schema.metadata, b"farm.schema_version": b"99"})
    buffer = BytesIO()
    write_table(newer, buffer)
    (tmp_path / "newer").write_bytes(buffer.getvalue())
    with pytest.raises(DataDirectoryError, match="schema version 99"):
        list(read_file(tmp_path / "newer"))

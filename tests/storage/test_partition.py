from __future__ import annotations

import random
from datetime import date
from typing import Any
from urllib.parse import unquote

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm.batch import Batch, concat
from farm.entities import BookUpdate
from farm.errors import DataDirectoryError, NumberRangeError
from farm.storage.partition import Partition, encode_symbol, split_batch
from farm.types import DataType, Exchange, Market, NumberMode
from tests.storage.events import DAY, NOON, columnar, stored_batches, trade, trades
from tests.strategies import TEXTS, batches


def expected(batch: Batch[Any]) -> dict[tuple[Any, ...], list[Any]]:
    """Rows by what they say of themselves."""
    groups: dict[tuple[Any, ...], list[Any]] = {}
    for row in batch.rows:
        key = (row.exchange, row.market, row.symbol, row.receive_time // DAY)
        groups.setdefault(key, []).append(row)
    return groups


def found(parts: list[tuple[Partition, Batch[Any]]]) -> dict[tuple[Any, ...], list[Any]]:
    groups: dict[tuple[Any, ...], list[Any]] = {}
    for where, part in parts:
        day = (where.date - date(1970, 1, 1)).days
        groups.setdefault((where.exchange, where.market, where.symbol, day), []).extend(part.rows)
    return groups


@given(st.sampled_from(NumberMode).flatmap(stored_batches))
def test_each_row_goes_to_its_partition_in_order(batch: Batch[Any]) -> None:
    parts = split_batch(batch)
    assert found(parts) == expected(batch)
    assert all(where.data_type is batch.data_type for where, _ in parts)
    assert abs(sum(part.nbytes for _, part in parts) - batch.nbytes) <= len(parts)
    for _, part in parts:
        assert len(part) == len(part.rows) > 0


@given(batches(kind=BookUpdate), st.randoms(use_true_random=False))
def test_levels_go_with_their_update(batch: Batch[Any], chance: random.Random) -> None:
    for row in batch.rows:
        row.symbol, row.receive_time = chance.choice("ABC"), NOON
    assert found(split_batch(columnar(batch))) == expected(batch)


def test_order_is_kept_in_a_large_batch() -> None:
    batch = columnar(trades(range(1000)))
    batch.columns["symbol"][::3] = "X"  # type: ignore[index]
    for _, part in split_batch(batch):
        ordinals = part.columns["ordinal"].tolist()  # type: ignore[union-attr]
        assert ordinals == sorted(ordinals)


def test_origins_go_with_their_rows() -> None:
    first = Batch.of([trade(0), trade(1, symbol="X")], connection="a", epoch=1)
    second = Batch.of([trade(2), trade(3, symbol="X")], connection="b", epoch=2)
    whole = concat([first, second])
    for batch in (whole, columnar(whole)):
        found_runs = [
            (where.symbol, origin.connection, origin.epoch, count, part.rows[0].ordinal)
            for where, part in split_batch(batch)
            for origin, count in part.origins
        ]
        assert found_runs == [
            ("BTCUSDT", "a", 1, 1, 0),
            ("X", "a", 1, 1, 1),
            ("BTCUSDT", "b", 2, 1, 2),
            ("X", "b", 2, 1, 3),
        ]


def test_a_batch_of_one_partition_is_not_copied() -> None:
    for batch in (trades(range(5)), columnar(trades(range(5)))):
        ((where, part),) = split_batch(batch)
        assert part is batch
        assert where == Partition(
            Exchange.BINANCE, Market.SPOT, DataType.TRADE, "BTCUSDT", date(2024, 8, 8)
        )


def test_columns_stay_columns() -> None:
    batch = columnar(trades([0, 1]))
    batch.columns["symbol"][1] = "X"  # type: ignore[index]
    assert [part._rows for _, part in split_batch(batch)] == [None, None]


def test_an_empty_batch_has_no_part() -> None:
    empty = trades()[:0]
    assert split_batch(empty) == []
    assert split_batch(columnar(empty)) == []


def test_the_date_is_the_receive_times_in_utc() -> None:
    midnight = NOON + DAY // 2
    batch = Batch.of([trade(receive_time=midnight - 1), trade(receive_time=midnight)])
    for each in (batch, columnar(batch)):
        assert [str(where.date) for where, _ in split_batch(each)] == ["2024-08-08", "2024-08-09"]


@pytest.mark.parametrize("time", [2**63, 2**63 - 1, -(2**63), -(2**80), 10**30])
def test_a_time_beyond_the_calendar_is_named(time: int) -> None:
    batch = Batch.of([trade(), trade(receive_time=time)])
    with pytest.raises(NumberRangeError, match=f"receive time {time} ns is not between 1677"):
        split_batch(batch)
    if -(2**63) <= time < 2**63:
        with pytest.raises(NumberRangeError, match=str(time)):
            split_batch(columnar(batch))


@pytest.mark.parametrize(
    ("symbol", "name"),
    [
        ("BTCUSDT", "BTCUSDT"),
        ("BTC-26SEP25-100000-C", "BTC-26SEP25-100000-C"),
        ("BTCUSD_PERP", "BTCUSD_PERP"),
        ("币安人生USDT", "币安人生USDT"),
        ("a/b\\c=d%e", "a%2Fb%5Cc%3Dd%25e"),
        ("../..", "..%2F.."),
        ("x\x00\n \u202e", "x%00%0A%20%E2%80%AE"),
        ("*?[a]+", "%2A%3F%5Ba%5D%2B"),
        ("", ""),
    ],
)
def test_symbols_in_paths(symbol: str, name: str) -> None:
    assert encode_symbol(symbol) == name
    where = Partition(Exchange.BYBIT, Market.LINEAR, DataType.BOOK, symbol, date(2024, 8, 8))
    assert str(where.path) == (
        f"exchange=bybit/market=linear/kind=book/symbol={name}/date=2024-08-08"
    )


@given(TEXTS)
def test_every_symbol_is_one_name_that_decodes(symbol: str) -> None:
    name = encode_symbol(symbol)
    assert unquote(name) == symbol
    assert "/" not in name
    assert name.isprintable()


@pytest.mark.parametrize(
    ("symbol", "reason"), [("x" * 249, "too long"), ("币" * 83, "too long"), ("\ud800", "makes no")]
)
def test_a_symbol_that_makes_no_name_is_refused(symbol: str, reason: str) -> None:
    with pytest.raises(DataDirectoryError, match=reason):
        split_batch(trades(symbol=symbol))
    with pytest.raises(DataDirectoryError, match=reason):
        split_batch(columnar(trades(symbol=symbol)))


def test_partitions_are_values() -> None:
    ((where, _),) = split_batch(trades())
    assert {where: 1}[attrs.evolve(where)] == 1

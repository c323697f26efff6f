"""Reads stored events back as batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import TypeVar, cast

from farm.batch import Batch
from farm.entities import Event, data_type_of
from farm.errors import DataDirectoryError
from farm.storage.parquet_file import read_file
from farm.storage.partition import encode_symbol
from farm.types import Exchange, Market, Symbol

__all__ = ["read_batches"]

E = TypeVar("E", bound=Event)


def read_batches(
    path: Path,
    kind: type[E],
    *,
    exchange: Exchange | None = None,
    market: Market | None = None,
    symbol: Symbol | None = None,
    day: date | None = None,
) -> Iterator[Batch[E]]:
    """Stored events of one kind, from a data directory or from a single file.

    Partition after partition, by path; in each the files of one run after those of another, each
    run's in the order written. A batch for each row group, equal to what was added but for how it
    is cut.

    Raises:
        DataDirectoryError: nothing at `path`; a file that is damaged, or not one of farm's, or
            (if it is named itself) of another kind.
    """
    if not path.exists():
        raise DataDirectoryError(f"{path}: no such file or directory")
    if path.is_file():
        files = [path]
    else:
        wanted = {
            "exchange": exchange and exchange.value,
            "market": market and market.value,
            "kind": data_type_of(kind).value,
            "symbol": None if symbol is None else encode_symbol(symbol),
            "date": day and day.isoformat(),
        }
        pattern = [f"{name}={'*' if value is None else value}" for name, value in wanted.items()]
        files = [
            file
            for partition in sorted(path.glob("/".join(pattern)))
            for file in _in_order(list(partition.glob("*.parquet")))
        ]
    for file in files:
        for batch in read_file(file):
            if batch.kind is not kind:
                raise DataDirectoryError(f"{file}: holds {batch.data_type.value} events")
            yield cast("Batch[E]", batch)


def _in_order(files: Sequence[Path]) -> list[Path]:
    """Files of a partition: runs by their earliest start, each run's files by number."""
    names: dict[Path, tuple[str, str, int]] = {}
    for file in files:
        start, _, rest = file.stem.partition("-")
        run, _, number = rest.partition("-")
        names[file] = (start, run, int(number) if number.isdecimal() else 0)
    first: dict[str, str] = {}
    for start, run, _ in names.values():
        first[run] = min(start, first.get(run, start))

    def place(file: Path) -> tuple[str, str, int]:
        _, run, number = names[file]
        return first[run], run, number

    return sorted(files, key=place)

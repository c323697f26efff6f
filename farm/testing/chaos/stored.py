"""What a data directory holds after a run, read without farm's own readers."""

from __future__ import annotations

from pathlib import Path

import attrs
import pyarrow.parquet as pq

from farm import Gap
from farm.types import Symbol

__all__ = ["left_behind", "stored_gaps", "stored_trades"]


def stored_trades(data: Path) -> list[tuple[Symbol, str]]:
    """Symbol and id of every trade in the directory, as often as it is there."""
    found = []
    for file in sorted(data.glob("exchange=*/market=*/kind=trade/symbol=*/**/*.parquet")):
        symbol = next(part for part in file.parts if part.startswith("symbol="))
        ids = pq.ParquetFile(file).read(columns=["id"]).column("id").to_pylist()
        found += [(symbol.removeprefix("symbol="), number) for number in ids]
    return found


def stored_gaps(data: Path) -> list[Gap]:
    """Every gap in the directory."""
    found: list[Gap] = []
    for file in sorted(data.glob("exchange=*/market=*/kind=gap/symbol=*/**/*.parquet")):
        names = dict(part.split("=") for part in file.parts if "=" in part)
        for row in pq.ParquetFile(file).read().to_pylist():
            known = {
                field.name: row[field.name] for field in attrs.fields(Gap) if field.name in row
            }
            known |= {name: names[name] for name in ("exchange", "market", "symbol")}
            found.append(Gap(**known))
    return found


def left_behind(data: Path) -> list[str]:
    """Files of runs that have ended, and temporary ones."""
    return [str(file.relative_to(data)) for file in data.glob("_runs/*/*")]

"""What a data directory holds after a run, read without farm's own readers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pyarrow.parquet as pq

from farm import Gap
from farm.testing.chaos.truth import Truth
from farm.types import Symbol

__all__ = ["left_behind", "stored_gaps", "stored_trades", "wrongly_stored"]


def stored_trades(data: Path) -> list[tuple[Symbol, str]]:
    """Symbol and id of every trade in the directory, as often as it is there."""
    return [(symbol, row["id"]) for symbol, row in _trade_rows(data, "id")]


def wrongly_stored(data: Path, truth: Truth) -> list[str]:
    """What the directory says of trades that was not so."""
    found = []
    for symbol, row in _trade_rows(data, "id", "price", "quantity"):
        true = truth.trades.get(symbol, {}).get(row["id"])
        if true is None:
            found.append(f"{symbol} trade {row['id']} is stored and never happened")
        elif (true.price, true.quantity) != (float(row["price"]), float(row["quantity"])):
            wrong, right = f"{row['price']} x {row['quantity']}", f"{true.price} x {true.quantity}"
            found.append(f"{symbol} trade {row['id']} is stored as {wrong}, not {right}")
    return found


def _trade_rows(data: Path, *columns: str) -> Iterator[tuple[Symbol, dict[str, Any]]]:
    for file in sorted(data.glob("exchange=*/market=*/kind=trade/symbol=*/**/*.parquet")):
        symbol = next(part for part in file.parts if part.startswith("symbol="))
        for row in pq.ParquetFile(file).read(columns=list(columns)).to_pylist():
            yield symbol.removeprefix("symbol="), row


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

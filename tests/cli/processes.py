"""The command line as a user meets it: real processes, real files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb

FARM = [sys.executable, "-m", "farm.cli"]
PATIENCE = 120.0


def farm(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [*FARM, *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=cwd, timeout=PATIENCE, check=False
    )


def stored_counts(directory: Path) -> dict[str, int]:
    """Rows by feed kind, as DuckDB finds them."""
    rows = duckdb.sql(
        "SELECT exchange || '/' || market || '/' || symbol || '/' || kind AS feed, count(*) "
        f"FROM read_parquet('{directory}/**/*.parquet', union_by_name = true) GROUP BY 1"
    ).fetchall()
    return dict(rows)


def summary_counts(summary: dict[str, Any]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name, feed in summary["feeds"].items():
        kind = name.split(":")[0]
        if feed["events"]:
            counts[kind] = counts.get(kind, 0) + feed["events"]
        if feed["gaps"]:
            gap = kind.rsplit("/", 1)[0] + "/gap"
            counts[gap] = counts.get(gap, 0) + feed["gaps"]
    return counts

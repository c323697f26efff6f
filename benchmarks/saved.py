"""Reports as files: what one run of the benchmarks found, as JSON, and back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import cattrs

from benchmarks.result import Report

__all__ = ["UnreadableReport", "as_json", "load", "parsed"]


class UnreadableReport(Exception):
    """A file holds no reports; the message names it, and says what is wrong."""


def as_json(reports: Iterable[Report], failed: Mapping[str, str]) -> dict[str, Any]:
    """One run as JSON types: its reports, and why benchmarks failed, by name."""
    return {"reports": [report.to_json() for report in reports], "failed": dict(failed)}


def load(path: Path) -> list[Report]:
    """The reports of a run, or the one that a benchmark printed with ``--json``.

    Raises:
        UnreadableReport: there is no such file, or it is none of these.
    """
    try:
        text = path.read_text()
    except OSError as error:
        raise UnreadableReport(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UnreadableReport(f"{path}: not JSON: {error}") from error
    return parsed(text, str(path))


def parsed(text: str, source: str) -> list[Report]:
    """The reports in a text; `source` is what errors call it.

    Raises:
        UnreadableReport: it holds none.
    """
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise UnreadableReport(f"{source}: not JSON: {error}") from error
    if isinstance(data, dict) and "benchmark" in data:
        data = {"reports": [data]}
    if not isinstance(data, dict) or not isinstance(data.get("reports"), list):
        raise UnreadableReport(f"{source}: no report of a benchmark: no 'benchmark' or 'reports'")
    try:
        return cattrs.structure(data["reports"], list[Report])
    except cattrs.BaseValidationError as error:
        faults = "; ".join(cattrs.transform_error(error, path="reports"))
        raise UnreadableReport(f"{source}: no report of a benchmark: {faults}") from error

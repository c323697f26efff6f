"""What a running farm tells those who ask it."""

from __future__ import annotations

import os
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs

from farm.api.farm import Farm
from farm.api.health import judge
from farm.errors import ControlError

__all__ = ["Answers"]


class Answers:
    """What a running farm tells those who ask it: ``farm ps`` and ``farm status``."""

    def __init__(self, farm: Farm, data: Path | None) -> None:
        """To be made when the farm has come to stand."""
        self._farm = farm
        self._data = str(data.resolve()) if data is not None else None
        self._since = datetime.now(UTC).isoformat(timespec="seconds")
        self._started = time.monotonic()

    def __call__(self, what: str) -> dict[str, Any]:
        """The answer. ControlError for what can't be asked."""
        if what not in ("ps", "status"):
            raise ControlError(f"{what!r} can't be asked; ps and status can")
        stats = self._farm.stats()
        run = {
            "pid": os.getpid(),
            "since": self._since,
            "seconds": round(time.monotonic() - self._started, 3),
            "data": self._data,
        }
        processes = [attrs.asdict(process) for process in stats.processes]
        if what == "ps":
            return {**run, "processes": processes}
        health = attrs.asdict(judge(stats))
        return {
            **health,
            "state": health["state"].value,
            **run,
            "totals": attrs.asdict(stats.totals),
            "feeds": Counter(feed.state for feed in stats.feeds if feed.state),
            "books": Counter(feed.book.verdict for feed in stats.feeds if feed.book is not None),
            "connections": Counter(connection.status for connection in stats.connections),
            "processes": processes,
            "edges": [attrs.asdict(edge) for edge in stats.edges],
            "rows_written": stats.rows_written,
            "files_written": stats.files_written,
        }

"""What a contender's user does with each trade: count, sum, and note the time; the same for all.

The clocks run from the first trade to the last: starting, importing and connecting cost nothing.
The process ends where the last trade has come, or none has for a while: nobody's way of winding up
is measured. The result is one JSON line. The standard library alone.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.contenders.task import Task

__all__ = ["Tally"]

PATIENCE = 3.0
"""Seconds without a trade after which no more is waited for."""

LOOK = 0.25


class Tally:
    """`take` is called with the id and the quantity of every trade, `take_all` with those of
    several at once. `at_end` gives what else is to be told."""

    def __init__(self, task: Task, at_end: Callable[[], dict[str, Any]] = dict) -> None:
        self._task = task
        self._at_end = at_end
        self._total = task.total
        self._first_id = task.first_id
        self._seen = 0
        self._volume: Any = 0
        self._stamps = array("q", bytes(8 * task.total)) if task.paced else array("q")
        self._start = self._cpu = 0.0
        self.take = self._take_and_stamp if task.paced else self._take
        threading.Thread(target=self._watch, daemon=True).start()

    def _take(self, _trade_id: str, quantity: Any) -> None:
        if not self._seen:
            self._begin()
        self._seen += 1
        self._volume += quantity
        if self._seen == self._total:
            self.finish()

    def _take_and_stamp(self, trade_id: str, quantity: Any) -> None:
        self._stamps[int(trade_id) - self._first_id] = time.monotonic_ns()
        self._take(trade_id, quantity)

    def take_all(self, count: int, volume: float) -> None:
        """Several trades; of a flood only, for there are no times."""
        if not self._seen:
            self._begin()
        self._seen += count
        self._volume += volume
        if self._seen >= self._total:
            self.finish()

    def finish(self) -> None:
        """The last trade has come: tell what was seen, and end the process."""
        self._end(time.monotonic(), time.process_time())

    def _begin(self) -> None:
        self._start, self._cpu = time.monotonic(), time.process_time()

    def _watch(self) -> None:
        """End where trades are missing, as of the last that came."""
        seen, last = 0, (0.0, 0.0)
        while True:
            time.sleep(LOOK)
            now = time.monotonic(), time.process_time()
            if self._seen != seen:
                seen, last = self._seen, now
            elif seen and now[0] - last[0] > PATIENCE:
                self._end(*last)

    def _end(self, stop: float, cpu: float) -> None:
        if self._stamps:
            Path(self._task.stamps).write_bytes(self._stamps.tobytes())
        result = {
            "events": self._seen,
            "seconds": stop - self._start,
            "cpu": cpu - self._cpu,
            "volume": float(self._volume),
        }
        sys.stdout.write(json.dumps(result | self._at_end()) + "\n")
        sys.stdout.flush()
        os._exit(0)

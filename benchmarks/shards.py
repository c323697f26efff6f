"""Farms in several processes: what a second one is worth, what it costs, and what fails in it.

*Work*: shards whose connections read frames that were made beforehand, through all of the line, on
to the parent, who reads counts alone, or the columns of everything (:mod:`benchmarks.shard_work`).
*Link*: a batch that crosses from one process to another, CPU time of both
(:mod:`benchmarks.shard_link`). *Times* of starts, and of real signals to real processes, with fake
exchanges in another (:mod:`benchmarks.shard_times`); of these the worst is told, too.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.console import command_line
from benchmarks.result import Report
from benchmarks.shard_link import link_cases
from benchmarks.shard_times import failure_cases, start_cases
from benchmarks.shard_work import work_cases

__all__ = ["main", "run"]


def run(rounds: int, quick: bool) -> Report:
    """All of it."""
    with _unheard():
        cases = [
            *work_cases(rounds, quick),
            *link_cases(rounds, quick),
            *start_cases(rounds, quick),
            *failure_cases(rounds, quick),
        ]
    return Report("shards", "Farms in several processes", cases)


@contextmanager
def _unheard() -> Iterator[None]:
    """What farm logs of shards that are killed is written, as it always is, but to nowhere."""
    log = logging.getLogger("farm")
    propagate, log.propagate = log.propagate, False
    with Path(os.devnull).open("w") as nowhere:
        handler = logging.StreamHandler(nowhere)
        log.addHandler(handler)
        try:
            yield
        finally:
            log.removeHandler(handler)
            log.propagate = propagate


def main(arguments: Sequence[str] | None = None) -> None:
    command_line("shards", __doc__, run, arguments)


if __name__ == "__main__":
    main()

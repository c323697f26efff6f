"""Which CPU a process runs on, where the system lets it choose."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from pathlib import Path

__all__ = ["pin_to_cpu"]

_THREADS = Path("/proc/self/task")

log = logging.getLogger("farm.cluster")


def pin_to_cpu(index: int) -> None:
    """Keep this process, all its threads, on one of the CPUs that it may use, the `index`-th of
    them (from 0, round and round).

    Does nothing where the system knows no affinity; where it refuses, that is logged.
    """
    if not hasattr(os, "sched_setaffinity"):
        return
    cpus = sorted(os.sched_getaffinity(0))
    try:
        os.sched_setaffinity(0, {cpus[index % len(cpus)]})  # this thread, and all that it starts
        for thread in _other_threads():
            with suppress(ProcessLookupError):  # it has ended
                os.sched_setaffinity(thread, {cpus[index % len(cpus)]})
    except OSError as error:
        log.warning("the process could not be kept on one CPU: %s", error)


def _other_threads() -> list[int]:
    try:
        return [int(entry.name) for entry in _THREADS.iterdir()]
    except FileNotFoundError:
        return []  # without /proc nobody tells

"""The same work in one process, in one shard, and in two: events a second, and their CPU time."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs

from benchmarks.contenders.race import Contender, RaceFailed, told_by
from benchmarks.result import Case, Figure
from benchmarks.rounds import in_rounds
from benchmarks.shard_replay import BOOKS, TRADES_AND_QUOTES, Replay

__all__ = ["ALONE", "CONNECTIONS", "ONE_SHARD", "TWO_SHARDS", "Work", "measure", "work_cases"]

CONNECTIONS = 2
GOAL = 1.8

ALONE, ONE_SHARD, TWO_SHARDS = "farm, one process", "farm, 1 shard", "farm, 2 shards"
_SHARDS = {TWO_SHARDS: 2, ONE_SHARD: 1, ALONE: 0}
ONE_LOOP, TWO_LOOPS = "one loop", "two at once"

_LOOP = "x = 0\nfor i in range({turns}): x = (x * 31 + i) % 1000003"
"""What shares nothing with anybody, not even a cache."""


@attrs.frozen
class Work:
    """What two connections read, ``of_each`` messages of each of these streams; with ``columns``
    the parent reads the columns of all of it, else nothing but counts."""

    name: str
    streams: tuple[str, ...]
    of_each: int
    columns: bool


def work_cases(rounds: int, quick: bool) -> list[Case]:
    """Trades and quotes, and books; and what two processes are worth on this machine at all."""
    messages, diffs = (5_000, 500) if quick else (150_000, 15_000)
    works = [
        Work("trades and quotes, the parent reads counts", TRADES_AND_QUOTES, messages, False),
        Work("trades and quotes, the parent reads columns", TRADES_AND_QUOTES, messages, True),
        Work("books kept, the parent reads counts", BOOKS, diffs, False),
    ]
    cases = [_case(work, rounds) for work in (works[:1] if quick else works)]
    return [*cases, _loops(200_000 if quick else 10_000_000, rounds)]


def _case(work: Work, rounds: int) -> Case:
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in _SHARDS}

    def runner(name: str) -> Callable[[], float]:
        def run_once() -> float:
            told = measure(work, _SHARDS[name])
            found[name].append(told)
            rate: float = told["events"] / told["seconds"]
            return rate

        return run_once

    values = in_rounds({name: runner(name) for name in _SHARDS}, rounds)
    figures = [Figure(name, values[name], 1.0, extra=_extra(name, found[name])) for name in values]
    note = f"{CONNECTIONS} connections, from memory"
    case = Case(work.name, "events/s", figures, lower_is_better=False, note=note)
    case.aim(TWO_SHARDS, ONE_SHARD, GOAL)
    return case


def _extra(name: str, found: list[dict[str, Any]]) -> dict[str, float]:
    def micros(key: str) -> float:
        return statistics.median(float(told[key] / told["events"] * 1e6) for told in found)

    if name == ALONE:
        return {"CPU us": micros("cpu")}
    return {"CPU us in shards": micros("cpu of shards"), "in the parent": micros("cpu")}


def measure(work: Work, shards: int) -> dict[str, Any]:
    """One run. RaceFailed where it fails, or something is missing."""
    with tempfile.TemporaryDirectory() as directory:
        replay = Replay(work.streams, work.of_each, directory)
        options = {
            "replay": attrs.asdict(replay),
            "connections": CONNECTIONS,
            "shards": shards,
            "columns": work.columns,
        }
        told = told_by(Contender(work.name, "farm_shards", options), {}, Path(directory))
    wanted = replay.events * CONNECTIONS
    if told["events"] != wanted or told["gaps"]:
        raise RaceFailed(
            f"{work.name}, {shards} shards: {told['events']} of {wanted} events, and "
            f"{told['gaps']} gaps"
        )
    return told


def _loops(turns: int, rounds: int) -> Case:
    """Turns a second of loops of Python."""

    def runner(count: int) -> Callable[[], float]:
        def run_once() -> float:
            command = [sys.executable, "-c", _LOOP.format(turns=turns)]
            start = time.monotonic()
            processes = [subprocess.Popen(command) for _ in range(count)]
            for process in processes:
                process.wait()
            return count * turns / (time.monotonic() - start)

        return run_once

    names = {TWO_LOOPS: 2, ONE_LOOP: 1}
    values = in_rounds({name: runner(count) for name, count in names.items()}, rounds)
    figures = [Figure(name, values[name]) for name in names]
    note = "what a second process is worth on this machine: more than that nobody can gain"
    return Case("a loop of Python", "turns/s", figures, lower_is_better=False, note=note)

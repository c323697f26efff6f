"""How long it takes until a shard stands, until its end is noticed, and until another has taken its
place; all of it with real processes and real signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import attrs
import trio

from benchmarks.result import Case, Figure, Goal
from benchmarks.shard_farms import (
    HANG_SECONDS,
    ROOT,
    all_live,
    children,
    config,
    served,
    wait_until,
)
from farm import BookUpdate, Farm, Quote, Trade, open_farm
from farm.actors.supervisor import Lifecycle, LifecycleEvents
from farm.cluster.link import Link
from farm.cluster.process import start_process

__all__ = ["failure_cases", "longest_pause", "start_cases"]

WINDOW = 1.5
"""Seconds before and after a kill in which the pauses of others are looked at."""

SPARE_SECONDS = 2.0
"""Between two failures, for the next spare to stand; in a quick run it may come too late."""

GONE_EVERY = 0.001
EVENTS = (Trade, Quote, BookUpdate)


# ------------------------------------------------------------------------------------------ starts
def start_cases(rounds: int, quick: bool) -> list[Case]:
    """A shard's start, and unless `quick` a farm's, which those that fail have as well."""
    bare = [_seconds_of([sys.executable, "-P", "-c", "pass"]) for _ in range(rounds)]
    stands = [trio.run(_stand) for _ in range(rounds)]
    figures = [Figure("a shard, to Ready", stands), Figure("python -c pass", bare)]
    cases = [Case("start of a process", "ms", figures)]
    if quick:
        return cases
    with served() as endpoints:
        farms = [
            Figure(name, [trio.run(_first_event, endpoints, count) for _ in range(rounds)])
            for name, count in (("2 shards", 2), ("one process", 1))
        ]
    note = "two connections to fake exchanges"
    cases.append(Case("opening of a farm to its first event", "ms", farms, note=note))
    return cases


def _seconds_of(command: Sequence[str]) -> float:
    start = time.monotonic()
    subprocess.run(command, check=True)
    return (time.monotonic() - start) * 1e3


async def _stand() -> float:
    async with trio.open_nursery() as nursery:
        start = time.monotonic()
        process = await start_process("shard", nursery)
        try:
            await Link(process.stream).receive()
            return (time.monotonic() - start) * 1e3
        finally:
            await process.aclose()


async def _first_event(endpoints: dict[str, Any], processes: int) -> float:
    start = time.monotonic()
    async with open_farm(config(endpoints, processes)) as farm, farm.subscribe(*EVENTS) as batches:
        await anext(aiter(batches))
        took = (time.monotonic() - start) * 1e3
        farm.abort()
    return took


# ---------------------------------------------------------------------------------------- failures
@attrs.frozen
class Killed:
    """Milliseconds from a SIGKILL, and the longest pauses of the other shard's events."""

    seen: float
    assigned: float
    first_event: float
    pause: float
    pause_before: float


def failure_cases(rounds: int, quick: bool) -> list[Case]:
    """SIGKILL and SIGSTOP of a shard, SIGKILL of the parent; each `rounds` times."""
    with served() as endpoints:
        killed, stopped = trio.run(
            _have_fail, endpoints, rounds, WINDOW / 2 if quick else SPARE_SECONDS
        )
        orphans = [_kill_parent(endpoints) for _ in range(rounds)]

    def figure(name: str, of: Callable[[Killed], float]) -> Figure:
        return _figure(name, list(map(of, killed)))

    died = Case(
        "a shard is killed (SIGKILL)",
        "ms",
        [
            figure("seen", lambda k: k.seen),
            figure("the spare assigned", lambda k: k.assigned),
            figure("its first event in the parent", lambda k: k.first_event),
        ],
    )
    died.goals = [_goal(died.figures[0], 10), _goal(died.figures[1], 200)]
    others = Case(
        "longest pause of the other shard's events",
        "ms",
        [
            figure("after the kill", lambda k: k.pause),
            figure("before it", lambda k: k.pause_before),
        ],
        note=f"within {WINDOW:g} s",
    )
    others.goals = [_goal(others.figures[0], 50)]
    note = f"ended after {HANG_SECONDS:g} s without a beat, of which it sends four a second"
    hung = Case("a shard hangs (SIGSTOP)", "ms", [_figure("seen", stopped)], note=note)
    left = Case("the parent is killed", "ms", [_figure("until its last shard is gone", orphans)])
    left.goals = [_goal(left.figures[0], 2_000)]
    return [died, others, hung, left]


def _figure(name: str, values: list[float]) -> Figure:
    return Figure(name, values, extra={"worst": max(values)})


def _goal(figure: Figure, most: float) -> Goal:
    return Goal(f"{figure.contender}, the worst, ms", figure.high, most, at_least=False)


async def _have_fail(
    endpoints: dict[str, Any], rounds: int, pause: float
) -> tuple[list[Killed], list[float]]:
    killed, stopped = [], []
    async with open_farm(config(endpoints)) as farm, trio.open_nursery() as nursery:
        arrivals = _Arrivals()
        await nursery.start(arrivals.follow, farm)
        with farm.lifecycle() as events:
            for number in range(2 * rounds):
                await wait_until(lambda: all_live(farm))
                await trio.sleep(pause)
                process = farm.stats().processes[1 + number // 2 % 2]
                if number % 2:
                    os.kill(process.pid, signal.SIGSTOP)
                    stopped.append(await _time_until(events, process.name, Lifecycle.CRASHED))
                else:
                    killed.append(await _kill(process.name, process.pid, events, arrivals))
        nursery.cancel_scope.cancel()
    return killed, stopped


async def _kill(name: str, pid: int, events: LifecycleEvents, arrivals: _Arrivals) -> Killed:
    known = set(arrivals.times)
    start = trio.current_time()
    os.kill(pid, signal.SIGKILL)
    seen = await _time_until(events, name, Lifecycle.CRASHED, start)
    assigned = await _time_until(events, name, Lifecycle.HEALTHY, start)
    await wait_until(lambda: bool(set(arrivals.times) - known))
    first = min(arrivals.times[new][0] for new in set(arrivals.times) - known)
    await trio.sleep_until(start + WINDOW)
    others = [c for c in known if arrivals.times[c][-1] > start + WINDOW / 2]
    times = sorted(time for c in others for time in arrivals.times[c])
    return Killed(
        seen,
        assigned,
        (first - start) * 1e3,
        longest_pause(times, start, start + WINDOW) * 1e3,
        longest_pause(times, start - WINDOW, start) * 1e3,
    )


async def _time_until(
    events: LifecycleEvents, name: str, what: Lifecycle, start: float | None = None
) -> float:
    """Milliseconds from `start`, or now, until this has happened to an actor."""
    start = trio.current_time() if start is None else start
    with trio.fail_after(60):
        async for event in events:
            if event.actor == name and event.what is what and event.time >= start:
                return (event.time - start) * 1e3
    raise EOFError("the farm has ended")


class _Arrivals:
    """When batches came, on Trio's clock, by their connections."""

    def __init__(self) -> None:
        self.times: dict[str, list[float]] = {}

    async def follow(
        self, farm: Farm, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        async with farm.subscribe(*EVENTS) as batches:
            task_status.started()
            async for batch in batches:
                for origin, _ in batch.origins:
                    self.times.setdefault(origin.connection, []).append(trio.current_time())


def longest_pause(times: Sequence[float], start: float, end: float) -> float:
    """The longest time without any of `times`, which ascend, between two moments."""
    within = [start, *(time for time in times if start < time < end), end]
    return max(b - a for a, b in pairwise(within))


def _kill_parent(endpoints: dict[str, Any]) -> float:
    """Milliseconds from the SIGKILL of a parent until none of its processes runs."""
    command = [sys.executable, "-m", "benchmarks.shard_farms", json.dumps(endpoints)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as parent:
        assert parent.stdout is not None
        left = set(json.loads(parent.stdout.readline())["pids"])
        left |= set(children(parent.pid))
        start = time.monotonic()
        parent.kill()
        while left := {pid for pid in left if _runs(pid)}:
            if time.monotonic() - start > 60:
                raise TimeoutError(f"{left} still run")
            time.sleep(GONE_EVERY)
    return (time.monotonic() - start) * 1e3


def _runs(pid: int) -> bool:
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False

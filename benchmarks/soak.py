"""``python -m benchmarks.soak --minutes N``: the demo's load, and a fault every few seconds.

Fake exchanges of four markets run in a process of their own, and something goes wrong at each of
them again and again, by seed. The farm that collects from them into Parquet is watched from within:
memory, file descriptors, tasks, and by how much everything lags. What grows without an end shows in
the slopes; they are fitted to what comes after the first fifth of the time.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import trio

from farm import BookVerdict, Farm, Gap, Quote, Trade, open_farm
from farm.cli.collect import DEMO

RATE = 200.0
"""Orders a second for each symbol, as the demo has them."""

SAMPLE_EVERY = 5.0
WARM_UP = 0.2
"""The part of the run that the slopes leave out: caches, buffers and pools fill in it."""

TICK = 0.05


@attrs.frozen
class Sample:
    """One look. ``memory``: resident bytes; ``loop_lag``: the longest that a task waited for its
    turn since the last look, and ``lag`` the longest from a read of the socket to the user's loop,
    both in seconds."""

    seconds: float
    memory: int
    descriptors: int
    tasks: int
    loop_lag: float
    lag: float
    events: int
    gaps: int
    verified: int


@attrs.define
class Watch:
    """What happened since the last look."""

    loop_lag: float = 0.0
    lag: float = 0.0
    causes: Counter[str] = attrs.field(factory=Counter)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; 1 where the farm did not end as it should."""
    options = _parser().parse_args(argv)
    result = trio.run(soak, options.minutes * 60, options.fault_every, options.seed)
    print(json.dumps(result, indent=2) if options.as_json else report(result))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    add = parser.add_argument
    add("--minutes", type=_positive, default=1.0, metavar="N", help="how long (1)")
    add(
        "--fault-every",
        type=_positive,
        default=12.0,
        metavar="SECONDS",
        help="at each venue (12)",
    )
    add("--seed", type=int, default=7, help="chooses the market and the faults (7)")
    add("--json", dest="as_json", action="store_true", help="print one JSON object")
    return parser


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return number


async def soak(seconds: float, fault_every: float, seed: int) -> dict[str, Any]:
    """Run for so long; what was seen."""
    faults: Counter[str] = Counter()
    samples: list[Sample] = []
    watch = Watch()
    with tempfile.TemporaryDirectory() as directory:
        async with _fakes(seed, fault_every, faults) as endpoints:
            async with open_farm(_config(endpoints, Path(directory, "data"))) as farm:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_read, farm, watch)
                    nursery.start_soon(_feel_the_loop, watch)
                    nursery.start_soon(_sample, farm, watch, samples)
                    await trio.sleep(seconds)
                    nursery.cancel_scope.cancel()
                stopped = trio.current_time()
            ending = trio.current_time() - stopped
    totals = farm.stats().totals
    return {
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "minutes": seconds / 60,
        "fault_every": fault_every,
        "faults": dict(faults.most_common()),
        "gaps_by_cause": dict(watch.causes.most_common()),
        "totals": attrs.asdict(totals),
        "end_seconds": ending,
        "slopes_per_hour": slopes(samples),
        "samples": [attrs.asdict(sample) for sample in samples],
    }


# --------------------------------------------------------------------------------------- the load
@asynccontextmanager
async def _fakes(
    seed: int, fault_every: float, faults: Counter[str]
) -> AsyncIterator[dict[str, dict[str, str]]]:
    """The demo's fake exchanges in a process of their own, and what goes wrong there."""
    command = [sys.executable, "-m", "farm.testing.serve"]
    command += [f"{market}:{','.join(symbols)}" for market, (symbols, _) in DEMO.items()]
    command += ["--seed", str(seed), "--rate", str(RATE), "--fault-every", str(fault_every)]
    process = await trio.lowlevel.open_process(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        line = b""
        while not line.endswith(b"\n") and (part := await process.stdout.receive_some()):
            line += part
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_count, process.stderr, faults)
            yield json.loads(line)["endpoints"]
            nursery.cancel_scope.cancel()
    finally:
        process.kill()
        with trio.CancelScope(shield=True, deadline=trio.current_time() + 10):
            await process.wait()


async def _count(stderr: trio.abc.ReceiveStream, faults: Counter[str]) -> None:
    rest = b""
    async for part in stderr:
        *lines, rest = (rest + part).split(b"\n")
        faults.update(line.decode().rpartition(": ")[2] for line in lines)


def _config(endpoints: dict[str, dict[str, str]], data: Path) -> dict[str, Any]:
    return {
        "data": str(data),
        "storage": {"flush_seconds": 10.0},
        "supervision": {"backoff_cap": 5.0},
        "collectors": [
            {
                "exchange": name.split("/")[0],
                "market": name.split("/")[1],
                "symbols": DEMO[name][0],
                "streams": DEMO[name][1],
                "endpoints": urls,
            }
            for name, urls in endpoints.items()
        ],
    }


# -------------------------------------------------------------------------------------- the watch
async def _read(farm: Farm, watch: Watch) -> None:
    """A user's loop: how old is what comes?"""
    async with farm.subscribe(Trade, Quote, Gap) as batches:
        async for batch in batches:
            if batch.kind is Gap:
                watch.causes.update(gap.cause.value for gap in batch)
            else:
                watch.lag = max(watch.lag, (time.time_ns() - batch[-1].receive_time) / 1e9)


async def _feel_the_loop(watch: Watch) -> None:
    while True:
        due = trio.current_time() + TICK
        await trio.sleep_until(due)
        watch.loop_lag = max(watch.loop_lag, trio.current_time() - due)


async def _sample(farm: Farm, watch: Watch, samples: list[Sample]) -> None:
    started = trio.current_time()
    while True:
        await trio.sleep(SAMPLE_EVERY)
        stats = farm.stats()
        verdicts = [feed.book.verdict for feed in stats.feeds if feed.book is not None]
        sample = Sample(
            round(trio.current_time() - started, 1),
            _memory(),
            _descriptors(),
            trio.lowlevel.current_statistics().tasks_living,
            round(watch.loop_lag, 4),
            round(watch.lag, 4),
            stats.totals.events,
            stats.totals.gaps,
            sum(verdict == BookVerdict.VERIFIED.value for verdict in verdicts),
        )
        samples.append(sample)
        watch.loop_lag = watch.lag = 0.0
        print(
            f"{sample.seconds:7.0f} s  {sample.memory / 2**20:6.1f} MB  {sample.descriptors} files"
            f"  {sample.tasks} tasks  lag {sample.lag * 1e3:.0f} ms  {sample.events:,} events"
            f"  {sample.gaps:,} gaps  {sample.verified} of {len(verdicts)} books verified",
            file=sys.stderr,
        )


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def _memory() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def slopes(samples: Sequence[Sample]) -> dict[str, float]:
    """Growth an hour of memory (bytes), descriptors and tasks, after the warm-up."""
    late = samples[int(len(samples) * WARM_UP) :]
    if len(late) < 2:
        return {}
    hours = [sample.seconds / 3600 for sample in late]
    return {
        name: statistics.linear_regression(hours, [getattr(s, name) for s in late]).slope
        for name in ("memory", "descriptors", "tasks")
    }


def report(result: dict[str, Any]) -> str:
    """The result in words."""
    samples, grown = result["samples"], result["slopes_per_hour"]
    if not grown:
        return "too short to say anything: try --minutes 2"
    late = samples[int(len(samples) * WARM_UP) :]
    faults, gaps, totals = result["faults"], result["gaps_by_cause"], result["totals"]
    causes = ", ".join(f"{cause} {count}" for cause, count in gaps.items())
    lag, loop_lag = _range(late, "lag", 1e3), _range(late, "loop_lag", 1e3)
    told = f"{sum(faults.values())} faults of {len(faults)} kinds, {totals['events']:,} events"
    return "\n".join(
        (
            f"{result['minutes']:g} minutes, {told}, {totals['gaps']:,} gaps ({causes})",
            f"memory {_range(late, 'memory', 2**-20)} MB, {grown['memory'] / 2**20:+.2f} an hour",
            f"files {_range(late, 'descriptors')}, {grown['descriptors']:+.2f} an hour",
            f"tasks {_range(late, 'tasks')}, {grown['tasks']:+.2f} an hour",
            f"longest lag in each {SAMPLE_EVERY:g} s, from a read to the user: {lag} ms",
            f"longest wait of a task for its turn in each {SAMPLE_EVERY:g} s: {loop_lag} ms",
            f"the end took {result['end_seconds']:.2f} s",
        )
    )


def _range(samples: Sequence[dict[str, Any]], name: str, unit: float = 1) -> str:
    values = [sample[name] * unit for sample in samples]
    middle = statistics.median(values)
    return f"{min(values):.4g} to {max(values):.4g} (median {middle:.4g})"


if __name__ == "__main__":
    sys.exit(main())

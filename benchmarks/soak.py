"""``python -m benchmarks.soak --minutes N``: the demo's load, and a fault every few seconds.

Fake exchanges of four markets run in a process of their own, and something goes wrong at each of
them again and again, by seed. The farm that collects from them into Parquet is watched from within:
memory, file descriptors, tasks, and by how much everything lags. What grows without an end shows in
the slopes; they are fitted to what comes after the first fifth of the time, and are for a reader to
judge. Ctrl-C ends the run, and what was seen until then is printed.

The exit code is 0 where the last look found the farm at work; 1 where it did not, where the fake
exchanges died, and where the farm failed; 130 after a Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
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

from benchmarks.soak_report import SAMPLE_EVERY, Sample, last_look, report, slopes
from farm import BookVerdict, Farm, Gap, Quote, Trade, open_farm
from farm.cli.collect import DEMO
from farm.errors import FarmError
from farm.monitor.memory import resident_bytes
from farm.testing.faults import KINDS

RATE = 200.0
"""Orders a second for each symbol, as the demo has them."""

TICK = 0.05
INTERRUPTED = 130


@attrs.define
class Watch:
    """What happened: ``loop_lag`` and ``lag`` since the last look, the rest since the beginning.

    ``faults``: those that struck, by kind; ``causes``: of gaps; ``wrong``: what must not be;
    ``stop``: ends the run when it is cancelled.
    """

    loop_lag: float = 0.0
    lag: float = 0.0
    faults: Counter[str] = attrs.field(factory=Counter)
    causes: Counter[str] = attrs.field(factory=Counter)
    samples: list[Sample] = attrs.field(factory=list)
    wrong: list[str] = attrs.field(factory=list)
    interrupted: bool = False
    stop: trio.CancelScope = attrs.field(factory=trio.CancelScope)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; its exit code, as the module says."""
    options = _parser().parse_args(argv)
    result = trio.run(soak, options.minutes * 60, options.fault_every, options.seed)
    print(json.dumps(result, indent=2) if options.as_json else report(result))
    if result["interrupted"]:
        return INTERRUPTED
    return 1 if result["wrong"] else 0


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
    """Run for so long, or until a Ctrl-C or the death of the fake exchanges; what was seen."""
    watch = Watch()
    async with trio.open_nursery() as background:
        background.start_soon(_until_interrupted, watch)
        with tempfile.TemporaryDirectory() as directory:
            async with _fakes(seed, fault_every, watch) as endpoints:
                async with open_farm(_config(endpoints, Path(directory, "data"))) as farm:
                    with watch.stop:
                        async with trio.open_nursery() as nursery:
                            nursery.start_soon(_read, farm, watch)
                            nursery.start_soon(_feel_the_loop, watch)
                            nursery.start_soon(_sample, farm, watch)
                            await trio.sleep(seconds)
                            nursery.cancel_scope.cancel()
                    stopped = trio.current_time()
                ending = trio.current_time() - stopped
        background.cancel_scope.cancel()
    return {
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "minutes": seconds / 60,
        "fault_every": fault_every,
        "faults": dict(watch.faults.most_common()),
        "gaps_by_cause": dict(watch.causes.most_common()),
        "totals": attrs.asdict(farm.stats().totals),
        "end_seconds": ending,
        "interrupted": watch.interrupted,
        "wrong": watch.wrong + last_look(watch.samples),
        "slopes_per_hour": slopes(watch.samples),
        "samples": [attrs.asdict(sample) for sample in watch.samples],
    }


async def _until_interrupted(watch: Watch) -> None:
    """The first Ctrl-C ends the run; another does what it always does."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        return
    with trio.open_signal_receiver(signal.SIGINT) as signals:
        await anext(signals)
    watch.interrupted = True
    watch.stop.cancel()


# --------------------------------------------------------------------------------------- the load
@asynccontextmanager
async def _fakes(
    seed: int, fault_every: float, watch: Watch
) -> AsyncIterator[dict[str, dict[str, str]]]:
    """The demo's fake exchanges in a process of their own, and what goes wrong there.

    FarmError where they do not start. A Ctrl-C on the terminal is not for them: they have a session
    of their own, and end with their stdin.
    """
    command = [sys.executable, "-m", "farm.testing.serve"]
    command += [f"{market}:{','.join(symbols)}" for market, (symbols, _) in DEMO.items()]
    command += ["--seed", str(seed), "--rate", str(RATE), "--fault-every", str(fault_every)]
    pipe = subprocess.PIPE
    process = await trio.lowlevel.open_process(
        command, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_hear, process.stderr, watch.faults)
            line = b""
            while not line.endswith(b"\n") and (part := await process.stdout.receive_some()):
                line += part
            if not line.endswith(b"\n"):
                raise FarmError("the fake exchanges did not start; what they said stands above")
            nursery.start_soon(_see_death, process, watch)
            yield json.loads(line)["endpoints"]
            nursery.cancel_scope.cancel()
    finally:
        process.kill()
        with trio.CancelScope(shield=True, deadline=trio.current_time() + 10):
            await process.wait()


async def _see_death(process: trio.Process, watch: Watch) -> None:
    code = await process.wait()
    watch.wrong.append(f"the fake exchanges died, with exit code {code}")
    watch.stop.cancel()


async def _hear(stderr: trio.abc.ReceiveStream, faults: Counter[str]) -> None:
    """Count the faults that they tell of; what else they say is for the user."""
    rest = b""
    async for part in stderr:
        *lines, rest = (rest + part).split(b"\n")
        for line in map(bytes.decode, lines):
            word = line.rpartition(": ")[2]
            if word in KINDS:
                faults[word] += 1
            else:
                print(line, file=sys.stderr)


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


async def _sample(farm: Farm, watch: Watch) -> None:
    started = trio.current_time()
    while True:
        await trio.sleep(SAMPLE_EVERY)
        stats = farm.stats()
        verdicts = [feed.book.verdict for feed in stats.feeds if feed.book is not None]
        sample = Sample(
            round(trio.current_time() - started, 1),
            resident_bytes(),
            _descriptors(),
            trio.lowlevel.current_statistics().tasks_living,
            round(watch.loop_lag, 4),
            round(watch.lag, 4),
            stats.totals.events,
            stats.totals.gaps,
            sum(verdict == BookVerdict.VERIFIED.value for verdict in verdicts),
        )
        watch.samples.append(sample)
        watch.loop_lag = watch.lag = 0.0
        print(
            f"{sample.seconds:7.0f} s  {sample.memory / 2**20:6.1f} MB  {sample.descriptors} files"
            f"  {sample.tasks} tasks  lag {sample.lag * 1e3:.0f} ms  {sample.events:,} events"
            f"  {sample.gaps:,} gaps  {sample.verified} of {len(verdicts)} books verified",
            file=sys.stderr,
        )


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


if __name__ == "__main__":
    sys.exit(main())

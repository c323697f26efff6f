"""``python -m farm.testing.chaos``: many seeded runs, or one, and what came of them."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import attrs

from farm.testing.chaos.outcome import ChaosResult
from farm.testing.chaos.plan import ChaosPlan
from farm.testing.chaos.run import run_chaos
from farm.testing.chaos.shrink import shortest_plan
from farm.testing.chaos.summary import as_json, summary
from farm.testing.faults.script import FaultScript
from farm.testing.faults.text import ScriptError

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """The command; 0 where all was well, 1 where a run failed, 2 for arguments that make no
    sense, 130 for Ctrl-C."""
    parser = _parser()
    options = parser.parse_args(argv)
    if options.script is not None and options.seed is None:
        parser.error("--script needs --seed: the faults alone make no run")
    try:
        plans = _plans(options)
    except (ScriptError, OSError) as error:
        print(f"chaos: {error}", file=sys.stderr)
        return 2
    except UnicodeDecodeError as error:
        print(f"chaos: {options.script} is no text: {error}", file=sys.stderr)
        return 2
    try:
        results = list(_watched(_results(plans, options.jobs), len(plans)))
    except KeyboardInterrupt:
        return 130
    failed = [result for result in results if result.violations]
    if options.shrink:
        failed = [_shrunk(result) for result in failed]
    if options.as_json:
        print(json.dumps(as_json(results, failed), indent=2))
    else:
        print(summary(results, failed))
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m farm.testing.chaos",
        description="Run farms on fake exchanges where things go wrong, and judge each run.",
    )
    add = parser.add_argument
    add("--seeds", type=_count, default=100, metavar="N", help="how many runs (100)")
    add("--first", type=int, default=0, metavar="SEED", help="the first one's seed (0)")
    add("--seed", type=int, metavar="SEED", help="this one run")
    add("--script", type=Path, metavar="FILE", help="with --seed: these faults in place of its own")
    add("--sockets", action="store_true", help="over real sockets, in real time")
    add("--jobs", type=_count, default=os.cpu_count() or 1, metavar="N", help="processes")
    add("--shrink", action="store_true", help="find the shortest script that still fails")
    add("--json", dest="as_json", action="store_true", help="print one JSON object")
    return parser


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return count


def _plans(options: Any) -> list[ChaosPlan]:
    seeds: Iterable[int] = range(options.first, options.first + options.seeds)
    if options.seed is not None:
        seeds = [options.seed]
    plans = [ChaosPlan.of(seed, real=options.sockets) for seed in seeds]
    if options.script is not None:
        script = FaultScript.parse(options.script.read_text(encoding="utf-8"))
        plans = [attrs.evolve(plan, script=script) for plan in plans]
    return plans


def _results(plans: Sequence[ChaosPlan], jobs: int) -> Iterator[ChaosResult]:
    """Runs are spread over processes; each is the same wherever it runs."""
    if jobs == 1 or len(plans) == 1:
        yield from map(run_chaos, plans)
        return
    with ProcessPoolExecutor(min(jobs, len(plans)), get_context("spawn")) as pool:
        yield from pool.map(run_chaos, plans, chunksize=1)


def _watched(results: Iterable[ChaosResult], total: int) -> Iterator[ChaosResult]:
    """Tell on stderr how far it is."""
    said, failed = time.monotonic(), 0
    for done, result in enumerate(results, 1):
        failed += bool(result.violations)
        if time.monotonic() - said >= 2.0 or (done == total and total > 1):
            said = time.monotonic()
            print(f"chaos: {done} of {total} runs, {failed} failed", file=sys.stderr)
        yield result


def _shrunk(result: ChaosResult) -> ChaosResult:
    print(f"chaos: shrinking seed {result.plan.seed}", file=sys.stderr)
    return run_chaos(shortest_plan(result.plan))


if __name__ == "__main__":
    sys.exit(main())

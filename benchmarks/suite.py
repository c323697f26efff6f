"""Runs benchmarks one after the other, each in a process of its own, so that none warms, bloats or
disturbs another."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib.util import find_spec

import attrs

from benchmarks.result import Report
from benchmarks.saved import UnreadableReport, parsed

__all__ = ["BENCHMARKS", "Outcome", "is_whole", "missing", "outcomes"]

BENCHMARKS = {
    name: f"benchmarks.{name}"
    for name in ("parse", "receive", "end_to_end", "books", "scale", "channels", "shards")
}
"""Modules by name. Each has ``run(rounds, quick)`` and the common command line."""

PATIENCE = 10.0
"""Seconds that a benchmark has to end in when it is interrupted."""


@attrs.frozen
class Outcome:
    """What became of one benchmark: its report, or why there is none (``failure``)."""

    name: str
    report: Report | None
    failure: str | None = None


def missing(names: Sequence[str]) -> list[str]:
    """Those of the benchmarks whose modules are not there."""
    return [name for name in names if find_spec(BENCHMARKS[name]) is None]


def outcomes(names: Sequence[str], options: Sequence[str]) -> Iterator[Outcome]:
    """Run the benchmarks with these options of their command line; tell of each when it is done.

    What they print on stderr goes to ours, as does the progress. KeyboardInterrupt ends the one
    that runs, with its processes.
    """
    for place, name in enumerate(names, 1):
        start = time.monotonic()
        print(f"[{place}/{len(names)}] {name} ...", file=sys.stderr, flush=True)
        outcome = _outcome(name, [sys.executable, "-m", BENCHMARKS[name], "--json", *options])
        said = outcome.failure or "done"
        seconds = time.monotonic() - start
        print(
            f"[{place}/{len(names)}] {name}: {said}, {seconds:.0f} s", file=sys.stderr, flush=True
        )
        yield outcome


def _outcome(name: str, command: Sequence[str]) -> Outcome:
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            text, _ = process.communicate()
        except BaseException:
            _end(process)
            raise
    if process.returncode:
        return Outcome(name, None, f"failed with exit code {process.returncode}")
    try:
        (report,) = parsed(text, f"benchmarks.{name}")
    except (UnreadableReport, ValueError) as error:
        return Outcome(name, None, f"failed: {error}")
    return Outcome(name, report, _losses(report))


def _end(process: subprocess.Popen[str]) -> None:
    """Interrupt it and all of its session, so that it ends what it started; what has not ended
    then, or when we are interrupted again, is killed."""
    try:
        with suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(process.pid, signal.SIGINT)
            process.wait(PATIENCE)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _losses(report: Report) -> str | None:
    """In which cases farm delivers less than all."""
    lossy = [
        f"{case.name} ({figure.delivered:.1%})"
        for case in report.cases
        for figure in case.figures
        if figure.contender.startswith("farm") and not is_whole(figure.delivered)
    ]
    return f"farm delivers less than all: {', '.join(lossy)}" if lossy else None


def is_whole(delivered: float | None) -> bool:
    """Whether nothing is missing, as far as it was looked for."""
    return delivered is None or delivered == 1

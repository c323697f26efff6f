"""``python -m benchmarks``: all benchmarks, each in a process of its own.

The directory of a run gets ``benchmarks.json`` (everything), ``benchmarks.md`` (tables) and
``comparison.svg`` (a chart). ``python -m benchmarks compare A.json B.json`` says what differs
between two runs.

The exit code is 0 where all ran; 1 where one failed, or where farm did not deliver all, but never
for a goal that was missed; 2 for a command line that cannot be used; 130 after a Ctrl-C, and what
was done until then is kept.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import attrs

from benchmarks import compare
from benchmarks.chart import chart
from benchmarks.console import INTERRUPTED, show
from benchmarks.result import Report
from benchmarks.saved import as_json
from benchmarks.suite import BENCHMARKS, missing, outcomes
from benchmarks.table import tables

RUNS = Path(".benchmarks")
"""Where runs are kept unless ``--out`` says otherwise; git does not see it."""

PUBLISHED = Path(__file__).with_name("comparison.svg")
"""The chart that the README shows."""

FAILED = 1


@attrs.define
class Run:
    """What came of a run so far: reports, and why benchmarks failed, by name."""

    reports: list[Report] = attrs.field(factory=list)
    failed: dict[str, str] = attrs.field(factory=dict)
    interrupted: bool = False


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit code, as the module says."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["compare"]:
        return compare.main(given[1:])
    options = _options(given)
    directory = _directory(options.out)
    run = _measured(options)
    if options.json:
        print(json.dumps(as_json(run.reports, run.failed), indent=2))
    if run.reports or run.failed:
        _write(directory, run)
    for name, failure in run.failed.items():
        print(f"{name}: {failure}", file=sys.stderr)
    if run.interrupted:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    if run.failed:
        return FAILED
    if options.publish:
        PUBLISHED.write_text(chart(run.reports))
        print(f"written: {PUBLISHED}", file=sys.stderr)
    return 0


def _measured(options: argparse.Namespace) -> Run:
    """Run what was asked for, and show each report as it comes, unless JSON was asked for."""
    passed_on = ["--quick"] if options.quick else []
    passed_on += ["--rounds", str(options.rounds)] if options.rounds else []
    run = Run()
    try:
        for outcome in outcomes(options.only, passed_on):
            if outcome.failure is not None:
                run.failed[outcome.name] = outcome.failure
            if outcome.report is not None:
                run.reports.append(outcome.report)
                if not options.json:
                    show(outcome.report)
                    print(flush=True)
    except KeyboardInterrupt:
        run.interrupted = True
    return run


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--only", type=_names, default=list(BENCHMARKS), metavar="NAME,NAME", help="of: " + _KNOWN)
    add("--quick", action="store_true", help="small and rough: does it run?")
    add("--rounds", type=int, default=0, metavar="N", help="rounds (7; 1 with --quick)")
    add("--out", type=Path, metavar="DIR", help=f"where the files go ({RUNS}/DATE)")
    add("--json", action="store_true", help="print one JSON object instead of tables")
    add("--publish", action="store_true", help=f"write the README's chart, {PUBLISHED.name}, too")
    options = parser.parse_args(arguments)
    if options.rounds < 0:
        parser.error(f"--rounds is {options.rounds}, and cannot be negative")
    if options.publish and (options.quick or options.only != list(BENCHMARKS)):
        parser.error("--publish wants all benchmarks, and not quick ones")
    if absent := missing(options.only):
        parser.error(f"there is no module {', '.join(BENCHMARKS[name] for name in absent)}")
    return options


_KNOWN = ", ".join(BENCHMARKS)


def _names(text: str) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in BENCHMARKS]:
        raise argparse.ArgumentTypeError(f"no benchmark {', '.join(unknown)}; there are {_KNOWN}")
    return names


def _directory(out: Path | None) -> Path:
    """The directory of this run, made before anything is measured."""
    directory = out or RUNS / datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%S")
    directory.mkdir(parents=True, exist_ok=True)
    if out is None:
        (RUNS / ".gitignore").write_text("*\n")
    return directory


def _write(directory: Path, run: Run) -> None:
    text = json.dumps(as_json(run.reports, run.failed), indent=2)
    (directory / "benchmarks.json").write_text(text + "\n")
    (directory / "benchmarks.md").write_text(tables(run.reports))
    (directory / "comparison.svg").write_text(chart(run.reports))
    print(
        f"written: benchmarks.json, benchmarks.md, comparison.svg in {directory}", file=sys.stderr
    )


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # else the one that runs goes on
    sys.exit(main())

"""Reports on a terminal: one table a case, and the command line that all benchmarks share."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Sequence

from benchmarks.result import Case, Figure, Report

__all__ = ["INTERRUPTED", "command_line", "show"]

INTERRUPTED = 130
"""The exit code after a Ctrl-C."""


def command_line(
    name: str,
    description: str | None,
    run: Callable[[int, bool], Report],
    arguments: Sequence[str] | None = None,
) -> None:
    """``python -m benchmarks.NAME [--json] [--rounds N] [--quick]``: `run` gets rounds and whether
    to be quick: small amounts, for correctness alone."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=description)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--rounds", type=int, default=0, help="rounds (7; 1 with --quick)")
    parser.add_argument("--quick", action="store_true", help="small and rough: does it run?")
    given = parser.parse_args(arguments)
    if given.rounds < 0:
        parser.error(f"--rounds is {given.rounds}, and cannot be negative")
    try:
        report = run(given.rounds or (1 if given.quick else 7), given.quick)
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
    if given.json:
        print(json.dumps(report.to_json(), indent=2))
    else:
        show(report)


def show(report: Report) -> None:
    """Print a report for people."""
    print(f"{report.title}\n{report.date}, {report.machine['processor']}")
    for case in report.cases:
        print(f"\n{case.name}, {case.unit}" + (f" ({case.note})" if case.note else ""))
        for figure in case.figures:
            print(f"  {figure.contender:34}{_row(case, figure)}")
        for goal in case.goals:
            sign = "at least" if goal.at_least else "at most"
            verdict = "met" if goal.met else "MISSED"
            print(f"    {goal.what}: {goal.ratio:.2f}, goal {sign} {goal.goal:g}: {verdict}")


def _row(case: Case, figure: Figure) -> str:
    if figure.absent is not None:
        return f"absent: {figure.absent}"
    best = case.figures[0].median
    times = figure.median / best if case.lower_is_better else best / figure.median
    text = f"{_number(figure.median):>10}  [{_number(figure.low)} .. {_number(figure.high)}]"
    if not math.isnan(times) and figure is not case.figures[0]:
        text += f"  {times:.2f} x"
    if figure.delivered is not None and figure.delivered != 1:
        text += f"  delivers {figure.delivered:.1%}"
    return text + "".join(f"  {name} {_number(value)}" for name, value in figure.extra.items())


def _number(value: float) -> str:
    if math.isnan(value):
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"

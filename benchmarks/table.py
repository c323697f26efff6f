"""Reports as Markdown tables, for the README."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import groupby

from benchmarks.result import Case, Figure, Report
from benchmarks.suite import is_whole

__all__ = ["number", "setting", "tables"]


def number(value: float) -> str:
    """Three digits of it, or all before the point; "-" for nan."""
    if math.isnan(value):
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def setting(report: Report) -> str:
    """The machine, the Python, the day, and how it was measured, in a line."""
    where, spread = report.machine, _spread(report)
    rounds = sorted({len(f.values) for case in report.cases for f in case.figures if f.values})
    counts = " or ".join(map(str, rounds)) or "no"
    text = (
        f"{where['processor']}, {where['cores']} cores, {where['system']}, {where['python']},"
        f" {report.date.partition('T')[0]}; medians of {counts} round{'s' * (rounds != [1])}"
    )
    return text + (f", spread within the run {spread}" if spread else "")


def tables(reports: Sequence[Report]) -> str:
    """All reports, each under a heading of its own."""
    return "\n".join(line for report in reports for line in _section(report))


def _spread(report: Report) -> str:
    spreads = [
        (figure.high - figure.low) / figure.median
        for case in report.cases
        for figure in case.figures
        if len(figure.values) > 1 and figure.median
    ]
    return f"{min(spreads):.0%} to {max(spreads):.0%}" if spreads else ""


def _section(report: Report) -> Iterator[str]:
    yield f"### {report.title}\n"
    yield f"{setting(report)}. In brackets: how many times as good the first contender is.\n"
    for names, cases in groupby(report.cases, _contenders):
        yield f"| | {' | '.join(map(_escaped, names))} |"
        yield "|---" * (len(names) + 1) + "|"
        for case in cases:
            cells = [_cell(case, figure) for figure in case.figures]
            yield f"| {_escaped(case.name)}, {case.unit} | {' | '.join(cells)} |"
        yield ""
    for case in report.cases:
        for goal in case.goals:
            way = "at least" if goal.at_least else "at most"
            verdict = "met" if goal.met else "**missed**"
            told = f"{goal.what}: {goal.ratio:.2f}, goal {way} {goal.goal:g}: {verdict}"
            yield f"- {case.name}: {told}"
    notes = {case.note: case.name for case in reversed(report.cases) if case.note}
    yield from (f"- {name}: {note}" for note, name in reversed(notes.items()))
    absent = {f.contender: f.absent for case in report.cases for f in case.figures if f.absent}
    yield from (f"- {contender}: {why}" for contender, why in absent.items())
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    yield f"- {versions}\n"


def _contenders(case: Case) -> tuple[str, ...]:
    return tuple(figure.contender for figure in case.figures)


def _cell(case: Case, figure: Figure) -> str:
    text = number(figure.median)
    first = case.figures[0]
    if figure is not first and min(figure.median, first.median) > 0:
        text += f" ({case.ratio(first.contender, figure.contender):.2g})"
    if not is_whole(figure.delivered):
        text += f", delivers {figure.delivered:.1%}"
    return text + "".join(f", {name} {number(value)}" for name, value in figure.extra.items())


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")

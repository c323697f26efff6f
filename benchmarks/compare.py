"""``python -m benchmarks compare A.json B.json``: what changed from the first run to the second.

A figure changed where the rounds of both runs do not overlap: all of one are better than all of the
other. What lies within that spread is not told. *Against others* is farm by the others of the same
case in the same rounds: a machine that is faster or slower today changes less in that. Files are
those of ``python -m benchmarks``, or what one benchmark printed with ``--json``.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import TypeAlias

import attrs

from benchmarks.result import Case, Figure, Report
from benchmarks.saved import UnreadableReport, load
from benchmarks.table import number

__all__ = ["Change", "Comparison", "compared", "main"]

Place: TypeAlias = tuple[str, str, str]
"""Benchmark, case and contender."""


@attrs.frozen
class Change:
    """A figure that changed beyond the spread: its medians, and how many times as good it is."""

    place: Place
    unit: str
    before: float
    after: float
    times: float


@attrs.define
class Comparison:
    """What differs. ``setting``: machine, Python and versions, which may be why. ``against``: how
    many times as good as the others farm is, where that changed. ``alike`` counts the figures that
    did not change; ``only_before`` and ``only_after`` have no counterpart."""

    setting: list[str] = attrs.field(factory=list)
    better: list[Change] = attrs.field(factory=list)
    worse: list[Change] = attrs.field(factory=list)
    against: list[Change] = attrs.field(factory=list)
    delivery: list[str] = attrs.field(factory=list)
    alike: int = 0
    only_before: list[Place] = attrs.field(factory=list)
    only_after: list[Place] = attrs.field(factory=list)
    single_rounds: bool = False


def main(arguments: Sequence[str] | None = None) -> int:
    """The command: 0, or 2 for files that are no reports."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks compare",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("before", type=Path, metavar="A.json")
    parser.add_argument("after", type=Path, metavar="B.json")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    try:
        comparison = compared(load(options.before), load(options.after))
    except UnreadableReport as error:
        print(error, file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps(attrs.asdict(comparison), indent=2))
    else:
        print("\n".join(_lines(comparison)))
    return 0


def compared(before: Sequence[Report], after: Sequence[Report]) -> Comparison:
    """Compare all figures that both runs have."""
    found = Comparison(_settings(before, after))
    old, new = _figures(before), _figures(after)
    found.only_before = [place for place in old if place not in new]
    found.only_after = [place for place in new if place not in old]
    for place in (place for place in old if place in new):
        _compare(found, place, old[place], new[place])
    found.against = list(_against(old, new))
    return found


def _against(
    old: Mapping[Place, tuple[Case, Figure]], new: Mapping[Place, tuple[Case, Figure]]
) -> Iterator[Change]:
    """What changed of farm's figures in times the geometric mean of those others that both have."""
    for place in old:
        if place in new and _is_ours(place):
            others = {p for p in old if p[:2] == place[:2] and p in new and not _is_ours(p)}
            before, after = (_times(figures, place, others) for figures in (old, new))
            if before and after and not _overlap(before, after):
                medians = statistics.median(before), statistics.median(after)
                yield Change(place, "times the others", *medians, medians[1] / medians[0])


def _times(
    figures: Mapping[Place, tuple[Case, Figure]], place: Place, others: Set[Place]
) -> list[float]:
    """How many times as good as the others it was in each round; none where there are no others,
    and none of figures of which there are no ratios."""
    case, ours = figures[place]
    columns = [ours.values, *(figures[other][1].values for other in others)]
    if not others or min(map(min, columns)) <= 0:
        return []
    ratios = [
        value / statistics.geometric_mean(theirs) for value, *theirs in zip(*columns, strict=False)
    ]
    return [1 / ratio for ratio in ratios] if case.lower_is_better else ratios


def _overlap(before: Sequence[float], after: Sequence[float]) -> bool:
    return min(before) <= max(after) and min(after) <= max(before)


def _is_ours(place: Place) -> bool:
    return place[2].startswith("farm")


def _compare(
    found: Comparison, place: Place, before: tuple[Case, Figure], after: tuple[Case, Figure]
) -> None:
    (case, old), (new_case, new) = before, after
    if (case.unit, case.lower_is_better) != (new_case.unit, new_case.lower_is_better):
        found.only_before.append(place)
        found.only_after.append(place)
        return
    found.single_rounds |= len(old.values) == 1 or len(new.values) == 1
    if old.delivered != new.delivered:
        found.delivery.append(f"{_name(place)}: {_share(old)}, then {_share(new)}")
    if _overlap(old.values, new.values):
        found.alike += 1
        return
    less, more = (new.median, old.median) if case.lower_is_better else (old.median, new.median)
    times = more / less if less else math.inf
    change = Change(place, case.unit, old.median, new.median, times)
    (found.better if times > 1 else found.worse).append(change)


def _figures(reports: Sequence[Report]) -> dict[Place, tuple[Case, Figure]]:
    return {
        (report.benchmark, case.name, figure.contender): (case, figure)
        for report in reports
        for case in report.cases
        for figure in case.figures
        if figure.values
    }


def _settings(before: Sequence[Report], after: Sequence[Report]) -> list[str]:
    """How the machines, Pythons and versions of the same benchmarks differ."""
    after_by_name = {report.benchmark: report for report in after}
    differences: dict[str, None] = {}
    for old in before:
        new = after_by_name.get(old.benchmark)
        for one, other in ((old.machine, new.machine), (old.versions, new.versions)) if new else ():
            for key in [*one, *(key for key in other if key not in one)]:
                if one.get(key) != other.get(key):
                    told = f"{key}: {one.get(key, 'none')}, then {other.get(key, 'none')}"
                    differences[told] = None
    return list(differences)


def _lines(found: Comparison) -> Iterator[str]:
    if found.setting:
        yield "the runs differ in more than time:"
        yield from (f"  {difference}" for difference in found.setting)
    if found.single_rounds:
        yield "some figures are of a single round, which has no spread: they seem to change always"
    for title, changes in (
        ("better", found.better),
        ("worse", found.worse),
        ("against others", found.against),
    ):
        if changes:
            yield f"{title}:"
        for change in sorted(changes, key=_size):
            medians = f"{number(change.before)} to {number(change.after)} {change.unit}"
            yield f"  {_name(change.place)}: {medians}, {change.times:.2f} times as good"
    for title, lines in (
        ("delivery changed", found.delivery),
        ("only in the first", [_name(place) for place in found.only_before]),
        ("only in the second", [_name(place) for place in found.only_after]),
    ):
        if lines:
            yield f"{title}:"
            yield from (f"  {line}" for line in lines)
    yield f"{found.alike} figures did not change beyond their spread"
    moved = [change for change in found.better + found.worse if not _is_ours(change.place)]
    if moved:
        yield f"of others' figures {len(moved)} changed: the machine may be what changed"


def _size(change: Change) -> float:
    """The largest changes first."""
    return -max(change.times, 1 / change.times if change.times else math.inf)


def _name(place: Place) -> str:
    return " / ".join(place)


def _share(figure: Figure) -> str:
    return "not told" if figure.delivered is None else f"{figure.delivered:.1%}"

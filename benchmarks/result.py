"""What a benchmark found: figures of contenders, case by case, with their spread and the goals.

All benchmarks return a :class:`Report`; :mod:`benchmarks.machine` says where it was measured.
"""

from __future__ import annotations

import math
import statistics
from typing import Any

import attrs

from benchmarks.machine import machine, now, versions

__all__ = ["Case", "Figure", "Goal", "Report"]


@attrs.define
class Figure:
    """What one contender took, a value for each round.

    ``delivered`` is the share of the right events that it delivered, 1.0 being all of them, found
    out before the timing. ``absent`` says why it did not run, and then there are no values.
    ``extra`` holds what else was measured in the same rounds, by name (``p99 us``).
    """

    contender: str
    values: list[float] = attrs.field(factory=list)
    delivered: float | None = None
    absent: str | None = None
    extra: dict[str, float] = attrs.field(factory=dict)

    @property
    def median(self) -> float:
        """The median of the rounds; nan for an absent contender."""
        return statistics.median(self.values) if self.values else float("nan")

    @property
    def low(self) -> float:
        return min(self.values, default=float("nan"))

    @property
    def high(self) -> float:
        return max(self.values, default=float("nan"))


@attrs.define
class Goal:
    """A ratio that was to be reached: ``ratio`` is what came out; ``at_least`` says which way."""

    what: str
    ratio: float
    goal: float
    at_least: bool = True

    @property
    def met(self) -> bool:
        return self.ratio >= self.goal if self.at_least else self.ratio <= self.goal


@attrs.define
class Case:
    """One comparison, all of whose values are in ``unit``; of times (``lower_is_better``) or of
    rates. ``note`` says where the payloads come from, or what is to be known of the case."""

    name: str
    unit: str
    figures: list[Figure]
    lower_is_better: bool = True
    note: str = ""
    goals: list[Goal] = attrs.field(factory=list)

    def figure(self, contender: str) -> Figure:
        """The figure of a contender; KeyError where there is none."""
        for figure in self.figures:
            if figure.contender == contender:
                return figure
        raise KeyError(contender)

    def ratio(self, contender: str, to: str) -> float:
        """How many times as good `contender` is as `to`; nan where one is absent or took none."""
        ours, theirs = self.figure(contender).median, self.figure(to).median
        if not (ours and theirs):
            return math.nan
        return theirs / ours if self.lower_is_better else ours / theirs

    def aim(self, contender: str, to: str, goal: float, *, what: str = "") -> None:
        """Note a goal: `contender` is to be at least `goal` times as good as `to`, which is
        passed over where either did not run."""
        if self.figure(contender).values and self.figure(to).values:
            text = what or f"{contender} against {to}"
            self.goals.append(Goal(text, self.ratio(contender, to), goal))

    def aim_time(self, contender: str, to: str, most: float, *, what: str = "") -> None:
        """Note a goal: `contender` is to take at most `most` times what `to` takes."""
        if self.figure(contender).values and self.figure(to).values:
            text = what or f"time of {contender} to that of {to}"
            self.goals.append(Goal(text, 1 / self.ratio(contender, to), most, at_least=False))


@attrs.define
class Report:
    """All cases of one benchmark, and where and when they were measured."""

    benchmark: str
    title: str
    cases: list[Case]
    date: str = attrs.field(factory=now)
    machine: dict[str, str] = attrs.field(factory=machine)
    versions: dict[str, str] = attrs.field(factory=versions)

    def to_json(self) -> dict[str, Any]:
        """The report as JSON types, medians and verdicts included."""
        data: dict[str, Any] = attrs.asdict(self)
        for case, told in zip(self.cases, data["cases"], strict=True):
            for figure, shown in zip(case.figures, told["figures"], strict=True):
                if figure.values:
                    shown |= {"median": figure.median, "low": figure.low, "high": figure.high}
            for goal, shown in zip(case.goals, told["goals"], strict=True):
                shown["met"] = goal.met
        return data

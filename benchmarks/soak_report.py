"""What a soak saw, in numbers and in words."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

import attrs

__all__ = ["SAMPLE_EVERY", "Sample", "last_look", "report", "slopes"]

SAMPLE_EVERY = 5.0
"""Seconds between two looks."""

WARM_UP = 0.2
"""The part of the run that the slopes leave out: caches, buffers and pools fill in it."""


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


def last_look(samples: Sequence[Sample]) -> list[str]:
    """What the last look says against the farm: that nothing comes, or that no book is verified."""
    if not samples:
        return [f"no look was taken: a run takes more than {SAMPLE_EVERY:g} s"]
    wrong = []
    if samples[-1].verified == 0:
        wrong.append("at the last look no book was verified")
    if len(samples) > 1 and samples[-1].events == samples[-2].events:
        wrong.append("at the last look no event had come since the one before")
    return wrong


def report(result: dict[str, Any]) -> str:
    """The result in words."""
    samples, grown = result["samples"], result["slopes_per_hour"]
    faults, gaps, totals = result["faults"], result["gaps_by_cause"], result["totals"]
    causes = ", ".join(f"{cause} {count}" for cause, count in gaps.items())
    told = f"{sum(faults.values())} faults of {len(faults)} kinds, {totals['events']:,} events"
    minutes = f"{result['minutes']:g} minutes{', interrupted' if result['interrupted'] else ''}"
    lines = [f"{minutes}, {told}, {totals['gaps']:,} gaps ({causes})"]
    if late := samples[int(len(samples) * WARM_UP) :]:
        memory, files, tasks = (
            f", {grown[name] / unit:+.2f} an hour" if grown else ""
            for name, unit in (("memory", 2**20), ("descriptors", 1), ("tasks", 1))
        )
        lag, loop_lag = _range(late, "lag", 1e3), _range(late, "loop_lag", 1e3)
        lines += [
            f"memory {_range(late, 'memory', 2**-20)} MB{memory}",
            f"files {_range(late, 'descriptors')}{files}",
            f"tasks {_range(late, 'tasks')}{tasks}",
            f"longest lag in each {SAMPLE_EVERY:g} s, from a read to the user: {lag} ms",
            f"longest wait of a task for its turn in each {SAMPLE_EVERY:g} s: {loop_lag} ms",
        ]
    lines.append(f"the end took {result['end_seconds']:.2f} s")
    return "\n".join(lines + [f"wrong: {what}" for what in result["wrong"]])


def _range(samples: Sequence[dict[str, Any]], name: str, unit: float = 1) -> str:
    values = [sample[name] * unit for sample in samples]
    middle = statistics.median(values)
    return f"{min(values):.4g} to {max(values):.4g} (median {middle:.4g})"

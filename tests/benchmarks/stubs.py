"""Reports made by hand, and a benchmark that gives one: ``python -m tests.benchmarks.stubs``.

``STUB`` says how it behaves.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from benchmarks.console import command_line
from benchmarks.result import Case, Figure, Goal, Report

MACHINE = {"processor": "abacus", "cores": "2", "system": "Wood x10", "python": "CPython 3.11.7"}


def report(
    *figures: Figure, name: str = "stub", goals: tuple[Goal, ...] = (), lower: bool = True
) -> Report:
    """One case, measured on a machine that is always the same."""
    case = Case("a case", "ns a bead", list(figures), lower_is_better=lower, goals=list(goals))
    return Report(name, "Beads & beads", [case], "2026-11-24T12:00+00:00", MACHINE, {"trio": "1"})


def run(rounds: int, quick: bool) -> Report:
    behaviour = os.environ.get("STUB", "")
    try:
        sys.stderr.write("at work\n")
        while behaviour == "hang":
            time.sleep(0.05)  # not for long: an interrupt just before would not wake it
    except KeyboardInterrupt:
        Path(os.environ["STUB_ENDED"]).touch()
        raise
    if behaviour == "crash":
        raise RuntimeError("a contender crashed")
    ours = Figure("farm", [1.0 + quick] * rounds, 0.5 if behaviour == "lose" else 1.0)
    missed = Goal("farm against theirs", 0.5, 2.0)
    return report(ours, Figure("theirs", [3.0] * rounds, 0.9), goals=(missed,))


if __name__ == "__main__":
    command_line("stub", __doc__, run)

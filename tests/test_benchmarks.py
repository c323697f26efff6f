"""The benchmarks run, and say what they measured; how fast it was is nothing to a test."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.soak import Sample, report, slopes

ROOT = Path(__file__).parent.parent


def sample(seconds: float, memory: int, tasks: int = 7) -> Sample:
    return Sample(seconds, memory, 20, tasks, 0.001, 0.002, 100, 1, 3)


def test_slopes_leave_the_warm_up_out() -> None:
    warming = [sample(number, 1000 * number) for number in range(4)]
    level = [sample(4.0 + number, 5000, 7 + number) for number in range(16)]
    found = slopes([*warming, *level])
    assert (found["memory"], found["descriptors"], round(found["tasks"])) == (0.0, 0.0, 3600)
    assert slopes([sample(1.0, 1)]) == {}


def test_a_short_soak_tells_what_happened() -> None:
    arguments = ["--minutes", "0.2", "--fault-every", "1", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.soak", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    result: Any = json.loads(done.stdout)
    assert sum(result["faults"].values()) > 5
    assert result["totals"]["events"] > 100
    assert len(result["samples"]) == 2
    assert "faults of" in report(result)

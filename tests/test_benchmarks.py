"""The benchmarks run, and say what they measured; how fast it was is nothing to a test."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.soak_report import Sample, last_look, report, slopes

ROOT = Path(__file__).parent.parent
SOAK = [sys.executable, "-m", "benchmarks.soak"]


def sample(
    seconds: float, memory: int, tasks: int = 7, *, events: int = 100, verified: int = 3
) -> Sample:
    return Sample(seconds, memory, 20, tasks, 0.001, 0.002, events, 1, verified)


def test_slopes_leave_the_warm_up_out() -> None:
    warming = [sample(number, 1000 * number) for number in range(4)]
    level = [sample(4.0 + number, 5000, 7 + number) for number in range(16)]
    found = slopes([*warming, *level])
    assert (found["memory"], found["descriptors"], round(found["tasks"])) == (0.0, 0.0, 3600)
    assert slopes([sample(1.0, 1)]) == {}


def test_the_last_look_finds_the_farm_at_work_or_says_what_is_wrong() -> None:
    before = sample(5, 1, verified=0)
    assert last_look([before, sample(10, 1, events=101)]) == []
    assert last_look([sample(5, 1)]) == []
    assert last_look([]) == ["no look was taken: a run takes more than 5 s"]
    assert last_look([before, sample(10, 1, events=101, verified=0)]) == [
        "at the last look no book was verified"
    ]
    assert last_look([before, sample(10, 1)]) == [
        "at the last look no event had come since the one before"
    ]


@contextmanager
def running_soak() -> Iterator[subprocess.Popen[str]]:
    """A soak of an hour that has looked once."""
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [*SOAK, "--minutes", "60"], stdout=pipe, stderr=pipe, text=True, cwd=ROOT
    ) as process:
        try:
            assert process.stderr is not None
            assert "books verified" in process.stderr.readline()
            yield process
        finally:
            process.kill()


def child_of(process: subprocess.Popen[str]) -> int:
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
        except OSError:
            continue  # it has ended meanwhile
        if int(text.rpartition(")")[2].split()[1]) == process.pid:
            return int(stat.parent.name)
    raise AssertionError("it has no child process")


def test_a_soak_whose_exchanges_die_ends_and_fails() -> None:
    with running_soak() as process:
        os.kill(child_of(process), signal.SIGKILL)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 1, err
    assert "wrong: the fake exchanges died, with exit code -9" in out


def test_an_interrupted_soak_tells_what_it_saw() -> None:
    with running_soak() as process:
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "60 minutes, interrupted" in out
    assert "faults of" in out
    assert "died" not in out


def test_a_short_soak_tells_what_happened() -> None:
    arguments = ["--minutes", "0.2", "--fault-every", "2", "--json"]
    done = subprocess.run(
        [*SOAK, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    result: Any = json.loads(done.stdout)
    assert not result["wrong"]
    assert sum(result["faults"].values()) > 5
    assert result["totals"]["events"] > 100
    assert len(result["samples"]) == 2
    assert "faults of" in report(result)

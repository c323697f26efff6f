"""cryptofeed as a contender: its worker, in whatever interpreter has the newest version."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["Worker", "find_python", "working"]

WORKER = Path(__file__).with_name("cryptofeed_worker.py")
_NEWER = ("python3.14", "python3.13")
_PROBE = "import cryptofeed, importlib.metadata as m; print(m.version('cryptofeed'))"


def find_python() -> tuple[str, str] | None:
    """The interpreter to run cryptofeed in and its version: one with version 3, which needs Python
    3.13 (named by FARM_BENCH_PYTHON, or on the path), else this one; None where there is none."""
    named = os.environ.get("FARM_BENCH_PYTHON")
    found = [shutil.which(name) for name in _NEWER]
    for python in [named, *found, sys.executable]:
        if python is None:
            continue
        told = subprocess.run([python, "-c", _PROBE], capture_output=True, text=True, check=False)
        if told.returncode == 0:
            return python, told.stdout.strip()
    return None


class Worker:
    """A process that parses the same frames again and again."""

    def __init__(self, process: subprocess.Popen[str], version: str) -> None:
        self.version = version
        self._process = process

    def run(self) -> tuple[float, int]:
        """One round: seconds, and the callbacks that were called."""
        told = _ask(self._process, "run")
        return told["seconds"], told["calls"]


@contextmanager
def working(python: str, task: dict[str, Any]) -> Iterator[Worker]:
    """A worker for this task; RuntimeError with what it said where it fails."""
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [python, str(WORKER)], stdin=pipe, stdout=pipe, stderr=pipe, text=True
    ) as process:
        try:
            yield Worker(process, _ask(process, json.dumps(task))["version"])
        finally:
            process.kill()


def _ask(process: subprocess.Popen[str], line: str) -> dict[str, Any]:
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        process.stdin.write(line + "\n")
        process.stdin.flush()
        answer = process.stdout.readline()
    except BrokenPipeError:
        answer = ""
    if not answer:
        raise RuntimeError(f"cryptofeed's worker failed: {process.stderr.read().strip()[-500:]}")
    told: dict[str, Any] = json.loads(answer)
    return told

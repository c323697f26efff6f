"""cryptofeed as a contender: its worker, in whatever interpreter has the newest version."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["Worker", "working"]

WORKER = Path(__file__).with_name("cryptofeed_worker.py")


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

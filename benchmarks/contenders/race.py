"""A server and one contender, each in a process of its own, and what came of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import attrs
import numpy as np

from benchmarks.server_load import FIRST_ID, Load

__all__ = ["Contender", "Outcome", "RaceFailed", "race", "serving", "task_for", "told_by"]

ROOT = Path(__file__).resolve().parents[2]
HOST = "127.0.0.1"
DEADLINE = 60.0
"""Seconds for one contender with all it does; what takes longer hangs."""


class RaceFailed(Exception):
    """A contender or the server failed; the message holds what it said last."""


@attrs.frozen
class Contender:
    """Who takes part: a module of this package, run by ``python``, given ``options``.

    ``kind``: the venue's name of the stream that it takes trades from; ``share``: the part of a
    flood that it gets, less where it is slow; ``lossy`` where it may leave trades out and does not
    tell; ``quick`` where it takes part in quick runs; ``absent``: why it does not run here.
    """

    name: str
    module: str
    options: dict[str, Any] = attrs.field(factory=dict)
    kind: str = "trade"
    python: str = sys.executable
    share: float = 1.0
    lossy: bool = False
    quick: bool = False
    absent: str | None = None

    @property
    def is_ours(self) -> bool:
        """Whether it is farm."""
        return self.module.startswith("farm")


@attrs.frozen
class Outcome:
    """What a contender did with a load. ``latencies``: microseconds from the server's send to the
    user's line, of a paced load; ``sent`` what the server says of itself, ``more`` what else the
    contender says."""

    events: int
    seconds: float
    cpu: float
    delivered: float
    right: bool
    latencies: np.ndarray[Any, np.dtype[np.float64]]
    sent: dict[str, Any]
    more: dict[str, Any]

    @property
    def rate(self) -> float:
        """Events a second."""
        return self.events / self.seconds

    @property
    def cpu_each(self) -> float:
        """Microseconds of CPU an event."""
        return self.cpu / self.events * 1e6

    def latency(self, percent: float) -> float:
        """A percentile, in microseconds; nan where there are no times."""
        return float(np.percentile(self.latencies, percent)) if len(self.latencies) else np.nan


def race(contender: Contender, load: Load, connections: int) -> Outcome:
    """Have a contender take a load over so many connections.

    RaceFailed where either fails, and where trades are missing or wrong that it should have had.
    """
    share = 1.0 if load.rate else contender.share
    load = attrs.evolve(load, kinds=[contender.kind], total=int(load.total * share))
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        with serving(load, directory) as server:
            task = task_for(load, connections, directory, server.port)
            result = told_by(contender, task, directory)
            sent = server.report()
        outcome = _outcome(result, sent, load, directory)
    if not contender.lossy and not (outcome.delivered == 1 and outcome.right):
        raise RaceFailed(f"{contender.name} delivered {outcome.delivered:.2%}, or other trades")
    return outcome


@attrs.frozen
class Running:
    """A server that listens."""

    port: int
    out: IO[str]

    def report(self) -> dict[str, Any]:
        """What it sent, once it has."""
        line = self.out.readline()
        if not line:
            raise RaceFailed("the server ended before it had sent everything")
        told: dict[str, Any] = json.loads(line)
        return told


@contextmanager
def serving(load: Load, directory: Path) -> Iterator[Running]:
    """A server with a load; its files come into `directory`."""
    told = json.dumps(attrs.asdict(load))
    command = [sys.executable, "-m", "benchmarks.server", told, str(directory / "sent")]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            if not line:
                raise RaceFailed("the server did not start; what it said stands above")
            address = json.loads(line)
            if address["authority"] is not None:
                (directory / "authority.pem").write_text(address["authority"])
            yield Running(address["port"], process.stdout)
        finally:
            process.kill()


def told_by(contender: Contender, task: dict[str, Any], directory: Path) -> dict[str, Any]:
    """Run a contender; the JSON line that it prints last. RaceFailed where there is none.

    What it keeps for itself in caches goes into `directory`. Peers that cannot be told which
    authority to trust look into the environment for it.
    """
    environment = os.environ | {"XDG_CACHE_HOME": str(directory)}
    authority = directory / "authority.pem"
    if authority.exists():
        environment |= dict.fromkeys(("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"), str(authority))
    given = json.dumps(task | {"options": contender.options})
    command = [contender.python, "-m", f"benchmarks.contenders.{contender.module}", given]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
            env=environment,
            timeout=DEADLINE,
        )
    except subprocess.TimeoutExpired:
        raise RaceFailed(f"{contender.name} did not end in {DEADLINE:g} s") from None
    lines = done.stdout.splitlines()
    if done.returncode or not lines:
        raise RaceFailed(f"{contender.name}: exit code {done.returncode}\n{done.stderr[-2000:]}")
    told: dict[str, Any] = json.loads(lines[-1])
    return told


def task_for(load: Load, connections: int, directory: Path, port: int) -> dict[str, Any]:
    """What :class:`benchmarks.contenders.task.Task` holds, for a server at this port."""
    secure = "s" if load.tls != "plain" else ""
    return {
        "ws": f"ws{secure}://{HOST}:{port}",
        "rest": f"http{secure}://{HOST}:{port}",
        "authority": str(directory / "authority.pem") if secure else None,
        "parts": [load.symbols[i::connections] for i in range(connections)],
        "of_each": load.of_each,
        "first_id": FIRST_ID,
        "paced": bool(load.rate),
        "stamps": str(directory / "stamps"),
    }


def _outcome(result: dict[str, Any], sent: dict[str, Any], load: Load, directory: Path) -> Outcome:
    latencies = np.empty(0)
    if load.rate:
        came, left = _times(directory / "stamps"), _times(directory / "sent")
        latencies = (came - left)[came > 0] / 1e3
    events, volume = result.pop("events"), result.pop("volume")
    right = volume is None or abs(volume / sent["volume"] - 1) < 1e-9
    return Outcome(
        events,
        result.pop("seconds"),
        result.pop("cpu"),
        events / sent["messages"],
        right,
        latencies,
        sent,
        result,
    )


def _times(path: Path) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.array(array("q", path.read_bytes()), np.int64)

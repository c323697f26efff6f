"""Farms in several processes on fake exchanges in another, for times of what goes wrong.

``python -m benchmarks.shard_farms ENDPOINTS`` runs one until it is killed, and prints the pids of
its shards when all of them deliver.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import trio

from farm import Farm, open_farm

__all__ = ["CLUSTER", "HANG_SECONDS", "all_live", "children", "config", "served", "wait_until"]

ROOT = Path(__file__).resolve().parents[1]
MARKETS = ("binance/spot", "bybit/linear")
SYMBOLS = ("BTCUSDT", "ETHUSDT")
ORDERS = 800
"""A second, of each symbol."""

PATIENCE = 60.0
HANG_SECONDS = 1.0
CLUSTER = {"hang_seconds": HANG_SECONDS, "heartbeat_seconds": 0.25, "period": 1.0}
"""By the short period each failure is a first one, after which the next process comes at once."""


@contextmanager
def served() -> Iterator[dict[str, Any]]:
    """Fake exchanges; their endpoints."""
    specs = [f"{market}:{','.join(SYMBOLS)}" for market in MARKETS]
    command = [sys.executable, "-m", "farm.testing.serve", *specs, "--rate", str(ORDERS)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())["endpoints"]
        finally:
            process.kill()


def config(endpoints: dict[str, Any], processes: int = 2) -> dict[str, Any]:
    """A collector for each market, which makes a shard for each."""
    collectors = [
        {
            "exchange": market.partition("/")[0],
            "market": market.partition("/")[2],
            "symbols": list(SYMBOLS),
            "streams": ["trade", "quote", "book"],
            "endpoints": endpoint,
        }
        for market, endpoint in endpoints.items()
    ]
    return {
        "collectors": collectors,
        "processes": processes,
        "cluster": CLUSTER,
    }


def all_live(farm: Farm) -> bool:
    """Whether every stream delivers and every book stands."""
    stats = farm.stats()
    streams = [feed for feed in stats.feeds if feed.state]
    books = {feed.book.verdict for feed in streams if feed.book is not None}
    live = all(feed.state == "live" for feed in streams) and books == {"verified"}
    return live and len(streams) == len(MARKETS) * len(SYMBOLS) * 3


async def wait_until(condition: Callable[[], bool], *, every: float = 0.02) -> None:
    """Wait for what nobody signals; trio.TooSlowError where it does not come."""
    with trio.fail_after(PATIENCE):
        while not condition():  # noqa: ASYNC110 (see above)
            await trio.sleep(every)


def children(pid: int) -> list[int]:
    """The processes that this one has started, and that run."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
        except OSError:  # it has just ended
            continue
        if int(parent) == pid and state != "Z":
            found.append(int(path.parent.name))
    return found


async def _run(endpoints: dict[str, Any]) -> None:
    async with open_farm(config(endpoints)) as farm:
        await wait_until(lambda: all_live(farm))
        pids = [process.pid for process in farm.stats().processes]
        print(json.dumps({"pids": pids[1:], "time": time.monotonic()}), flush=True)
        await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(_run, json.loads(sys.argv[1]))

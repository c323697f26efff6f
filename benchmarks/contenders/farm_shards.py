"""A farm whose shards replay what they hold in memory: ``…contenders.farm_shards TASK``.

Prints what it took as one JSON line. The clock runs from the start of the flood until all shards
have processed theirs, or, where the user reads it, until he has all.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import trio

from benchmarks.server_load import symbols_named
from benchmarks.shard_replay import BOOKS, Replay, Venue
from farm import Farm, Quote, Trade, open_farm
from farm.api import farm as farm_module
from farm.cluster.process import ShardProcess, start_process
from farm.cluster.sources import ClusterSources
from farm.config import FarmConfig
from farm.pipeline import Environment
from farm.pipeline.line_source import LineSource

__all__ = ["is_quiet"]

ROOM = 2**30
"""Bytes that may wait for the parent, and for its user: nobody is measured by what is lost."""

PATIENCE = 30.0

HEARD_SECONDS = 0.5
"""For all shards to have heard that somebody reads, which nobody tells: what they send begins then.
Were one too late, events would be missing, and that is an error."""

READ: dict[type[Any], tuple[str, str]] = {
    Trade: ("price", "quantity"),
    Quote: ("bid_price", "ask_price"),
}
"""The columns that the user looks at."""


async def main(options: dict[str, Any]) -> None:
    """`options`: ``replay``, ``connections``, ``shards`` (0 is no other process) and ``columns``,
    whether the user reads the columns of all trades and quotes."""
    replay = Replay(**options["replay"])
    venue = Venue(replay)
    processes: list[ShardProcess] = []

    async def start(name: str, nursery: trio.Nursery) -> ShardProcess:
        told = json.dumps(options["replay"])
        command = [sys.executable, "-m", "benchmarks.shard_replay", told]
        processes.append(await start_process(name, nursery, command=command))
        return processes[-1]

    shards = options["shards"]
    if shards == 1:
        _have_one_shard()
    environment = Environment(open_stream=venue.open_stream, start_shard=start if shards else None)
    config = _config(replay, options["connections"], max(shards, 1))
    async with open_farm(config, environment=environment) as farm:
        feeds = options["connections"] * len(replay.streams)
        await _until(lambda: is_quiet(farm, feeds), every=0.05)
        if shards:
            begin: Callable[[], None] = partial(_signal, [process.pid for process in processes])
        else:
            begin = venue.begin
        flood = _read if options["columns"] else _wait
        told = await flood(farm, begin, replay, options["connections"])
    stats = farm.stats()
    events = sum(feed.events for feed in stats.feeds if feed.state)
    hellos = options["connections"] * (2 if replay.streams == BOOKS else len(replay.streams))
    more = {"events": events - hellos, "gaps": stats.totals.gaps}
    print(json.dumps(told | more), flush=True)


def _config(replay: Replay, connections: int, processes: int) -> dict[str, Any]:
    streams = ["book"] if replay.streams == BOOKS else ["trade", "quote"]
    collectors = [
        {
            "exchange": "binance",
            "market": "spot",
            "symbols": [symbol],
            "streams": streams,
            "endpoints": {"ws": "ws://127.0.0.1:1", "rest": "http://127.0.0.1:1"},
        }
        for symbol in symbols_named(connections)
    ]
    # A spare would be started just when it begins; and who makes frames for seconds does not hang.
    cluster = {"spare": False, "hang_seconds": PATIENCE}
    return {
        "collectors": collectors,
        "processes": processes,
        "cluster": cluster,
        "subscriber_bytes": ROOM,
    }


def _have_one_shard() -> None:
    """No user can ask for that: one process more is no gain. It is here to be compared."""

    def sources(
        config: FarmConfig, environment: Environment
    ) -> Callable[[Any, Any], LineSource[Any]]:
        start = environment.start_shard
        assert start is not None
        return lambda pipeline, stages: ClusterSources(pipeline, stages, config, 1, start)

    farm_module.cluster_sources = sources  # type: ignore[attr-defined]


def is_quiet(farm: Farm, feeds: int) -> bool:
    """Whether each of so many feeds had its message, and each book stands."""
    live = [feed for feed in farm.stats().feeds if feed.state == "live"]
    books = {feed.book.verdict for feed in live if feed.book is not None}
    return len(live) == feeds and books <= {"verified"}


async def _until(condition: Callable[[], bool], *, every: float) -> None:
    with trio.fail_after(PATIENCE):
        while not condition():  # noqa: ASYNC110 (other processes do not signal it)
            await trio.sleep(every)


def _signal(pids: list[int]) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGUSR1)


async def _wait(
    farm: Farm,  # noqa: ARG001
    begin: Callable[[], None],
    replay: Replay,
    connections: int,
) -> dict[str, float]:
    """Let it pass; nobody reads."""
    cpu, start = time.process_time(), time.monotonic()
    begin()
    ended = await _ended(replay, connections)
    own = time.process_time() - cpu
    return {"seconds": max(told["ended"] for told in ended) - start, "cpu": own, **_cpu(ended)}


async def _read(
    farm: Farm, begin: Callable[[], None], replay: Replay, connections: int
) -> dict[str, float]:
    """Take the columns of everything."""
    left = replay.events * connections
    total = 0.0
    async with farm.subscribe(*READ) as batches:
        await trio.sleep(HEARD_SECONDS)
        cpu, start = time.process_time(), time.monotonic()
        begin()
        with trio.fail_after(PATIENCE):
            async for batch in batches:
                for name in READ[batch.kind]:
                    total += float(np.sum(np.asarray(batch.columns[name])))
                left -= len(batch)
                if left <= 0:
                    break
        seconds, own = time.monotonic() - start, time.process_time() - cpu
    return {"seconds": seconds, "cpu": own, **_cpu(await _ended(replay, connections))}


async def _ended(replay: Replay, connections: int) -> list[dict[str, float]]:
    """What connections said at their ends."""
    await _until(lambda: len(_told(replay)) == connections, every=0.01)
    return [
        {**json.loads(path.read_text()), "pid": int(path.name.partition("-")[0])}
        for path in _told(replay)
    ]


def _told(replay: Replay) -> list[Path]:
    return list(Path(replay.directory).glob("*.json"))


def _cpu(ended: list[dict[str, float]]) -> dict[str, float]:
    """The CPU time of the shards, each as it was when its last connection ended."""
    by_pid: dict[float, float] = {}
    for told in ended:
        by_pid[told["pid"]] = max(told["cpu"], by_pid.get(told["pid"], 0.0))
    return {"cpu of shards": sum(by_pid.values())}


if __name__ == "__main__":
    trio.run(main, json.loads(sys.argv[1])["options"])

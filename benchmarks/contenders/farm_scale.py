"""The whole farm with many symbols: how soon, how fast, and in how much memory.

Options: ``streams`` of each symbol, ``looks``: how often to look at the memory in the flood. Its
result has no clock in common with the trades': it starts its own.
"""

from __future__ import annotations

import json
import time
from typing import Any

import trio

from benchmarks.contenders.farm_trades import collectors_of
from benchmarks.contenders.task import Task, given_task
from farm import Farm, Quote, Trade, open_farm
from farm.entities import Event
from farm.monitor.memory import resident_bytes

PATIENCE = 10.0
"""Seconds without an event after which no more is waited for."""

KINDS: dict[str, type[Event]] = {"trade": Trade, "quote": Quote}


async def main(task: Task) -> None:
    streams = task.options["streams"]
    before, start = resident_bytes(), time.monotonic()
    async with open_farm({"collectors": collectors_of(task, streams)}) as farm:
        result = await collect(farm, task, [KINDS[stream] for stream in streams])
        begun = result.pop("begun")
        result |= {"startup": begun - start, "before": before, "gaps": farm.stats().totals.gaps}
        print(json.dumps(result), flush=True)


async def collect(farm: Farm, task: Task, kinds: list[type[Event]]) -> dict[str, Any]:
    """Hear once of every stream, then take the flood."""
    streams = len(task.symbols) * len(kinds)
    total, every = task.total * len(kinds), task.total * len(kinds) // task.options["looks"]
    latest: dict[tuple[type[Event], str], Event] = {}
    looks: list[tuple[int, int]] = []
    count, due, begun, flood, cpu = -streams, 0, 0.0, 0.0, 0.0
    async with farm.subscribe(*kinds) as batches:
        with trio.move_on_after(PATIENCE) as patience:
            async for batch in batches:
                if begun and not flood:
                    flood, cpu = time.monotonic(), time.process_time()
                kind = batch.kind
                for event in batch:
                    latest[kind, event.symbol] = event
                count += len(batch)
                if not begun and len(latest) == streams:
                    begun = time.monotonic()
                if begun and count >= due:
                    looks.append((count, resident_bytes()))
                    due = count + every
                if count >= total:
                    break
                patience.deadline = trio.current_time() + PATIENCE
        dropped = batches.dropped
    return {
        "begun": begun,
        "events": count,
        "seconds": time.monotonic() - flood,
        "cpu": time.process_time() - cpu,
        "looks": looks,
        "dropped": dropped,
    }


if __name__ == "__main__":
    trio.run(main, given_task())

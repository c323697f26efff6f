"""The whole farm, as a user has it: supervision, mailboxes, continuity, counters, verdicts.

Options: ``columns`` takes the columns of each batch instead of its objects; ``collector`` is more
of the collectors' configuration, ``farm`` of the farm's; ``woken`` has each stage woken by the one
before, instead of run on its stack.
"""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import trio

from benchmarks.contenders.tally import Tally
from benchmarks.contenders.task import Task, given_task
from farm import Trade, open_farm
from farm.config import FarmConfig
from farm.pipeline import Settings


def collectors_of(task: Task, streams: list[str]) -> list[dict[str, Any]]:
    """A collector for each part of the symbols, for that is what makes each a connection."""
    endpoints = {"ws": task.ws, "rest": task.rest}
    if task.authority is not None:
        endpoints["ca_file"] = task.authority
    return [
        {
            "exchange": "binance",
            "market": "spot",
            "symbols": part,
            "streams": streams,
            "endpoints": endpoints,
            **task.options.get("collector", {}),
        }
        for part in task.parts
    ]


def wake_each_stage() -> None:
    """No user can ask for that: it is here to be compared."""
    settings_of = Settings.of

    def of(config: FarmConfig) -> Settings:
        return attrs.evolve(settings_of(config), hand_off=False)

    Settings.of = of  # type: ignore[method-assign]


async def main(task: Task) -> None:
    if task.options.get("woken"):
        wake_each_stage()
    collectors = collectors_of(task, ["trade"])
    async with open_farm({"collectors": collectors, **task.options.get("farm", {})}) as farm:
        tally = Tally(task, lambda: {"gaps": farm.stats().totals.gaps})
        async with farm.subscribe(Trade) as batches:
            if task.options.get("columns"):
                async for batch in batches:
                    tally.take_all(len(batch), float(np.sum(np.asarray(batch.columns["quantity"]))))
            else:
                take = tally.take
                async for batch in batches:
                    for trade in batch:
                        take(trade.id, trade.quantity)


if __name__ == "__main__":
    trio.run(main, given_task())

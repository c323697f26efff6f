"""cryptofeed's own message handlers in a process of their own, for it may need another Python.

It imports nothing of this project. A line of JSON on standard input says what to parse: ``venue``
(``spot``, ``usdm`` or ``linear``), ``channel``, ``frames``, and for books ``snapshot``, the answer
of the REST side that it would have fetched. Then each line ``run`` is answered by a line with the
seconds of one round and the number of its callbacks; the first answer names the version.

Its handlers take text, which its connections have decoded before: so do these.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from importlib import import_module
from importlib.metadata import version
from typing import Any

VENUES = {"spot": "Binance", "usdm": "BinanceFutures", "linear": "Bybit"}


class Rest:
    """The REST side, which has one answer."""

    def __init__(self, text: str) -> None:
        self.text = text

    async def read(self, *_args: Any, **_options: Any) -> str:
        return self.text


class Connection:
    """As much of a connection as a handler looks at."""

    address = "wss://stream.bybit.com/v5/public/linear"
    uuid = "bench"


def feed_of(task: dict[str, Any], callback: Any) -> Any:
    defines = import_module("cryptofeed.defines")
    symbols = import_module("cryptofeed.symbols").Symbols
    kind = getattr(import_module("cryptofeed.exchanges"), VENUES[task["venue"]])
    suffix = "" if task["venue"] == "spot" else "-PERP"
    names = {f"{name.removesuffix('USDT')}-USDT{suffix}": name for name in task["symbols"]}
    symbols.set(kind.id, names, {"instrument_type": dict.fromkeys(names, "perpetual"),
                                 "tick_size": dict.fromkeys(names, "0.01")})  # fmt: skip
    channel = getattr(defines, task["channel"])
    return kind(
        symbols=list(names),
        channels=[channel],
        callbacks={channel: callback},
        candle_interval="1m",
        candle_closed_only=False,
    )


async def one_round(task: dict[str, Any]) -> tuple[float, int]:
    calls = 0

    async def callback(_event: Any, _time: float) -> None:
        nonlocal calls
        calls += 1

    feed = feed_of(task, callback)
    feed.http_conn = Rest(task.get("snapshot", ""))
    connection, handle, frames = Connection(), feed.message_handler, task["frames"]
    start = time.perf_counter()
    for frame in frames:
        await handle(frame, connection, 1.0)
    return time.perf_counter() - start, calls


def main() -> None:
    logging.disable(logging.CRITICAL)
    task = json.loads(sys.stdin.readline())
    asyncio.run(one_round(task | {"frames": task["frames"][:1]}))  # its imports and first uses
    print(json.dumps({"version": version("cryptofeed")}), flush=True)
    for _ in sys.stdin:
        seconds, calls = asyncio.run(one_round(task))
        print(json.dumps({"seconds": seconds, "calls": calls}), flush=True)


if __name__ == "__main__":
    main()
